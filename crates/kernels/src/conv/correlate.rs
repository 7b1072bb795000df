//! Correlations of whole images: the forward pass, and with other weights the gradient of the input.

use super::shape::{Shape, Sums};
use super::tile::{self, Correlation, Level};
use super::window::{Geometry, Window};
use super::winograd::{self, Rows};
use crate::extent::{Ptr, PtrMut, Shared};
use crate::output::{Slot, make_output};
use crate::scratch::{self, Scratch};
use rayon::prelude::*;

/// `y[slabs, images, outputs, H', W']` of `x[slabs, images, inputs, H, W]` and `w[outputs, inputs / groups, K, K]`; the bias,
/// one number an output channel, is for clean activations and centres.
///
/// # Panics
/// If a slice is not as long as `shape` says, or the shape is none: see [`Shape`].
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, shape: Shape, sums: Sums) -> Vec<f32> {
    shape.check(x.len(), w.len(), shape.output_len());
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.outputs, "conv: bias");
    }
    if shape.output_len() == 0 {
        return Vec::new();
    }
    let (outputs, taps, k) = (shape.outputs / shape.groups, shape.taps(), shape.kernel);
    let whole = Whole::new(&shape, shape.geometry(), outputs, sums, |radius, g, o, [c, ky, kx]| {
        let w = w[(g * outputs + o) * taps + (c * k + ky) * k + kx];
        if radius { w.abs() } else { w }
    });
    make_output(shape.output_len(), |y| correlate(&whole, x, bias, y, &shape))
}

/// Every group of every image of a stack.
pub(super) fn correlate<'a>(
    pass: &Whole,
    x: &[f32],
    bias: Option<&[f32]>,
    y: &'a mut [Slot],
    shape: &Shape,
) -> &'a mut [f32] {
    let (from, to) = (x.len() / (shape.slabs * shape.images), y.len() / (shape.slabs * shape.images));
    let shared = Shared::new(&mut *y);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let mut buffers = pass.buffers().map(scratch::take);
        for group in 0..shape.groups {
            let part = |whole: usize| (image * shape.groups + group) * (whole / shape.groups);
            let source = &x[part(from)..][..from / shape.groups];
            let bias = bias.filter(|_| !radius).map(|bias| &bias[group * pass.outputs..][..pass.outputs]);
            // SAFETY: every image and group has its own part of the output.
            unsafe {
                let y = shared.part(part(to), to / shape.groups);
                pass.image(Part { group, radius, bias, source }, y, &mut buffers);
            }
        }
    });
    // SAFETY: every image of every group was written whole.
    unsafe { y.assume_init_mut() }
}

/// A geometry with the layout of its windows and its weights in tile order, `[group][strip][tap][MR]`.
pub(super) struct Pass {
    pub geometry: Geometry,
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
    /// `value` is the weight, or with `true` its magnitude, of group, output channel and (channel, row, column).
    pub fn new(
        shape: &Shape,
        geometry: Geometry,
        outputs: usize,
        value: impl Fn(bool, usize, usize, [usize; 3]) -> f32 + Sync,
    ) -> Self {
        let window = Window::new(geometry, flat_pays(&geometry, outputs));
        let level = tile::level_for(window.runs(window.rows).0);
        let offsets = window.offsets();
        let (mr, taps) = (level.mr, offsets.len());
        let strips = outputs.div_ceil(mr);
        let group = strips * mr * taps;
        let pack = |radius: bool| {
            let mut packed = scratch::take(shape.groups * group);
            packed.par_chunks_mut((mr * taps).max(1)).enumerate().for_each(|(strip, to)| {
                let (g, members) = (strip / strips, tile::strip_rows(outputs, mr, strip % strips));
                let [rows, columns] = geometry.taps;
                for (t, to) in to.chunks_exact_mut(mr).enumerate() {
                    let tap = [t / (rows * columns), t / columns % rows, t % columns];
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = if i < members.len() { value(radius, g, members.start + i, tap) } else { 0.0 };
                    }
                }
            });
            packed
        };
        let weight = pack(false);
        let magnitude = if shape.slabs == 3 { pack(true) } else { scratch::take(0) };
        Self { geometry, window, level, offsets, outputs, group, weight, magnitude }
    }

    /// Numbers of the window, with a vector of slack.
    pub fn buffer(&self) -> usize {
        self.window.len(self.level.lanes)
    }

    /// `rows` output rows from `y` on, no more than a window serves, of one group.
    #[allow(clippy::too_many_arguments)]
    fn block<'a>(
        &'a self,
        group: usize,
        radius: bool,
        bias: Option<&[f32]>,
        source: &'a [f32],
        y: usize,
        rows: usize,
        out: PtrMut,
        plane: usize,
    ) -> Correlation<'a> {
        let weight = if radius { &self.magnitude } else { &self.weight };
        Correlation {
            window: &self.window,
            offsets: &self.offsets,
            weight: Ptr::new(&weight[group * self.group..][..self.group]),
            outputs: self.outputs,
            bias: bias.map(Ptr::new),
            source: Ptr::new(source),
            y,
            rows,
            out,
            plane,
        }
    }

    /// All output rows below `rows` of one group: `out` is where they begin, and how far apart the planes are.
    ///
    /// # Safety
    /// `source` and `bias` must be those of the group, `out` the group's own and large enough, `buffer` as large as
    /// [`Pass::buffer`] says.
    pub unsafe fn rows(&self, of: Part, rows: usize, (out, plane): (PtrMut, usize), buffer: &mut [f32]) {
        let Part { group, radius, bias, source } = of;
        for y in (0..rows).step_by(self.window.rows) {
            // SAFETY: the caller's promise.
            unsafe {
                let out = out.add(y * self.geometry.out[1]);
                let block = self.block(group, radius, bias, source, y, self.window.rows.min(rows - y), out, plane);
                self.level.correlate(block, PtrMut::of(buffer));
            }
        }
    }
}

