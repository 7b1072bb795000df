//! Prints everything: results on standard output, talk on standard error.
//!
//! Colour marks only the words `error`, `warning` and `hint`, never carries meaning alone, and is off
//! where standard error is not a terminal, or a dumb one, or `NO_COLOR` is set.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::path::Path;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use temper_base::listener::{Caller, Listener};
use temper_base::problem::{shown, visible};
use temper_base::{Problem, Result};

use crate::remedies::{line, of_text, remedy};

/// Where words go.
pub struct Printer {
    quiet: bool,
    /// Warnings too go to the log only.
    mute: bool,
    /// Results and errors too: another process says them.
    silent: bool,
    colour: bool,
    /// Standard error, if it is a terminal that can draw.
    terminal: Option<Term>,
    /// Drawn at the bottom of a terminal; lines appear above it.
    bar: RefCell<Option<ProgressBar>>,
    /// `log.txt` of the run in progress.
    log: RefCell<Option<File>>,
    /// The work under way, for lines where no bar is drawn.
    work: RefCell<Option<Work>>,
}

/// Work on the way to a known end.
struct Work {
    name: String,
    total: u64,
    every: Duration,
    /// When its last plain line was printed, or when it began.
    printed: Instant,
}

impl Printer {
    /// `quiet` keeps everything but results, warnings and errors.
    pub fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let terminal = (io::stderr().is_terminal() && !dumb).then(Term::buffered_stderr);
        let colour = terminal.is_some() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            quiet,
            mute: false,
            silent: false,
            colour,
            terminal,
            bar: RefCell::new(None),
            log: RefCell::new(None),
            work: RefCell::new(None),
        }
    }

    /// Keeps everything but results for the log: for one of several runs at a time, whose warnings are in its record.
    pub fn for_log() -> Self {
        Self {
            quiet: true,
            mute: true,
            silent: false,
            colour: false,
            terminal: None,
            bar: RefCell::new(None),
            log: RefCell::new(None),
            work: RefCell::new(None),
        }
    }

    /// Says nothing: another process does.
    pub fn silent() -> Self {
        Self { silent: true, ..Self::for_log() }
    }

    /// A result, on standard output.
    pub fn data(&self, text: impl Display) {
        if self.silent {
            return;
        }
        let mut written = Ok(());
        self.above_bar(|| {
            let mut out = io::stdout();
            written = writeln!(out, "{}", visible(&text.to_string())).and_then(|()| out.flush());
        });
        match written {
            Ok(()) => {}
            // A reader that has gone away (`| head`) is not an error. Output that cannot be written is one: results are lost.
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(cause) => {
                let problem = lost_output(&cause);
                self.problems(std::slice::from_ref(&problem));
                std::process::exit(problem.kind.exit_code().into());
            }
        }
    }

    /// Talk, on standard error.
    pub fn say(&self, text: impl Display) {
        self.say_shorter(&text, &text);
    }

    /// Talk whose long form is for the log.
    pub fn say_shorter(&self, long: impl Display, short: impl Display) {
        self.log(&long);
        if !self.quiet {
            self.above_bar(|| _ = writeln!(io::stderr(), "{}", visible(&short.to_string())));
        }
    }

    /// Columns of the terminal that talk goes to; `None` where it goes elsewhere and lines may be of any length.
    pub fn columns(&self) -> Option<usize> {
        self.terminal.as_ref().and_then(Term::size_checked).map(|(_, columns)| columns.into())
    }

    /// Something the user should know, with the remedy.
    pub fn warn(&self, what: impl Display, hint: Option<&str>) {
        let what = of_text(&what.to_string());
        self.log(&format_args!("warning: {what}"));
        if self.mute {
            return;
        }
        self.above_bar(|| _ = writeln!(io::stderr(), "{}: {}", self.paint("33", "warning"), shown(&what)));
        if let Some(hint) = hint {
            self.hint(&of_text(hint));
        }
    }

    /// Errors, each with its remedy.
    pub fn problems(&self, problems: &[Problem]) {
        self.end_bar();
        if self.silent {
            return;
        }
        for problem in problems {
            let line = line(problem);
            self.log(&format_args!("error: {line}"));
            _ = writeln!(io::stderr(), "{}: {line}", self.paint("31", "error"));
            if let Some(hint) = remedy(problem) {
                self.hint(&hint);
            }
        }
    }

    fn hint(&self, hint: &str) {
        let hint = shown(hint);
        self.log(&format_args!("hint: {hint}"));
        self.above_bar(|| _ = writeln!(io::stderr(), "{}: {hint}", self.paint("36", "hint")));
    }

    fn paint(&self, code: &str, word: &str) -> String {
        if self.colour { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_string() }
    }

    fn log(&self, text: &dyn Display) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            // The log is for people; a full disk is reported where it matters, by metrics and checkpoints.
            let _ = writeln!(log, "{}", visible(&text.to_string()));
        }
    }

    /// Begins a bar of `length`, if this is a terminal and not quiet. `template` is indicatif's; it should end in
    /// `{wide_msg}`, which is cut where the line ends.
    pub fn begin_bar(&self, length: u64, template: &str) {
        if let Some(terminal) = self.terminal.clone().filter(|_| !self.quiet) {
            let target = ProgressDrawTarget::term_like(Box::new(Narrower(terminal)));
            let bar = ProgressBar::with_draw_target(Some(length), target);
            bar.set_style(ProgressStyle::with_template(template).expect("our own template"));
            *self.bar.borrow_mut() = Some(bar);
        }
    }

    /// Moves the bar.
    pub fn bar(&self, position: u64, message: impl Display) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.set_position(position);
            bar.set_message(visible(&message.to_string()).into_owned());
        }
    }

    /// Says something else beside the bar.
    pub fn bar_message(&self, message: impl Display) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.set_message(visible(&message.to_string()).into_owned());
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

