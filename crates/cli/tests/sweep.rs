//! Sweeps as a user runs them: the built-in ones resolve, what is common is computed once, a kill at any moment changes
//! nothing, a run that fails does not stop the others, and what is wrong is said at once.

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{Folder, says_all};
use serde_json::Value;

/// A base of 40 updates, three branches of 12: from its end, from its half, from fresh weights.
const SWEEP: &str = r#"
title = "A small sweep"
source = "nobody's paper"
metrics = ["new/loss", "old/loss"]

[[variant]]
name = "end"

[[variant]]
name = "half"
from = "base@50%"

[[variant]]
name = "fresh"
set.clocks.weights = "reset"

[[variant]]
name = "end again"

[[claim]]
what = "the end beats fresh weights on the old data"
metric = "old/loss"
left = "end"
relation = "<"
right = "fresh"

[[claim]]
what = "equal runs are equal"
metric = "new/loss"
left = "end"
relation = "about equal"
right = "end again"
within = 0.001

[size.small]
seeds = 2
base.recipe = "tiny.toml"
all.recipe = "next.toml"
setting.words = { old = "old", new = "new" }
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("sweep.toml", SWEEP);
    folder
}

const REPORT: &str = "sweep/small";

/// The names of the runs below a folder of sweeps.
fn runs(folder: &Folder, out: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.path(out).join("runs")).expect("runs");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// `metrics.json`, which holds no times.
fn metrics(folder: &Folder, out: &str) -> Value {
    folder.json(&format!("{out}/{REPORT}/metrics.json"))
}

#[test]
fn from_base_to_report() {
    let folder = folder();
    let plan: Value =
        serde_json::from_str(&folder.ok(&["sweep", "sweep.toml", "--dry-run", "--no-calibration", "--json"])).unwrap();
    // Two seeds of a base and three branches: the fourth variant is the first one.
    assert_eq!(plan["runs"].as_array().unwrap().len(), 8);
    assert_eq!(plan["variants"].as_array().unwrap().len(), 8);
    assert!(plan["runs"].as_array().unwrap().iter().all(|run| run["state"] == "to-do"));
    assert!(!folder.path("sweeps").exists(), "a plan makes nothing");
    says_all(
        &folder.ok(&["sweep", "sweep.toml", "--dry-run", "--no-calibration"]),
        &["the same run as words: end", "from @20"],
    );

    let out = folder.ok(&["sweep", "sweep.toml", "--jobs", "1"]);
    says_all(
        &out,
        &["A small sweep", "holds          equal runs are equal (words)"]
            .map(|t| if t == "A small sweep" { "words" } else { t }),
    );
    assert_eq!(runs(&folder, "sweeps").len(), 8);
    let page = String::from_utf8(folder.read(&format!("sweeps/{REPORT}/report.html"))).unwrap();
    says_all(&page, &["<svg", "A small sweep", "the end beats fresh weights", "end again"]);
    for figure in ["curves-words", "plane-words", "final-words"] {
        let svg = String::from_utf8(folder.read(&format!("sweeps/{REPORT}/{figure}.svg"))).unwrap();
        assert!(svg.starts_with("<svg"), "{figure}");
    }
    // What begins from fresh weights is far off on the old data, and does not flatten the others.
    let curves = String::from_utf8(folder.read(&format!("sweeps/{REPORT}/curves-words.svg"))).unwrap();
    assert!(curves.contains("fresh ↑"), "{curves}");
    let claims = folder.json(&format!("sweeps/{REPORT}/claims.json"));
    assert_eq!(claims["claims"][1]["verdict"], "holds");
    assert_eq!(claims["claims"][1]["comparisons"][0]["difference"], 0.0);
    let table = String::from_utf8(folder.read(&format!("sweeps/{REPORT}/table.csv"))).unwrap();
    assert_eq!(table.lines().count(), 1 + 4 * 2, "{table}");
    // Every run is an ordinary one, and known here by what it is.
    folder.ok(&["report", &format!("sweeps/{REPORT}/runs/words-half-seed2"), "--out", "own"]);
    let starts = folder.events_of(&format!("sweeps/{REPORT}/runs/words-half-seed2"), "start");
    assert_eq!((&starts[0]["seed"], &starts[0]["parent"]["step"]), (&Value::from(2), &Value::from(20)));

    // Nothing is left to do, and nothing changes.
    let before = (metrics(&folder, "sweeps"), folder.read(&format!("sweeps/{REPORT}/report.html")));
    assert!(folder.temper(&["sweep", "sweep.toml"]).err.contains("0 of them to do"));
    assert_eq!(before, (metrics(&folder, "sweeps"), folder.read(&format!("sweeps/{REPORT}/report.html"))));
}

