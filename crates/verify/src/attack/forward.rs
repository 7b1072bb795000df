//! Values and gradients of many points at once, in single precision: what a search for counterexamples spends its time on.

use rayon::prelude::*;
use temper_graph::computation::{Number, windows};
use temper_graph::{Affine, Computation, Curve, Operation, Window};
use temper_kernels::conv::{self, Shape, Sums};
use temper_kernels::gemm::{Layout, gemm};

/// A computation in single precision. Points are rows: value `i` of `n` points is `[n, len(i)]`.
#[derive(Debug)]
pub struct Forward<'a> {
    computation: &'a Computation,
    /// Of every node.
    kernels: Vec<Kernel>,
    /// Of every value, the input first.
    sizes: Vec<usize>,
}

/// What a node is made by.
#[derive(Debug)]
enum Kernel {
    Dense {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    /// A convolution of [`temper_kernels`]: square, even padding.
    Conv {
        weight: Vec<f32>,
        bias: Vec<f32>,
        shape: Shape,
    },
    /// Any other.
    Taps {
        weight: Vec<f32>,
        bias: Vec<f32>,
        window: Window,
        groups: usize,
    },
    Scale {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    Relu,
    Curve(Curve),
    Add,
    /// The places that each window sees, and where each window's begin.
    MaxPool {
        places: Vec<u32>,
        starts: Vec<usize>,
    },
    Gather {
        from: Vec<Option<u32>>,
        fill: Vec<f32>,
    },
}

fn single(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|number| *number as f32).collect()
}

fn convolution(window: &Window, groups: usize, affine: &Affine) -> Kernel {
    let (weight, bias) = (single(&affine.weight), single(&affine.bias));
    let [top, left, bottom, right] = window.padding;
    let even = top == left && top == bottom && top == right && window.dilation == [1, 1];
    let square = window.kernel[0] == window.kernel[1] && window.stride[0] == window.stride[1];
    if !even || !square || top >= window.kernel[0] {
        return Kernel::Taps { weight, bias, window: *window, groups };
    }
    let shape = Shape {
        slabs: 1,
        images: 0,
        inputs: window.input[0],
        outputs: affine.bias.len(),
        groups,
        size: [window.input[1], window.input[2]],
        kernel: window.kernel[0],
        stride: window.stride[0],
        padding: top,
    };
    Kernel::Conv { weight, bias, shape }
}

impl<'a> Forward<'a> {
    /// The computation with its numbers rounded to single precision.
    pub fn new(computation: &'a Computation) -> Self {
        let kernel = |operation: &Operation| match operation {
            Operation::Dense(affine) => Kernel::Dense { weight: single(&affine.weight), bias: single(&affine.bias) },
            Operation::Conv { window, groups, affine } => convolution(window, *groups, affine),
            Operation::Scale(affine) => Kernel::Scale { weight: single(&affine.weight), bias: single(&affine.bias) },
            Operation::Relu => Kernel::Relu,
            Operation::Curve(curve) => Kernel::Curve(*curve),
            Operation::Add => Kernel::Add,
            Operation::MaxPool(window) => {
                let (mut places, mut starts) = (Vec::new(), vec![0]);
                for seen in windows(window) {
                    places.extend(seen.iter().map(|place| *place as u32));
                    starts.push(places.len());
                }
                Kernel::MaxPool { places, starts }
            }
            Operation::Gather { from, fill } => Kernel::Gather { from: from.clone(), fill: single(fill) },
        };
        let kernels = computation.nodes().iter().map(|node| kernel(&node.operation)).collect();
        let sizes = (0..=computation.nodes().len()).map(|value| computation.len(value)).collect();
        Self { computation, kernels, sizes }
    }

