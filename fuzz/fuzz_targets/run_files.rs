//! The small files of a run, by the first byte: a checkpoint's `DONE`, `best.json`, `env.json`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, folder, selected};
use temper_record::{Best, Checkpoint, Env, RunDir};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    file("run/metrics.jsonl", b"");
    let run = RunDir::open(folder().join("run")).expect("it holds metrics.jsonl");
    match form % 3 {
        0 => {
            file("run/checkpoints/step-00000003/DONE", data);
            file("run/checkpoints/step-00000003/state.json", b"{}");
            let checkpoint = Checkpoint::latest(&run).expect("it has DONE");
            let _ = checkpoint.verify();
            let _ = checkpoint.read("state.json");
            let _ = checkpoint.sha256("model.safetensors");
        }
        1 => {
            file("run/checkpoints/best.json", data);
            if let Ok(Some(best)) = Best::read(&run) {
                let _ = Checkpoint::best(&run);
                best.write(&run).expect("written");
                let again = Best::read(&run).expect("what was written is read").expect("it is there");
                assert_eq!((again.step, again.set, again.metric), (best.step, best.set, best.metric));
            }
        }
        _ => {
            file("run/env.json", data);
            if let Ok(env) = Env::read(&run) {
                env.write(&run).expect("written");
                Env::read(&run).expect("what was written is read");
            }
        }
    }
});