impl Listener for Printer {
    fn say(&self, text: &dyn Display) {
        self.say(text);
    }

    fn warn(&self, what: &dyn Display, hint: Option<&str>) {
        self.warn(what, hint);
    }

    fn remedy(&self, problem: &Problem) -> Option<String> {
        remedy(problem)
    }

    fn begin(&self, name: &str, total: u64, every: Duration) {
        let begins = if name.is_empty() { "{bar:20}".to_owned() } else { format!("{name} {{bar:16}}") };
        self.begin_bar(total, &format!("{begins} {{percent:>3}} %  {{wide_msg}}"));
        *self.work.borrow_mut() = Some(Work { name: name.to_owned(), total, every, printed: Instant::now() });
    }

    fn progress(&self, position: u64, message: &dyn Display) {
        self.bar(position, message);
        if let Some(work) = self.work.borrow_mut().as_mut().filter(|work| work.printed.elapsed() >= work.every)
            && self.columns().is_none()
        {
            work.printed = Instant::now();
            let percent = 100.0 * position as f64 / work.total.max(1) as f64;
            let name = if work.name.is_empty() { String::new() } else { format!("{} ", work.name) };
            self.say(format_args!("{name}{percent:3.0} %  {message}"));
        }
    }

    fn end(&self) {
        *self.work.borrow_mut() = None;
        self.end_bar();
    }

    fn keep_log(&self, path: &Path) -> Result<()> {
        let file = File::options().create(true).append(true).open(path);
        *self.log.borrow_mut() = Some(file.map_err(|cause| Problem::io("write log", path, &cause))?);
        Ok(())
    }

    /// What is not UTF-8 in the command line is replaced.
    fn caller(&self) -> Caller {
        Caller {
            commit: option_env!("TEMPER_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        }
    }

    /// 64 columns, or fewer on a narrow terminal.
    fn drawing(&self) -> usize {
        self.columns().map_or(64, |columns| columns.saturating_sub(10).clamp(16, 64))
    }
}

/// Results that could not be written.
pub fn lost_output(cause: &io::Error) -> Problem {
    Problem::io("write results", "standard output", cause)
}

/// A terminal that a bar leaves the last columns of: where a terminal shows `^C`, which would begin a new line
/// otherwise and leave half a bar above it.
#[derive(Debug)]
struct Narrower(Term);

impl TermLike for Narrower {
    fn width(&self) -> u16 {
        self.0.size().1.saturating_sub(3).max(1)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints the last words of a process that a signal ends, on a line below whatever is drawn.
pub fn last_words(text: &str) {
    let mut err = io::stderr();
    let line = if err.is_terminal() { "\n" } else { "" };
    _ = writeln!(err, "{line}{}", visible(text));
}

/// The last words of a bug: one error, where it happened, what to do.
pub fn report_panic(info: &PanicHookInfo) {
    // A panic of another library that becomes an error.
    if temper_data::text::tokenizer_file::is_guarded() {
        return;
    }
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
