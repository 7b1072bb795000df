//! Events survive the way through JSON, and come back as series.

use std::fs;

use temper_base::*;
use temper_record::event::Parent;
use temper_record::series::MOST_STEPS;
use temper_record::*;

fn all_kinds() -> Vec<Event> {
    vec![
        Event::Start(RunInfo {
            task: "lm".into(),
            recipe: "rewarm/small".into(),
            seed: u64::MAX,
            steps: 300,
            end: 600,
            tokens: 1_228_800,
            first_step: 7,
            first_tokens: 9,
            parameters: 3_000_000,
            start: "branch".into(),
            parent: Some(Parent { run: "runs/\"base\"".into(), step: 300, tokens: 1_228_800 }),
            version: "0.1.0".into(),
            commit: Some("abc".into()),
            time: 1_700_000_000,
        }),
        Event::Phase { name: "warmup".into(), first_step: 1, last_step: 3 },
        Event::Step {
            step: 1,
            tokens: 4096,
            values: Values::new()
                .with("loss", 0.1 + 0.2)
                .with("lr", 1e-300)
                .with("grad_norm", f64::NAN)
                .with("z", -0.0),
        },
        Event::Eval {
            step: 1,
            tokens: 4096,
            set: "mean:micro".into(),
            values: Values::new().with("loss", f64::INFINITY).with("x", f64::NEG_INFINITY).with("set_bytes", 1e15),
        },
        Event::Checkpoint { step: 1, path: "checkpoints/step-00000001".into() },
        Event::Warning { step: 1, message: "two\nlines".into(), hint: Some("ü".into()) },
        Event::Resume { step: 1, tokens: 4096, time: 5, until: None },
        Event::Stop { step: 2, reason: "SIGINT".into() },
        Event::Done { step: 3, tokens: 12288, seconds: 1.5 },
    ]
}

#[test]
fn every_event_survives_json_as_one_flat_line() {
    for event in all_kinds() {
        let line = event.to_line();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(Event::from_line(&line), Ok(event.clone()), "{line}");
        if let Event::Step { values, .. } = Event::from_line(&line).unwrap() {
            assert!(values.get("z").unwrap().is_sign_negative());
        }
    }
}

#[test]
fn a_step_is_written_flat_and_in_order() {
    let values = Values::new().with("loss", 2.5).with("tokens_per_s", 1000.0).with("grad_norm", f64::NAN);
    let event = Event::Step { step: 12, tokens: 49152, values };
    let expected = r#"{"event":"step","step":12,"tokens":49152,"loss":2.5,"tokens_per_s":1000,"grad_norm":"NaN"}"#;
    assert_eq!(event.to_line().trim_end(), expected);
}

