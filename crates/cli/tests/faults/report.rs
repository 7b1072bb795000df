//! Reports, plans and sweeps: what they say of the data, and what they look like.

use std::fs;

use serde_json::Value;
use temper_record::metric::{self, METRICS};
use temper_record::{RunDir, RunSeries};

use crate::common::{Folder, TINY};

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
    // What the last run of the chain was trained on is new.
    let said = folder.temper(&["report", "law", "medicine", "last", "--out", "out"]).err;
    assert!(said.contains("On old2, last ends at perplexity ") && said.contains("; on law, its perplexity "), "{said}");
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

/// Kind 8 for images: what the user names must be there, and the attacks of the evaluations are a part of the time.
#[test]
fn a_plan_of_certified_training_looks_at_the_data() {
    let folder = Folder::empty();
    folder.write(
        "c.toml",
        "task = \"certify\"\nmodel = { name = \"small\", width = 2 }\ndata.images = \"builtin:fashion\"\nbatch.images = 40\n\
         eps = { target = 0.01, length = \"2 steps\" }\nlr = { shape = \"constant\", peak = 5e-3 }\nrun.horizon = \"4 steps\"\n",
    );
    // A folder that is called like a known data set is missing all the same.
    let says = ["there is nothing at data/mnist", "temper data fetch mnist"];
    folder.fails(&["plan", "c.toml", "--set", "data.images=data/mnist"], 2, &says);
    let time = |steps: &str| plan(&folder, &["c.toml", "--set", steps]);
    let attacked = time("eval.attack_steps=20");
    let part = |name: &str| attacked[name].as_f64().unwrap_or_else(|| panic!("{name} in {attacked}"));
    let parts = part("update_seconds") + part("evaluation_seconds") + part("checkpoint_seconds");
    assert!((part("seconds") - parts).abs() <= 1e-9 * parts, "{attacked}");
    assert!(part("attack_seconds") > 0.5 * part("evaluation_seconds"), "{attacked}");
    assert!(part("attack_seconds") < part("evaluation_seconds"), "{attacked}");
    assert_eq!(time("eval.attack_images=0")["attack_seconds"], 0.0);
    let text = folder.ok(&["plan", "c.toml"]);
    for words in ["(attacks ", " evaluations at most ", " checkpoints "] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A plan writes a learning rate as the schedule does.
#[test]
fn one_number_is_written_in_one_way() {
    let folder = Folder::new();
    for command in [&["plan", "tiny.toml", "--no-calibration"][..], &["schedule", "tiny.toml"]] {
        let text = folder.ok(command);
        assert!(text.contains(" 1.00e-3"), "{text}");
        assert!(!text.contains("1.000e-3"), "{text}");
    }
    // A perplexity is the same in training, evaluation and report.
    folder.ok(&["train", "tiny.toml", "--out", "base"]);
    let table = folder.ok(&["eval", "base"]);
    let row: Vec<&str> = table.lines().last().expect("a row").split_whitespace().collect();
    let ["old", loss, perplexity, ..] = row[..] else { panic!("{table}") };
    let log = String::from_utf8(folder.read("base/log.txt")).expect("UTF-8");
    let evaluated = log.lines().rfind(|line| line.contains("eval ")).expect("an evaluation");
    assert!(evaluated.contains(&format!("loss {loss}  perplexity {perplexity}  ")), "{evaluated}\n{table}");
    folder.ok(&["report", "base", "--out", "out"]);
    let page = String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    for number in [loss, perplexity] {
        assert!(page.contains(&format!(">{number}</td>")), "{number}");
    }
    assert!(page.contains(&format!("old: loss {loss}<")), "in a tip");
}

/// A run that was stopped between two evaluations: what the report says it came to is of the earlier one.
#[test]
fn a_report_of_a_run_that_was_stopped_says_of_which_step_it_is() {
    let folder = Folder::with_base();
    folder.ok(&["branch", "base", "next.toml", "--out", "new"]);
    let record = String::from_utf8(folder.read("new/metrics.jsonl")).expect("UTF-8");
    let of_the_end = |line: &&str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["event"] == "done" || (event["event"] == "eval" && event["step"] == 12)
    };
    let kept: Vec<&str> = record.lines().filter(|line| !of_the_end(line)).collect();
    folder.write("new/metrics.jsonl", kept.join("\n") + "\n");
    let said = folder.temper(&["report", "new", "--out", "out"]).err;
    assert!(said.contains("On new, new (last evaluated at step 6 of 12) is at perplexity "), "{said}");
    let page = String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    assert!(page.contains("new was trained to step 12; its final values are those of step 6, its last evaluation."));
}

