//! `temper eval RUN [--data NAME[=PATH]]... [--json]`

use serde_json::{Map, Value, json};
use temper::Ranks;
use temper_base::listener::Meter;
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_data::{EvalWindows, PrepareOptions, TokenSource};
use temper_lm::evaluate::{EvalSet, EvalSettings, evaluate_with, means_of_sets};
use temper_lm::reading;
use temper_lm::{open, text};
use temper_record::event::Values;
use temper_record::metric;
use temper_report::Table;

use crate::args::Eval;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::scratch::Scratch;

/// Runs the command. All ranks do this: each has its part of every set.
pub fn run(args: &Eval, ranks: &Ranks, printer: &Printer) -> Outcome {
    let device = ranks.agree(args.device.open(printer))?;
    let opened = ranks.agree_all(open::open(&args.model, &temper::SCHEMA, &device, printer))?;
    let trained = opened.run.as_ref().map(|(_, spec, _)| spec.seq_len);
    let longest = opened.model.config.max_seq;
    let seq_len = args.seq_len.map_or(trained.unwrap_or(longest.min(2048)), |n| n as usize);
    if seq_len > longest {
        let why = format!("{seq_len} is more than the {longest} tokens that the model was made for");
        return Err(Problem::input("evaluate", "--seq-len", why).into());
    }
    // Text given on the command line is tokenised into a temporary folder.
    let scratch = Scratch::default();
    let sets = ranks.agree_all(sets(args, &opened, &scratch, printer))?;
    let settings = EvalSettings { seq_len, rows: (8192 / seq_len).max(1), max_tokens: args.max_tokens };
    let mut rows: Vec<(String, Values)> = Vec::new();
    let mut scores = Vec::new();
    for set in &sets {
        printer.say(format_args!("evaluating on {}", set.name));
        let windows = EvalWindows::new(&set.source, seq_len, args.max_tokens)?;
        if windows.is_cut() {
            printer.warn(text::cut_words(&set.name, windows.tokens()), None);
        }
        let meter = Meter::begin(printer, "evaluating", windows.targets());
        let tell = |done| {
            meter.update(done, format_args!("{} of {} tokens", count(done as f64), count(meter.total() as f64)));
        };
        let score = evaluate_with(&opened.model, &set.source, settings, ranks.group(), &|| false, &tell)?
            .expect("nothing interrupts it");
        drop(meter);
        if !score.nats.is_finite() {
            let why = format!("the loss is {}", score.loss());
            return Err(Problem::training("evaluate", format!("{} on {}", args.model, set.name), why)
                .hint("the model has weights that are not finite")
                .into());
        }
        rows.push((set.name.clone(), score.values()));
        scores.push(score);
    }
    if scores.len() > 1 {
        rows.extend(means_of_sets(&scores).map(|(name, values)| (name.to_string(), values)));
    }
    if args.json {
        // As in metrics.jsonl, so that a number that is not finite is the same word everywhere.
        let sets: Map<String, Value> = rows.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
        let step = opened.run.as_ref().map(|(_, _, step)| *step);
        let result = json!({ "model": args.model, "step": step, "seq_len": seq_len, "sets": sets });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        let mut table = Table::new().text_column("set");
        for name in ["loss", "perplexity", "bits per byte", "tokens", "bytes"] {
            table = table.number_column("", name);
        }
        for (name, values) in &rows {
            let number = |name: &str| values.get(name).map_or_else(|| "-".into(), |value| metric::line(name, value));
            let whole = |name: &str| values.get(name).map_or_else(|| "-".into(), |value| format!("{value:.0}"));
            table.row([
                name.clone(),
                number("loss"),
                number("perplexity"),
                number("bits_per_byte"),
                whole("set_tokens"),
                whole("set_bytes"),
            ]);
        }
        printer.data(table.to_text().trim_end());
    }
    Ok(0)
}

/// The sets asked for: the run's own, or text and token files by path.
fn sets(args: &Eval, opened: &open::Opened, scratch: &Scratch, printer: &Printer) -> Result<Vec<EvalSet>, Problems> {
    let manifest = opened.run.as_ref().map(|(run, _, _)| text::Manifest::read(run)).transpose()?;
    let own = manifest.map(|manifest| manifest.sets).unwrap_or_default();
    let wanted =
        if args.data.is_empty() { own.iter().map(|set| set.name.clone()).collect() } else { args.data.clone() };
    if wanted.is_empty() {
        return Err(Problem::input("evaluate", &args.model, "there is no validation set to evaluate on")
            .hint("name one: --data law=corpus/law.jsonl.zst")
            .into());
    }
    let (mut sets, mut problems): (Vec<EvalSet>, Vec<Problem>) = (Vec::new(), Vec::new());
    for item in &wanted {
        let name = item.split('=').next().unwrap_or(item).to_string();
        if sets.iter().any(|set| set.name == name) {
            problems.push(Problem::input("evaluate", format!("--data {item}"), "the name is given twice"));
            continue;
        }
        if name.is_empty() || item.ends_with('=') {
            problems.push(Problem::input("evaluate", format!("--data {item}"), "expected NAME or NAME=PATH"));
            continue;
        }
        let source = match item.split_once('=') {
            Some((_, path)) => named(args, opened, &name, path, scratch, printer),
            None => match own.iter().find(|set| set.name == name) {
                Some(set) => TokenSource::open(&set.path)
                    .and_then(|source| source.verify_as(set.identity.as_ref()).map(|_| source))
                    .map_err(Into::into),
                None => {
                    let names: Vec<_> = own.iter().map(|set| set.name.as_str()).collect();
                    let hint = if names.is_empty() {
                        "write NAME=PATH".into()
                    } else {
                        format!("it has {}; or write NAME=PATH", names.join(", "))
                    };
                    Err(Problem::input("evaluate", format!("--data {item}"), "the run has no set of this name")
                        .hint(hint)
                        .into())
                }
            },
        };
        match source {
            Ok(mut source) => {
                opened.require(&mut source)?;
                if let Some(tokenizer) = &opened.tokenizer
                    && let Err(problem) = source.ends_as(tokenizer.vocabulary())
                {
                    printer.warn(&problem, None);
                }
                sets.push(EvalSet { name, source });
            }
            Err(mut more) => problems.append(&mut more.0),
        }
    }
    if problems.is_empty() { Ok(sets) } else { Err(problems.into()) }
}

fn named(
    args: &Eval,
    opened: &open::Opened,
    name: &str,
    path: &str,
    scratch: &Scratch,
    printer: &Printer,
) -> Result<TokenSource, Problems> {
    let path = match text::find_data(&[path.to_string()])? {
        text::Named::Tokens(train, validation) => {
            let path = validation.unwrap_or(train);
            reading::tell_of_tokens(name, [&path], printer)?;
            path
        }
        text::Named::Text(inputs) => {
            let tokenizer = open::need_tokenizer(opened, &args.model)?;
            let read = crate::reading::read_options(&args.text_key, args.bad_lines);
            let options = PrepareOptions { validation_fraction: 0.0, read, ..PrepareOptions::default() };
            let folder = scratch.folder()?;
            text::tokenise_with(name, &inputs, tokenizer, &folder, &options, crate::reading::ON_THE_LINE, printer)?.0
        }
    };
    let source = TokenSource::open(&path)?;
    source.verify()?;
    Ok(source)
}
