//! ReLU of a stack: of the clean activations, and of both ends of the intervals `[c - r, c + r]`.
//!
//! With `u = relu(c + r)` and `l = relu(c - r)` the new centre is `(u + l) / 2` and the new radius `(u - l) / 2`.

use crate::arch::dispatch;
use crate::channel_affine::{self, Dims};
use crate::extent::Shared;
use crate::output::{Slot, make_output};
use crate::scratch;
use rayon::prelude::*;

/// Elements of a slab that a task works on.
const CHUNK: usize = 1 << 13;

/// A comparison that keeps a NaN.
#[inline(always)]
fn positive(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

/// `y[slabs, ..]` of `x[slabs, ..]`.
///
/// # Panics
/// If `slabs` is neither 1 nor 3, or does not divide the length of `x`.
pub fn forward(x: &[f32], slabs: usize) -> Vec<f32> {
    make_output(x.len(), |y| {
        chunks(x, &mut *y, slabs, clean_forward, interval_forward);
        // SAFETY: the chunks cover every slab, and of each all numbers were written.
        unsafe { y.assume_init_mut() }
    })
}

/// Replaces the gradient `g` of the output by that of the input `x`; the slope at 0 is 0.
///
/// # Panics
/// As [`forward`], and if `g` is not as long as `x`.
pub fn backward(x: &[f32], g: &mut [f32], slabs: usize) {
    chunks(x, g, slabs, clean_backward, interval_backward);
}

/// [`backward`] for an input that is not kept: it is [`channel_affine`] of `x`, and made again plane
/// by plane, in the cache. `dims` are those of `x`.
///
/// # Panics
/// If a slice is not as long as `dims` says.
pub fn backward_after(x: &[f32], scale: &[f32], shift: &[f32], g: &mut [f32], dims: Dims) {
    let (slab, plane) = (x.len() / dims.slabs, dims.plane);
    assert!(g.len() == x.len() && scale.len() == dims.channels && shift.len() == dims.channels, "relu: lengths");
    let g = Shared::new(g);
    (0..slab / (dims.channels * plane)).into_par_iter().for_each(|image| {
        let mut input = scratch::take(dims.slabs * plane);
        for channel in 0..dims.channels {
            let map = [scale[channel], shift[channel]];
            dispatch(
                #[inline(always)]
                |isa| channel_affine::planes(isa, x, map, image, channel, &mut input, dims),
            );
            let start = (image * dims.channels + channel) * plane;
            // SAFETY: every task has its own planes of every slab.
            unsafe {
                clean_backward(&input[..plane], g.part(start, plane));
                if dims.slabs == 3 {
                    let [c, r] = [slab + start, 2 * slab + start].map(|at| g.part(at, plane));
                    interval_backward([&input[plane..2 * plane], &input[2 * plane..]], [c, r]);
                }
            }
        }
    });
}

/// Centres and radii of the input, then what is written: slots, or a gradient that is replaced.
type Interval<T> = fn([&[f32]; 2], [&mut [T]; 2]);

/// Runs `clean(x, out)` on chunks of the first slab, `interval([c, r], [out c, out r])` on the others.
fn chunks<T: Send>(x: &[f32], out: &mut [T], slabs: usize, clean: fn(&[f32], &mut [T]), interval: Interval<T>) {
    assert!(slabs == 1 || slabs == 3, "relu: {slabs} slabs");
    assert!(x.len() == out.len() && x.len().is_multiple_of(slabs), "relu: lengths");
    let slab = x.len() / slabs;
    let out = Shared::new(out);
    (0..slab.div_ceil(CHUNK)).into_par_iter().for_each(|chunk| {
        let (start, n) = (chunk * CHUNK, CHUNK.min(slab - chunk * CHUNK));
        // SAFETY: every task has its own chunk of every slab.
        unsafe {
            clean(&x[start..][..n], out.part(start, n));
            if slabs == 3 {
                let at = [slab + start, 2 * slab + start];
                let [c, r] = at.map(|at| out.part(at, n));
                interval(at.map(|at| &x[at..][..n]), [c, r]);
            }
        }
    });
}

fn clean_forward(x: &[f32], y: &mut [Slot]) {
    dispatch(
        #[inline(always)]
        |_| {
            for (y, &x) in y.iter_mut().zip(x) {
                y.write(positive(x));
            }
        },
    );
}

fn interval_forward([c, r]: [&[f32]; 2], [yc, yr]: [&mut [Slot]; 2]) {
    dispatch(
        #[inline(always)]
        |_| {
            for ((&c, &r), (yc, yr)) in c.iter().zip(r).zip(yc.iter_mut().zip(yr)) {
                let (upper, lower) = (positive(c + r), positive(c - r));
                yc.write(0.5 * (upper + lower));
                yr.write(0.5 * (upper - lower));
            }
        },
    );
}

fn clean_backward(x: &[f32], g: &mut [f32]) {
    dispatch(
        #[inline(always)]
        |_| {
            for (g, &x) in g.iter_mut().zip(x) {
                *g = if x > 0.0 { *g } else { 0.0 };
            }
        },
    );
}

fn interval_backward([c, r]: [&[f32]; 2], [gc, gr]: [&mut [f32]; 2]) {
    dispatch(
        #[inline(always)]
        |_| {
            for ((&c, &r), (gc, gr)) in c.iter().zip(r).zip(gc.iter_mut().zip(gr)) {
                let upper = if c + r > 0.0 { 0.5 * (*gc + *gr) } else { 0.0 };
                let lower = if c - r > 0.0 { 0.5 * (*gc - *gr) } else { 0.0 };
                *gc = upper + lower;
                *gr = upper - lower;
            }
        },
    );
}
