//! Token embedding.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::embedding as kernel;

use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};

/// Row `ids[i]` of `weight` for every `i`: `[V, D]` gives `[N, D]`. Ids must be below `V`.
pub fn embedding(weight: Tensor<2>, ids: &[u32]) -> Tensor<2> {
    if !on_cpu(&weight) {
        return composed::embedding(weight, ids);
    }
    apply(Embedding { ids: ids.into() }, [Input::new(weight)])
}

#[derive(Debug, Clone)]
struct Embedding {
    ids: Arc<[u32]>,
}

impl Fused<1> for Embedding {
    /// Rows and columns of the table.
    type Saved = [usize; 2];

    fn forward(&self, [weight]: [FlexTensor; 1], _: bool) -> (FlexTensor, [usize; 2]) {
        let [vocab, width] = matrix(&weight);
        let out = kernel::forward(values(&weight), &self.ids, width);
        (tensor(out, [self.ids.len(), width]), [vocab, width])
    }

    fn backward(&self, [vocab, width]: [usize; 2], gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dw = kernel::backward(values(&gradient), &self.ids, width, vocab);
        [Some(tensor(dw, [vocab, width]))]
    }
}
