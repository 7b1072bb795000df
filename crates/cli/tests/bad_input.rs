//! Bad input gives one clear error with what, where, why and a hint, the right exit code, and loses nothing.

mod common;

use std::fs;

use common::{Folder, says_all, tensor_range};

fn poke(folder: &Folder, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = folder.read(path);
    change(&mut bytes);
    folder.write(path, bytes);
}

#[test]
fn damaged_checkpoints_are_named() {
    let folder = Folder::with_base();
    for (file, word, change) in
        [("model.safetensors", "bit-flipped", FLIP), ("optimizer.safetensors", "truncated", CUT)]
    {
        let path = Folder::checkpoint("base", 40, file);
        let before = folder.read(&path);
        poke(&folder, &path, change);
        folder.fails(&["resume", "base"], 2, &[file, word, "hint: ", "base@35"]);
        folder.fails(&["branch", "base", "next.toml", "--out", "b"], 2, &[file, word]);
        assert!(!folder.path("b").exists(), "nothing is left of a branch that never began");
        folder.write(&path, before);
    }
    folder.ok(&["branch", "base", "next.toml", "--out", "b", "--max-steps", "1"]);
}

/// What can happen to a file.
type Damage = fn(&mut Vec<u8>);

const FLIP: Damage = |bytes| {
    let last = bytes.len() - 7;
    bytes[last] ^= 0x10;
};

const CUT: Damage = |bytes| bytes.truncate(bytes.len() / 2);

#[test]
fn data_that_does_not_fit() {
    let folder = Folder::new();
    let train = |set: &str, says: &[&str]| {
        let said = folder.fails(&["train", "tiny.toml", "--out", "run", "--set", set], 2, says);
        assert!(!folder.path("run").exists(), "a run that never began leaves nothing: {said}");
    };
    train("data.train.old.path=nowhere.jsonl", &["nowhere.jsonl", "no such file", "hint: "]);
    folder.write("empty.jsonl", "");
    train("data.train.old.path=empty.jsonl", &["empty.jsonl", "empty"]);
    folder.write("keyless.jsonl", "{\"text\":\"fine\"}\n{\"body\":\"not\"}\n");
    train("data.train.old.path=keyless.jsonl", &["keyless.jsonl:2", "text", "hint: "]);
    folder.write("magic.tokens", vec![7u8; 4096]);
    train("data.train.old.path=magic.tokens", &["magic.tokens", "hint: "]);
    train("data.tokenizer=nowhere.json", &["nowhere.json", "hint: "]);

    // Tokens of another vocabulary.
    folder.ok(&["data", "train-tokenizer", "old.jsonl", "--vocab-size", "300", "--out", "other.json"]);
    folder.ok(&["data", "prepare", "old.jsonl", "--tokenizer", "other.json", "--out", "other"]);
    train("data.train.old.path=other", &["train.tokens", "vocabulary"]);

    // Lines that are not UTF-8 are left out and counted, or an error.
    let mut bytes = folder.read("old.jsonl");
    bytes.extend(b"{\"text\":\"\xff\xfe\"}\n");
    folder.write("latin.jsonl", bytes);
    let args = ["train", "tiny.toml", "--out", "run", "--set", "data.train.old.path=latin.jsonl", "--max-steps", "1"];
    let done = folder.temper(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["warning: ", "1 line", "UTF-8"]);
    fs::remove_dir_all(folder.path("run")).unwrap();
    let args = [&args[..], &["--set", "data.invalid_utf8=error"]].concat();
    folder.fails(&args, 2, &["latin.jsonl:121", "UTF-8"]);
}

