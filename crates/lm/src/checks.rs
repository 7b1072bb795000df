//! What is wrong with a recipe of a language model before anything is written. A start refuses it, and so does the plan of that
//! start: both ask here.

use std::path::Path;

use temper_base::{Problems, Result};
use temper_data::Tokenizer;
use temper_recipe::Origin;
use temper_record::Checkpoint;
use temper_train::run::Limits;

use crate::spec::LmSpec;
use crate::text;

/// The tokenizer of a run that is no branch: the one that the recipe names, or the one beside its first weights (`own`); and what to
/// warn of. A tokenizer that is not the one beside the weights is refused unless the recipe allows it: where the
/// vocabularies have one size, every other check lets it pass, and each token means something else.
pub(crate) fn tokenizer(spec: &LmSpec, own: Option<&Path>) -> Result<(Tokenizer, Option<String>), Problems> {
    match (&spec.texts.tokenizer, own) {
        (Some(name), own) => {
            let tokenizer = text::tokenizer(name, spec.texts.eod.as_deref())?;
            let warning = own.map(|own| belongs(spec, &tokenizer, own)).transpose()?.flatten();
            Ok((tokenizer, warning))
        }
        (None, Some(path)) => Ok((Tokenizer::from_file(path, spec.texts.eod.as_deref())?, None)),
        (None, None) => Err(spec
            .problem("data.tokenizer", "it is not set")
            .hint("the path of a tokenizer.json, or builtin:demo; training a tokenizer makes one")
            .into()),
    }
}

fn belongs(spec: &LmSpec, tokenizer: &Tokenizer, own: &Path) -> Result<Option<String>, Problems> {
    // A file that cannot be read says nothing about the weights.
    let Ok(own_tokenizer) = Tokenizer::from_file(own, spec.texts.eod.as_deref()) else { return Ok(None) };
    if tokenizer.fingerprint() == own_tokenizer.fingerprint() {
        return Ok(None);
    }
    let short = |tokenizer: &Tokenizer| {
        let fingerprint: String = tokenizer.fingerprint().chars().take(16).collect();
        format!("{fingerprint}, {} ids", tokenizer.vocab_size())
    };
    let why = format!(
        "it is not the tokenizer of the weights: its fingerprint is {}, that of {} is {}",
        short(tokenizer),
        own.display(),
        short(&own_tokenizer)
    );
    if spec.other_tokenizer {
        return Ok(Some(format!("data.tokenizer: {why}")));
    }
    Err(spec
        .problem("data.tokenizer", why)
        .hint("leave data.tokenizer out, or set data.other_tokenizer = true if you want this one")
        .into())
}

/// The tokenizer of a branch: its base's, whose weights and sets belong to it.
pub(crate) fn branch_tokenizer(spec: &LmSpec, base: &Checkpoint) -> Result<Tokenizer, Problems> {
    let eod = spec.texts.eod.as_deref();
    let own = || base.file("tokenizer.json").and_then(|path| Tokenizer::from_file(&path, eod));
    let tokenizer = match &spec.texts.tokenizer {
        // The base's own name for it, or none: the run has a copy.
        None => return Ok(own()?),
        Some(_) if matches!(spec.tokenizer_origin(), Origin::Base(_) | Origin::Default) => return Ok(own()?),
        Some(name) => text::tokenizer(name, eod)?,
    };
    if tokenizer.fingerprint() == own()?.fingerprint() {
        return Ok(tokenizer);
    }
    let why = "is not the tokenizer of the base run: its weights and its sets belong to that one";
    Err(spec.problem("data.tokenizer", why).hint("leave data.tokenizer out: a branch keeps the base run's").into())
}

/// Refuses sequences longer than the weights have positions for, unless the recipe allows it, which gives a warning.
pub(crate) fn check_positions(spec: &LmSpec, positions: usize, from: &str) -> Result<Option<String>, Problems> {
    let seq_len = spec.seq_len;
    if seq_len <= positions {
        return Ok(None);
    }
    let why = format!("{seq_len} is more than the {positions} tokens that the model of {from} was made for");
    if spec.beyond_positions {
        return Ok(Some(format!("data.seq_len: {why}; Temper gives it {seq_len} positions")));
    }
    let hint =
        format!("data.seq_len = {positions}, or data.beyond_positions = true to train positions it has never seen");
    Err(spec.problem("data.seq_len", why).hint(hint).into())
}

/// Lengths that do not resolve, and paths where there is nothing.
pub(crate) fn lengths_and_paths(spec: &LmSpec, limits: Limits) -> Result<(), Problems> {
    // Epochs need the data; every other length can be checked now.
    let probe = spec.lengths(Some(1 << 40), limits.max_steps);
    let sources = spec.texts.sources.iter().map(|source| (source.key(), &source.paths));
    let sets = spec.texts.validation.iter().map(|set| (set.key(), &set.paths));
    let mut problems = probe.err().map(|problems| problems.0).unwrap_or_default();
    for (key, paths) in sources.chain(sets) {
        for path in paths {
            let pattern = path.contains(['*', '?', '[']);
            let pair = Path::new(&format!("{path}.idx")).exists();
            if !path.starts_with("builtin:") && !pattern && !pair && !Path::new(path).exists() {
                problems.push(spec.problem(&key, format!("{path}: no such file or directory")).hint(
                    "paths are relative to the current directory; scripts/corpora.py makes the corpora of the built-in recipes",
                ));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// Refuses to choose the best checkpoint by a validation set that is not among `sets`.
pub(crate) fn keep_best(spec: &LmSpec, sets: &[&str]) -> Result<(), Problems> {
    match &spec.keep_best {
        Some(best) if !sets.contains(&best.as_str()) => {
            let hint = match sets {
                [] => "leave it out, or name a set: data.validation.NAME.path, data.validation_fraction".to_owned(),
                sets => format!("there are {}", sets.join(", ")),
            };
            Err(spec.problem("checkpoint.keep_best", format!("there is no validation set {best}")).hint(hint).into())
        }
        _ => Ok(()),
    }
}
