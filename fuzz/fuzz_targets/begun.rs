//! What a killed run leaves before its first checkpoint, by the first byte: `metrics.jsonl` beside a file of the user's, `.lock` beside
//! `data/`, and a record that is cut where a checkpoint was taken.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, folder, selected};
use temper_record::{Recorder, RunDir, RunSeries, begun, series};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let root = folder().join("begun");
    let _ = fs::remove_dir_all(&root);
    match form % 3 {
        0 => {
            file("begun/metrics.jsonl", data);
            let note = file("begun/notes.txt", b"mine");
            let run = RunDir::open(&root).expect("it holds metrics.jsonl");
            let updates = RunSeries::read(&run).is_ok_and(|series| !series.steps.is_empty());
            if begun::only_begun(&run) {
                assert!(!updates, "a run with updates is more than begun");
                begun::clear(&run).expect("cleared");
                assert!(!run.metrics().exists(), "the record is Temper's");
            }
            assert_eq!(fs::read(note).expect("what is not Temper's stays"), b"mine");
        }
        1 => {
            file("begun/.lock", data);
            let tokens = file("begun/data/law.tokens", b"");
            let run = RunDir::unchecked(&root);
            let digits = !data.is_empty() && data.iter().all(u8::is_ascii_digit);
            assert_eq!(
                begun::only_begun(&run),
                digits,
                "the number of a process, and nothing else, makes a lock Temper's"
            );
            let lock = run.lock().expect("nobody holds it");
            assert_eq!(fs::read(root.join(".lock")).expect("it is there"), std::process::id().to_string().into_bytes());
            assert!(tokens.exists());
            drop(lock);
        }
        _ => {
            let Some((at, data)) = selected(data) else { return };
            file("begun/metrics.jsonl", data);
            let run = RunDir::open(&root).expect("it holds metrics.jsonl");
            let whole = |run: &RunDir| series::each_event(&run.metrics(), |_, _| Ok(())).is_ok();
            // Where a line ends, as a checkpoint has it, or any other place.
            let ends: Vec<u64> = (1..).zip(data).filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end).collect();
            let position = ends.get(usize::from(at) % (ends.len() + 1)).copied().unwrap_or(u64::from(at));
            if Recorder::resume(&run, position).is_ok() {
                assert_eq!(
                    fs::read(run.metrics()).expect("it is there"),
                    data[..position as usize],
                    "only the end is cut off"
                );
                assert!(whole(&run), "a damaged record was taken up");
            }
        }
    }
});