#[test]
fn recipes_that_cannot_be_meant() {
    let folder = Folder::new();
    let two = ["train", "tiny.toml", "--out", "run", "--set", "lr.peek=1", "--set", "model.layers=none"];
    folder.fails(&two, 2, &["lr.peek", "lr.peak", "model.layers"]);
    folder.fails(&["train", "rewarm/smal", "--out", "run"], 2, &["rewarm/smal", "rewarm/small"]);
    folder.fails(&["train", "demo/rewarmed", "--out", "run"], 2, &["demo/english", "temper branch"]);
    folder.fails(&["train", "tiny.toml", "--out", "run", "--set", "model.heads=5"], 2, &["heads"]);
    folder.fails(
        &["train", "tiny.toml", "--out", "run", "--set", "data.replay.fraction=0.5"],
        2,
        &["replay", "hint: "],
    );
    folder.fails(&["train", "tiny.toml", "--out", "run", "--set", "run.horizon=9e18 steps"], 2, &["too many"]);
    folder.fails(&["train", "tiny.toml", "--out", "run", "--set", "run.stop=0 steps"], 2, &["run.stop", "hint: "]);
    let batch = "batch.sequences=1000000000000000000";
    folder.fails(&["train", "tiny.toml", "--out", "run", "--set", batch], 2, &["batch.sequences", "more than"]);
    for (sets, says) in [
        (
            [["--set", "batch.shards=3"], ["--set", "batch.micro=1"]],
            ["batch.shards", "3 is no power of two", "2 or 4 is one"],
        ),
        (
            [["--set", "batch.shards=8"], ["--set", "batch.micro=1"]],
            ["batch.shards", "a batch of 4 cannot be cut into 8 equal shards", "at most 4, or another batch.sequences"],
        ),
        (
            [["--set", "batch.shards=2"], ["--set", "batch.micro=3"]],
            ["batch.micro", "3 sequences at once are more than a shard has", "at most 2, or fewer batch.shards"],
        ),
    ] {
        for command in [&["train", "tiny.toml", "--out", "run"][..], &["plan", "tiny.toml", "--no-calibration"]] {
            folder.fails(&[command, &sets.concat()].concat(), 2, &says);
        }
    }
    assert!(!folder.path("run").exists());
}

/// The system would end the process without a word.
#[test]
fn what_does_not_fit_into_memory() {
    let folder = Folder::new();
    let says = ["of memory are needed, this machine has", "hint: ", "batch.micro"];
    for set in ["batch.sequences=1000000000", "model.d_model=262144"] {
        folder.fails(&["train", "tiny.toml", "--out", "run", "--set", set], 2, &says);
    }
}

#[test]
fn runs_that_lack_a_part() {
    let folder = Folder::with_base();
    let without = |file: &str, content: Option<&str>, args: &[&str], says: &[&str]| {
        let (before, path) = (folder.read(file), folder.path(file));
        content.map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content)).expect("a file");
        folder.fails(args, 2, says);
        folder.write(file, before);
    };
    without("base/data/manifest.json", None, &["eval", "base"], &["manifest.json", "hint: "]);
    without("base/resolved.toml", None, &["resume", "base"], &["resolved.toml", "hint: "]);
    without("base/metrics.jsonl", Some(""), &["resume", "base@35"], &["metrics.jsonl", "start", "hint: "]);
    folder.fails(&["train", "tiny.toml", "--out", "run", "--set", "init.from=base"], 2, &["temper branch base"]);
}

#[test]
fn results_that_cannot_be_written() {
    let folder = Folder::with_base();
    folder.fails(&["export", "base", "--out", "old.jsonl"], 2, &["old.jsonl", "a file is in the way", "hint: "]);
    folder.fails(&["eval", "base", "--data", "=old.jsonl"], 2, &["--data =old.jsonl", "NAME=PATH"]);
    folder.fails(&["eval", "base", "--data", "old=nowhere.txt"], 2, &["nowhere.txt", "no such file", "hint: "]);
    if std::path::Path::new("/dev/full").exists() {
        for command in
            ["recipe keys", "sample base --tokens 1", "--help", "--version", "train --help", "completions bash"]
        {
            let done = folder.shell(&format!("$TEMPER {command} > /dev/full"));
            assert_eq!(done.code, 4, "{command}: {}", done.err);
            says_all(&done.err, &["standard output", "hint: "]);
        }
    }
    let gone = folder.shell("{ $TEMPER recipe keys; echo $? >&2; } | true");
    // It may still have been there when the keys were written; then more is said.
    assert_eq!(gone.err.lines().last(), Some("0"), "a reader that has gone away is no error");
}

