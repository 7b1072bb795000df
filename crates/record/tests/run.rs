//! The run directory, its record and what a kill leaves of it.

use std::fs;
use std::io::Write;

use temper_base::problem::pasted;
use temper_base::*;
use temper_record::checkpoint::way_on;
use temper_record::sink::{rebuild, truncate_to};
use temper_record::tensorboard::crc32c;
use temper_record::*;

fn step(n: u64) -> Event {
    Event::Step { step: n, tokens: n * 100, values: Values::new().with("loss", 1.0 / n as f64).with("lr", 1e-3) }
}

fn eval(n: u64, set: &str) -> Event {
    let values = Values::new().with("loss", 0.5).with("perplexity", 1.5);
    Event::Eval { step: n, tokens: n * 100, set: set.into(), values }
}

#[test]
fn a_directory_that_holds_something_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, lock) = RunDir::create(tmp.path().join("a/b")).unwrap();
    // Killed before it wrote anything: the directory may be used.
    drop(lock);
    let (_, lock) = RunDir::create(run.path()).unwrap();
    drop(lock);
    // A record with an update is a run.
    Recorder::create(&run).unwrap().record(&step(1)).unwrap();

    let problem = RunDir::create(run.path()).unwrap_err();
    assert_eq!((problem.kind, problem.kind.exit_code()), (Kind::Input, 2));
    assert_eq!(problem.code(), "input/create-run");
    assert!(problem.hint.unwrap().contains("resume it"));
    assert!(Recorder::create(&run).is_err());

    let full = tmp.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "").unwrap();
    let problem = RunDir::create(&full).unwrap_err();
    assert!(problem.why.contains("thesis.tex"), "{problem}");
    assert!(!full.join(".lock").exists());
    assert_eq!(RunDir::create(full.join("thesis.tex")).unwrap_err().kind, Kind::Input);
    assert_eq!(RunDir::open(&full).unwrap_err().kind, Kind::Input);
    assert_eq!(RunDir::open(tmp.path().join("nowhere")).unwrap_err().why, "no such directory");
}

#[test]
fn a_run_in_use_is_refused_and_the_holder_named() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, lock) = RunDir::create(tmp.path().join("a")).unwrap();
    let problem = run.lock().unwrap_err();
    assert_eq!(problem.kind, Kind::Input);
    assert!(problem.why.contains(&format!("process {}", std::process::id())), "{problem}");
    drop(lock);
    run.lock().unwrap();
}

#[test]
fn names_of_runs() {
    let check = |name: &str, dir: &str, at: At| {
        let parsed = RunRef::parse(name).unwrap();
        assert_eq!((parsed.dir.to_str().unwrap(), parsed.at), (dir, at), "{name}");
        if !name.ends_with("@last") {
            assert_eq!(parsed.to_string(), name);
        }
    };
    check("runs/a", "runs/a", At::Last);
    check("runs/a@4000", "runs/a", At::Step(4000));
    check("runs/a@best", "runs/a", At::Best);
    check("runs/a@last", "runs/a", At::Last);
    check("me@home/a", "me@home/a", At::Last);
    check("me@home/a@7", "me@home/a", At::Step(7));
    for bad in ["", "@7", "runs/a@", "runs/a@bset", "runs/a@-1", "runs/a@+1", "runs/a@1.5"] {
        let problem = RunRef::parse(bad).unwrap_err();
        assert!(problem.kind == Kind::Input && problem.hint.is_some(), "{bad}");
    }
    let tmp = tempfile::tempdir().unwrap();
    let odd = tmp.path().join("a@b");
    fs::create_dir(&odd).unwrap();
    assert_eq!(RunRef::parse(odd.to_str().unwrap()).unwrap().dir, odd);
}

#[test]
fn a_resumed_run_has_every_step_exactly_once() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(tmp.path().join("a")).unwrap();
    let mut recorder = Recorder::create(&run).unwrap();
    recorder.record(&Event::Start(RunInfo { time: 1_700_000_000, ..Default::default() })).unwrap();
    recorder.record(&eval(0, "web")).unwrap();
    (1..=5).for_each(|n| recorder.record(&step(n)).unwrap());
    let position = recorder.sync().unwrap();
    assert_eq!(position, fs::metadata(run.metrics()).unwrap().len());
    (6..=9).for_each(|n| recorder.record(&step(n)).unwrap());
    drop(recorder);
    // Killed in the middle of a line.
    fs::OpenOptions::new().append(true).open(run.metrics()).unwrap().write_all(b"{\"event\":\"step\",\"st").unwrap();
    assert_eq!(RunSeries::read(&run).unwrap().last_step(), 9);

    let mut recorder = Recorder::resume(&run, position).unwrap();
    assert_eq!(recorder.position(), position);
    recorder.record(&Event::Resume { step: 5, tokens: 500, time: 0, until: None }).unwrap();
    (6..=12).for_each(|n| recorder.record(&step(n)).unwrap());
    assert_eq!(recorder.warning(), None);
    let steps: Vec<_> = RunSeries::read(&run).unwrap().steps.iter().map(|p| p.step).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let csv = fs::read_to_string(run.steps_csv()).unwrap();
    let firsts: Vec<u64> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    assert_eq!(firsts, (1..=12).collect::<Vec<u64>>());
}

