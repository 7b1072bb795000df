//! Made-up runs of certified training in, tables, sentences and figures out.

mod common;

use std::path::Path;

use common::{Certify, four, loads_nothing, parsed, texts};
use temper_record::*;
use temper_report::*;

fn pair() -> Vec<RunSeries> {
    vec![Certify::vanilla("vanilla", 51.1, 20.2).series(), Certify::new("fast", 38.8, 18.1).series()]
}

fn gains() -> Extra {
    let layers: Vec<String> = (1..=6).map(|n| format!("conv{n}")).collect();
    let known = |gains: [f64; 6]| gains.iter().copied().map(Some).collect();
    let after: Vec<Option<f64>> = known([9.0, 9.0, 8.0, 12.0, 11.0, 61.0]);
    let inits = [
        InitGains { init: "default".into(), before: known([1.4, 3.0, 2.8, 4.1, 4.1, 20.0]), after: after.clone() },
        InitGains { init: "IBP".into(), before: known([2.0, 0.99, 0.92, 0.94, 0.96, 1.01]), after },
    ];
    Extra {
        heading: "Difference gain by layer".into(),
        table: gain_table(&layers, &inits),
        note: "How much wider the bounds are than those of the layer before.".into(),
    }
}

/// Writes pages to look at, in the folder that Cargo has for tests.
#[test]
fn pages_are_written() {
    let many = [Certify::new("wide-resnet", 60.0, 50.0), Certify::vanilla("resnext", 70.0, 55.0)];
    let many: Vec<RunSeries> = many
        .into_iter()
        .zip([8, 11])
        .map(|(run, layers)| {
            let layers = (1..=layers).map(|n| format!("block{}.relu{n}", n / 2)).collect();
            Certify { layers, eps: 8.0 / 255.0, epochs: 40, ramp: 20, holdout: true, ..run }.series()
        })
        .collect();
    let both: Vec<RunSeries> = four().into_iter().chain(pair()).collect();
    let one = [Certify { holdout: true, ..Certify::new("alone", 11.8, 3.6) }.series()];
    for (name, runs) in [("pair", pair()), ("one", one.to_vec()), ("both", both), ("many", many)] {
        let options = ReportOptions { title: format!("Report: {name}"), extra: vec![gains()], ..Default::default() };
        let page = report(&runs, &options).unwrap().write(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
        assert!(page.exists());
    }
}

/// The runs' events as files, read back.
fn from_disk(run: &Certify, best: Option<Best>) -> RunSeries {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join(run.name);
    std::fs::create_dir_all(dir.join("checkpoints")).unwrap();
    let lines: String = run.events().iter().map(Event::to_line).collect();
    std::fs::write(dir.join("metrics.jsonl"), lines).unwrap();
    let run = RunDir::open(&dir).unwrap();
    if let Some(best) = best {
        best.write(&run).unwrap();
    }
    RunSeries::read(&run).unwrap()
}

fn told(runs: &[RunSeries]) -> String {
    sentence(runs, &ReportOptions::default()).unwrap()
}

fn rows_of(table: &Table) -> Vec<String> {
    table.to_text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn tables_hold_the_errors() {
    let table = final_table(&pair(), &ReportOptions::default()).unwrap();
    let rows = rows_of(&table);
    assert_eq!(
        rows[1],
        "run images epsilon standard PGD certified standard PGD certified chosen on after images/s minutes"
    );
    // 20.2 + 0.45 (51.1 - 20.2) = 34.1; the errors fall to the end, so that is where the best checkpoint is.
    assert!(rows[3].starts_with("vanilla 96.3k 0.3 20.20 34.10 51.10 20.20 34.10 51.10 test 96.3k 34"), "{}", rows[3]);
    assert!(rows[4].starts_with("fast 96.3k 0.3 18.10 27.41 38.80 18.10 27.41 38.80 test 96.3k 34"), "{}", rows[4]);
    // 752 updates at 0.37 s.
    assert!(rows[4].ends_with(" 4.6"), "{}", rows[4]);
}

#[test]
fn the_best_checkpoint_is_the_marked_one() {
    let run = Certify { holdout: true, ..Certify::new("held", 11.8, 3.6) };
    let marked = Best { step: 47 * 10, set: "validation".into(), metric: "certified_error".into(), value: 13.0 };
    let series = from_disk(&run, Some(marked));
    let kept = series.evals("test").iter().find(|e| e.step == 470).unwrap().values.get("certified_error").unwrap();
    let row = &rows_of(&errors_table(std::slice::from_ref(&series), &ReportOptions::default()))[3];
    assert!(row.contains(&format!("{kept:.2} validation 60.2k")), "{row}");
    let html = report(&[series], &ReportOptions::default()).unwrap().html;
    assert!(html.contains("Best checkpoint of held: chosen on validation, images held out of the training set"));
    // Without the mark: the least on the first set, and only at the target.
    let mut lucky = from_disk(&run, None);
    lucky.evals[0].1[3].values.set("certified_error", 1.0);
    lucky.evals[0].1[9].values.set("certified_error", 2.0);
    let row = &rows_of(&errors_table(&[lucky], &ReportOptions::default()))[3];
    assert!(row.contains("validation 54.1k"), "{row}");
    let html = report(&pair(), &ReportOptions::default()).unwrap().html;
    assert!(html.contains("Best checkpoint of vanilla, fast: chosen on test, the set it is then reported on"));
    let early = Certify { epochs: 5, ..Certify::new("early", 50.0, 20.0) }.series();
    let html = report(&[early], &ReportOptions::default()).unwrap().html;
    assert!(html.contains("Best checkpoint of early: none yet"));
}

#[test]
fn a_sentence_says_who_certifies_more() {
    let standard = "; standard error: fast 18.1 %, vanilla 20.2 %.";
    let lead = "With the same schedule, fast certifies 61.2 % of the 10000 test images at epsilon 0.3";
    assert_eq!(told(&pair()), format!("{lead}, vanilla 48.9 %: 12.3 points more{standard}"));
    let options = ReportOptions {
        labels: vec![("fast".into(), "the paper's method".into()), ("vanilla".into(), "vanilla IBP".into())],
        ..Default::default()
    };
    assert_eq!(
        sentence(&pair(), &options).unwrap(),
        "With the same schedule, the paper's method certifies 61.2 % of the 10000 test images at epsilon 0.3, vanilla IBP \
         48.9 %: 12.3 points more; standard error: the paper's method 18.1 %, vanilla IBP 20.2 %."
    );
    // The other way round.
    let worse = [Certify::vanilla("vanilla", 38.8, 20.2).series(), Certify::new("fast", 51.1, 18.1).series()];
    let text = told(&worse);
    assert!(text.starts_with("With the same schedule, vanilla certifies 61.2 % of"), "{text}");
    assert!(text.contains("fast 48.9 %: 12.3 points more; standard error: vanilla 20.2 %, fast 18.1 %."), "{text}");
    let tied = [Certify::vanilla("a", 51.1, 20.2).series(), Certify::new("b", 51.1, 18.1).series()];
    let text = told(&tied);
    assert!(text.contains("a and b certify the same share of the 10000 test images at epsilon 0.3, 48.9 %;"), "{text}");
    // Two images of ten thousand.
    let close = [Certify::vanilla("a", 51.12, 20.2).series(), Certify::new("b", 51.1, 18.1).series()];
    let text = told(&close);
    let want = "b certifies 48.90 % of the 10000 test images at epsilon 0.3, a 48.88 %: 0.02 points more, which is within \
                the sampling error of so many images;";
    assert!(text.contains(want), "{text}");
    let three = [pair(), vec![Certify::new("crown", 38.8, 25.0).series()]].concat();
    let text = told(&three);
    let want =
        "fast and crown certify the largest share of the 10000 test images at epsilon 0.3: 61.2 % (vanilla 48.9 %)";
    assert!(text.contains(want), "{text}");
}

#[test]
fn a_sentence_compares_only_what_can_be_compared() {
    assert_eq!(
        told(&pair()[1..]),
        "fast certifies 61.2 % of the 10000 test images at epsilon 0.3; its standard error is 18.1 %."
    );
    let longer = Certify { epochs: 20, ..Certify::new("longer", 35.0, 18.0) }.series();
    let text = told(&[longer, pair().remove(0)]);
    assert!(text.starts_with("longer certifies 65.0 % of"), "{text}");
    let easier = Certify { eps: 0.1, ..Certify::new("easier", 10.0, 5.0) }.series();
    assert_eq!(
        told(&[pair().remove(1), easier]),
        "easier certifies 90.0 % at epsilon 0.1, fast 61.2 % at epsilon 0.3."
    );
    let mut running = pair().remove(1);
    running.done = None;
    assert!(told(&[running]).starts_with("fast (unfinished) certifies"));
}

#[test]
fn figures_show_runs_layers_and_phases() {
    let report = report(&pair(), &ReportOptions::default()).unwrap();
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["errors", "losses", "layers"]);
    assert!(names.iter().all(|name| FIGURES.contains(name)));
    for (name, svg) in &report.figures {
        let texts = texts(svg);
        for run in ["vanilla", "fast"] {
            assert!(texts.iter().any(|t| t.contains(run)), "{run} is not named in {name}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
    }
    let errors = texts(&report.figures[0].1);
    for label in ["clean", "ramp", "robust", "epsilon", "images", "test: certified error at the target epsilon, %"] {
        assert!(errors.iter().any(|t| t == label), "{label}: {errors:?}");
    }
    assert_eq!(report.figures[0].1.matches("class=\"ring").count(), 2);
    let layers = texts(&report.figures[2].1);
    for label in ["relu1", "relu6", "active", "unstable", "inactive", "vanilla: states of the ReLUs", "images"] {
        assert!(layers.iter().any(|t| t == label), "{label}: {layers:?}");
    }
    // Two runs, six layers, three states.
    assert_eq!(report.figures[2].1.matches("<path class=\"area").count(), 2 * 6 * 3);
}

#[test]
fn a_single_run_has_its_errors_in_one_panel() {
    let run = Certify { holdout: true, ..Certify::new("alone", 11.8, 3.6) }.series();
    let report = report(&[run], &ReportOptions::default()).unwrap();
    let errors = texts(&report.figures[0].1);
    for label in ["standard", "PGD", "certified", "certified 11.80", "standard 3.60"] {
        assert!(errors.iter().any(|t| t == label), "{label}: {errors:?}");
    }
    assert!(errors.iter().any(|t| t.starts_with("validation: certified error")), "{errors:?}");
}

#[test]
fn both_tasks_fit_on_one_page() {
    let runs: Vec<RunSeries> = four().into_iter().chain(pair()).collect();
    let options = ReportOptions { extra: vec![gains()], ..Default::default() };
    let report = report(&runs, &options).unwrap();
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["curves", "plane", "training", "errors", "losses", "layers"]);
    loads_nothing(&report);
    let places: Vec<usize> = [
        ">Language models<",
        "On law, rewarmed ends lowest",
        "Start, peak, final and change",
        ">Certified training<",
        "fast certifies 61.2 %",
        "Errors at the end and at the best checkpoint",
        "Difference gain by layer",
    ]
    .iter()
    .map(|text| report.html.find(text).unwrap_or_else(|| panic!("{text}")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    // No part draws the other's runs.
    assert!(!report.figures[0].1.contains("vanilla") && !report.figures[3].1.contains("rewarmed"));
    let text = sentence(&runs, &options).unwrap();
    assert!(text.contains("On law, rewarmed") && text.contains("fast certifies"), "{text}");
    assert!(final_table(&runs, &options).unwrap_err().hint.is_some());
}

#[test]
fn runs_with_other_layers_have_a_figure_of_their_own() {
    let wide =
        Certify { layers: (0..11).map(|n| format!("block{n}.relu")).collect(), ..Certify::new("wide", 30.0, 10.0) };
    let mut runs = pair();
    runs.push(wide.series());
    let report = report(&runs, &ReportOptions::default()).unwrap();
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["errors", "losses", "layers", "layers-2"]);
    let (first, second) = (texts(&report.figures[2].1), texts(&report.figures[3].1));
    assert!(!first.iter().any(|t| t.starts_with("wide") || t.starts_with("block")));
    assert!(second.iter().any(|t| t == "block10.relu") && !second.iter().any(|t| t.starts_with("fast")));
    loads_nothing(&report);
}

#[test]
fn odd_runs_are_drawn() {
    let mut bad = pair().remove(0);
    bad.name = "<i>&\u{1}".into();
    for point in &mut bad.evals[0].1 {
        point.values.set("width.relu2", f64::INFINITY);
        point.values.set("unstable.relu3", f64::NAN);
        point.values.set("certified_error", f64::NAN);
    }
    let only = |metrics: &[(&str, f64)]| {
        let values: Values = metrics.iter().copied().collect();
        let start = Event::Start(RunInfo { task: CERTIFY.into(), ..RunInfo::default() });
        RunSeries::from_events("bare", [start, Event::Eval { step: 0, tokens: 0, set: "photos".into(), values }])
            .unwrap()
    };
    let bare = only(&[("certified_error", 0.0)]);
    let once = only(&[
        ("standard_error", 90.0),
        ("certified_error", 100.0),
        ("active.a", 0.2),
        ("unstable.a", 0.5),
        ("inactive.a", 0.3),
        ("width.a", 0.0),
    ]);
    for runs in [vec![bad.clone()], vec![bare.clone()], vec![once.clone()], vec![bad, bare, once, pair().remove(1)]] {
        let report = report(&runs, &ReportOptions::default()).unwrap();
        loads_nothing(&report);
        for (name, svg) in &report.figures {
            parsed(svg);
            let drawn = svg.split("<title>").map(|part| part.rsplit("</title>").next().unwrap()).collect::<String>();
            let numbers = drawn.split(" d=\"").skip(1).map(|part| part.split('"').next().unwrap());
            assert!(!numbers.clone().any(|path| path.contains("NaN") || path.contains("inf")), "{name}");
        }
        assert!(!report.html.contains("<i>"));
    }
}

#[test]
fn a_run_without_evaluations_is_named() {
    let mut run = pair().remove(0);
    run.evals.clear();
    let problem = report(&[pair().remove(1), run], &ReportOptions::default()).unwrap_err();
    assert!(problem.place == "vanilla" && problem.why.contains("no evaluations"), "{problem}");
    assert!(!problem.hint.unwrap().contains("recipe"));
}

#[test]
fn gains_stand_side_by_side() {
    let text = gains().table.to_text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["default", "init", "IBP", "init"]);
    assert_eq!(rows[3], ["conv1", "1.40", "9.00", "2.00", "9.00"]);
    assert_eq!(rows[8], ["conv6", "20.0", "61.0", "1.01", "61.0"]);
    let plain = InitGains { init: "default".into(), before: vec![Some(1.4), None], after: vec![None, None] };
    let table = gain_table(&["a".into(), "b".into()], &[plain]);
    assert_eq!(rows_of(&table)[3..], ["a 1.40", "b –"]);
    assert_eq!(table.columns().len(), 2);
}