    /// How many numbers all values of one point have.
    pub fn numbers(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Every value of these points, `[n, inputs]`.
    ///
    /// # Panics
    /// If the points are of another size.
    pub fn values(&self, points: Vec<f32>) -> Vec<Vec<f32>> {
        let n = points.len() / self.sizes[0].max(1);
        assert_eq!(points.len(), n * self.sizes[0], "points of the network's size");
        let mut values = vec![points];
        for (i, (kernel, node)) in self.kernels.iter().zip(self.computation.nodes()).enumerate() {
            let x = &values[node.inputs[0]];
            let (from, to) = (self.sizes[node.inputs[0]], self.sizes[i + 1]);
            let mut y = vec![0.0; n * to];
            match kernel {
                Kernel::Dense { weight, bias } => {
                    y.chunks_mut(to.max(1)).for_each(|row| row.copy_from_slice(bias));
                    gemm(n, to, from, 1.0, x, Layout::Normal, weight, Layout::Transposed, &mut y, true);
                }
                Kernel::Conv { weight, bias, shape } => {
                    y = conv::forward(x, weight, Some(bias), Shape { images: n, ..*shape }, Sums::Plain);
                }
                Kernel::Taps { weight, bias, window, groups } => {
                    y.par_chunks_mut(to).zip(x.par_chunks(from)).for_each(|(y, x)| {
                        let [rows, columns] = window.output().expect("a window fits");
                        y.chunks_mut(rows * columns).zip(bias).for_each(|(plane, bias)| plane.fill(*bias));
                        taps(window, *groups, bias.len(), |w, at, seen| y[at] += weight[w] * x[seen]);
                    });
                }
                Kernel::Scale { weight, bias } => {
                    for (y, x) in y.chunks_mut(to.max(1)).zip(x.chunks(from.max(1))) {
                        for (y, (x, (w, b))) in y.iter_mut().zip(x.iter().zip(weight.iter().zip(bias))) {
                            *y = w * x + b;
                        }
                    }
                }
                Kernel::Relu => y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x < 0.0 { 0.0 } else { *x }),
                Kernel::Curve(curve) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x.curved(*curve)),
                Kernel::Add => {
                    for input in &node.inputs {
                        y.iter_mut().zip(&values[*input]).for_each(|(y, x)| *y += x);
                    }
                }
                Kernel::MaxPool { places, starts } => {
                    for (y, x) in y.chunks_mut(to.max(1)).zip(x.chunks(from.max(1))) {
                        for (y, ends) in y.iter_mut().zip(starts.windows(2)) {
                            *y = x[largest(x, &places[ends[0]..ends[1]])];
                        }
                    }
                }
                Kernel::Gather { from: places, fill } => {
                    let constant = |i: usize| fill.get(i).copied().unwrap_or(0.0);
                    for (p, y) in y.chunks_mut(to.max(1)).enumerate() {
                        let x = &x[p * from..(p + 1) * from];
                        for (i, (y, place)) in y.iter_mut().zip(places).enumerate() {
                            *y = place.map_or_else(|| constant(i), |place| x[place as usize]);
                        }
                    }
                }
            }
            values.push(y);
        }
        values
    }

