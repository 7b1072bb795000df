//! Reports, plans and sweeps: what they say of the data, and what they look like.

use std::fs;

use serde_json::Value;

use crate::common::Folder;

/// A base from a Hugging Face directory, judged by the old text too, and a branch of it: the README's own way.
const LAW: &str = r#"
init.from = "model"
data = { seq_len = 32, train.law.path = "new.jsonl", validation.old.path = "old.jsonl", validation_fraction = 0.1 }
batch.sequences = 4
lr = { peak = 1e-3, warmup = "1 steps" }
run.horizon = "4 steps"
"#;

const MEDICINE: &str = r#"
data.train.medicine.path = "third.jsonl"
data.validation_fraction = 0.1
lr = { peak = 5e-4, warmup = "1 steps" }
run.horizon = "4 steps"
"#;

/// Runs `law` and `medicine`, and the report of both (and of more) in `out`.
fn chain() -> Folder {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "base", "--max-steps", "2"]);
    folder.ok(&["export", "base", "--out", "model"]);
    let third = String::from_utf8(folder.read("new.jsonl")).expect("UTF-8").replace("Gesetz", "Arzt");
    folder.write("third.jsonl", third);
    folder.write("law.toml", LAW);
    folder.write("medicine.toml", MEDICINE);
    folder.ok(&["train", "law.toml", "--out", "law"]);
    folder.ok(&["branch", "law", "medicine.toml", "--out", "medicine"]);
    folder
}

#[test]
fn n1_a_run_from_a_directory_is_no_branch() {
    let folder = chain();
    let said = |args: &[&str]| folder.temper(&[&["report", "--out", "out"], args].concat()).err;
    let named = said(&["law", "medicine", "--old", "law", "--new", "medicine"]);
    assert!(named.contains("On medicine, medicine ends"), "{named}");
    assert_eq!(said(&["law", "medicine"]), named);
    assert!(said(&["medicine", "law"]).contains("On medicine, medicine ends"));
    // Alone, a branch says itself where its base is.
    let alone = said(&["medicine"]);
    assert!(alone.contains("On medicine, ") && alone.contains("on law, "), "{alone}");
    // A run from a directory alone: what it was trained on is new.
    let alone = said(&["law"]);
    assert!(alone.contains("On law, ") && alone.contains("on old, "), "{alone}");
}

#[test]
fn a_chain_has_one_axis_and_a_table_of_corpus_by_stage() {
    let folder = chain();
    folder.write("last.toml", MEDICINE.replace("medicine", "old2").replace("third", "old"));
    folder.ok(&["branch", "medicine", "last.toml", "--out", "last"]);
    folder.ok(&["report", "law", "medicine", "last", "--out", "out"]);
    let page = String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    for words in [
        "Every corpus after every stage",
        "after law",
        "after medicine",
        "after last",
        "Bands: one run after the other.",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_report_that_was_cut_is_made_again() {
    let folder = Folder::with_base();
    folder.ok(&["report", "base", "--out", "out"]);
    fs::remove_file(folder.path("out/report.html")).expect("a page");
    folder.write("out/.report.html.x1.unfinished", "<!doctype");
    folder.ok(&["report", "base", "--out", "out"]);
    // What somebody else left is not replaced.
    fs::remove_file(folder.path("out/report.html")).expect("a page");
    folder.write("out/notes.txt", "mine");
    folder.fails(&["report", "base", "--out", "out"], 2, &["holds other files"]);
    assert_eq!(folder.read("out/notes.txt"), b"mine");
}

fn plan(folder: &Folder, args: &[&str]) -> Value {
    serde_json::from_str(&folder.ok(&[&["plan", "--json"], args].concat())).expect("JSON")
}

#[test]
fn n5_a_plan_looks_at_the_data() {
    let folder = Folder::with_base();
    folder.fails(
        &["plan", "tiny.toml", "--set", "data.train.old.path=none.jsonl"],
        2,
        &["none.jsonl: no such file", "hint: "],
    );
    let plan_of = plan(&folder, &["tiny.toml"]);
    let data = &plan_of["data"];
    assert_eq!((&data["train"][0]["name"], &data["validation"][0]["name"]), (&"old".into(), &"old".into()));
    let documents = |part: &str| data[part][0]["documents"].as_u64().expect("a number");
    assert_eq!(documents("train") + documents("validation"), 120);
    for part in ["update_seconds", "evaluation_seconds", "checkpoint_seconds"] {
        assert!(plan_of[part].as_f64().expect("seconds") > 0.0, "{part}");
    }
    // Before the first update, and after 10, 20, 30 and 40.
    assert_eq!(plan_of["evaluations"], 5);
    // Token files say it exactly.
    let tokens =
        folder.json("base/data/manifest.json")["stream"]["sources"][0]["path"].as_str().expect("a path").to_owned();
    let tokens = format!("data.train.old.path=base/{tokens}");
    let exact = plan(&folder, &["tiny.toml", "--no-calibration", "--set", &tokens]);
    assert_eq!(exact["data"]["train"][0]["estimated"], false);
    // A branch is judged by the sets of its base too.
    let branch = plan(&folder, &["next.toml", "--from", "base", "--no-calibration"]);
    let sets: Vec<&Value> =
        branch["data"]["validation"].as_array().expect("sets").iter().map(|set| &set["name"]).collect();
    assert_eq!(sets, ["old", "new"]);
    folder.fails(
        &["plan", "next.toml", "--from", "base", "--set", "data.train.new.path=gone"],
        2,
        &["gone: no such file or directory"],
    );
    let text = folder.ok(&["plan", "tiny.toml"]);
    for words in ["data         old: about", "validation   old: about", "5 evaluations", "checkpoints"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn n8_the_list_of_sweeps_is_json_where_it_is_asked_for() {
    let folder = Folder::empty();
    let list: Value = serde_json::from_str(&folder.ok(&["sweep", "--json"])).expect("JSON");
    assert!(list.as_array().expect("a list").iter().any(|sweep| sweep["name"] == "rewarm/max-lr"), "{list}");
}
