//! What is wrong with a recipe of a language model before anything is written. A start refuses it, and so does the plan of that
//! start: both ask here.

use std::path::Path;

use temper_base::{Problems, Result};
use temper_data::Tokenizer;
use temper_recipe::{Origin, Recipe};
use temper_record::Checkpoint;
use temper_train::lengths::Lengths;
use temper_train::run::Limits;

use crate::text;

/// The tokenizer of a run that is no branch: the one that the recipe names, or the one beside its first weights (`own`); and what to
/// warn of. A tokenizer that is not the one beside the weights is refused unless the recipe allows it: where the
/// vocabularies have one size, every other check lets it pass, and each token means something else.
pub fn tokenizer(recipe: &Recipe, own: Option<&Path>) -> Result<(Tokenizer, Option<String>), Problems> {
    let eod = recipe.opt("data.eod", Recipe::text)?;
    match (recipe.opt("data.tokenizer", Recipe::text)?, own) {
        (Some(name), own) => {
            let tokenizer = text::tokenizer(&name, eod.as_deref())?;
            let warning = own.map(|own| belongs(recipe, &tokenizer, own)).transpose()?.flatten();
            Ok((tokenizer, warning))
        }
        (None, Some(path)) => Ok((Tokenizer::from_file(path, eod.as_deref())?, None)),
        (None, None) => Err(recipe
            .problem("data.tokenizer", "it is not set")
            .hint("the path of a tokenizer.json, or builtin:demo; `temper data train-tokenizer` makes one")
            .into()),
    }
}

fn belongs(recipe: &Recipe, tokenizer: &Tokenizer, own: &Path) -> Result<Option<String>, Problems> {
    // A file that cannot be read says nothing about the weights.
    let eod = recipe.opt("data.eod", Recipe::text)?;
    let Ok(own_tokenizer) = Tokenizer::from_file(own, eod.as_deref()) else { return Ok(None) };
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
    if recipe.opt("data.other_tokenizer", Recipe::bool)? == Some(true) {
        return Ok(Some(format!("data.tokenizer: {why}")));
    }
    Err(recipe
        .problem("data.tokenizer", why)
        .hint("leave data.tokenizer out, or set data.other_tokenizer = true if you want this one")
        .into())
}

/// The tokenizer of a branch: its base's, whose weights and sets belong to it.
pub fn branch_tokenizer(recipe: &Recipe, base: &Checkpoint) -> Result<Tokenizer, Problems> {
    let eod = recipe.opt("data.eod", Recipe::text)?;
    let own = || base.file("tokenizer.json").and_then(|path| Tokenizer::from_file(&path, eod.as_deref()));
    let tokenizer = match recipe.opt("data.tokenizer", Recipe::text)? {
        // The base's own name for it, or none: the run has a copy.
        None => return Ok(own()?),
        Some(_) if matches!(recipe.origin("data.tokenizer"), Origin::Base(_) | Origin::Default) => return Ok(own()?),
        Some(name) => text::tokenizer(&name, eod.as_deref())?,
    };
    if tokenizer.fingerprint() == own()?.fingerprint() {
        return Ok(tokenizer);
    }
    let why = "is not the tokenizer of the base run: its weights and its sets belong to that one";
    Err(recipe.problem("data.tokenizer", why).hint("leave data.tokenizer out: a branch keeps the base run's").into())
}

/// Refuses sequences longer than the weights have positions for, unless the recipe allows it, which gives a warning.
pub fn positions(recipe: &Recipe, positions: usize, from: &str) -> Result<Option<String>, Problems> {
    let seq_len = recipe.usize("data.seq_len")?;
    if seq_len <= positions {
        return Ok(None);
    }
    let why = format!("{seq_len} is more than the {positions} tokens that the model of {from} was made for");
    if recipe.opt("data.beyond_positions", Recipe::bool)? == Some(true) {
        return Ok(Some(format!("data.seq_len: {why}; Temper gives it {seq_len} positions")));
    }
    let hint =
        format!("data.seq_len = {positions}, or data.beyond_positions = true to train positions it has never seen");
    Err(recipe.problem("data.seq_len", why).hint(hint).into())
}

/// Lengths that do not resolve, and paths where there is nothing.
pub fn lengths_and_paths(recipe: &Recipe, limits: Limits) -> Result<(), Problems> {
    // Epochs need the data; every other length can be checked now.
    let probe = Lengths::resolve(recipe, Some(1 << 40), limits.max_steps);
    let sources = recipe.names("data.train").into_iter().map(|name| format!("data.train.{name}.path"));
    let sets = recipe.names("data.validation").into_iter().map(|name| format!("data.validation.{name}.path"));
    let mut problems = probe.err().map(|problems| problems.0).unwrap_or_default();
    for key in sources.chain(sets) {
        for path in recipe.texts(&key)? {
            let pattern = path.contains(['*', '?', '[']);
            let pair = Path::new(&format!("{path}.idx")).exists();
            if !path.starts_with("builtin:") && !pattern && !pair && !Path::new(&path).exists() {
                problems.push(recipe.problem(&key, format!("{path}: no such file or directory")).hint(
                    "paths are relative to the current directory; scripts/corpora.py makes the corpora of the built-in recipes",
                ));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// Refuses to choose the best checkpoint by a validation set that is not among `sets`.
pub fn keep_best(recipe: &Recipe, sets: &[&str]) -> Result<(), Problems> {
    match recipe.opt("checkpoint.keep_best", Recipe::text)? {
        Some(best) if !sets.contains(&best.as_str()) => {
            let hint = match sets {
                [] => "leave it out, or name a set: data.validation.NAME.path, data.validation_fraction".to_owned(),
                sets => format!("there are {}", sets.join(", ")),
            };
            Err(recipe.problem("checkpoint.keep_best", format!("there is no validation set {best}")).hint(hint).into())
        }
        _ => Ok(()),
    }
}
