//! Convolution of stacks of images, channels first, with a square kernel.
//!
//! One task makes one image of one slab: it copies what a block of output rows needs into a small [`window`], from
//! which the tiles ([`tile`]) read every tap directly, and writes the output in its place. Memory sees one read of the
//! input and one write of the output; weights are put into the tiles' order once a call.
//!
//! A stack has one slab (clean activations) or three (clean, centre, radius); the radius is convolved with the
//! magnitudes of the weights and without bias (interval bound propagation, Gowal et al. 2018). The gradient of the
//! input is a correlation of the output's gradient with the mirrored kernel; with a stride of s, s x s of them, one
//! for each phase of the input. The gradient of the weight is summed over groups of images that depend on the shape
//! alone and added up in order.

mod tile;
mod window;

use crate::arch::dispatch;
use crate::dense::sign;
use crate::gemm::pack::{self, View};
use crate::math;
use crate::scratch::{self, Scratch, Shared};
use rayon::prelude::*;
use tile::{Correlation, Level, WeightSum};
use window::{Geometry, Window};

/// Sizes of a convolution of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 1: clean activations; 3: clean activations, centres and radii.
    pub slabs: usize,
    /// Images of a slab.
    pub images: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Groups of channels that do not see each other; divides both.
    pub groups: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros on every side of the input.
    pub padding: usize,
}

impl Shape {
    /// Height and width of the output. The kernel must fit into the padded input.
    pub fn output(&self) -> [usize; 2] {
        self.size.map(|size| {
            assert!(size + 2 * self.padding >= self.kernel, "conv: the kernel is larger than the padded input");
            (size + 2 * self.padding - self.kernel) / self.stride + 1
        })
    }

    /// Numbers of the input.
    pub fn input_len(&self) -> usize {
        self.slabs * self.images * self.inputs * self.size[0] * self.size[1]
    }

    /// Numbers of the output.
    pub fn output_len(&self) -> usize {
        let [height, width] = self.output();
        self.slabs * self.images * self.outputs * height * width
    }

    /// Numbers of the weight, `[outputs, inputs / groups, kernel, kernel]`.
    pub fn weight_len(&self) -> usize {
        self.outputs * self.taps()
    }

    /// Numbers that an output is a sum of.
    fn taps(&self) -> usize {
        self.inputs / self.groups * self.kernel * self.kernel
    }

    fn check(&self, x: usize, w: usize, y: usize) {
        assert!(self.slabs == 1 || self.slabs == 3, "conv: {} slabs", self.slabs);
        assert!(self.kernel > 0 && self.stride > 0 && self.groups > 0, "conv: {self:?}");
        assert!(self.inputs.is_multiple_of(self.groups) && self.outputs.is_multiple_of(self.groups), "conv: {self:?}");
        assert_eq!(x, self.input_len(), "conv: input");
        assert_eq!(w, self.weight_len(), "conv: weight");
        assert_eq!(y, self.output_len(), "conv: output");
    }

    /// What the forward pass reads and writes, for one group of channels.
    fn geometry(&self) -> Geometry {
        Geometry {
            channels: self.inputs / self.groups,
            source: self.size,
            out: self.output(),
            taps: [self.kernel; 2],
            step: self.stride,
            pad: [self.padding as isize; 2],
        }
    }

    /// What the gradient of input pixels `(s t + first)` reads and writes: `phase` is the remainder of row and column,
    /// counted in the padded input, by the stride. `None` if no output saw those pixels or there are none.
    fn phase(&self, phase: [usize; 2]) -> Option<Phase> {
        let s = self.stride;
        let (mut taps, mut out, mut first, mut pad) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        for d in 0..2 {
            // Padded row s t + phase is input row s t + phase - padding; t begins where that is no longer negative.
            let start = self.padding.saturating_sub(phase[d]).div_ceil(s);
            first[d] = s * start + phase[d] - self.padding;
            taps[d] = self.kernel.saturating_sub(phase[d]).div_ceil(s);
            out[d] = self.size[d].saturating_sub(first[d]).div_ceil(s);
            // Tap u of the mirrored kernel reads output t - (taps - 1) + u.
            pad[d] = taps[d] as isize - 1 - start as isize;
        }
        let geometry =
            Geometry { channels: self.outputs / self.groups, source: self.output(), out, taps, step: 1, pad };
        (taps.iter().all(|&n| n > 0) && out.iter().all(|&n| n > 0)).then_some(Phase { phase, first, geometry })
    }
}

