//! `temper sample RUN --prompt TEXT`

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;

use temper_base::Problem;
use temper_base::problem::visible;
use temper_lm::open;
use temper_lm::sample::{Sampling, generate};

use crate::args::Sample;
use crate::printer::{Printer, lost_output};
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Sample, printer: &Printer) -> Outcome {
    let wrong = |flag: &str, why: &str| Problem::input("sample", flag, why).into();
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return Err(wrong("--temperature", "must be 0 or above"));
    }
    if !(args.top_p > 0.0 && args.top_p <= 1.0) {
        return Err(wrong("--top-p", "must be above 0 and at most 1"));
    }
    let opened = open::open(&args.model, &temper::SCHEMA, &args.device.open(printer)?, printer)?;
    let tokenizer = open::need_tokenizer(&opened, &args.model)?;
    let config = &opened.model.config;
    let context = match &opened.run {
        Some((_, spec, _)) => spec.seq_len,
        None => config.max_seq,
    };
    let mut prompt = tokenizer.encode(&args.prompt)?;
    if prompt.is_empty() {
        // What a model has seen before the beginning of a document is the end of another.
        prompt.push(tokenizer.eod());
    }
    let vocabulary = (tokenizer.vocab_size() as usize).min(config.vocab_size);
    if prompt.iter().any(|&id| id as usize >= config.vocab_size) {
        return Err(Problem::input("sample", &args.model, "the tokenizer has more tokens than the model").into());
    }
    let beyond = (prompt.len() + args.tokens).saturating_sub(context + 1);
    if beyond > 0 {
        let why = match &opened.run {
            Some(_) => "the run's data.seq_len",
            None => "the positions that the model was made for",
        };
        printer.say(format_args!(
            "a prompt of {} tokens and {} more are longer than {context} tokens, {why}: beyond them, each token is chosen by \
             the last {context} alone",
            prompt.len(),
            args.tokens
        ));
    }
    let settings = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed };
    // Whole characters only: a character may be several tokens, so text is shown up to the last whole one.
    let mut shown = String::new();
    let mut written = Vec::new();
    let mut out = std::io::stdout();
    // A model may have learned sequences that a terminal obeys. Whatever else reads the text gets it as it is.
    let terminal = out.is_terminal();
    let mut show = |text: &str| {
        let text = if terminal { visible(text) } else { text.into() };
        write!(out, "{text}").and_then(|()| out.flush())
    };
    if let Err(cause) = show(&args.prompt) {
        return unread(&cause);
    }
    let mut broken = None;
    let mut failed = None;
    let generated = generate(&opened.model, &prompt, args.tokens, context, vocabulary, &settings, |token| {
        if token == tokenizer.eod() {
            return ControlFlow::Break(());
        }
        written.push(token);
        match tokenizer.decode(&written) {
            Err(problem) => failed = Some(problem),
            Ok(text) if text.ends_with('\u{fffd}') => {}
            Ok(text) => {
                broken = show(text.get(shown.len()..).unwrap_or_default()).err();
                shown = text;
            }
        }
        if failed.is_some() || broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(cause) = broken.or_else(|| show("\n").err()) {
        return unread(&cause);
    }
    generated?;
    failed.map_or(Ok(0), |problem| Err(problem.into()))
}

/// Text that could not be written: no error where the reader has gone away (`| head`).
fn unread(cause: &std::io::Error) -> Outcome {
    match cause.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(lost_output(cause).into()),
    }
}
