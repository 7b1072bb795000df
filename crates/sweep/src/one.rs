//! One run of a sweep, brought to its end from wherever it is.

use std::path::Path;
use std::sync::mpsc::Sender;

use burn::tensor::Device;
use temper::{End, Limits, Ranks, Recipe, Run, Session, Watch};
use temper_base::{Listener, Problems, Result};
use temper_record::event::Event;
use temper_record::{Checkpoint, RunDir, begun};

use crate::store::{self, State, Store, state};

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

/// The program that a sweep runs in.
pub trait Front: Sync {
    /// What hears one of several runs at a time; their warnings are in their records.
    fn run_log(&self) -> Box<dyn RunLog + '_>;

    /// What the runs compute on.
    fn device(&self) -> &Device;

    /// The signal that arrived, if one did.
    fn signal(&self) -> Option<i32>;
}

/// Writes the log of a run.
pub trait RunLog {
    /// Hears what happens while the run begins.
    fn listener(&self) -> &dyn Listener;

    /// What writes the events of the run. From now on it trains.
    fn watch<'a>(&'a self, run: &dyn Run) -> Box<dyn Watch + 'a>;
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
    ///
    /// # Errors
    /// Everything that keeps the run from beginning or resuming, and what ends it early.
    pub fn train_run(&self, front: &dyn Front, news: &Sender<News>) -> Result<End, Problems> {
        let log = front.run_log();
        let name = self.path.display().to_string();
        let ranks = Ranks::alone();
        let session =
            Session { limits: Limits::default(), device: front.device(), listener: log.listener(), ranks: &ranks };
        match state(self.path) {
            State::Done => return Ok(End::Done),
            State::Partial(_) => {
                return match temper::resume(&name, None, session)? {
                    Some(run) => self.train(run, &*log, news),
                    None => Ok(End::Done),
                };
            }
            // Killed before its first checkpoint: nothing is lost that cannot be repeated.
            State::Begun => {
                // One that was killed while its text was tokenised has nothing yet that makes it a run.
                let run = RunDir::unchecked(self.path);
                if begun::only_begun(&run) || RunDir::open(self.path).is_ok() {
                    // Taking the lock puts back a checkpoint that a kill between two renames left aside.
                    let lock = run.lock()?;
                    if !Checkpoint::list(&run)?.is_empty() {
                        drop(lock);
                        return self.train_run(front, news);
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
            None => temper::train(self.recipe.clone(), self.path, session)?,
            Some(parent) => temper::branch(self.recipe.clone(), parent, self.path, session)?,
        };
        self.train(run, &*log, news)
    }

    fn train(&self, mut run: Box<dyn Run>, log: &dyn RunLog, news: &Sender<News>) -> Result<End, Problems> {
        let mut told = Told { log: log.watch(&*run), job: self, news };
        told.tell(News::Began(self.index, run.step(), run.lengths().stop));
        Ok(run.train(&mut told)?)
    }
}

/// Writes the log of a run and reports to the sweep.
struct Told<'a> {
    log: Box<dyn Watch + 'a>,
    job: &'a Job<'a>,
    news: &'a Sender<News>,
}

impl Told<'_> {
    fn tell(&self, news: News) {
        // Nobody listens any more once the sweep has ended.
        _ = self.news.send(news);
    }
}

impl Watch for Told<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step, .. } => self.tell(News::Step(self.job.index, *step)),
            Event::Warning { message, .. } => self.tell(News::Warning(self.job.index, message.clone())),
            _ => {}
        }
        self.log.event(event);
    }

    fn keep_at(&self) -> Vec<u64> {
        self.job.store.kept_steps(self.job.hash)
    }

    fn signal(&self) -> Option<i32> {
        self.log.signal()
    }
}
