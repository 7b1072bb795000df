//! Who hears what long work has to say. The work knows a [`Listener`] and nothing of terminals: the command line prints,
//! another program does as it likes.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::numbers::duration;
use crate::problem::{Problem, Result};

/// Hears what happens. Nothing that is told here decides a result.
pub trait Listener {
    /// Something worth knowing.
    fn say(&self, text: &dyn Display);

    /// Something the user should know, with the remedy.
    fn warn(&self, what: &dyn Display, hint: Option<&str>);

    /// Work on the way to `total` begins. `name` says which, and may be empty; where nothing is drawn, a line is said once in `every`.
    fn begin(&self, name: &str, total: u64, every: Duration);

    /// How far the work is that was begun last, and what that means.
    fn progress(&self, position: u64, message: &dyn Display);

    /// That work has ended.
    fn end(&self);

    /// From here on, what is said is kept in this file too.
    ///
    /// # Errors
    /// If the file cannot be opened.
    fn keep_log(&self, path: &Path) -> Result<()>;

    /// The columns that a drawing may take.
    fn drawing(&self) -> usize {
        64
    }

    /// What is no error and should be known all the same, each with its remedy.
    fn warnings(&self, warnings: &[Problem]) {
        warnings.iter().for_each(|warning| self.warn(warning, warning.hint.as_deref()));
    }
}

/// Tells a listener the way to a known end, with the time left. Dropping it ends that.
pub struct Meter<'l> {
    listener: &'l dyn Listener,
    total: u64,
    clock: Instant,
}

impl<'l> Meter<'l> {
    /// Begins at 0 of `total`. Where nothing is drawn, a line is said once in five seconds.
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

    /// Tells where it is; `message` says what that means. The time left is added.
    pub fn update(&self, position: u64, message: impl Display) {
        let (seconds, position) = (self.seconds(), position.min(self.total));
        if position > 0 && seconds > 1.0 {
            let left = seconds * (self.total - position) as f64 / position as f64;
            self.listener.progress(position, &format_args!("{} left, {message}", duration(left)));
        } else {
            self.listener.progress(position, &message);
        }
    }

    /// Tells that the end is reached, and what is still to be done.
    pub fn at_end(&self, message: impl Display) {
        self.listener.progress(self.total, &format_args!("{message}, {}", duration(self.seconds())));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.listener.end();
    }
}