#[test]
fn a_record_that_does_not_fit_the_checkpoint_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(tmp.path().join("a")).unwrap();
    Recorder::create(&run).unwrap().record(&step(1)).unwrap();
    let length = fs::metadata(run.metrics()).unwrap().len();
    for wrong in [length + 1, length - 1] {
        let problem = truncate_to(&run, wrong).unwrap_err();
        assert!(problem.kind == Kind::Input && problem.hint.is_some(), "{problem}");
        assert_eq!(fs::metadata(run.metrics()).unwrap().len(), length);
    }
    truncate_to(&run, 0).unwrap();
    assert_eq!(fs::metadata(run.metrics()).unwrap().len(), 0);
}

#[test]
fn everything_derived_can_be_rebuilt() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(tmp.path().join("a")).unwrap();
    let mut recorder = Recorder::create(&run).unwrap();
    recorder.record(&Event::Start(RunInfo { time: 1_700_000_000, ..Default::default() })).unwrap();
    recorder.record(&eval(0, "a, \"b\"")).unwrap();
    recorder.record(&step(1)).unwrap();
    // A metric that was not there before gets a column, and the rows before it an empty field.
    let values = Values::new().with("loss", f64::NAN).with("seconds", 2.5).with("lr", 0.5);
    recorder.record(&Event::Step { step: 2, tokens: 200, values }).unwrap();
    recorder.record(&Event::Done { step: 2, tokens: 200, seconds: 2.5 }).unwrap();
    let steps = fs::read_to_string(run.steps_csv()).unwrap();
    assert_eq!(steps, "step,tokens,loss,lr,seconds\n1,100,1,0.001,\n2,200,NaN,0.5,2.5\n");
    let evals = fs::read_to_string(run.evals_csv()).unwrap();
    assert_eq!(evals, "step,tokens,set,loss,perplexity\n0,0,\"a, \"\"b\"\"\",0.5,1.5\n");

    let events = run.tensorboard().join("events.out.tfevents.temper");
    let tensorboard = fs::read(&events).unwrap();
    fs::remove_file(run.steps_csv()).unwrap();
    fs::remove_dir_all(run.tensorboard()).unwrap();
    rebuild(&run).unwrap();
    assert_eq!(fs::read_to_string(run.steps_csv()).unwrap(), steps);
    assert_eq!(fs::read(&events).unwrap(), tensorboard);
}

#[test]
fn tables_that_cannot_be_written_do_not_stop_the_run() {
    let tmp = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(tmp.path().join("a")).unwrap();
    fs::write(run.tensorboard(), "in the way").unwrap();
    let mut recorder = Recorder::create(&run).unwrap();
    recorder.record(&step(1)).unwrap();
    assert_eq!(recorder.warning().unwrap().kind, Kind::Machine);
    assert_eq!(recorder.warning(), None);
    assert_eq!(fs::read_to_string(run.steps_csv()).unwrap().lines().count(), 2);
}

#[test]
fn crc32c_known_answers() {
    // The check value of the CRC catalogue, and two of RFC 3720, appendix B.4.
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
}

#[test]
fn tables_that_failed_in_passing_are_whole_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(folder.path().join("run")).unwrap();
    // A folder in the way stands for a disk that is full for a while.
    std::fs::create_dir(run.evals_csv()).unwrap();
    let mut recorder = Recorder::create(&run).unwrap();
    assert!(recorder.warning().is_some());
    let values = Values::new().with("loss", 2.0);
    recorder.record(&Event::Eval { step: 0, tokens: 0, set: "a".into(), values }).unwrap();
    std::fs::remove_dir(run.evals_csv()).unwrap();
    recorder.record(&Event::Done { step: 0, tokens: 0, seconds: 1.0 }).unwrap();
    assert!(recorder.warning().is_none());
    assert_eq!(std::fs::read_to_string(run.evals_csv()).unwrap(), "step,tokens,set,loss\n0,0,a,2\n");
}

#[test]
fn a_directory_that_was_replaced_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (run, _lock) = RunDir::create(&path).unwrap();
    run.still_there().unwrap();
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    assert_eq!(CheckpointWriter::begin(&run, 0).unwrap_err().kind, Kind::Machine);
    assert!(!path.exists());
    // Another directory of the same name is not the run either.
    std::fs::create_dir(&path).unwrap();
    assert_eq!(CheckpointWriter::begin(&run, 0).unwrap_err().kind, Kind::Machine);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn the_way_on_fits_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _lock) = RunDir::create(folder.path().join("run")).unwrap();
    assert!(way_on(&run, "make room").contains("begin the run again"));
    CheckpointWriter::begin(&run, 0).unwrap().commit().unwrap();
    assert!(way_on(&run, "make room").contains("resume the run"));
}

/// Paths in hints that name commands are one word for a shell, and no option.
#[test]
fn paths_as_a_shell_takes_them() {
    for (path, word) in [
        ("runs/a@best", "runs/a@best"),
        ("größe/ü", "größe/ü"),
        ("with blank", "'with blank'"),
        ("it's", r"'it'\''s'"),
        ("-dash", "./-dash"),
        ("- two", "'./- two'"),
        ("~x", "'~x'"),
        ("$(x)", "'$(x)'"),
        ("", "''"),
        ("a\nb'c\\", r"$'a\x0ab\'c\\'"),
    ] {
        assert_eq!(pasted(path), word);
    }
}