/// A record of many updates, as a run would leave it.
fn long_record(folder: &Folder, updates: u64) {
    let start = r#"{"event":"start","task":"lm","recipe":"r","seed":1,"steps":STEPS,"tokens":TOKENS,"parameters":1,"start":"fresh","version":"0","time":0}"#;
    let mut text = start.replace("STEPS", &updates.to_string()).replace("TOKENS", &(updates * 8).to_string()) + "\n";
    for step in 0..=updates {
        if step > 0 {
            // Odd and even updates differ: a mean is 2.
            text += &format!(
                "{{\"event\":\"step\",\"step\":{step},\"tokens\":{},\"loss\":{},\"lr\":0.001}}\n",
                step * 8,
                1 + 2 * (step % 2)
            );
        }
        if step % (updates / 4) == 0 {
            text +=
                &format!("{{\"event\":\"eval\",\"step\":{step},\"tokens\":{},\"set\":\"s\",\"loss\":2}}\n", step * 8);
        }
    }
    fs::create_dir_all(folder.path("long")).expect("a folder");
    folder.write("long/metrics.jsonl", text);
    folder.write("long/resolved.toml", "task = \"lm\"\n");
}

#[test]
fn a_long_run_is_thinned_and_the_page_says_so() {
    let folder = Folder::empty();
    long_record(&folder, 40_000);
    folder.ok(&["report", "long", "--out", "out"]);
    let page = String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    assert!(page.contains("long is long: in the figures a point stands for 8 updates"), "it says what is shown");
    assert!(page.contains("40000"), "how many updates there were");
    assert!(page.len() < 200_000, "{}", page.len());
}

/// A3: a loss beyond what a perplexity can be is the same word everywhere.
#[test]
fn a3_an_infinite_perplexity_is_the_same_word_everywhere() {
    let folder = Folder::with_base();
    folder.ok(&["export", "base", "--out", "model"]);
    let mut weights = folder.read("model/model.safetensors");
    let head = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    let names: Value = serde_json::from_slice(&weights[8..8 + head]).expect("JSON");
    let at = |end: usize| names["embed_out.weight"]["data_offsets"][end].as_u64().expect("a place") as usize + 8 + head;
    for number in weights[at(0)..at(1)].chunks_exact_mut(4) {
        let value = f32::from_le_bytes(number.try_into().expect("4 bytes")) * 1e5;
        number.copy_from_slice(&value.to_le_bytes());
    }
    folder.write("model/model.safetensors", weights);
    let found: Value =
        serde_json::from_str(&folder.ok(&["eval", "model", "--data", "s=old.jsonl", "--seq-len", "32", "--json"]))
            .expect("JSON");
    assert!(found["sets"]["s"]["loss"].as_f64().expect("a loss") > 709.0, "{found}");
    assert_eq!(found["sets"]["s"]["perplexity"], "inf");
    assert!(folder.ok(&["eval", "model", "--data", "s=old.jsonl", "--seq-len", "32"]).contains(" inf "));
    folder.write("law.toml", LAW);
    folder.ok(&["train", "law.toml", "--out", "law"]);
    assert_eq!(folder.last_eval("law", "law")["perplexity"], "inf");
    folder.ok(&["report", "law", "--out", "out"]);
    let page = String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    assert!(page.contains(">inf</td>"));
}

/// F9: why a set has no bits per byte.
#[test]
fn f9_a_report_says_why_bits_per_byte_are_missing() {
    let folder = Folder::with_base();
    let record = String::from_utf8(folder.read("base/metrics.jsonl")).expect("UTF-8");
    folder.ok(&["report", "base", "--out", "out"]);
    let page = |folder: &Folder| String::from_utf8(folder.read("out/report.html")).expect("UTF-8");
    assert!(!page(&folder).contains("no bits per byte"));
    folder.write("base/metrics.jsonl", record.replace("\"bits_per_byte\"", "\"other\""));
    folder.ok(&["report", "base", "--out", "out"]);
    assert!(page(&folder).contains("There are no bits per byte of old"));
}

/// Names that a spreadsheet would take for formulas are text in a table; numbers stay numbers.
#[test]
fn a_name_is_no_formula() {
    let folder = Folder::new();
    folder.write("formula.toml", TINY.replace("train.old.path", "train.-sum.path").replace("40 steps", "2 steps"));
    folder.ok(&["train", "formula.toml", "--out", "run"]);
    let table = String::from_utf8(folder.read("run/evals.csv")).expect("UTF-8");
    let first = table.lines().nth(1).expect("a row");
    assert!(first.contains(",'-sum,"), "{first}");
}

