//! The same bits, however a run was interrupted, cut into pieces or spread over threads.

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{Folder, says_all, until_won};

/// Starts `tiny.toml` until update `step` is on record, then does `interrupt`. Gives the name of the run.
fn interrupted(folder: &Folder, extra: &[&str], step: u64, interrupt: impl Fn(common::Running) -> bool) -> String {
    until_won(|run| {
        let args = [&["train", "tiny.toml", "--out", run], extra].concat();
        folder.start_until(&args, run, step).is_some_and(&interrupt)
    })
}

/// The last update on record.
fn last_step(folder: &Folder, run: &str) -> u64 {
    // A process that was killed may leave half a line.
    let text = String::from_utf8(folder.read(&format!("{run}/metrics.jsonl"))).expect("UTF-8");
    text.lines().filter(|line| line.starts_with("{\"event\":\"step\"")).count() as u64
}

#[test]
fn killed_at_23_and_resumed() {
    let folder = Folder::with_base();
    let run = interrupted(&folder, &[], 23, |running| running.kill());
    // It was killed between checkpoints or on one, but not at the end.
    assert!((23..40).contains(&last_step(&folder, &run)));
    folder.ok(&["resume", &run]);
    folder.same_run("base", &run, 40);
    let resumes = folder.events_of(&run, "resume");
    assert_eq!(resumes.len(), 1);
    let from = resumes[0]["step"].as_u64().unwrap();
    assert!(from >= 20 && from.is_multiple_of(5), "resumed after {from}");
    assert_eq!(folder.events_of(&run, "start").len(), 1);
    assert_eq!(folder.events_of(&run, "done"), folder.events_of("base", "done"));
}

#[test]
fn killed_again_and_again() {
    // Twelve kills at moments that are never the same; what a kill leaves half done must never matter.
    let folder = Folder::with_base();
    let run = until_won(|run| {
        let mut kills = 0;
        let mut args = vec!["train", "tiny.toml", "--out", run];
        for wait in 0..12u64 {
            let path = folder.path(run);
            let mut child = folder.command(&args).stderr(std::process::Stdio::null()).spawn().unwrap();
            // A run that has not written its first checkpoint cannot be resumed.
            let begun = || {
                std::fs::read_dir(path.join("checkpoints")).is_ok_and(|dir| {
                    dir.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
                })
            };
            while !begun() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(20 + 17 * wait));
            child.kill().unwrap();
            kills += u64::from(child.wait().unwrap().code().is_none());
            args = vec!["resume", run];
        }
        folder.ok(&["resume", run]);
        kills >= 3
    });
    folder.same_run("base", &run, 40);
    assert_eq!(folder.checkpoints(&run), [35, 40]);
}

#[test]
fn threads_do_not_matter() {
    let folder = Folder::new();
    for threads in ["1", "2", "3"] {
        folder.ok(&["train", "tiny.toml", "--out", threads, "--threads", threads]);
    }
    folder.same_run("1", "2", 40);
    folder.same_run("1", "3", 40);
    // Begun with one, resumed with the other number.
    for (before, after) in [("1", "2"), ("2", "1")] {
        let run = interrupted(&folder, &["--threads", before], 17, |running| running.kill());
        folder.ok(&["resume", &run, "--threads", after]);
        folder.same_run("1", &run, 40);
        fs::remove_dir_all(folder.path(&run)).unwrap();
    }
}

#[test]
fn gradient_accumulation_and_checkpointed_activations() {
    let folder = Folder::with_base();
    let train = |out: &str, extra: &[&str]| {
        let mut args = vec!["train", "tiny.toml", "--out", out];
        extra.iter().for_each(|set| args.extend(["--set", set]));
        folder.ok(&args);
    };
    // Recomputed activations are the same activations.
    train("recomputed", &["memory.activation_checkpointing=true"]);
    folder.same_run("base", "recomputed", 40);

    // Pieces of the batch, the last one smaller: equal up to rounding.
    for (run, micro) in [("ones", "batch.micro=1"), ("threes", "batch.micro=3")] {
        train(run, &[micro]);
        for (a, b) in folder.losses("base").iter().zip(folder.losses(run)) {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            assert!((a - b).abs() < 2e-5 * a, "{micro}: loss {b} instead of {a}");
        }
    }
    // They are other roundings, so this test would notice if the key did nothing.
    assert_ne!(folder.losses("base"), folder.losses("ones"));
    train("ones-recomputed", &["batch.micro=1", "memory.activation_checkpointing=true"]);
    folder.same_run("ones", "ones-recomputed", 40);

    // And resuming is as exact with them.
    let sets = ["--set", "batch.micro=1", "--set", "memory.activation_checkpointing=true"];
    let run = interrupted(&folder, &sets, 12, |running| running.kill());
    folder.ok(&["resume", &run]);
    folder.same_run("ones", &run, 40);
}

