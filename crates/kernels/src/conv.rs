//! Convolution of stacks of images, channels first, with a square kernel.
//!
//! One task makes one image of one slab: it copies what a block of output rows needs into a small [`window`], from
//! which the tiles ([`tile`]) read every tap directly, and writes the output in its place. Memory sees one read of the
//! input and one write of the output; weights are put into the tiles' order once a call. Kernels of
//! 3 x 3 with a stride of 1 and channels enough are made at the points of [`winograd`] where the caller lets them ([`Sums`]): half the
//! products, by the same tiles.
//!
//! A stack has one slab (clean activations) or three (clean, centre, radius); the radius is convolved with the
//! magnitudes of the weights and without bias (interval bound propagation, Gowal et al. 2018). The gradient of the
//! input is a correlation of the output's gradient with the mirrored kernel; with a stride of s, s x s of them, one
//! for each phase of the input. The gradient of the weight is summed over groups of images that depend on the shape
//! alone and added up in order.

mod tile;
mod window;
mod winograd;

use crate::arch::dispatch;
use crate::dense::sign;
use crate::gemm::pack::{self, View};
use crate::math;
use crate::scratch::{self, Scratch, Shared};
use rayon::prelude::*;
use tile::{Correlation, Level, WeightSum};
use window::{Geometry, Window};
use winograd::Rows;

/// How the sums of products are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sums {
    /// At the points of [`winograd`] where that saves products. A number beside much larger ones in its tile of four rows
    /// loses digits to them, so this is for training.
    #[default]
    Fast,
    /// Product by product: the rounding error of an output is that of its own products, so this is for bounds that are
    /// reported.
    Plain,
}

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
    /// `value` is the weight, or with `true` its magnitude, of group, output channel and (channel, row, column).
    fn new(
        shape: &Shape,
        geometry: Geometry,
        outputs: usize,
        value: impl Fn(bool, usize, usize, [usize; 3]) -> f32 + Sync,
    ) -> Self {
        let window = Window::new(geometry, flat_pays(&geometry, outputs));
        let level = tile::level(window.runs(window.rows).0);
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
    fn buffer(&self) -> usize {
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
        out: *mut f32,
        plane: usize,
    ) -> Correlation<'a> {
        let weight = if radius { &self.magnitude } else { &self.weight };
        Correlation {
            window: &self.window,
            offsets: &self.offsets,
            weight: weight[group * self.group..].as_ptr(),
            outputs: self.outputs,
            bias: bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            source: source.as_ptr(),
            y,
            rows,
            out,
            plane,
        }
    }

    /// All output rows below `rows` of one group: `out` is where they begin, and how far apart the planes are.
    ///
    /// # Safety
    /// `source` and `bias` must be those of the group, `out` the group's own and large enough, `buffer` as [`Pass::buffer`] says.
    unsafe fn rows(&self, of: Part, rows: usize, (out, plane): (*mut f32, usize), buffer: *mut f32) {
        let Part { group, radius, bias, source } = of;
        for y in (0..rows).step_by(self.window.rows) {
            // SAFETY: the caller's promise.
            unsafe {
                let out = out.add(y * self.geometry.out[1]);
                let block = self.block(group, radius, bias, source, y, self.window.rows.min(rows - y), out, plane);
                self.level.correlate(block, buffer);
            }
        }
    }
}

/// A group of channels of one image.
#[derive(Clone, Copy)]
struct Part<'a> {
    group: usize,
    /// Whether the image is one of radii.
    radius: bool,
    bias: Option<&'a [f32]>,
    source: &'a [f32],
}

/// A correlation of whole images: tap by tap, or where that is less work at the points of [`winograd`].
struct Whole {
    geometry: Geometry,
    outputs: usize,
    /// One pass, or one a point.
    passes: Vec<Pass>,
    /// Tiles of a block; 0 for tap by tap.
    tiles: usize,
}

