//! Certified training at the command line: resumed, branched, verified, inspected and planned, and its bad input.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{Folder, says_all, until_won};
use serde_json::Value;

/// 12 updates of 40 images, 6 an epoch, the last of which has 16; the ramp takes all of the run.
const TINY: &str = r#"
task = "certify"
[model]
name = "small"
width = 4
[data]
images = "builtin:fashion"
max_train = 240
max_test = 60
holdout = 0.1
[batch]
images = 40
[eps]
target = 0.1
length = "12 steps"
[lr]
shape = "linear"
peak = 1e-3
[run]
horizon = "12 steps"
[eval]
every = "3 steps"
attack_images = 20
attack_steps = 3
[checkpoint]
every = "3 steps"
[log]
every = "1 steps"
"#;

/// What makes it certify some test images: a longer run at a small radius.
const CERTIFIES: [&str; 4] = ["eps.target=0.02", "eps.length=20 steps", "run.horizon=40 steps", "lr.peak=5e-3"];

/// The attack of most tests, and intervals.
const ATTACK: [&str; 6] = ["--steps", "5", "--restarts", "2", "--stages", "attack,ibp"];

/// All stages, with a budget that hangs on no clock.
const ALL: [&str; 10] =
    ["--steps", "5", "--restarts", "2", "--attack", "all", "--timeout", "10m", "--max-domains", "2"];

/// What can happen to a file.
type Damage = fn(&mut Vec<u8>);

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("tiny.toml", TINY);
    folder
}

/// With the run `base`, which certifies some images.
fn with_base() -> Folder {
    let folder = folder();
    train(&folder, "base", &CERTIFIES);
    folder
}

fn args<'a>(out: &'a str, sets: &[&'a str]) -> Vec<&'a str> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    ["train", "tiny.toml", "--out", out].into_iter().chain(sets).collect()
}

