//! The processes that train one model together. Today there is one.
//!
//! A batch is cut into shards. Each process computes the gradients of some of them, and [`Group::sum`] adds those of all. It adds them by one
//! fixed tree over the shards, so the bits of an update depend on the number of shards and not on who computed which.

use temper_base::Result;

use crate::gradients::Gradients;

/// Who takes part in an update.
pub trait Group {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn ranks(&self) -> usize;

    /// The sum of the gradients over all shards of the batch, the same in every process. `own` are those of the shards of this process,
    /// in their order; the shards of the next process follow.
    ///
    /// # Errors
    /// If another process cannot be reached any more.
    ///
    /// # Panics
    /// If there is no shard.
    fn sum(&self, own: Vec<Gradients>) -> Result<Gradients>;
}

/// A process that trains by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn sum(&self, own: Vec<Gradients>) -> Result<Gradients> {
        Ok(sum_by_tree(own))
    }
}

/// Adds neighbours, then the sums of neighbours, until one is left: a process with an aligned run of shards computes a branch of the tree.
fn sum_by_tree(mut level: Vec<Gradients>) -> Gradients {
    while level.len() > 1 {
        let mut below = level.into_iter();
        let mut above = Vec::with_capacity(below.len().div_ceil(2));
        while let Some(left) = below.next() {
            above.push(match below.next() {
                Some(right) => left.plus(right),
                None => left,
            });
        }
        level = above;
    }
    level.pop().expect("a batch has a shard")
}