impl Whole {
    /// As [`Pass::new`].
    fn new(
        shape: &Shape,
        geometry: Geometry,
        outputs: usize,
        sums: Sums,
        value: impl Fn(bool, usize, usize, [usize; 3]) -> f32 + Sync,
    ) -> Self {
        if sums == Sums::Plain || !winograd::pays(&geometry, outputs) {
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
        let [input, output] = [self.input(0).apart(), self.made(0).apart()];
        [window, winograd::POINTS * input, winograd::POINTS * output]
    }

    fn input(&self, tile: usize) -> Rows {
        let (planes, size) = (self.geometry.channels, self.geometry.source);
        Rows::of(&self.geometry, planes, size, tile, self.tiles, -self.geometry.pad[0])
    }

    fn made(&self, tile: usize) -> Rows {
        Rows::of(&self.geometry, self.outputs, self.geometry.out, tile, self.tiles, 0)
    }

    /// One group of one image.
    ///
    /// # Safety
    /// `of` and `out` must be the group's own, the buffers as large as [`Whole::buffers`] says.
    unsafe fn image(&self, of: Part, out: &mut [f32], [window, input, made]: &mut [Scratch; 3]) {
        let [height, width] = self.geometry.out;
        if self.tiles == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.passes[0].rows(of, height, (out.as_mut_ptr(), height * width), window.as_mut_ptr()) };
            return;
        }
        for tile in (0..height.div_ceil(winograd::TILE)).step_by(self.tiles) {
            let (from, to) = (self.input(tile), self.made(tile));
            winograd::input(of.source, input, from);
            for (point, pass) in self.passes.iter().enumerate() {
                let source = &input[point * from.apart()..][..from.apart()];
                // SAFETY: every point has its own part of both buffers.
                unsafe {
                    let out = made.as_mut_ptr().add(point * to.apart());
                    let of = Part { source, bias: None, ..of };
                    pass.rows(of, from.tiles, (out, self.tiles * width), window.as_mut_ptr());
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

/// `y[slabs, images, outputs, H', W']` of `x[slabs, images, inputs, H, W]`; the bias, one number an output channel, is
/// for clean activations and centres.
pub fn forward(x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], shape: Shape, sums: Sums) {
    shape.check(x.len(), w.len(), y.len());
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.outputs, "conv: bias");
    }
    if y.is_empty() {
        return;
    }
    let (outputs, taps, k) = (shape.outputs / shape.groups, shape.taps(), shape.kernel);
    let whole = Whole::new(&shape, shape.geometry(), outputs, sums, |radius, g, o, [c, ky, kx]| {
        let w = w[(g * outputs + o) * taps + (c * k + ky) * k + kx];
        if radius { w.abs() } else { w }
    });
    correlate(&whole, x, bias, y, &shape);
}

/// Every group of every image of a stack.
fn correlate(pass: &Whole, x: &[f32], bias: Option<&[f32]>, y: &mut [f32], shape: &Shape) {
    let (from, to) = (x.len() / (shape.slabs * shape.images), y.len() / (shape.slabs * shape.images));
    let y = Shared::new(y);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let mut buffers = pass.buffers().map(scratch::take);
        for group in 0..shape.groups {
            let part = |whole: usize| (image * shape.groups + group) * (whole / shape.groups);
            let source = &x[part(from)..][..from / shape.groups];
            let bias = bias.filter(|_| !radius).map(|bias| &bias[group * pass.outputs..][..pass.outputs]);
            // SAFETY: every image and group has its own part of the output.
            unsafe {
                let y = y.part(part(to), to / shape.groups);
                pass.image(Part { group, radius, bias, source }, y, &mut buffers);
            }
        }
    });
}

