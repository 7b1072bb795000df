//! `temper demo`: the main job in small, on real text inside the binary.
//!
//! A small model is pre-trained on English, then goes on on German with a re-warmed learning rate and
//! with a constant low one; a control starts on German from fresh weights. All four are judged on both
//! texts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use temper_data::PrepareOptions;
use temper_recipe::Recipe;
use temper_record::console::duration;
use temper_record::run::RunDir;
use temper_record::{Problem, RunSeries};
use temper_report::{ReportOptions, final_table, report, sentence};

use crate::args::Demo;
use crate::builtin::{self, LIBRARY};
use crate::lm::console::Signals;
use crate::lm::start;
use crate::lm::text;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::Limits;

/// Runs the command.
pub fn run(args: &Demo, printer: &Printer) -> Outcome {
    let clock = Instant::now();
    let signals = Signals::listen()?;
    let out = folder(args.out.as_deref())?;
    printer.say(format_args!(
        "English (World English Bible), then German (federal law): four runs in {}\n",
        out.display()
    ));

    // Both texts are tokenised once; every run is judged on the same held-out documents of both.
    let tokenizer = text::tokenizer("builtin:demo")?;
    for (name, source) in [("english", "web"), ("german", "law")] {
        let input = builtin::text(source).expect("a built-in text");
        let options = PrepareOptions { validation_fraction: 0.05, seed: 1, ..PrepareOptions::default() };
        text::tokenise(name, &[input], &tokenizer, &out.join("data").join(name), &options, printer)?;
    }
    let data = |name: &str, file: &str| out.join("data").join(name).join(file).display().to_string();
    let train_on = |name: &str| format!("data.train.{name}.path={:?}", data(name, "train.tokens"));
    let judge_on = |name: &str| format!("data.validation.{name}.path={:?}", data(name, "validation.tokens"));

    let limits = Limits { max_steps: args.max_steps, max_time: None };
    let runs = [("english", "english"), ("rewarmed", "german"), ("constant", "german"), ("scratch", "german")];
    let base = out.join("english");
    for (name, language) in runs {
        let source = format!("demo/{name}");
        let sets = [train_on(language), judge_on("english"), judge_on("german"), format!("seed={}", args.seed)];
        let recipe = Recipe::load(&source, &sets, &LIBRARY)?;
        printer.say(format_args!("\n{}", about(name)));
        let started = match recipe.is_set("base") {
            false => start::train(recipe, &source, &out.join(name), limits, printer)?,
            true => start::branch(recipe, &source, &base.display().to_string(), &out.join(name), limits, printer)?,
        };
        let code = started.go(name, &signals, printer)?;
        if code != 0 {
            return Ok(code);
        }
    }

    let series = runs
        .iter()
        .map(|(name, _)| RunSeries::read(&RunDir::open(out.join(name))?))
        .collect::<Result<Vec<_>, Problem>>()?;
    let options = ReportOptions {
        title: "Temper demo: English, then German".into(),
        old: Some("english".into()),
        new: Some("german".into()),
        ..ReportOptions::default()
    };
    printer.say("");
    printer.data(final_table(&series, &options)?.to_text().trim_end());
    if let Some(sentence) = sentence(&series, &options) {
        printer.data(format_args!("\n{sentence}"));
    }
    let page = report(&series, &options)?.write(&out)?;
    printer.data(format_args!("\nreport: {}", page.display()));
    printer.say(format_args!(
        "\n{} in all. Read what the model writes: temper sample {} --prompt \"Das Gesetz\"",
        duration(clock.elapsed().as_secs_f64()),
        out.join("rewarmed").display()
    ));
    Ok(0)
}

fn about(name: &str) -> &'static str {
    match name {
        "english" => "english: a model learns English from nothing",
        "rewarmed" => "rewarmed: it goes on on German, the learning rate warmed up again",
        "constant" => "constant: it goes on on German at the low learning rate it ended with",
        _ => "scratch: a new model learns the same German from nothing",
    }
}

/// The folder that was asked for, or the first free one of `temper-demo`, `temper-demo-2`, ...
fn folder(asked: Option<&Path>) -> Outcome<PathBuf> {
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