#[test]
fn what_is_no_number_is_refused() {
    let null = Event::from_line(r#"{"event":"step","step":1,"tokens":1,"loss":null}"#).unwrap();
    assert!(matches!(null, Event::Step { values, .. } if values.get("loss").unwrap().is_nan()));
    assert!(Event::from_line(r#"{"event":"step","step":1,"tokens":1,"loss":"high"}"#).unwrap_err().contains("high"));
    assert!(Event::from_line(r#"{"event":"leap","step":1}"#).unwrap_err().contains("leap"));
    assert!(Event::from_line(r#"{"event":"step","tokens":1}"#).unwrap_err().contains("step"));
}

#[test]
#[should_panic(expected = "`tokens` is a key of the event itself")]
fn a_metric_cannot_hide_a_key() {
    let _ = Values::new().with("tokens", 1.0);
}

fn run_with(text: &[u8]) -> (tempfile::TempDir, RunDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metrics.jsonl"), text).unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    (dir, run)
}

#[test]
fn series_hold_what_the_events_said() {
    let text: String = all_kinds().iter().map(Event::to_line).collect();
    let (_dir, run) = run_with(text.as_bytes());
    let series = RunSeries::read(&run).unwrap();
    assert_eq!(series.info.parent.as_ref().unwrap().step, 300);
    assert_eq!(series.phases.len(), 1);
    assert_eq!(series.step_metric("loss"), [(4096, 0.1 + 0.2)]);
    assert_eq!(series.eval_metric("mean:micro", "loss"), [(4096, f64::INFINITY)]);
    assert_eq!(series.eval_metric("none", "loss"), []);
    assert_eq!(series.warnings, ["two\nlines"]);
    assert_eq!((series.done, series.stopped), (Some(1.5), None));
}

#[test]
fn the_updates_of_a_long_run_are_merged() {
    let last = 5 * MOST_STEPS as u64 + 3;
    let step = |step: u64| {
        let values = Values::new().with("loss", (step % 2) as f64).with("lr", step as f64);
        Event::Step { step, tokens: 10 * step, values }
    };
    let series = RunSeries::from_events("long", (1..=last).map(step)).unwrap();
    assert!(series.steps.len() <= MOST_STEPS && series.steps.len() > MOST_STEPS / 2, "{}", series.steps.len());
    assert_eq!(series.merged, 8);
    assert_eq!(series.steps.iter().map(|point| point.updates).sum::<u64>(), last);
    assert_eq!((series.last_step(), series.last_tokens()), (last, 10 * last));
    let (rest, whole) = series.steps.split_last().unwrap();
    assert_eq!(rest.updates, last % 8);
    for (n, point) in whole.iter().enumerate() {
        let step = 8 * (n as u64 + 1);
        assert_eq!((point.step, point.updates), (step, 8));
        assert_eq!((point.values.get("loss"), point.values.get("lr")), (Some(0.5), Some(step as f64)));
    }
    let short = RunSeries::from_events("short", (1..=MOST_STEPS as u64).map(step)).unwrap();
    assert_eq!((short.merged, short.steps.len()), (0, MOST_STEPS));
}

#[test]
fn only_a_cut_last_line_is_let_pass() {
    let step = |n: u64| Event::Step { step: n, tokens: n, values: Values::new().with("lösung", 1.0) }.to_line();
    let whole = step(1) + &step(2);
    // Cut anywhere inside the second line, also within the two bytes of `ö`.
    for cut in step(1).len()..whole.len() - 2 {
        let (_dir, run) = run_with(&whole.as_bytes()[..cut]);
        assert_eq!(RunSeries::read(&run).unwrap().steps.len(), 1, "cut at {cut}");
    }
    let (_dir, run) = run_with((step(1) + "{\"event\":\"st\n" + &step(2)).as_bytes());
    let problem = RunSeries::read(&run).unwrap_err();
    assert_eq!(problem.kind, Kind::Input);
    assert!(problem.place.ends_with("metrics.jsonl:2"), "{problem}");

    let (_dir, run) = run_with((step(1) + &step(1)).as_bytes());
    let problem = RunSeries::read(&run).unwrap_err();
    assert!(problem.why.contains("step 1 comes after step 1"), "{problem}");
}

#[test]
fn console_lines_align() {
    let step = |step, tokens, loss: f64, lr| {
        let values =
            Values::new().with("loss", loss).with("lr", lr).with("grad_norm", 1.25).with("tokens_per_s", 4321.0);
        console_line(&Event::Step { step, tokens, values: values.with("seconds", 3725.0) })
    };
    let lines = [step(1, 512, 9.0123456, 0.0), step(140_000, 297_000_000_000, f64::NAN, 3e-4)];
    assert_eq!(
        lines[0],
        "step        1      512 tok  loss    9.0123  lr    0.00e0  grad_norm    1.2500    4.32k tok/s    1h02m"
    );
    assert_eq!(lines[0].len(), lines[1].len());
    assert!(lines[1].contains("297G tok  loss       NaN  lr   3.00e-4"), "{}", lines[1]);
    for event in all_kinds() {
        assert!(!console_line(&event).is_empty());
    }
}

#[test]
fn console_lines_of_certified_training_align() {
    let step = |step, eps, weight: Option<f64>| {
        let values = Values::new().with("loss", 1.2345).with("lr", 5e-4).with("eps", eps).with("grad_norm", 3.0);
        let values =
            weight.iter().fold(values.with("clean_loss", 2.3), |values, weight| values.with("weight", *weight));
        let values = values.with("images_per_s", 312.4).with("seconds", 61.0);
        console_line(&Event::Step { step, tokens: step * 256, values })
    };
    assert_eq!(
        step(6, 1e-3, Some(0.4984)),
        "step        6    1.54k img  loss   1.2345  eps  1.00e-3  lr  5.00e-4     312 img/s   1m01s  weight 0.498"
    );
    assert_eq!(
        step(12, 0.3, None),
        "step       12    3.07k img  loss   1.2345  eps  3.00e-1  lr  5.00e-4     312 img/s   1m01s"
    );
    let eval = |pgd: Option<f64>, certified, current| {
        let values = Values::new().with("standard_error", 3.57).with("certified_error", certified);
        let values = pgd.iter().fold(values, |values, pgd| values.with("pgd_error", *pgd));
        let values = values
            .with("certified_error_current", 5.25)
            .with("pgd_error_current", 4.0)
            .with("eps", 0.3)
            .with("eps_current", current);
        console_line(&Event::Eval {
            step: 235,
            tokens: 60_000,
            set: "test".into(),
            values: values.with("active.relu1", 0.5),
        })
    };
    assert_eq!(
        eval(Some(6.1), 100.0, 8.0 / 255.0),
        "eval      235    60.0k img  standard   3.57 %  PGD   6.10 %  certified 100.00 %  at eps 0.3  test \
         (PGD 4.00 %, certified 5.25 % at eps 8/255)"
    );
    assert_eq!(
        eval(None, 11.77, 0.3),
        "eval      235    60.0k img  standard   3.57 %  PGD      – %  certified  11.77 %  at eps 0.3  test"
    );
    let info = RunInfo { task: CERTIFY.into(), tokens: 480_000, ..RunInfo::default() };
    assert!(console_line(&Event::Start(info)).contains("480k images,"));
    let done = Event::Done { step: 9, tokens: 480_000, seconds: 61.0 };
    assert_eq!(console_line_in(&done, Unit::Images), "done        9     480k img  in 1m01s");
}

#[test]
fn radii_read_well() {
    use temper_base::numbers::radius;
    let read = [0.4, 8.0 / 255.0, 1.0 / 255.0, 0.0, 1.0, 0.03137, 1e-6, 2e-4].map(radius);
    assert_eq!(read, ["0.4", "8/255", "1/255", "0", "1", "0.0314", "1.0e-6", "2.0e-4"]);
}

#[test]
fn the_best_checkpoint_is_part_of_the_series() {
    let (_tmp, run) = run_with(b"");
    assert_eq!(RunSeries::read(&run).unwrap().best, None);
    std::fs::create_dir_all(run.checkpoints()).unwrap();
    let best = Best { step: 4, set: "test".into(), metric: "certified_error".into(), value: 11.5 };
    best.write(&run).unwrap();
    assert_eq!(RunSeries::read(&run).unwrap().best, Some(best));
}

#[test]
fn counts_and_times_read_well() {
    use temper_base::numbers::{count, digits, duration};
    let counts = [0.0, 999.0, 1000.0, 9_996.0, 99_960.0, 999_600.0, 1_228_800.0, 2.97e11];
    let shown = ["0", "999", "1.00k", "10.0k", "100k", "1.00M", "1.23M", "297G"];
    for (n, text) in counts.into_iter().zip(shown) {
        assert_eq!(count(n), text);
    }
    assert_eq!([duration(8.34), duration(247.0), duration(7500.0)], ["8.3s", "4m07s", "2h05m"]);
    assert_eq!(
        [digits(1234.5678, 5), digits(0.0, 3), digits(-0.012345, 3), digits(1e12, 3)],
        ["1234.6", "0.00", "-0.0123", "1.00e12"]
    );
}

#[test]
fn utc_knows_leap_years() {
    use temper_record::env::utc;
    assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(utc(1_709_208_000), "2024-02-29T12:00:00Z");
    assert_eq!(utc(4_107_542_399), "2100-02-28T23:59:59Z");
    assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
}

#[test]
fn env_round_trip() {
    let (_dir, run) = run_with(b"");
    let env = Env::collect("0.1.0", Some("abc"), 2, vec!["temper".into(), "train".into()]);
    assert!(env.cores > 0 && !env.os.is_empty());
    env.write(&run).unwrap();
    assert_eq!(Env::read(&run).unwrap(), env);
}
