//! What `temper verify` takes up again, by the first byte: `verdicts.csv`, `radii.csv`, a question, `counterexamples.npy`. What is accepted
//! is counted whole, and is the same when it is opened again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use temper_fuzz::{file, folder, selected};
use temper_verify::store::{Kind, certified_radii, read_lines, summary};
use temper_verify::{Stack, Store};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let asked = json!({ "what": "verdicts", "eps": 0.1, "images": 3 });
    let text = serde_json::to_string_pretty(&asked).expect("plain data") + "\n";
    match form % 4 {
        form @ (0 | 1) => {
            let kind = if form == 0 { Kind::Verdicts } else { Kind::Radii };
            file(&format!("verify/{}-question.json", kind.name()), text.as_bytes());
            file(&format!("verify/{}.csv", kind.name()), data);
            let Ok(store) = Store::open(&folder().join("verify"), kind, &asked) else { return };
            let written = std::fs::read_to_string(&store.path).expect("it was read");
            assert_eq!(read_lines(kind, &written, &store.path).expect("what was kept is read"), store.lines);
            if kind == Kind::Verdicts {
                let counted = summary(&store.lines);
                let of_each = [counted.misclassified, counted.attacked, counted.certified, counted.unknown, counted.errors];
                assert_eq!(of_each.iter().sum::<u64>(), store.lines.len() as u64);
                assert!(store.counterexamples() as u64 == counted.attacked);
            } else {
                assert_eq!(certified_radii(&store.lines).len(), store.lines.len());
            }
        }
        2 => {
            file("asked/verdicts-question.json", data);
            let _ = std::fs::remove_file(folder().join("asked/verdicts.csv"));
            if Store::open(&folder().join("asked"), Kind::Verdicts, &asked).is_ok() {
                let found = std::fs::read(folder().join("asked/verdicts-question.json")).expect("it was read");
                assert_eq!(found, text.as_bytes(), "answers to another question");
            }
        }
        _ => {
            let path = file("counterexamples.npy", data);
            let rows = usize::from(data.len() > 200);
            if let Ok(mut stack) = Stack::open(&path, [1, 2, 2], rows) {
                stack.append(std::iter::once(&[0.0f32; 4][..])).expect("written");
                drop(stack);
                Stack::open(&path, [1, 2, 2], rows + 1).expect("what was written is read");
            }
        }
    }
});
