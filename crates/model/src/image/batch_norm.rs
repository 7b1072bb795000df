//! The running statistics of batch normalisation, updated as PyTorch does, and statistics of a batch or of a whole
//! training set pooled over its parts. All in double precision, in a fixed order; running statistics of other devices than the processor move
//! in theirs.

use std::ops::Add;

use burn::tensor::{Tensor, TensorData};
use temper_graph::Op;
use temper_ops::{read, stack};

use super::graph::{Classifier, Layer};

/// The weight of a batch in the running statistics.
const MOMENTUM: f64 = 0.1;

impl Classifier {
    /// How many values a channel of every batch norm has for `images` images, in node order: N·H·W.
    pub fn batch_norm_counts(&self, images: usize) -> Vec<usize> {
        let nodes = self.config.nodes.iter().zip(&self.shapes[1..]);
        nodes.filter(|(node, _)| node.op == Op::BatchNorm).map(|(_, [_, h, w])| images * h * w).collect()
    }

    /// Moves the running statistics a tenth of the way to those of a batch: `moments` as a trace has them, mean and
    /// biased variance `[2, C]`; `counts` as [`Classifier::batch_norm_counts`] gives them. The variance goes in unbiased,
    /// n / (n - 1) times as large.
    pub fn update_running(&mut self, moments: &[Tensor<2>], counts: &[usize]) {
        assert_eq!(moments.len(), counts.len(), "one count a batch norm");
        let mut batches = moments.iter().zip(counts);
        self.set_statistics(|[mean, variance]| {
            let (moments, count) = batches.next().expect("the moments of every batch norm");
            let n = *count as f64;
            let unbiased = n / (n - 1.0).max(1.0);
            let row = |row: usize| moments.clone().narrow(0, row, 1).squeeze_dim::<1>(0);
            *mean = stack::running(mean.clone(), row(0), MOMENTUM, 1.0);
            *variance = stack::running(variance.clone(), row(1), MOMENTUM, unbiased);
        });
    }

    /// The running statistics, as [`set_running`](Self::set_running) takes them.
    pub fn running(&self) -> Vec<Tensor<2>> {
        let statistics = self.layers.iter().filter_map(|layer| match layer {
            Layer::BatchNorm { running_mean, running_var, .. } => Some([running_mean, running_var]),
            _ => None,
        });
        statistics.map(|both| Tensor::stack(both.map(Tensor::clone).into(), 0)).collect()
    }

    /// Replaces the running statistics outright by mean and variance `[2, C]` per batch norm, in node order: precise
    /// batch norm (Wu and Johnson 2021), with the statistics that [`PooledMoments`] gives for the training set.
    pub fn set_running(&mut self, moments: &[Tensor<2>]) {
        let mut moments = moments.iter();
        self.set_statistics(|statistics| {
            let moments = moments.next().expect("the moments of every batch norm");
            for (row, tensor) in statistics.into_iter().enumerate() {
                let values = moments.clone().narrow(0, row, 1).squeeze_dim::<1>(0);
                assert_eq!(values.dims(), tensor.dims(), "one value a channel");
                *tensor = values;
            }
        });
    }

    /// Lets `f` change mean and variance of every batch norm, in node order.
    fn set_statistics(&mut self, mut f: impl FnMut([&mut Tensor<1>; 2])) {
        for layer in &mut self.layers {
            if let Layer::BatchNorm { running_mean, running_var, .. } = layer {
                f([running_mean, running_var]);
            }
        }
    }
}

/// Mean and biased variance of every batch norm over several batches together (Chan, Golub and LeVeque 1979).
#[derive(Debug, Clone, Default)]
pub struct PooledMoments(Vec<Pool>);

/// What is known of one batch norm's channels.
#[derive(Debug, Clone, Default)]
struct Pool {
    count: f64,
    mean: Vec<f64>,
    /// Sums of squared distances to the mean.
    squares: Vec<f64>,
}

impl PooledMoments {
    /// Those of one batch: `moments` as a trace has them, `counts` as [`Classifier::batch_norm_counts`] gives them.
    pub fn of(moments: &[Tensor<2>], counts: &[usize]) -> Self {
        assert_eq!(moments.len(), counts.len(), "one count a batch norm");
        let pool = |(moments, n): (&Tensor<2>, &usize)| {
            let ([mean, variance], count) = (split(moments), *n as f64);
            Pool { count, mean, squares: variance.into_iter().map(|variance| variance * count).collect() }
        };
        Self(moments.iter().zip(counts).map(pool).collect())
    }

    /// Adds a batch, as [`PooledMoments::of`] takes it.
    pub fn add(&mut self, moments: &[Tensor<2>], counts: &[usize]) {
        let own = std::mem::take(self);
        let other = Self::of(moments, counts);
        *self = if own.0.is_empty() { other } else { own + other };
    }

    /// Mean and biased variance over everything that was added, `[2, C]` per batch norm.
    pub fn moments(&self, device: &burn::tensor::Device) -> Vec<Tensor<2>> {
        let tensor = |pool: &Pool| {
            let variance = pool.squares.iter().map(|sum| sum / pool.count);
            let values: Vec<f32> = pool.mean.iter().copied().chain(variance).map(|value| value as f32).collect();
            Tensor::from_data(TensorData::new(values, [2, pool.mean.len()]), device)
        };
        self.0.iter().map(tensor).collect()
    }
}

/// Those of both together, of one network.
impl Add for PooledMoments {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            let total = own.count + other.count;
            for (i, (mean, squares)) in other.mean.into_iter().zip(other.squares).enumerate() {
                let distance = mean - own.mean[i];
                own.mean[i] += distance * other.count / total;
                own.squares[i] += squares + distance * distance * own.count * other.count / total;
            }
            own.count = total;
        }
        self
    }
}

/// Mean and variance of `[2, C]`.
fn split(moments: &Tensor<2>) -> [Vec<f64>; 2] {
    let mut mean: Vec<f64> = read(moments.clone()).into_iter().map(f64::from).collect();
    let variance = mean.split_off(mean.len() / 2);
    [mean, variance]
}
