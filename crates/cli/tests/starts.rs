//! The four starts: what each takes over is what the clocks say, and what is looked at agrees with what was recorded.

mod common;

use std::fs;

use common::{Folder, all_zero};
use serde_json::Value;

#[test]
fn from_a_hugging_face_directory() {
    let folder = Folder::with_base();
    folder.ok(&["export", "base", "--out", "hf"]);
    folder.ok(&["train", "tiny.toml", "--out", "run", "--set", "init.from=hf", "--max-steps", "2"]);
    // The same weights have the same loss, to the bit; the optimiser begins anew.
    let first = &folder.events_of("run", "eval")[0];
    assert_eq!((&first["step"], &first["loss"]), (&Value::from(0), &folder.last_eval("base", "old")["loss"]));
    assert_eq!(folder.state("run", 2)["updates"], 2);
    folder.fails(
        &["train", "tiny.toml", "--out", "x", "--set", "init.from=hf", "--set", "model.heads=2"],
        2,
        &["heads"],
    );
}

#[test]
fn a_branch_keeps_what_it_says() {
    let folder = Folder::with_base();
    let base = folder.state("base", 40);
    folder.ok(&["branch", "base", "next.toml", "--out", "reset"]);
    let begun = folder.state("reset", 12);
    assert_eq!((&begun["step"], &begun["updates"], &begun["samples"]), (&12.into(), &12.into(), &48.into()));
    let set = |key: &str| {
        ["branch", "base", "next.toml", "--out", "kept", "--max-steps", "1", "--set", key].map(String::from)
    };
    let run = |key: &str| {
        let _ = fs::remove_dir_all(folder.path("kept"));
        folder.ok(&set(key).each_ref().map(String::as_str));
    };
    run("clocks.moments=keep");
    assert_eq!(folder.state("kept", 1)["updates"], 41);
    assert!(!all_zero(&folder.read(&Folder::checkpoint("kept", 0, "optimizer.safetensors"))));
    run("clocks.data=keep");
    assert_eq!(folder.state("kept", 1)["samples"], base["samples"].as_u64().unwrap() + 4);
    assert!(all_zero(&folder.read(&Folder::checkpoint("kept", 0, "optimizer.safetensors"))));
    // The seed of its own recipe counts for nothing where the base's random state is kept.
    let own = [&set("clocks.rng=keep")[..], &["--set".to_owned(), "seed=7".to_owned()]].concat();
    let _ = fs::remove_dir_all(folder.path("kept"));
    folder.ok(&own.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(folder.events_of("kept", "start")[0]["seed"], folder.events_of("base", "start")[0]["seed"]);
    run("clocks.weights=reset");
    let weights = |run: &str, step| folder.read(&Folder::checkpoint(run, step, "model.safetensors"));
    assert!(weights("kept", 0) != weights("base", 40));
    // Both texts are watched from before the first update, the old one at the base's last loss.
    let first: Vec<_> = folder.events_of("reset", "eval").into_iter().filter(|e| e["step"] == 0).collect();
    assert!(first.iter().any(|e| e["set"] == "new"));
    let old = first.iter().find(|e| e["set"] == "old").unwrap();
    assert_eq!(old["loss"], folder.last_eval("base", "old")["loss"]);
}

#[test]
fn a_branch_outlives_its_base() {
    let folder = Folder::with_base();
    folder.ok(&["branch", "base", "next.toml", "--out", "branch", "--set", "checkpoint.keep_last=9"]);
    let end = folder.read(&Folder::checkpoint("branch", 12, "model.safetensors"));
    fs::remove_dir_all(folder.path("base")).unwrap();
    folder.ok(&["resume", "branch@4"]);
    assert!(folder.read(&Folder::checkpoint("branch", 12, "model.safetensors")) == end);
    let result: Value = serde_json::from_str(&folder.ok(&["eval", "branch", "--json"])).unwrap();
    for set in ["old", "new", "mean:micro", "mean:macro"] {
        for metric in ["loss", "perplexity", "bits_per_byte"] {
            assert_eq!(result["sets"][set][metric], folder.last_eval("branch", set)[metric], "{set} {metric}");
        }
    }
}

#[test]
fn replay_of_what_the_base_has_seen() {
    let folder = Folder::with_base();
    let args = ["branch", "base", "next.toml", "--out", "branch", "--set", "data.replay.fraction=0.25"];
    let done = folder.temper(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    common::says_all(&done.err, &["replay", "(25.0 %)", "new", "(75.0 %)"]);
    let manifest = folder.json("branch/data/manifest.json");
    assert_eq!(manifest["stream"]["replay"]["seen"], folder.state("base", 40)["samples"]);
    // The same number of updates and tokens as without.
    assert_eq!(folder.state("branch", 12)["tokens"], 12 * 4 * 32);
}

#[test]
fn looking_changes_nothing() {
    let folder = Folder::with_base();
    let before = folder.read("base/metrics.jsonl");
    let sample = |seed: &str| folder.ok(&["sample", "base", "--prompt", "the", "--tokens", "20", "--seed", seed]);
    assert_eq!(sample("1"), sample("1"));
    assert_ne!(sample("1"), sample("2"));
    assert!(sample("1").starts_with("the"));
    // A text of one's own: its name, its bytes as read.
    folder.write("mine.txt", "the king went over the bridge; größer");
    let result: Value =
        serde_json::from_str(&folder.ok(&["eval", "base", "--data", "mine=mine.txt", "--json"])).unwrap();
    assert_eq!(result["sets"]["mine"]["set_bytes"], "the king went over the bridge; größer".len());
    // An export in the type it came in, read and exported again, is the same file.
    for dtype in ["f32", "f16", "bf16"] {
        let (first, second) = (format!("{dtype}-1"), format!("{dtype}-2"));
        folder.ok(&["export", "base", "--out", &first, "--dtype", dtype]);
        folder.ok(&["export", &first, "--out", &second]);
        let [a, b] = [&first, &second].map(|dir| folder.read(&format!("{dir}/model.safetensors")));
        assert!(a == b, "{dtype}");
    }
    assert_eq!(folder.read("base/metrics.jsonl"), before);
}

/// Killed after its last checkpoint, and before it could mark the best one and say that it is complete.
#[test]
fn complete_but_for_its_last_words() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--set", "checkpoint.keep_best=old", "--out", "run"]);
    let best = folder.read("run/checkpoints/best.json");
    assert!(String::from_utf8_lossy(&best).contains("40"), "the last evaluation of this run is its best");
    let record = String::from_utf8(folder.read("run/metrics.jsonl")).unwrap();
    let (kept, last) = record.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("\"done\""), "{last}");
    folder.write("run/metrics.jsonl", format!("{kept}\n"));
    std::fs::remove_file(folder.path("run/checkpoints/best.json")).unwrap();
    folder.ok(&["resume", "run"]);
    assert_eq!(folder.events_of("run", "done").len(), 1);
    assert_eq!(folder.read("run/checkpoints/best.json"), best);
    assert!(folder.temper(&["resume", "run"]).err.contains("complete, nothing left to do"));
}
