//! An affine map per channel of a stack: `scale * x + shift` for clean activations and centres, `|scale| * r` for radii.
//!
//! With the right scale and shift this is batch normalisation. Backward, the sums of scale and shift are made in one
//! piece an image and channel and then added up in order in `f64`.

use crate::arch::dispatch;
use crate::dense::sign;
use crate::math::{sum, sum_by};
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
    fn check(&self, stack: usize, channels: usize) {
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
pub fn forward(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32], dims: Dims) {
    dims.check(x.len(), scale.len());
    assert!(y.len() == x.len() && shift.len() == scale.len(), "channel_affine: y, shift");
    let image = dims.channels * dims.plane;
    let plain = dims.plain(x.len());
    y.par_chunks_mut(image).zip(x.par_chunks(image)).enumerate().for_each(|(i, (y, x))| {
        dispatch(
            #[inline(always)]
            |isa| {
                let planes = y.chunks_exact_mut(dims.plane).zip(x.chunks_exact(dims.plane));
                for ((y, x), (&scale, &shift)) in planes.zip(scale.iter().zip(shift)) {
                    let (scale, shift) = if i < plain { (scale, shift) } else { (scale.abs(), 0.0) };
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = isa.fma(x, scale, shift);
                    }
                }
            },
        );
    });
}

/// Replaces the gradient `g` of the output by that of `x`, and overwrites `[dscale, dshift]`, each `[channels]`.
pub fn backward(x: &[f32], scale: &[f32], g: &mut [f32], sums: [&mut [f32]; 2], dims: Dims) {
    dims.check(x.len(), scale.len());
    assert!(g.len() == x.len(), "channel_affine: g");
    let [dscale, dshift] = sums;
    assert!(dscale.len() == scale.len() && dshift.len() == scale.len(), "channel_affine: sums");
    let (channels, plane) = (dims.channels, dims.plane);
    let image = channels * plane;
    let plain = dims.plain(x.len());
    let mut partial = vec![[0.0_f32; 2]; x.len() / plane];
    g.par_chunks_mut(image).zip(x.par_chunks(image)).zip(partial.par_chunks_mut(channels)).enumerate().for_each(
        |(i, ((g, x), partial))| {
            dispatch(
                #[inline(always)]
                |_| {
                    let planes = g.chunks_exact_mut(plane).zip(x.chunks_exact(plane));
                    for ((g, x), (partial, &scale)) in planes.zip(partial.iter_mut().zip(scale)) {
                        let factor = if i < plain { scale } else { scale.abs() };
                        *partial = plane_backward(x, g, factor);
                        if i >= plain {
                            *partial = [sign(scale) * partial[0], 0.0];
                        }
                    }
                },
            );
        },
    );
    for (c, (dscale, dshift)) in dscale.iter_mut().zip(dshift).enumerate() {
        let (mut with_x, mut alone) = (0.0_f64, 0.0_f64);
        for [a, b] in partial.iter().skip(c).step_by(channels) {
            with_x += f64::from(*a);
            alone += f64::from(*b);
        }
        (*dscale, *dshift) = (with_x as f32, alone as f32);
    }
}

/// The sums of `g x` and of `g`; then `g` is multiplied by `factor`.
#[inline(always)]
fn plane_backward(x: &[f32], g: &mut [f32], factor: f32) -> [f32; 2] {
    let with_x = sum_by(
        [g, x],
        #[inline(always)]
        |[g, x]| g * x,
    );
    let alone = sum(g);
    for g in g {
        *g *= factor;
    }
    [with_x, alone]
}
