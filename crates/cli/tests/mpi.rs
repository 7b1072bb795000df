//! Runs on several processes under `mpirun`: the bits of one, whoever is killed, and an end for all when one no longer answers. Skipped, with a
//! word, on a machine without `mpirun`.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Done, Folder, Running, says_all};

const SHARDS: [&str; 4] = ["--set", "batch.shards=4", "--set", "batch.micro=1"];

/// `mpirun` with these words, to be run in the folder. `None` where there is none.
fn mpirun(folder: &Folder, words: &[&str]) -> Option<Command> {
    if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no mpirun");
        return None;
    }
    let mut command = Command::new("mpirun");
    // More ranks than this machine may have processors, as whoever runs the tests, root in a container for instance.
    command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    command.envs([("OMPI_MCA_rmaps_base_oversubscribe", "1"), ("OMPI_MCA_hwloc_base_binding_policy", "none")]);
    command.args(words).current_dir(folder.path("")).stdin(Stdio::null());
    Some(command)
}

/// `temper` with these arguments on so many ranks.
fn on_ranks(folder: &Folder, ranks: usize, args: &[&str]) -> Option<Command> {
    let ranks = ranks.to_string();
    mpirun(folder, &[&["-n", &ranks, env!("CARGO_BIN_EXE_temper"), "--threads", "1"], args].concat())
}

fn done(mut command: Command) -> Done {
    let output = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn train(out: &str) -> Vec<&str> {
    [&["train", "tiny.toml", "--out", out][..], &SHARDS].concat()
}

/// Waits until a run has made an update, and gives the processes of its ranks, in their order.
fn at_update(folder: &Folder, running: &mut Running, run: &str, step: u64) -> Vec<u32> {
    let mark = format!("{{\"event\":\"step\",\"step\":{step},");
    let begun = Instant::now();
    while !fs::read_to_string(folder.path(run).join("metrics.jsonl")).is_ok_and(|text| text.contains(&mark)) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{run} never came to update {step}: {:?}", running.wait());
        std::thread::sleep(Duration::from_millis(1));
    }
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let place = folder.path("").canonicalize().ok();
    let mut ranks: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environment = read(format!("/proc/{id}/environ"));
        let here = Path::new(&format!("/proc/{id}/cwd")).canonicalize().is_ok_and(|cwd| Some(cwd) == place);
        let ours = here && read(format!("/proc/{id}/cmdline")).contains(run);
        let rank = environment.split('\0').find_map(|word| word.strip_prefix("OMPI_COMM_WORLD_RANK=")?.parse().ok());
        if let (true, Some(rank)) = (ours, rank) {
            ranks.push((rank, id));
        }
    }
    ranks.sort_unstable();
    ranks.into_iter().map(|(_, id)| id).collect()
}

fn spawn(mut command: Command) -> Running {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts").into()
}

fn send(signal: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(status.expect("kill").success());
}

#[test]
fn any_number_of_processes_makes_the_same_run() {
    let folder = Folder::new();
    folder.ok(&train("alone"));
    for ranks in [2, 4] {
        let out = format!("on-{ranks}");
        let Some(command) = on_ranks(&folder, ranks, &train(&out)) else { return };
        let done = done(command);
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &[&format!("ranks       {ranks}"), "updates     40"]);
        folder.same_run("alone", &out, 40);
        assert_eq!(folder.json(&format!("{out}/env.json"))["ranks"], ranks);
    }
}

/// A rank is killed, whichever it is: all end, and the run goes on with another number of them as if nothing had happened.
#[test]
fn killed_and_resumed_with_another_number() {
    let folder = Folder::new();
    folder.ok(&train("alone"));
    for (killed, resumed) in [(2, 2), (0, 3)] {
        let out = format!("killed-{killed}");
        let Some(command) = on_ranks(&folder, 4, &train(&out)) else { return };
        let mut running = spawn(command);
        let ranks = at_update(&folder, &mut running, &out, 12);
        assert_eq!(ranks.len(), 4);
        send("KILL", ranks[killed]);
        assert_ne!(running.wait().0, Some(0));
        let done = done(on_ranks(&folder, resumed, &["resume", &out]).expect("mpirun"));
        assert_eq!(done.code, 0, "{}", done.err);
        folder.same_run("alone", &out, 40);
    }
}

