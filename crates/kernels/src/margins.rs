//! Lower bounds of the margins `z_y - z_j` through the last layer, which is merged with the specification before
//! bounding (Gowal et al. 2018): `(W_y - W_j) c + b_y - b_j - |W_y - W_j| r`.
//!
//! The merged rows are made as they are used. One task takes an image, or, for the gradient of the weight, a block of
//! columns of all images in order.

use crate::arch::dispatch;
use crate::dense::sign;
use crate::math::sum_by;
use crate::scratch::{self, Shared};
use rayon::prelude::*;

/// Columns of the weight's gradient that a task makes.
const COLUMNS: usize = 64;

/// `y[images, classes]` of centres and radii `[images, width]`, `w[classes, width]`, `b[classes]`; 0 at the label.
pub fn forward(c: &[f32], r: &[f32], w: &[f32], b: &[f32], labels: &[u32], y: &mut [f32]) {
    let (classes, width) = sizes(c, r, w, labels, b.len());
    assert_eq!(y.len(), labels.len() * classes, "margins: y");
    let rows = c.par_chunks(width).zip(r.par_chunks(width)).zip(labels);
    y.par_chunks_mut(classes).zip(rows).for_each(|(y, ((c, r), &label))| {
        let label = label as usize;
        let own = &w[label * width..][..width];
        dispatch(
            #[inline(always)]
            |_| {
                for (j, (y, w)) in y.iter_mut().zip(w.chunks_exact(width)).enumerate() {
                    let sum = sum_by(
                        [own, w, c, r],
                        #[inline(always)]
                        |[own, w, c, r]| {
                            let row = own - w;
                            row * c - row.abs() * r
                        },
                    );
                    *y = sum + (b[label] - b[j]);
                }
            },
        );
    });
}

/// The gradients of centres and radii for the gradient `g[images, classes]` of the margins.
pub fn backward_input(g: &[f32], w: &[f32], labels: &[u32], dc: &mut [f32], dr: &mut [f32], classes: usize) {
    let (_, width) = sizes(dc, dr, w, labels, classes);
    assert_eq!(g.len(), labels.len() * classes, "margins: g");
    let rows = dc.par_chunks_mut(width).zip(dr.par_chunks_mut(width));
    rows.zip(g.par_chunks(classes).zip(labels)).for_each(|((dc, dr), (g, &label))| {
        let own = &w[label as usize * width..][..width];
        dc.fill(0.0);
        dr.fill(0.0);
        dispatch(
            #[inline(always)]
            |isa| {
                for (&g, w) in g.iter().zip(w.chunks_exact(width)) {
                    for (((dc, dr), &own), &w) in dc.iter_mut().zip(dr.iter_mut()).zip(own).zip(w) {
                        let row = own - w;
                        *dc = isa.fma(g, row, *dc);
                        *dr = isa.fma(-g, row.abs(), *dr);
                    }
                }
            },
        );
    });
}

/// The gradients `dw[classes, width]` and `db[classes]`, overwritten, for the gradient `g` of the margins.
pub fn backward_weight(c: &[f32], r: &[f32], g: &[f32], w: &[f32], labels: &[u32], dw: &mut [f32], db: &mut [f32]) {
    let classes = db.len();
    let (_, width) = sizes(c, r, w, labels, classes);
    assert!(g.len() == labels.len() * classes && dw.len() == w.len(), "margins: g, dw");
    let dw = Shared::new(dw);
    (0..width.div_ceil(COLUMNS)).into_par_iter().for_each(|block| {
        let (first, n) = (block * COLUMNS, COLUMNS.min(width - block * COLUMNS));
        let mut sums = scratch::zeros(classes * COLUMNS);
        for (image, (&label, g)) in labels.iter().zip(g.chunks_exact(classes)).enumerate() {
            let at = image * width + first;
            let (c, r) = (&c[at..][..n], &r[at..][..n]);
            let own = &w[label as usize * width + first..][..n];
            let mut total = [0.0_f32; COLUMNS];
            dispatch(
                #[inline(always)]
                |_| {
                    for (j, (&g, sums)) in g.iter().zip(sums.chunks_exact_mut(COLUMNS)).enumerate() {
                        let w = &w[j * width + first..][..n];
                        for d in 0..n {
                            // The derivative of the margin by the merged row.
                            let slope = g * (c[d] - sign(own[d] - w[d]) * r[d]);
                            sums[d] -= slope;
                            total[d] += slope;
                        }
                    }
                    let sums = &mut sums[label as usize * COLUMNS..][..COLUMNS];
                    for (sum, total) in sums.iter_mut().zip(total) {
                        *sum += total;
                    }
                },
            );
        }
        for (j, sums) in sums.chunks_exact(COLUMNS).enumerate() {
            // SAFETY: every task has its own columns.
            unsafe { dw.part(j * width + first, n) }.copy_from_slice(&sums[..n]);
        }
    });
    let mut sums = vec![0.0_f64; classes];
    for (&label, g) in labels.iter().zip(g.chunks_exact(classes)) {
        for (j, &g) in g.iter().enumerate() {
            sums[j] -= f64::from(g);
            sums[label as usize] += f64::from(g);
        }
    }
    for (db, sum) in db.iter_mut().zip(sums) {
        *db = sum as f32;
    }
}

/// Classes and width, checked.
fn sizes(c: &[f32], r: &[f32], w: &[f32], labels: &[u32], classes: usize) -> (usize, usize) {
    assert!(classes > 0 && w.len().is_multiple_of(classes) && !w.is_empty(), "margins: weight");
    let width = w.len() / classes;
    assert!(c.len() == labels.len() * width && r.len() == c.len(), "margins: centres, radii");
    assert!(labels.iter().all(|&y| (y as usize) < classes), "margins: a label outside the classes");
    (classes, width)
}
