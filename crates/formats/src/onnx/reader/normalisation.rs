//! BatchNormalization, with the statistics of the file.

use temper_graph::computation::Affine;

use super::{Call, Reader, Value};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn batch_norm(&mut self, call: &Call<'_>) -> Result<Value> {
        if call.int("training_mode", 0) != 0 {
            return Err("training_mode 1".into());
        }
        if call.int("spatial", 1) != 1 {
            return Err("spatial 0".into());
        }
        let x = call.active(0)?;
        let channels = *x.shape.get(1).ok_or("no channels")?;
        let part = |i: usize| -> Result<&[f64]> {
            let c = call.constant(i)?;
            if c.len() == channels && c.merged == 0 {
                c.floats()
            } else {
                Err(format!("{} numbers for {channels} channels, or computed ones", c.len()))
            }
        };
        let (gamma, beta, mean, var) = (part(1)?, part(2)?, part(3)?, part(4)?);
        let epsilon = f64::from(call.float("epsilon", 1e-5));
        let plane: usize = x.shape[2..].iter().product();
        let at = |i: usize| i / plane % channels;
        let scale: Vec<f64> = (0..channels).map(|c| gamma[c] / (var[c] + epsilon).sqrt()).collect();
        if scale.iter().any(|s| !s.is_finite()) || var.iter().any(|v| v + epsilon <= 0.0) {
            return Err("a variance that is not positive".into());
        }
        let n = x.shape.iter().product::<usize>();
        self.spend(3 * n)?;
        let shift = |c: usize| beta[c] - mean[c] * scale[c];
        // Sum, root, quotient; product and sum of the shift; the magnitudes themselves.
        let affine = Affine {
            weight: (0..n).map(|i| scale[at(i)]).collect(),
            bias: (0..n).map(|i| shift(at(i))).collect(),
            merged: 6,
            magnitude: (0..n).map(|i| beta[at(i)].abs() + (mean[at(i)] * scale[at(i)]).abs()).collect(),
        };
        Ok(Value::Active(self.scale(&x, affine)?))
    }
}
