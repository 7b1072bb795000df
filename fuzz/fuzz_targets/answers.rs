//! What `temper verify` takes up again, by the first byte: `verdicts.csv`, `radii.csv`, a question, `counterexamples.npy`. What is accepted
//! is counted whole, and is the same when it is opened again, with one more answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use temper_fuzz::{file, folder, selected};
use temper_verify::store::{Kind, Names, certified_radii, radius_line, read_lines, summary, verdict_line};
use temper_verify::{Attacked, CertifiedRadius, RadiusSummary, Stack, Store, judge};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let asked = json!({ "what": "verdicts", "eps": 0.1, "images": 3 });
    let text = serde_json::to_string_pretty(&asked).expect("plain data") + "\n";
    match form % 4 {
        form @ (0 | 1) => {
            let kind = if form == 0 { Kind::Verdicts } else { Kind::Radii };
            file(&format!("verify/{}-question.json", kind.name()), text.as_bytes());
            file(&format!("verify/{}.csv", kind.name()), data);
            let Ok(mut store) = Store::open(&folder().join("verify"), kind, &asked) else { return };
            let written = std::fs::read_to_string(&store.path).expect("it was read");
            assert_eq!(read_lines(kind, &written, &store.path).expect("what was kept is read"), store.lines);
            if kind == Kind::Verdicts {
                let counted = summary(&store.lines);
                let of_each =
                    [counted.misclassified, counted.attacked, counted.certified, counted.unknown, counted.errors];
                assert_eq!(of_each.iter().sum::<u64>(), store.lines.len() as u64);
                assert!(store.counterexamples() as u64 == counted.attacked);
            } else {
                let radii = RadiusSummary::of(certified_radii(&store.lines));
                assert!(radii.images == store.lines.len() && (0.0..=1.0).contains(&radii.mean));
            }
            if store.lines.len() < 3 {
                let line = next(kind, &store);
                store.append(vec![line]).expect("written");
                let again = Store::open(&folder().join("verify"), kind, &asked).expect("what was written is read");
                assert_eq!(again.lines, store.lines);
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

/// The answer about the image behind the last one: attacked, or certified at no radius.
fn next(kind: Kind, store: &Store) -> String {
    let index = store.lines.len() as u64;
    let names = Names { class: "a, \"b\"\n", predicted: "=c", file: "" };
    match kind {
        Kind::Verdicts => {
            let seen = |margin| Attacked { clean_margin: 1.0, clean_class: 3, margin, class: 3 };
            let verdict = judge(index, 3, seen(1.0), -0.5, Some(seen(-0.5)));
            verdict_line(&verdict, Some(store.counterexamples()), names)
        }
        Kind::Radii => radius_line(index, 3, &CertifiedRadius { certified: None, uncertified: Some(0.0) }, names),
    }
}