/// A part of the gradient of the input: every stride-th row and column.
#[derive(Clone, Copy)]
struct Phase {
    phase: [usize; 2],
    /// The first row and column of the input.
    first: [usize; 2],
    geometry: Geometry,
}

/// A geometry with the layout of its windows and its weights in tile order, `[group][strip][tap][MR]`.
struct Pass {
    geometry: Geometry,
    window: Window,
    level: &'static Level,
    offsets: Vec<usize>,
    /// Output channels of a group.
    outputs: usize,
    /// Numbers of a group in tile order.
    group: usize,
    weight: Scratch,
    /// Of the magnitudes; empty where there are no radii.
    magnitude: Scratch,
}

impl Pass {
    /// `value` is the weight of group, output channel and (channel, row, column).
    fn new(
        shape: &Shape,
        geometry: Geometry,
        outputs: usize,
        value: impl Fn(usize, usize, [usize; 3]) -> f32 + Sync,
    ) -> Self {
        let window = Window::new(geometry, flat_pays(&geometry, outputs));
        let level = tile::level(window.runs(window.rows).0);
        let offsets = window.offsets();
        let (mr, taps) = (level.mr, offsets.len());
        let strips = outputs.div_ceil(mr);
        let group = strips * mr * taps;
        let mut weight = scratch::take(shape.groups * group);
        weight.par_chunks_mut((mr * taps).max(1)).enumerate().for_each(|(strip, to)| {
            let (g, members) = (strip / strips, tile::strip_rows(outputs, mr, strip % strips));
            let [rows, columns] = geometry.taps;
            for (t, to) in to.chunks_exact_mut(mr).enumerate() {
                let tap = [t / (rows * columns), t / columns % rows, t % columns];
                for (i, to) in to.iter_mut().enumerate() {
                    *to = if i < members.len() { value(g, members.start + i, tap) } else { 0.0 };
                }
            }
        });
        let mut magnitude = scratch::take(if shape.slabs == 3 { weight.len() } else { 0 });
        for (to, from) in magnitude.iter_mut().zip(&weight[..]) {
            *to = from.abs();
        }
        Self { geometry, window, level, offsets, outputs, group, weight, magnitude }
    }

    /// Numbers of the window, with a vector of slack.
    fn buffer(&self) -> usize {
        self.window.len(self.level.lanes)
    }

    /// The output rows from `y` on, as many as a window serves, of one group.
    #[allow(clippy::too_many_arguments)]
    fn block<'a>(
        &'a self,
        group: usize,
        radius: bool,
        bias: *const f32,
        source: &'a [f32],
        y: usize,
        out: *mut f32,
        plane: usize,
    ) -> Correlation<'a> {
        let weight = if radius { &self.magnitude } else { &self.weight };
        Correlation {
            window: &self.window,
            offsets: &self.offsets,
            weight: weight[group * self.group..].as_ptr(),
            outputs: self.outputs,
            bias,
            source: source.as_ptr(),
            y,
            rows: self.window.rows.min(self.geometry.out[0] - y),
            out,
            plane,
        }
    }
}

