//! Lower bounds of margins.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use temper_kernels::margins as kernel;

use super::{sizes, with_intervals};
use crate::composed;
use crate::fused::{Fused, Input, apply, matrix, on_cpu, tensor, values};

/// Lower bounds of the margins `z_y - z_j` through the last layer, merged with the specification before bounding:
/// `(W_y - W_j) c + b_y - b_j - |W_y - W_j| r`, and 0 for j = y. `x` is `[3, N, D, 1, 1]`, `weight` `[K, D]`, `bias`
/// `[K]`, one label a row; the result is `[N, K]`.
pub fn margins(x: Tensor<5>, weight: Tensor<2>, bias: Tensor<1>, labels: &[u32]) -> Tensor<2> {
    if !on_cpu(&x) {
        return composed::margins(x, weight, bias, labels);
    }
    apply(Margins { labels: labels.to_vec() }, [Input::new(x), Input::new(weight), Input::new(bias)])
}

#[derive(Debug, Clone)]
struct Margins {
    labels: Vec<u32>,
}

impl Fused<3> for Margins {
    /// Input and weight.
    type Saved = (FlexTensor, FlexTensor);

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3], _: bool) -> (FlexTensor, Self::Saved) {
        let [classes, _] = matrix(&weight);
        let y = kernel::forward(with_intervals(&x), values(&weight), values(&bias), &self.labels);
        (tensor(y, [self.labels.len(), classes]), (x, weight))
    }

    fn backward(&self, (x, weight): Self::Saved, gradient: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let ([classes, width], w, g) = (matrix(&weight), values(&weight), values(&gradient));
        let dx = needed[0].then(|| {
            let dx = kernel::backward_input(g, w, &self.labels, classes);
            tensor(dx, sizes(&x))
        });
        if !needed[1] && !needed[2] {
            return [dx, None, None];
        }
        let [dw, db] = kernel::backward_weight(values(&x), g, w, &self.labels, classes);
        [dx, Some(tensor(dw, [classes, width])), Some(tensor(db, [classes]))]
    }
}
