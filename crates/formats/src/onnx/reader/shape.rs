//! The same numbers in another shape: Flatten, Reshape, Squeeze, Unsqueeze, Transpose, Expand.

use super::{Active, Call, Reader, Value, axes, sizes};
use crate::onnx::model::Tensor;
use crate::onnx::tensor::{Moves, count, together};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn reshape(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let old = call.shape(0)?;
        let total = count(&old)?;
        let input_axes = |call: &Call<'_>| -> Result<Option<Vec<i64>>> {
            match call.optional(1)? {
                Some(axes) => Ok(Some(axes.ints()?.to_vec())),
                None => Ok(call.ints("axes").map(<[i64]>::to_vec)),
            }
        };
        let shape: Vec<usize> = match op {
            "Flatten" => {
                let axis = call.int("axis", 1);
                let axis = if axis == old.len() as i64 { old.len() } else { axes(&[axis], old.len())?[0] };
                vec![old[..axis].iter().product(), old[axis..].iter().product()]
            }
            "Squeeze" => match input_axes(call)? {
                Some(gone) => {
                    let gone = axes(&gone, old.len())?;
                    if gone.iter().any(|d| old[*d] != 1) {
                        return Err(format!("axes {gone:?} of {old:?}"));
                    }
                    (0..old.len()).filter(|d| !gone.contains(d)).map(|d| old[d]).collect()
                }
                None => old.iter().copied().filter(|size| *size != 1).collect(),
            },
            "Unsqueeze" => {
                let new = input_axes(call)?.ok_or("no axes")?;
                let rank = old.len() + new.len();
                let new = axes(&new, rank)?;
                let mut rest = old.iter();
                (0..rank)
                    .map(|d| if new.contains(&d) { Some(1) } else { rest.next().copied() })
                    .collect::<Option<_>>()
                    .ok_or("axes twice")?
            }
            _ => {
                let wanted = match call.optional(1).map_err(|_| "its shape depends on the input's numbers")? {
                    Some(wanted) => wanted.ints()?.to_vec(),
                    None => call.ints("shape").ok_or("no shape")?.to_vec(),
                };
                let copied = |(d, size): (usize, &i64)| match *size {
                    0 if call.int("allowzero", 0) == 0 => {
                        old.get(d).map(|size| *size as i64).ok_or("a 0 beyond the old shape")
                    }
                    size => Ok(size),
                };
                let mut wanted: Vec<i64> =
                    wanted.iter().enumerate().map(copied).collect::<std::result::Result<_, &str>>()?;
                let known = wanted
                    .iter()
                    .filter(|size| **size != -1)
                    .try_fold(1_i64, |product, size| product.checked_mul(*size));
                let known = known.filter(|known| *known > 0).ok_or_else(|| format!("shape {wanted:?} for {old:?}"))?;
                if let Some(rest) = wanted.iter_mut().find(|size| **size == -1) {
                    *rest = total as i64 / known;
                }
                sizes(&wanted)?
            }
        };
        if count(&shape)? != total {
            return Err(format!("shape {shape:?} for {old:?}"));
        }
        match call.value(0)? {
            Value::Constant(tensor) => Ok(Value::Constant(Tensor { shape, ..tensor })),
            Value::Active(x) => Ok(Value::Active(Active { value: x.value, shape })),
            Value::Sign(..) => Err("it reshapes the outcome of a comparison".into()),
        }
    }

    pub(super) fn transpose(&mut self, call: &Call<'_>) -> Result<Value> {
        let shape = call.shape(0)?;
        let order = match call.ints("perm") {
            Some(order) => axes(order, shape.len())?,
            None => (0..shape.len()).rev().collect(),
        };
        let mut seen = order.clone();
        seen.sort_unstable();
        if seen != (0..shape.len()).collect::<Vec<_>>() {
            return Err(format!("perm {order:?} of {} dimensions", shape.len()));
        }
        self.spend(count(&shape)?)?;
        self.moved(call.value(0)?, Moves::transpose(&shape, &order), 0.0)
    }

    pub(super) fn expand(&mut self, call: &Call<'_>) -> Result<Value> {
        let wanted = sizes(call.constant(1)?.ints()?)?;
        let shape = together(&call.shape(0)?, &wanted)?;
        self.broadcast(call.value(0)?, &shape)
    }
}
