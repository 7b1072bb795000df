//! Runs that are stopped, killed, moved or damaged.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Folder, Running, says_all, until_won};

/// The record of `base` up to its first evaluation, as a kill before the first checkpoint leaves it.
fn only_begun(folder: &Folder, run: &str) {
    fs::create_dir_all(folder.path(run).join("data/old")).unwrap();
    for name in ["recipe.toml", "resolved.toml", "env.json", ".lock", "data/manifest.json"] {
        fs::copy(folder.path("base").join(name), folder.path(run).join(name)).unwrap();
    }
    let record = String::from_utf8(folder.read("base/metrics.jsonl")).unwrap();
    let (begin, _) = record.split_once("{\"event\":\"eval\"").unwrap();
    folder.write(&format!("{run}/metrics.jsonl"), begin);
    for name in ["data/old/.train.tokens.abc.unfinished", ".recipe.toml.abc.unfinished", "data/old/.prepare.lock"] {
        folder.write(&format!("{run}/{name}"), "half");
    }
    folder.write(&format!("{run}/data/old/base.tokens"), folder.read("base/data/old/validation.tokens"));
}

/// Starts `temper` and waits until it has made `file`. `None` if it ended before anyone looked.
fn start_until_made(folder: &Folder, args: &[&str], file: &str) -> Option<Running> {
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    while !folder.path(file).exists() {
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Some(child.into())
}

#[test]
fn an_evaluation_is_abandoned_at_the_deadline_and_made_again() {
    let folder = Folder::with_base();
    let done = folder.temper(&["train", "tiny.toml", "--out", "run", "--max-time", "0.001s"]);
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(folder.events_of("run", "eval").len(), 0);
    let stop = &folder.events_of("run", "stop")[0];
    assert!(stop["reason"].as_str().unwrap().contains("evaluation was abandoned"), "{stop}");
    assert_eq!(folder.checkpoints("run"), [0]);
    folder.ok(&["resume", "run"]);
    folder.same_run("base", "run", 40);
}

/// An update that takes longer than there is time is none: not at the start of a run and not at the start of a sitting, where nothing
/// is known of updates.
#[test]
fn the_first_update_is_not_begun_if_it_cannot_end() {
    let folder = Folder::new();
    // A hundred thousand sequences are many seconds anywhere, in pieces and in one.
    let sets = ["--set", "batch.sequences=100000", "--set", "batch.micro=500", "--set", "checkpoint.every=1 steps"];
    let train = ["train", "tiny.toml", "--max-time", "1s", "--out"];
    let done = folder.temper(&[&train[..], &["pieces"], &sets].concat());
    assert_eq!(done.code, 75, "{}", done.err);
    let done = folder.temper(&[&train[..], &["whole", "--set", "batch.sequences=100000"]].concat());
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(folder.temper(&["resume", "pieces", "--max-time", "1s"]).code, 75);
    for run in ["pieces", "whole"] {
        assert_eq!(folder.losses(run).len(), 0, "{run}");
        assert_eq!(folder.checkpoints(run), [0], "{run}");
        // On a busy machine the second may be over before the sets are evaluated; the reason then says that too.
        let stops = folder.events_of(run, "stop");
        let by_time =
            |stop: &serde_json::Value| stop["reason"].as_str().is_some_and(|reason| reason.starts_with("time limit"));
        assert!(!stops.is_empty() && stops.iter().all(by_time), "{run}: {stops:?}");
    }

    // Images that are attacked for a minute before the update.
    folder.write("clothes.toml", CLOTHES);
    let sets = ["method.name=pgd", "method.attack_steps=20000", "eps.length=0 steps"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let args = ["train", "clothes.toml", "--max-time", "1s", "--out", "clothes"];
    let done = folder.temper(&args.into_iter().chain(sets).collect::<Vec<_>>());
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(folder.losses("clothes").len(), 0);
    assert_eq!(folder.checkpoints("clothes"), [0]);
}

/// A pipe that is full until someone reads it: whoever writes there waits. What is read first is padding, of zeros.
#[cfg(target_os = "linux")]
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use std::io::Write;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut end = writer.try_clone().expect("its end");
    // Much more than a pipe holds; this thread waits like everyone else.
    std::thread::spawn(move || end.write_all(&[0; 1 << 21]));
    (reader, writer)
}

/// A process that a signal is ending ends by that signal, whatever its main thread comes to meanwhile. Here the signal's thread is kept
/// from its last words, by a pipe that nobody reads, until the main thread has come to its end.
#[cfg(target_os = "linux")]
#[test]
fn the_end_by_a_signal_is_waited_for() {
    use std::io::Read;
    let folder = Folder::with_base();
    fs::create_dir(folder.path("tmp")).unwrap();
    let ((mut out, to_out), (mut err, to_err)) = (full_pipe(), full_pipe());
    std::thread::sleep(Duration::from_millis(100)); // until they are full
    let args = ["eval", "base", "--data", "x=old.jsonl", "-q"];
    let mut command = folder.command(&args);
    command.env("TMPDIR", folder.path("tmp")).stdout(to_out).stderr(to_err);
    let mut child = command.spawn().expect("it starts");
    drop(command); // and with it this process's ends of the pipes
    let begun = std::time::Instant::now();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // Once the tokens of its text are mapped, it needs its folder no more.
    let maps = format!("/proc/{}/maps", child.id());
    until("it never opens its tokens", &|| fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("/tmp/temper-")));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    until("the signal is not heard", &|| fs::read_dir(folder.path("tmp")).unwrap().next().is_none());
    let mut table = Vec::new();
    while !String::from_utf8_lossy(&table).contains("perplexity") {
        let mut bytes = [0; 4096];
        let n = out.read(&mut bytes).expect("the results");
        assert!(n > 0, "no results");
        table.extend(bytes[..n].iter().filter(|&&byte| byte != 0));
    }
    // All that is left to do is to end.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "it did not wait for the signal's thread");
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let mut said = String::new();
    err.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{}", said.trim_matches('\0'));
    assert_eq!(said.trim_matches(['\0', '\n']), "stopped");
}

