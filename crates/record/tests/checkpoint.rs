//! A checkpoint is complete and right, or it is not there.

use std::fs;
use std::io::{self, ErrorKind};

use temper_base::*;
use temper_record::checkpoint::{discard_after, prune};
use temper_record::*;

fn new_run() -> (tempfile::TempDir, RunDir, RunLock) {
    let tmp = tempfile::tempdir().unwrap();
    let (run, lock) = RunDir::create(tmp.path().join("a")).unwrap();
    fs::write(run.metrics(), "").unwrap();
    (tmp, run, lock)
}

fn save(run: &RunDir, step: u64, content: &str) -> Checkpoint {
    let mut writer = CheckpointWriter::begin(run, step).unwrap();
    writer.write("model", |out| out.write_all(content.as_bytes())).unwrap();
    fs::write(writer.path("state.json"), format!("{{\"step\":{step}}}")).unwrap();
    writer.adopt("state.json").unwrap();
    writer.commit().unwrap()
}

fn steps(run: &RunDir) -> Vec<u64> {
    Checkpoint::list(run).unwrap().iter().map(Checkpoint::step).collect()
}

fn entries(run: &RunDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(run.checkpoints()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read() {
    let (_tmp, run, _lock) = new_run();
    assert!(Checkpoint::latest(&run).unwrap_err().why.contains("no finished checkpoint"));
    save(&run, 1000, "weights");
    let latest = Checkpoint::latest(&run).unwrap();
    assert_eq!(latest.path(), run.checkpoints().join("step-00001000"));
    latest.verify().unwrap();
    assert_eq!(latest.read("model").unwrap(), b"weights");
    assert_eq!(fs::read(latest.file("state.json").unwrap()).unwrap(), b"{\"step\":1000}");
    // `printf weights | sha256sum`
    let done = fs::read_to_string(latest.path().join("DONE")).unwrap();
    assert!(done.contains("9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"));
    let named = RunRef::parse(&format!("{}@1000", run.path().display())).unwrap();
    assert_eq!(named.checkpoint().unwrap(), latest);
    let missing = Checkpoint::at_step(&run, 7).unwrap_err();
    assert_eq!(missing.hint.as_deref(), Some("there are: 1000"));
}

#[test]
fn damage_is_found_and_named() {
    let (_tmp, run, _lock) = new_run();
    save(&run, 1, "weights one");
    let check = |spoil: &dyn Fn(&std::path::Path), file: &str, word: &str| {
        let checkpoint = save(&run, 2, "weights two");
        spoil(checkpoint.path());
        let problem = checkpoint.verify().unwrap_err();
        assert_eq!(problem.kind, Kind::Input, "{problem}");
        assert!(problem.place.ends_with(file) && problem.why.contains(word), "{problem}");
        assert!(problem.hint.unwrap().ends_with("a@1"));
        assert!(checkpoint.read(file).is_err());
    };
    check(&|dir| fs::write(dir.join("model"), "weights tw").unwrap(), "model", "truncated");
    check(&|dir| fs::write(dir.join("model"), "weights two!").unwrap(), "model", "too long");
    check(&|dir| fs::write(dir.join("model"), "weights twn").unwrap(), "model", "bit-flipped");
    check(&|dir| fs::remove_file(dir.join("model")).unwrap(), "model", "missing");
    check(&|dir| fs::write(dir.join("DONE"), "{\"format\":1,").unwrap(), "DONE", "truncated");
    Checkpoint::at_step(&run, 1).unwrap().verify().unwrap();
}

#[test]
fn a_checkpoint_without_done_is_ignored() {
    let (_tmp, run, _lock) = new_run();
    save(&run, 1, "one");
    let two = save(&run, 2, "two");
    fs::remove_file(two.path().join("DONE")).unwrap();
    assert_eq!(Checkpoint::latest(&run).unwrap().step(), 1);
    assert!(Checkpoint::at_step(&run, 2).unwrap_err().why.contains("unfinished"));
    // And it is not in the way when training comes by again.
    save(&run, 2, "two").verify().unwrap();
}

#[test]
fn a_writer_that_fails_half_way_leaves_the_previous_one() {
    let (_tmp, run, _lock) = new_run();
    save(&run, 1, "one");
    let before = entries(&run);
    let mut writer = CheckpointWriter::begin(&run, 2).unwrap();
    writer.write("model", |out| out.write_all(b"two")).unwrap();
    let problem = writer
        .write("optimizer", |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::Error::from(ErrorKind::StorageFull))
        })
        .unwrap_err();
    assert_eq!((problem.kind, problem.kind.exit_code()), (Kind::Machine, 4));
    assert!(problem.hint.unwrap().contains("free some space"));
    drop(writer);
    assert_eq!(entries(&run), before);
    Checkpoint::latest(&run).unwrap().verify().unwrap();
    save(&run, 2, "two").verify().unwrap();
}

#[test]
fn a_killed_writer_leaves_nothing_that_counts() {
    let (_tmp, run, lock) = new_run();
    save(&run, 1, "one");
    let mut writer = CheckpointWriter::begin(&run, 2).unwrap();
    writer.write("model", |out| out.write_all(b"two")).unwrap();
    std::mem::forget(writer);
    assert_eq!((entries(&run).len(), steps(&run)), (2, vec![1]));
    drop(lock);
    let _lock = run.lock().unwrap();
    assert_eq!(entries(&run), ["step-00000001"]);
    // Killed between the two renames of a replacement: the old one comes back.
    fs::rename(run.checkpoints().join("step-00000001"), run.checkpoints().join(".old-step-00000001")).unwrap();
    drop(CheckpointWriter::begin(&run, 1).unwrap());
    assert_eq!(Checkpoint::latest(&run).unwrap().read("model").unwrap(), b"one");
}

#[test]
fn a_checkpoint_of_the_same_step_replaces_the_old_one() {
    let (_tmp, run, _lock) = new_run();
    save(&run, 1, "one");
    save(&run, 1, "another");
    assert_eq!(Checkpoint::latest(&run).unwrap().read("model").unwrap(), b"another");
    assert_eq!(entries(&run), ["step-00000001"]);
}

#[test]
fn pruning_keeps_what_it_must() {
    let (_tmp, run, _lock) = new_run();
    (1..=9).for_each(|step| drop(save(&run, step * 10, "w")));
    assert!(Checkpoint::best(&run).unwrap_err().why.contains("marked best"));
    Best { step: 20, set: "web".into(), metric: "loss".into(), value: 2.0 }.write(&run).unwrap();
    let removed = prune(&run, 2, 40, &[70]).unwrap();
    assert_eq!(removed, [10, 30, 50, 60]);
    assert_eq!(steps(&run), [20, 40, 70, 80, 90]);
    assert_eq!(Checkpoint::best(&run).unwrap().step(), 20);
    assert_eq!(prune(&run, 0, 0, &[]).unwrap(), [40, 70, 80]);
    assert_eq!(steps(&run), [20, 90]);
    assert_eq!(entries(&run), ["best.json", "step-00000020", "step-00000090"]);
}

#[test]
fn going_on_from_an_earlier_one_drops_the_later_ones() {
    let (_tmp, run, _lock) = new_run();
    (1..=3).for_each(|step| drop(save(&run, step, "w")));
    Best { step: 3, set: "web".into(), metric: "loss".into(), value: 2.0 }.write(&run).unwrap();
    assert_eq!(discard_after(&run, 1).unwrap(), [3, 2]);
    assert_eq!((steps(&run), Best::read(&run).unwrap()), (vec![1], None));
}