/// True where copying every pixel once for every column of the kernel costs less than the lanes that rows shorter or
/// longer than whole vectors leave idle.
fn flat_pays(geometry: &Geometry, outputs: usize) -> bool {
    let lanes = if crate::arch::has_avx512() { 16 } else { 8 };
    let ([rows, columns], width) = (geometry.taps, geometry.out[1]);
    // Rows shorter than a wide vector are cut into narrow ones, which take as long.
    let used = if width >= lanes { width.next_multiple_of(lanes) } else { width.div_ceil(8) * lanes };
    let idle = used - width;
    // Per row and channel, in vector operations: two multiply-adds or half a copy a cycle.
    let gain = (outputs * rows * columns * idle) as f64 / (2 * lanes) as f64;
    let copies = (columns - geometry.step.min(columns)) * geometry.step.min(rows);
    gain > (copies * width.div_ceil(8) * 4) as f64
}

/// `y[slabs, images, outputs, H', W']` of `x[slabs, images, inputs, H, W]`; the bias, one number an output channel, is
/// for clean activations and centres.
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], shape: Shape) {
    shape.check(x.len(), w.len(), y.len());
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.outputs, "conv: bias");
    }
    if y.is_empty() {
        return;
    }
    let geometry = shape.geometry();
    let (inputs, outputs) = (shape.inputs / shape.groups, shape.outputs / shape.groups);
    let taps = shape.taps();
    let k = shape.kernel;
    let pass =
        Pass::new(&shape, geometry, outputs, |g, o, [c, ky, kx]| w[(g * outputs + o) * taps + (c * k + ky) * k + kx]);
    let (source, plane) = (shape.size[0] * shape.size[1], geometry.out[0] * geometry.out[1]);
    let y = Shared::new(y);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let mut buffer = scratch::take(pass.buffer());
        for g in 0..shape.groups {
            let x = &x[(image * shape.inputs + g * inputs) * source..][..inputs * source];
            // SAFETY: every image and group has its own part of the output.
            let y = unsafe { y.part((image * shape.outputs + g * outputs) * plane, outputs * plane) };
            let bias = bias.filter(|_| !radius).map_or(std::ptr::null(), |bias| bias[g * outputs..].as_ptr());
            for row in (0..geometry.out[0]).step_by(pass.window.rows) {
                let out = y[row * geometry.out[1]..].as_mut_ptr();
                // SAFETY: the parts were cut to what the geometry addresses.
                unsafe { pass.level.correlate(pass.block(g, radius, bias, x, row, out, plane), buffer.as_mut_ptr()) };
            }
        }
    });
}

/// The gradient `dx` of the input for the gradient `g` of the output.
pub fn backward_input(g: &[f32], w: &[f32], dx: &mut [f32], shape: Shape) {
    shape.check(dx.len(), w.len(), g.len());
    if dx.is_empty() {
        return;
    }
    let (inputs, outputs) = (shape.inputs / shape.groups, shape.outputs / shape.groups);
    let (k, s, taps) = (shape.kernel, shape.stride, shape.taps());
    let phases: Vec<(Phase, Pass)> = (0..s * s)
        .filter_map(|i| shape.phase([i / s, i % s]))
        .map(|phase| {
            let [rows, columns] = phase.geometry.taps;
            let pass = Pass::new(&shape, phase.geometry, inputs, |g, c, [o, u, v]| {
                let ky = phase.phase[0] + s * (rows - 1 - u);
                let kx = phase.phase[1] + s * (columns - 1 - v);
                w[(g * outputs + o) * taps + (c * k + ky) * k + kx]
            });
            (phase, pass)
        })
        .collect();
    // Pixels that no output saw.
    let partial = s > k;
    let output: usize = shape.output().iter().product();
    let plane = shape.size[0] * shape.size[1];
    let buffers = phases.iter().map(|(_, pass)| pass.buffer()).max().unwrap_or(0);
    let block = |pass: &Pass| if s == 1 { 0 } else { inputs * pass.window.rows * pass.geometry.out[1] };
    let blocks = phases.iter().map(|(_, pass)| block(pass)).max().unwrap_or(0);
    let dx = Shared::new(dx);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let (mut buffer, mut made) = (scratch::take(buffers), scratch::take(blocks));
        for group in 0..shape.groups {
            let g = &g[(image * shape.outputs + group * outputs) * output..][..outputs * output];
            // SAFETY: every image and group has its own part of the gradient.
            let dx = unsafe { dx.part((image * shape.inputs + group * inputs) * plane, inputs * plane) };
            if partial {
                dx.fill(0.0);
            }
            for (phase, pass) in &phases {
                let [height, width] = pass.geometry.out;
                for row in (0..height).step_by(pass.window.rows) {
                    let rows = pass.window.rows.min(height - row);
                    let (out, apart) = if s == 1 {
                        (dx[row * width..].as_mut_ptr(), plane)
                    } else {
                        (made.as_mut_ptr(), rows * width)
                    };
                    let block = pass.block(group, radius, std::ptr::null(), g, row, out, apart);
                    // SAFETY: the parts were cut to what the geometry addresses.
                    unsafe { pass.level.correlate(block, buffer.as_mut_ptr()) };
                    if s > 1 {
                        spread(&made[..inputs * rows * width], dx, phase, row, rows, &shape);
                    }
                }
            }
        }
    });
}