#[test]
fn a_signal_is_answered_during_an_evaluation() {
    let folder = Folder::with_base();
    // Long enough for a signal to arrive while it is evaluated.
    folder.write("long.jsonl", folder.read("old.jsonl").repeat(200));
    let sets = ["--set", "data.validation.zlong.path=long.jsonl", "--set", "eval.batch=1"];
    let run = until_won(|run| {
        let args = [&["train", "tiny.toml", "--out", run], sets.as_slice()].concat();
        let child = folder.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        // The old set comes first: the long one is being evaluated once its line is there.
        let evaluating = || {
            fs::read_to_string(folder.path(run).join("metrics.jsonl"))
                .is_ok_and(|text| text.contains("\"set\":\"old\""))
        };
        while !evaluating() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (code, said) = Running::from(child).signal("INT");
        assert_eq!(code, Some(130), "{said}");
        says_all(&said, &["stopping: taking a checkpoint first", "continue with: temper resume"]);
        !folder.events_of(run, "stop")[0]["reason"].as_str().unwrap().is_empty() && folder.losses(run).is_empty()
    });
    let long = folder.events_of(&run, "eval").iter().filter(|event| event["set"] == "zlong").count();
    assert_eq!(long, 0, "it was abandoned");
    assert_eq!(folder.checkpoints(&run), [0]);
}

#[test]
fn until_continues_what_max_steps_stopped() {
    let folder = Folder::with_base();
    let done =
        folder.temper(&["train", "tiny.toml", "--out", "run", "--max-steps", "20", "--set", "checkpoint.keep_last=9"]);
    says_all(&done.err, &["stopped after step 20 of 40", "temper resume run --until 40"]);
    says_all(&folder.temper(&["resume", "run"]).err, &["temper resume run --until 40"]);
    folder.fails(&["resume", "run", "--until", "19"], 2, &["--until", "20 updates already"]);
    folder.fails(&["resume", "run", "--until", "41"], 2, &["--until", "update 40", "temper branch"]);
    folder.ok(&["resume", "run", "--until", "3840 tok"]);
    assert_eq!(folder.losses("run").len(), 30);
    // The end that was told to the record is the end from then on.
    folder.ok(&["resume", "run@25"]);
    assert_eq!(folder.losses("run").len(), 30);
    folder.ok(&["resume", "run", "--until", "100%"]);
    folder.same_run("base", "run", 40);
    // The phases are those of the whole run: of one that was cut, the last word counts.
    assert_eq!(last_phases(&folder, "run"), last_phases(&folder, "base"));
    says_all(&folder.temper(&["resume", "run"]).err, &["complete, nothing left to do"]);
}

