//! The order in which images are trained on: epoch by epoch, each in a different permutation.

use crate::permute::Permutation;
use temper_base::random::key_of;

/// Sets the draws of this file apart from all others of one seed.
const PURPOSE: u64 = 3;

/// Epochs over a training set, cut into batches. Everything is a pure function of these three numbers and the place
/// that is asked for, so resuming after an interruption is a seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    seed: u64,
    images: usize,
    batch: usize,
}

impl Epochs {
    /// Epochs over `images` images in batches of `batch`; both at least 1, and no more images than a `u32` can count.
    pub fn new(seed: u64, images: usize, batch: usize) -> Self {
        assert!(batch > 0 && images > 0 && u32::try_from(images).is_ok(), "{images} images in batches of {batch}");
        Self { seed, images, batch }
    }

    /// Batches of one epoch. The last may be smaller than the others; it is never left out.
    pub fn batches(&self) -> u64 {
        self.images.div_ceil(self.batch) as u64
    }

    /// Epoch and batch within it of update `step`, all counted from 0.
    pub fn locate(&self, step: u64) -> (u64, u64) {
        (step / self.batches(), step % self.batches())
    }

    /// The images of a batch, as numbers in the training set.
    pub fn indices(&self, epoch: u64, batch: u64) -> Vec<u32> {
        assert!(batch < self.batches(), "batch {batch} of {}", self.batches());
        let order = Permutation::new(self.images as u64, key_of(&[self.seed, PURPOSE, epoch]));
        let start = batch * self.batch as u64;
        let end = (start + self.batch as u64).min(self.images as u64);
        (start..end).map(|place| order.get(place) as u32).collect()
    }

    /// Images trained on by the first `steps` updates.
    pub fn seen(&self, steps: u64) -> u64 {
        let (epochs, batches) = self.locate(steps);
        epochs * self.images as u64 + batches * self.batch as u64
    }
}