/// Puts rows `row..row + rows` of a phase, `[channels, rows, width]`, where they belong in the input.
fn spread(made: &[f32], dx: &mut [f32], phase: &Phase, row: usize, rows: usize, shape: &Shape) {
    let (s, width) = (shape.stride, phase.geometry.out[1]);
    let [height, whole] = shape.size;
    dispatch(
        #[inline(always)]
        |_| {
            for (channel, from) in made.chunks_exact(rows * width).enumerate() {
                for (y, from) in from.chunks_exact(width).enumerate() {
                    let y = (row + y) * s + phase.first[0];
                    let to = &mut dx[(channel * height + y) * whole + phase.first[1]..][..(width - 1) * s + 1];
                    // The common stride as a constant.
                    if s == 2 {
                        let (pairs, last) = to.as_chunks_mut::<2>();
                        for (to, from) in pairs.iter_mut().zip(from) {
                            to[0] = *from;
                        }
                        last[0] = from[width - 1];
                    } else {
                        for (to, from) in to.iter_mut().step_by(s).zip(from) {
                            *to = *from;
                        }
                    }
                }
            }
        },
    );
}

/// Images whose weight gradient one task sums, and how many tasks a slab has: a task has enough to do, and the sums
/// of all tasks stay small.
fn image_groups(shape: &Shape) -> (usize, usize) {
    let most = ((1 << 22) / shape.weight_len().max(1)).clamp(8, 32);
    let images = shape.images.div_ceil(most).max(1);
    (images, shape.images.div_ceil(images))
}

