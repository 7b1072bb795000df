//! One run of a sweep, brought to its end from wherever it is.

use std::path::Path;
use std::sync::mpsc::Sender;

use temper::{End, Limits, Recipe, Run, Watch};
use temper_base::{Problems, Result};
use temper_record::event::Event;
use temper_record::{Checkpoint, RunDir, begun};

use crate::console::{Console, Signals};
use crate::printer::Printer;
use crate::run;
use crate::sweep::store::{self, State, Store, state};

/// What a run reports to the sweep while it trains.
pub enum News {
    /// It goes from this update to that one.
    Began(usize, u64, u64),
    /// Updates made.
    Step(usize, u64),
    /// Something the user should know.
    Warning(usize, String),
    /// It ended.
    Ended(usize, Result<End, Problems>),
    /// Another sweep is at it.
    Waits(usize),
}

/// What to run.
pub struct Job<'a> {
    /// Its number in the tree.
    pub index: usize,
    /// The recipe, resolved.
    pub recipe: Recipe,
    /// The checkpoint that it branches from.
    pub parent: Option<String>,
    /// Where sweeps say which of its checkpoints they branch from.
    pub store: &'a Store,
    /// The hash that it is known by there.
    pub hash: &'a str,
    /// Its directory.
    pub path: &'a Path,
}

impl Job<'_> {
    /// Starts or resumes the run, and trains to its end or a signal.
    pub fn go(&self, signals: &Signals, news: &Sender<News>) -> Result<End, Problems> {
        let printer = Printer::for_log();
        let name = self.path.display().to_string();
        let limits = Limits::default();
        match state(self.path) {
            State::Done => return Ok(End::Done),
            State::Partial(_) => {
                return match temper::resume(&name, None, limits, &printer)? {
                    Some(run) => self.train(run, signals, news, &printer),
                    None => Ok(End::Done),
                };
            }
            // Killed before its first checkpoint: nothing is lost that cannot be repeated.
            State::Begun => {
                // One that was killed while its text was tokenised has nothing yet that makes it a run.
                let run = RunDir::at(self.path);
                if begun::only_begun(&run) || RunDir::open(self.path).is_ok() {
                    // Taking the lock puts back a checkpoint that a kill between two renames left aside.
                    let lock = run.lock()?;
                    if !Checkpoint::list(&run)?.is_empty() {
                        drop(lock);
                        return self.go(signals, news);
                    }
                    if begun::only_begun(&run) {
                        begun::clear(&run)?;
                    }
                }
                if let Some(aside) = store::set_aside(self.path)? {
                    let why = format!(
                        "{} held other files than those of a run that had only begun: moved to {}",
                        name,
                        aside.display()
                    );
                    _ = news.send(News::Warning(self.index, why));
                }
            }
            State::Absent => {}
        }
        let run = match &self.parent {
            None => temper::train(self.recipe.clone(), self.path, limits, &printer)?,
            Some(parent) => temper::branch(self.recipe.clone(), parent, self.path, limits, &printer)?,
        };
        self.train(run, signals, news, &printer)
    }

    fn train(
        &self,
        mut run: Box<dyn Run>,
        signals: &Signals,
        news: &Sender<News>,
        printer: &Printer,
    ) -> Result<End, Problems> {
        let mut told = Told { console: run::watch(&*run, "", signals, printer), job: self, news };
        told.tell(News::Began(self.index, run.step(), run.lengths().stop));
        Ok(run.train(&mut told)?)
    }
}

/// Writes the log of a run and reports to the sweep.
struct Told<'a, 'p> {
    console: Console<'p>,
    job: &'a Job<'a>,
    news: &'a Sender<News>,
}

impl Told<'_, '_> {
    fn tell(&self, news: News) {
        // Nobody listens any more once the sweep has ended.
        _ = self.news.send(news);
    }
}

impl Watch for Told<'_, '_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step, .. } => self.tell(News::Step(self.job.index, *step)),
            Event::Warning { message, .. } => self.tell(News::Warning(self.job.index, message.clone())),
            _ => {}
        }
        self.console.event(event);
    }

    fn keep_at(&self) -> Vec<u64> {
        self.job.store.kept(self.job.hash)
    }

    fn signal(&self) -> Option<i32> {
        self.console.signal()
    }
}