#[test]
fn lengths_of_time_as_people_write_them() {
    let folder = Folder::with_base();
    for time in ["90", "90s", "5m30s", "5m03s", "1h05m", "1.5h", "2d 3h"] {
        folder.ok(&["resume", "base", "--max-time", time]);
    }
    for time in ["", "5x", "30s5m", "5m5", "5m5m", "-1s", "0s", "1h1h", "s"] {
        assert_eq!(folder.temper(&["resume", "base", &format!("--max-time={time}")]).code, 2, "{time}");
    }
}

#[test]
fn a_run_that_is_moved_while_it_trains_stops() {
    let folder = Folder::new();
    let args =
        ["train", "tiny.toml", "--out", "run", "--set", "run.horizon=1000000 steps", "--set", "lr.warmup=5 steps"];
    let mut running = folder.start_until(&args, "run", 6).expect("it is long");
    fs::rename(folder.path("run"), folder.path("moved")).unwrap();
    let (code, said) = running.wait();
    assert_eq!(code, Some(4), "{said}");
    says_all(&said, &["was moved or removed", "resume"]);
    assert!(!folder.path("run").exists(), "nothing is made under the old name");
    assert!(folder.events_of("moved", "done").is_empty());
}

#[test]
fn a_run_that_was_only_begun_is_begun_again() {
    let folder = Folder::with_base();
    only_begun(&folder, "run");
    folder.fails(&["resume", "run"], 2, &["no finished checkpoint", "repeat the command that began it"]);
    folder.ok(&["train", "tiny.toml", "--out", "run"]);
    folder.same_run("base", "run", 40);

    // What is not Temper's stays, and nothing is begun over it.
    only_begun(&folder, "noted");
    folder.write("noted/notes.md", "mine");
    folder.fails(&["train", "tiny.toml", "--out", "noted"], 2, &["not empty", "notes.md"]);
    assert_eq!(folder.read("noted/notes.md"), b"mine");

    // A record with updates is a run, whoever removed its checkpoints.
    fs::remove_dir_all(folder.path("base/checkpoints")).unwrap();
    folder.fails(&["train", "tiny.toml", "--out", "base"], 2, &["there is already a run here"]);
    assert_eq!(folder.losses("base").len(), 40);
}

#[test]
fn a_run_that_was_killed_before_its_first_checkpoint_is_begun_again() {
    let folder = Folder::with_base();
    let train = |run: &str| ["train".to_string(), "tiny.toml".into(), "--out".into(), run.into()];
    let text = folder.read("old.jsonl");
    // While the text is tokenised, which takes a while; and while the first set is evaluated.
    for made in ["data/old/.prepare.lock", "metrics.jsonl"] {
        folder.write("old.jsonl", text.repeat(if made == "metrics.jsonl" { 1 } else { 200 }));
        let run = until_won(|run| {
            let run = format!("{run}-{}", made.len());
            let args = train(&run);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let killed = start_until_made(&folder, &args, &format!("{run}/{made}")).is_some_and(Running::kill);
            let checkpoint = folder.path(&run).join("checkpoints/step-00000000").exists();
            killed && !checkpoint && folder.path(&run).join(made).exists()
        });
        let run = format!("{run}-{}", made.len());
        folder.write("old.jsonl", &text);
        folder.ok(&["train", "tiny.toml", "--out", &run]);
        folder.same_run("base", &run, 40);
    }
}

