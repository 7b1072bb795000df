//! A run on several ranks is the run of one: weights, moments, metrics and evaluations to the bit, and it resumes on any other number.

use std::collections::BTreeMap;
use std::path::Path;

use temper::{End, Interrupt, Limits, Ranks, Session, Silent, Unattended, Watch};
use temper_base::Problem;
use temper_record::event::Event;
use temper_record::run::RunDir;
use temper_record::series::read_events;
use temper_train::group::{Group, threads};

const TEXT: [&str; 12] = [
    "model.layers=1",
    "model.d_model=32",
    "model.heads=2",
    "data.seq_len=32",
    "batch.sequences=8",
    "batch.micro=1",
    "batch.shards=4",
    "run.horizon=7 steps",
    "eval.every=3 steps",
    "eval.max_tokens=700",
    "checkpoint.every=3 steps",
    "checkpoint.keep_last=9",
];

const IMAGES: [&str; 14] = [
    "model.width=2",
    "data.max_train=90",
    "data.max_test=70",
    "data.holdout=0.2",
    "batch.images=20",
    "batch.shards=4",
    "eps.length=3 steps",
    "lr.milestones=[\"4 steps\",\"5 steps\"]",
    "run.horizon=7 steps",
    "eval.every=3 steps",
    "eval.batch=16",
    "eval.verify_images=6",
    "checkpoint.every=3 steps",
    "checkpoint.keep_last=9",
];

/// Ends the run after an update.
struct StopAfter(u64, bool);

impl Watch for StopAfter {
    fn event(&mut self, event: &Event) {
        self.1 |= matches!(event, Event::Step { step, .. } if *step == self.0);
    }

    fn signal(&self) -> Option<i32> {
        self.1.then_some(15)
    }
}

/// Runs `lead` on rank 0 while the others follow.
fn on_ranks<T: Send>(size: usize, lead: impl Fn(Session) -> Result<T, Problem> + Sync) -> Result<T, Problem> {
    let ends = threads::run(size, |group| {
        let (ranks, device) = (Ranks::of(group.clone()), temper::device());
        let session = Session { limits: Limits::default(), device: &device, listener: &Silent, ranks: &ranks };
        if group.rank() > 0 {
            temper::follow(session)?;
            return Ok(None);
        }
        let end = lead(session);
        ranks.end(end.as_ref().err());
        end.map(Some)
    });
    Ok(ends?.remove(0).expect("rank 0 leads"))
}

fn one(problems: temper::Problems) -> Problem {
    problems.0.into_iter().next().expect("a problem")
}

fn train(size: usize, recipe: &str, overrides: &[&str], out: &Path, watch: u64) -> Result<End, Problem> {
    let overrides: Vec<String> = overrides.iter().map(|word| (*word).to_owned()).collect();
    on_ranks(size, |session| {
        let recipe = temper::recipe(recipe, &overrides).map_err(one)?;
        temper::train(recipe, out, session).map_err(one)?.train(&mut StopAfter(watch, false))
    })
}

fn resume(size: usize, out: &Path) -> Result<End, Problem> {
    on_ranks(size, |session| {
        let run = temper::resume(&out.display().to_string(), None, session).map_err(one)?;
        run.expect("it is not complete").train(&mut Unattended)
    })
}

/// Everything that a run has come to and that hangs on no clock: files of its checkpoints, and its events without times and rates.
fn results(out: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let run = RunDir::open(out).unwrap();
    let mut files = BTreeMap::new();
    for checkpoint in std::fs::read_dir(run.checkpoints()).unwrap().map(|entry| entry.unwrap().path()) {
        if checkpoint.is_dir() {
            for name in ["model.safetensors", "optimizer.safetensors"] {
                let file = checkpoint.join(name);
                files.insert(file.strip_prefix(out).unwrap().display().to_string(), std::fs::read(file).unwrap());
            }
        }
    }
    let timed = ["tokens_per_s", "images_per_s", "seconds"];
    let told = read_events(&run.metrics()).unwrap().into_iter().filter_map(|event| match event {
        Event::Step { step, values, .. } | Event::Eval { step, values, .. } => {
            let bits = values.iter().filter(|(name, _)| !timed.contains(name) && !name.starts_with("seconds_of"));
            Some(format!(
                "{step} {:?}",
                bits.map(|(name, value)| (name.to_owned(), value.to_bits())).collect::<Vec<_>>()
            ))
        }
        _ => None,
    });
    (files, told.collect())
}

fn same_on_any_number(recipe: &str, overrides: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert_eq!(train(1, recipe, overrides, &whole, u64::MAX).unwrap(), End::Done);
    let expected = results(&whole);
    assert!(expected.0.len() >= 8 && expected.1.len() >= 11, "{:?} {}", expected.0.keys(), expected.1.len());
    for size in [2, 3, 4] {
        let out = folder.path().join(format!("on {size}"));
        assert_eq!(train(size, recipe, overrides, &out, u64::MAX).unwrap(), End::Done);
        assert!(results(&out) == expected, "{size} ranks");
    }
    // Stopped and resumed, by other numbers.
    let out = folder.path().join("stopped");
    let stopped = End::Stopped(Interrupt::Signal(15));
    assert_eq!(train(4, recipe, overrides, &out, 2).unwrap(), stopped);
    assert_eq!(resume(3, &out).unwrap(), End::Done);
    let found = results(&out);
    assert_eq!(found.1, expected.1);
    assert!(expected.0.iter().all(|(name, bytes)| found.0[name] == *bytes));
}

#[test]
fn text() {
    same_on_any_number("demo/english", &TEXT);
}

#[test]
fn images() {
    same_on_any_number("demo/fast", &IMAGES);
    // Each shard by its own statistics, and those of the running mean taken anew before every evaluation.
    let more = ["batch.statistics=\"piece\"", "method.precise_batch_norm=true"];
    same_on_any_number("demo/vanilla", &[&IMAGES[..], &more].concat());
}

#[test]
fn ranks_without_a_part_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let problem = train(5, "demo/english", &TEXT, &out, u64::MAX).unwrap_err();
    assert_eq!(problem.code(), "input/read-recipe");
    assert!(problem.why.contains("5 ranks share 4 shards"), "{problem}");
    assert!(problem.hint.unwrap().contains("batch.shards = 8"));
    assert!(!out.exists());
}

/// What one rank cannot read ends all, and rank 0 says which one it was.
#[test]
fn a_run_that_another_rank_cannot_see() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(1, "demo/english", &TEXT, &out, 2).unwrap();
    let ends = threads::run(2, |group| {
        let (ranks, device) = (Ranks::of(group.clone()), temper::device());
        let session = Session { limits: Limits::default(), device: &device, listener: &Silent, ranks: &ranks };
        if group.rank() == 1 {
            let order = ranks.next()?;
            let temper_train::ranks::Order::Open(mut opening) = order else { panic!("{order:?}") };
            opening.run = folder.path().join("elsewhere");
            temper_train::start::follow::<temper_lm::task::LmTask>(&opening, &temper::SCHEMA, session)?;
            return Ok(None);
        }
        let mut run = temper::resume(&out.display().to_string(), None, session).map_err(one)?.unwrap();
        let problem = run.train(&mut Unattended).unwrap_err();
        ranks.end(Some(&problem));
        Ok(Some(problem))
    });
    let problem = ends.unwrap().remove(0).unwrap();
    assert!(problem.place.ends_with("(rank 1)") && problem.to_string().contains("elsewhere"), "{problem}");
    assert!(problem.hint.unwrap().contains("every rank needs"));
}
