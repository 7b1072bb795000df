//! The seven steps of docs/continue.md, walked as a new user does: recipes are saved as its code blocks have them, and every line of
//! a command is given to a shell as it stands, on a small Hugging Face directory under the names that the page uses. Only lengths
//! are shortened.
//!
//! `readme.rs` asks whether every command of every page works; this asks whether the steps come to what the page says.

mod common;
#[path = "common/readme.rs"]
mod readme;

use std::fs;
use std::fs::File;
use std::io::Read;

use common::{Done, Folder};
use readme::{Page, recipe_name, root, words};
use serde_json::Value;

/// The page with the steps, and where they begin and end in it.
const PAGE: &str = "docs/continue.md";
const SECTION: [&str; 2] = ["\n## 1. ", "\n## No model at hand?"];

/// What is shortened: the text, what takes its place, and how often it stands in the steps.
const SHORTENED: [(&str, &str, usize); 3] =
    [("\"20 Mtok\"", "\"20 ktok\"", 2), ("seq_len = 512", "seq_len = 32", 1), ("--seq-len 512", "--seq-len 32", 1)];

/// A small model in the place of pythia-70m.
const MODEL: &str = r#"
model = { layers = 2, d_model = 32, heads = 4 }
data = { tokenizer = "tokenizer.json", seq_len = 32, train.old.path = "corpus/old.jsonl.zst", validation_fraction = 0.1 }
batch.sequences = 16
lr = { peak = 3e-3, warmup = "2 steps" }
run.horizon = "30 steps"
"#;

/// The steps, shortened.
fn steps() -> String {
    let text = Page::read(PAGE).text;
    let (_, rest) = text.split_once(SECTION[0]).expect("the section");
    let (steps, _) = rest.split_once(SECTION[1]).expect("its end");
    let mut steps = steps.to_owned();
    for (long, short, times) in SHORTENED {
        assert_eq!(steps.matches(long).count(), times, "{long} in the steps");
        steps = steps.replace(long, short);
    }
    steps
}

/// Model and texts, laid out as the page says they are.
fn furnish(folder: &Folder) {
    for made in ["models", "corpus", "corpus/law", "corpus/medicine"] {
        fs::create_dir(folder.path(made)).expect("a folder");
    }
    let documents = |asset: &str| {
        let file = File::open(root().join("assets").join(asset)).expect("a text");
        let mut text = String::new();
        zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("UTF-8");
        text.lines().take(240).map(beginning).collect::<Vec<_>>()
    };
    let (english, german) = (documents("web.jsonl.zst"), documents("law.jsonl.zst"));
    folder.write("corpus/old.jsonl.zst", zstd::encode_all(english[..40].concat().as_bytes(), 3).expect("zstd"));
    folder.write("corpus/law/a.jsonl", german[..90].concat());
    folder.write("corpus/law/b.jsonl", german[90..180].concat());
    folder.write("corpus/medicine/notes.jsonl", [&english[40..80], &german[180..240]].concat().concat());
    folder.write("corpus/cases.txt", "Der Antrag ist innerhalb eines Monats zu stellen.");
    folder.write("model.toml", MODEL);
    let texts = ["corpus/old.jsonl.zst", "corpus/law"];
    folder.ok(&["data", "train-tokenizer", texts[0], texts[1], "--vocab-size", "400", "--out", "tokenizer.json"]);
    folder.ok(&["train", "model.toml", "--out", "pre-trained"]);
    folder.ok(&["export", "pre-trained", "--out", "models/pythia-70m"]);
}

/// The beginning of a document, so that evaluations are short.
fn beginning(line: &str) -> String {
    let document: Value = serde_json::from_str(line).expect("JSON");
    let text: String = document["text"].as_str().expect("a text").chars().take(400).collect();
    serde_json::json!({ "text": text }).to_string() + "\n"
}

/// Does what the steps say, block by block: recipes are written under their names, commands run, each with exit code 0,
/// and what it was to write is there. What each command said, in order.
fn walk(folder: &Folder, steps: &str) -> Vec<(String, String)> {
    let (mut done, mut rest) = (Vec::new(), steps);
    while let Some((_, block)) = rest.split_once("```") {
        let (block, after) = block.split_once("```").expect("a code block ends");
        let (language, content) = block.split_once('\n').expect("a code block has lines");
        rest = after;
        match language {
            "toml" => folder.write(&recipe_name(content), content),
            "sh" => {
                for line in content.lines() {
                    // `temper` is on the path, as after `cargo install`.
                    let Done { code, out, err } = folder.shell(&format!("PATH=${{TEMPER%/*}}:$PATH\n{line}"));
                    assert_eq!(code, 0, "{line}: {err}");
                    for pair in words(line).windows(2).filter(|pair| ["--out", "--svg"].contains(&pair[0].as_str())) {
                        assert!(folder.path(&pair[1]).exists(), "{line}: there is no {}", pair[1]);
                    }
                    done.push((line.to_owned(), out + &err));
                }
            }
            other => panic!("a code block of {other:?}"),
        }
    }
    done
}

/// What this command said, which stands in the steps once.
fn said<'a>(done: &'a [(String, String)], command: &str) -> &'a str {
    let mut found = done.iter().filter(|(line, _)| line == command);
    match (found.next(), found.next()) {
        (Some((_, out)), None) => out,
        _ => panic!("`{command}` stands in the steps once"),
    }
}

/// The loss of a model or run on the law's validation set.
fn loss(folder: &Folder, model: &str) -> f64 {
    let data = "law=tokens/law/validation.tokens";
    let out = folder.ok(&["eval", model, "--data", data, "--seq-len", "32", "--json"]);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    find(&value, "loss").unwrap_or_else(|| panic!("no loss in {out}"))
}