#[test]
fn a_directory_whose_name_ends_like_a_checkpoint() {
    let folder = Folder::new();
    for name in ["lr@3", "exp@best", "a@last"] {
        folder.ok(&["train", "tiny.toml", "--out", name, "--max-steps", "2"]);
        folder.ok(&["eval", name]);
        folder.ok(&["resume", name, "--until", "4"]);
        assert_eq!(folder.losses(name).len(), 4);
        folder.ok(&["eval", &format!("{name}@4")]);
    }
}

#[test]
fn every_checkpoint_has_its_event_once() {
    let folder = Folder::new();
    let keep = ["--set", "checkpoint.keep_best=old", "--set", "checkpoint.keep_last=99"];
    folder.ok(&[&["train", "tiny.toml", "--out", "run", "--max-steps", "20"], keep.as_slice()].concat());
    let steps = |run: &str| -> Vec<u64> {
        folder.events_of(run, "checkpoint").iter().map(|event| event["step"].as_u64().unwrap()).collect()
    };
    folder.ok(&["resume", "run@10"]);
    assert_eq!(steps("run"), [0, 5, 10, 15, 20]);
    folder.ok(&["resume", "run", "--until", "40"]);
    assert_eq!(steps("run"), [0, 5, 10, 15, 20, 25, 30, 35, 40]);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let folder = Folder::new();
    let err = folder.fails(&["train", "\u{1b}[2Jno.toml", "--out", "run"], 2, &["\\u{1b}[2Jno.toml"]);
    assert!(!err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn errors_quote_no_more_than_can_be_read() {
    let folder = Folder::new();
    let long = format!("run.horizon={}", "x".repeat(100_000));
    let err = folder.fails(&["train", "tiny.toml", "--out", "run", "--set", &long], 2, &["run.horizon", "…"]);
    assert!(err.len() < 5_000, "{} bytes", err.len());
}

#[test]
fn a_key_that_is_missing_from_a_run_is_reported_there() {
    let folder = Folder::with_base();
    let text = String::from_utf8(folder.read("base/resolved.toml")).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("beta1")).map(|line| format!("{line}\n")).collect();
    let without = without.replace("horizon = ", "# horizon = ");
    folder.write("base/resolved.toml", without);
    let err = folder.fails(&["resume", "base@20"], 2, &["run.horizon", "base/resolved.toml"]);
    assert!(!err.contains("tiny.toml"), "{err}");
}

#[test]
fn threads_are_bounded() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if processors < 256 {
        let done = Folder::empty().temper(&["recipe", "list", "--threads", "1024"]);
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &["--threads 1024", &format!("starts {} threads", 4 * processors)]);
    }
}

#[test]
fn the_first_update_of_a_sitting_is_known_from_the_record() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "5"]);
    // As if an update took longer than anyone has: the same length, for checkpoints know that of the record.
    let record = String::from_utf8(folder.read("run/metrics.jsonl")).unwrap();
    let slow = |line: &str| {
        let Some((before, after)) = line.split_once("\"tokens_per_s\":") else { return format!("{line}\n") };
        let length = after.find([',', '}']).unwrap();
        format!("{before}\"tokens_per_s\":{:.*}{}\n", length - 2, 0.1, &after[length..])
    };
    folder.write("run/metrics.jsonl", record.lines().map(slow).collect::<String>());
    let done = folder.temper(&["resume", "run", "--until", "40", "--max-time", "10m"]);
    assert_eq!(done.code, 75, "{}", done.err);
    assert_eq!(folder.losses("run").len(), 5);
    folder.ok(&["resume", "run", "--until", "6"]);
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_links_out_of_a_run() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "5"]);
    for name in [".lock", "metrics.jsonl", "steps.csv", "evals.csv", "log.txt", "checkpoints", "tensorboard", "data"] {
        let (own, outside) = (folder.path("run").join(name), folder.path("outside"));
        fs::rename(&own, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &own).unwrap();
        folder.fails(&["resume", "run", "--until", "6"], 2, &[name, "leads out of the run"]);
        fs::remove_file(&own).unwrap();
        fs::rename(&outside, &own).unwrap();
    }
    // What is only read may lie elsewhere, and a link inside the run leads nowhere else.
    fs::rename(folder.path("run/data/old/train.tokens"), folder.path("train.tokens")).unwrap();
    std::os::unix::fs::symlink(folder.path("train.tokens"), folder.path("run/data/old/train.tokens")).unwrap();
    fs::rename(folder.path("run/log.txt"), folder.path("run/data/log.txt")).unwrap();
    std::os::unix::fs::symlink("data/log.txt", folder.path("run/log.txt")).unwrap();
    folder.ok(&["resume", "run", "--until", "6"]);
}