/// A group of channels of one image.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub group: usize,
    /// Whether the image is one of radii.
    pub radius: bool,
    pub bias: Option<&'a [f32]>,
    pub source: &'a [f32],
}

/// A correlation of whole images: tap by tap, or where that is less work at the points of [`winograd`].
pub(super) struct Whole {
    geometry: Geometry,
    outputs: usize,
    /// One pass, or one a point.
    passes: Vec<Pass>,
    /// Tiles of a block; 0 for tap by tap.
    tiles: usize,
}

impl Whole {
    /// As [`Pass::new`].
    pub fn new(
        shape: &Shape,
        geometry: Geometry,
        outputs: usize,
        sums: Sums,
        value: impl Fn(bool, usize, usize, [usize; 3]) -> f32 + Sync,
    ) -> Self {
        if sums == Sums::Plain || !winograd::is_worthwhile(&geometry, outputs) {
            return Self { geometry, outputs, passes: vec![Pass::new(shape, geometry, outputs, value)], tiles: 0 };
        }
        let tiles = winograd::tiles(&geometry, outputs);
        let rows = winograd::geometry(&geometry, tiles);
        let at = |point: usize| {
            Pass::new(shape, rows, outputs, |radius, g, o, [c, _, kx]| {
                winograd::weight(point, |ky| value(radius, g, o, [c, ky, kx]))
            })
        };
        Self { geometry, outputs, passes: (0..winograd::POINTS).map(at).collect(), tiles }
    }

    /// Numbers of the buffers that [`Whole::image`] takes: a window, the transformed input, the transformed output.
    fn buffers(&self) -> [usize; 3] {
        let window = self.passes.iter().map(Pass::buffer).max().unwrap_or(0);
        let [input, output] = [self.input(0).point_stride(), self.made(0).point_stride()];
        [window, winograd::POINTS * input, winograd::POINTS * output]
    }

    fn input(&self, tile: usize) -> Rows {
        let (planes, size) = (self.geometry.channels, self.geometry.source);
        Rows::of(&self.geometry, planes, size, tile, self.tiles, -self.geometry.pad[0])
    }

    fn made(&self, tile: usize) -> Rows {
        Rows::of(&self.geometry, self.outputs, self.geometry.out, tile, self.tiles, 0)
    }

    /// One group of one image: writes all of `out`.
    ///
    /// # Safety
    /// `of` and `out` must be the group's own, the buffers as large as [`Whole::buffers`] says.
    unsafe fn image(&self, of: Part, out: &mut [Slot], [window, input, made]: &mut [Scratch; 3]) {
        let [height, width] = self.geometry.out;
        if self.tiles == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.passes[0].rows(of, height, (PtrMut::new(out), height * width), window) };
            return;
        }
        for tile in (0..height.div_ceil(winograd::TILE)).step_by(self.tiles) {
            let (from, to) = (self.input(tile), self.made(tile));
            winograd::input(of.source, input, from);
            for (point, pass) in self.passes.iter().enumerate() {
                let source = &input[point * from.point_stride()..][..from.point_stride()];
                // SAFETY: every point has its own part of both buffers.
                unsafe {
                    let out = PtrMut::of(&mut made[point * to.point_stride()..][..to.point_stride()]);
                    let of = Part { source, bias: None, ..of };
                    pass.rows(of, from.tiles, (out, self.tiles * width), window);
                }
            }
            winograd::output(made, of.bias, out, to);
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
