//! What Temper reports about text that it read.

use std::path::PathBuf;

use temper_base::numbers::{counted, thousands};
use temper_base::{Listener, Result};
use temper_data::{Note, Prepared, TokenSource};

/// How a recipe turns bad lines into errors.
pub const IN_RECIPES: &str = "data.bad_lines = \"error\"";
/// Fewer held-out documents make a loss that says little.
const FEW: u64 = 10;

/// Prints what should be known about a tokenizer or about inputs.
pub fn tell_notes(notes: &[Note], listener: &dyn Listener) {
    for note in notes {
        listener.warn(&note.what, Some(&note.hint));
    }
}

/// Prints what was left out or lost when text became tokens. `option` is how bad lines become errors here.
pub fn tell_prepared(prepared: &Prepared, name: &str, option: &str, listener: &dyn Listener) {
    tell_notes(&prepared.notes, listener);
    tell_skipped(&prepared.skipped, name, option, listener);
    let lost = prepared.train.lost + prepared.validation.as_ref().map_or(0, |info| info.lost);
    if lost > 0 {
        listener.warn(
            &format_args!(
                "{name}: the tokenizer cannot spell {} of the text, which are lost",
                counted(lost, "character")
            ),
            Some("a byte-level tokenizer spells every text; Temper gives no bits per byte for a text that is lost in part"),
        );
    }
    match &prepared.validation {
        Some(info) if info.documents < FEW && !prepared.cut_document => listener.warn(
            &format_args!(
                "{name}: only {} held out for validation, {} tokens: their loss says little about other text",
                counted(info.documents, "document"),
                thousands(info.tokens)
            ),
            Some("hold out more: a larger validation_fraction, or a separate validation set"),
        ),
        _ => {}
    }
}

/// Prints which lines were left out.
pub fn tell_skipped(skipped: &[temper_data::Skipped], name: &str, option: &str, listener: &dyn Listener) {
    for bad in skipped {
        let hint = format!("{option} stops at the first one");
        listener.warn(
            &format_args!(
                "{name}: left out {}: {} (first: {})",
                counted(bad.lines, "line"),
                bad.fault.words(),
                bad.first
            ),
            Some(&hint),
        );
    }
}

/// Prints what should be known about token files.
///
/// # Errors
/// A token file that cannot be opened.
pub fn tell_of_tokens<'p>(
    name: &str,
    paths: impl IntoIterator<Item = &'p PathBuf>,
    listener: &dyn Listener,
) -> Result<()> {
    for path in paths {
        let source = TokenSource::open(path)?;
        if let Some(note) = source.note() {
            listener.warn(&format_args!("{name}: {}: {}", path.display(), note.what), Some(&note.hint));
        }
        if source.lost_characters() > 0 {
            listener.warn(
                &format_args!(
                    "{name}: {}: {} of the text are not in the tokens: Temper gives no bits per byte",
                    path.display(),
                    counted(source.lost_characters(), "character")
                ),
                None,
            );
        }
    }
    Ok(())
}
