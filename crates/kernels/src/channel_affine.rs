//! An affine map per channel of a stack: `scale * x + shift` for clean activations and centres, `|scale| * r` for radii.
//!
//! With scale and shift from given statistics this is batch normalisation ([`batch_norm`](crate::batch_norm) is the one
//! with the statistics of the batch itself). Backward, the sums of scale and shift are made in one piece an image and
//! channel and then added up in order in `f64`.

use crate::arch::{Isa, dispatch};
use crate::dense::sign;
use crate::math::{sum, sum_by};
use crate::output::make_output;
use rayon::prelude::*;

/// Sizes of a stack `[slabs, images, channels, plane]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// 1 or 3.
    pub slabs: usize,
    /// Channels.
    pub channels: usize,
    /// Numbers of one channel of one image.
    pub plane: usize,
}

impl Dims {
    pub(crate) fn check(&self, stack: usize, channels: usize) {
        assert!(self.slabs == 1 || self.slabs == 3, "channel_affine: {} slabs", self.slabs);
        let image = self.channels * self.plane;
        assert!(image > 0 && stack.is_multiple_of(self.slabs * image), "channel_affine: {stack} numbers, {self:?}");
        assert_eq!(channels, self.channels, "channel_affine: channels");
    }

    /// Images before the radii.
    fn plain(&self, stack: usize) -> usize {
        stack / (self.slabs * self.channels * self.plane) * self.slabs.min(2)
    }
}

/// `y` of `x`, both `[slabs, images, channels, plane]`; scale and shift are `[channels]`.
///
/// # Panics
/// If `x` is not whole images of `dims` in each of 1 or 3 slabs, or scale or shift have not a number a channel.
pub fn forward(x: &[f32], scale: &[f32], shift: &[f32], dims: Dims) -> Vec<f32> {
    dims.check(x.len(), scale.len());
    assert_eq!(shift.len(), scale.len(), "channel_affine: shift");
    let image = dims.channels * dims.plane;
    let plain = dims.plain(x.len());
    make_output(x.len(), |y| {
        y.par_chunks_mut(image).zip(x.par_chunks(image)).enumerate().for_each(|(i, (y, x))| {
            dispatch(
                #[inline(always)]
                |isa| {
                    let planes = y.chunks_exact_mut(dims.plane).zip(x.chunks_exact(dims.plane));
                    for ((y, x), (&scale, &shift)) in planes.zip(scale.iter().zip(shift)) {
                        let (scale, shift) = if i < plain { (scale, shift) } else { (scale.abs(), 0.0) };
                        for (y, &x) in y.iter_mut().zip(x) {
                            y.write(isa.fma(x, scale, shift));
                        }
                    }
                },
            );
        });
        // SAFETY: x and y are the same whole images, and every plane of each was written.
        unsafe { y.assume_init_mut() }
    })
}

/// Makes the planes of one channel of one image again, `[slabs, plane]`, as [`forward`] made them.
#[inline(always)]
pub(crate) fn planes(
    isa: Isa,
    x: &[f32],
    [scale, shift]: [f32; 2],
    image: usize,
    channel: usize,
    y: &mut [f32],
    dims: Dims,
) {
    let slab = x.len() / dims.slabs;
    for (s, y) in y.chunks_exact_mut(dims.plane).enumerate() {
        let (scale, shift) = if s < 2 { (scale, shift) } else { (scale.abs(), 0.0) };
        let x = &x[s * slab + (image * dims.channels + channel) * dims.plane..][..dims.plane];
        for (y, &x) in y.iter_mut().zip(x) {
            *y = isa.fma(x, scale, shift);
        }
    }
}

/// Replaces the gradient `g` of the output by that of `x`, and returns `[dscale, dshift]`, each `[channels]`.
///
/// # Panics
/// As [`forward`], and if `g` is not as long as `x`.
pub fn backward(x: &[f32], scale: &[f32], g: &mut [f32], dims: Dims) -> [Vec<f32>; 2] {
    let sums = gradient_sums(x, scale, g, dims);
    scale_gradient(scale, g, dims, |_, _, _, _| ());
    [0, 1].map(|i| sums.iter().map(|sum| sum[i] as f32).collect())
}

/// For every channel the gradients of scale and shift for the gradient `g` of the output.
pub(crate) fn gradient_sums(x: &[f32], scale: &[f32], g: &[f32], dims: Dims) -> Vec<[f64; 2]> {
    dims.check(x.len(), scale.len());
    assert!(g.len() == x.len(), "channel_affine: g");
    let (channels, plane) = (dims.channels, dims.plane);
    let plain = dims.plain(x.len());
    let mut partial = vec![[0.0_f32; 2]; x.len() / plane];
    let images = g.par_chunks(channels * plane).zip(x.par_chunks(channels * plane));
    images.zip(partial.par_chunks_mut(channels)).enumerate().for_each(|(i, ((g, x), partial))| {
        dispatch(
            #[inline(always)]
            |_| {
                let planes = g.chunks_exact(plane).zip(x.chunks_exact(plane));
                for ((g, x), (partial, &scale)) in planes.zip(partial.iter_mut().zip(scale)) {
                    let with_x = sum_by(
                        [g, x],
                        #[inline(always)]
                        |[g, x]| g * x,
                    );
                    *partial = if i < plain { [with_x, sum(g)] } else { [sign(scale) * with_x, 0.0] };
                }
            },
        );
    });
    let mut sums = vec![[0.0_f64; 2]; channels];
    for image in partial.chunks_exact(channels) {
        for (sum, part) in sums.iter_mut().zip(image) {
            sum[0] += f64::from(part[0]);
            sum[1] += f64::from(part[1]);
        }
    }
    sums
}

/// Multiplies the gradient by the scale, or its magnitude for radii, and then calls `more(isa, image, channel, gradient)`
/// for every plane, while it is in the cache.
pub(crate) fn scale_gradient(
    scale: &[f32],
    g: &mut [f32],
    dims: Dims,
    more: impl Fn(Isa, usize, usize, &mut [f32]) + Sync,
) {
    let plain = dims.plain(g.len());
    g.par_chunks_mut(dims.channels * dims.plane).enumerate().for_each(|(i, g)| {
        dispatch(
            #[inline(always)]
            |isa| {
                for (c, (g, &scale)) in g.chunks_exact_mut(dims.plane).zip(scale).enumerate() {
                    let factor = if i < plain { scale } else { scale.abs() };
                    for g in g.iter_mut() {
                        *g *= factor;
                    }
                    more(isa, i, c, g);
                }
            },
        );
    });
}
