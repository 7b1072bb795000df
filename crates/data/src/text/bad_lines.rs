//! Lines that hold no text that can be used, and what becomes of them: one option for all of their kinds.
//!
//! | kind | example |
//! |---|---|
//! | [`Fault::NotUtf8`] | a byte of Latin-1 in any line |
//! | [`Fault::LoneSurrogate`] | `{"text": "cut \ud83d"}`: half of a character, as a cut emoji leaves it |
//! | [`Fault::NoKey`] | `{"body": "..."}` where the text is under `text` |
//! | [`Fault::Null`] | `{"text": null}` |
//! | [`Fault::NotText`] | `{"text": 7}`, `{"text": ["a", "b"]}` |
//!
//! With [`BadLines::Skip`] they are left out and counted by kind, each kind with the file and line where it first occurred. A file half of
//! whose lines are bad, or whose first [`AT_ONCE`] lines all are, is an error all the same: it is no corpus, or is read under the wrong
//! key. A line that is not JSON, or no object, is an error always: such a file is damaged or no JSON lines.

use std::collections::BTreeMap;

/// If a file begins with this many bad lines and no good one, Temper stops reading it.
pub const AT_ONCE: u64 = 10_000;

/// What to do with a line that holds no text that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadLines {
    /// Leave the line out and count it.
    #[default]
    Skip,
    /// Stop with an error that names file and line.
    Error,
}

temper_base::names!(BadLines { Skip = "skip", Error = "error" });

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its bytes are not UTF-8.
    NotUtf8,
    /// The text holds an escape for half of a character.
    LoneSurrogate,
    /// The object does not have the key.
    NoKey,
    /// The text is null.
    Null,
    /// What is under the key is no string.
    NotText,
}

impl Fault {
    /// What is wrong, in words that fit after "left out 3 lines:".
    pub fn words(self) -> &'static str {
        match self {
            Fault::NotUtf8 => "not UTF-8",
            Fault::LoneSurrogate => "half of a surrogate pair in the text",
            Fault::NoKey => "no such key",
            Fault::Null => "the text is null",
            Fault::NotText => "the value of the key is not a string",
        }
    }

    /// What to do about it, where lines of such a fault have these keys.
    pub(super) fn remedy(self, keys: &[String]) -> String {
        let remedy = match self {
            Fault::NotUtf8 => "convert the file, for example `iconv -f LATIN1 -t UTF-8`",
            Fault::LoneSurrogate => {
                return "half of an emoji, cut by whatever wrote the file: write it with whole characters".into();
            }
            Fault::NoKey if keys.is_empty() => "the object is empty",
            Fault::NoKey | Fault::Null | Fault::NotText => {
                "name the key whose value is the text, a string; `data.text` is the key `text` inside `data`"
            }
        };
        if keys.is_empty() { remedy.into() } else { format!("keys here are: {}; {remedy}", keys.join(", ")) }
    }
}

/// The bad lines of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What is wrong with them.
    pub fault: Fault,
    /// How many there are.
    pub lines: u64,
    /// The first one: file and line.
    pub first: String,
}

/// Counts bad lines by kind.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Fault, Skipped>);

impl Tally {
    pub fn add(&mut self, fault: Fault, place: impl FnOnce() -> String) {
        self.0.entry(fault).or_insert_with(|| Skipped { fault, lines: 0, first: place() }).lines += 1;
    }

    pub fn all(&self) -> Vec<Skipped> {
        self.0.values().cloned().collect()
    }
}
