//! A computation in one kind of floats, its linear maps ready to be applied to many rows at once, in both directions.

use temper_graph::computation::windows;
use temper_graph::{Affine, Computation, Curve, Operation, Window};

use super::patches::{self, Coefficients, Patch, Picture};
use super::real::{Layout, Real};

/// The numbers of an affine node.
#[derive(Debug)]
pub(crate) struct Map<T> {
    pub kind: Kind,
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
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Dense,
    Conv { window: Window, groups: usize },
    Scale,
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
                    (Step::Affine(Box::new(map(Kind::Dense, affine, size, picture))), Exact::Each)
                }
                Operation::Conv { window, groups, affine } => (
                    Step::Affine(Box::new(map(Kind::Conv { window: *window, groups: *groups }, affine, size, picture))),
                    Exact::Each,
                ),
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

fn map<T: Real>(kind: Kind, affine: &Affine, size: [usize; 2], picture: Picture) -> Map<T> {
    let weight: Vec<T> = affine.weight.iter().map(|w| T::nearest(*w)).collect();
    let outputs = affine.bias.len();
    let fan_in = if let Kind::Scale = kind { 1 } else { affine.weight.len() / outputs.max(1) };
    let fan_out = match &kind {
        Kind::Dense => outputs,
        Kind::Conv { window, groups } => outputs / groups * window.kernel[0] * window.kernel[1],
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
            Kind::Dense => {
                let mut y = vec![T::ZERO; rows * outputs];
                T::product(rows, outputs, inputs, x, Layout::Normal, weight, Layout::Transposed, &mut y);
                y
            }
            Kind::Conv { window, groups } => convolve(window, *groups, weight, rows, x),
            Kind::Scale => {
                x.chunks(inputs.max(1)).flat_map(|row| row.iter().zip(weight).map(|(x, w)| *x * *w)).collect()
            }
        }
    }

    /// `y W` of every row, rows last.
    pub fn push(&self, rows: usize, y: &[T], patch: Option<&Patch>) -> Coefficients<T> {
        let [inputs, outputs] = self.size;
        match (&self.kind, patch) {
            (Kind::Dense, _) => {
                let mut numbers = vec![T::ZERO; rows * inputs];
                T::product(inputs, rows, outputs, &self.weight, Layout::Transposed, y, Layout::Normal, &mut numbers);
                Coefficients { numbers, patch: None }
            }
            (Kind::Conv { window, groups }, None) => {
                Coefficients { numbers: patches::push(window, *groups, &self.weight, rows, y), patch: None }
            }
            (Kind::Conv { window, groups }, Some(patch)) => {
                let (patch, window) = patch.before(window);
                let numbers = patches::push(&window, *groups, &self.weight, rows, y);
                Coefficients { numbers, patch: Some(patch) }
            }
            (Kind::Scale, patch) => Coefficients { numbers: self.scale(rows, y, patch), patch: patch.cloned() },
        }
    }

    /// `W x + b` of every row, rows last, for the windows of the output.
    pub fn pull(&self, rows: usize, x: &[T], patch: Option<&Patch>) -> Vec<T> {
        let [inputs, outputs] = self.size;
        let mut y = match (&self.kind, patch) {
            (Kind::Dense, _) => {
                let mut y = vec![T::ZERO; rows * outputs];
                T::product(outputs, rows, inputs, &self.weight, Layout::Normal, x, Layout::Normal, &mut y);
                y
            }
            (Kind::Conv { window, groups }, None) => patches::pull(window, *groups, &self.weight, rows, x),
            (Kind::Conv { window, groups }, Some(patch)) => {
                patches::pull(&patch.before(window).1, *groups, &self.weight, rows, x)
            }
            (Kind::Scale, patch) => self.scale(rows, x, patch),
        };
        if let (Kind::Scale, Some(patch)) = (&self.kind, patch) {
            let table = patch.table(self.picture);
            let plane = self.picture[1] * self.picture[2];
            for (c, y) in y.chunks_mut(table.len().max(1)).enumerate() {
                y.iter_mut()
                    .zip(&table)
                    .filter(|(_, at)| **at >= 0)
                    .for_each(|(y, at)| *y += self.bias[c * plane + *at as usize]);
            }
            return y;
        }
        let plane = patch.map_or(self.plane, |patch| patch.size[0] * patch.size[1]);
        for (plane, bias) in y.chunks_mut((plane * rows).max(1)).zip(&self.bias) {
            plane.iter_mut().for_each(|y| *y += *bias);
        }
        y
    }

    /// Every number times its weight, rows last.
    fn scale(&self, rows: usize, x: &[T], patch: Option<&Patch>) -> Vec<T> {
        let Some(patch) = patch else {
            return x.chunks(rows.max(1)).zip(&self.weight).flat_map(|(x, w)| x.iter().map(move |x| *x * *w)).collect();
        };
        let (table, plane) = (patch.table(self.picture), self.picture[1] * self.picture[2]);
        let scaled = |(c, x): (usize, &[T])| -> Vec<T> {
            let weight = |at: i32| if at < 0 { T::ZERO } else { self.weight[c * plane + at as usize] };
            x.iter().zip(&table).map(|(x, at)| *x * weight(*at)).collect()
        };
        x.chunks(table.len().max(1)).enumerate().flat_map(scaled).collect()
    }
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
