//! Run directories that an older version made (commit c4163c3, `temper train FILE.toml --out NAME --max-steps 10` in `older/`) can be
//! resumed, evaluated, branched, verified and reported. The numbers they go on to are those that version came to, but for the last
//! digits, which depend on the instruction set.

mod common;

use std::fs;
use std::path::Path;

use common::Folder;

/// The older runs, in a folder where they may be written.
fn older() -> Folder {
    let folder = Folder::empty();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/older");
    copy(&source, &folder.path("."));
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

fn close(found: &serde_json::Value, expected: f64) {
    let found = found.as_f64().expect("a number");
    assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
}

#[test]
fn a_language_model() {
    let folder = older();
    let found: serde_json::Value = serde_json::from_str(&folder.ok(&["eval", "lm@10", "--json"])).expect("JSON");
    close(&found["sets"]["river"]["loss"], 4.7794920860);
    folder.ok(&["resume", "lm", "--until", "20"]);
    close(&folder.last_eval("lm", "river")["loss"], 4.3893110380);
    folder.write(
        "on.toml",
        "data.train.again.path = \"text.jsonl\"\nlr = { peak = 1e-3, warmup = \"1 steps\" }\nrun.horizon = \"2 steps\"\n",
    );
    folder.ok(&["branch", "lm", "on.toml", "--out", "branch"]);
    folder.ok(&["report", "lm", "branch", "--out", "report"]);
    folder.ok(&["export", "branch", "--out", "exported"]);
}

#[test]
fn a_classifier() {
    let folder = older();
    let verdicts = folder.ok(&[
        "verify",
        "clothes",
        "--eps",
        "0.02",
        "--steps",
        "5",
        "--restarts",
        "2",
        "--stages",
        "attack,ibp",
        "--json",
    ]);
    let verdicts: serde_json::Value = serde_json::from_str(&verdicts).expect("JSON");
    close(&verdicts["standard_error"], 85.0);
    close(&verdicts["certified_error"], 85.0);
    folder.ok(&["resume", "clothes", "--until", "20"]);
    close(&folder.last_eval("clothes", "test")["robust_loss"], 2.3535246849);
    folder.write(
        "on.toml",
        "task = \"certify\"\nlr = { shape = \"constant\", peak = 1e-3 }\nrun.horizon = \"2 steps\"\n",
    );
    folder.ok(&["branch", "clothes", "on.toml", "--out", "branch"]);
    folder.ok(&["report", "clothes", "branch", "--out", "report"]);
}
