//! Answers on disk: written and read back, damaged ones refused.

use std::fs;
use std::path::Path;

use serde_json::json;
use temper_verify::shards::Shard;
use temper_verify::store::{
    Kind, Names, certified_radii, other_question, radius_line, read_lines, summary, verdict_line,
};
use temper_verify::{Arithmetic, Attacked, CertifiedRadius, Evidence, Store, Verdict, judge};

fn seen(margin: f32) -> Attacked {
    Attacked { clean_margin: 1.0, clean_class: 3, margin, class: if margin > 0.0 { 3 } else { 5 } }
}

fn lines() -> Vec<String> {
    let names = Names { class: "T-shirt, \"top\"", predicted: "=coat", file: "a\nb.png" };
    let judged = [(0.5, None), (-0.5, Some(seen(-0.1))), (-0.5, Some(seen(0.1))), (f64::NAN, None)];
    let judged = judged.into_iter().enumerate();
    judged
        .map(|(i, (bound, attacked))| {
            let (bound, arithmetic) = (Some(bound), Arithmetic::Sound);
            let evidence = Evidence { clean: seen(1.0), bound, arithmetic, attacked, refuted: false };
            let verdict = judge(i as u64, 3, &evidence);
            verdict_line(&verdict, (verdict.verdict == Verdict::Attacked).then_some(0), names)
        })
        .collect()
}

#[test]
fn verdicts_are_taken_up_where_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let asked = json!({ "eps": 0.1 });
    let mut store = Store::open(folder.path(), Kind::Verdicts, &asked).unwrap();
    store.append(lines()).unwrap();
    let path = store.path.clone();
    drop(store);
    // A kill in the middle of a line.
    let mut text = fs::read_to_string(&path).unwrap();
    text += "4,3,3,cert";
    fs::write(&path, &text).unwrap();
    let store = Store::open(folder.path(), Kind::Verdicts, &asked).unwrap();
    assert_eq!(store.lines, lines());
    assert_eq!(store.counterexamples(), 1);
    let counted = summary(&store.lines);
    let outcomes = [counted.certified, counted.attacked, counted.unknown, counted.errors, counted.misclassified];
    assert_eq!((counted.images, outcomes), (4, [1, 1, 1, 1, 0]));
    let problem = Store::open(folder.path(), Kind::Verdicts, &json!({ "eps": 0.2 })).err().unwrap();
    assert!(problem.to_string().contains("eps = 0.1, now it is 0.2"), "{problem}");
    // What an older version asked and this one does not is named too.
    let other = json!({ "eps": 0.1, "stages": ["ibp"] });
    fs::write(folder.path().join("verdicts-question.json"), "{\"eps\": 0.1, \"bound\": \"best\"}").unwrap();
    let problem = Store::open(folder.path(), Kind::Verdicts, &other).err().unwrap().to_string();
    assert!(problem.contains("stages = nothing, now it is [\"ibp\"]"), "{problem}");
    assert!(problem.contains("bound = \"best\", now it is nothing"), "{problem}");
}

#[test]
fn a_line_that_is_no_answer_is_named() {
    let header = Kind::Verdicts.header();
    let whole = format!("{header}\n{}\n", lines().join("\n"));
    assert_eq!(read_lines(Kind::Verdicts, &whole, Path::new("v.csv"), &Shard::WHOLE).unwrap(), lines());
    for (word, other) in [
        ("unknown", "perhaps"),
        ("2,3,3", "3,3,3"),
        (",5,0,,", ",5,2,,"),
        (",-0.5,0.1,", ",-0.5,high,"),
        ("certified,ibp", "certified,oracle"),
        ("ibp,sound", "ibp,certain"),
        // Row 1 of the counterexamples belongs to the next attacked image; who is not attacked has none.
        (",5,0,,0,", ",5,0,,1,"),
        (",5,0,,0,", ",5,0,,,"),
        (",3,0,,,", ",3,0,,1,"),
    ] {
        let text = whole.replacen(word, other, 1);
        assert_ne!(text, whole, "{word}");
        let problem = read_lines(Kind::Verdicts, &text, Path::new("v.csv"), &Shard::WHOLE).unwrap_err().to_string();
        assert!(problem.contains("v.csv") && problem.contains("is not the verdict on image"), "{word}: {problem}");
    }
    let problem = read_lines(Kind::Verdicts, "index\n", Path::new("v.csv"), &Shard::WHOLE).unwrap_err().to_string();
    assert!(problem.contains("header"), "{problem}");
}

#[test]
fn radii_are_read_back() {
    let radius = |certified, uncertified| CertifiedRadius { certified, uncertified };
    let names = Names { class: "bag", ..Names::default() };
    let all = [radius(Some(0.125), Some(0.25)), radius(None, Some(0.0)), radius(Some(0.25), None)];
    let lines: Vec<String> = (0..).zip(&all).map(|(i, radius)| radius_line(i, 2, radius, names)).collect();
    let text = format!("{}\n{}\n", Kind::Radii.header(), lines.join("\n"));
    let read = read_lines(Kind::Radii, &text, Path::new("r.csv"), &Shard::WHOLE).unwrap();
    assert_eq!(certified_radii(&read), [0.125, 0.0, 0.25]);
    for no_radius in ["wide", "NaN", "-0.125", "1.5"] {
        read_lines(Kind::Radii, &text.replace("0.125", no_radius), Path::new("r.csv"), &Shard::WHOLE).unwrap_err();
    }
}

#[test]
fn more_answers_than_images_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let asked = json!({ "images": 4 });
    Store::open(folder.path(), Kind::Verdicts, &asked).unwrap().append(lines()).unwrap();
    let mut store = Store::open(folder.path(), Kind::Verdicts, &asked).unwrap();
    store.append(vec![lines()[3].replacen('3', "4", 1)]).unwrap();
    let open = || Store::open(folder.path(), Kind::Verdicts, &asked).err().unwrap();
    let problem = open();
    assert_eq!(problem.code(), "input/write-verdicts");
    assert!(problem.why.contains("in use") && problem.hint.is_some(), "{problem}");
    drop(store);
    let problem = open().to_string();
    assert!(problem.contains("verdicts.csv") && problem.contains("5 answers about 4 images"), "{problem}");
}

#[test]
fn a_question_that_cannot_be_read_is_no_reason_to_mix_answers() {
    let problem = other_question(Path::new("q.json"), "{", &json!({ "eps": 0.1 })).to_string();
    assert!(problem.contains("cannot be read"), "{problem}");
}
