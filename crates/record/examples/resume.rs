//! A run that is stopped between two checkpoints and resumes: `cargo run -p temper-record --example resume`.
//!
//! What is trained is one number that approaches pi; what matters is where it is kept.

use temper_base::Result;
use temper_record::{Checkpoint, CheckpointWriter, Event, Recorder, RunDir, RunSeries, Values};

/// Makes the updates after `step` up to `last`, and takes a checkpoint every ten of them.
fn train(run: &RunDir, recorder: &mut Recorder, mut weight: f64, step: u64, last: u64) -> Result<()> {
    for step in step + 1..=last {
        weight += 0.1 * (std::f64::consts::PI - weight);
        let values = Values::new().with("loss", (weight - std::f64::consts::PI).abs());
        recorder.record(&Event::Step { step, tokens: step, values })?;
        if step % 10 == 0 {
            let mut writer = CheckpointWriter::begin(run, step)?;
            writer.write("weight", |out| out.write_all(&weight.to_le_bytes()))?;
            // How long the record was: resuming cuts it there.
            let position = recorder.sync()?;
            writer.write("position", |out| out.write_all(&position.to_le_bytes()))?;
            writer.commit()?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (run, lock) = RunDir::create(folder.path().join("run"))?;
    train(&run, &mut Recorder::create(&run)?, 0.0, 0, 17)?;
    drop(lock); // as if the process had ended here, after update 17

    let run = RunDir::open(run.path())?;
    let _lock = run.lock()?;
    let checkpoint = Checkpoint::latest(&run)?;
    checkpoint.verify()?;
    let eight = |name| checkpoint.read(name).map(|bytes| bytes.try_into().expect("eight bytes"));
    let (weight, position) = (f64::from_le_bytes(eight("weight")?), u64::from_le_bytes(eight("position")?));
    train(&run, &mut Recorder::resume(&run, position)?, weight, checkpoint.step(), 30)?;

    // One token an update.
    let losses = RunSeries::read(&run)?.step_metric("loss");
    assert!(losses.iter().map(|(tokens, _)| *tokens).eq(1..=30), "every update is on record once");
    println!("resumed after update {}; loss {:.4} at update 30", checkpoint.step(), losses[29].1);
    Ok(())
}
