//! The ranks that train one model together: one process by itself ([`Alone`]), or threads of one process ([`threads`]), which stand in
//! for the processes of a cluster.
//!
//! A batch is cut into shards ([`crate::shards`]). Each rank computes the gradients of a run of neighbouring shards and adds them as far as
//! the tree over all shards allows; [`Group::sum`] completes the tree. So the bits of an update depend on the number of shards and not on
//! the number of ranks. Losses and statistics of batch norms are gathered in the order of the shards.
//!
//! All ranks make the same calls in the same order.

pub mod threads;

use std::ops::Range;

use temper_base::{Problem, Result};

use crate::gradients::Gradients;
use crate::shards::{Numbers, OwnShards, Tree, cut, heights};

/// What a rank was doing when another one failed.
const EXCHANGE: &str = "exchange with other ranks";

/// Who takes part in an update. What carries messages gives the methods without a body; the others are made of them.
pub trait Group {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Gives `numbers` to another rank and takes what that one gives, in the same call of its own.
    ///
    /// # Errors
    /// If the other rank has failed or cannot be reached.
    fn exchange(&self, other: usize, numbers: &[f32]) -> Result<Vec<f32>>;

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
        let range = |rank: usize| cut(total, self.size(), rank);
        let branches: Vec<Vec<f32>> = tree.branches().map(Gradients::into_numbers).collect();
        let of_range = |rank: usize| branches.iter().flat_map(|branch| &branch[range(rank)]).copied().collect();

        let length = range(self.rank()).len();
        let heights_of = |rank: usize| heights(cut(shards, self.size(), rank));
        let mut parts: Vec<Vec<f32>> = vec![Vec::new(); self.size()];
        parts[self.rank()] = of_range(self.rank());
        for other in partners(self.rank(), self.size()) {
            let numbers: Vec<f32> = of_range(other);
            parts[other] = expect(other, heights_of(other).len() * length, self.exchange(other, &numbers)?)?;
        }
        let mut sum = Tree::from(0);
        for (rank, part) in parts.into_iter().enumerate() {
            for (i, height) in heights_of(rank).into_iter().enumerate() {
                sum.push_branch(height, Numbers(part[i * length..(i + 1) * length].to_vec()));
            }
        }
        let Numbers(mine) = sum.root();

        let mut whole = vec![0.0; total];
        for other in partners(self.rank(), self.size()) {
            let numbers = expect(other, range(other).len(), self.exchange(other, &mine)?)?;
            whole[range(other)].copy_from_slice(&numbers);
        }
        whole[range(self.rank())].copy_from_slice(&mine);
        Ok(Gradients::from_numbers(&whole, &present, &lengths, &device))
    }
}

/// All other ranks, in an order in which every rank and its partner have each other at the same time: nobody waits in a circle.
fn partners(rank: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..size).map(move |round| (round + size - rank) % size).filter(move |other| *other != rank)
}

/// The numbers of another rank, if there are as many as there should be.
fn expect(other: usize, expected: usize, numbers: Vec<f32>) -> Result<Vec<f32>> {
    if numbers.len() == expected {
        return Ok(numbers);
    }
    let why = format!("it sent {} numbers instead of {expected}", numbers.len());
    let hint = "every rank needs the same program and the same recipe";
    Err(Problem::input(EXCHANGE, format!("rank {other}"), why).hint(hint))
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

    fn exchange(&self, other: usize, _: &[f32]) -> Result<Vec<f32>> {
        unreachable!("there is no rank {other}")
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn abort(&self, _: &Problem) {}
}
