//! Unembedding and softmax cross-entropy in one operation: the logits of a batch never exist at once.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::cross_entropy::{self as kernel, HeadDims};

use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};
use crate::read::read;

/// `scale * Σ -log softmax(x wᵀ)[target]`, one element; `x` is `[N, D]`, `weight` `[V, D]`.
///
/// With `scale = 1 / tokens of the whole batch` the sum over micro-batches is the token mean.
pub fn cross_entropy(x: Tensor<2>, weight: Tensor<2>, targets: &[u32], scale: f32) -> Tensor<1> {
    if !on_cpu(&x) {
        return composed::cross_entropy(x, weight, targets, scale);
    }
    apply(CrossEntropy { targets: targets.into(), scale }, [Input::new(x), Input::new(weight)])
}

/// `-log softmax(x wᵀ)[target]` of every row, in nats; off the tape, shapes as in [`cross_entropy`].
pub fn token_nll(x: Tensor<2>, weight: Tensor<2>, targets: &[u32]) -> Vec<f32> {
    if !on_cpu(&x) {
        return read(composed::token_nll(x, weight, targets));
    }
    let x = x.try_into_primitive::<Flex>().expect("a CPU tensor off the tape");
    let weight = weight.try_into_primitive::<Flex>().expect("a CPU tensor off the tape");
    kernel::forward(values(&x), values(&weight), targets, dims(&x, &weight))
}

fn dims(x: &FlexTensor, weight: &FlexTensor) -> HeadDims {
    let ([rows, dim], [vocab, width]) = (matrix(x), matrix(weight));
    assert_eq!(dim, width, "cross_entropy: x is [{rows}, {dim}], weight [{vocab}, {width}]");
    HeadDims { rows, dim, vocab }
}

#[derive(Debug, Clone)]
struct CrossEntropy {
    targets: Arc<[u32]>,
    scale: f32,
}

impl CrossEntropy {
    /// The scaled sum, accumulated in double precision.
    fn loss(&self, nll: &[f32]) -> FlexTensor {
        let sum: f64 = nll.iter().map(|&nll| f64::from(nll)).sum();
        tensor(vec![(sum * f64::from(self.scale)) as f32], [1])
    }
}

impl Fused<2> for CrossEntropy {
    /// The gradients of `x` and `weight`: computed in the forward pass, while the logits are in cache.
    type Saved = Option<(FlexTensor, FlexTensor)>;

    fn forward(&self, [x, weight]: [FlexTensor; 2], tracked: bool) -> (FlexTensor, Self::Saved) {
        let dims = dims(&x, &weight);
        let (x, w) = (values(&x), values(&weight));
        if !tracked {
            return (self.loss(&kernel::forward(x, w, &self.targets, dims)), None);
        }
        let [nll, dx, dw] = kernel::forward_backward(x, w, &self.targets, self.scale, dims);
        let gradients = (tensor(dx, [dims.rows, dims.dim]), tensor(dw, [dims.vocab, dims.dim]));
        (self.loss(&nll), Some(gradients))
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (dx, dw) = saved.expect("saved when tracked");
        let upstream = values(&gradient)[0];
        [dx, dw].map(|mut gradient| {
            // The loss is nearly always the end of the graph, where this factor is one.
            if upstream != 1.0 {
                gradient.storage_mut::<f32>().iter_mut().for_each(|g| *g *= upstream);
            }
            Some(gradient)
        })
    }
}
