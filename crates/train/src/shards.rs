//! The shards of a batch, and the one tree in which their gradients are added.
//!
//! A batch is cut into a power of two of shards. Neighbours are added, then the sums of neighbours, until one is left. So the bits of the
//! sum depend on the number of shards, and not on who computed which.

use std::ops::{Add, Range};

use burn::tensor::{Device, Tensor};
use temper_model::Parameters;

use crate::gradients::Gradients;
use crate::group::Group;

/// Part `index` when `all` things are cut into `parts` neighbouring parts, as even as can be.
pub fn cut(all: usize, parts: usize, index: usize) -> Range<usize> {
    let begin = |index: usize| (index * all).div_ceil(parts);
    begin(index)..begin(index + 1)
}

/// Gradients that are in memory at once when one rank adds up so many shards: that of a shard, and a sum for every level of the tree.
pub fn gradients_at_once(shards: usize) -> u64 {
    1 + u64::from(shards.ilog2())
}

/// The heights of the largest branches that a run of neighbouring leaves is made of, from left to right.
pub(crate) fn heights(leaves: Range<usize>) -> Vec<u32> {
    let (mut at, mut heights) = (leaves.start, Vec::new());
    while at < leaves.end {
        let height = at.trailing_zeros().min((leaves.end - at).ilog2());
        heights.push(height);
        at += 1 << height;
    }
    heights
}

/// A run of neighbouring leaves of a binary tree, added up as they come as far as the tree allows.
#[derive(Debug)]
pub struct Tree<T> {
    next: usize,
    /// With their heights: no two of them are halves of one branch.
    branches: Vec<(u32, T)>,
}

impl<T: Add<Output = T>> Tree<T> {
    /// None yet; the first one to come is leaf number `first`.
    pub fn from(first: usize) -> Self {
        Self { next: first, branches: Vec::new() }
    }

    /// Adds the next leaf.
    pub fn push(&mut self, leaf: T) {
        self.push_branch(0, leaf);
    }

    /// Adds the sum of the next `2^height` leaves.
    pub(crate) fn push_branch(&mut self, mut height: u32, mut sum: T) {
        let mut at = self.next;
        self.next += 1 << height;
        // A right half completes the branch above, if its left half is here.
        while (at >> height) & 1 == 1
            && let Some((_, left)) = self.branches.pop_if(|(other, _)| *other == height)
        {
            sum = left + sum;
            at -= 1 << height;
            height += 1;
        }
        self.branches.push((height, sum));
    }

    /// The largest branches, from left to right.
    pub fn branches(self) -> impl Iterator<Item = T> {
        self.branches.into_iter().map(|(_, sum)| sum)
    }

    /// The sum of a whole tree.
    ///
    /// # Panics
    /// If leaves are missing.
    pub fn root(mut self) -> T {
        assert!(self.branches.len() == 1 && self.next.is_power_of_two(), "a tree of {} leaves", self.next);
        self.branches.remove(0).1
    }
}

impl<T> Tree<T> {
    /// The first of its branches.
    pub(crate) fn first(&self) -> Option<&T> {
        self.branches.first().map(|(_, sum)| sum)
    }
}

/// The gradients of the shards of one rank. Of `n` shards at most [`gradients_at_once`] are in memory.
#[derive(Debug)]
pub struct OwnShards {
    /// Shards of the whole batch.
    pub(crate) all: usize,
    pub(crate) tree: Tree<Gradients>,
    /// How many values each parameter has.
    pub(crate) lengths: Vec<usize>,
    pub(crate) device: Device,
}

impl OwnShards {
    /// None yet of the shards of `model` that this rank of `group` has when a batch is cut into so many.
    ///
    /// # Panics
    /// If the number of shards is no power of two, or the model has no parameter.
    pub fn none(model: &impl Parameters, shards: usize, group: &dyn Group) -> Self {
        assert!(shards.is_power_of_two(), "{shards} shards");
        let (mut lengths, mut device) = (Vec::new(), None);
        model.clone().visit(&mut |_, parameter| {
            lengths.push(parameter.len());
            device = Some(parameter.device());
        });
        let device = device.expect("a model has parameters");
        Self { all: shards, tree: Tree::from(group.own_shards(shards).start), lengths, device }
    }

    /// Adds the next shard.
    pub fn push(&mut self, gradients: Gradients) {
        self.tree.push(gradients);
    }
}

/// Numbers that are added one by one, in place: a rank keeps its own ones, those of its first branch.
pub(crate) struct Numbers<'a> {
    pub slice: &'a mut [f32],
    pub own: bool,
}

impl Add for Numbers<'_> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // Which of two numbers is added to which changes no bit.
        let (kept, added) = if other.own && !self.own { (other, self) } else { (self, other) };
        kept.slice.iter_mut().zip(added.slice).for_each(|(kept, added)| *kept += *added);
        kept
    }
}

impl Gradients {
    /// For every parameter, whether it has a gradient.
    pub(crate) fn present(&self) -> Vec<u8> {
        self.0.iter().map(|gradient| u8::from(gradient.is_some())).collect()
    }

    /// All numbers, `total` of them, parameter by parameter.
    pub(crate) fn into_numbers(self, total: usize) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(total);
        for gradient in self.0.into_iter().flatten() {
            numbers.extend_from_slice(&temper_ops::read(gradient));
        }
        numbers
    }

    /// The other way: `present` says which parameters have a gradient.
    pub(crate) fn from_numbers(numbers: &[f32], present: &[u8], lengths: &[usize], device: &Device) -> Self {
        let mut rest = numbers;
        let gradients = present.iter().zip(lengths).map(|(present, length)| {
            let values = rest.split_off(..length * usize::from(*present)).expect("as many numbers as gradients have");
            (*present == 1).then(|| Tensor::from_data(values, device))
        });
        Self(gradients.collect())
    }
}
