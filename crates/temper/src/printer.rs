//! Everything that is printed: results on standard output, talk on standard error.
//!
//! Colour marks only the words `error`, `warning` and `hint`, never carries meaning alone, and is off
//! where standard error is not a terminal or `NO_COLOR` is set.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use temper_record::{Problem, Result};

/// Where words go.
pub struct Printer {
    quiet: bool,
    colour: bool,
    terminal: bool,
    /// Drawn at the bottom of a terminal; lines appear above it.
    bar: RefCell<Option<ProgressBar>>,
    /// `log.txt` of the run in progress.
    log: RefCell<Option<File>>,
}

impl Printer {
    /// `quiet` keeps everything but results, warnings and errors.
    pub fn new(quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { quiet, colour, terminal, bar: RefCell::new(None), log: RefCell::new(None) }
    }

    /// A result, on standard output.
    pub fn data(&self, text: impl Display) {
        self.above_bar(|| {
            // A reader that has gone away (`| head`) is no error.
            if writeln!(io::stdout(), "{text}").is_err() {
                std::process::exit(0);
            }
        });
    }

    /// Talk, on standard error.
    pub fn say(&self, text: impl Display) {
        self.log(&text);
        if !self.quiet {
            self.above_bar(|| _ = writeln!(io::stderr(), "{text}"));
        }
    }

    /// Something the user should know, with the remedy.
    pub fn warn(&self, what: impl Display, hint: Option<&str>) {
        self.log(&format_args!("warning: {what}"));
        self.above_bar(|| _ = writeln!(io::stderr(), "{}: {what}", self.paint("33", "warning")));
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// Errors, each with its remedy.
    pub fn problems(&self, problems: &[Problem]) {
        self.end_bar();
        for problem in problems {
            self.log(&format_args!("error: {problem}"));
            _ = writeln!(io::stderr(), "{}: {problem}", self.paint("31", "error"));
            if let Some(hint) = &problem.hint {
                self.hint(hint);
            }
        }
    }

    fn hint(&self, hint: &str) {
        self.log(&format_args!("hint: {hint}"));
        self.above_bar(|| _ = writeln!(io::stderr(), "{}: {hint}", self.paint("36", "hint")));
    }

    fn paint(&self, code: &str, word: &str) -> String {
        if self.colour { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_string() }
    }

    /// From here on, talk is kept in this file too.
    pub fn keep_log(&self, path: &Path) -> Result<()> {
        let file = File::options().create(true).append(true).open(path);
        *self.log.borrow_mut() = Some(file.map_err(|cause| Problem::io("write log", path, &cause))?);
        Ok(())
    }

    fn log(&self, text: &dyn Display) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            // The log is for people; a full disk is reported where it matters, by metrics and checkpoints.
            let _ = writeln!(log, "{text}");
        }
    }

    /// Begins a bar of `length`, if this is a terminal and not quiet. `template` is indicatif's.
    pub fn begin_bar(&self, length: u64, template: &str) {
        if self.terminal && !self.quiet {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template(template).expect("our own template"));
            *self.bar.borrow_mut() = Some(bar);
        }
    }

    /// Moves the bar.
    pub fn bar(&self, position: u64, message: impl Display) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.set_position(position);
            bar.set_message(message.to_string());
        }
    }

    /// Removes the bar.
    pub fn end_bar(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    fn above_bar(&self, print: impl FnOnce()) {
        match self.bar.borrow().as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// The last words of a bug: one error, where it happened, what to do.
pub fn panicked(info: &PanicHookInfo) {
    let payload = info.payload();
    let why = payload
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    let place = info.location().map_or_else(|| "unknown place".into(), ToString::to_string);
    _ = writeln!(io::stderr(), "error: internal error: {place}: {why}");
    _ = writeln!(io::stderr(), "hint: this is a bug in Temper; checkpoints are intact. Please report this line.");
}
