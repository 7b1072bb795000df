//! The gradients of weight and bias, summed over groups of images that depend on the shape alone and added up in order.

use super::shape::Shape;
use super::tile::{self, Level};
use super::weight_tile::WeightSum;
use super::window::{Geometry, Window};
use super::winograd::{self, Rows};
use crate::arch::dispatch;
use crate::dense::sign;
use crate::extent::{Ptr, PtrMut, Shared};
use crate::gemm::pack::{self, View};
use crate::math;
use crate::output::make_output;
use crate::scratch::{self, Scratch};
use rayon::prelude::*;

/// The weight gradient of one group: tap by tap, or where that is less work at the points of [`winograd`].
struct WeightPass {
    /// Of the convolution.
    geometry: Geometry,
    /// Of the window: the same, or that of a point.
    each: Geometry,
    window: Window,
    offsets: Vec<usize>,
    level: &'static Level,
    outputs: usize,
    /// Output channels of a panel, and all of them in whole panels.
    nr: usize,
    padded: usize,
    /// Tiles of a block; 0 for tap by tap.
    tiles: usize,
}

impl WeightPass {
    fn new(geometry: Geometry, outputs: usize) -> Self {
        let tiles = if winograd::is_worthwhile(&geometry, outputs) { winograd::tiles(&geometry, outputs) } else { 0 };
        let each = if tiles > 0 { winograd::geometry(&geometry, tiles) } else { geometry };
        let window = Window::new(each, false);
        let level = tile::level_for(outputs);
        let nr = outputs.next_multiple_of(level.lanes).min(level.panel);
        let (offsets, padded) = (window.offsets(), outputs.next_multiple_of(nr));
        Self { geometry, each, window, offsets, level, outputs, nr, padded, tiles }
    }

    /// Numbers of the buffers that [`WeightPass::add`] takes: a window, panels, the transformed input and gradient.
    fn buffers(&self) -> [usize; 4] {
        let points = if self.tiles > 0 { winograd::POINTS } else { 0 };
        let panels = self.padded * self.window.rows * self.each.out[1];
        let [input, gradient] = [self.input(0).point_stride(), self.gradient(0).point_stride()];
        [self.window.len(self.level.lanes), panels, points * input, points * gradient]
    }

    /// Numbers that [`WeightPass::add`] adds to: `[taps, padded]`, or that for every point.
    fn sums(&self) -> usize {
        self.offsets.len() * self.padded * if self.tiles > 0 { winograd::POINTS } else { 1 }
    }

    fn input(&self, tile: usize) -> Rows {
        let (planes, size) = (self.geometry.channels, self.geometry.source);
        Rows::of(&self.geometry, planes, size, tile, self.tiles, -self.geometry.pad[0])
    }

    fn gradient(&self, tile: usize) -> Rows {
        Rows::of(&self.geometry, self.outputs, self.geometry.out, tile, self.tiles, 0)
    }

    /// Adds the group's part of an image.
    fn add(&self, x: &[f32], g: &[f32], sums: &mut [f32], buffers: &mut [Scratch; 4]) {
        let [window, panels, input, gradient] = buffers;
        if self.tiles == 0 {
            return self.add_rows(x, g, self.geometry.out[0], sums, window, panels);
        }
        for tile in (0..self.geometry.out[0].div_ceil(winograd::TILE)).step_by(self.tiles) {
            let (from, to) = (self.input(tile), self.gradient(tile));
            winograd::input(x, input, from);
            winograd::gradient(g, gradient, to);
            for (point, sums) in sums.chunks_exact_mut(self.offsets.len() * self.padded).enumerate() {
                let x = &input[point * from.point_stride()..][..from.point_stride()];
                let g = &gradient[point * to.point_stride()..][..to.point_stride()];
                self.add_rows(x, g, from.tiles, sums, window, panels);
            }
        }
    }

    /// Adds the first `rows` rows of planes.
    fn add_rows(&self, x: &[f32], g: &[f32], rows: usize, sums: &mut [f32], window: &mut [f32], panels: &mut [f32]) {
        let [height, width] = self.each.out;
        for y in (0..rows).step_by(self.window.rows) {
            let rows = self.window.rows.min(rows - y);
            let panels_at = PtrMut::of(panels);
            let view = View { start: Ptr::new(&g[y * width..]), row: 1, column: height * width };
            let sum = WeightSum {
                window: &self.window,
                offsets: &self.offsets,
                source: Ptr::new(x),
                y,
                rows,
                width,
                gradient: panels_at.as_const(),
                nr: self.nr,
                outputs: self.padded,
                sums: PtrMut::of(sums),
            };
            // SAFETY: the parts were cut to what the geometry addresses, the panels to the largest block.
            unsafe {
                let avx2 = crate::arch::has_avx2();
                pack::pack_panels(self.nr, avx2, rows * width, self.outputs, view, panels_at);
                self.level.sum_weights(sum, PtrMut::of(window));
            }
        }
    }

    /// The sums of the taps, `[taps, padded]`, from what was added up.
    fn finish(&self, added: &[f32], sums: &mut [f32]) {
        if self.tiles == 0 {
            return sums.copy_from_slice(added);
        }
        // Of a channel, at a point or in the kernel: three taps a row.
        let row = 3 * self.padded;
        for (channel, to) in sums.chunks_exact_mut(3 * row).enumerate() {
            winograd::weight_gradient(&added[channel * row..], self.geometry.channels * row, to, row);
        }
    }
}

