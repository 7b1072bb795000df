//! The commands that need no model, as a user runs them: schedule, recipe, data, report, doctor, completions.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What a command came to.
struct Done {
    code: i32,
    out: String,
    err: String,
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_temper"));
    command.args(args).current_dir(folder).env_remove("NO_COLOR");
    command
}

/// Runs `temper` in the folder.
fn temper(folder: &Path, args: &[&str]) -> Done {
    let output = command(folder, args).output().expect("the binary starts");
    Done {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs `temper`, which must succeed; gives standard output.
fn ok(folder: &Path, args: &[&str]) -> String {
    let done = temper(folder, args);
    assert_eq!(done.code, 0, "{args:?}: {}", done.err);
    done.out
}

/// Runs `temper`, which must fail with this code and say each of these things on standard error and nothing elsewhere.
fn fails(folder: &Path, args: &[&str], code: i32, says: &[&str]) {
    let done = temper(folder, args);
    assert_eq!(done.code, code, "{args:?}: {}", done.err);
    assert_eq!(done.out, "", "{args:?}");
    for words in says {
        assert!(done.err.contains(words), "{args:?}: `{words}` is not in\n{}", done.err);
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// 12 updates of 4 x 10 tokens, 4 of them warmup.
const BASE: &str = r#"
data.seq_len = 10
data.train.docs.path = "docs.txt"
batch.sequences = 4
lr = { shape = "linear-to-zero", peak = 1e-3, warmup = "4 steps" }
run.horizon = "480 tok"
"#;

#[test]
fn schedule_as_csv() {
    let folder = folder();
    fs::write(folder.path().join("base.toml"), BASE).unwrap();
    let csv = ok(folder.path(), &["schedule", "base.toml", "--csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "step,tokens,lr");
    assert_eq!(lines.len(), 13);
    // Ours: the warmup reaches the maximum at its last update, the value at the horizon is the minimum.
    for (line, expected) in [(1, "1,40,0.00025"), (4, "4,160,0.001"), (8, "8,320,0.0005"), (12, "12,480,0.0")] {
        assert_eq!(lines[line], expected);
    }
    let csv = ok(folder.path(), &["schedule", "base.toml", "--csv", "--every", "3", "--set", "run.stop=11 steps"]);
    let steps: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["1", "3", "4", "5", "6", "9", "11"], "multiples of 3, the ends of the phases, the stop");
}

#[test]
fn schedule_as_drawing() {
    let folder = folder();
    fs::write(folder.path().join("base.toml"), BASE).unwrap();
    let text = ok(folder.path(), &["schedule", "base.toml", "--set", "run.stop=50%"]);
    for words in ["12 updates (480 tokens)", "40 tokens: 4 sequences of 10", "stops at update 6 (240 tokens)", "1e-3 |"]
    {
        assert!(text.contains(words), "`{words}` is not in\n{text}");
    }
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["warmup", "1", "4", "4", "160", "2.50e-4", "1.00e-3"]), "{text}");
    assert!(rows.contains(&vec!["decay", "5", "6", "2", "80", "8.75e-4", "7.50e-4"]), "{text}");
}

#[test]
fn schedule_of_a_branch_recipe() {
    let folder = folder();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/base.toml"), BASE).unwrap();
    let own = "base = \"base.toml\"\ndata.train.de.path = \"de.txt\"\n";
    fs::write(
        folder.path().join("sub/own.toml"),
        format!("{own}lr = {{ peak = 5e-4, min = 2e-5 }}\nrun.horizon = \"40 ktok\""),
    )
    .unwrap();
    fs::write(folder.path().join("sub/keep.toml"), format!("{own}clocks.schedule = \"keep\"")).unwrap();
    fs::write(folder.path().join("sub/lost.toml"), "data.train.de.path = \"de.txt\"\nclocks.schedule = \"keep\"")
        .unwrap();
    fs::write(
        folder.path().join("sub/self.toml"),
        own.replace("base.toml", "self.toml") + "clocks.schedule = \"keep\"",
    )
    .unwrap();
    // The tokens of an update are the base's.
    let csv = ok(folder.path(), &["schedule", "sub/own.toml", "--csv"]);
    assert_eq!(csv.lines().last().unwrap(), "1000,40000,2e-5");
    let csv = ok(folder.path(), &["schedule", "sub/keep.toml", "--csv"]);
    assert_eq!(csv, ok(folder.path(), &["schedule", "sub/base.toml", "--csv"]));
    fails(folder.path(), &["schedule", "sub/lost.toml"], 2, &["run.horizon: it is not set", "hint: clocks.schedule"]);
    fails(
        folder.path(),
        &["schedule", "sub/self.toml"],
        2,
        &["sub/self.toml:1: base: ", "sub/self.toml -> sub/self.toml"],
    );
}

#[test]
fn schedule_refuses() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("base.toml"), BASE).unwrap();
    let epochs =
        ["schedule", "base.toml", "--set", "run.horizon=3 epochs", "--set", "lr.peek=1", "--set", "lr.peak=-1"];
    fails(at, &epochs[..4], 2, &["error: read recipe: --set run.horizon: 3 epochs", "hint: give steps or tokens"]);
    fails(
        at,
        &epochs,
        2,
        &["--set lr.peek: there is no such key", "`lr.peak`", "--set lr.peak: expected a number above 0"],
    );
    let stop = ["schedule", "base.toml", "--set", "run.stop=2 epochs", "--set", "lr.warmup=1 epochs"];
    fails(at, &stop, 2, &["--set run.stop: 2 epochs", "--set lr.warmup: 1 epoch"]);
    fails(at, &["schedule", "rewarm/smal"], 2, &["find recipe: rewarm/smal", "did you mean `rewarm/small`"]);
    fails(at, &["schedule", "base.toml", "--every", "2"], 2, &["--csv"]);
    fs::create_dir(at.join("run")).unwrap();
    fs::write(at.join("run/resolved.toml"), BASE).unwrap();
    fails(at, &["schedule", "run"], 2, &["this is a run, not a recipe", "hint: its recipe is run/resolved.toml"]);
}

#[test]
fn schedule_as_figure_overwrites_nothing() {
    let folder = folder();
    fs::write(folder.path().join("base.toml"), BASE).unwrap();
    assert_eq!(ok(folder.path(), &["schedule", "base.toml", "--svg", "lr.svg"]), "lr.svg\n");
    let svg = fs::read_to_string(folder.path().join("lr.svg")).unwrap();
    assert!(svg.contains("<svg") && svg.contains("base.toml") && svg.contains("warmup"));
    let again = ["schedule", "base.toml", "--svg", "lr.svg", "--set", "lr.peak=1"];
    fails(folder.path(), &again, 2, &["lr.svg: the file exists already", "hint: "]);
    assert_eq!(fs::read_to_string(folder.path().join("lr.svg")).unwrap(), svg);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = folder();
    fs::write(folder.path().join("base.toml"), BASE).unwrap();
    // Far more than a pipe holds.
    let args = ["schedule", "base.toml", "--csv", "--set", "run.horizon=1000000 steps"];
    let mut child = command(folder.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "step,tokens,lr\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[] as &[u8]));
}

#[test]
fn recipes_are_listed_and_shown() {
    let folder = folder();
    let list = ok(folder.path(), &["recipe", "list"]);
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    assert!(list.lines().any(|line| line.starts_with("rewarm/small  ")), "{list}");
    let (sweeps, lines): (Vec<&str>, Vec<&str>) = list.lines().partition(|line| line.starts_with("sweep "));
    assert!(sweeps.iter().any(|line| line.starts_with("sweep rewarm/max-lr  ")), "{list}");
    for line in lines {
        let name = line.split_whitespace().next().unwrap();
        let text = fs::read_to_string(recipes.join(format!("{name}.toml"))).unwrap();
        assert_eq!(ok(folder.path(), &["recipe", "show", name]), text, "{name}");
        assert!(line.len() > name.len() + 10, "{name} says nothing about itself");
    }
    fails(folder.path(), &["recipe", "show", "rewarm/smal"], 2, &["hint: did you mean `rewarm/small`"]);
}

#[test]
fn keys_by_prefix() {
    let folder = folder();
    let keys = |prefix: &str| ok(folder.path(), &["recipe", "keys", prefix]);
    let lr = keys("lr");
    assert!(lr.starts_with("[lr]\n") && lr.matches('[').count() < 4, "{lr}");
    assert!(lr.contains("lr.warmup = \"1%\"  ") && lr.contains("linear warmup; 0 starts at the maximum"), "{lr}");
    assert!(keys("lr.warmup_").contains("lr.warmup_from = 0.0") && !keys("lr.warmup_").contains("lr.warmup ="));
    assert!(keys("data.train.docs").contains("data.train.NAME.weight = 1.0"));
    assert!(keys("data.seq_len").contains("(tokens)"), "the unit");
    assert!(ok(folder.path(), &["recipe", "keys"]).lines().all(|line| line.chars().count() <= 110));
    fails(folder.path(), &["recipe", "keys", "warmup"], 2, &["hint: did you mean `lr.warmup`"]);
    fails(folder.path(), &["recipe", "keys", "modle"], 2, &["hint: did you mean `model`"]);
}

/// 40 documents, a line that is not UTF-8, an empty document.
fn corpus(folder: &Path) -> u64 {
    let mut bytes = Vec::new();
    let mut total = 0;
    for n in 0..40 {
        let text = format!("This is document number {n}: it says {}.", "hello, ".repeat(n % 7));
        total += text.len() as u64;
        bytes.extend_from_slice((json!({ "text": text }).to_string() + "\n").as_bytes());
    }
    bytes.extend_from_slice(b"{\"text\":\"\xff\"}\n{\"text\":\"\"}\n");
    fs::write(folder.join("docs.jsonl"), bytes).unwrap();
    total
}

fn info(folder: &Path, path: &str) -> Value {
    serde_json::from_str(&ok(folder, &["data", "info", path, "--json"])).expect("JSON")
}

#[test]
fn text_becomes_tokens() {
    let folder = folder();
    let at = folder.path();
    let bytes = corpus(at);
    let prepare = ["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:demo", "--out", "tokens"];
    let done = temper(at, &[&prepare[..], &["--validation-fraction", "0.25"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("left out 1 line: not UTF-8") && done.err.contains("left out 1 document: empty"));
    assert_eq!(names(&at.join("tokens")), ["tokenizer.json", "train.tokens", "validation.tokens"]);
    let [train, validation] = ["tokens/train.tokens", "tokens/validation.tokens"].map(|path| info(at, path));
    let sum = |key: &str| train[key].as_u64().unwrap() + validation[key].as_u64().unwrap();
    assert_eq!((sum("documents"), sum("bytes")), (40, bytes));
    assert!(validation["documents"].as_u64().unwrap() > 0);
    let together: Vec<&str> =
        done.out.lines().find(|line| line.starts_with("together")).unwrap().split_whitespace().collect();
    assert_eq!(together[1..4], ["40", &thousands(sum("tokens")), &thousands(bytes)]);
    assert!(done.out.contains(train["sha256"].as_str().unwrap()));
    assert!(ok(at, &["data", "info", "tokens/train.tokens"]).contains("(verified)"));
    // Nothing is overwritten, and everything that is in the way is said at once.
    let before = fs::read(at.join("tokens/train.tokens")).unwrap();
    let exists = ["tokens/train.tokens: the file exists already", "tokens/validation.tokens: the file exists already"];
    fails(at, &prepare, 2, &exists);
    assert_eq!(fs::read(at.join("tokens/train.tokens")).unwrap(), before);
}

fn thousands(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) }
}

#[test]
fn the_tokenizer_beside_other_tokens_is_left_alone() {
    let folder = folder();
    corpus(folder.path());
    fs::create_dir(folder.path().join("tokens")).unwrap();
    fs::write(folder.path().join("tokens/tokenizer.json"), "mine").unwrap();
    let args = ["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:demo", "--out", "tokens"];
    fails(folder.path(), &args, 2, &["tokens/tokenizer.json: another tokenizer is there already"]);
    assert_eq!(fs::read_to_string(folder.path().join("tokens/tokenizer.json")).unwrap(), "mine");
}

#[test]
fn bad_input_to_prepare() {
    let folder = folder();
    let at = folder.path();
    corpus(at);
    fs::write(at.join("keys.jsonl"), "{\"text\":\"a\"}\n{\"txt\":\"b\"}\n").unwrap();
    fs::write(at.join("empty.txt"), "").unwrap();
    let prepare = |input: &str, more: &[&str], says: &[&str]| {
        let args = ["data", "prepare", input, "--tokenizer", "builtin:demo", "--out", "out"];
        fails(at, &[&args[..], more].concat(), 2, says);
        assert!(!at.join("out").exists(), "{input} left something behind");
    };
    prepare(
        "nothing.txt",
        &["builtin:nothing", "--validation-fraction", "1.5"],
        &[
            "read documents: nothing.txt: ",
            "builtin:nothing: there is no built-in text",
            "--validation-fraction: 1.5 is not from 0 to below 1",
        ],
    );
    prepare("keys.jsonl", &[], &["keys.jsonl:2: the document has no key `text`", "hint: keys here are: txt"]);
    prepare("empty.txt", &[], &["empty.txt: the corpus is empty"]);
    prepare("docs.jsonl", &["--invalid-utf8", "error"], &["docs.jsonl:41: not UTF-8"]);
    let args = ["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:no", "--out", "out"];
    fails(at, &args, 2, &["read tokenizer: builtin:no: ", "hint: builtin:demo"]);
    fs::write(at.join("file"), "").unwrap();
    let args = ["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:demo", "--out", "file"];
    fails(at, &args, 2, &["file: a file is in the way"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_prepare_leaves_nothing() {
    let folder = folder();
    let at = folder.path();
    // A pipe that nobody writes to: reading it takes for ever.
    assert!(Command::new("mkfifo").arg(at.join("docs.jsonl")).status().unwrap().success());
    let args = ["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:demo", "--out", "out"];
    let mut child = command(at, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = || at.join("out").is_dir() && names(&at.join("out")).iter().any(|name| name.contains("validation"));
    for _ in 0..2000 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(begun(), "it has not begun to write");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(at), ["docs.jsonl"]);
}

#[test]
fn damaged_tokens_are_found() {
    let folder = folder();
    let at = folder.path();
    corpus(at);
    ok(at, &["data", "prepare", "docs.jsonl", "--tokenizer", "builtin:demo", "--out", "tokens"]);
    let mut bytes = fs::read(at.join("tokens/train.tokens")).unwrap();
    // The 11th token.
    bytes[128 + 20] ^= 1;
    fs::write(at.join("flipped.tokens"), &bytes).unwrap();
    fs::write(at.join("cut.tokens"), &bytes[..300]).unwrap();
    fs::write(at.join("other.tokens"), "not tokens at all").unwrap();
    fails(at, &["data", "info", "flipped.tokens"], 2, &["verify token shard: flipped.tokens: ", "sha256", "hint: "]);
    fails(at, &["data", "info", "cut.tokens"], 2, &["cut.tokens: ", "the file has 300", "hint: "]);
    fails(at, &["data", "info", "other.tokens"], 2, &["not a token shard", "hint: "]);
    fails(at, &["data", "info", "tokens"], 2, &["is a folder", "hint: name one of the files in it"]);
    fails(at, &["data", "info", "nothing.tokens"], 2, &["nothing.tokens: "]);
}

#[test]
fn a_megatron_pair_is_described() {
    let folder = folder();
    // Documents [5, 900, 3] and [2, 7] of u16 ids, byte by byte as the format has it.
    let ids: Vec<u8> = [5_u16, 900, 3, 2, 7].iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut index = b"MMIDIDX\0\0".to_vec();
    index.extend(1_u64.to_le_bytes());
    index.push(8);
    index.extend([2_u64, 3].iter().flat_map(|n| n.to_le_bytes()));
    index.extend([3_i32, 2].iter().flat_map(|n| n.to_le_bytes()));
    index.extend([0_i64, 6, 0, 1, 2].iter().flat_map(|n| n.to_le_bytes()));
    fs::write(folder.path().join("docs.bin"), ids).unwrap();
    fs::write(folder.path().join("docs.idx"), &index).unwrap();
    for name in ["docs.bin", "docs.idx", "docs"] {
        let facts = info(folder.path(), name);
        assert_eq!((&facts["documents"], &facts["tokens"], &facts["largest_id"]), (&json!(2), &json!(5), &json!(900)));
    }
    index[17] = 7;
    fs::write(folder.path().join("docs.idx"), &index).unwrap();
    fails(folder.path(), &["data", "info", "docs.bin"], 2, &["docs.idx: holds ", "not token ids"]);
}

#[test]
fn a_tokenizer_is_trained_and_used() {
    let folder = folder();
    let at = folder.path();
    let bytes = corpus(at);
    let train = ["data", "train-tokenizer", "docs.jsonl", "--vocab-size", "300", "--out", "tokenizer.json"];
    assert_eq!(ok(at, &train), "tokenizer.json\n");
    let first = fs::read(at.join("tokenizer.json")).unwrap();
    fails(at, &train, 2, &["tokenizer.json: the file exists already", "hint: "]);
    assert_eq!(fs::read(at.join("tokenizer.json")).unwrap(), first);
    // The same on another number of threads.
    let again =
        ["--threads", "1", "data", "train-tokenizer", "docs.jsonl", "--vocab-size", "300", "--out", "again.json"];
    ok(at, &again);
    assert_eq!(fs::read(at.join("again.json")).unwrap(), first);
    ok(
        at,
        &[
            "data",
            "prepare",
            "docs.jsonl",
            "--tokenizer",
            "tokenizer.json",
            "--out",
            "out",
            "--validation-fraction",
            "0",
        ],
    );
    assert_eq!(names(&at.join("out")), ["tokenizer.json", "train.tokens"]);
    let facts = info(at, "out/train.tokens");
    assert_eq!((&facts["vocabulary"]["size"], &facts["bytes"]), (&json!(300), &json!(bytes)));
    assert!(facts["tokens"].as_u64().unwrap() < bytes / 2, "pairs were merged");
    // More entries than the text has pairs.
    let large = temper(at, &["data", "train-tokenizer", "docs.jsonl", "--vocab-size", "60000", "--out", "large.json"]);
    assert!(large.code == 0 && large.err.contains("warning: the text has pairs for "), "{}", large.err);
    let small = ["data", "train-tokenizer", "docs.jsonl", "--vocab-size", "256", "--out", "small.json"];
    fails(at, &small, 2, &["256"]);
    fails(at, &["data", "train-tokenizer", "no.txt", "--vocab-size", "300", "--out", "x.json"], 2, &["no.txt"]);
}

/// Writes a run: `(set, loss at the beginning, loss at the end)`, trained on `source`.
fn run(folder: &Path, name: &str, parent: Option<&str>, source: &str, sets: &[(&str, f64, f64)]) -> PathBuf {
    let dir = folder.join(name);
    fs::create_dir_all(dir.join("data")).unwrap();
    let start = if parent.is_some() { "branch" } else { "fresh" };
    let parent = parent.map(|parent| json!({ "run": parent, "step": 2, "tokens": 20 }));
    let mut events = vec![json!({
        "event": "start", "task": "lm", "recipe": name, "steps": 2, "tokens": 20, "start": start,
        "parent": parent, "version": "0.1.0",
    })];
    for step in 0..=2 {
        if step > 0 {
            events.push(json!({ "event": "step", "step": step, "tokens": 10 * step, "loss": 3.0, "lr": 1e-3 }));
        }
        for (set, first, last) in sets.iter().filter(|_| step != 1) {
            let loss = if step == 0 { *first } else { *last };
            let (tokens, perplexity) = (10 * step, f64::exp(loss));
            events.push(json!({
                "event": "eval", "step": step, "tokens": tokens, "set": set, "loss": loss, "perplexity": perplexity,
            }));
        }
    }
    events.push(json!({ "event": "done", "step": 2, "tokens": 20, "seconds": 1.0 }));
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    fs::write(dir.join("metrics.jsonl"), lines.join("\n") + "\n").unwrap();
    let manifest = json!({
        "stream": { "seed": 1, "seq_len": 5, "sources": [{ "name": source, "path": "x.tokens", "weight": 1.0 }] },
        "sets": [],
    });
    fs::write(dir.join("data/manifest.json"), manifest.to_string()).unwrap();
    dir
}

#[test]
fn a_report_of_a_base_and_its_branch() {
    let folder = folder();
    let at = folder.path();
    run(at, "base", None, "web", &[("aux", 5.0, 4.0), ("web", 5.0, 3.0)]);
    let sets = [("aux", 4.0, 4.5), ("web", 3.0, 3.5), ("law", 5.0, 2.0)];
    run(at, "de", Some("base"), "law", &sets);
    let done = temper(at, &["report", "base", "de"]);
    assert_eq!((done.code, done.out.as_str()), (0, "base/report/report.html\n"), "{}", done.err);
    assert_eq!(names(&at.join("base/report")), ["curves.svg", "plane.svg", "report.html", "training.svg"]);
    // What the base was trained on is old, what only the branch was trained on is new: e^2 = 7.389, e^3 = 20.09.
    assert!(
        done.err.contains("On law, de ends at perplexity 7.389; on web, its perplexity rises from 20.09"),
        "{}",
        done.err
    );
    let html = fs::read_to_string(at.join("base/report/report.html")).unwrap();
    assert!(!html.contains("http://") || html.matches("http://").count() == html.matches("http://www.w3.org/").count());
    // The branch alone knows the same, and says what is missing.
    let alone = temper(at, &["report", "de", "--out", "alone"]);
    assert!(
        alone.err.contains("base is not in the report") && alone.err.contains("On law, de ends at"),
        "{}",
        alone.err
    );
    let chosen = temper(at, &["report", "base", "de", "--out", "chosen", "--old", "aux", "--new", "web"]);
    assert!(chosen.err.contains("On web, de ends at perplexity 33.12; on aux"), "{}", chosen.err);
    // A report can be made again; a figure it no longer has goes.
    ok(at, &["report", "base"]);
    assert_eq!(names(&at.join("base/report")), ["curves.svg", "report.html", "training.svg"]);
}

#[test]
fn reports_that_cannot_be_made() {
    let folder = folder();
    let at = folder.path();
    run(at, "base", None, "web", &[("web", 5.0, 3.0)]);
    run(at, "blind", None, "web", &[]);
    run(at, "blinder", None, "web", &[]);
    fs::create_dir(at.join("other")).unwrap();
    fs::write(at.join("other/mine.txt"), "mine").unwrap();
    fails(
        at,
        &["report", "nothing", "other", "base@2"],
        2,
        &[
            "nothing: no such directory",
            "other: no run here",
            "base@2: no such directory",
            "hint: a report shows whole runs",
        ],
    );
    fails(
        at,
        &["report", "base", "blind", "blinder"],
        2,
        &["blind: the run has no evaluations", "blinder: the run has no"],
    );
    fails(at, &["report", "base", "--old", "law"], 2, &["law: no run was evaluated on", "hint: there are: web"]);
    fails(at, &["report", "base", "--out", "other"], 2, &["other: the folder holds other files, and no report"]);
    fails(at, &["report", "base", "--out", "other/mine.txt"], 2, &["a file is in the way"]);
    fails(at, &["report"], 2, &["<DIR>"]);
    assert_eq!(names(&at.join("other")), ["mine.txt"]);
    fs::write(at.join("base/metrics.jsonl"), "{\"event\":\"start\"}\nnonsense\n").unwrap();
    fails(at, &["report", "base"], 2, &["base/metrics.jsonl:2: ", "hint: "]);
}

#[test]
fn doctor_finds_what_is_wrong() {
    let folder = folder();
    let check = |document: &Value, name: &str| {
        let checks = document["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name}"))["state"].clone()
    };
    let good = temper(folder.path(), &["doctor", "--json"]);
    let document: Value = serde_json::from_str(&good.out).expect("JSON");
    for name in ["processor", "product", "attention", "same bits", "this folder", "temporary"] {
        assert_ne!(check(&document, name), "problem", "{name}: {}", good.out);
    }
    assert_eq!(document["fit"], json!(good.code == 0));
    assert!(document["numbers"]["gflops"].as_f64().unwrap() > 0.0);
    let bad = command(folder.path(), &["doctor"]).env("TMPDIR", "/nowhere").output().unwrap();
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    let problem = text.lines().position(|line| line.starts_with("problem  temporary ")).expect("the problem");
    assert!(text.lines().nth(problem + 1).unwrap().trim_start().starts_with("hint: set TMPDIR"), "{text}");
    assert_eq!(names(folder.path()), [] as [&str; 0], "nothing is left behind");
}

#[test]
fn completions_know_every_command() {
    let folder = folder();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ok(folder.path(), &["completions", shell]);
        for command in ["schedule", "train-tokenizer", "doctor"] {
            assert!(script.contains(command), "{command} is not in the completions for {shell}");
        }
    }
    fails(folder.path(), &["completions", "bsh"], 2, &["bsh", "bash"]);
}

/// The crates below name no command and no option; the program does.
#[test]
fn remedies_are_commands() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("base.toml"), BASE).unwrap();
    fs::write(at.join("docs.txt"), "text").unwrap();
    fs::write(at.join("other.tokens"), "text").unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    let says = |args: &[&str], hint: &str| fails(at, args, 2, &[&format!("hint: {hint}")]);
    says(&["plan", "nowhere"], "`temper recipe list` shows all; a path ends in .toml");
    says(&["schedule", "base.toml", "--set", "much"], "for example --set lr.peak=6e-4");
    says(&["schedule", "base.toml", "--set", "nonsense.nonsense=1"], "`temper recipe keys` lists all keys");
    says(&["data", "info", "docs.txt"], "tokenise it first: `temper data prepare`");
    says(&["data", "info", "other.tokens"], "`temper data prepare` makes shards from text; a .bin/.idx pair");
    says(&["resume", "empty"], "`temper train RECIPE --out DIR` makes one");
}
