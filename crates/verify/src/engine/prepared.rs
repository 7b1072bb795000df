//! A computation in one kind of floats, its linear maps ready to be applied to many rows at once, in both directions.

use temper_graph::computation::windows;
use temper_graph::{Affine, Computation, Curve, Operation, Window};

use super::patches::{Coefficients, Conv, Patch, Picture, place};
use super::real::{Layout, Real};
use temper_kernels::arch::dispatch;
use temper_kernels::sums::{self, Offsets, Span};

/// The numbers of an affine node.
#[derive(Debug)]
pub(crate) struct Map<T> {
    pub kind: Kind<T>,
    pub weight: Vec<T>,
    /// Its magnitudes.
    pub absolute: Vec<T>,
    pub bias: Vec<T>,
    /// Of every bias, the sum of the magnitudes that it was summed from.
    pub magnitude: Vec<f64>,
    /// Roundings between these numbers and those that are meant.
    pub merged: u32,
    /// Products of an output.
    pub fan_in: usize,
    /// Products of a number at its input, going back.
    pub fan_out: usize,
    /// Numbers of the input and of the output.
    pub size: [usize; 2],
    /// Outputs that share a bias.
    pub plane: usize,
    /// The picture that is written.
    pub picture: Picture,
}

/// What kind of linear map.
#[derive(Debug)]
pub(crate) enum Kind<T> {
    Dense(Dense<T>),
    Conv(Box<Conv<T>>),
    Scale,
}

/// A matrix, of a picture.
#[derive(Debug)]
pub(crate) struct Dense<T> {
    /// What is read.
    picture: Picture,
    /// `[outputs, height, width, channels]`, and their magnitudes, unless the weights are in that order.
    pixels: [Vec<T>; 2],
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Step<T> {
    Affine(Box<Map<T>>),
    Relu,
    Curve(Curve),
    Add,
    /// Of every output, the places that its window sees.
    MaxPool(Vec<Vec<usize>>),
    /// As in [`Operation::Gather`], and how often a number is read at most.
    Gather {
        from: Vec<Option<u32>>,
        fill: Vec<T>,
        most: usize,
    },
}

/// How exact intervals are at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exact {
    /// Its numbers take every combination of their intervals.
    Free,
    /// Each number takes its whole interval.
    Each,
    No,
}

/// A computation, ready to be bounded in `T`.
#[derive(Debug)]
pub struct Prepared<T> {
    pub(crate) steps: Vec<Step<T>>,
    pub(crate) inputs: Vec<Vec<usize>>,
    pub(crate) len: Vec<usize>,
    pub(crate) picture: Vec<Picture>,
    /// Values that a relaxed node reads, in order.
    pub(crate) relaxed: Vec<bool>,
    exact: Vec<Exact>,
}

impl<T: Real> Prepared<T> {
    /// The computation with its numbers rounded to the nearest of this kind.
    pub fn new(computation: &Computation) -> Self {
        let mut net = Self {
            steps: Vec::new(),
            inputs: Vec::new(),
            len: vec![computation.inputs()],
            picture: vec![picture(computation.input())],
            relaxed: vec![false],
            exact: vec![Exact::Free],
        };
        for (i, node) in computation.nodes().iter().enumerate() {
            let before = node.inputs[0];
            let size = [net.len[before], computation.len(i + 1)];
            let picture = picture(computation.shape(i + 1));
            let (step, exact) = match &node.operation {
                Operation::Dense(affine) => {
                    (Step::Affine(Box::new(dense(affine, size, net.picture[before], picture))), Exact::Each)
                }
                Operation::Conv { window, groups, affine } => {
                    (Step::Affine(Box::new(convolution(*window, *groups, affine, size, picture))), Exact::Each)
                }
                Operation::Scale(affine) => {
                    (Step::Affine(Box::new(map(Kind::Scale, affine, size, picture))), Exact::Free)
                }
                Operation::Relu => (Step::Relu, Exact::Free),
                Operation::Curve(curve) => (Step::Curve(*curve), Exact::Free),
                Operation::Add => (Step::Add, Exact::No),
                Operation::MaxPool(window) => (Step::MaxPool(windows(window).collect()), Exact::No),
                Operation::Gather { from, fill } => {
                    let mut reads = vec![0; size[0]];
                    from.iter().flatten().for_each(|at| reads[*at as usize] += 1);
                    let most = reads.into_iter().max().unwrap_or(0);
                    let fill = fill.iter().map(|number| T::nearest(*number)).collect();
                    let exact = if most > 1 { Exact::Each } else { Exact::Free };
                    (Step::Gather { from: from.clone(), fill, most }, exact)
                }
            };
            let exact = match (net.exact[before], exact) {
                (Exact::Free, exact) => exact,
                (Exact::Each, Exact::Free) => Exact::Each,
                // A gather that reads twice is exact where its input is, number by number.
                (Exact::Each, Exact::Each) if matches!(step, Step::Gather { .. }) => Exact::Each,
                (Exact::Each | Exact::No, _) => Exact::No,
            };
            if matches!(step, Step::Relu | Step::Curve(_) | Step::MaxPool(_)) {
                net.relaxed[before] = true;
            }
            net.steps.push(step);
            net.inputs.push(node.inputs.clone());
            net.len.push(size[1]);
            net.picture.push(picture);
            net.relaxed.push(false);
            net.exact.push(exact);
        }
        net
    }