/// A batch in shards is a run with bits of its own, which threads and kills do not change.
#[test]
fn shards() {
    let folder = Folder::with_base();
    let sharded = ["--set", "batch.shards=4"];
    let args = |out: &'static str, threads: &'static str| {
        [&["train", "tiny.toml", "--out", out, "--threads", threads], &sharded[..]].concat()
    };
    folder.ok(&args("sharded", "1"));
    folder.ok(&args("again", "2"));
    folder.same_run("sharded", "again", 40);
    let run = interrupted(&folder, &[&sharded[..], &["--threads", "2"]].concat(), 17, |running| running.kill());
    folder.ok(&["resume", &run, "--threads", "1"]);
    folder.same_run("sharded", &run, 40);
    let resolved = String::from_utf8(folder.read("sharded/resolved.toml")).expect("UTF-8");
    assert!(resolved.lines().any(|line| line.starts_with("shards = 4 ") && line.ends_with("# --set")), "{resolved}");

    assert_ne!(folder.losses("base"), folder.losses("sharded"));
    for (a, b) in folder.losses("base").iter().zip(folder.losses("sharded")) {
        let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
        assert!((a - b).abs() < 2e-5 * a, "loss {b} instead of {a}");
    }
    folder.ok(&["train", "tiny.toml", "--out", "one", "--set", "batch.shards=1"]);
    folder.same_run("base", "one", 40);
}

#[test]
fn checkpointed_activations_take_less_memory() {
    let folder = Folder::new();
    folder.ok(&["data", "train-tokenizer", "old.jsonl", "--vocab-size", "300", "--out", "small.json"]);
    // 16 blocks on 1024 rows: about 60 MB of activations, against 10 MB of weights, gradients and moments.
    let sets = [
        "model.layers=16",
        "model.d_model=64",
        "data.tokenizer=small.json",
        "data.seq_len=128",
        "batch.sequences=8",
        "eval.batch=1",
    ];
    let peak = |out: &str, checkpointing: bool| {
        let mut args = vec!["train", "tiny.toml", "--out", out, "--max-steps", "3"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        if checkpointing {
            args.extend(["--set", "memory.activation_checkpointing=true"]);
        }
        let mut running = folder.start_until(&args, out, 1).expect("three updates take a while");
        // The most it ever held, in kB; after the first update it has held all it will.
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        let peak: u64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number");
        assert_eq!(running.wait().0, Some(0));
        peak
    };
    let (kept, recomputed) = (peak("kept", false), peak("recomputed", true));
    folder.same_run("kept", "recomputed", 3);
    assert!(kept > recomputed + 30_000, "{kept} kB with all activations, {recomputed} kB with recomputed ones");
    println!("peak memory: {kept} kB with all activations, {recomputed} kB with recomputed ones");
}

#[test]
fn a_branch_that_keeps_everything_is_the_run_itself() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "base", "--set", "checkpoint.keep_last=9"]);
    folder.ok(&["branch", "base@20", "keep.toml", "--out", "branch", "--set", "checkpoint.keep_last=9"]);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        for step in [20, 25, 40] {
            let [a, b] = ["base", "branch"].map(|run| folder.read(&Folder::checkpoint(run, step, file)));
            assert!(a == b, "{file} of step {step}");
        }
    }
    assert_eq!(folder.events_of("branch", "step"), folder.events_of("base", "step")[20..]);
    // Evaluated before its first update, as every run is; the base was evaluated there too.
    assert_eq!(folder.events_of("branch", "eval"), folder.events_of("base", "eval")[2..]);
    let [a, b] = ["base", "branch"].map(|run| folder.state(run, 40));
    for clock in ["step", "tokens", "samples", "updates"] {
        assert_eq!(a[clock], b[clock], "{clock}");
    }

    // Killed and resumed it is still the same.
    let run = until_won(|run| {
        let args = ["branch", "base@20", "keep.toml", "--out", run];
        folder.start_until(&args, run, 28).is_some_and(|running| running.kill())
    });
    folder.ok(&["resume", &run]);
    assert_eq!(folder.events_of(&run, "step"), folder.events_of("base", "step")[20..]);
}

