//! The ranks that train one model together: one process by itself ([`Alone`]), or threads of one process ([`threads`]), which stand in
//! for the processes of a cluster.
//!
//! A batch is cut into shards ([`crate::shards`]). Each rank computes the gradients of a run of neighbouring shards and adds them as far as
//! the tree over all shards allows; [`Group::sum`] completes the tree. So the bits of an update depend on the number of shards and not on
//! the number of ranks. Losses and statistics of batch norms are gathered in the order of the shards.
//!
//! All ranks make the same calls in the same order.

#[cfg(feature = "mpi")]
pub mod mpi;
pub mod threads;

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use temper_base::{Kind, Problem, Result};

use crate::gradients::Gradients;
use crate::shards::{Numbers, OwnShards, Tree, cut, heights};

/// What a rank was doing when another one failed.
pub const EXCHANGE: &str = "exchange with other ranks";

/// The most numbers that a rank gives another at a time.
const PIECE: usize = 1 << 18;

/// Who takes part in an update. What carries messages gives the methods without a body; the others are made of them.
pub trait Group {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Gives numbers to another rank and takes those that it gives in the same call of its own, as many as `received` has room for.
    ///
    /// # Errors
    /// If the other rank has failed, cannot be reached, or gives another number of them ([`require_length`]).
    fn exchange(&self, other: usize, given: &[f32], received: &mut [f32]) -> Result<()>;

    /// What every rank brings to this call, by rank, the same on all.
    ///
    /// # Errors
    /// If another rank has failed or cannot be reached.
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Tells the others that this rank has failed: whatever they wait for ends with an error. Who runs a rank calls it when the work ended
    /// with a problem.
    fn abort(&self, problem: &Problem);

    /// The shards of this rank: a run of neighbours. Beyond as many ranks as shards some have none.
    fn own_shards(&self, shards: usize) -> Range<usize> {
        cut(shards, self.size(), self.rank())
    }

    /// How long this rank waits for another one from now on, if it is not told otherwise for ever. Where all ranks end together, as threads
    /// do, it has no effect.
    fn wait_at_most(&self, _limit: Duration) {}

    /// The numbers of all ranks one after the other; `None` if one of them gave none, because it had to give up its part.
    ///
    /// # Errors
    /// If another rank has failed or cannot be reached.
    fn gather_numbers(&self, own: Option<&[f64]>) -> Result<Option<Vec<f64>>> {
        let own = own.map_or_else(Vec::new, |own| {
            let bytes = own.iter().flat_map(|number| number.to_le_bytes());
            // Tells no numbers from none given.
            std::iter::once(1).chain(bytes).collect()
        });
        let all = self.gather(&own)?;
        let numbers = all.iter().map(|bytes| {
            let bytes = bytes.get(1..)?.as_chunks().0;
            Some(bytes.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect::<Vec<_>>())
        });
        Ok(numbers.collect::<Option<Vec<_>>>().map(|ranks| ranks.concat()))
    }

