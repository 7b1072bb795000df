//! What a language model's run keeps of its data, and what its evaluations say.

use std::fs;

use super::common::Folder;

/// A run of 4 updates.
fn run(folder: &Folder) {
    folder.ok(&["train", "tiny.toml", "--out", "base", "--max-steps", "4", "-q"]);
}

#[test]
fn token_files_that_changed_are_refused() {
    let folder = Folder::new();
    run(&folder);
    let manifest = folder.json("base/data/manifest.json");
    for known in [&manifest["stream"]["sources"][0]["identity"], &manifest["sets"][0]["identity"]] {
        assert!(known["tokens"].as_u64() > Some(0) && known["sha256"].as_str().is_some_and(|hash| hash.len() == 64));
    }
    let tokens = "base/data/old/train.tokens";
    let good = folder.read(tokens);
    // A file of the same vocabulary, with a right header of its own.
    folder.ok(&["data", "prepare", "new.jsonl", "--tokenizer", "builtin:demo", "--out", "other", "-q"]);
    folder.write(tokens, folder.read("other/train.tokens"));
    let says = ["old/train.tokens", "tokens of sha256", "when the run began"];
    folder.fails(&["resume", "base@0"], 2, &says);
    folder.fails(&["branch", "base@0", "keep.toml", "--out", "branch"], 2, &says);
    // Content that its own header does not know of: seen only by reading it.
    let mut bent = good.clone();
    bent[200] ^= 1;
    folder.write(tokens, bent);
    folder.fails(&["resume", "base@0"], 2, &["old/train.tokens", "sha256"]);
    folder.write(tokens, good);
    // A validation set.
    folder.write("base/data/old/validation.tokens", folder.read("other/validation.tokens"));
    folder.fails(&["eval", "base"], 2, &["old/validation.tokens", "when the run began"]);
}

/// As the version before wrote it.
#[test]
fn a_manifest_without_hashes_is_read() {
    let folder = Folder::new();
    run(&folder);
    let mut manifest = folder.json("base/data/manifest.json");
    for entry in ["/stream/sources/0", "/sets/0"] {
        let entry = manifest.pointer_mut(entry).and_then(|entry| entry.as_object_mut()).expect("an object");
        entry.remove("identity").expect("what is written today");
    }
    folder.write("base/data/manifest.json", manifest.to_string());
    folder.ok(&["eval", "base", "-q"]);
    folder.ok(&["resume", "base@0", "-q"]);
}

#[test]
fn names_of_a_manifest_never_become_paths() {
    let folder = Folder::new();
    run(&folder);
    let good = folder.json("base/data/manifest.json");
    for (place, value, says) in
        [("name", "../../../evil", "cannot be the name"), ("path", "../outside.tokens", "leads out of the run")]
    {
        let mut manifest = good.clone();
        manifest["sets"][0][place] = value.into();
        folder.write("base/data/manifest.json", manifest.to_string());
        folder.fails(&["branch", "base", "next.toml", "--out", "branch"], 2, &["manifest.json", value, says]);
        assert!(!folder.path("evil.tokens").exists() && !folder.path("branch").exists());
    }
}

/// At c4163c3 the old set `train` overwrote what a source `base` was tokenised to.
#[test]
fn old_sets_and_new_sources_never_share_a_file() {
    let folder = Folder::new();
    folder.write("first.toml", super::common::TINY.replace("train.old.path", "train.train.path"));
    folder.ok(&["train", "first.toml", "--out", "base", "--max-steps", "2", "-q"]);
    folder.write("second.toml", super::common::NEXT.replace("train.new.path", "train.base.path"));
    let own = "data.validation.extra.path=old.jsonl";
    folder.ok(&["branch", "base", "second.toml", "--out", "branch", "--max-steps", "2", "--set", own, "-q"]);
    let info: Vec<_> = folder
        .events_of("branch", "eval")
        .iter()
        .map(|event| event["set"].as_str().unwrap_or_default().to_owned())
        .collect();
    for set in ["train", "base", "extra"] {
        assert!(info.iter().any(|name| name == set), "{info:?}");
    }
    folder.ok(&["data", "info", "branch/data/base/train.tokens"]);
    assert_eq!(
        folder.read("branch/data/train/base.tokens"),
        folder.read("base/data/train/validation.tokens"),
        "the old set is the base's"
    );
    assert!(folder.path("branch/data/extra/validation.tokens").is_file());
}