#[cfg(unix)]
#[test]
fn a_system_without_threads_is_an_error() {
    let folder = Folder::new();
    // No machine has room for such a stack.
    let mut command = folder.command(&["train", "tiny.toml", "--out", "run"]);
    let output = command.env("RUST_MIN_STACK", "140737488355328").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    says_all(&said, &["start threads", "--threads"]);
    assert!(!folder.path("run").exists());
}

#[test]
fn an_evaluation_stops_at_bad_lines_if_asked_to() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "1"]);
    folder.write("bad.jsonl", [folder.read("old.jsonl"), b"{\"text\": null}\n".to_vec()].concat());
    let args = ["eval", "run", "--data", "x=bad.jsonl"];
    says_all(&folder.temper(&args).err, &["left out 1 line", "--bad-lines error stops at the first one"]);
    folder.fails(&[&args[..], &["--bad-lines", "error"]].concat(), 2, &["bad.jsonl:121", "null"]);
}

#[test]
fn token_files_whose_documents_end_otherwise_are_refused() {
    let folder = Folder::new();
    folder.ok(&[
        "data",
        "prepare",
        "old.jsonl",
        "--tokenizer",
        "builtin:demo",
        "--out",
        "tokens",
        "--eod",
        "the",
        "-q",
    ]);
    let train = ["train", "tiny.toml", "--max-steps", "1", "--set", "data.train.old.path=tokens", "--out"];
    let says = ["tokens/", "documents end with token", "data.eod"];
    folder.fails(&[&train[..], &["run"]].concat(), 2, &says);
    assert!(!folder.path("run").exists());
    folder.ok(&[&train[..], &["run", "--set", "data.eod=the"]].concat());
    folder.ok(&["resume", "run", "--until", "2"]);
    let done = folder.temper(&["eval", "run", "--data", "x=tokens/train.tokens"]);
    assert!(!done.err.contains("documents end"), "{}", done.err);
}