    /// Numbers of the input.
    pub fn inputs(&self) -> usize {
        self.len[0]
    }

    /// Numbers of the output.
    pub fn outputs(&self) -> usize {
        self.len[self.steps.len()]
    }

    /// The value that is the output.
    pub fn output(&self) -> usize {
        self.steps.len()
    }

    /// Numbers of a value: 0 is the input, `i + 1` the output of node `i`.
    pub fn len(&self, value: usize) -> usize {
        self.len[value]
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The nodes that are ReLUs.
    pub fn relus(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps.len()).filter(|node| matches!(self.steps[*node], Step::Relu))
    }

    /// The value that a node reads first.
    pub fn reads(&self, node: usize) -> usize {
        self.inputs[node][0]
    }

    /// Whether the intervals of a value are as small as they can be, over a box.
    pub(crate) fn exact(&self, value: usize) -> bool {
        self.exact[value] != Exact::No
    }

    /// Which values are needed for one.
    pub(crate) fn needed(&self, target: usize) -> Vec<bool> {
        let mut needed = vec![false; self.len.len()];
        needed[target] = true;
        for node in (0..target).rev().filter(|node| *node < self.steps.len()) {
            if needed[node + 1] {
                self.inputs[node].iter().for_each(|input| needed[*input] = true);
            }
        }
        needed
    }
}

/// The picture that an array of this shape is.
fn picture(shape: &[usize]) -> Picture {
    if let [c, h, w] = *shape { [c, h, w] } else { [1, 1, shape.iter().product()] }
}

fn convolution<T: Real>(window: Window, groups: usize, affine: &Affine, size: [usize; 2], picture: Picture) -> Map<T> {
    let weight: Vec<T> = affine.weight.iter().map(|w| T::nearest(*w)).collect();
    map(Kind::Conv(Box::new(Conv::new(window, groups, &weight))), affine, size, picture)
}

fn dense<T: Real>(affine: &Affine, size: [usize; 2], read: Picture, picture: Picture) -> Map<T> {
    let [channels, height, width] = read;
    let plane = height * width;
    let mut pixels = Vec::new();
    if channels > 1 && plane > 1 {
        pixels.reserve(affine.weight.len());
        for row in affine.weight.chunks(size[0]) {
            let pixel = |pixel: usize| (0..channels).map(move |c| T::nearest(row[c * plane + pixel]));
            pixels.extend((0..plane).flat_map(pixel));
        }
    }
    let absolute = pixels.iter().map(|weight: &T| weight.magnitude()).collect();
    map(Kind::Dense(Dense { picture: read, pixels: [pixels, absolute] }), affine, size, picture)
}

fn map<T: Real>(kind: Kind<T>, affine: &Affine, size: [usize; 2], picture: Picture) -> Map<T> {
    let weight: Vec<T> = affine.weight.iter().map(|w| T::nearest(*w)).collect();
    let outputs = affine.bias.len();
    // Places of weights and numbers are kept in 32 bits.
    assert!([weight.len(), size[0], size[1]].iter().all(|n| u32::try_from(*n).is_ok()), "a layer below 2^32 weights");
    let fan_in = if let Kind::Scale = kind { 1 } else { affine.weight.len() / outputs.max(1) };
    let fan_out = match &kind {
        Kind::Dense(_) => outputs,
        Kind::Conv(conv) => outputs / conv.groups * conv.window.kernel[0] * conv.window.kernel[1],
        Kind::Scale => 1,
    };
    Map {
        absolute: weight.iter().map(|w| w.magnitude()).collect(),
        bias: affine.bias.iter().map(|b| T::nearest(*b)).collect(),
        magnitude: (0..outputs).map(|i| affine.bias_magnitude(i).max(affine.bias[i].abs())).collect(),
        merged: affine.merged,
        plane: size[1] / outputs.max(1),
        picture,
        kind,
        weight,
        fan_in,
        fan_out,
        size,
    }
}

