//! Ranks as threads of one process, in the place of the processes of a cluster: the tests train on them.

use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use temper_base::{Problem, Result};

use super::{EXCHANGE, Group, require_length};

/// What one rank sends another: bytes, or why it has failed.
type Message = Result<Vec<u8>>;

/// A thread that is a rank of a [`Group`].
#[derive(Debug)]
pub struct Rank {
    rank: usize,
    /// To every rank, itself included.
    to: Vec<Sender<Message>>,
    /// From every rank, itself included.
    from: Vec<Receiver<Message>>,
}

/// Runs `work` on as many ranks. What each of them comes to, by rank.
///
/// # Errors
/// The problem of the rank that failed first, which ended the work of all; or threads that the system does not give.
///
/// # Panics
/// If a rank does.
pub fn run<T: Send>(size: usize, work: impl Fn(&Rc<Rank>) -> Result<T> + Sync) -> Result<Vec<T>> {
    let (mut to, mut from): (Vec<Vec<_>>, Vec<Vec<_>>) = (0..size).map(|_| (Vec::new(), Vec::new())).unzip();
    for to in &mut to {
        for from in &mut from {
            let (sender, receiver) = channel();
            to.push(sender);
            from.push(receiver);
        }
    }
    let ranks = to.into_iter().zip(from).enumerate().map(|(rank, (to, from))| Rank { rank, to, from });
    let work = |rank: Rank| {
        let rank = Rc::new(rank);
        work(&rank).inspect_err(|problem| rank.abort(problem))
    };
    let ends = thread::scope(|scope| {
        let spawn = |rank| thread::Builder::new().spawn_scoped(scope, move || work(rank));
        let threads = ranks.map(spawn).collect::<std::io::Result<Vec<_>>>();
        let threads = threads.map_err(|cause| Problem::no_threads(size, cause))?;
        let ends = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(ends.collect::<Vec<_>>())
    })?;
    // The one that failed first did not fail for another one's sake.
    let first = ends.iter().filter_map(|end| end.as_ref().err()).min_by_key(|problem| problem.what == EXCHANGE);
    match first {
        Some(problem) => Err(problem.clone()),
        None => ends.into_iter().collect(),
    }
}

impl Rank {
    fn send(&self, other: usize, message: Message) {
        // If the other one has ended, what is received from it says so.
        _ = self.to[other].send(message);
    }

    fn receive(&self, other: usize) -> Message {
        let ended = |_| Err(Problem::machine(EXCHANGE, format!("rank {other}"), "it has ended"));
        self.from[other].recv().unwrap_or_else(ended)
    }
}

impl Group for Rank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, other: usize, given: &[f32], received: &mut [f32]) -> Result<()> {
        self.send(other, Ok(given.iter().flat_map(|number| number.to_ne_bytes()).collect()));
        let bytes = self.receive(other)?;
        let numbers = bytes.as_chunks().0;
        require_length(other, numbers.len(), received.len())?;
        received.iter_mut().zip(numbers).for_each(|(number, bytes)| *number = f32::from_ne_bytes(*bytes));
        Ok(())
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        (0..self.size()).for_each(|other| self.send(other, Ok(own.to_vec())));
        (0..self.size()).map(|other| self.receive(other)).collect()
    }

    fn abort(&self, problem: &Problem) {
        let told = match problem.what {
            // Another one's failure is passed on.
            EXCHANGE => problem.clone(),
            _ => Problem::machine(EXCHANGE, format!("rank {}", self.rank), problem),
        };
        (0..self.size()).for_each(|other| self.send(other, Err(told.clone())));
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        if thread::panicking() {
            self.abort(&Problem::machine(EXCHANGE, format!("rank {}", self.rank), "it has panicked"));
        }
    }
}