#[test]
fn the_end_that_was_told_last_is_the_end() {
    let folder = Folder::with_base();
    let train = ["train", "tiny.toml", "--out", "run", "--max-time", "0.001s"];
    assert_eq!(folder.temper(&train).code, 75);
    folder.ok(&["resume", "run", "--until", "10"]);
    // Back to the end that the record began with, and stopped before it has a checkpoint of its own.
    assert_eq!(folder.temper(&["resume", "run", "--until", "100%", "--max-time", "0.001s"]).code, 75);
    let done = folder.temper(&["resume", "run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["resuming after step 10 of 40"]);
    folder.same_run("base", "run", 40);
}

#[test]
fn commands_that_are_named_can_be_pasted() {
    let folder = Folder::new();
    for run in ["with blank", "-dash", "it's", "$HOME"] {
        let out = format!("--out={run}");
        let said = folder.temper(&["train", "tiny.toml", &out, "--max-steps", "3"]).err;
        let (_, command) = said.trim_end().rsplit_once("to continue: temper ").expect("a command");
        let command = command.replace("--until 40", "--until 4");
        let done = folder.shell(&format!("$TEMPER {command}"));
        assert_eq!(done.code, 0, "{command}: {}", done.err);
        assert_eq!(folder.losses(run).len(), 4);
        let said = folder.temper(&["train", "tiny.toml", &out]).err;
        let command = said.split('`').nth(1).and_then(|quoted| quoted.strip_prefix("temper ")).expect("a command");
        let done = folder.shell(&format!("$TEMPER {command}"));
        says_all(&done.err, &["stopped after step 4 of 40"]);
    }
}

#[test]
fn more_updates_than_there_are() {
    let folder = Folder::new();
    let done =
        folder.temper(&["train", "tiny.toml", "--out", "run", "--max-steps", "9999", "--set", "run.horizon=3 steps"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["--max-steps", "ends at update 3", "run.horizon makes it longer"]);
    folder.ok(&[
        "branch",
        "run",
        "keep.toml",
        "--out",
        "more",
        "--max-steps",
        &u64::MAX.to_string(),
        "--set",
        "run.horizon=4 steps",
    ]);
    assert_eq!(folder.losses("more").len(), 1);
}

const CLOTHES: &str = r#"
task = "certify"
model = { name = "small", width = 2 }
data = { images = "builtin:fashion", max_train = 40, max_test = 40, holdout = 0 }
batch.images = 20
eps = { target = 0.1, length = "4 steps" }
lr = { shape = "linear", peak = 5e-3 }
run.horizon = "10 steps"
"#;

#[test]
fn a_signal_is_answered_in_the_middle_of_an_attack() {
    let folder = Folder::empty();
    folder.write("clothes.toml", CLOTHES);
    until_won(|run| {
        // Hours, if nobody looks at the signal: images that are neither certified nor turned at this radius are attacked to the end.
        let sets = ["eps.target=0.01", "eval.attack_images=40", "eval.attack_steps=100000000"];
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> = ["train", "clothes.toml", "--out", run].into_iter().chain(sets).collect();
        let child = start_until_made(&folder, &args, &format!("{run}/steps.csv")).expect("it is at work");
        std::thread::sleep(Duration::from_millis(200));
        let (code, said) = child.signal_noticed("INT");
        assert_eq!(code, Some(130), "{said}");
        // A signal before the first evaluation proves nothing.
        said.contains("stopped after step 0")
    });
}

#[test]
fn phases_of_a_classifier_whose_end_moved() {
    let folder = Folder::empty();
    folder.write("clothes.toml", CLOTHES);
    folder.ok(&["train", "clothes.toml", "--out", "base"]);
    folder.ok(&["train", "clothes.toml", "--out", "run", "--max-steps", "2"]);
    folder.ok(&["resume", "run", "--until", "100%"]);
    assert_eq!(last_phases(&folder, "run"), last_phases(&folder, "base"));
}

/// The phases of a run by name and first update: of one that was cut, the last word counts.
fn last_phases(folder: &Folder, run: &str) -> BTreeMap<String, u64> {
    let phase = |event: &serde_json::Value| {
        (format!("{} from {}", event["name"], event["first_step"]), event["last_step"].as_u64().unwrap())
    };
    folder.events_of(run, "phase").iter().map(phase).collect()
}

/// What a model writes is shown on a terminal, and is itself everywhere else.
#[cfg(target_os = "linux")]
#[test]
fn samples_on_a_terminal() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "1"]);
    folder.write("escape", "the \u{1b}[2J river");
    let sample = "$TEMPER sample run --tokens 1 --prompt \"$(cat escape)\"";
    assert!(folder.shell(sample).out.contains("\u{1b}[2J"));
    if folder.shell("command -v script").code == 0 {
        let shown = folder.shell(&format!("script -qec '{sample}' /dev/null < /dev/null"));
        assert!(shown.out.contains("\\u{1b}[2J") && !shown.out.contains("\u{1b}[2J"), "{}", shown.out);
    }
}

/// Found by the kill campaign: killed before it takes its lock away.
#[test]
fn a_corpus_that_was_killed_when_it_was_whole() {
    let folder = Folder::new();
    let prepare = ["data", "prepare", "old.jsonl", "--tokenizer", "builtin:demo", "--out", "tokens"];
    folder.ok(&prepare);
    let whole = folder.read("tokens/train.tokens");
    folder.write("tokens/.prepare.lock", "");
    folder.fails(&prepare, 2, &["tokens/train.tokens", "exists already", "the corpus in this folder is whole"]);
    assert!(!folder.path("tokens/.prepare.lock").exists());
    assert_eq!(folder.read("tokens/train.tokens"), whole);
    folder.fails(&prepare, 2, &["choose another folder"]);
}
