//! How long work reports what it does. The work knows a [`Listener`] and no terminal: the command line prints what the
//! listener hears, and another program can do what it likes with it.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::numbers::duration;
use crate::problem::{Problem, Result};

/// Hears what happens. What it hears decides no result.
pub trait Listener {
    /// Something worth knowing.
    fn say(&self, text: &dyn Display);

    /// Something the user should know, with the remedy.
    fn warn(&self, what: &dyn Display, hint: Option<&str>);

    /// Work towards `total` begins. `name` says which work and may be empty; a listener that draws no bar prints a line every `every`.
    fn begin(&self, name: &str, total: u64, every: Duration);

    /// How far the work begun last has come, and what that means.
    fn progress(&self, position: u64, message: &dyn Display);

    /// The work begun last has ended.
    fn end(&self);

    /// From here on, the listener also writes its lines to this file.
    ///
    /// # Errors
    /// If the file cannot be opened.
    fn keep_log(&self, path: &Path) -> Result<()>;

    /// Who started the work: what a run writes down about where it comes from.
    fn caller(&self) -> Caller {
        Caller::default()
    }

    /// The columns that a drawing can use.
    fn drawing(&self) -> usize {
        64
    }

    /// What to do about a problem, in the words of who listens: the command line names its commands and options.
    fn remedy(&self, problem: &Problem) -> Option<String> {
        problem.hint.clone()
    }

    /// What is not an error but the user should know, each with its remedy.
    fn warnings(&self, warnings: &[Problem]) {
        warnings.iter().for_each(|warning| self.warn(warning, self.remedy(warning).as_deref()));
    }
}

/// A listener that hears and does nothing, for a program that reads the files of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Listener for Silent {
    fn say(&self, _: &dyn Display) {}

    fn warn(&self, _: &dyn Display, _: Option<&str>) {}

    fn begin(&self, _: &str, _: u64, _: Duration) {}

    fn progress(&self, _: u64, _: &dyn Display) {}

    fn end(&self) {}

    fn keep_log(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// The program that started the work. Decides no result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The git commit that it was built from, if known.
    pub commit: Option<String>,
    /// Its command line, program first; empty where there is none.
    pub command: Vec<String>,
}

/// Reports progress towards a known end to a listener, with the time left. Dropping it ends the work.
pub struct Meter<'l> {
    listener: &'l dyn Listener,
    total: u64,
    clock: Instant,
}

impl<'l> Meter<'l> {
    /// Begins at 0 of `total`. A listener that draws no bar prints a line every five seconds.
    pub fn begin(listener: &'l dyn Listener, name: &str, total: u64) -> Self {
        listener.begin(name, total, Duration::from_secs(5));
        Self { listener, total, clock: Instant::now() }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    /// Where the end is.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Reports how far it is; `message` says what that means. The meter adds the time left.
    pub fn update(&self, position: u64, message: impl Display) {
        let (seconds, position) = (self.seconds(), position.min(self.total));
        if position > 0 && seconds > 1.0 {
            let left = seconds * (self.total - position) as f64 / position as f64;
            self.listener.progress(position, &format_args!("{} left, {message}", duration(left)));
        } else {
            self.listener.progress(position, &message);
        }
    }

    /// Reports that the end is reached, and what remains to be done.
    pub fn at_end(&self, message: impl Display) {
        self.listener.progress(self.total, &format_args!("{message}, {}", duration(self.seconds())));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.listener.end();
    }
}