/// Killed without warning at ten moments, and with two runs side by side: the same files as in one go.
#[test]
fn killed_at_ten_moments() {
    let folder = folder();
    let begun = std::time::Instant::now();
    folder.ok(&["sweep", "sweep.toml", "--jobs", "1", "--out", "calm"]);
    let whole = begun.elapsed().as_millis() as u64;
    // One of the kills: while text is tokenised.
    for run in runs(&folder, "calm").iter().filter(|run| run.starts_with("tiny")) {
        let data = format!("killed/runs/{run}/data/old");
        fs::create_dir_all(folder.path(&data)).expect("a folder");
        folder.write(&format!("killed/runs/{run}/.lock"), "1");
        folder.write(&format!("{data}/.prepare.lock"), "");
    }
    let mut state = 12345u64;
    let mut kills = 0;
    for attempt in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jobs = if attempt % 2 == 0 { "1" } else { "2" };
        let mut command = folder.command(&["sweep", "sweep.toml", "--jobs", jobs, "--out", "killed"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(5 + (state >> 33) % (whole / 8).max(20)));
        let ended = child.try_wait().expect("a child").is_some();
        child.kill().expect("a child can be killed");
        child.wait().expect("a child");
        if ended {
            break;
        }
        kills += 1;
        if kills == 10 {
            break;
        }
    }
    assert!(kills >= 8, "the sweep always ended before the test could kill it");
    folder.ok(&["sweep", "sweep.toml", "--out", "killed"]);
    assert_eq!(runs(&folder, "calm"), runs(&folder, "killed"));
    for run in runs(&folder, "calm") {
        let step = if run.starts_with("tiny") { 40 } else { 12 };
        folder.same_run(&format!("calm/runs/{run}"), &format!("killed/runs/{run}"), step);
    }
    for entry in fs::read_dir(folder.path(&format!("calm/{REPORT}"))).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "runs" {
            let [a, b] = ["calm", "killed"].map(|out| folder.read(&format!("{out}/{REPORT}/{name}")));
            assert!(a == b, "{name} differs");
        }
    }
}

/// Stopped by a signal, it takes checkpoints, says so by its exit code, and goes on.
#[test]
fn stopped_by_a_signal() {
    let folder = folder();
    let args = [
        "sweep",
        "sweep.toml",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--set",
        "run.horizon=3000 steps",
        "--set",
        "checkpoint.every=0 steps",
    ];
    let mut command = folder.command(&args);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let running = common::Running::from(child);
    let begun = std::time::Instant::now();
    let some = || runs(&folder, "sweeps").into_iter().find(|run| run.starts_with("next"));
    while !(folder.path("sweeps/runs").exists()
        && some().is_some_and(|run| {
            fs::read_to_string(folder.path(&format!("sweeps/runs/{run}/metrics.jsonl")))
                .is_ok_and(|text| text.contains("\"step\":20,"))
        }))
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to the first branch");
        std::thread::sleep(Duration::from_millis(2));
    }
    let (code, said) = running.signal("TERM");
    assert_eq!(code, Some(143), "{said}");
    says_all(&said, &["stopped at a checkpoint", "the same command resumes"]);
    let run = some().expect("the first branch");
    assert!(folder.checkpoints(&format!("sweeps/runs/{run}")).last().is_some_and(|step| *step >= 20));
}