/// A plan and the start it is a plan of refuse the same, in the same words, with code 2.
#[test]
fn a_plan_refuses_what_a_start_refuses() {
    let folder = Folder::with_base();
    folder.ok(&["export", "base", "--out", "model"]);
    folder.write("law.toml", LAW);
    folder.ok(&["data", "train-tokenizer", "new.jsonl", "--vocab-size", "300", "--out", "other.json"]);
    folder.ok(&["data", "prepare", "new.jsonl", "--tokenizer", "other.json", "--out", "other"]);
    let refused = |plan: &[&str], start: &[&str], set: &str, says: &str| {
        let words = |args: &[&str]| folder.fails(&[args, &["--set", set]].concat(), 2, &[says]);
        let errors = |text: String| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect()
        };
        assert_eq!(errors(words(plan)), errors(words(start)), "{set}");
        assert!(!folder.path("run").exists());
    };
    let train =
        |set: &str, says: &str| refused(&["plan", "law.toml"], &["train", "law.toml", "--out", "run"], set, says);
    train("data.seq_len=64", "64 is more than the 32 tokens");
    train("checkpoint.keep_best=none", "there is no validation set none");
    train("data.tokenizer=none.json", "none.json");
    train("data.tokenizer=other.json", "not the tokenizer of the weights");
    train("data.train.law.path=other", "made with another vocabulary");
    train("data.replay.fraction=0.5", "no earlier run");
    train("init.from=none", "none/config.json");
    train("run.stop=0 steps", "run.stop");
    let branch = ["branch", "base", "next.toml", "--out", "run"];
    let branch = |set: &str, says: &str| refused(&["plan", "next.toml", "--from", "base"], &branch, set, says);
    branch("init.from=model", "not with those of model");
    branch("data.seq_len=64", "64 is more than the 32 tokens");
    branch("checkpoint.keep_best=none", "there is no validation set none");
    branch("data.tokenizer=other.json", "not the tokenizer of the base run");
    branch("model.layers=3", "asks for 3");
    branch("clocks.schedule=keep", "it begins at 40");
    // What is meant is a warning of both.
    let meant =
        ["plan", "law.toml", "--no-calibration", "--set", "data.seq_len=64", "--set", "data.beyond_positions=true"];
    assert!(folder.temper(&meant).err.contains("64 is more than the 32 tokens"));
}

#[test]
fn a_plan_of_certified_training_refuses_what_a_start_refuses() {
    let folder = Folder::empty();
    folder.write(
        "c.toml",
        "task = \"certify\"\nmodel = { name = \"small\", width = 2 }\ndata = { images = \"builtin:fashion\", max_train = 100 }\n\
         batch.images = 20\neps = { target = 0.01, length = \"2 steps\" }\nlr = { shape = \"constant\", peak = 5e-3 }\n\
         eval.attack_images = 0\nrun.horizon = \"4 steps\"\n",
    );
    folder.ok(&["train", "c.toml", "--out", "base"]);
    let refused = |plan: &[&str], start: &[&str], set: &str, says: &str| {
        for args in [plan, start] {
            folder.fails(&[args, &["--set", set]].concat(), 2, &[says]);
        }
    };
    let train = |set: &str, says: &str| refused(&["plan", "c.toml"], &["train", "c.toml", "--out", "run"], set, says);
    train("init.from=none.safetensors", "none.safetensors");
    train("batch.images=95", "a batch of 95 is more than the 94 training images");
    train("data.images=none", "none");
    let branch = ["branch", "base", "c.toml", "--out", "run"];
    let branch = |set: &str, says: &str| refused(&["plan", "c.toml", "--from", "base"], &branch, set, says);
    branch("init.from=none.safetensors", "a branch begins with the weights of its base");
    branch("model.width=3", "asks for another network");
    branch("clocks.schedule=keep", "it begins at 4");
}

/// A classifier whose updates and evaluations have every metric but those of adversarial training.
const CLASSIFIER: &str = r#"
task = "certify"
model = { name = "small", width = 4 }
data = { images = "builtin:fashion", max_train = 80, max_test = 20 }
batch.images = 40
eps = { target = 0.1, length = "4 steps" }
lr = { shape = "linear", peak = 1e-3 }
run.horizon = "4 steps"
eval = { attack_images = 10, attack_steps = 2, verify_images = 2, verify_timeout = 0.1 }
log.every = "1 steps"
"#;

#[test]
fn every_metric_that_a_run_records_is_in_the_table() {
    let folder = Folder::with_base();
    folder.write("c.toml", CLASSIFIER);
    folder.ok(&["train", "c.toml", "--out", "c"]);
    folder.ok(&["train", "c.toml", "--out", "pgd", "--set", "method.name=pgd"]);
    let mut recorded = Vec::new();
    for run in ["base", "c", "pgd"] {
        let series = RunSeries::read(&RunDir::open(folder.path(run)).expect("a run")).expect("a record");
        let evals = series.evals.iter().flat_map(|(_, points)| points).map(|point| &point.values);
        for (name, _) in series.steps.iter().map(|point| &point.values).chain(evals).flat_map(|values| values.iter()) {
            recorded.push(metric::find(name).unwrap_or_else(|| panic!("{run} records {name}")).name);
        }
    }
    // And nothing else is, but for the epoch, which a report may count its horizontal axis in.
    let idle: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(|name| !recorded.contains(name)).collect();
    assert_eq!(idle, ["epoch"]);
}