impl<T: Real> Map<T> {
    /// `W x` of every row, without bias; `|W| x` if `absolute`.
    pub fn forward(&self, rows: usize, x: &[T], absolute: bool) -> Vec<T> {
        let weight = if absolute { &self.absolute } else { &self.weight };
        let [inputs, outputs] = self.size;
        match &self.kind {
            Kind::Dense(_) => {
                let mut y = vec![T::ZERO; rows * outputs];
                T::product(rows, outputs, inputs, x, Layout::Normal, weight, Layout::Transposed, &mut y);
                y
            }
            Kind::Conv(conv) => convolve(&conv.window, conv.groups, weight, rows, x),
            Kind::Scale => {
                x.chunks(inputs.max(1)).flat_map(|row| row.iter().zip(weight).map(|(x, w)| *x * *w)).collect()
            }
        }
    }

    /// The pictures that are read and written, as the map has them.
    pub fn pictures(&self) -> [Picture; 2] {
        match &self.kind {
            Kind::Conv(conv) => [conv.window.input, conv.output],
            Kind::Dense(dense) => [dense.picture, [1, 1, self.size[1]]],
            Kind::Scale => [self.picture, self.picture],
        }
    }

    /// `y W` of every row, rows last, where it counts; `finish` is given each pixel.
    pub fn push(
        &self,
        rows: usize,
        y: &Coefficients<T>,
        counts: impl Fn(usize) -> bool,
        finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        match &self.kind {
            Kind::Conv(conv) => conv.push(rows, y, counts, finish),
            Kind::Dense(dense) => {
                let [inputs, _] = self.size;
                let terms = y.neurons(self.pictures()[1]).into_iter().map(|o| o * inputs);
                let mut x = Coefficients::new(dense.picture, Patch::whole(dense.picture), rows, counts);
                let places = x.neurons(dense.picture).into_iter().map(|i| place(dense.picture, i));
                matrix_sums(self.weights(false), rows, y, terms, places, &mut x);
                dispatch(
                    #[inline(always)]
                    |_| x.each_pixel(dense.picture, rows, finish),
                );
                x
            }
            Kind::Scale => {
                let mut x = self.scale(rows, y, false);
                x.each_pixel(self.picture, rows, finish);
                x
            }
        }
    }

    /// `W x + b` of every row, rows last, where it counts in a part of the output.
    pub fn pull(
        &self,
        rows: usize,
        x: &Coefficients<T>,
        patch: Patch,
        counts: impl Fn(usize) -> bool,
    ) -> Coefficients<T> {
        let [_, picture] = self.pictures();
        let bias = |pixel: usize, channels: &[u32], y: &mut [T]| {
            for (channel, y) in channels.iter().zip(y.chunks_exact_mut(rows)) {
                let bias = self.bias[self.bias_of(picture[1] * picture[2], *channel, pixel)];
                y.iter_mut().for_each(|y| *y += bias);
            }
        };
        match &self.kind {
            Kind::Conv(conv) => conv.pull(rows, x, false, patch, counts, bias),
            Kind::Dense(dense) => {
                let mut y = self.matrix(dense, rows, x, false, patch, counts);
                y.each_pixel(picture, rows, bias);
                y
            }
            Kind::Scale => {
                // A number that was 0 has its bias all the same.
                let x = self.scale(rows, x, false).all(self.picture, rows);
                let mut y = Coefficients::new(self.picture, patch, rows, counts);
                y.each(self.picture, rows, |neuron, run| run.copy_from_slice(&x[neuron * rows..][..rows]));
                y.each_pixel(self.picture, rows, bias);
                y
            }
        }
    }

    /// Which bias a neuron of the picture that is written has, whose channels have so many pixels.
    #[inline(always)]
    pub fn bias_of(&self, plane: usize, channel: u32, pixel: usize) -> usize {
        if plane == self.plane { channel as usize } else { (channel as usize * plane + pixel) / self.plane }
    }

    /// `W x` of every row, rows last, or `|W| x` if `absolute`; without bias. `finish` is given each pixel.
    pub fn apply(
        &self,
        rows: usize,
        x: &Coefficients<T>,
        absolute: bool,
        mut finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        let [_, picture] = self.pictures();
        let patch = Patch::whole(picture);
        let mut y = match &self.kind {
            Kind::Conv(conv) => return conv.pull(rows, x, absolute, patch, |_| true, finish),
            Kind::Dense(dense) => self.matrix(dense, rows, x, absolute, patch, |_| true),
            Kind::Scale => Coefficients::whole(picture, rows, &self.scale(rows, x, absolute).all(picture, rows)),
        };
        y.each_pixel(picture, rows, &mut finish);
        y
    }