/// The first number of this name, however deep.
fn find(value: &Value, name: &str) -> Option<f64> {
    match value {
        Value::Object(object) => {
            object.get(name).and_then(Value::as_f64).or_else(|| object.values().find_map(|v| find(v, name)))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

#[test]
fn the_seven_steps() {
    let folder = Folder::empty();
    furnish(&folder);
    let steps = steps();
    for number in 2..=7 {
        assert!(steps.contains(&format!("\n## {number}. ")), "step {number}");
    }
    let done = walk(&folder, &steps);

    tokens_are_judged_alike(&folder, &done);
    plan_and_run_agree(&folder, &done);

    // Step 6, the first continuation: law is new, what the model came with is old.
    let report = said(&done, "temper report runs/law");
    common::says_all(report, &["On law, law ends at perplexity ", "; on old, its perplexity "]);

    // Step 7, the branch: medicine is new, and law, which its base was trained on, is old.
    let report = said(&done, "temper report runs/law runs/medicine --out report");
    common::says_all(report, &["On medicine, medicine ends at perplexity ", "; on law, its perplexity "]);
    what_a_branch_takes_over(&folder);
    for set in ["law", "old", "medicine"] {
        assert!(folder.last_eval("runs/medicine", set)["loss"].is_number(), "the branch is judged on {set}");
    }

    exported_is_the_checkpoint(&folder);
}

/// Steps 1, 2 and 5: the model stands, before anything happens, where the run's first evaluation has it.
fn tokens_are_judged_alike(folder: &Folder, done: &[(String, String)]) {
    let eval = done.iter().find(|(line, _)| line.starts_with("temper eval models/pythia-70m ")).expect("step 2");
    for set in ["old", "law"] {
        let first = folder.events_of("runs/law", "eval").into_iter().find(|event| event["set"] == set).expect("judged");
        assert_eq!(first["step"], 0);
        let loss = format!("{:.4}", first["loss"].as_f64().expect("a loss"));
        common::says_all(&eval.1, &[&loss]);
    }
}

/// Steps 3 to 5: the plan names the updates that the run made, `keep_best` kept a checkpoint, and there was nothing to resume.
fn plan_and_run_agree(folder: &Folder, done: &[(String, String)]) {
    let made = folder.events_of("runs/law", "step").last().expect("updates")["step"].as_u64().expect("a number");
    // 20,000 tokens are so many whole updates of 16 sequences of 32.
    assert_eq!(made, 39, "updates of runs/law");
    common::says_all(said(done, "temper plan law.toml"), &["39 updates"]);
    assert!(folder.read("law.svg").starts_with(b"<svg"));
    let csv = said(done, "temper schedule law.toml --csv --every 100");
    assert!(csv.lines().count() >= 2 && csv.contains(','), "{csv}");
    assert!(folder.json("runs/law/checkpoints/best.json").is_object());
    common::says_all(said(done, "temper resume runs/law"), &["complete"]);
}

/// Step 7: what the recipe of the branch does not say is that of its base, and a twentieth of the samples is replayed.
fn what_a_branch_takes_over(folder: &Folder) {
    let texts = ["runs/law", "runs/medicine"]
        .map(|run| String::from_utf8(folder.read(&format!("{run}/resolved.toml"))).expect("UTF-8"));
    let [base, branch] = &texts;
    assert_eq!(resolved(branch, "data.replay", "fraction"), ["fraction = 0.05"]);
    for (section, key) in [("data", "seq_len"), ("batch", "sequences"), ("optimizer", "")] {
        let values = resolved(branch, section, key);
        assert!(!values.is_empty() && values == resolved(base, section, key), "{section}.{key}: {values:?}");
    }
    let [base, branch] = ["runs/law", "runs/medicine"].map(|run| folder.read(&format!("{run}/tokenizer.json")));
    assert!(base == branch, "the tokenizer");
}

/// Keys and values of a section that begin with `key`, without their origins.
fn resolved<'t>(text: &'t str, section: &str, key: &str) -> Vec<&'t str> {
    let (_, rest) = text.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("{section} in {text}"));
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| line.starts_with(key))
        .map(|line| line.split("  #").next().unwrap_or(line).trim_end())
        .filter(|line| !line.is_empty())
        .collect()
}

/// What `export` wrote is the run's best checkpoint, for Temper and for whoever reads the directory.
fn exported_is_the_checkpoint(folder: &Folder) {
    let best = loss(folder, "runs/law@best");
    folder.ok(&["export", "runs/law@best", "--out", "models/exact", "--dtype", "f32"]);
    assert_eq!(loss(folder, "models/exact"), best, "exported as f32");
    let rounded = loss(folder, "models/law-70m");
    assert!((rounded - best).abs() < 0.02, "exported as bf16: {rounded}, the checkpoint {best}");

    let given = folder.read("models/pythia-70m/tokenizer.json");
    assert!(folder.read("models/law-70m/tokenizer.json") == given, "the tokenizer is the one that came with the model");
    let [before, after] = ["pythia-70m", "law-70m"].map(|name| folder.json(&format!("models/{name}/config.json")));
    for key in ["vocab_size", "eos_token_id", "bos_token_id", "hidden_size", "rotary_pct", "tie_word_embeddings"] {
        assert_eq!(after[key], before[key], "{key} of config.json");
    }
    let settings = folder.json("models/law-70m/tokenizer_config.json");
    assert_eq!(settings["eos_token"], "<|endoftext|>", "tokenizer_config.json: {settings}");
}
