//! Lower bounds of the margins `z_y - z_j` through the last layer, which is merged with the specification before
//! bounding (Gowal et al. 2018): `(W_y - W_j) c + b_y - b_j - |W_y - W_j| r`.
//!
//! The merged rows are made as they are used. One task takes an image, or, for the gradient of the weight, a block of
//! columns of all images in order.

use crate::arch::dispatch;
use crate::dense::sign;
use crate::extent::Shared;
use crate::math::sum_by;
use crate::output::{self, Slot, make_output};
use crate::scratch;
use rayon::prelude::*;

/// Columns of the weight's gradient that a task makes.
const COLUMNS: usize = 64;

/// `y[images, classes]` of the stack `x[3, images, width]`, `w[classes, width]`, `b[classes]` and one label an image; 0 at the
/// label.
///
/// # Panics
/// If the lengths do not belong together, or a label is not below the number of classes; so does every function here.
pub fn forward(x: &[f32], w: &[f32], b: &[f32], labels: &[u32]) -> Vec<f32> {
    let Sizes { classes, width, slab } = Sizes::new(w, labels, b.len());
    let (c, r) = intervals(x, slab);
    make_output(labels.len() * classes, |y| {
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
                        y.write(sum + (b[label] - b[j]));
                    }
                },
            );
        });
        // SAFETY: there is a row of y for every image, with a number for each of the classes that w has.
        unsafe { y.assume_init_mut() }
    })
}

/// The gradient of the stack `x[3, images, width]` for the gradient `g[images, classes]` of the margins: zero for the clean
/// activations.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(g: &[f32], w: &[f32], labels: &[u32], classes: usize) -> Vec<f32> {
    let Sizes { width, slab, .. } = Sizes::new(w, labels, classes);
    assert_eq!(g.len(), labels.len() * classes, "margins: g");
    make_output(3 * slab, |dx| {
        let (clean, intervals) = dx.split_at_mut(slab);
        let (dc, dr) = intervals.split_at_mut(slab);
        output::fill(clean, 0.0);
        let rows = dc.par_chunks_mut(width).zip(dr.par_chunks_mut(width));
        rows.zip(g.par_chunks(classes).zip(labels)).for_each(|((dc, dr), (g, &label))| {
            let own = &w[label as usize * width..][..width];
            let (dc, dr) = (output::fill(dc, 0.0), output::fill(dr, 0.0));
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
        // SAFETY: zeros were written to the clean activations and to every row of the others.
        unsafe { dx.assume_init_mut() }
    })
}

/// The gradients `[dw[classes, width], db[classes]]` for the gradient `g[images, classes]` of the margins of the stack `x`.
///
/// # Panics
/// As [`forward`].
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], labels: &[u32], classes: usize) -> [Vec<f32>; 2] {
    let sizes = Sizes::new(w, labels, classes);
    assert_eq!(g.len(), labels.len() * classes, "margins: g");
    let dw = make_output(w.len(), |dw| {
        add_images(intervals(x, sizes.slab), g, w, labels, sizes, &Shared::new(&mut *dw));
        // SAFETY: every task wrote its columns of all classes.
        unsafe { dw.assume_init_mut() }
    });
    let mut sums = vec![0.0_f64; classes];
    for (&label, g) in labels.iter().zip(g.chunks_exact(classes)) {
        for (j, &g) in g.iter().enumerate() {
            sums[j] -= f64::from(g);
            sums[label as usize] += f64::from(g);
        }
    }
    [dw, sums.into_iter().map(|sum| sum as f32).collect()]
}

/// Writes the gradient of the weight, a block of columns a task.
fn add_images(
    (c, r): (&[f32], &[f32]),
    g: &[f32],
    w: &[f32],
    labels: &[u32],
    Sizes { classes, width, .. }: Sizes,
    dw: &Shared<Slot>,
) {
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
            unsafe { dw.part(j * width + first, n) }.write_copy_of_slice(&sums[..n]);
        }
    });
}

#[derive(Clone, Copy)]
struct Sizes {
    classes: usize,
    width: usize,
    /// Numbers of a slab of the stack.
    slab: usize,
}

impl Sizes {
    /// Checked.
    fn new(w: &[f32], labels: &[u32], classes: usize) -> Self {
        assert!(classes > 0 && w.len().is_multiple_of(classes) && !w.is_empty(), "margins: weight");
        assert!(labels.iter().all(|&y| (y as usize) < classes), "margins: a label outside the classes");
        let width = w.len() / classes;
        Self { classes, width, slab: labels.len() * width }
    }
}

/// Centres and radii of a stack.
fn intervals(x: &[f32], slab: usize) -> (&[f32], &[f32]) {
    assert_eq!(x.len(), 3 * slab, "margins: a stack of three slabs");
    x[slab..].split_at(slab)
}