/// Images whose weight gradient one task sums, and how many tasks a slab has: a task has enough to do, and the sums
/// of all tasks stay small.
fn image_groups(shape: &Shape) -> (usize, usize) {
    let most = ((1 << 22) / shape.weight_len().max(1)).clamp(8, 32);
    let images = shape.images.div_ceil(most).max(1);
    (images, shape.images.div_ceil(images))
}

/// The gradients `[dw, db]` of weight and bias for the gradient `g` of the output. The weights of the radii are magnitudes,
/// whose gradient is the sign of the weight, zero at zero.
///
/// # Panics
/// As [`forward`](super::forward).
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], shape: Shape) -> [Vec<f32>; 2] {
    shape.check(x.len(), w.len(), g.len());
    let geometry = shape.geometry();
    let (inputs, outputs, taps) = (shape.inputs / shape.groups, shape.outputs / shape.groups, shape.taps());
    let (source, plane) = (shape.size[0] * shape.size[1], geometry.out[0] * geometry.out[1]);
    let pass = WeightPass::new(geometry, outputs);
    // For every task the sums of the weight, [groups][taps][outputs rounded up], then those of the bias.
    let padded = pass.padded;
    let (weights, all) = (shape.groups * taps * padded, shape.groups * taps * padded + shape.outputs);
    let (images, tasks) = image_groups(&shape);
    let mut sums = scratch::take(shape.slabs * tasks * all);
    sums.par_chunks_mut(all.max(1)).enumerate().for_each(|(task, sums)| {
        let (slab, first) = (task / tasks, task % tasks * images);
        let (sums, bias) = sums.split_at_mut(weights);
        let mut buffers = pass.buffers().map(scratch::take);
        let mut totals = vec![0.0_f64; if slab < 2 { shape.outputs } else { 0 }];
        for (group, sums) in sums.chunks_exact_mut((taps * padded).max(1)).enumerate() {
            let mut at_points = scratch::zeros(pass.sums());
            for image in slab * shape.images + first..slab * shape.images + shape.images.min(first + images) {
                let x = &x[(image * shape.inputs + group * inputs) * source..][..inputs * source];
                let g = &g[(image * shape.outputs + group * outputs) * plane..][..outputs * plane];
                pass.add(x, g, &mut at_points, &mut buffers);
                for (total, g) in totals.iter_mut().skip(group * outputs).zip(g.chunks_exact(plane)) {
                    *total += f64::from(dispatch(
                        #[inline(always)]
                        |_| math::sum(g),
                    ));
                }
            }
            pass.finish(&at_points, sums);
        }
        for (bias, total) in bias.iter_mut().zip(totals) {
            *bias = total as f32;
        }
    });
    let sums = Sums { sums: &sums, padded, weights, all };
    [sums.weight(w, &shape), sums.bias(&shape)]
}

/// The sums of all tasks.
struct Sums<'a> {
    sums: &'a [f32],
    /// Output channels of a group, rounded up.
    padded: usize,
    /// Numbers of a task before those of the bias, and all of them.
    weights: usize,
    all: usize,
}

impl Sums<'_> {
    /// Those of clean activations and centres, and those of radii.
    fn parts(&self, slabs: usize) -> (&[f32], &[f32]) {
        self.sums.split_at(self.sums.len() / slabs * slabs.min(2))
    }

    /// Added up in order, with the sign of the weight for those of the radii.
    fn weight(&self, w: &[f32], shape: &Shape) -> Vec<f32> {
        const BLOCK: usize = 16;
        let (outputs, taps) = (shape.outputs / shape.groups, shape.taps());
        let (plain, radius) = self.parts(shape.slabs);
        // Every task transposes a block of output channels of a group.
        let blocks = outputs.div_ceil(BLOCK);
        make_output(w.len(), |dw| {
            let shared = Shared::new(&mut *dw);
            (0..shape.groups * blocks).into_par_iter().for_each(|block| {
                let (group, first) = (block / blocks, block % blocks * BLOCK);
                let count = BLOCK.min(outputs - first);
                let start = (group * outputs + first) * taps;
                // SAFETY: every task has its own output channels.
                let dw = unsafe { shared.part(start, count * taps) };
                for t in 0..taps {
                    let at = (group * taps + t) * self.padded + first;
                    let total = |sums: &[f32]| {
                        let mut total = [0.0_f64; BLOCK];
                        for sums in sums.chunks_exact(self.all) {
                            for (total, &v) in total.iter_mut().zip(&sums[at..][..count]) {
                                *total += f64::from(v);
                            }
                        }
                        total
                    };
                    let (plain, radius) = (total(plain), total(radius));
                    for o in 0..count {
                        let sign = f64::from(sign(w[start + o * taps + t]));
                        // Without radii their sum is zero.
                        dw[o * taps + t].write((plain[o] + sign * radius[o]) as f32);
                    }
                }
            });
            // SAFETY: the blocks cover all output channels, and of each all taps were written.
            unsafe { dw.assume_init_mut() }
        })
    }

    /// Added up in order, without those of the radii.
    fn bias(&self, shape: &Shape) -> Vec<f32> {
        let (plain, _) = self.parts(shape.slabs);
        let total = |o: usize| plain.chunks_exact(self.all).map(|sums| f64::from(sums[self.weights + o])).sum::<f64>();
        (0..shape.outputs).map(|o| total(o) as f32).collect()
    }
}