    /// What rank 0 brings to this call.
    ///
    /// # Errors
    /// If another rank has failed or cannot be reached.
    fn broadcast(&self, own: &[u8]) -> Result<Vec<u8>> {
        let own = if self.rank() == 0 { own } else { &[] };
        Ok(self.gather(own)?.swap_remove(0))
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// If another rank has failed or cannot be reached.
    fn barrier(&self) -> Result<()> {
        self.gather(&[]).map(drop)
    }

    /// The sum of the gradients over all shards of the batch, the same on all ranks. Every rank completes the tree for one range of the
    /// numbers and gives it to the others: whatever the number of ranks, each sends and takes what is least, about twice the gradient.
    ///
    /// # Errors
    /// If another rank has failed, cannot be reached, or trains something else.
    ///
    /// # Panics
    /// If shards are missing.
    fn sum(&self, own: OwnShards) -> Result<Gradients> {
        let OwnShards { all: shards, tree, lengths, device } = own;
        if self.size() == 1 {
            return Ok(tree.root());
        }
        // A rank without shards does not know which parameters have a gradient.
        let known = self.gather(&tree.first().map(Gradients::present).unwrap_or_default())?;
        let present = known.into_iter().find(|present| !present.is_empty()).expect("a batch has a shard");
        let total = present.iter().zip(&lengths).map(|(present, length)| usize::from(*present) * length).sum();
        let mut branches: Vec<Vec<f32>> = tree.branches().map(|branch| branch.into_numbers(total)).collect();
        self.sum_numbers(shards, total, &mut branches)?;
        let whole = branches.into_iter().next().unwrap_or_default();
        Ok(Gradients::from_numbers(&whole, &present, &lengths, &device))
    }

    /// The same of plain numbers, `total` of them in each branch of the tree that this rank has of a batch of so many shards. The sum comes in
    /// place of the first branch.
    ///
    /// # Errors
    /// If another rank has failed, cannot be reached, or has another number of them.
    fn sum_numbers(&self, shards: usize, total: usize, branches: &mut Vec<Vec<f32>>) -> Result<()> {
        let range = |rank: usize| cut(total, self.size(), rank);
        let own = range(self.rank());
        let heights_of = |rank: usize| heights(cut(shards, self.size(), rank));
        // Piece by piece, so that what comes from others is small and is added while it is near. Every rank has as many of them.
        let pieces = total.div_ceil(self.size()).div_ceil(PIECE).max(1);
        let piece = |of: Range<usize>, number: usize| {
            let part = cut(of.len(), pieces, number);
            of.start + part.start..of.start + part.end
        };
        let longest = own.len().div_ceil(pieces);
        let mut parts: Vec<Vec<f32>> = (0..self.size())
            .map(|rank| vec![0.0; if rank == self.rank() { 0 } else { heights_of(rank).len() * longest }])
            .collect();
        let held = branches.len();
        if held == 0 {
            branches.push(vec![0.0; total]);
        }
        for number in 0..pieces {
            let place = piece(own.clone(), number);
            for other in partners(self.rank(), self.size()) {
                let received = &mut parts[other][..heights_of(other).len() * place.len()];
                let theirs = piece(range(other), number);
                match &branches[..held] {
                    [only] => self.exchange(other, &only[theirs], received)?,
                    several => {
                        let given: Vec<&[f32]> = several.iter().map(|branch| &branch[theirs.clone()]).collect();
                        self.exchange(other, &given.concat(), received)?;
                    }
                }
            }
            let mut sum = Tree::from(0);
            let mut mine = branches[..held].iter_mut().map(|branch| &mut branch[place.clone()]);
            for (rank, part) in parts.iter_mut().enumerate() {
                let mut rest = part.chunks_mut(place.len().max(1));
                for height in heights_of(rank) {
                    let slice = if rank == self.rank() { mine.next() } else { rest.next() };
                    let slice = slice.filter(|_| !place.is_empty()).unwrap_or_default();
                    sum.push_branch(height, Numbers { slice, own: rank == self.rank() });
                }
            }
            // In the place of the first branch, unless this rank had none.
            let foreign = (held == 0).then(|| sum.root().slice.to_vec());
            if let Some(foreign) = foreign {
                branches[0][place].copy_from_slice(&foreign);
            }
        }
        for other in partners(self.rank(), self.size()) {
            let other_range = range(other);
            let (given, received) = if own.end <= other_range.start {
                let (left, right) = branches[0].split_at_mut(other_range.start);
                (&left[own.clone()], &mut right[..other_range.len()])
            } else {
                let (left, right) = branches[0].split_at_mut(own.start);
                (&right[..own.len()], &mut left[other_range])
            };
            self.exchange(other, given, received)?;
        }
        Ok(())
    }
}

/// All other ranks, in an order in which every rank and its partner have each other at the same time: nobody waits in a circle.
fn partners(rank: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..size).map(move |round| (round + size - rank) % size).filter(move |other| *other != rank)
}

/// An error unless another rank gave as many numbers as this one expected.
///
/// # Errors
/// So it is.
pub fn require_length(other: usize, given: usize, expected: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    let why = format!("it sent {given} numbers instead of {expected}");
    let hint = "every rank needs the same program and the same recipe";
    Err(Problem::input(EXCHANGE, format!("rank {other}"), why).hint(hint))
}

/// The result of the same step on this rank, unless another rank failed in it: then all fail with the problem of the first one that did.
///
/// # Errors
/// The problem of this or another rank.
pub fn agree<T>(group: &dyn Group, own: Result<T>) -> Result<T> {
    if group.size() == 1 {
        return own;
    }
    let told = own.as_ref().err().map(|problem| {
        let Problem { kind, what, place, why, hint } = problem;
        serde_json::to_vec(&(kind.name(), what, place, why, hint)).expect("plain text")
    });
    let all = group.gather(&told.unwrap_or_default())?;
    match all.iter().enumerate().find(|(_, told)| !told.is_empty()) {
        // It has the whole of it.
        Some((rank, _)) if rank == group.rank() => own,
        Some((rank, told)) => Err(of_other(rank, told)),
        None => own,
    }
}

/// The problem that another rank told.
fn of_other(rank: usize, told: &[u8]) -> Problem {
    type Told = (String, String, String, String, Option<String>);
    let Ok((kind, what, place, why, hint)) = serde_json::from_slice::<Told>(told) else {
        return Problem::machine(EXCHANGE, format!("rank {rank}"), "it told a problem that cannot be read");
    };
    let kind = [Kind::Input, Kind::Training, Kind::Machine].into_iter().find(|known| known.name() == kind);
    // Few processes meet a problem, and none meets many.
    let what = String::leak(what);
    Problem { kind: kind.unwrap_or(Kind::Machine), what, place: format!("{place} (rank {rank})"), why, hint }
}

/// A process that trains by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn exchange(&self, other: usize, _: &[f32], _: &mut [f32]) -> Result<()> {
        unreachable!("there is no rank {other}")
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn abort(&self, _: &Problem) {}
}

/// The same rank, in several hands.
impl<G: Group> Group for Rc<G> {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn exchange(&self, other: usize, given: &[f32], received: &mut [f32]) -> Result<()> {
        (**self).exchange(other, given, received)
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        (**self).gather(own)
    }

    fn abort(&self, problem: &Problem) {
        (**self).abort(problem);
    }

    fn wait_at_most(&self, limit: Duration) {
        (**self).wait_at_most(limit);
    }
}
