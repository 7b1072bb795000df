//! What the tests of whole runs share: a folder with two small corpora and recipes, the built binary run in
//! it as a user does, and looks into the run directories it leaves.

// Every test file is a crate of its own and uses another part of this.
#![allow(dead_code)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// 40 updates of 4 sequences of 32 tokens, checkpoints every 5, evaluations every 10.
pub const TINY: &str = r#"
[model]
layers = 2
d_model = 32
heads = 4
[data]
tokenizer = "builtin:demo"
seq_len = 32
train.old.path = "old.jsonl"
validation_fraction = 0.1
[batch]
sequences = 4
[lr]
peak = 1e-3
warmup = "10%"
[run]
horizon = "40 steps"
[eval]
every = "10 steps"
[checkpoint]
every = "5 steps"
[log]
every = "1 steps"
"#;

/// A branch to the other corpus, 12 updates.
pub const NEXT: &str = r#"
data.train.new.path = "new.jsonl"
data.validation_fraction = 0.1
lr = { peak = 5e-4, warmup = "2 steps" }
run.horizon = "12 steps"
eval.every = "6 steps"
checkpoint.every = "4 steps"
"#;

/// A branch that changes nothing: what goes on is the base run.
pub const KEEP: &str = r#"
clocks = { weights = "keep", moments = "keep", schedule = "keep", data = "keep", rng = "keep" }
eval.every = "10 steps"
checkpoint.every = "5 steps"
"#;

const OLD: &str = "the of and to in light river stone house people went came said under over mountain king day \
    night water bread city wall gate field harvest wind word";
const NEW: &str = "der die das und in von zu mit Gesetz Person Antrag Frist Behörde Recht Satz Absatz nach gilt \
    kann wird entsprechend Anwendung Verordnung zuständig";

/// A folder with `old.jsonl`, `new.jsonl`, `tiny.toml`, `next.toml` and `keep.toml`, removed at the end.
pub struct Folder(TempDir);

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Folder {
    pub fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn new() -> Self {
        let folder = Self::empty();
        folder.write("old.jsonl", corpus(OLD, 120));
        folder.write("new.jsonl", corpus(NEW, 120));
        folder.write("tiny.toml", TINY);
        folder.write("next.toml", NEXT);
        folder.write("keep.toml", KEEP);
        folder
    }

    /// With the run `base`: `tiny.toml` to its end.
    pub fn with_base() -> Self {
        let folder = Self::new();
        folder.ok(&["train", "tiny.toml", "--out", "base"]);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file can be written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// `temper` with these arguments, to be run here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_temper"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// A shell script to be run here; `$TEMPER` is the binary.
    pub fn shell(&self, script: &str) -> Done {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("TEMPER", env!("CARGO_BIN_EXE_temper")).current_dir(self.0.path());
        done(command)
    }

    /// Runs `temper`.
    pub fn temper(&self, args: &[&str]) -> Done {
        done(self.command(args))
    }

    /// Runs `temper`, which must succeed; gives standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let done = self.temper(args);
        assert_eq!(done.code, 0, "{args:?}: {}", done.err);
        done.out
    }

    /// Runs `temper`, which must fail with this code, say each of these things on standard error and nothing on
    /// standard output; gives standard error.
    pub fn fails(&self, args: &[&str], code: i32, says: &[&str]) -> String {
        let done = self.temper(args);
        assert_eq!(done.code, code, "{args:?}: {}", done.err);
        assert_eq!(done.out, "", "{args:?}");
        says_all(&done.err, says);
        done.err
    }

    /// Starts `temper` and waits until `run/metrics.jsonl` has update `step`. `None` if it ended before anyone looked.
    pub fn start_until(&self, args: &[&str], run: &str, step: u64) -> Option<Running> {
        let mut child = self.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let metrics = self.path(run).join("metrics.jsonl");
        let mark = format!("{{\"event\":\"step\",\"step\":{step},");
        let begun = Instant::now();
        while !fs::read_to_string(&metrics).is_ok_and(|text| text.contains(&mark)) {
            if child.try_wait().expect("a child").is_some() {
                return None;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{args:?} never came to update {step}");
            std::thread::sleep(Duration::from_micros(300));
        }
        Some(Running(child))
    }

    /// The events of a run.
    pub fn events(&self, run: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(&format!("{run}/metrics.jsonl"))).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
    }

    /// The events of one kind, without what the clock on the wall decides.
    pub fn events_of(&self, run: &str, kind: &str) -> Vec<Value> {
        let mut events = self.events(run);
        events.retain(|event| event["event"] == kind);
        for event in &mut events {
            for timing in ["tokens_per_s", "images_per_s", "seconds", "time"] {
                event.as_object_mut().expect("an object").remove(timing);
            }
        }
        events
    }

    /// The losses of a run's updates, as written.
    pub fn losses(&self, run: &str) -> Vec<String> {
        self.events_of(run, "step").iter().map(|event| event["loss"].to_string()).collect()
    }

    /// The last evaluation of a run on a set.
    pub fn last_eval(&self, run: &str, set: &str) -> Value {
        let evals = self.events_of(run, "eval");
        evals.into_iter().rfind(|event| event["set"] == set).unwrap_or_else(|| panic!("{run} has no set {set}"))
    }

    /// The path of a file of a checkpoint.
    pub fn checkpoint(run: &str, step: u64, file: &str) -> String {
        format!("{run}/checkpoints/step-{step:08}/{file}")
    }

    /// The state of a checkpoint.
    pub fn state(&self, run: &str, step: u64) -> Value {
        self.json(&Self::checkpoint(run, step, "state.json"))
    }

    /// The steps of the checkpoints of a run; nothing else may lie beside them.
    pub fn checkpoints(&self, run: &str) -> Vec<u64> {
        let entries = fs::read_dir(self.path(run).join("checkpoints")).expect("checkpoints");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        let step = |name: String| match name.strip_prefix("step-") {
            Some(digits) => digits.parse().expect("a number"),
            None => panic!("{name} lies among the checkpoints of {run}"),
        };
        let mut steps: Vec<u64> = names.filter(|name| name != "best.json").map(step).collect();
        steps.sort_unstable();
        steps
    }

    /// Two runs that ended at `step` have the same weights and moments, byte for byte, and the same record: every
    /// update once, with the same numbers, and the same evaluations.
    pub fn same_run(&self, a: &str, b: &str, step: u64) {
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let (x, y) = (self.read(&Self::checkpoint(a, step, file)), self.read(&Self::checkpoint(b, step, file)));
            assert!(x == y, "{file} of {a} and {b} differ");
        }
        for kind in ["step", "eval"] {
            assert_eq!(self.events_of(a, kind), self.events_of(b, kind), "{kind}s of {a} and {b}");
        }
        for run in [a, b] {
            let steps: Vec<_> = self.events_of(run, "step").iter().map(|event| event["step"].as_u64()).collect();
            assert_eq!(steps, (1..=step).map(Some).collect::<Vec<_>>(), "updates of {run}");
            let csv = String::from_utf8(self.read(&format!("{run}/steps.csv"))).expect("UTF-8");
            assert_eq!(csv.lines().count() as u64, step + 1, "rows of {run}/steps.csv");
        }
    }
}