#[test]
fn the_limit_of_an_evaluation_is_kept_inside_a_document() {
    let folder = Folder::new();
    run(&folder);
    folder.write("one.txt", "the river went over stone\n".repeat(400));
    let done = folder.temper(&["eval", "base", "--data", "one=one.txt", "--max-tokens", "100", "--json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let found: serde_json::Value = serde_json::from_str(&done.out).expect("JSON");
    assert_eq!(found["sets"]["one"]["set_tokens"], 99, "a hundred are read, all but the first predicted");
    assert!(found["sets"]["one"]["bits_per_byte"].is_null(), "bytes of a part are not known");
    super::common::says_all(&done.err, &["longer than the limit"]);
}

#[test]
fn sets_of_any_name_have_a_folder_of_their_own() {
    let folder = Folder::new();
    run(&folder);
    folder.write("one.txt", "the river went over stone\n".repeat(9));
    folder.write("two.txt", "the people came\n".repeat(9));
    fs::create_dir(folder.path("scratch")).expect("a folder");
    let args = ["eval", "base", "--data", "a.b=one.txt", "--data", "a_b=two.txt"];
    let mut command = folder.command(&args);
    let output = command.env("TMPDIR", folder.path("scratch")).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let left = fs::read_dir(folder.path("scratch")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left behind");
    // A run's own sets need no folder at all.
    let output = folder.command(&["eval", "base"]).env("TMPDIR", folder.path("nowhere")).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_tokenizer_than_that_of_the_weights_is_refused() {
    let folder = Folder::new();
    for (text, name) in [("old.jsonl", "a.json"), ("new.jsonl", "b.json")] {
        folder.ok(&["data", "train-tokenizer", text, "--vocab-size", "300", "--out", name, "-q"]);
    }
    folder.ok(&["train", "tiny.toml", "--out", "first", "--max-steps", "1", "-q", "--set", "data.tokenizer=a.json"]);
    folder.ok(&["export", "first", "--out", "model", "-q"]);
    let shape: String = super::common::TINY.replace("layers = 2\nd_model = 32\nheads = 4\n", "");
    folder.write("from.toml", format!("init.from = \"model\"\n{shape}"));
    let train = ["train", "from.toml", "--max-steps", "1", "--out"];
    let other = ["--set", "data.tokenizer=b.json"];
    let says = ["data.tokenizer", "model/tokenizer.json", "data.other_tokenizer = true"];
    folder.fails(&[&train[..], &["refused"], &other].concat(), 2, &says);
    assert!(!folder.path("refused").exists());
    folder.ok(&[&train[..], &["meant"], &other, &["--set", "data.other_tokenizer=true"]].concat());
    folder.ok(&[&train[..], &["own"], &["--set", "data.tokenizer=a.json"]].concat());
    // Longer than the model's 32 positions.
    let longer = ["--set", "data.tokenizer=a.json", "--set", "data.seq_len=64"];
    folder.fails(&[&train[..], &["long"], &longer].concat(), 2, &["data.seq_len", "64 is more than the 32 tokens"]);
    folder.ok(&[&train[..], &["longer"], &longer, &["--set", "data.beyond_positions=true"]].concat());
}

#[test]
fn a_branch_has_no_first_weights_of_its_own() {
    let folder = Folder::new();
    run(&folder);
    let set = ["--set", "init.from=elsewhere"];
    folder.fails(&[&["branch", "base", "next.toml", "--out", "b"], &set[..]].concat(), 2, &["init.from", "its base"]);
}

#[test]
fn the_best_checkpoint_by_few_documents_is_warned_of() {
    let folder = Folder::new();
    let few = ["--set", "data.validation_fraction=0.01", "--set", "checkpoint.keep_best=old"];
    let done = folder.temper(&[&["train", "tiny.toml", "--out", "few", "--max-steps", "1"], &few[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    super::common::says_all(&done.err, &["keep_best chooses by old, which has"]);
}

#[test]
fn text_beyond_the_positions_is_told() {
    let folder = Folder::new();
    run(&folder);
    let done = folder.temper(&["sample", "base", "--prompt", "the", "--tokens", "40", "--seed", "1"]);
    assert_eq!(done.code, 0, "{}", done.err);
    super::common::says_all(&done.err, &["longer than 32 tokens"]);
}

#[cfg(unix)]
#[test]
fn arguments_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let out = std::ffi::OsStr::from_bytes(b"r\xffn");
    let mut command = folder.command(&["train", "tiny.toml", "--max-steps", "1", "-q", "--out"]);
    let output = command.arg(out).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