    /// What a matrix makes, where it counts.
    fn matrix(
        &self,
        dense: &Dense<T>,
        rows: usize,
        x: &Coefficients<T>,
        absolute: bool,
        patch: Patch,
        counts: impl Fn(usize) -> bool,
    ) -> Coefficients<T> {
        let ([inputs, _], [_, picture]) = (self.size, self.pictures());
        let terms = x.neurons(dense.picture).into_iter().map(|i| place(dense.picture, i));
        let mut y = Coefficients::new(picture, patch, rows, counts);
        let places = y.neurons(picture).into_iter().map(|o| o * inputs);
        matrix_sums(self.weights(absolute), rows, x, terms, places, &mut y);
        y
    }

    /// The weights in the order of what is read, or their magnitudes.
    fn weights(&self, absolute: bool) -> &[T] {
        match &self.kind {
            Kind::Dense(dense) if !dense.pixels[0].is_empty() => &dense.pixels[usize::from(absolute)],
            _ if absolute => &self.absolute,
            _ => &self.weight,
        }
    }

    /// Every number times its weight, rows last, or the magnitude of that.
    fn scale(&self, rows: usize, x: &Coefficients<T>, absolute: bool) -> Coefficients<T> {
        let (mut y, weights) = (x.clone(), self.weights(absolute));
        y.each(self.picture, rows, |neuron, run| run.iter_mut().for_each(|y| *y = *y * weights[neuron]));
        y
    }
}

/// Fills the runs of `to` with sums over all of `from`. `terms` and `sums` are the places of the weights of both.
fn matrix_sums<T: Real>(
    weights: &[T],
    rows: usize,
    from: &Coefficients<T>,
    terms: impl Iterator<Item = usize>,
    sums: impl Iterator<Item = usize>,
    to: &mut Coefficients<T>,
) {
    let terms = Offsets::new(terms.map(|place| place as u32).collect());
    let spans = [Span { first: 0, end: (from.numbers.len() / rows) as u32, base: 0 }];
    let places: Vec<u32> = sums.map(|place| place as u32).collect();
    sums::sums(rows, weights, &places, &terms, &spans, &from.numbers, &mut to.numbers);
}

/// `rows` convolutions without bias.
fn convolve<T: Real>(window: &Window, groups: usize, weight: &[T], rows: usize, x: &[T]) -> Vec<T> {
    if let Some(y) = T::convolve(window, groups, weight, rows, x) {
        return y;
    }
    let each = Columns::new(window, groups, weight.len());
    let mut y = vec![T::ZERO; rows * each.output()];
    let mut columns = vec![T::ZERO; each.taps * each.places];
    for (x, y) in x.chunks(each.input().max(1)).zip(y.chunks_mut(each.output().max(1))) {
        for group in 0..groups {
            columns.fill(T::ZERO);
            each.walk(group, |column, from| columns[column] = x[from]);
            let weight = &weight[group * each.outputs * each.taps..][..each.outputs * each.taps];
            let y = &mut y[group * each.outputs * each.places..][..each.outputs * each.places];
            T::product(each.outputs, each.places, each.taps, weight, Layout::Normal, &columns, Layout::Normal, y);
        }
    }
    y
}

/// A convolution as a product: `[taps, places]` numbers, of which each is one of the input or 0.
struct Columns<'a> {
    window: &'a Window,
    groups: usize,
    /// Of a group.
    taps: usize,
    places: usize,
    /// Of a group.
    outputs: usize,
}

impl<'a> Columns<'a> {
    fn new(window: &'a Window, groups: usize, weights: usize) -> Self {
        let taps = window.input[0] / groups * window.kernel[0] * window.kernel[1];
        let [rows, columns] = window.output().expect("a checked window");
        Self { window, groups, taps, places: rows * columns, outputs: weights / taps.max(1) / groups }
    }

    fn input(&self) -> usize {
        self.window.input.iter().product()
    }

    fn output(&self) -> usize {
        self.groups * self.outputs * self.places
    }

    /// Every place of the columns of a group that is no padding, with its place in the input.
    fn walk(&self, group: usize, mut each: impl FnMut(usize, usize)) {
        let Window { input: [channels, height, width], kernel: [kh, kw], .. } = *self.window;
        let [rows, columns] = self.window.output().expect("a checked window");
        let inside = channels / self.groups;
        for tap in 0..self.taps {
            let (c, u, v) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            for row in 0..rows {
                let Some(at_row) = self.window.sees(0, row, u) else { continue };
                let from = ((group * inside + c) * height + at_row) * width;
                for column in 0..columns {
                    if let Some(at_column) = self.window.sees(1, column, v) {
                        each((tap * rows + row) * columns + column, from + at_column);
                    }
                }
            }
        }
    }
}