#[test]
fn what_is_common_is_computed_once() {
    let folder = folder();
    let other = SWEEP.replace("name = \"half\"\nfrom = \"base@50%\"", "name = \"half\"\nset.lr.peak = 1e-4");
    folder.write("other.toml", other);
    folder.ok(&["sweep", "sweep.toml"]);
    let bases = |folder: &Folder| -> Vec<String> {
        let of = |run: &String| run.starts_with("tiny");
        runs(folder, "sweeps").into_iter().filter(of).collect()
    };
    let first = bases(&folder);
    assert_eq!(first.len(), 2, "one base a seed");
    let records: Vec<Vec<u8>> =
        first.iter().map(|run| folder.read(&format!("sweeps/runs/{run}/metrics.jsonl"))).collect();
    let said = folder.temper(&["sweep", "other.toml"]).err;
    assert!(said.contains("8 runs, 2 of them to do"), "{said}");
    assert_eq!(bases(&folder), first, "the bases are found again");
    for (run, record) in first.iter().zip(records) {
        assert_eq!(folder.read(&format!("sweeps/runs/{run}/metrics.jsonl")), record);
        assert_eq!(folder.events_of(&format!("sweeps/runs/{run}"), "start").len(), 1);
    }
    let plan = |folder: &Folder| -> Vec<Value> {
        let args = ["sweep", "sweep.toml", "--dry-run", "--no-calibration", "--json"];
        let plan: Value = serde_json::from_str(&folder.ok(&args)).unwrap();
        plan["runs"].as_array().unwrap().clone()
    };
    // A folder is known by what is in its files, and so is a base.
    let text = String::from_utf8(folder.read("old.jsonl")).unwrap();
    folder.write("tiny.toml", common::TINY.replace("\"old.jsonl\"", "\"texts\""));
    fs::create_dir(folder.path("texts")).unwrap();
    folder.write("texts/a.jsonl", &text);
    let before = plan(&folder);
    folder.write("texts/a.jsonl", text.replacen("river", "stone", 1));
    let after = plan(&folder);
    assert!(before.iter().zip(&after).all(|(before, after)| before["run"] != after["run"]));
    // The order of a sum, and with it the last bits.
    folder.write("tiny.toml", common::TINY.replace("sequences = 4", "sequences = 4\nmicro = 2"));
    assert!(plan(&folder).iter().all(|run| run["state"] == "to-do"));
    folder.write("tiny.toml", common::TINY.replace("sequences = 4", "sequences = 4\nshards = 2"));
    assert!(plan(&folder).iter().all(|run| run["state"] == "to-do"));
    folder.write("tiny.toml", common::TINY);
    assert!(plan(&folder).iter().all(|run| run["state"] == "done"));
    // Another text is another base, under the same name.
    folder.write("old.jsonl", text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>());
    assert!(plan(&folder).iter().all(|run| run["state"] == "to-do"));
}

