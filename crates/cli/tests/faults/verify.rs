//! `verify`: ended at any moment, asked twice, and what it leaves behind.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Folder, Running, says_all};

/// A small classifier that certifies some of its 60 test images and is attacked on others.
const TINY: &str = r#"
task = "certify"
model = { name = "small", width = 4 }
data = { images = "builtin:fashion", max_train = 240, max_test = 60, holdout = 0.1 }
batch.images = 40
eps = { target = 0.02, length = "20 steps" }
lr = { shape = "linear", peak = 5e-3 }
run.horizon = "40 steps"
eval = { every = "40 steps", attack_images = 0 }
"#;

const QUICK: [&str; 8] = ["--steps", "4", "--restarts", "2", "--images", "30", "--stages", "attack,ibp"];

fn with_run() -> Folder {
    let folder = Folder::empty();
    folder.write("tiny.toml", TINY);
    folder.ok(&["train", "tiny.toml", "--out", "run"]);
    folder
}

fn verify(folder: &Folder, extra: &[&str]) -> String {
    folder.ok(&[&["verify", "run", "--eps", "0.05"], extra].concat())
}

/// The stages of most tests.
const STAGES: [&str; 2] = ["--stages", "attack,ibp"];

/// R3: ended while it wrote down its question, a version before left an empty file, and the same command failed for ever.
#[test]
fn an_unwritten_question_is_asked_again() {
    let folder = with_run();
    for cut in ["", "{\n  \"what\": \"verd"] {
        fs::create_dir_all(folder.path("v")).unwrap();
        folder.write("v/verdicts-question.json", cut);
        verify(&folder, &[&QUICK[..], &["--out", "v"]].concat());
        assert_eq!(folder.json("v/verdicts-question.json")["what"], "verdicts");
        fs::remove_dir_all(folder.path("v")).unwrap();
    }
    verify(&folder, &[&QUICK[..], &["--out", "v"]].concat());
    let left = fs::read_dir(folder.path("v")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = left.collect();
    left.sort();
    assert_eq!(left, ["counterexamples.npy", "times.csv", "verdicts-question.json", "verdicts.csv"]);
    // Where there are verdicts, it matters what they answer.
    folder.write("v/verdicts-question.json", "");
    folder.fails(
        &[&["verify", "run", "--eps", "0.05", "--out", "v"], &QUICK[..]].concat(),
        2,
        &["cannot be read", "hint: "],
    );
}

/// N6: what decides a verdict is in the folder's name, so that a quick look does not block the real one.
#[test]
fn a_quick_look_blocks_nothing() {
    let folder = with_run();
    let images = ["--images", "12"];
    for (more, name) in [
        (
            &["--stages", "attack,ibp", "--steps", "3", "--restarts", "1"][..],
            "step-40-eps-0.05-attack-ibp-steps-3-restarts-1-first-12",
        ),
        (
            &["--stages", "attack,ibp", "--steps", "4", "--restarts", "1"],
            "step-40-eps-0.05-attack-ibp-steps-4-restarts-1-first-12",
        ),
        (&["--steps", "4", "--timeout", "0.01"], "step-40-eps-0.05-timeout-0.01-steps-4-first-12"),
        (&["--radius", "--halvings", "2"], "step-40-eps-0.05-halvings-2-first-12"),
        (&["--radius", "--halvings", "3"], "step-40-eps-0.05-halvings-3-first-12"),
        (&["--radius"], "step-40-eps-0.05-first-12"),
        (&["--stages", "ibp"], "step-40-eps-0.05-ibp-first-12"),
        (&["--stages", "ibp", "--arithmetic", "real"], "step-40-eps-0.05-ibp-real-first-12"),
        (
            &["--stages", "ibp,bab", "--timeout", "0.25", "--max-domains", "9", "--memory", "1M"],
            "step-40-eps-0.05-ibp-bab-timeout-0.25-max-domains-9-memory-1048576-first-12",
        ),
    ] {
        verify(&folder, &[&images[..], more].concat());
        assert!(folder.path("run/verify").join(name).is_dir(), "{name}");
    }
    // A folder of one's own choice says all that differs.
    verify(&folder, &[&QUICK[..], &["--out", "v"]].concat());
    let other = ["verify", "run", "--eps", "0.05", "--images", "30", "--out", "v", "--steps", "5", "--restarts", "1"];
    let other = [&other[..], &STAGES].concat();
    folder.fails(&other, 2, &["steps = 4, now it is 5", "restarts = 2, now it is 1", "hint: choose another folder"]);
}

/// An option that the question has no use for is an error that names both: nothing that was asked is dropped in silence.
#[test]
fn options_without_a_use_are_refused() {
    let folder = with_run();
    for (args, says) in [
        (&["--radius", "--attack", "all"][..], ["--radius", "--attack"]),
        (&["--radius", "--steps", "3"], ["--radius", "--steps"]),
        (&["--radius", "--restarts", "2"], ["--radius", "--restarts"]),
        // The value of the default is given all the same.
        (&["--radius", "--steps", "200"], ["--radius", "--steps"]),
        (&["--halvings", "3"], ["--radius", "--halvings"]),
        (&["--stages", "ibp", "--steps", "3"], ["--steps", "attack"]),
        (&["--stages", "attack,ibp", "--timeout", "3"], ["--timeout", "crown"]),
        (&["--stages", "ibp,alpha", "--max-domains", "3"], ["--max-domains", "bab"]),
        (&["--stages", "crown", "--memory", "1G"], ["--memory", "bab"]),
        (&["--radius", "--stages", "ibp,bab"], ["--radius", "bab"]),
        (&["--radius", "--shard", "0/2"], ["--radius", "--shard"]),
        (&["--stages", "ibp,guess"], ["guess", "crown"]),
        (&["--timeout", "0"], ["--timeout", "0"]),
        (&["--memory", "-1G"], ["--memory", "500M"]),
        // What there was before.
        (&["--bound", "best"], ["--bound best", "hint: --stages ibp"]),
    ] {
        folder.fails(&[&["verify", "run"], args].concat(), 2, &says);
    }
    assert!(!folder.path("run/verify").exists());
}

/// R21: a signal in the middle of a batch that would take hours is answered, and the batch is abandoned.
#[test]
fn a_signal_abandons_the_batch() {
    let folder = with_run();
    for more in [
        &["--steps", "100000000", "--restarts", "1", "--attack", "all"][..],
        &["--steps", "100000000", "--restarts", "6"],
    ] {
        let args = [&["verify", "run", "--eps", "0.05", "--out", "v"], more].concat();
        let child = folder.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut running = Running::from(child);
        while !folder.path("v/verdicts.csv").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let stopped = std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status();
        assert!(stopped.expect("kill runs").success());
        // Hours, if nobody looks at the signal.
        let waited = Instant::now();
        while fs::read_to_string(format!("/proc/{}/stat", running.id())).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(waited.elapsed() < Duration::from_secs(60), "it takes no notice");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (code, err) = running.wait();
        assert_eq!(code, Some(143), "{err}");
        says_all(&err, &["stopping: abandoning this batch", "stopped after 0 of 60 images; the same command resumes"]);
        fs::remove_dir_all(folder.path("v")).unwrap();
    }
}

/// The lines of `verdicts.csv` by column.
fn column(folder: &Folder, name: &str) -> Vec<String> {
    let text = String::from_utf8(folder.read("v/verdicts.csv")).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|column| column == name).expect(name);
    text.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().to_owned()).collect()
}

