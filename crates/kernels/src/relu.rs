//! ReLU of a stack: of the clean activations, and of both ends of the intervals `[c - r, c + r]`.
//!
//! With `u = relu(c + r)` and `l = relu(c - r)` the new centre is `(u + l) / 2` and the new radius `(u - l) / 2`.

use crate::arch::dispatch;
use crate::scratch::Shared;
use rayon::prelude::*;

/// Elements of a slab that a task works on.
const CHUNK: usize = 1 << 13;

/// A comparison that keeps a NaN.
#[inline(always)]
fn positive(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

/// `y[slabs, ..]` of `x[slabs, ..]`.
pub fn forward(x: &[f32], y: &mut [f32], slabs: usize) {
    chunks(x, x, y, slabs, clean_forward, interval_forward);
}

/// `dx` for the input `x` and the gradient `g` of the output; the slope at 0 is 0.
pub fn backward(x: &[f32], g: &[f32], dx: &mut [f32], slabs: usize) {
    chunks(x, g, dx, slabs, clean_backward, interval_backward);
}

/// Inputs, gradients and results, each of centres and radii.
type Interval = fn([&[f32]; 2], [&[f32]; 2], [&mut [f32]; 2]);

/// Runs `clean(x, g, out)` on chunks of the first slab, `interval([c, r], [gc, gr], [out c, out r])` on the others.
fn chunks(
    x: &[f32],
    g: &[f32],
    out: &mut [f32],
    slabs: usize,
    clean: fn(&[f32], &[f32], &mut [f32]),
    interval: Interval,
) {
    assert!(slabs == 1 || slabs == 3, "relu: {slabs} slabs");
    assert!(x.len() == g.len() && x.len() == out.len() && x.len().is_multiple_of(slabs), "relu: lengths");
    let slab = x.len() / slabs;
    let out = Shared::new(out);
    (0..slab.div_ceil(CHUNK)).into_par_iter().for_each(|chunk| {
        let (start, n) = (chunk * CHUNK, CHUNK.min(slab - chunk * CHUNK));
        // SAFETY: every task has its own chunk of every slab.
        unsafe {
            clean(&x[start..][..n], &g[start..][..n], out.part(start, n));
            if slabs == 3 {
                let at = [slab + start, 2 * slab + start];
                let [c, r] = at.map(|at| out.part(at, n));
                interval(at.map(|at| &x[at..][..n]), at.map(|at| &g[at..][..n]), [c, r]);
            }
        }
    });
}

fn clean_forward(x: &[f32], _: &[f32], y: &mut [f32]) {
    dispatch(
        #[inline(always)]
        |_| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = positive(x);
            }
        },
    );
}

fn interval_forward([c, r]: [&[f32]; 2], _: [&[f32]; 2], [yc, yr]: [&mut [f32]; 2]) {
    dispatch(
        #[inline(always)]
        |_| {
            for ((&c, &r), (yc, yr)) in c.iter().zip(r).zip(yc.iter_mut().zip(yr)) {
                let (upper, lower) = (positive(c + r), positive(c - r));
                *yc = 0.5 * (upper + lower);
                *yr = 0.5 * (upper - lower);
            }
        },
    );
}

fn clean_backward(x: &[f32], g: &[f32], dx: &mut [f32]) {
    dispatch(
        #[inline(always)]
        |_| {
            for (dx, (&x, &g)) in dx.iter_mut().zip(x.iter().zip(g)) {
                *dx = if x > 0.0 { g } else { 0.0 };
            }
        },
    );
}

fn interval_backward([c, r]: [&[f32]; 2], [gc, gr]: [&[f32]; 2], [dc, dr]: [&mut [f32]; 2]) {
    dispatch(
        #[inline(always)]
        |_| {
            let gradients = gc.iter().zip(gr);
            for (((&c, &r), (&gc, &gr)), (dc, dr)) in c.iter().zip(r).zip(gradients).zip(dc.iter_mut().zip(dr)) {
                let upper = if c + r > 0.0 { 0.5 * (gc + gr) } else { 0.0 };
                let lower = if c - r > 0.0 { 0.5 * (gc - gr) } else { 0.0 };
                *dc = upper + lower;
                *dr = upper - lower;
            }
        },
    );
}
