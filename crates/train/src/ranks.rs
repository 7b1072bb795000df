//! Rank 0 leads a run and the other ranks follow. It alone reads the recipe, heeds clocks and signals, and writes; what all ranks do
//! together it orders, one step after the other. So nothing that hangs on one machine can make them part.
//!
//! A rank that follows opens the run as one that resumes does, from the checkpoint that rank 0 names ([`crate::start::follow`]), and then
//! makes its part of every update and evaluation.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use temper_base::{Problem, Problems, Result};

use crate::group::{Alone, EXCHANGE, Group, agree};

/// What all ranks are to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// To open a run and be ready for its updates.
    Open(Opening),
    /// To make the update of this number.
    Update(u64),
    /// To evaluate the validation set of this index.
    Evaluate(usize),
    /// To end.
    End,
}

/// Which run the ranks that follow open, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The folder of the run, from the root on. All ranks need it at this place.
    pub run: PathBuf,
    /// The step of the checkpoint to begin with.
    pub step: u64,
    /// The update after which the run ends.
    pub stop: u64,
    /// The seed of the order of the data.
    pub seed: u64,
    /// What it trains: the `task` of its recipe.
    pub task: String,
}

/// The ranks of a run, of which this process is one.
#[derive(Clone)]
pub struct Ranks(Rc<Inner>);

struct Inner {
    group: Box<dyn Group>,
    /// On rank 0: whether the others are in the middle of something that can no longer be ended in order.
    astray: Cell<bool>,
    /// On any other rank: whether rank 0 has told it to end.
    ended: Cell<bool>,
}

impl Ranks {
    /// The ranks of this group.
    pub fn of(group: impl Group + 'static) -> Self {
        Self(Rc::new(Inner { group: Box::new(group), astray: Cell::new(false), ended: Cell::new(false) }))
    }

    /// A process that trains by itself.
    pub fn alone() -> Self {
        Self::of(Alone)
    }

    /// What carries their messages.
    pub fn group(&self) -> &dyn Group {
        &*self.0.group
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.group().size()
    }

    /// Whether this is rank 0.
    pub fn leads(&self) -> bool {
        self.group().rank() == 0
    }

    /// On rank 0: has all ranks do this. `work` is its own part.
    ///
    /// # Errors
    /// What `work` fails with, which all ranks fail with alike, or a rank that cannot be reached.
    pub fn lead<R>(&self, order: &Order, work: impl FnOnce() -> Result<R>) -> Result<R> {
        if self.size() == 1 {
            return work();
        }
        self.0.astray.set(true);
        self.group().broadcast(&serde_json::to_vec(order).expect("plain data"))?;
        let done = work();
        self.0.astray.set(done.as_ref().is_err_and(|problem| problem.what == EXCHANGE));
        done
    }

    /// On any other rank: what to do next.
    ///
    /// # Errors
    /// If rank 0 has failed or cannot be reached, or is another program.
    pub fn next(&self) -> Result<Order> {
        let order = self.group().broadcast(&[])?;
        let order = serde_json::from_slice(&order).map_err(|cause| {
            Problem::input(EXCHANGE, "rank 0", format!("it gave an order that this program does not know: {cause}"))
                .hint("every rank needs the same program")
        })?;
        self.0.ended.set(order == Order::End);
        Ok(order)
    }

    /// On any other rank: `work` is its part of an order. What all ranks have failed with is rank 0's to tell.
    ///
    /// # Errors
    /// A rank that cannot be reached.
    pub fn heed<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<Option<R>> {
        match work() {
            Err(problem) if problem.what == EXCHANGE => Err(problem),
            done => Ok(done.ok()),
        }
    }

    /// [`agree`] of these ranks.
    ///
    /// # Errors
    /// The problem of this or another rank.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        agree(self.group(), own)
    }

    /// The same where there may be several problems.
    ///
    /// # Errors
    /// The problems of this rank, or that of another.
    pub fn agree_all<T>(&self, own: Result<T, Problems>) -> Result<T, Problems> {
        let first = own.as_ref().err().and_then(|problems| problems.0.first().cloned());
        match (self.agree(first.map_or(Ok(()), Err)), own) {
            (Err(problem), Ok(_)) => Err(problem.into()),
            (_, own) => own,
        }
    }

    /// Ends what this rank has to do with the others, which all do in order: rank 0 tells when. A rank that cannot be reached, or the problem
    /// of one that the others do not know of, ends all at once.
    pub fn end(&self, problem: Option<&Problem>) {
        if self.0.astray.get() || problem.is_some_and(|problem| problem.what == EXCHANGE) {
            return self.abandon();
        }
        let ended = if self.leads() { self.lead(&Order::End, || Ok(())) } else { self.wait_for_end() };
        if let Err(problem) = ended {
            self.group().abort(&problem);
        }
    }

    /// Ends all at once: this process cannot go on, and the others do not know.
    pub fn abandon(&self) {
        self.group().abort(&Problem::machine(EXCHANGE, format!("rank {}", self.group().rank()), "it has ended"));
    }

    fn wait_for_end(&self) -> Result<()> {
        if self.0.ended.get() || self.next()? == Order::End {
            return Ok(());
        }
        Err(Problem::machine(EXCHANGE, format!("rank {}", self.group().rank()), "it ended before the others"))
    }
}