/// The gradients of weight and bias, both overwritten, for the gradient `g` of the output. The weights of the radii
/// are magnitudes, whose gradient is the sign of the weight, zero at zero.
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], dw: &mut [f32], db: Option<&mut [f32]>, shape: Shape) {
    shape.check(x.len(), w.len(), g.len());
    assert_eq!(dw.len(), w.len(), "conv: gradient of the weight");
    let geometry = shape.geometry();
    let window = Window::new(geometry, false);
    let offsets = window.offsets();
    let (inputs, outputs, taps) = (shape.inputs / shape.groups, shape.outputs / shape.groups, shape.taps());
    let (source, plane) = (shape.size[0] * shape.size[1], geometry.out[0] * geometry.out[1]);
    let level = tile::level(outputs);
    let nr = outputs.next_multiple_of(level.lanes).min(level.panel);
    let padded = outputs.next_multiple_of(nr);
    let (images, tasks) = image_groups(&shape);
    // For every task the sums of the weight, [groups][taps][outputs rounded up], then those of the bias.
    let (weights, all) = (shape.groups * taps * padded, shape.groups * taps * padded + shape.outputs);
    let mut sums = scratch::take(shape.slabs * tasks * all);
    sums.par_chunks_mut(all.max(1)).enumerate().for_each(|(task, sums)| {
        sums.fill(0.0);
        let (slab, first) = (task / tasks, task % tasks * images);
        let (sums, bias) = sums.split_at_mut(weights);
        let mut buffer = scratch::take(window.len(level.lanes));
        let mut panels = scratch::take(padded * window.rows * geometry.out[1]);
        let mut totals = vec![0.0_f64; if slab < 2 { shape.outputs } else { 0 }];
        for image in slab * shape.images + first..slab * shape.images + shape.images.min(first + images) {
            for group in 0..shape.groups {
                let x = &x[(image * shape.inputs + group * inputs) * source..][..inputs * source];
                let g = &g[(image * shape.outputs + group * outputs) * plane..][..outputs * plane];
                for y in (0..geometry.out[0]).step_by(window.rows) {
                    let rows = window.rows.min(geometry.out[0] - y);
                    let pixels = rows * geometry.out[1];
                    let start = y * geometry.out[1];
                    let view = View { start: g[start..].as_ptr(), row: 1, column: plane };
                    let sum = WeightSum {
                        window: &window,
                        offsets: &offsets,
                        source: x.as_ptr(),
                        y,
                        rows,
                        width: geometry.out[1],
                        gradient: panels.as_ptr(),
                        nr,
                        outputs: padded,
                        sums: sums[group * taps * padded..].as_mut_ptr(),
                    };
                    // SAFETY: the parts were cut to what the geometry addresses, the panels to the largest block.
                    unsafe {
                        pack::pack_panels(nr, crate::arch::has_avx2(), pixels, outputs, view, panels.as_mut_ptr());
                        level.sum_weights(sum, buffer.as_mut_ptr());
                    }
                    for (total, g) in totals.iter_mut().skip(group * outputs).zip(g.chunks_exact(plane)) {
                        *total += f64::from(dispatch(
                            #[inline(always)]
                            |_| math::sum(&g[start..][..pixels]),
                        ));
                    }
                }
            }
        }
        for (bias, total) in bias.iter_mut().zip(totals) {
            *bias = total as f32;
        }
    });
    combine(&sums, shape.slabs, padded, weights, all, w, dw, db, &shape);
}

/// Adds up the sums of all tasks in order, with the sign of the weight for those of the radii.
#[allow(clippy::too_many_arguments)]
fn combine(
    sums: &[f32],
    slabs: usize,
    padded: usize,
    weights: usize,
    all: usize,
    w: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    shape: &Shape,
) {
    const BLOCK: usize = 16;
    let (outputs, taps) = (shape.outputs / shape.groups, shape.taps());
    let (plain, radius) = sums.split_at(sums.len() / slabs * slabs.min(2));
    // Every task transposes a block of output channels of a group.
    let blocks = outputs.div_ceil(BLOCK);
    let dw = Shared::new(dw);
    (0..shape.groups * blocks).into_par_iter().for_each(|block| {
        let (group, first) = (block / blocks, block % blocks * BLOCK);
        let count = BLOCK.min(outputs - first);
        let start = (group * outputs + first) * taps;
        // SAFETY: every task has its own output channels.
        let dw = unsafe { dw.part(start, count * taps) };
        for t in 0..taps {
            let at = (group * taps + t) * padded + first;
            let total = |sums: &[f32]| {
                let mut total = [0.0_f64; BLOCK];
                for sums in sums.chunks_exact(all) {
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
                dw[o * taps + t] = (plain[o] + sign * radius[o]) as f32;
            }
        }
    });
    if let Some(db) = db {
        assert_eq!(db.len(), shape.outputs, "conv: gradient of the bias");
        for (o, db) in db.iter_mut().enumerate() {
            *db = plain.chunks_exact(all).map(|sums| f64::from(sums[weights + o])).sum::<f64>() as f32;
        }
    }
}
