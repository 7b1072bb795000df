//! Parts of a verification give what one run gives, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use temper_verify::shards::{Shard, merge};
use temper_verify::store::{Kind, Names, verdict_line};
use temper_verify::{Arithmetic, Attacked, Evidence, Stack, Store, Times, Verdict, judge};

const IMAGES: usize = 23;

fn question(shard: &Shard) -> Value {
    let mut asked = json!({ "eps": 0.1, "images": IMAGES });
    shard.put(&mut asked);
    asked
}

/// A verification of every image of the part, of which every third is attacked.
fn verify(folder: &Path, shard: &Shard) {
    let mut store = Store::open(folder, Kind::Verdicts, &question(shard)).unwrap();
    let mut stack = Stack::open(&folder.join("counterexamples.npy"), [1, 2, 1], 0).unwrap();
    let mut times = Times::open(folder, std::iter::empty()).unwrap();
    for place in 0..shard.images(IMAGES) {
        let image = shard.image(place);
        let margin = if image.is_multiple_of(3) { -0.5 } else { 0.5 };
        let seen = |margin| Attacked { clean_margin: 1.0, clean_class: 3, margin, class: 3 };
        let (clean, attacked) = (seen(1.0), Some(seen(margin)));
        let bound = Some(if image.is_multiple_of(2) { -0.5 } else { margin.into() });
        let evidence = Evidence { clean, bound, arithmetic: Arithmetic::Sound, attacked, refuted: false };
        let verdict = judge(image as u64, 3, &evidence);
        let row = (verdict.verdict == Verdict::Attacked).then_some(stack.rows);
        stack.append(row.map(|_| [image as f32, 0.5]).iter().map(|pixels| &pixels[..])).unwrap();
        times.append(std::iter::once((image, &[0.25, image as f64, 0.0, 0.0, 0.0]))).unwrap();
        let names = Names { class: "a, b", ..Names::default() };
        store.append(vec![verdict_line(&verdict, row, names)]).unwrap();
    }
}

fn parts(folder: &Path, of: usize, batch: usize) -> Vec<PathBuf> {
    let part = |part: usize| {
        let path = folder.join(format!("{part}-{of}-{batch}"));
        verify(&path, &Shard { part, of, batch });
        path
    };
    (0..of).map(part).collect()
}

#[test]
fn joined_parts_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    verify(&whole, &Shard::WHOLE);
    for (of, batch) in [(1, 4), (2, 4), (3, 1), (5, 2), (7, 10), (4, 100)] {
        let mut parts = parts(folder.path(), of, batch);
        parts.reverse();
        let out = folder.path().join(format!("joined-{of}-{batch}"));
        merge(&parts, &out).unwrap();
        for file in ["verdicts-question.json", "verdicts.csv", "counterexamples.npy", "times.csv"] {
            assert!(
                fs::read(out.join(file)).unwrap() == fs::read(whole.join(file)).unwrap(),
                "{file} of {of} x {batch}"
            );
        }
        // What is there is not joined into once more.
        let problem = merge(&parts, &out).unwrap_err().to_string();
        assert!(problem.contains("there are verdicts already"), "{problem}");
    }
}

#[test]
fn every_image_has_one_place() {
    for (of, batch, total) in [(1, 5, 12), (3, 5, 12), (3, 2, 13), (4, 1, 3), (2, 100, 1)] {
        let of_part = |part| {
            let shard = Shard { part, of, batch };
            (0..shard.images(total)).map(move |place| shard.image(place))
        };
        let mut images: Vec<usize> = (0..of).flat_map(of_part).collect();
        images.sort_unstable();
        assert_eq!(images, (0..total).collect::<Vec<_>>(), "{of} {batch} {total}");
    }
    for wrong in ["", "1", "4/4", "0/0", "-1/4", "a/b", "0/4/2", "0/99999999999"] {
        assert_eq!(Shard::parse(wrong, 10), None, "{wrong}");
    }
    assert_eq!(Shard::parse("3/4", 10), Some(Shard { part: 3, of: 4, batch: 10 }));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parts = parts(folder.path(), 3, 4);
    let out = folder.path().join("out");
    let fails = |folders: &[PathBuf], says: &str| {
        let problem = merge(folders, &out).unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
        assert!(!out.exists());
    };
    fails(&[], "nothing to join");
    fails(&parts[..2], "part 2/3 is missing");
    fails(&[parts[0].clone(), parts[1].clone(), parts[1].clone()], "part 2/3 is missing");
    fails(&[folder.path().join("none")], "none");
    let other = folder.path().join("other");
    verify(&other, &Shard { part: 2, of: 3, batch: 5 });
    fails(&[parts[0].clone(), parts[1].clone(), other], "batches of 5");
    // Another question.
    let question = parts[2].join("verdicts-question.json");
    let text = fs::read_to_string(&question).unwrap();
    fs::write(&question, text.replace("0.1", "0.2")).unwrap();
    fails(&parts, "eps = 0.2, now it is 0.1");
    fs::write(&question, text).unwrap();
    // Not at its end.
    let path = parts[2].join("verdicts.csv");
    let csv = fs::read_to_string(&path).unwrap();
    fs::write(&path, &csv[..csv.trim_end().rfind('\n').unwrap() + 1]).unwrap();
    fails(&parts, "part 2/3 has verdicts on 6 of its 7 images");
    fs::write(&path, csv.replacen("8,3,3", "9,3,3", 1)).unwrap();
    fails(&parts, "is not the verdict on image 8");
}