    /// The gradient by the input, `[n, inputs]`, of a sum over the points whose gradient by the output is `output`, `[n, outputs]`.
    ///
    /// # Panics
    /// If `output` and `values` are not of as many points.
    pub fn gradient(&self, values: &[Vec<f32>], output: Vec<f32>) -> Vec<f32> {
        let n = values[0].len() / self.sizes[0].max(1);
        assert_eq!(output.len(), n * self.sizes[self.kernels.len()], "a gradient of the output's size");
        let mut gradients: Vec<Option<Vec<f32>>> = vec![None; values.len()];
        gradients[self.kernels.len()] = Some(output);
        for (i, (kernel, node)) in self.kernels.iter().zip(self.computation.nodes()).enumerate().rev() {
            let Some(g) = gradients[i + 1].take() else { continue };
            let input = node.inputs[0];
            let (from, to) = (self.sizes[input], self.sizes[i + 1]);
            let mut back = vec![0.0; n * from];
            match kernel {
                Kernel::Dense { weight, .. } => {
                    gemm(n, from, to, 1.0, &g, Layout::Normal, weight, Layout::Normal, &mut back, false);
                }
                Kernel::Conv { weight, shape, .. } => {
                    back = conv::backward_input(&g, weight, Shape { images: n, ..*shape }, Sums::Plain);
                }
                Kernel::Taps { weight, bias, window, groups } => {
                    back.par_chunks_mut(from).zip(g.par_chunks(to)).for_each(|(back, g)| {
                        taps(window, *groups, bias.len(), |w, at, seen| back[seen] += weight[w] * g[at]);
                    });
                }
                Kernel::Scale { weight, .. } => {
                    for (back, g) in back.chunks_mut(from.max(1)).zip(g.chunks(to.max(1))) {
                        back.iter_mut().zip(g.iter().zip(weight)).for_each(|(back, (g, w))| *back = g * w);
                    }
                }
                Kernel::Relu => {
                    let passes = back.iter_mut().zip(g.iter().zip(&values[input]));
                    passes.for_each(|(back, (g, x))| *back = if *x > 0.0 { *g } else { 0.0 });
                }
                Kernel::Curve(curve) => {
                    let slopes = back.iter_mut().zip(g.iter().zip(&values[input]));
                    slopes.for_each(|(back, (g, x))| *back = g * curve.slope(f64::from(*x)) as f32);
                }
                Kernel::Add => {
                    for input in &node.inputs[1..] {
                        add(&mut gradients[*input], g.clone());
                    }
                    back = g;
                }
                Kernel::MaxPool { places, starts } => {
                    for p in 0..n {
                        let x = &values[input][p * from..(p + 1) * from];
                        for (g, ends) in g[p * to..(p + 1) * to].iter().zip(starts.windows(2)) {
                            back[p * from + largest(x, &places[ends[0]..ends[1]])] += g;
                        }
                    }
                }
                Kernel::Gather { from: places, .. } => {
                    for (p, g) in g.chunks(to.max(1)).enumerate() {
                        for (g, place) in g.iter().zip(places) {
                            if let Some(place) = place {
                                back[p * from + *place as usize] += g;
                            }
                        }
                    }
                }
            }
            add(&mut gradients[input], back);
        }
        gradients.swap_remove(0).unwrap_or_else(|| vec![0.0; values[0].len()])
    }
}

/// Adds to a gradient that may not be there yet.
fn add(to: &mut Option<Vec<f32>>, gradient: Vec<f32>) {
    match to {
        Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g),
        None => *to = Some(gradient),
    }
}

/// The place of the largest number; the first of several, and of a NaN.
fn largest(x: &[f32], places: &[u32]) -> usize {
    let larger = |a: usize, b: usize| if x[b] > x[a] || x[b].is_nan() { b } else { a };
    places.iter().map(|place| *place as usize).reduce(larger).expect("a window sees something")
}

/// Every product of a convolution: the number of the weight, of the output, of the input.
#[inline(always)]
pub(crate) fn taps(window: &Window, groups: usize, outputs: usize, mut product: impl FnMut(usize, usize, usize)) {
    let [rows, columns] = window.output().expect("a window fits");
    let [channels, height, width] = window.input;
    let (inside, outside) = (channels / groups, outputs / groups);
    let [kh, kw] = window.kernel;
    for o in 0..outputs {
        for i in 0..inside * kh * kw {
            let (c, u, v) = (o / outside * inside + i / (kh * kw), i / kw % kh, i % kw);
            for row in 0..rows {
                let Some(y) = window.sees(0, row, u) else { continue };
                for column in 0..columns {
                    let Some(x) = window.sees(1, column, v) else { continue };
                    product(
                        o * inside * kh * kw + i,
                        (o * rows + row) * columns + column,
                        (c * height + y) * width + x,
                    );
                }
            }
        }
    }
}
