//! Sums, products and quotients, number by number: Add, Sub, Mul, Div, Neg, of constants too.

use temper_graph::computation::Affine;

use super::{Call, Reader, Value, shape_of};
use crate::onnx::model::{Data, Tensor};
use crate::onnx::tensor::together;
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn arithmetic(&mut self, op: &str, a: Value, b: Value) -> Result<Value> {
        let shape = together(&shape_of(&a)?, &shape_of(&b)?)?;
        if let (Value::Active(a), Value::Active(b)) = (&a, &b) {
            return match op {
                "Add" => Ok(Value::Active(self.add(a, b)?)),
                "Sub" => {
                    let negative = self.line(b, -1.0, 0.0, 0)?;
                    Ok(Value::Active(self.add(a, &negative)?))
                }
                _ => Err("two variables".into()),
            };
        }
        let (a, b) = (self.broadcast(a, &shape)?, self.broadcast(b, &shape)?);
        let (x, c, reversed) = match (a, b) {
            (Value::Constant(a), Value::Constant(b)) => return Ok(Value::Constant(folded(op, &a, &b)?)),
            (Value::Active(x), Value::Constant(c)) => (x, c, false),
            (Value::Constant(c), Value::Active(x)) => (x, c, true),
            _ => return Err("the outcome of a comparison is no number".into()),
        };
        let (numbers, merged) = (c.floats()?, c.merged);
        let (ones, zeros) = (vec![1.0; numbers.len()], vec![0.0; numbers.len()]);
        let negative = || numbers.iter().map(|c| -c).collect();
        let affine = match (op, reversed) {
            ("Add", _) => Affine { merged, ..Affine::exact(ones, numbers.to_vec()) },
            ("Sub", false) => Affine { merged, ..Affine::exact(ones, negative()) },
            ("Sub", true) => Affine { merged, ..Affine::exact(vec![-1.0; numbers.len()], numbers.to_vec()) },
            ("Mul", _) => Affine { merged, ..Affine::exact(numbers.to_vec(), zeros) },
            ("Div", false) if numbers.contains(&0.0) => return Err("a division by 0".into()),
            ("Div", false) => {
                // A quotient that underflows is not within a rounding of itself.
                let inverse: Vec<f64> = numbers.iter().map(|c| 1.0 / c).collect();
                if inverse.iter().any(|n| !n.is_normal()) {
                    return Err("a division by a number that is too large or too small".into());
                }
                Affine { merged: merged + 1, ..Affine::exact(inverse, zeros) }
            }
            _ => return Err("a division by a variable".into()),
        };
        Ok(Value::Active(self.scale(&x, affine)?))
    }

    pub(super) fn negative(&mut self, call: &Call<'_>) -> Result<Value> {
        match call.value(0)? {
            Value::Constant(Tensor { data: Data::Float(data), shape, merged, double }) => {
                let data = Data::Float(data.iter().map(|x| -x).collect());
                Ok(Value::Constant(Tensor { data, shape, merged, double }))
            }
            _ => {
                let x = call.active(0)?;
                Ok(Value::Active(self.line(&x, -1.0, 0.0, 0)?))
            }
        }
    }
}

/// Two constants of one shape. What is rounded is counted; a sum of what was rounded could cancel and is refused.
fn folded(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let data = match (&a.data, &b.data) {
        (Data::Int(a), Data::Int(b)) => {
            let both = a.iter().zip(b).map(|(a, b)| match op {
                "Add" => a.checked_add(*b),
                "Sub" => a.checked_sub(*b),
                "Mul" => a.checked_mul(*b),
                _ => a.checked_div(*b),
            });
            Data::Int(both.collect::<Option<_>>().ok_or("integers that overflow")?)
        }
        (Data::Float(x), Data::Float(y)) => {
            if matches!(op, "Add" | "Sub") && (a.merged > 0 || b.merged > 0) {
                return Err("a sum of constants that are computed".into());
            }
            let both = x.iter().zip(y).map(|(x, y)| match op {
                "Add" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                _ => x / y,
            });
            let both: Vec<f64> = both.collect();
            // Below the normal numbers a rounding is not relative.
            if both.iter().any(|n| !n.is_finite() || (*n != 0.0 && !n.is_normal())) {
                return Err("constants that overflow or underflow".into());
            }
            Data::Float(both)
        }
        _ => return Err("an integer and a float".into()),
    };
    let merged = if matches!(data, Data::Int(_)) { 0 } else { a.merged + b.merged + 1 };
    Ok(Tensor { shape: a.shape.clone(), data, merged, double: a.double })
}