/// Verdicts name classes, and the images that an attack found are kept, in the order of their lines, whatever was killed.
#[test]
fn counterexamples_are_kept() {
    let folder = with_run();
    let args = ["--steps", "20", "--restarts", "3", "--out", "v", "--stages", "attack,ibp"];
    verify(&folder, &[&args[..], &["--batch", "20"]].concat());
    let (outcomes, rows) = (column(&folder, "outcome"), column(&folder, "counterexample"));
    let named: Vec<&String> = rows.iter().filter(|row| !row.is_empty()).collect();
    let attacked = outcomes.iter().filter(|outcome| *outcome == "attacked").count();
    assert!(attacked > 2, "{outcomes:?}");
    assert_eq!(named, (0..attacked).map(|row| row.to_string()).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    for (outcome, row) in outcomes.iter().zip(&rows) {
        assert_eq!(outcome == "attacked", !row.is_empty());
    }
    let (labels, classes) = (column(&folder, "label"), column(&folder, "class"));
    for (label, class) in labels.iter().zip(&classes) {
        let known =
            ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
        assert_eq!(class, known[label.parse::<usize>().unwrap()]);
    }
    let stack = folder.read("v/counterexamples.npy");
    assert_eq!(stack.len(), 128 + attacked * 28 * 28 * 4);
    assert_eq!(&stack[..8], b"\x93NUMPY\x01\x00");
    says_all(&String::from_utf8_lossy(&stack[..128]), &["'<f4'", &format!("({attacked}, 1, 28, 28)")]);
    let pixels: Vec<f32> = stack[128..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)) && pixels.iter().any(|pixel| *pixel > 0.0));

    // Rows of a batch whose lines were lost are made again.
    let csv = folder.read("v/verdicts.csv");
    let half: Vec<u8> = csv.split_inclusive(|byte| *byte == b'\n').take(1 + 20).flatten().copied().collect();
    folder.write("v/verdicts.csv", half);
    verify(&folder, &[&args[..], &["--batch", "20"]].concat());
    assert!(folder.read("v/verdicts.csv") == csv && folder.read("v/counterexamples.npy") == stack);
    // Images that the verdicts name and the stack has not are no small thing.
    folder.write("v/counterexamples.npy", &stack[..stack.len() - 4]);
    let again = [&["verify", "run", "--eps", "0.05"], &args[..]].concat();
    folder.fails(&again, 2, &["counterexamples.npy", "does not hold", "hint: "]);
}

/// A limit above the size of the set limits nothing, and a radius of nothing is one question however it is written.
#[test]
fn more_images_than_there_are_and_two_ways_to_write_nothing() {
    let folder = with_run();
    let quick = ["--attack", "uncertified", "--steps", "2", "--restarts", "1", "--stages", "attack,ibp"];
    let done = folder.temper(&[&["verify", "run", "--eps", "0", "--images", "61"], &quick[..]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["--images 61: the set has 60 images"]);
    folder.ok(&[&["verify", "run", "--eps", "0.0", "--images", "61"], &quick[..]].concat());
    let left = fs::read_dir(folder.path("run/verify")).unwrap().count();
    assert_eq!(left, 1);
}
