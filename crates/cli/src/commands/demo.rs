//! `temper demo`: both of Temper's jobs at a small scale, on real data inside the binary.
//!
//! First, continual pre-training. A small model is pre-trained on English, then continues on German with a re-warmed learning rate and
//! with a constant low one; a control starts on German from fresh weights. All four are evaluated on both
//! texts. Then, certified training: the same small classifier is trained with vanilla interval bounds and with the
//! method of arXiv 2103.17268 on the same schedule.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use temper::{Limits, Ranks, Session};
use temper_base::numbers::duration;
use temper_base::problem::pasted;
use temper_base::{Problem, Problems, Result};
use temper_certify as certify;
use temper_certify::layers::look_at_layers;
use temper_data::PrepareOptions;
use temper_data::builtin;
use temper_lm::text;
use temper_model::Classifier;
use temper_model::image::{ImageInit, Statistics};
use temper_record::RunSeries;
use temper_record::run::RunDir;
use temper_report::{Extra, InitGains, ReportOptions, final_table, gain_table, report, sentence};
use temper_train::spec::{self, Spec};

use crate::args::Demo;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run;

/// The runs of the second story.
const CLASSIFIERS: [&str; 2] = ["vanilla", "fast"];

/// Runs the command.
pub fn run(args: &Demo, printer: &Printer) -> Outcome {
    let clock = Instant::now();
    let signals = Signals::listen()?;
    let out = folder(args.out.as_deref())?;
    printer.say(format_args!(
        "first story: English (World English Bible), then German (federal law); four runs in {}\n",
        out.display()
    ));

    // Both texts are tokenised once; every run is evaluated on the same held-out documents of both.
    let tokenizer = text::tokenizer("builtin:demo", None)?;
    for (name, source) in [("english", "web"), ("german", "law")] {
        let input = builtin::text(source).expect("a built-in text");
        let options = PrepareOptions { validation_fraction: 0.05, seed: 1, ..PrepareOptions::default() };
        text::tokenise(name, &[input], &tokenizer, &out.join("data").join(name), &options, printer)?;
    }
    let data = |name: &str, file: &str| out.join("data").join(name).join(file).display().to_string();
    let train_on = |name: &str| format!("data.train.{name}.path={:?}", data(name, "train.tokens"));
    let judge_on = |name: &str| format!("data.validation.{name}.path={:?}", data(name, "validation.tokens"));

    let device = temper::device();
    let limits = Limits { max_steps: args.max_steps, deadline: None };
    let session = Session { limits, device: &device, listener: printer, ranks: &Ranks::alone() };
    let runs = [("english", "english"), ("rewarmed", "german"), ("constant", "german"), ("scratch", "german")];
    let base = out.join("english");
    for (name, language) in runs {
        let sets = [train_on(language), judge_on("english"), judge_on("german"), format!("seed={}", args.seed)];
        let recipe = temper::recipe(&format!("demo/{name}"), &sets)?;
        printer.say(format_args!("\n{}", about(name)));
        let run = if spec::base_of(&recipe)?.is_some() {
            temper::branch(recipe, &base.display().to_string(), &out.join(name), session)?
        } else {
            temper::train(recipe, &out.join(name), session)?
        };
        let code = run::train_to_end(run, name, &signals, printer)?;
        if code != 0 {
            return Ok(code);
        }
    }

    let texts = read(&out, &runs.map(|(name, _)| name))?;
    let text_options =
        ReportOptions { old: Some("english".into()), new: Some("german".into()), ..ReportOptions::default() };
    printer.say("");
    tell(&texts, &text_options, printer)?;

    printer.say(format_args!("\n\nsecond story: Fashion-MNIST with certificates; two runs in {}", out.display()));
    for name in CLASSIFIERS {
        let recipe = temper::recipe(&format!("demo/{name}"), &[format!("seed={}", args.seed)])?;
        printer.say(format_args!("\n{}", about(name)));
        let code = run::train_to_end(temper::train(recipe, &out.join(name), session)?, name, &signals, printer)?;
        if code != 0 {
            return Ok(code);
        }
    }
    let classifiers = read(&out, &CLASSIFIERS)?;
    let labels = vec![("fast".into(), "the paper's method".into()), ("vanilla".into(), "vanilla IBP".into())];
    let gains = gains(args.seed, &device)?;
    let options = ReportOptions { labels, ..text_options };
    printer.say("");
    tell(&classifiers, &options, printer)?;
    printer.data(format_args!("\n{}\n\n{}", gains.heading, gains.table.to_text().trim_end()));
    printer.say(format_args!("\n{}", gains.note));

    let title = "Temper demo: English, then German; and clothes with certificates".into();
    let all: Vec<RunSeries> = texts.into_iter().chain(classifiers).collect();
    let page = report(&all, &ReportOptions { title, extra: vec![gains], ..options })?.write(&out)?;
    printer.data(format_args!("\nreport: {}", page.display()));
    printer.say(format_args!(
        "\n{} in all. Read what the model writes: temper sample {} --prompt \"Das Gesetz\"",
        duration(clock.elapsed().as_secs_f64()),
        pasted(out.join("rewarmed").display())
    ));
    Ok(0)
}

