//! Mean and biased variance of every channel, for batch normalisation (Ioffe & Szegedy 2015).
//!
//! One pass: sums of the values and of their squares in `f64`, a pair an image and channel, which are then added up
//! in the order of the images. In `f64` the difference of the mean square and the squared mean keeps more digits than
//! an `f32` has, unless the mean is ten thousand standard deviations.

use crate::arch::dispatch;
use crate::channel_affine::Dims;
use crate::output::{self, make_output};
use rayon::prelude::*;

/// `moments[2, channels]`, mean and biased variance, of the clean activations of the stack
/// `x[slabs, images, channels, plane]`.
///
/// # Panics
/// If `x` is not whole images of `dims` in each of its slabs.
pub fn forward(x: &[f32], dims: Dims) -> Vec<f32> {
    dims.check(x.len(), dims.channels);
    let Dims { slabs, channels, plane } = dims;
    let (x, width) = (&x[..x.len() / slabs], channels * plane);
    let mut moments = vec![0.0; 2 * channels];
    let mut partial = vec![[0.0; 2]; x.len() / plane];
    partial.par_chunks_mut(channels).zip(x.par_chunks(width)).for_each(|(partial, image)| {
        dispatch(
            #[inline(always)]
            |_| {
                for (partial, plane) in partial.iter_mut().zip(image.chunks_exact(plane)) {
                    *partial = sums(plane);
                }
            },
        );
    });
    let count = (x.len() / channels) as f64;
    for c in 0..channels {
        let (mut sum, mut squares) = (0.0, 0.0);
        for [s, q] in partial.iter().skip(c).step_by(channels) {
            sum += s;
            squares += q;
        }
        let mean = sum / count;
        let variance = squares / count - mean * mean;
        moments[c] = mean as f32;
        // Rounding may leave a variance of zero below it; a NaN stays.
        moments[channels + c] = if variance < 0.0 { 0.0 } else { variance as f32 };
    }
    moments
}

/// Sum and sum of squares.
#[inline(always)]
fn sums(plane: &[f32]) -> [f64; 2] {
    const LANES: usize = 16;
    let (mut sum, mut squares) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let (whole, rest) = plane.as_chunks::<LANES>();
    for part in whole {
        for ((sum, square), &v) in sum.iter_mut().zip(&mut squares).zip(part) {
            let v = f64::from(v);
            *sum += v;
            *square += v * v;
        }
    }
    let (mut last, mut last_squares) = (0.0, 0.0);
    for &v in rest {
        let v = f64::from(v);
        last += v;
        last_squares += v * v;
    }
    // Flat activations have planes of one number.
    if whole.is_empty() {
        return [last, last_squares];
    }
    [sum.iter().sum::<f64>() + last, squares.iter().sum::<f64>() + last_squares]
}

/// The gradient of the stack `x` for the gradient `g[2, channels]` of its `moments[2, channels]`: zero for centres and radii.
///
/// # Panics
/// As [`forward`], and if moments or gradient have not two numbers a channel.
pub fn backward(x: &[f32], moments: &[f32], g: &[f32], dims: Dims) -> Vec<f32> {
    dims.check(x.len(), dims.channels);
    let Dims { slabs, channels, plane } = dims;
    assert!(moments.len() == 2 * channels && g.len() == 2 * channels, "channel_moments: moments, g");
    let (clean, width) = (x.len() / slabs, channels * plane);
    let count = (clean / channels) as f64;
    make_output(x.len(), |dx| {
        let (dx_clean, intervals) = dx.split_at_mut(clean);
        dx_clean.par_chunks_mut(width).zip(x[..clean].par_chunks(width)).for_each(|(dx, x)| {
            for (c, (dx, x)) in dx.chunks_exact_mut(plane).zip(x.chunks_exact(plane)).enumerate() {
                let mean = moments[c];
                let constant = (f64::from(g[c]) / count) as f32;
                let slope = (2.0 * f64::from(g[channels + c]) / count) as f32;
                dispatch(
                    #[inline(always)]
                    |isa| {
                        for (dx, &x) in dx.iter_mut().zip(x) {
                            dx.write(isa.fma(x - mean, slope, constant));
                        }
                    },
                );
            }
        });
        output::fill(intervals, 0.0);
        // SAFETY: every plane of the clean images was written, and all of the rest.
        unsafe { dx.assume_init_mut() }
    })
}
