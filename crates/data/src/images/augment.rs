//! Augmentation: a flip and a crop, drawn for every image by (seed, step, image) and nothing else.
//!
//! As in certified training of CIFAR-10 and TinyImageNet (Mao et al. 2024): first a horizontal flip with probability
//! 1/2, then a crop of the original size at a random place of the image padded on every side, by *repeating its border
//! pixels* (black borders would put false edges at a radius where nothing else is uncertain). How an update is cut
//! into smaller batches does not change what is drawn.

use temper_base::random::{finalise, key_of};

/// Sets the draws of this file apart from all others of one seed.
const PURPOSE: u64 = 4;

/// What is done to the images of one update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augment {
    /// Flip left and right with probability 1/2.
    pub flip: bool,
    /// Pixels the image is padded with on every side before the crop; 0 for no crop.
    pub pad: usize,
    /// The run's seed.
    pub seed: u64,
    /// The update, counted over all epochs.
    pub step: u64,
}

/// Where the pixels of an augmented image come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Mirrored left to right.
    pub flip: bool,
    /// Row of the (flipped) image that the first row shows, from `-pad` to `pad`.
    pub top: isize,
    /// Column of the (flipped) image that the first column shows.
    pub left: isize,
}

impl Placement {
    /// The image as it is.
    pub const IDENTITY: Self = Self { flip: false, top: 0, left: 0 };

    /// Places one channel: `source` and `out` are `[height, width]`. Outside the image its border is repeated.
    pub fn apply(&self, source: &[u8], [height, width]: [usize; 2], mut each: impl FnMut(usize, u8)) {
        let inside = |at: usize, shift: isize, size: usize| (at as isize + shift).clamp(0, size as isize - 1) as usize;
        for y in 0..height {
            let row = &source[inside(y, self.top, height) * width..][..width];
            for x in 0..width {
                let column = inside(x, self.left, width);
                each(y * width + x, row[if self.flip { width - 1 - column } else { column }]);
            }
        }
    }
}

impl Augment {
    /// What happens to image `index` of the data set.
    pub fn draw(&self, index: u32) -> Placement {
        let key = key_of(&[self.seed, PURPOSE, self.step, index.into()]);
        let draw = |what: u64| finalise(key.wrapping_add(what));
        let pad = self.pad as isize;
        // The upper bits of a product spread 64 random bits over 2 pad + 1 places; how unevenly is far below notice.
        let shift = |what| ((u128::from(draw(what)) * (2 * self.pad as u128 + 1)) >> 64) as isize - pad;
        Placement { flip: self.flip && draw(1) >> 63 == 1, top: shift(2), left: shift(3) }
    }
}
