//! A new metric is one line of the table of metrics: lines, tables and figures spell no name, and show what the table says.

mod common;

use std::path::Path;

use temper_record::metric::{self, METRICS, Place};
use temper_record::*;
use temper_report::*;

/// No file spells the name of a metric in code. `images` is a word too: what classifiers count.
#[test]
fn no_name_is_spelt_outside_the_table() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        ["console", "csv", "tensorboard"].map(|name| here.join(format!("../record/src/{name}.rs"))).to_vec();
    files.extend(std::fs::read_dir(here.join("src")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for metric in METRICS.iter().filter(|metric| metric.name != metric::IMAGES) {
            let spelt = [format!("\"{}\"", metric.name), format!("\"{}.", metric.name)];
            let found = code.iter().find(|line| spelt.iter().any(|name| line.contains(name)));
            assert!(found.is_none(), "{}: {}", file.display(), found.unwrap());
        }
    }
}

/// An image classifier's run that records every metric there is.
fn classifier() -> Vec<Event> {
    let all = || METRICS.iter().filter(|metric| !metric.by_layer).map(|metric| metric.name);
    let values = |n: u64| all().zip(1..).map(|(name, k)| (name, (k + n) as f64)).collect::<Values>();
    let info = RunInfo { task: event::CERTIFY.into(), steps: 4, ..RunInfo::default() };
    let updates = (1..=4).flat_map(|step| {
        let evaluated = Values::with(values(step), metric::EPS, 999.0);
        [
            Event::Step { step, tokens: step, values: values(step) },
            Event::Eval { step, tokens: step, set: "test".into(), values: evaluated },
        ]
    });
    std::iter::once(Event::Start(info)).chain(updates).collect()
}

/// The words are in the text, one after the other.
fn in_order(text: &str, words: impl Iterator<Item = impl AsRef<str>>) {
    let mut rest = text;
    for word in words {
        let word = word.as_ref();
        let at = rest.find(word).unwrap_or_else(|| panic!("{word} is not in: {rest}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn every_place_shows_its_metrics_in_order() {
    let events = classifier();
    let [_, step, eval, ..] = &events[..] else { unreachable!() };
    let columns = metric::shown(Place::UpdateLine).filter(|metric| metric.style != metric::Style::Duration);
    in_order(&console_line(step), columns.chain(metric::shown(Place::UpdateLineEnd)).map(|metric| metric.short));
    in_order(
        &console_line(eval),
        metric::shown(Place::Errors).chain(metric::shown(Place::CurrentErrors)).map(|metric| metric.short),
    );

    let runs = ["a", "b"].map(|name| RunSeries::from_events(name, events.clone()).unwrap());
    let options = ReportOptions::default();
    in_order(&errors_table(&runs, &options).to_text(), metric::shown(Place::Errors).map(|metric| metric.short));
    let drawn = report(&runs, &options).unwrap().figures;
    let figure = |name: &str| common::texts(&drawn.iter().find(|(n, _)| n == name).unwrap().1).join("\n");
    let places = |places: &[Place]| places.iter().flat_map(|place| metric::shown(*place)).collect::<Vec<_>>();
    in_order(
        &figure("errors"),
        places(&[Place::Errors, Place::CurrentErrors, Place::BeneathErrors]).iter().map(|metric| metric.heading),
    );
    in_order(
        &figure("losses"),
        places(&[Place::Losses, Place::Regularisers, Place::BeneathLosses]).iter().map(|metric| metric.heading),
    );
}

#[test]
fn language_models_show_what_the_table_says() {
    let all = || METRICS.iter().filter(|metric| !metric.by_layer).map(|metric| metric.name);
    let values = |n: u64| all().zip(1..).map(|(name, k)| (name, (k + n) as f64)).collect::<Values>();
    let info = |start: &str, parent| RunInfo {
        task: event::LM.into(),
        start: start.into(),
        parent,
        steps: 2,
        ..RunInfo::default()
    };
    let run = |name: &str, info: RunInfo| {
        let updates = (1..=2).flat_map(|step| {
            [
                Event::Step { step, tokens: step, values: values(step) },
                Event::Eval { step, tokens: step, set: "web".into(), values: values(step) },
            ]
        });
        RunSeries::from_events(name, std::iter::once(Event::Start(info)).chain(updates)).unwrap()
    };
    let first = run("first", info("random", None));
    let second = run("second", info("branch", Some(Parent { run: "first".into(), step: 2, tokens: 2 })));
    let (runs, options) = ([first, second], ReportOptions::default());
    let titles = |place| metric::shown(place).map(|metric| metric.title);
    in_order(&final_table(&runs, &options).unwrap().to_text(), titles(Place::Table));
    in_order(&stage_table(&runs, &options).unwrap().unwrap().to_text(), titles(Place::Stages));
    let drawn = report(&runs, &options).unwrap().figures;
    let figure = |name: &str| common::texts(&drawn.iter().find(|(n, _)| n == name).unwrap().1).join("\n");
    in_order(&figure("training"), titles(Place::Training));
    in_order(&figure("curves"), titles(Place::BeneathCurves));
}