/// The records of these runs.
fn read(out: &Path, names: &[&str]) -> Result<Vec<RunSeries>, Problem> {
    names.iter().map(|name| RunSeries::read(&RunDir::open(out.join(name))?)).collect()
}

/// The table of the runs, and what it says in a sentence.
fn tell(series: &[RunSeries], options: &ReportOptions, printer: &Printer) -> Result<(), Problem> {
    printer.data(final_table(series, options)?.to_text().trim_end());
    if let Some(sentence) = sentence(series, options) {
        printer.data(format_args!("\n{sentence}"));
    }
    Ok(())
}

/// The difference gains of the demo's network with both kinds of first weights.
fn gains(seed: u64, device: &Device) -> Result<Extra, Problems> {
    let mut recipe = temper::recipe("demo/fast", &[format!("seed={seed}")])?;
    certify::spec::fill_method(&mut recipe)?;
    let spec = certify::spec::CertifySpec::read(&recipe)?;
    let data = certify::images::open(&spec)?;
    let eps = spec.target()?;
    let config = certify::start::fresh_network(&spec, &data, device)?.config;
    let mut layers = Vec::new();
    let inits = [("default", ImageInit::Default), ("IBP", ImageInit::Ibp)].map(|(name, init)| {
        let net = Classifier::new(config.clone(), init, seed, device);
        let rows = look_at_layers(&net, &data.test, 256, eps, Statistics::Batch, device);
        layers = rows.iter().map(|row| row.layer.clone()).collect();
        InitGains {
            init: name.into(),
            before: rows.iter().map(|row| Some(row.gain)).collect(),
            after: rows.iter().map(|row| Some(row.gain_after)).collect(),
        }
    });
    Ok(Extra {
        heading: "Difference gain of each layer, fresh weights".into(),
        table: gain_table(&layers, &inits),
        note: "How much wider the intervals are behind a layer than before it. The IBP initialisation makes it 1 (the first \
               layer reads pixels that no ReLU has halved); batch norm takes the scale of the weights out again."
            .into(),
    })
}

fn about(name: &str) -> &'static str {
    match name {
        "english" => "english: a model learns English from nothing",
        "rewarmed" => "rewarmed: it continues on German, with the learning rate warmed up again",
        "constant" => "constant: it continues on German, at the low learning rate it ended with",
        "vanilla" => "vanilla: a classifier of seven layers learns with interval bounds alone",
        "fast" => "fast: the same with the paper's initialisation and its two warmup regularisers",
        _ => "scratch: a new model learns the same German from nothing",
    }
}

/// The folder that was asked for, or the first free one of `temper-demo`, `temper-demo-2`, ...
fn folder(asked: Option<&Path>) -> Result<PathBuf, Problems> {
    let candidates: Vec<PathBuf> = match asked {
        Some(path) => vec![path.to_owned()],
        None => (1..1000)
            .map(|n| if n == 1 { "temper-demo".into() } else { PathBuf::from(format!("temper-demo-{n}")) })
            .collect(),
    };
    for path in candidates {
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists && asked.is_none() => {}
            Err(cause) => {
                return Err(Problem::io("make folder", &path, &cause).hint("choose a new folder with --out").into());
            }
        }
    }
    Err(Problem::input("make folder", "temper-demo", "there are a thousand of them")
        .hint("choose one with --out")
        .into())
}