#[test]
fn directories_in_use() {
    let folder = Folder::with_base();
    folder.fails(
        &["train", "tiny.toml", "--out", "base"],
        2,
        &[
            "base",
            "there is already a run here",
            "hint: continue it with `temper resume base`, or choose another --out",
        ],
    );
    let running =
        folder.start_until(&["train", "tiny.toml", "--out", "busy", "--set", "run.horizon=100000 steps"], "busy", 2);
    folder.fails(&["resume", "busy"], 2, &["busy", "in use", "process"]);
    drop(running);
    folder.fails(&["resume", "nothing"], 2, &["nothing", "no such directory"]);
    folder.fails(&["eval", "base", "--data", "wrong"], 2, &["wrong", "it has old"]);
    folder.fails(&["sample", "base@7"], 2, &["base@7", "35, 40"]);
}

#[test]
fn weights_and_losses_that_are_not_finite() {
    let folder = Folder::with_base();
    folder.ok(&["export", "base", "--out", "hf"]);
    poke(&folder, "hf/model.safetensors", |bytes| {
        let at = tensor_range(bytes, "gpt_neox.layers.1.mlp.dense_h_to_4h.weight").start;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let args = ["train", "tiny.toml", "--out", "run", "--set", "init.from=hf"];
    folder.fails(&args, 3, &["gpt_neox.layers.1.mlp.dense_h_to_4h.weight", "step 1", "NaN"]);
    for args in [["eval", "hf", "--data", "a=old.jsonl"], ["sample", "hf", "--tokens", "2"]] {
        let done = folder.temper(&args);
        assert_eq!(done.code, 3, "{args:?}: {}", done.err);
        says_all(&done.err, &["finite", "hint: "]);
    }

    let done =
        folder.temper(&["train", "tiny.toml", "--out", "wild", "--set", "lr.peak=1e30", "--set", "lr.warmup=0 steps"]);
    assert_eq!(done.code, 3, "{}", done.err);
    says_all(&done.err, &["at step ", "hint: "]);
    // What was there before the step is still there.
    assert_eq!(folder.checkpoints("wild").first(), Some(&0));
}

/// A file system that fills while a checkpoint is written. Needs the right to mount one.
#[test]
fn a_full_disk_loses_nothing() {
    let folder = Folder::with_base();
    let size = folder.read(&Folder::checkpoint("base", 40, "model.safetensors")).len() / 1024;
    fs::create_dir(folder.path("small")).unwrap();
    // Room for two checkpoints and a little, not for three.
    let mount = format!("mount -t tmpfs -o size={}k tmpfs small", 2 * 3 * size + 3 * size / 2 + 900);
    if folder.shell(&format!("{mount} 2>/dev/null")).code != 0 {
        println!("not permitted to mount a small file system: skipped");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let args = ["train", "tiny.toml", "--out", "small/run", "--set", "checkpoint.keep_last=9"];
        let done = folder.temper(&args);
        assert_eq!(done.code, 4, "{}", done.err);
        says_all(&done.err, &["small/run", "hint: "]);
        let kept = folder.checkpoints("small/run");
        assert!(!kept.is_empty() && *kept.last().unwrap() < 40, "{kept:?}");
        let more = format!("mount -o remount,size={}k small", 40 * size + 4000);
        assert_eq!(folder.shell(&more).code, 0);
        folder.ok(&["resume", "small/run"]);
        folder.same_run("base", "small/run", 40);
    }));
    folder.shell("umount small");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Several processes of a program without MPI would each do the whole work, in one another's way.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_without_mpi_are_refused() {
    let folder = Folder::new();
    for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let mut command = folder.command(&["train", "tiny.toml", "--out", "run"]);
        let output = command.env(launcher, "2").output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        says_all(&String::from_utf8_lossy(&output.stderr), &["built without MPI", "hint: ", "--features mpi"]);
        assert!(!folder.path("run").exists());
    }
    folder.command(&["train", "tiny.toml", "--out", "run", "--max-steps", "1"]).env("PMI_SIZE", "1").status().unwrap();
    assert!(folder.path("run").exists());
}