fn train(folder: &Folder, out: &str, sets: &[&str]) {
    folder.ok(&args(out, sets));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The cells of a CSV file, its header apart.
fn csv(folder: &Folder, path: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(folder.read(path)).expect("UTF-8");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// `temper verify` of a run into a folder; gives its JSON.
fn verify(folder: &Folder, run: &str, out: &str, extra: &[&str]) -> Value {
    json(&folder.ok(&[&["verify", run, "--out", out, "--json"], extra].concat()))
}

/// MNIST's four files, made up: `images` training and half as many test images of so many classes.
fn write_idx(folder: &Folder, name: &str, images: usize, side: usize, classes: usize) {
    fs::create_dir_all(folder.path(name)).unwrap();
    for (stem, images) in [("train", images), ("t10k", images / 2)] {
        let number = |n: usize| (n as u32).to_be_bytes();
        let pixels = (0..images * side * side).map(|i| (i * 37 % 251) as u8);
        let header = [[0, 0, 8, 3], number(images), number(side), number(side)].concat();
        folder.write(&format!("{name}/{stem}-images-idx3-ubyte"), header.into_iter().chain(pixels).collect::<Vec<_>>());
        let labels = (0..images).map(|i| (i % classes) as u8);
        let header = [[0, 0, 8, 1], number(images)].concat();
        folder.write(&format!("{name}/{stem}-labels-idx1-ubyte"), header.into_iter().chain(labels).collect::<Vec<_>>());
    }
}

fn change(folder: &Folder, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = folder.read(path);
    change(&mut bytes);
    folder.write(path, bytes);
}

#[test]
fn killed_in_the_ramp_and_resumed() {
    let folder = folder();
    let augmented = ["data.flip=true", "data.crop=2", "batch.accumulate=2"];
    let whole = ["batch.accumulate=2", "batch.statistics=batch", "method.precise_batch_norm=true"];
    let attacked = ["method.name=pgd", "method.attack_steps=2"];
    let sharded = ["batch.shards=4", "batch.statistics=batch"];
    let runs = [("augmented", &augmented[..]), ("whole", &whole), ("pgd", &attacked), ("sharded", &sharded)];
    for (name, sets) in [("plain", &[][..])].into_iter().chain(runs) {
        folder.ok(&[&args(name, sets)[..], &["--threads", "1"]].concat());
        for (before, after) in [("1", "2"), ("2", "1")] {
            let run = until_won(|run| {
                let args = [&args(run, sets)[..], &["--threads", before]].concat();
                // Killed in the middle of the ramp, between the checkpoints of updates 6 and 9, or a little later.
                folder.start_until(&args, run, 7).is_some_and(|running| running.kill())
            });
            folder.ok(&["resume", &run, "--threads", after]);
            folder.same_run(name, &run, 12);
            let resumed = folder.events_of(&run, "resume");
            assert_eq!(resumed.len(), 1);
            assert!(resumed[0]["step"].as_u64().unwrap() >= 6);
            fs::remove_dir_all(folder.path(&run)).unwrap();
        }
    }
    // Other bits, so that this test would notice keys that do nothing.
    for other in ["augmented", "whole", "pgd", "sharded"] {
        assert_ne!(folder.losses("plain"), folder.losses(other), "{other}");
    }
    let first = &folder.events_of("plain", "step")[0];
    assert_eq!((&first["eps"], &first["weight"]), (&Value::from(0), &Value::from(0.5)));
}

#[test]
fn a_time_limit_leaves_a_checkpoint() {
    let folder = folder();
    train(&folder, "base", &[]);
    let done = folder.temper(&[&args("timed", &[])[..], &["--max-time", "0.001s"]].concat());
    assert_eq!(done.code, 75, "{}", done.err);
    folder.ok(&["resume", "timed"]);
    folder.same_run("base", "timed", 12);
    let done = folder.temper(&["resume", "timed"]);
    assert_eq!(done.code, 0);
    says_all(&done.err, &["complete, nothing left to do"]);
}

#[test]
fn a_kill_between_the_best_checkpoint_and_its_mark() {
    let folder = folder();
    train(&folder, "base", &[&CERTIFIES[..], &["checkpoint.keep_last=99"]].concat());
    let mark = || json(std::str::from_utf8(&folder.read("base/checkpoints/best.json")).expect("UTF-8"));
    let best = mark();
    assert_ne!(best["step"], 40, "a later, equal checkpoint must not have taken the mark");
    fs::remove_file(folder.path("base/checkpoints/best.json")).unwrap();
    folder.ok(&["resume", &format!("base@{}", best["step"])]);
    assert_eq!(mark(), best);
}

#[test]
fn keys_without_effect_are_named() {
    let folder = folder();
    let sets = ["eps.shape=constant", "method.name=vanilla-ibp", "method.lambda=0.1", "method.mixing=zhang"];
    let done = folder.temper(&args("idle", &sets));
    for key in ["eps.length: eps.shape is", "method.lambda: method.tightness", "method.mixing: method.name is not"] {
        says_all(&done.err, &[&format!("left out    {key}")]);
    }
    let plan = folder.temper(&["plan", "tiny.toml", "--no-calibration", "--set", "eps.shape=constant"]);
    says_all(&plan.err, &["eps.length has no effect: eps.shape is \"constant\""]);
    // A position in the data counts batches.
    let branch = ["branch", "idle", "tiny.toml", "--out", "other", "--set", "clocks.data=keep", "--set"];
    let done = folder.temper(&[&branch[..], &["batch.images=20"]].concat());
    assert_eq!(done.code, 2, "{}", done.err);
    says_all(&done.err, &["batch.images", "20, but 40 in idle", "clocks.data"]);
}

#[test]
fn branches() {
    let folder = folder();
    train(&folder, "base", &["checkpoint.keep_last=9"]);
    let keep = r#"
        task = "certify"
        clocks = { weights = "keep", moments = "keep", schedule = "keep", data = "keep", rng = "keep" }
        eval = { every = "3 steps", attack_images = 20, attack_steps = 3 }
        checkpoint.every = "3 steps"
    "#;
    folder.write("keep.toml", keep);
    folder.ok(&["branch", "base@6", "keep.toml", "--out", "kept"]);
    for file in ["model.safetensors", "optimizer.safetensors", "network.json"] {
        let [a, b] = ["base", "kept"].map(|run| folder.read(&Folder::checkpoint(run, 12, file)));
        assert!(a == b, "{file}");
    }
    assert_eq!(folder.events_of("kept", "step"), folder.events_of("base", "step")[6..]);
    // Two sets, evaluated at 0, 3, 6, 9 and 12; the branch begins with the evaluation at 6.
    assert_eq!(folder.events_of("kept", "eval"), folder.events_of("base", "eval")[4..]);

    // Network, data and target are those of the base, the ramp is a new one.
    let new = r#"
        task = "certify"
        base = "tiny.toml"
        eps.length = "4 steps"
        lr = { shape = "constant", peak = 1e-3 }
        run.horizon = "6 steps"
        eval.attack_images = 0
    "#;
    folder.write("new.toml", new);
    let done = folder.temper(&["branch", "base", "new.toml", "--out", "new"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["keeps weights; resets moments, schedule, data position, random state"]);
    let eps: Vec<_> = folder.events_of("new", "step").iter().map(|step| step["eps"].as_f64().unwrap()).collect();
    assert_eq!((eps[0], eps[4], eps[5]), (0.0, 0.1, 0.1));
    assert!(eps[1] > 0.0 && eps.is_sorted());
    let [a, b] =
        [("base", 12), ("new", 0)].map(|(run, step)| folder.read(&Folder::checkpoint(run, step, "model.safetensors")));
    assert!(a == b, "the weights are kept");
    assert!(common::all_zero(&folder.read(&Folder::checkpoint("new", 0, "optimizer.safetensors"))));
    assert_eq!(folder.events_of("new", "start")[0]["parent"]["step"], 12);
    let other = ["branch", "base", "new.toml", "--out", "other", "--set", "model.width=8"];
    folder.fails(&other, 2, &["asks for another network than that of base", "clocks.weights", "hint: "]);
    folder.ok(&[&other[..], &["--set", "clocks.weights=reset"]].concat());
}

#[test]
fn verdicts_and_their_counts() {
    let folder = with_base();
    let result = verify(&folder, "base", "all", &[&ALL[..], &["--batch", "16"]].concat());
    let rows = csv(&folder, "all/verdicts.csv");
    assert_eq!(rows.len(), 60);
    let count = |outcome: &str| rows.iter().filter(|row| row[3] == outcome).count();
    assert_eq!(result["timeouts"], count("timeout"));
    for outcome in ["misclassified", "attacked", "certified", "unknown"] {
        assert_eq!(result[outcome], count(outcome), "{outcome}");
    }
    assert_eq!((&result["images"], &result["errors"]), (&60.into(), &0.into()));
    let errors = ["standard_error", "robust_error", "certified_error"].map(|error| result[error].as_f64().unwrap());
    assert!(errors.is_sorted(), "{errors:?}");
    assert_eq!(errors[0], 100.0 * count("misclassified") as f64 / 60.0);
    assert_eq!(errors[2], 100.0 * (60 - count("certified")) as f64 / 60.0);
    assert!(count("certified") > 5 && count("misclassified") > 5, "{result}");
    // What the last evaluation of the run has found on the same images.
    let eval = folder.last_eval("base", "test");
    // What an evaluation certifies, intervals do.
    let by = |stage: &str, outcome: &str| rows.iter().filter(|row| row[4] == stage && row[3] == outcome).count();
    let uncertified = 100.0 * (60 - by("ibp", "certified")) as f64 / 60.0;
    for (error, found) in [("standard_error", errors[0]), ("certified_error", uncertified)] {
        assert!((eval[error].as_f64().unwrap() - found).abs() < 1e-9, "{error}: {found}");
    }
    // All were attacked; the certified ones in vain, with a margin that is no less than the bound.
    for row in &rows {
        let [bound, margin]: [f32; 2] = [&row[7], &row[8]].map(|cell| cell.parse().unwrap());
        assert!(bound <= margin + 1e-5, "{row:?}");
        assert_eq!(row[1] == row[2], row[3] != "misclassified", "{row:?}");
    }
    let text = folder.ok(&[&["verify", "base", "--out", "all"], &ALL[..]].concat());
    let says =
        ["60 images of fashion-mnist, eps 0.02", "sound: certificates hold for the network over the real numbers"];
    says_all(&text, &[&says[..], &["certified error", "robust error", "(targeted and gradient-free)"]].concat());
    // What each stage decided, in the CSV file and in the summary.
    for stage in ["attack", "ibp", "crown", "alpha", "bab"] {
        let told = &result["stages"][stage];
        assert_eq!(
            (&told["certified"], &told["attacked"]),
            (&by(stage, "certified").into(), &by(stage, "attacked").into())
        );
        assert!(told["seconds"].as_f64().unwrap() >= 0.0);
    }
    assert!(by("ibp", "certified") > 5, "{result}");
    assert!(rows.iter().all(|row| (row[5] == "sound") == (row[3] == "certified")));
    assert_eq!(csv(&folder, "all/times.csv").len(), 60);

    // The size of a batch and the attack decide no certificate.
    let tenth = verify(&folder, "base", "tenth", &ATTACK);
    assert_eq!(tenth["certified"], by("ibp", "certified"));
    let none = verify(&folder, "base", "none", &[&ATTACK[..], &["--attack", "uncertified"]].concat());
    assert_eq!(none["certified"], tenth["certified"]);
    // Fewer stages certify no more, plain arithmetic no less.
    let ibp = verify(&folder, "base", "ibp", &["--stages", "ibp"]);
    assert!(ibp["certified"].as_u64() <= result["certified"].as_u64(), "{ibp}");
    assert_eq!((&ibp["attacked"], &ibp["standard_error"]), (&0.into(), &result["standard_error"]));
    assert_eq!(ibp["stages"].as_object().unwrap().keys().collect::<Vec<_>>(), ["ibp"]);
    for (row, ibp) in rows.iter().zip(csv(&folder, "ibp/verdicts.csv")) {
        assert!(ibp[3] != "certified" || (row[3] == "certified" && row[4] == "ibp"), "{row:?} {ibp:?}");
    }
    for (arithmetic, certified) in [("real", true), ("float32", false)] {
        let other = verify(&folder, "base", arithmetic, &["--stages", "ibp", "--arithmetic", arithmetic]);
        let (other, sound) = (other["certified"].as_u64().unwrap(), ibp["certified"].as_u64().unwrap());
        assert!(if certified { other >= sound } else { other <= sound && other > 0 }, "{arithmetic}: {other} {sound}");
    }
    // In a box of radius 0 is the image alone.
    let zero = verify(&folder, "base", "zero", &[&ATTACK[..], &["--eps", "0"]].concat());
    assert_eq!(zero["standard_error"], zero["certified_error"]);
    // At the same radius, the best checkpoint is one that was trained at the target.
    assert!(verify(&folder, "base@best", "marked", &ATTACK)["question"]["step"].as_u64().unwrap() > 20);
}

#[test]
fn a_killed_verify_goes_on() {
    let folder = with_base();
    let steps = ["--steps", "60", "--restarts", "4"];
    let slow = [&["--batch", "4", "--attack", "all", "--timeout", "10m", "--max-domains", "2"], &steps[..]].concat();
    let whole = verify(&folder, "base", "whole", &slow);
    let lines =
        |out: &str| fs::read_to_string(folder.path(out).join("verdicts.csv")).map_or(0, |csv| csv.lines().count());
    let out = until_won(|out| {
        let args = [&["verify", "base", "--out", out], &slow[..]].concat();
        let mut command = folder.command(&args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let running = common::Running::from(child);
        while lines(out) < 1 + 8 {
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        let seen = lines(out);
        let killed = running.kill();
        // Nothing that was there is lost; at most the batch or the image in work is.
        assert!(lines(out) >= seen);
        killed && lines(out) < 1 + 60
    });
    let done = folder.temper(&[&["verify", "base", "--out", &out, "--json"], &slow[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["of 60 images have verdicts already"]);
    assert_eq!(json(&done.out)["robust_error"], whole["robust_error"]);
    let verdicts = |out: &str| folder.read(&format!("{out}/verdicts.csv"));
    assert!(verdicts(&out) == verdicts("whole"));

    // A line that was cut short is made again.
    change(&folder, &format!("{out}/verdicts.csv"), |bytes| bytes.truncate(bytes.len() - 30));
    verify(&folder, "base", &out, &slow);
    assert!(verdicts(&out) == verdicts("whole"));
    // The run may be called by another name.
    let absolute = folder.path("base");
    verify(&folder, common::text(&absolute), "whole", &slow);

    // Another question is not answered into the same file.
    for (extra, says) in [
        (&[&slow[..8], &["--steps", "61", "--restarts", "4"]].concat()[..], "steps = 60, now it is 61"),
        (&[&slow[..], &["--eps", "0.03"]].concat(), "eps = 0.02, now it is 0.03"),
        (&[&slow[..], &["--images", "50"]].concat(), "images = 60, now it is 50"),
        (&[&slow[..], &["--stages", "attack,bab"]].concat(), "now it is [\"attack\",\"bab\"]"),
        (&[&slow[..], &["--arithmetic", "real"]].concat(), "arithmetic = \"sound\", now it is \"real\""),
        (&[&slow[..4], &steps, &["--timeout", "7"]].concat(), "timeout = 600.0, now it is 7.0"),
        (&[&slow[..4], &steps, &["--max-domains", "7"]].concat(), "max_domains = 2, now it is 7"),
        (&[&slow[..], &["--memory", "1G"]].concat(), "memory = 4294967296, now it is 1073741824"),
        (&[&slow[..], &["--shard", "0/2"]].concat(), "shard = \"0/1\", now it is \"0/2\""),
    ] {
        folder.fails(
            &[&["verify", "base", "--out", "whole"], extra].concat(),
            2,
            &[says, "whole", "hint: choose another folder"],
        );
    }
    folder.fails(&[&["verify", "base@39", "--out", "whole"], &slow[..]].concat(), 2, &["step = 40, now it is 39"]);
    // A file that is something else is left alone.
    change(&folder, "whole/verdicts.csv", |bytes| bytes.splice(..5, *b"wrong").for_each(drop));
    folder.fails(&[&["verify", "base", "--out", "whole"], &slow[..]].concat(), 2, &["whole/verdicts.csv", "hint: "]);
}

/// A run that ends with all stages records what each of them proves, as a verification of the same images says it; a report draws both.
#[test]
fn a_run_ends_with_a_verification() {
    let folder = folder();
    let end = ["eval.verify_images=30", "eval.verify_timeout=0.5"];
    let set =
        [&["plan", "tiny.toml", "--no-calibration", "--json"][..], &end.map(|set| ["--set", set]).concat()].concat();
    assert_eq!(json(&folder.ok(&set))["verification_seconds_at_most"], 15.0);
    train(&folder, "run", &[&CERTIFIES[..], &end].concat());
    let eval = folder.last_eval("run", "test");
    let value = |name: &str| eval[name].as_f64().unwrap_or_else(|| panic!("{name}: {eval}"));
    assert_eq!(value("images_verified"), 30.0);
    let errors = ["verified_standard_error", "verified_robust_error", "verified_error"].map(value);
    assert!(errors.is_sorted(), "{errors:?}");
    let stages = ["attack", "ibp", "crown", "alpha", "bab"];
    let certified: f64 = stages.iter().map(|stage| value(&format!("certified_by.{stage}"))).sum();
    assert!((certified + errors[2] - 100.0).abs() < 1e-9 && value("certified_by.ibp") > 0.0, "{eval}");
    // Only at the end, and only on the test set.
    let evals = folder.events_of("run", "eval");
    assert_eq!(evals.iter().filter(|eval| !eval["images_verified"].is_null()).count(), 1);
    folder.ok(&["report", "run"]);
    assert!(String::from_utf8(folder.read("run/report/verdicts.svg")).unwrap().contains("certified by ibp"));

    let same = ["verify", "run", "--images", "30", "--timeout", "0.5", "--json"];
    let found = json(&folder.ok(&same));
    assert_eq!(found["stages"]["ibp"]["certified"], (value("certified_by.ibp") * 0.3).round() as u64);
    assert_eq!(found["standard_error"], errors[0]);
    folder.ok(&["report", "run"]);
    let svg = String::from_utf8(folder.read("run/report/verdicts.svg")).unwrap();
    says_all(&svg, &["run, at the end", "step-40-eps-0.02-timeout-0.5-first-30", "seconds by stage"]);
}

/// Three parts of a verification, one of them killed on the way, are one verification when they are joined.
#[test]
fn parts_are_joined() {
    let folder = with_base();
    let quick = [&ATTACK[..], &["--batch", "8"]].concat();
    let whole = verify(&folder, "base", "whole", &quick);
    for part in ["0/3", "1/3", "2/3"] {
        let args = [&["verify", "base", "--shard", part], &quick[..]].concat();
        folder.ok(&args);
    }
    let name =
        |part: usize| format!("base/verify/step-40-eps-0.02-attack-ibp-steps-5-restarts-2-shard-{part}-of-3-batch-8");
    let [a, b, c] = [0, 1, 2].map(name);
    // A part that did not come to its end is not joined.
    let lines = folder.read(&format!("{b}/verdicts.csv"));
    change(&folder, &format!("{b}/verdicts.csv"), |bytes| bytes.truncate(bytes.len() - 3));
    let join = ["verify", "merge", a.as_str(), &b, &c, "--out", "joined", "--json"];
    folder.fails(&join, 2, &["part 1/3 has verdicts on ", "hint: "]);
    folder.ok(&[&["verify", "base", "--shard", "1/3"], &quick[..]].concat());
    assert!(folder.read(&format!("{b}/verdicts.csv")) == lines);
    let joined = json(&folder.ok(&join));
    for file in ["verdicts.csv", "verdicts-question.json", "counterexamples.npy"] {
        assert!(folder.read(&format!("joined/{file}")) == folder.read(&format!("whole/{file}")), "{file}");
    }
    for key in ["question", "images", "robust_error", "certified_error", "unknown", "timeouts"] {
        assert_eq!(joined[key], whole[key], "{key}");
    }
    // The same command goes on with what was joined.
    assert_eq!(verify(&folder, "base", "joined", &quick)["certified"], whole["certified"]);
    folder.fails(&["verify", "merge", &a, &b, "--out", "two"], 2, &["part 2/3 is missing", "hint: "]);
    for wrong in ["3/3", "1", "-1/3"] {
        folder.fails(&["verify", "base", "--shard", wrong], 2, &[wrong, "hint: parts are counted from 0"]);
    }
}

#[test]
fn certified_radii() {
    let folder = with_base();
    verify(&folder, "base", "v", &ATTACK);
    let result = verify(&folder, "base", "v", &["--radius", "--halvings", "6"]);
    let (verdicts, radii) = (csv(&folder, "v/verdicts.csv"), csv(&folder, "v/radii.csv"));
    assert_eq!(radii.len(), 60);
    let mut sum = 0.0;
    for (verdict, row) in verdicts.iter().zip(&radii) {
        let radius = row[2].parse::<f64>();
        assert_eq!(radius.is_err(), verdict[3] == "misclassified", "{verdict:?} {row:?}");
        let radius = radius.unwrap_or(0.0);
        assert!((0.0..=0.02).contains(&radius), "{row:?}");
        assert_eq!(radius == 0.02, verdict[3] == "certified", "{verdict:?} {row:?}");
        // The bisection ends between two neighbours.
        if let Ok(not) = row[3].parse::<f64>() {
            assert!((not - radius - 0.02 / 64.0).abs() < 1e-9 || verdict[3] == "misclassified", "{row:?}");
        }
        sum += radius;
    }
    assert!((result["mean"].as_f64().unwrap() - sum / 60.0).abs() < 1e-12);
    assert!(result["median"].as_f64() <= result["quartiles"][1].as_f64());
}

#[test]
fn inspect_of_a_run_and_of_a_recipe() {
    let folder = with_base();
    let run = json(&folder.ok(&["inspect", "base", "--json"]));
    assert_eq!((&run["images"], &run["eps"]), (&60.into(), &0.02.into()));
    let recipe = json(&folder.ok(&["inspect", "tiny.toml", "--json", "--set", "model.width=16", "--eps", "1/255"]));
    let layers = |set: &Value| set.as_array().unwrap().clone();
    for set in [&run["layers"]["run"], &recipe["layers"]["default"], &recipe["layers"]["ibp"]] {
        let layers = layers(set);
        assert_eq!(
            layers.iter().map(|layer| layer["layer"].as_str().unwrap()).collect::<Vec<_>>(),
            ["conv1", "conv2", "linear1"]
        );
        for layer in layers {
            let shares = ["active", "unstable", "inactive"].map(|share| layer[share].as_f64().unwrap());
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{layer}");
            assert!(layer["width"].as_f64().unwrap() > 0.0, "{layer}");
        }
    }
    // The paper's initialisation keeps the width of intervals from the second layer on; the usual one lets it grow.
    for (ibp, default) in layers(&recipe["layers"]["ibp"]).iter().zip(layers(&recipe["layers"]["default"])).skip(1) {
        let [ibp, default] = [ibp, &default].map(|layer| layer["gain"].as_f64().unwrap());
        assert!((0.8..1.25).contains(&ibp), "{ibp}");
        assert!(default > 1.5 * ibp, "{default}");
    }
    let text = folder.temper(&["inspect", "tiny.toml"]);
    says_all(&text.out, &["fresh weights", "60 images", "default init", "ibp init", "unstable"]);
    says_all(&text.err, &["gain: "]);
}

#[test]
fn networks_and_radii_that_do_not_fit() {
    let folder = folder();
    let refused = |set: &str, says: &[&str]| {
        let said = folder.fails(&args("run", &[set]), 2, says);
        assert!(!folder.path("run").exists(), "a run that never began leaves nothing: {said}");
    };
    refused("model.name=smal", &["model.name", "smal", "did you mean small"]);
    refused("model.width=0", &["model.width", "at least 1"]);
    refused(
        r#"model.graph=["conv 4 30", "relu", "flatten", "linear 10"]"#,
        &["model.graph, line 1 (conv 4 30)", "does not fit", "hint: "],
    );
    refused(
        r#"model.graph=["conv 4 3", "relu", "linear 10"]"#,
        &["model.graph, line 3 (linear 10)", "needs flat input", "put a flatten before it"],
    );
    refused(r#"model.graph=["flatten", "linear 7"]"#, &["line 2 (linear 7)", "7 logits for 10 classes", "hint: "]);
    for eps in ["-0.1", "0", "1.5", "0.0", "\"3/2\"", "nan"] {
        refused(&format!("eps.target={eps}"), &["--set eps.target", "above 0 and at most 1"]);
    }
    refused("eps.length=13 steps", &["eps.length", "13 updates", "has 12", "hint: shorten eps.length"]);
    refused("method.name=fats", &["method.name", "\"fats\"", "did you mean \"fast\"?"]);
    refused("data.seq_len=5", &["data.seq_len", "language models"]);
    refused("model.layers=5", &["model.layers", "language models"]);
    refused("data.images=nowhere", &["nowhere", "No such file", "hint: ", "temper data fetch"]);
    refused("data.images=builtin:fashoin", &["builtin:fashoin", "hint: builtin:fashion"]);
    refused("data.holdout=0.001", &["data.holdout", "hint: "]);
    refused("batch.images=0", &["batch.images", "at least 1"]);
    refused("batch.shards=12", &["batch.shards", "12 is no power of two", "hint: 8 or 16 is one"]);
    refused("batch.shards=16", &["a batch of 40", "16 equal shards", "hint: at most 8, or another batch.images"]);
    refused("batch.statistics=batch", &["batch.statistics", "hint: set batch.accumulate or batch.shards above 1"]);
    let few = ["batch.images=64", "batch.shards=32"];
    let says =
        ["batch.shards", "the last batch of an epoch has 24 images, too few for 32 shards", "hint: choose another"];
    folder.fails(&args("run", &few), 2, &says);
    let plan = ["plan", "tiny.toml", "--no-calibration", "--set", few[0], "--set", few[1]];
    folder.fails(&plan, 2, &says);
    refused("model.width=30000", &["of memory are needed, this machine has", "temper plan"]);
    // Too many images at once.
    let large = ["data.max_train=0", "batch.images=10000", "model.width=4000"];
    folder.fails(&args("run", &large), 2, &["batch.images", "of memory are needed", "batch.accumulate"]);
    // A key of certified training in a recipe of a language model.
    folder.write("lm.toml", "eps.target = 0.1\nmodel.layers = 1\n");
    folder.fails(&["train", "lm.toml", "--out", "run"], 2, &["lm.toml:1", "eps.target", "certified training"]);
    // Radii on the command line.
    train(&folder, "base", &[]);
    for eps in ["-0.1", "1.01", "x", "8/0", "nan"] {
        for command in ["verify", "inspect"] {
            folder.fails(&[command, "base", "--eps", eps], 2, &["--eps", eps, "from 0 to 1", "hint: "]);
        }
    }
    folder.fails(&["verify", "base@5"], 2, &["base@5", "9, 12"]);
}

#[test]
fn image_files_that_are_damaged_or_changed() {
    let folder = folder();
    write_idx(&folder, "mine", 120, 12, 10);
    let mine = ["data.images=mine", "data.max_train=0", "data.max_test=0"];
    train(&folder, "good", &mine);
    let damaged = |file: &str, damage: Damage, says: &[&str]| {
        let path = format!("mine/{file}-ubyte");
        let before = folder.read(&path);
        change(&folder, &path, damage);
        folder.fails(&args("run", &mine), 2, &[&[path.as_str()], says].concat());
        folder.fails(&["verify", "good", "--data", "mine"], 2, &[&[path.as_str()], says].concat());
        assert!(!folder.path("run").exists());
        folder.write(&path, before);
    };
    damaged("train-images-idx3", |bytes| bytes[3] = 9, &["starts with 0x00000809", "hint: "]);
    damaged("t10k-images-idx3", |bytes| bytes.truncate(1000), &["cut short", "hint: "]);
    damaged("train-labels-idx1", |bytes| bytes[3] = 3, &["0x00000803", "as a file of images", "hint: "]);
    damaged("t10k-labels-idx1", |bytes| bytes[10] = 99, &["label 99 of image 2", "0 to 9", "hint: "]);
    damaged("train-labels-idx1", |bytes| bytes[10] = 200, &["label 200 of image 2 is out of range", "hint: "]);

    // Images of other classes, another size, in colour.
    write_idx(&folder, "three", 60, 12, 3);
    write_idx(&folder, "large", 60, 16, 10);
    fs::create_dir(folder.path("colour")).unwrap();
    for n in 1..=5 {
        folder.write(&format!("colour/data_batch_{n}.bin"), vec![0; 20 * 3073]);
    }
    folder.write("colour/test_batch.bin", vec![0; 20 * 3073]);
    for (other, is) in [("three", "1x12x12 in 3 classes"), ("large", "1x16x16 in 10"), ("colour", "3x32x32 in 10")] {
        let says = ["do not fit the network", is, "1x12x12", "hint: "];
        folder.fails(&["verify", "good", "--data", other], 2, &[&[other], &says[..]].concat());
        folder.write("next.toml", format!("task = \"certify\"\ndata.images = \"{other}\"\nbase = \"tiny.toml\"\neps.length = 0\nlr = {{ shape = \"constant\", peak = 1e-3 }}\nrun.horizon = 2\n"));
        folder.fails(
            &["branch", "good", "next.toml", "--out", "run"],
            2,
            &["next.toml:2", "do not fit", is, "clocks.weights"],
        );
    }

    // A resumed run must find the images it began with.
    let done = folder.temper(&[&args("begun", &mine)[..], &["--max-time", "0.001s"]].concat());
    assert_eq!(done.code, 75, "{}", done.err);
    let before = folder.read("mine/train-images-idx3-ubyte");
    change(&folder, "mine/train-images-idx3-ubyte", |bytes| bytes[500] ^= 1);
    folder.fails(&["resume", "begun"], 2, &["data.images", "no longer those that the run began with", "hint: "]);
    fs::rename(folder.path("mine"), folder.path("moved")).unwrap();
    folder.fails(&["resume", "begun"], 2, &["mine", "No such file", "hint: "]);
    fs::rename(folder.path("moved"), folder.path("mine")).unwrap();
    folder.write("mine/train-images-idx3-ubyte", before);
    folder.ok(&["resume", "begun"]);
    folder.same_run("good", "begun", 12);
}

#[test]
fn networks_and_properties_leave_as_files_and_answers_come_back() {
    let folder = with_base();
    let export = ["export", "base", "--format", "onnx", "--vnnlib", "set", "--eps", "2/255", "--images", "3..9"];
    folder.ok(&[&export[..], &["--out", "m.onnx"]].concat());
    assert_eq!(fs::read_dir(folder.path("set/vnnlib")).unwrap().count(), 7);
    // The verdicts of the run and of its files do not contradict each other; all stages certify what intervals do.
    folder.ok(&["verify", "--instances", "set/instances.csv", "--out", "answers"]);
    let run = verify(&folder, "base", "verdicts", &[&ATTACK[..], &["--eps", "2/255", "--images", "10"]].concat());
    assert_eq!(run["imported"], Value::Null);
    let answers = csv(&folder, "answers/results.csv");
    let verdicts = csv(&folder, "verdicts/verdicts.csv");
    for (answer, verdict) in answers.iter().zip(&verdicts[3..]) {
        let allowed: &[&str] = match verdict[3].as_str() {
            "certified" => &["unsat"],
            "unknown" => &["unsat", "sat", "unknown", "timeout"],
            _ => &["sat"],
        };
        assert!(allowed.contains(&answer[4].as_str()), "{answer:?} {verdict:?}");
    }
    // Two at once would write between each other's lines.
    let again = [&["verify", "base", "--out", "verdicts"], &ATTACK[..], &["--eps", "2/255", "--images", "10"]].concat();
    let list = ["verify", "--instances", "set/instances.csv", "--out", "answers"];
    for (file, again) in [("answers/results.csv", &list[..]), ("verdicts/verdicts.csv", &again)] {
        let (before, held) = (folder.read(file), fs::File::open(folder.path(file)).unwrap());
        held.lock().unwrap();
        folder.fails(again, 2, &[file, "in use", "hint: "]);
        drop(held);
        folder.ok(again);
        assert_eq!(folder.read(file), before);
    }
    // A property that became another one is another question.
    let first = String::from_utf8(folder.read("set/instances.csv")).unwrap();
    let first = format!("set/{}", first.split(',').nth(1).unwrap());
    let changed = String::from_utf8(folder.read(&first)).unwrap() + "; changed\n";
    folder.write(&first, changed);
    folder.fails(&["verify", "--instances", "set/instances.csv", "--out", "answers"], 2, &["files_sha256", "hint: "]);
    // The verdicts of its images, one by one, are those of the run, too; whatever normalises them is part of the file.
    let ask = ["--data", "builtin:fashion", "--eps", "2/255", "--images", "10", "--max-domains", "9"];
    let images = verify(&folder, "m.onnx", "images", &ask);
    let alone = csv(&folder, "images/verdicts.csv");
    assert_eq!((images["images"].as_u64(), alone.len()), (Some(10), 10));
    for (image, verdict) in alone.iter().zip(&verdicts) {
        assert_eq!(image[2], verdict[2], "the class of the image");
        assert!(image[3] == verdict[3] || verdict[3] == "unknown" && image[3] != "error", "{image:?} {verdict:?}");
    }
    let lines = String::from_utf8(folder.read("images/verdicts.csv")).unwrap();
    folder
        .write("images/verdicts.csv", lines.lines().take(5).map(|line| format!("{line}\n")).collect::<String>() + "4,");
    verify(&folder, "m.onnx", "images", &ask);
    assert_eq!(String::from_utf8(folder.read("images/verdicts.csv")).unwrap(), lines);
    let ask = [&["verify", "m.onnx", "--out", "images"][..], &ask].concat();
    folder.fails(&[&ask[..], &["--mean", "0.5"]].concat(), 2, &["images", "mean", "hint: "]);
    folder.fails(&[&ask[..], &["--std", "1,2"]].concat(), 2, &["--std 1,2", "hint: "]);
    folder.fails(&["verify", "m.onnx", "--data", "builtin:fashion"], 2, &["--eps", "hint: "]);
    folder.fails(&["verify", "base", "--data", "builtin:fashion", "--std", "2"], 2, &["base", "hint: "]);
    // In the Euclidean norm, the run and its file answer alike.
    let ask = ["--norm", "2", "--eps", "0.1", "--images", "6", "--max-domains", "9"];
    let run = verify(&folder, "base", "two", &ask);
    verify(&folder, "m.onnx", "two-of-file", &[&ask[..], &["--data", "builtin:fashion"]].concat());
    let [two, of_file] = ["two", "two-of-file"].map(|name| csv(&folder, &format!("{name}/verdicts.csv")));
    assert_eq!((run["question"]["norm"].as_str(), two.len()), (Some("2"), 6));
    for ((two, of_file), verdict) in two.iter().zip(&of_file).zip(&verdicts) {
        assert_eq!(two[2], verdict[2], "the class of the image");
        assert!(two[3] == of_file[3] || [&two[3], &of_file[3]].map(String::as_str).contains(&"unknown"), "{two:?}");
        assert_ne!(two[3], "error");
    }
    let no_shard = ["verify", "base", "--norm", "2", "--shard", "0/2"];
    folder.fails(&no_shard, 2, &["--shard", "every image goes through all stages alone", "hint: "]);
    folder.fails(&["verify", "m.onnx", "p.vnnlib", "--norm", "2"], 2, &["--norm"]);
    // Merged batch norms, and the network as it is shown.
    folder.ok(&["export", "base", "--format", "onnx", "--out", "folded.onnx", "--fold-batch-norm"]);
    let layers = |args: &[&str]| json(&folder.ok(&[&["inspect", "--json"], args].concat()));
    let shown = layers(&["folded.onnx", "--property", answers[0][2].replace("vnnlib/", "set/vnnlib/").as_str()]);
    assert_eq!(shown["layers"].as_array().unwrap().len(), 7);
    assert_eq!(shown["layers"][1]["operation"], "relu");
    // A layer's width is its gain times the width of the pre-activation before it.
    let number = |layer: usize, key: &str| shown["layers"][layer][key].as_f64().unwrap();
    assert!(shown["layers"][1]["gain"].is_null() && number(0, "gain") > 0.0);
    assert!((number(2, "gain") * number(0, "width") / number(2, "width") - 1.0).abs() < 1e-9);
    let [intervals, linear] =
        ["intervals", "linear_bounds"].map(|by| shown["layers"][5][format!("unstable_by_{by}")].as_u64().unwrap());
    assert!(linear <= intervals);
    assert_eq!(layers(&["m.onnx"])["box"], "inputs from 0 to 1");

    // What intervals leave open, and the answers of another verifier to it.
    let ask = [&["--eps", "2/255", "--stages", "ibp", "--images", "30"][..]].concat();
    let before = verify(&folder, "base", "open", &[&ask[..], &["--handover", "over"]].concat());
    let open = before["unknown"].as_u64().unwrap();
    let list = String::from_utf8(folder.read("over/instances.csv")).unwrap();
    assert!(open > 1 && list.lines().count() as u64 == open);
    let answered = |i: usize, line: &str| {
        let answer = ["unsat", "sat", "timeout"][i.min(2)];
        format!("set,{},0,{answer},1.0\n", line.rsplit_once(',').unwrap().0)
    };
    let results: String = list.lines().enumerate().map(|(i, line)| answered(i, line)).collect();
    folder.write("results.csv", &results);
    let after = verify(&folder, "base", "open", &[&ask[..], &["--import", "results.csv"]].concat());
    let imported = serde_json::json!({ "certified": 1, "attacked": 1, "open": open - 2 });
    assert_eq!((&after["imported"], &after["unknown"]), (&imported, &before["unknown"]));

    // Answers to another question, a contradiction, folders and files in the way, options without use.
    let fails = |args: &[&str], says: &[&str]| drop(folder.fails(args, 2, says));
    let other = ["verify", "base", "--eps", "1/255", "--stages", "ibp", "--images", "30", "--import", "results.csv"];
    fails(&other, &["results.csv", "no answer to a question about this network", "hint: "]);
    let mut both = answers.iter().zip(&verdicts[3..]);
    let (certified, _) = both.find(|(_, verdict)| verdict[3] == "certified").expect("one is certified");
    folder.write("wrong.csv", format!("set,onnx,{},0,sat,1\n", certified[2]));
    let again = [&["verify", "base", "--out", "verdicts", "--eps", "2/255", "--images", "10"][..], &ATTACK].concat();
    fails(&[&again[..], &["--import", "wrong.csv"]].concat(), &["wrong.csv", "contradicts the verdict certified"]);
    folder.write("none.csv", "set,onnx,property,0,sat,1\nset,onnx,property,0,perhaps,1\n");
    fails(&[&again[..], &["--import", "none.csv"]].concat(), &["none.csv, line 2", "perhaps"]);
    fails(&["verify", "base", "--handover", "set"], &["set", "something in it", "hint: "]);
    fails(&["export", "base", "--format", "onnx", "--out", "m.onnx"], &["m.onnx", "already", "hint: "]);
    let range = |images| [&export[..8], &["--images", images, "--out", "new.onnx"]].concat();
    for (images, why) in [("50..60", "60 images"), ("9..3", "none"), ("x", "no number")] {
        let args: Vec<&str> = range(images).into_iter().map(|arg| if arg == "set" { "new" } else { arg }).collect();
        fails(&args, &["--images", why, "hint: "]);
    }
    fails(&["export", "base", "--out", "x", "--fold-batch-norm"], &["--fold-batch-norm", "--format onnx"]);
    assert!(!folder.path("new.onnx").exists() && !folder.path("new").exists());
    fails(&["inspect", "m.onnx", "--eps", "0.1"], &["--eps", "hint: "]);
    fails(&["inspect", "base", "--property", "p.vnnlib"], &["p.vnnlib", "hint: "]);
}

#[test]
fn runs_of_the_other_task() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "lm", "--max-steps", "1"]);
    folder.write("lm.toml", common::TINY);
    folder.write("tiny.toml", TINY);
    train(&folder, "images", &["run.stop=3 steps"]);
    for command in ["verify", "inspect"] {
        folder.fails(&[command, "lm"], 2, &["lm", "language model", "hint: "]);
    }
    folder.fails(&["inspect", "lm.toml"], 2, &["lm.toml", "language model", "hint: "]);
    for args in [&["eval", "images"][..], &["sample", "images"], &["export", "images", "--out", "out"]] {
        let says =
            ["images", "image classifier, not a language model", "temper verify", "model.safetensors", "network.json"];
        folder.fails(args, 2, &says);
    }
    assert!(!folder.path("out").exists());
    folder.fails(&["branch", "lm", "tiny.toml", "--out", "out"], 2, &["lm", "task = \"lm\"", "hint: "]);
    folder.fails(&["branch", "images", "next.toml", "--out", "out"], 2, &["images", "certif", "hint: "]);
    folder.fails(&["plan", "tiny.toml", "--from", "lm"], 2, &["--from lm", "language model", "hint: "]);
    folder.fails(&["plan", "lm.toml", "--from", "images"], 2, &["images", "certif", "hint: "]);
}

#[test]
fn weights_that_are_not_finite_and_checkpoints_that_are_damaged() {
    let folder = folder();
    train(&folder, "base", &[]);
    let path = Folder::checkpoint("base", 12, "model.safetensors");
    folder.write("weights.safetensors", folder.read(&path));
    let from = |sets: &[&'static str]| args("run", &[&["init.from=weights.safetensors"], sets].concat());
    folder.ok(&from(&[]));
    // The same weights have the same errors.
    let first = |run: &str, n: usize| folder.events_of(run, "eval")[n]["certified_error"].clone();
    assert_eq!(first("run", 1), folder.last_eval("base", "test")["certified_error"]);
    fs::remove_dir_all(folder.path("run")).unwrap();
    folder.fails(&from(&["model.width=8"]), 2, &["weights.safetensors", "conv1.weight has shape [4, 1, ", "hint: "]);
    change(&folder, "weights.safetensors", |bytes| {
        let at = common::tensor_range(bytes, "conv2.weight").start;
        bytes[at + 8..at + 12].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    folder.fails(&from(&[]), 3, &["conv2.weight", "entry 2 is NaN", "hint: "]);
    assert!(!folder.path("run").exists());
    folder.write("weights.safetensors", "not safetensors");
    folder.fails(&from(&[]), 2, &["weights.safetensors"]);
    folder.fails(
        &args("run", &["init.from=nowhere.safetensors"]),
        2,
        &["nowhere.safetensors", "No such file", "hint: init.from names"],
    );

    let damages: [(&str, Damage); 3] = [
        ("model.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("model.safetensors", |bytes| bytes.truncate(bytes.len() / 2)),
        ("network.json", |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (file, damage) in damages {
        let path = Folder::checkpoint("base", 12, file);
        let before = folder.read(&path);
        change(&folder, &path, damage);
        for command in ["verify", "inspect", "resume"] {
            folder.fails(&[command, "base"], 2, &[file]);
        }
        folder.write(&path, before);
    }
    // A run that diverges stops, and what was there before is still there.
    let done = folder.temper(&args("wild", &["lr.peak=1e30", "optimizer.clip=0.0"]));
    assert_eq!(done.code, 3, "{}", done.err);
    says_all(&done.err, &["hint: "]);
    assert_eq!(folder.checkpoints("wild").first(), Some(&0));
}

/// Names of the built-in recipes of certified training.
fn built_in() -> Vec<String> {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut names = vec!["demo/fast".to_string(), "demo/vanilla".to_string()];
    for entry in fs::read_dir(recipes.join("fastibp")).expect("the recipes") {
        names.push(format!("fastibp/{}", entry.expect("an entry").path().file_stem().unwrap().to_string_lossy()));
    }
    assert!(names.len() > 5);
    names
}

#[test]
fn built_in_recipes() {
    let folder = Folder::empty();
    let list = folder.ok(&["recipe", "list"]);
    for name in built_in() {
        assert!(list.contains(&name), "{name} is not in the binary");
        assert!(folder.ok(&["recipe", "show", &name]).contains("about = "), "{name}");
        let csv = folder.ok(&["schedule", &name, "--csv", "--every", "1000000"]);
        let rows: Vec<Vec<f64>> =
            csv.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
        assert!(csv.starts_with("step,tokens,lr,eps,weight\n"), "{name}");
        let plan = json(&folder.ok(&["plan", &name, "--no-calibration", "--json"]));
        let last = rows.last().unwrap();
        // Both say the same of where it ends.
        assert_eq!((plan["steps"].as_f64(), plan["images"].as_f64()), (Some(last[0]), Some(last[1])), "{name}");
        let phases = plan["phases"].as_array().unwrap();
        assert_eq!(phases.last().unwrap()["name"], "robust", "{name}");
        assert_eq!(phases.last().unwrap()["eps_last"].as_f64(), Some(last[3]), "{name}");
        assert_eq!((rows[0][3], last[4]), (0.0, 0.0), "{name}: radius of the first update, weight of the last");
        let images: u64 = phases.iter().map(|phase| phase["images"].as_u64().unwrap()).sum();
        assert_eq!(plan["images"], images, "{name}");
        let memory = plan["memory_bytes"].as_object().unwrap();
        let parts: u64 = memory.iter().filter(|(part, _)| *part != "total").map(|(_, n)| n.as_u64().unwrap()).sum();
        assert_eq!(memory["total"], parts, "{name}");
        assert_eq!(plan["checkpoint_bytes"].as_u64(), plan["parameters"].as_u64().map(|n| 12 * n), "{name}");
        assert!(plan["flops"].as_f64() > plan["flops_per_epoch"].as_f64(), "{name}");
    }
    // The paper's network: parameters and multiply-adds as published for it.
    let plan = json(&folder.ok(&["plan", "fastibp/cifar10-cnn7", "--no-calibration", "--json"]));
    assert_eq!(plan["parameters"], 17_192_650);
    assert_eq!(plan["steps"], 160 * 391);
    assert_eq!(plan["images"], 160 * 50_000);
    let names: Vec<_> =
        plan["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clean", "ramp", "robust"]);
    let warned = |plan: &Value, words: &str| plan["warnings"].to_string().contains(words);
    assert!(
        warned(&plan, "data/cifar-10: there is nothing there yet") && warned(&plan, "chosen on the test set"),
        "{plan}"
    );
    let tiny = json(&folder.ok(&["plan", "fastibp/tinyimagenet-cnn7", "--no-calibration", "--json"]));
    assert!(warned(&tiny, "each of the 2 pieces of a batch is normalised with its own statistics"), "{tiny}");
    assert_eq!(tiny["data"]["classes"], 200);
    // A gradient, and one more for each level of the tree.
    let sharded = ["plan", "fastibp/tinyimagenet-cnn7", "--no-calibration", "--json", "--set", "batch.shards=4"];
    let sharded = json(&folder.ok(&sharded));
    let memory = |plan: &Value, part: &str| plan["memory_bytes"][part].as_u64().unwrap();
    assert_eq!(memory(&sharded, "gradients"), 3 * memory(&tiny, "gradients"));
    assert!(memory(&sharded, "activations") < memory(&tiny, "activations"));
    assert!(warned(&sharded, "each of the 8 pieces"), "{sharded}");
    assert_eq!(sharded["values"]["batch.shards"]["value"], "4", "{sharded}");
}

#[test]
fn plans_and_schedules() {
    let folder = folder();
    let plan = json(&folder.ok(&["plan", "tiny.toml", "--json"]));
    assert_eq!((&plan["steps"], &plan["steps_per_epoch"]), (&12.into(), &6.into()));
    // Two epochs; the last batch of each has 16 images.
    assert_eq!(plan["images"], 2 * 216);
    assert_eq!((&plan["data"]["holdout"], &plan["data"]["test"]), (&24.into(), &60.into()));
    assert!(plan["seconds"].as_f64().unwrap() > 0.0 && plan["evaluation_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(plan["values"]["init.weights"]["origin"], "preset fast");
    assert_eq!(plan["values"]["model.width"]["origin"], "file tiny.toml");
    // As trained, update for update.
    train(&folder, "base", &[]);
    let steps = folder.events_of("base", "step");
    let csv = folder.ok(&["schedule", "tiny.toml", "--csv"]);
    for (line, step) in csv.lines().skip(1).zip(&steps) {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let recorded = ["step", "tokens", "lr", "eps", "weight"].map(|name| step[name].as_f64().unwrap());
        assert_eq!(cells, recorded);
    }
    assert_eq!(csv.lines().count(), 13);
    let start = &folder.events_of("base", "start")[0];
    assert_eq!(start["parameters"], plan["parameters"]);

    let text = folder.temper(&[
        "plan",
        "tiny.toml",
        "--no-calibration",
        "--set",
        "batch.accumulate=2",
        "--set",
        "batch.statistics=batch",
    ]);
    says_all(
        &text.out,
        &[
            "ramp",
            "216 training images of 1x28x28 in 10 classes",
            "multiply-adds",
            "an epoch at the end",
            "activations",
            "not measured",
            "learning rate",
            "eps",
        ],
    );
    says_all(
        &text.err,
        &["no gradient flows through the batch-norm statistics", "no checkpoint will be marked as best"],
    );
    // As a branch it has the network and data of its base.
    folder.write("next.toml", "task = \"certify\"\nbase = \"tiny.toml\"\neps.length = \"1 epoch\"\nlr = { shape = \"constant\", peak = 1e-3 }\nrun.horizon = \"2 epochs\"\n");
    let plan = json(&folder.ok(&["plan", "next.toml", "--from", "base", "--no-calibration", "--json"]));
    assert_eq!((&plan["parameters"], &plan["steps"]), (&start["parameters"], &12.into()));
    assert_eq!(plan["values"]["eps.target"]["origin"], "base run base");

    let drawing = folder.ok(&["schedule", "tiny.toml"]);
    says_all(
        &drawing,
        &["12 updates (432 images)", "an epoch 6 updates (216 images)", "eps: smoothed", "ramp", "weight at first"],
    );
    let svg = folder.ok(&["schedule", "tiny.toml", "--svg", "schedule.svg"]);
    assert_eq!(svg, "schedule.svg\n");
    assert!(String::from_utf8(folder.read("schedule.svg")).unwrap().contains("eps"));
    // Without the data: epochs need it, steps do not.
    folder.ok(&["schedule", "tiny.toml", "--csv", "--set", "data.images=nowhere"]);
    for command in ["schedule", "plan"] {
        let args = [command, "tiny.toml", "--set", "data.images=nowhere", "--set", "run.horizon=4 epochs"];
        folder.fails(&args, 2, &["--set data.images", "there is nothing at nowhere", "hint: ", "fashion-mnist"]);
    }
    let known =
        folder.temper(&["schedule", "tiny.toml", "--set", "data.images=x/mnist", "--set", "run.horizon=4 epochs"]);
    assert_eq!(known.code, 0, "{}", known.err);
    says_all(&known.err, &["x/mnist is not here: an epoch is that of mnist"]);
    // A branch recipe whose base is of the other task.
    folder.write("odd.toml", format!("base = \"rewarm/small\"\n{TINY}"));
    folder.fails(&["schedule", "odd.toml"], 2, &["odd.toml:1", "language models", "certified training"]);
    folder.fails(
        &["plan", "tiny.toml", "--no-calibration", "--set", "eps.length=13 steps"],
        2,
        &["eps.length", "hint: "],
    );
}

#[test]
fn networks_by_name() {
    let folder = Folder::empty();
    let text = folder.ok(&["recipe", "networks"]);
    says_all(&text, &["1x28x28", "3x32x32", "cnn7", "wide-resnet-8-tiny", "resnext", "17.2M", "151M"]);
    let small = text.lines().find(|line| line.starts_with("small ")).expect("small");
    says_all(small, &["211k", "273k"]);
}

#[test]
fn a_report() {
    let folder = with_base();
    train(&folder, "vanilla", &[&CERTIFIES[..], &["method.name=vanilla-ibp"]].concat());
    let said = folder.temper(&["report", "base", "vanilla", "--out", "report"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let html = String::from_utf8(folder.read("report/report.html")).unwrap();
    says_all(&html, &["base", "vanilla", "certified", "held out"]);
    for figure in ["errors", "losses", "layers"] {
        let svg = String::from_utf8(folder.read(&format!("report/{figure}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{figure}");
    }
}