#[test]
fn signals_and_time_limits_leave_a_checkpoint() {
    let folder = Folder::with_base();
    for (signal, code, word) in [("INT", 130, "SIGINT"), ("TERM", 143, "SIGTERM")] {
        let run = interrupted(&folder, &[], 7, |running| {
            let (found, said) = running.signal(signal);
            if found == Some(0) {
                return false; // it had made its last update already
            }
            assert_eq!(found, Some(code), "{said}");
            says_all(&said, &["stopping: taking a checkpoint first", "continue with: temper resume"]);
            true
        });
        let stopped = last_step(&folder, &run);
        assert_eq!(folder.checkpoints(&run).last(), Some(&stopped), "nothing is lost");
        let stop = &folder.events_of(&run, "stop")[0];
        assert!(stop["reason"].as_str().unwrap().contains(word), "{stop}");
        folder.ok(&["resume", &run]);
        folder.same_run("base", &run, 40);
        fs::remove_dir_all(folder.path(&run)).unwrap();
    }

    // In a millisecond no run comes to its first update.
    let done = folder.temper(&["train", "tiny.toml", "--out", "timed", "--max-time", "0.001s"]);
    assert_eq!(done.code, 75, "{}", done.err);
    says_all(&done.err, &["stopped after step 0", "continue with: temper resume timed"]);
    let done = folder.temper(&["resume", "timed", "--max-time", "0.001s"]);
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(folder.state("timed", 0)["step"], 0);
    folder.ok(&["resume", "timed", "--max-time", "1h"]);
    folder.same_run("base", "timed", 40);
}

#[test]
fn a_run_that_does_not_train_yet_stops_at_once() {
    let folder = Folder::new();
    // A pipe that nobody writes to: reading it takes for ever.
    assert_eq!(folder.shell("mkfifo pipe.jsonl").code, 0);
    let train = ["train", "tiny.toml", "--set", "data.train.old.path=pipe.jsonl", "--out", "run"];
    let child = folder.command(&train).stderr(Stdio::piped()).spawn().expect("it starts");
    for _ in 0..2000 {
        if folder.path("run/data").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(folder.path("run/data").exists(), "it has not begun");
    let (code, said) = common::Running::from(child).signal("INT");
    assert_eq!(code, Some(130), "{said}");
    says_all(&said, &["before the run began", "removed"]);
    assert!(!folder.path("run").exists());

    let done = folder.temper(&[&train[..], &["--max-time", "0.1s"]].concat());
    assert_eq!(done.code, 75, "{}", done.err);
    says_all(&done.err, &["before the run began", "removed"]);
    assert!(!folder.path("run").exists());
}

#[test]
fn resuming_what_is_complete_and_what_was_earlier() {
    let folder = Folder::with_base();
    let before = folder.read("base/metrics.jsonl");
    let done = folder.temper(&["resume", "base"]);
    assert_eq!(done.code, 0);
    says_all(&done.err, &["complete, nothing left to do"]);
    assert_eq!(folder.read("base/metrics.jsonl"), before, "nothing was written");

    folder.ok(&["train", "tiny.toml", "--out", "again", "--set", "checkpoint.keep_last=9"]);
    assert_eq!(folder.checkpoints("again"), [0, 5, 10, 15, 20, 25, 30, 35, 40]);
    let done = folder.temper(&["resume", "again@15", "--max-time", "0.001s"]);
    assert_eq!(done.code, 75, "{}", done.err);
    says_all(&done.err, &["removed the checkpoint of step 40", "resuming after step 15 of 40"]);
    assert_eq!(folder.checkpoints("again"), [0, 5, 10, 15]);
    assert_eq!(last_step(&folder, "again"), 15, "the record has forgotten what was given up");
    folder.ok(&["resume", "again"]);
    folder.same_run("base", "again", 40);
}

#[test]
fn stopping_early_does_not_bend_the_schedule() {
    let folder = Folder::with_base();
    folder.ok(&["train", "tiny.toml", "--out", "short", "--max-steps", "23"]);
    assert_eq!(folder.events_of("short", "step"), folder.events_of("base", "step")[..23]);
    // The end that was told to the record is the end of a resumed run too.
    folder.ok(&["resume", "short@20"]);
    assert_eq!(folder.events_of("short", "step"), folder.events_of("base", "step")[..23]);
    folder.ok(&["train", "tiny.toml", "--out", "stop", "--set", "run.stop=23 steps"]);
    assert_eq!(folder.losses("stop"), folder.losses("short"));
}