/// The gradient `dx` of the input for the gradient `g` of the output.
pub fn backward_input(g: &[f32], w: &[f32], dx: &mut [f32], shape: Shape, sums: Sums) {
    shape.check(dx.len(), w.len(), g.len());
    if dx.is_empty() {
        return;
    }
    let (inputs, outputs) = (shape.inputs / shape.groups, shape.outputs / shape.groups);
    let (k, s, taps) = (shape.kernel, shape.stride, shape.taps());
    let mirrored = |phase: &Phase, radius: bool, g: usize, c: usize, [o, u, v]: [usize; 3]| {
        let [ky, kx] = [(0, u), (1, v)].map(|(d, tap)| phase.phase[d] + s * (phase.geometry.taps[d] - 1 - tap));
        let w = w[(g * outputs + o) * taps + (c * k + ky) * k + kx];
        if radius { w.abs() } else { w }
    };
    let phases = (0..s * s).filter_map(|i| shape.phase([i / s, i % s]));
    if s == 1 {
        for phase in phases {
            let value = |radius, g, c, tap| mirrored(&phase, radius, g, c, tap);
            correlate(&Whole::new(&shape, phase.geometry, inputs, sums, value), g, None, dx, &shape);
        }
        return;
    }
    let with_pass = |phase: Phase| {
        (phase, Pass::new(&shape, phase.geometry, inputs, |radius, g, c, tap| mirrored(&phase, radius, g, c, tap)))
    };
    let phases: Vec<(Phase, Pass)> = phases.map(with_pass).collect();
    // Pixels that no output saw.
    let partial = s > k;
    let output: usize = shape.output().iter().product();
    let plane = shape.size[0] * shape.size[1];
    let buffers = phases.iter().map(|(_, pass)| pass.buffer()).max().unwrap_or(0);
    let made = |phase: &Phase| inputs * phase.geometry.out[0] * phase.geometry.out[1];
    let largest = phases.iter().map(|(phase, _)| made(phase)).max().unwrap_or(0);
    // The common stride with a kernel that leaves no phase out: two phases are the even and the odd columns of the same rows.
    let together = if s == 2 && phases.len() == 4 { 2 } else { 1 };
    let dx = Shared::new(dx);
    (0..shape.slabs * shape.images).into_par_iter().for_each(|image| {
        let radius = image >= 2 * shape.images;
        let mut buffer = scratch::take(buffers);
        let mut planes = [0; 2].map(|_| scratch::take(largest));
        for group in 0..shape.groups {
            let g = &g[(image * shape.outputs + group * outputs) * output..][..outputs * output];
            // SAFETY: every image and group has its own part of the gradient.
            let dx = unsafe { dx.part((image * shape.inputs + group * inputs) * plane, inputs * plane) };
            if partial {
                dx.fill(0.0);
            }
            for phases in phases.chunks(together) {
                for ((phase, pass), to) in phases.iter().zip(&mut planes) {
                    let [height, width] = phase.geometry.out;
                    let part = Part { group, radius, bias: None, source: g };
                    // SAFETY: the parts were cut to what the geometry addresses.
                    unsafe { pass.rows(part, height, (to.as_mut_ptr(), height * width), buffer.as_mut_ptr()) };
                }
                match phases {
                    [(phase, _)] => spread(&planes[0][..made(phase)], dx, phase, &shape),
                    [(a, _), (b, _)] => weave([(&planes[0], a), (&planes[1], b)], dx, &shape),
                    _ => unreachable!("one or two together"),
                }
            }
        }
    });
}

/// Puts a phase, `[channels, rows, columns]`, where it belongs in the input.
fn spread(made: &[f32], dx: &mut [f32], phase: &Phase, shape: &Shape) {
    let (s, [height, whole]) = (shape.stride, shape.size);
    let [rows, width] = phase.geometry.out;
    for (channel, from) in made.chunks_exact(rows * width).enumerate() {
        for (y, from) in from.chunks_exact(width).enumerate() {
            let to = (channel * height + y * s + phase.first[0]) * whole + phase.first[1];
            for (to, from) in dx[to..].iter_mut().step_by(s).zip(from) {
                *to = *from;
            }
        }
    }
}

