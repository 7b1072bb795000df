//! GELU. Burn 0.22 differentiates its erf form as if it were the tanh form, which is off by up to 8.7e-4, on every backend but Flex; and
//! a composition of elementary functions would keep each of their results. So the gradient is our own.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::Tensor;
use temper_kernels::gelu::Gelu;

use crate::own_gradient::{OwnGradient, apply};

/// GELU, exact or in the tanh approximation.
pub fn gelu(x: Tensor<2>, kind: Gelu) -> Tensor<2> {
    apply(Activation { kind }, [x])
}

#[derive(Debug, Clone)]
struct Activation {
    kind: Gelu,
}

/// The argument of the tanh: `sqrt(2 / pi) (x + 0.044715 x³)`.
fn inner(x: Tensor<2>) -> Tensor<2> {
    (x.clone() * x.clone().square() * 0.044715 + x) * (2.0 / PI).sqrt()
}

impl OwnGradient<1, 2> for Activation {
    type Saved = Tensor<2>;

    fn forward(&self, [x]: [Tensor<2>; 1], _: bool) -> (Tensor<2>, Tensor<2>) {
        let share = match self.kind {
            Gelu::Erf => (x.clone() * FRAC_1_SQRT_2).erf(),
            Gelu::Tanh => inner(x.clone()).tanh(),
        };
        (x.clone() * 0.5 * (share + 1.0), x)
    }

    fn backward(&self, x: Tensor<2>, gradient: Tensor<2>) -> [Tensor<2>; 1] {
        let slope = match self.kind {
            // Φ(x) + x φ(x).
            Gelu::Erf => {
                let density = (x.clone().square() * -0.5).exp() * (0.5 / PI).sqrt();
                ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5 + x * density
            }
            Gelu::Tanh => {
                let tanh = inner(x.clone()).tanh();
                let inner_slope = (x.clone().square() * (3.0 * 0.044715) + 1.0) * (2.0 / PI).sqrt();
                let bend = (-tanh.clone().square() + 1.0) * inner_slope * x;
                (tanh + 1.0 + bend) * 0.5
            }
        };
        [gradient * slope]
    }
}