/// A `temper` at work, killed when dropped.
pub struct Running(Child);

impl From<Child> for Running {
    /// Its standard error must be a pipe.
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Running {
    /// Process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it without warning (SIGKILL). False if it had ended by itself.
    pub fn kill(mut self) -> bool {
        self.0.kill().expect("a child can be killed");
        signal_of(self.0.wait().expect("a child")) == Some(9)
    }

    /// Sends a signal by its name and waits: the exit code, and what it said.
    pub fn signal(mut self, name: &str) -> (Option<i32>, String) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(status.is_ok());
        self.wait()
    }

    /// As [`signal`](Self::signal), but a process that takes no notice for a minute fails the test.
    pub fn signal_noticed(mut self, name: &str) -> (Option<i32>, String) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(status.is_ok());
        let begun = Instant::now();
        while self.0.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it takes no notice of SIG{name}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.wait()
    }

    /// Waits: the exit code, and what it said.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        (self.0.wait().expect("a child").code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

fn done(mut command: Command) -> Done {
    let output = command.output().expect("the program starts");
    Done {
        code: output.status.code().unwrap_or_else(|| panic!("{:?} died: {}", command, output.status)),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Every one of these is in the text.
pub fn says_all(text: &str, says: &[&str]) {
    for words in says {
        assert!(text.contains(words), "`{words}` is not in\n{text}");
    }
}

/// Tries a race until the test wins it: `attempt` gets a new name each time and says whether it did.
pub fn until_won(mut attempt: impl FnMut(&str) -> bool) -> String {
    (0..20)
        .map(|i| format!("try-{i}"))
        .find(|name| attempt(name))
        .expect("the run always ended before the test could interrupt it")
}

/// Documents of 60 words each, in an order that looks random.
fn corpus(words: &str, documents: u64) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut state = words.len() as u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words[(state >> 33) as usize % words.len()]
    };
    let mut line = |i: u64| {
        let text: Vec<&str> = (0..60).map(|_| word()).collect();
        serde_json::json!({ "text": format!("{} {i}.", text.join(" ")) }).to_string() + "\n"
    };
    (0..documents).map(&mut line).collect()
}

/// Whether everything after the header of a safetensors file is zero.
pub fn all_zero(safetensors: &[u8]) -> bool {
    let header = u64::from_le_bytes(safetensors[..8].try_into().expect("a length")) as usize;
    safetensors[8 + header..].iter().all(|&byte| byte == 0)
}

/// The bytes of one tensor in a safetensors file: where they begin and end.
pub fn tensor_range(safetensors: &[u8], name: &str) -> std::ops::Range<usize> {
    let header = u64::from_le_bytes(safetensors[..8].try_into().expect("a length")) as usize;
    let json: Value = serde_json::from_slice(&safetensors[8..8 + header]).expect("a header");
    let at = |i: usize| 8 + header + json[name]["data_offsets"][i].as_u64().expect("an offset") as usize;
    at(0)..at(1)
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
