//! Ranks as processes that an MPI launcher has started, on one machine or many.
//!
//! Nothing here waits inside of the library: sends and receives are begun and then asked after, so a rank that is stopped or out of reach is
//! noticed after [`Group::wait_at_most`], whatever the library makes of it. A rank that ends for good is the launcher's to notice: it ends the others.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::datatype::Equivalence;
use mpi::environment::Universe;
use mpi::request::{Request, Scope, scope};
use mpi::topology::{Process, SimpleCommunicator};
use mpi::traits::{Communicator, Destination, Source};
use temper_base::numbers::counted;
use temper_base::{Problem, Result};

use super::{EXCHANGE, Group, require_length};

/// Numbers of one message: the library counts in 32 bits.
const MESSAGE: usize = 1 << 26;

/// How much longer a rank waits for what rank 0 first collects from others: that one is to say which of them is missing.
const GRACE: Duration = Duration::from_secs(5);

/// A rank that is waited for longer than this is not worth a busy processor.
const BUSY: Duration = Duration::from_millis(100);

/// This process as a rank of all that were started together.
pub struct World {
    world: SimpleCommunicator,
    limit: Cell<Duration>,
    /// Says why all have to end, before they do.
    last_words: fn(&Problem),
    /// Ends the library when it is dropped, after everything else.
    _universe: Universe,
}

impl World {
    /// Joins the processes that a launcher started together with this one.
    ///
    /// # Errors
    /// If the library was initialised before.
    pub fn join(last_words: fn(&Problem)) -> Result<Self> {
        let begun = mpi::initialize_with_threading(Threading::Funneled);
        let universe = begun.ok_or_else(|| Problem::machine(EXCHANGE, "MPI", "it cannot be initialised"))?.0;
        let limit = Cell::new(Duration::MAX);
        Ok(Self { world: universe.world(), limit, last_words, _universe: universe })
    }

    /// What the library calls all of them.
    pub fn communicator(&self) -> &SimpleCommunicator {
        &self.world
    }

    fn process(&self, rank: usize) -> Process<'_> {
        self.world.process_at_rank(rank as i32)
    }

    /// Waits until `done`, for another rank's sake.
    fn wait(&self, other: usize, limit: Duration, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            let waited = begun.elapsed();
            if waited > limit {
                let why = format!("no answer for {}", counted(limit.as_secs(), "second"));
                let hint = "it is stopped, out of reach, or busy for longer than parallel.timeout; the last checkpoint is whole: resume from it";
                let problem = Problem::machine(EXCHANGE, format!("rank {other}"), why).hint(hint);
                (self.last_words)(&problem);
                self.abort(&problem);
            }
            if waited > BUSY {
                std::thread::sleep(Duration::from_micros(100));
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Waits for the end of a send or a receive.
    fn finish<'a, D: ?Sized>(&self, other: usize, limit: Duration, request: Request<'a, D, impl Scope<'a>>) {
        let mut request = Some(request);
        self.wait(other, limit, || match request.take().map(Request::test) {
            Some(Err(unfinished)) => {
                request = Some(unfinished);
                false
            }
            _ => true,
        });
    }

    fn send<T: Equivalence>(&self, other: usize, numbers: &[T]) {
        let (process, limit, length) = (self.process(other), self.limit.get(), numbers.len() as u64);
        scope(|scope| self.finish(other, limit, process.immediate_send(scope, &length)));
        for part in numbers.chunks(MESSAGE) {
            scope(|scope| self.finish(other, limit, process.immediate_send(scope, part)));
        }
    }

    fn receive<T: Equivalence + Clone + Default>(&self, other: usize, limit: Duration) -> Vec<T> {
        let (process, mut length) = (self.process(other), 0u64);
        scope(|scope| self.finish(other, limit, process.immediate_receive_into(scope, &mut length)));
        let mut numbers = vec![T::default(); length as usize];
        for part in numbers.chunks_mut(MESSAGE) {
            scope(|scope| self.finish(other, limit, process.immediate_receive_into(scope, part)));
        }
        numbers
    }
}

impl Group for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&self, other: usize, given: &[f32], received: &mut [f32]) -> Result<()> {
        let (process, limit) = (self.process(other), self.limit.get());
        let (own, mut length) = (given.len() as u64, 0u64);
        scope(|scope| {
            let sent = process.immediate_send(scope, &own);
            self.finish(other, limit, process.immediate_receive_into(scope, &mut length));
            self.finish(other, limit, sent);
        });
        require_length(other, length as usize, received.len())?;
        // Both directions at once, in as many messages as the longer one needs.
        let (mut to_give, mut to_fill) = (given.chunks(MESSAGE), received.chunks_mut(MESSAGE));
        loop {
            let (part, place) = (to_give.next(), to_fill.next());
            if part.is_none() && place.is_none() {
                return Ok(());
            }
            scope(|scope| {
                let sent = part.map(|part| process.immediate_send(scope, part));
                if let Some(place) = place {
                    self.finish(other, limit, process.immediate_receive_into(scope, place));
                }
                sent.into_iter().for_each(|sent| self.finish(other, limit, sent));
            });
        }
    }

    /// Rank 0 collects and tells all, so that it knows who is missing.
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let limit = self.limit.get();
        if self.rank() > 0 {
            self.send(0, own);
            let limit = limit.saturating_add(GRACE);
            let lengths: Vec<u64> = self.receive(0, limit);
            let all: Vec<u8> = self.receive(0, limit);
            let mut rest = all.as_slice();
            let part = |length: &u64| rest.split_off(..*length as usize).map(<[u8]>::to_vec).unwrap_or_default();
            return Ok(lengths.iter().map(part).collect());
        }
        let all: Vec<Vec<u8>> =
            (0..self.size()).map(|rank| if rank == 0 { own.to_vec() } else { self.receive(rank, limit) }).collect();
        let lengths: Vec<u64> = all.iter().map(|part| part.len() as u64).collect();
        let whole = all.concat();
        for rank in 1..self.size() {
            self.send(rank, &lengths);
            self.send(rank, &whole);
        }
        Ok(all)
    }

    /// Ends all processes.
    fn abort(&self, problem: &Problem) {
        self.world.abort(i32::from(problem.kind.exit_code()))
    }

    fn wait_at_most(&self, limit: Duration) {
        self.limit.set(limit);
    }
}