/// A rank that no longer answers ends all within the limit of the recipe, and is named, whether it leads or not.
#[test]
fn stopped_ranks_are_named() {
    let folder = Folder::new();
    for stopped in [0, 1, 2] {
        let out = format!("stopped-{stopped}");
        let args = [&train(&out)[..], &["--set", "parallel.timeout=2", "--set", "run.horizon=4000 steps"]].concat();
        let Some(command) = on_ranks(&folder, 3, &args) else { return };
        let mut running = spawn(command);
        let ranks = at_update(&folder, &mut running, &out, 12);
        send("STOP", ranks[stopped]);
        let begun = Instant::now();
        let (code, said) = running.wait();
        // The limit, what rank 0 is given to speak first, and the launcher's own patience.
        assert!(begun.elapsed() < Duration::from_secs(20), "{said}");
        assert_ne!(code, Some(0));
        says_all(&said, &[&format!("rank {stopped}"), "no answer for", "parallel.timeout"]);
        let done = done(on_ranks(&folder, 2, &["resume", &out, "--until", "15"]).expect("mpirun"));
        assert_eq!(done.code, 0, "{}", done.err);
    }
}

/// A checkpoint on request, without an end: SIGUSR1, to the launcher or to rank 0.
#[test]
fn a_signal_asks_for_a_checkpoint() {
    let folder = Folder::new();
    let args =
        [&train("asked")[..], &["--set", "checkpoint.every=0 steps", "--set", "run.horizon=4000 steps"]].concat();
    let Some(command) = on_ranks(&folder, 2, &args) else { return };
    let mut running = spawn(command);
    let ranks = at_update(&folder, &mut running, "asked", 3);
    send("USR1", running.id());
    let begun = Instant::now();
    let taken = || {
        let told = fs::read_to_string(folder.path("asked/metrics.jsonl")).unwrap_or_default();
        told.lines().any(|line| line.contains("\"event\":\"checkpoint\"") && !line.contains("\"step\":0,"))
    };
    while !taken() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let step = *folder.checkpoints("asked").last().expect("one");
    at_update(&folder, &mut running, "asked", step + 2);
    // SIGTERM to rank 0 alone ends the run in order, with a checkpoint of all that was done.
    send("TERM", ranks[0]);
    let (_, said) = running.wait();
    says_all(&said, &["stopped after step", "temper resume asked"]);
    assert!(folder.checkpoints("asked").last() > Some(&step));
}

/// Other commands that all ranks share: evaluations, verdicts, and the runs of a sweep.
#[test]
fn the_same_answers_as_of_one_process() {
    let folder = Folder::new();
    folder.ok(&train("run"));
    let eval = ["eval", "run", "--json"];
    let Some(command) = on_ranks(&folder, 3, &eval) else { return };
    let found = done(command);
    assert_eq!((found.code, found.out), (0, folder.ok(&eval)), "{}", found.err);

    let small = ["--set", "data.max_train=60", "--set", "data.max_test=70", "--set", "data.holdout=0.2"];
    let tiny = ["--set", "model.width=1", "--set", "batch.images=20", "--set", "run.horizon=6 steps"];
    let ramp = ["--set", "eps.length=3 steps", "--set", "lr.milestones=[]", "--set", "checkpoint.every=0 steps"];
    folder.ok(&[&["train", "demo/fast", "--out", "net"][..], &small, &tiny, &ramp].concat());
    let verify =
        |out: &str| ["verify", "net", "--stages", "attack,ibp", "--batch", "16", "--out", out].map(str::to_owned);
    let (one, two) = (verify("verdicts-1"), verify("verdicts-2"));
    folder.ok(&one.each_ref().map(String::as_str));
    for _ in 0..2 {
        // The second time there is nothing left to do.
        let found = done(on_ranks(&folder, 2, &two.each_ref().map(String::as_str)).expect("mpirun"));
        assert_eq!(found.code, 0, "{}", found.err);
        assert_eq!(found.out.matches("70 images").count(), 1, "{}", found.out);
    }
    for file in ["verdicts.csv", "counterexamples.npy", "verdicts-question.json"] {
        assert_eq!(folder.read(&format!("verdicts-1/{file}")), folder.read(&format!("verdicts-2/{file}")), "{file}");
    }
    assert!(!folder.path("verdicts-2/part-0-of-2").exists());
}

#[test]
fn what_is_wrong_is_said_once() {
    let folder = Folder::new();
    let temper = env!("CARGO_BIN_EXE_temper");
    let fails = |command: Command, says: &[&str]| {
        let done = done(command);
        assert_eq!(done.code, 2, "{}", done.err);
        assert_eq!(done.err.matches("error: ").count(), 1, "{}", done.err);
        says_all(&done.err, says);
    };
    let Some(command) = on_ranks(&folder, 5, &train("many")) else { return };
    fails(command, &["5 ranks share 4 shards", "batch.shards = 8"]);
    fails(on_ranks(&folder, 2, &["train", "missing.toml", "--out", "x"]).expect("mpirun"), &["missing.toml"]);
    let different = ["-n", "1", temper, "resume", "a", ":", "-n", "1", temper, "resume", "b"];
    fails(mpirun(&folder, &different).expect("mpirun"), &["rank 1", "another command"]);
    assert!(!folder.path("many").exists());
}
