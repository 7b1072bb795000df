//! What `temper verify` takes up again, by the first byte: `verdicts.csv`, `radii.csv`, a question, `times.csv`, the parts of a
//! verification, `counterexamples.npy`. What is accepted
//! is counted whole, and is the same when it is opened again, with one more answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use temper_fuzz::{file, folder, selected};
use temper_verify::shards::{Shard, merge};
use temper_verify::store::{Kind, Names, certified_radii, radius_line, read_lines, summary, verdict_line};
use temper_verify::{Arithmetic, Attacked, CertifiedRadius, Evidence, RadiusSummary, Stack, Store, Times, judge};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let asked = json!({ "what": "verdicts", "eps": 0.1, "images": 3 });
    let text = serde_json::to_string_pretty(&asked).expect("plain data") + "\n";
    match form % 6 {
        form @ (0 | 1) => {
            let kind = if form == 0 { Kind::Verdicts } else { Kind::Radii };
            file(&format!("verify/{}-question.json", kind.name()), text.as_bytes());
            file(&format!("verify/{}.csv", kind.name()), data);
            let Ok(mut store) = Store::open(&folder().join("verify"), kind, &asked) else { return };
            let written = std::fs::read_to_string(&store.path).expect("it was read");
            assert_eq!(read_lines(kind, &written, &store.path, &Shard::WHOLE).expect("what was kept is read"), store.lines);
            if kind == Kind::Verdicts {
                let counted = summary(&store.lines);
                let of_each = [counted.misclassified, counted.attacked, counted.certified, counted.unknown];
                let open = counted.timeouts + counted.errors;
                assert_eq!(of_each.iter().sum::<u64>() + open, store.lines.len() as u64);
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
        3 => {
            file("times/times.csv", data);
            let times = Times::open(&folder().join("times"), 0..3).expect("what cannot be read counts for nothing");
            assert!(times.total.iter().all(|seconds| *seconds >= 0.0));
        }
        4 => {
            // Two halves of the bytes: the verdicts of a part and its counterexamples.
            let (csv, npy) = data.split_at(data.len() / 2);
            let parts = [0, 1].map(|part| {
                let mut asked = json!({ "images": 2 });
                Shard { part, of: 2, batch: 1 }.put(&mut asked);
                file(&format!("part-{part}/verdicts-question.json"), asked.to_string().as_bytes());
                file(&format!("part-{part}/verdicts.csv"), csv);
                file(&format!("part-{part}/counterexamples.npy"), npy);
                folder().join(format!("part-{part}"))
            });
            let out = folder().join("joined");
            let _ = std::fs::remove_dir_all(&out);
            if let Ok(asked) = merge(&parts, &out) {
                assert_eq!(Store::open(&out, Kind::Verdicts, &asked).expect("it was written").lines.len(), 2);
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
            let (clean, attacked) = (seen(1.0), Some(seen(-0.5)));
            let evidence =
                Evidence { clean, bound: Some(-0.5), arithmetic: Arithmetic::Sound, attacked, refuted: false };
            let verdict = judge(index, 3, &evidence);
            verdict_line(&verdict, Some(store.counterexamples()), names)
        }
        Kind::Radii => radius_line(index, 3, &CertifiedRadius { certified: None, uncertified: Some(0.0) }, names),
    }
}