/// Puts two phases of a stride of 2, which have the same rows and between them all columns, where they belong in the input.
fn weave(phases: [(&[f32], &Phase); 2], dx: &mut [f32], shape: &Shape) {
    let [a, b] = phases;
    // Which one has column 0.
    let [even, odd] = if a.1.first[1] == 0 { [a, b] } else { [b, a] };
    let [height, whole] = shape.size;
    let (rows, first) = (even.1.geometry.out[0], even.1.first[0]);
    let [evens, odds] = [even.1.geometry.out[1], odd.1.geometry.out[1]];
    dispatch(
        #[inline(always)]
        |_| {
            for line in 0..dx.len() / (height * whole) * rows {
                let y = line / rows * height + line % rows * 2 + first;
                let (to, last) = dx[y * whole..][..whole].as_chunks_mut::<2>();
                let (even, odd) = (&even.0[line * evens..][..evens], &odd.0[line * odds..][..odds]);
                for ((to, even), odd) in to.iter_mut().zip(even).zip(odd) {
                    *to = [*even, *odd];
                }
                if let ([last], Some(even)) = (last, even.last()) {
                    *last = *even;
                }
            }
        },
    );
}

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
        let tiles = if winograd::pays(&geometry, outputs) { winograd::tiles(&geometry, outputs) } else { 0 };
        let each = if tiles > 0 { winograd::geometry(&geometry, tiles) } else { geometry };
        let window = Window::new(each, false);
        let level = tile::level(outputs);
        let nr = outputs.next_multiple_of(level.lanes).min(level.panel);
        let (offsets, padded) = (window.offsets(), outputs.next_multiple_of(nr));
        Self { geometry, each, window, offsets, level, outputs, nr, padded, tiles }
    }

    /// Numbers of the buffers that [`WeightPass::add`] takes: a window, panels, the transformed input and gradient.
    fn buffers(&self) -> [usize; 4] {
        let points = if self.tiles > 0 { winograd::POINTS } else { 0 };
        let panels = self.padded * self.window.rows * self.each.out[1];
        let [input, gradient] = [self.input(0).apart(), self.gradient(0).apart()];
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
                let x = &input[point * from.apart()..][..from.apart()];
                let g = &gradient[point * to.apart()..][..to.apart()];
                self.add_rows(x, g, from.tiles, sums, window, panels);
            }
        }
    }

    /// Adds the first `rows` rows of planes.
    fn add_rows(&self, x: &[f32], g: &[f32], rows: usize, sums: &mut [f32], window: &mut [f32], panels: &mut [f32]) {
        let [height, width] = self.each.out;
        for y in (0..rows).step_by(self.window.rows) {
            let rows = self.window.rows.min(rows - y);
            let view = View { start: g[y * width..].as_ptr(), row: 1, column: height * width };
            let sum = WeightSum {
                window: &self.window,
                offsets: &self.offsets,
                source: x.as_ptr(),
                y,
                rows,
                width,
                gradient: panels.as_ptr(),
                nr: self.nr,
                outputs: self.padded,
                sums: sums.as_mut_ptr(),
            };
            // SAFETY: the parts were cut to what the geometry addresses, the panels to the largest block.
            unsafe {
                let avx2 = crate::arch::has_avx2();
                pack::pack_panels(self.nr, avx2, rows * width, self.outputs, view, panels.as_mut_ptr());
                self.level.sum_weights(sum, window.as_mut_ptr());
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

/// The gradients of weight and bias, both overwritten, for the gradient `g` of the output. The weights of the radii
/// are magnitudes, whose gradient is the sign of the weight, zero at zero.
pub fn backward_weight(x: &[f32], g: &[f32], w: &[f32], dw: &mut [f32], db: Option<&mut [f32]>, shape: Shape) {
    shape.check(x.len(), w.len(), g.len());
    assert_eq!(dw.len(), w.len(), "conv: gradient of the weight");
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
