//! The one shape of every error that reaches a user: `what: where: why`, then a `hint:` line.
//!
//! A caller that has to tell one error from another reads its [`code`](Problem::code), not its words. `docs/errors.md` lists every code.
//! Remedies below the command line are in words that hold for any caller; the program puts its commands and options in their place.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// Whose fault it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's input: flag, recipe, path, file format. Exit code 2.
    Input,
    /// Training failed: non-finite loss or gradient, divergence. Exit code 3.
    Training,
    /// The machine: disk full, permission, out of memory, I/O error. Exit code 4.
    Machine,
}

impl Kind {
    /// Its name in codes: `input`, `training` or `machine`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::Training => "training",
            Kind::Machine => "machine",
        }
    }

    /// The exit code of the process for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Input => 2,
            Kind::Training => 3,
            Kind::Machine => 4,
        }
    }
}

/// An error a person can act on. Shown as `what: place: why`, with the remedy on a separate line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}: {}", shown(what), shown(place), shown(why))]
pub struct Problem {
    /// Whose fault it is.
    pub kind: Kind,
    /// What Temper was doing, e.g. `read tokens`: a constant of the program, because the code is made of it.
    pub what: &'static str,
    /// Where: a path, a path with a line, a recipe key.
    pub place: String,
    /// Why it failed.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A text from outside as it may be shown: control characters, which could move the cursor or rewrite a line of the terminal, are
/// escaped, and what is longer than anyone reads is cut in its middle.
pub fn shown(text: &str) -> String {
    const HEAD: usize = 900;
    const TAIL: usize = 300;
    let length = text.chars().count();
    if length <= HEAD + TAIL {
        return visible(text).into_owned();
    }
    let head: String = text.chars().take(HEAD).collect();
    let tail: String = text.chars().skip(length - TAIL).collect();
    format!("{} … ({length} characters in all) … {}", visible(&head), visible(&tail))
}

/// A text whose control characters, but for line breaks and tabs, are escaped as `\u{1b}`; so are the marks that turn the
/// direction of writing.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// A path or another word from outside, quoted so that a shell reads it as one word, for hints that name a command. It becomes `./-name`
/// where a command would read it as an option.
pub fn pasted(word: impl Display) -> String {
    let mut word = word.to_string();
    if word.starts_with('-') {
        word.insert_str(0, "./");
    }
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if word.chars().any(char::is_control) {
        // As bash and zsh write characters that cannot be seen.
        let seen = |c: char| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if c.is_ascii_control() => format!("\\x{:02x}", c as u32),
            c => c.to_string(),
        };
        format!("$'{}'", word.chars().map(seen).collect::<String>())
    } else if word.is_empty() || !word.chars().all(plain) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word
    }
}

/// Result with a [`Problem`].
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    fn new(kind: Kind, what: &'static str, place: impl Display, why: impl Display) -> Self {
        Self { kind, what, place: place.to_string(), why: why.to_string(), hint: None }
    }

    /// The user's input is wrong (exit code 2).
    pub fn input(what: &'static str, place: impl Display, why: impl Display) -> Self {
        Self::new(Kind::Input, what, place, why)
    }

    /// Training failed (exit code 3).
    pub fn training(what: &'static str, place: impl Display, why: impl Display) -> Self {
        Self::new(Kind::Training, what, place, why)
    }

    /// The machine failed (exit code 4).
    pub fn machine(what: &'static str, place: impl Display, why: impl Display) -> Self {
        Self::new(Kind::Machine, what, place, why)
    }

    /// The system gives no more threads.
    pub fn no_threads(wanted: usize, cause: impl Display) -> Self {
        let hint = "ask for fewer, end other programs, or raise the limit (`ulimit -u`, or that of the container)";
        Self::machine("start threads", format_args!("{wanted} of them"), cause).hint(hint)
    }

    /// An I/O error at `path`: a path that is missing or not what it should be is the user's input,
    /// anything else (full disk, permission, hardware) is the machine.
    pub fn io(what: &'static str, path: impl AsRef<Path>, cause: &io::Error) -> Self {
        use io::ErrorKind::*;
        let kind = match cause.kind() {
            NotFound | InvalidData | InvalidInput | UnexpectedEof | NotADirectory | IsADirectory | AlreadyExists
            | ResourceBusy => Kind::Input,
            _ => Kind::Machine,
        };
        let problem = Self::new(kind, what, path.as_ref().display(), cause);
        match cause.kind() {
            ResourceBusy => problem.hint("wait for the other process or stop it, or choose another place"),
            StorageFull | QuotaExceeded => problem.hint("make room there, or choose another place"),
            _ => problem,
        }
    }

    /// What kind of error in which action, as `input/read-tokens`: the same in every version, whatever the message says. Errors of one
    /// code differ in place and cause. `docs/errors.md` lists all codes.
    ///
    /// ```
    /// use std::{io, path::Path};
    /// use temper_base::Problem;
    ///
    /// let cause = io::Error::from(io::ErrorKind::NotFound);
    /// let problem = Problem::io("read tokens", Path::new("news.tokens"), &cause);
    /// assert_eq!(problem.code(), "input/read-tokens");
    /// ```
    pub fn code(&self) -> String {
        format!("{}/{}", self.kind.name(), self.what.replace(' ', "-").to_lowercase())
    }

    /// Adds the remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One problem or several: everything that is wrong, reported at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The exit code of the most serious kind: the machine before training before input.
    pub fn exit_code(&self) -> u8 {
        self.0.iter().map(|problem| problem.kind.exit_code()).max().unwrap_or(4)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}