/// Two sweeps at the same time, one folder: every run is trained by one of them, and the other waits for it, even if their
/// recipes are only called differently.
#[test]
fn two_sweeps_at_once() {
    let folder = folder();
    for (name, recipe) in [("small", common::TINY), ("after", common::NEXT)] {
        folder.write(&format!("{name}.toml"), recipe);
    }
    folder.write("other.toml", SWEEP.replace("tiny.toml", "small.toml").replace("next.toml", "after.toml"));
    let start = |sweep: &str| {
        let mut command = folder.command(&["sweep", sweep, "--jobs", "1"]);
        common::Running::from(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"))
    };
    let (mut first, mut second) = (start("sweep.toml"), start("other.toml"));
    for (code, said) in [first.wait(), second.wait()] {
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(metrics(&folder, "sweeps")["runs"].as_array().unwrap().len(), 8);
    assert_eq!(folder.json("sweeps/other/small/metrics.json")["runs"].as_array().unwrap().len(), 8);
    // A name that came too late is a link.
    let link = |run: &String| folder.path(&format!("sweeps/runs/{run}")).is_symlink();
    let all: Vec<String> = runs(&folder, "sweeps").into_iter().filter(|run| !link(run)).collect();
    assert_eq!(all.len(), 8, "{all:?}");
    for run in all {
        for kind in ["start", "done"] {
            assert_eq!(folder.events_of(&format!("sweeps/runs/{run}"), kind).len(), 1, "{kind} of {run}");
        }
        assert!(folder.events_of(&format!("sweeps/runs/{run}"), "resume").is_empty());
    }
}

#[test]
fn a_run_that_fails_does_not_stop_the_others() {
    let folder = folder();
    folder.write(
        "sweep.toml",
        SWEEP.replace("name = \"half\"", "name = \"half\"\nset.lr.peak = 1e30\nset.lr.warmup = \"0 steps\""),
    );
    let done = folder.temper(&["sweep", "sweep.toml", "--jobs", "1"]);
    assert_eq!(done.code, 3, "{}", done.err);
    says_all(&done.err, &["half, seed 1 failed: ", "half, seed 2 failed: ", "the report leaves them out"]);
    says_all(&done.out, &["end again", "report: "]);
    let runs = folder.json(&format!("sweeps/{REPORT}/metrics.json"));
    let variants: Vec<&Value> = runs["runs"].as_array().unwrap().iter().map(|run| &run["variant"]).collect();
    assert_eq!(variants.len(), 6, "{variants:?}");
    let page = String::from_utf8(folder.read(&format!("sweeps/{REPORT}/report.html"))).unwrap();
    says_all(&page, &["Runs that failed", "half, seed 2: "]);
    // Where nothing at all was measured, what was reported stays.
    let base = "base = { recipe = \"tiny.toml\", set.lr = { peak = 1e30, warmup = \"0 steps\" } }";
    folder.write("sweep.toml", SWEEP.replace("base.recipe = \"tiny.toml\"", base));
    let done = folder.temper(&["sweep", "sweep.toml", "--jobs", "1"]);
    assert_eq!(done.code, 3, "{}", done.err);
    says_all(&done.err, &["there is nothing to report"]);
    assert_eq!(folder.json(&format!("sweeps/{REPORT}/metrics.json")), runs);
}

/// Numbers planted into the runs' own records: a false claim does not hold, one within the spread is undecided.
#[test]
fn planted_metrics() {
    let folder = folder();
    folder.ok(&["sweep", "sweep.toml", "--seeds", "3", "--jobs", "1"]);
    let verdict = |ends: [f64; 3], fresh: [f64; 3]| {
        for (variant, values) in [("end", ends), ("fresh", fresh)] {
            for (seed, value) in (1..).zip(values) {
                let path = folder.path(&format!("sweeps/{REPORT}/runs/words-{variant}-seed{seed}/metrics.jsonl"));
                let text = fs::read_to_string(&path).unwrap();
                let plant = |line: &str| match serde_json::from_str::<Value>(line).unwrap() {
                    mut event if event["event"] == "eval" && event["set"] == "old" && event["step"] == 12 => {
                        event["loss"] = value.into();
                        event.to_string() + "\n"
                    }
                    _ => line.to_owned() + "\n",
                };
                fs::write(&path, text.lines().map(plant).collect::<String>()).unwrap();
            }
        }
        folder.ok(&["sweep", "sweep.toml", "--seeds", "3"]);
        folder.json(&format!("sweeps/{REPORT}/claims.json"))["claims"][0]["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict([1.0, 1.1, 0.9], [2.0, 2.0, 2.0]), "holds");
    assert_eq!(verdict([3.0, 3.1, 2.9], [2.0, 2.0, 2.0]), "does-not-hold");
    assert_eq!(verdict([1.0, 2.5, 1.5], [2.0, 2.0, 2.0]), "undecided");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let folder = Folder::with_base();
    let wrong = r#"
title = "wrong"
metrics = ["new/loss", "new/accuracy", "newer/loss"]
[[variant]]
name = "a"
[[variant]]
name = "a"
from = "base@7 steps"
[[variant]]
name = "c"
[[claim]]
what = "unknown variant"
metric = "new/loss"
left = "a"
relation = "<"
right = "b"
[[claim]]
what = "not recorded"
metric = "new/grad_norm"
left = "a"
relation = "<"
right = "c"
[[claim]]
what = "compared with itself, within what?"
metric = "new/loss"
left = "a"
relation = "<"
right = "a"
within = 0.1
[size.small]
base.run = "base"
all.recipe = "next.toml"
setting.words = { old = "old", new = "new" }
"#;
    folder.write("wrong.toml", wrong);
    let err = folder.fails(
        &["sweep", "wrong.toml"],
        2,
        &[
            "wrong.toml:6: variant.name: there is already a variant \"a\"",
            "there is no variant \"b\"",
            "\"a\" is compared with itself",
            "claim.within: it means nothing with relation = \"<\"",
            "new/grad_norm: no evaluation records grad_norm",
            "new/accuracy: no evaluation records accuracy",
            "newer/loss: no run is evaluated on a set newer",
            "base@7: no such checkpoint",
            "hint: there are: 35, 40",
        ],
    );
    assert_eq!(err.matches("error: ").count(), 8, "{err}");
    assert!(!folder.path("sweeps").exists());
    folder.write("part.toml", wrong.replace("base.run = \"base\"", "base.run = \"base@35\""));
    folder.fails(&["sweep", "part.toml"], 2, &["base@35: a base is a whole run", "from = \"base@500 steps\""]);
    folder.fails(&["sweep", "rewarm/max-rl"], 2, &["did you mean `rewarm/max-lr`?"]);
    folder.fails(&["sweep", "nowhere.toml"], 2, &["nowhere.toml", "a sweep is a TOML file"]);
    // What is wrong with the base does not hide what is wrong with the variants.
    let overrides = ["--set", "run.horizont=3", "--set-base", "lr.peek=1"];
    let args = [&["sweep", "rewarm/max-lr", "--size", "tiny"], overrides.as_slice()].concat();
    folder.fails(&args, 2, &["--set-base lr.peek", "--set run.horizont"]);
    let lost = SWEEP
        .replace("from = \"base@50%\"", "from = \"base@90 steps\"\n[[variant]]\nname = \"lost\"\nrecipe = \"next\"");
    folder.write("lost.toml", lost);
    let says = ["lost.toml: variant \"half\": from: step 90 is after the end", "lost.toml: next: there is no recipe"];
    folder.fails(&["sweep", "lost.toml"], 2, &says);
    // Images that are not here.
    folder.fails(&["sweep", "fastibp/methods"], 2, &["nothing at data/mnist", "temper data fetch mnist"]);
    folder.fails(&["sweep", "rewarm/max-lr", "--size", "huge"], 2, &["tiny, small, paper"]);
    // Missing data: every path once, with the way to it, before anything is made.
    let err = folder.fails(
        &["sweep", "rewarm/max-lr"],
        2,
        &["corpus/docs.jsonl.zst", "corpus/prose.jsonl.zst", "scripts/corpora.py"],
    );
    assert_eq!(err.matches("corpus/docs.jsonl.zst").count(), 1, "{err}");
    assert!(!folder.path("sweeps").exists());
}

/// A sweep that is well formed, and asks for what the base does not give.
#[test]
fn what_the_base_does_not_give() {
    let folder = folder();
    let fails = |change: [&str; 2], says: &[&str]| {
        folder.write("sweep.toml", SWEEP.replace(change[0], change[1]));
        folder.fails(&["sweep", "sweep.toml"], 2, says)
    };
    fails(
        ["base@50%", "base@best"],
        &["variant \"half\": from: the base marks no checkpoint as its best", "keep_best"],
    );
    fails(
        ["set.clocks.weights = \"reset\"", "set.lr.peek = 1e-4"],
        &["sweep.toml: set.lr.peek: there is no such key", "`lr.peak`"],
    );
    let err = fails(
        ["all.recipe = \"next.toml\"", "all = { recipe = \"next.toml\", set.data.validation_fraction = 0 }"],
        &["new/loss: no run is evaluated on a set new", "the sets are old"],
    );
    assert!(!err.contains("a set old"), "{err}");
    assert!(!folder.path("sweeps").exists());
}

/// Two sweeps that branch from different steps of one base: while one trains it for the other, and after a kill.
#[test]
fn a_base_that_another_sweep_began() {
    let folder = folder();
    for (name, step) in [("first", 1491), ("second", 1492), ("third", 1493)] {
        folder.write(&format!("{name}.toml"), SWEEP.replace("base@50%", &format!("base@{step} steps")));
    }
    let args = |name| ["sweep", name, "--seeds", "1", "--jobs", "1", "--set-base", "run.horizon=1500 steps"];
    let start = |name| {
        let mut command = folder.command(&args(name));
        common::Running::from(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"))
    };
    let reached = |step: &str| {
        let runs = fs::read_dir(folder.path("sweeps/runs")).into_iter().flatten().flatten();
        let mut records = runs.filter_map(|run| fs::read_to_string(run.path().join("metrics.jsonl")).ok());
        records.any(|text| text.contains(step))
    };
    let wait_for = |what: &str, until: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !until() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} never came");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let first = start("first.toml");
    wait_for("step 20", &|| reached("\"step\":20,"));
    let mut second = start("second.toml");
    let asked = |step: &str| {
        let files = fs::read_dir(folder.path("sweeps/runs")).into_iter().flatten().flatten();
        let mut files = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "keep"));
        files.any(|file| fs::read_to_string(file.path()).is_ok_and(|text| text.lines().any(|line| line == step)))
    };
    wait_for("the second sweep", &|| asked("1492"));
    let (code, said) = first.signal("TERM");
    assert_eq!(code, Some(143), "{said}");
    assert!(!reached("\"step\":1490,"), "it was too late to stop the base");
    // The second goes on with the base, for itself and for the two others, of which one has only now begun to wait.
    let mut third = start("third.toml");
    for running in [&mut second, &mut third] {
        let (code, said) = running.wait();
        assert_eq!(code, Some(0), "{said}");
    }
    let said = folder.temper(&args("first.toml"));
    assert_eq!(said.code, 0, "{}", said.err);
    // An overridden sweep has a folder of its own.
    for (name, step) in [("first", 1491), ("second", 1492), ("third", 1493)] {
        let report = fs::read_dir(folder.path(&format!("sweeps/{name}"))).unwrap().flatten().next().unwrap();
        let report = report.file_name().into_string().unwrap();
        assert!(report.starts_with("small-with-"), "{report}");
        let starts = folder.events_of(&format!("sweeps/{name}/{report}/runs/words-half-seed1"), "start");
        assert_eq!(starts[0]["parent"]["step"], step);
        let claims = folder.json(&format!("sweeps/{name}/{report}/claims.json"));
        assert_eq!(claims["overrides"][0], "--set-base run.horizon=1500 steps");
    }
}

#[test]
fn a_checkpoint_that_is_gone() {
    let folder = folder();
    folder.ok(&["sweep", "sweep.toml", "--seeds", "1"]);
    let base = runs(&folder, "sweeps").into_iter().find(|run| run.starts_with("tiny")).unwrap();
    fs::remove_dir_all(folder.path(&format!("sweeps/runs/{base}/checkpoints/step-00000020"))).unwrap();
    let moved = SWEEP.replace("set.clocks.weights = \"reset\"", "set.lr.peak = 2e-4\nfrom = \"base@50%\"");
    folder.write("sweep.toml", moved);
    folder.fails(
        &["sweep", "sweep.toml", "--seeds", "1"],
        2,
        &[&format!("{base}@20"), "it is gone", "move the run away"],
    );
    // The last one too, even if nothing names its step. What has branched already needs it no more.
    fs::remove_dir_all(folder.path(&format!("sweeps/runs/{base}/checkpoints/step-00000040"))).unwrap();
    folder.write("sweep.toml", SWEEP);
    folder.ok(&["sweep", "sweep.toml", "--seeds", "1"]);
    let args = ["sweep", "sweep.toml", "--seeds", "1", "--set", "lr.peak=2e-4"];
    folder.fails(&args, 2, &[&format!("sweeps/runs/{base}@40: a variant branches"), "it is gone"]);
}

/// Every built-in sweep in every size, in an empty folder: read, expanded and costed.
#[test]
fn built_in_sweeps() {
    let folder = Folder::empty();
    let list = folder.ok(&["sweep"]);
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), 11, "{list}");
    says_all(&folder.ok(&["recipe", "list"]), &names);
    for name in names {
        for size in ["tiny", "small", "paper"] {
            let args = ["sweep", name, "--size", size, "--dry-run", "--no-calibration"];
            let out = folder.ok(&args);
            let plan: Value = serde_json::from_str(&folder.ok(&[args.as_slice(), &["--json"]].concat())).unwrap();
            if name == "fastibp/init-gain" {
                assert!(plan["networks"].as_array().unwrap().len() >= 45, "{out}");
                says_all(&out, &["parameters", "networks to draw"]);
                continue;
            }
            says_all(&out, &["updates", "memory", "disk", "3 seeds of this"]);
            for run in plan["runs"].as_array().unwrap() {
                let [steps, flops, memory] = ["steps", "flops", "memory_bytes"].map(|key| run[key].as_f64().unwrap());
                assert!(steps > 0.0 && flops > 0.0 && memory > 0.0, "{name} {size}: {run}");
                let parameters = run["parameters"].as_u64().unwrap();
                if name.starts_with("rewarm") && size == "small" {
                    assert!((1_000_000..4_000_000).contains(&parameters), "{name}: {parameters}");
                }
                if name.starts_with("rewarm") && size == "paper" {
                    assert_eq!(parameters, 405_334_016, "{name}");
                }
            }
        }
        says_all(&folder.ok(&["sweep", name, "--show"]), &["title = ", "[size.paper"]);
    }
}

/// Without training: the gains of fresh networks.
#[test]
fn gains() {
    let folder = Folder::empty();
    let out = folder.ok(&["sweep", "fastibp/init-gain", "--size", "tiny", "--seeds", "2"]);
    says_all(&out, &["cnn7", "resnext", "ibp", "orthogonal", "report: "]);
    let claims = folder.json("sweeps/fastibp/init-gain/tiny/claims.json");
    assert!(claims["claims"].as_array().unwrap().len() >= 6);
    let page = String::from_utf8(folder.read("sweeps/fastibp/init-gain/tiny/report.html")).unwrap();
    says_all(&page, &["Gain by layer cnn7", "after BN", "ibp init"]);
}
