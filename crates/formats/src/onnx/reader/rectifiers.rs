//! What bends at one place, as ReLUs: LeakyRelu, PRelu, Clip, Max, Min, and Where with the comparison that it chooses by.

use temper_graph::computation::{Affine, Operation};

use super::{Active, Call, Reader, Value};
use crate::onnx::model::{Data, Tensor};
use crate::onnx::tensor::together;
use crate::onnx::wire::Result;

/// The largest bound or slope of what is made of a ReLU, as `c + relu(x - c)`: beyond, even doubles may lose `x` beside `c`.
const LARGEST: f64 = 16_777_216.0;

impl Reader {
    /// `below x` under 0, `above x` over it; the slopes are within `merged` roundings.
    pub(super) fn slopes(&mut self, x: &Active, below: f64, above: f64, merged: u32) -> Result<Active> {
        let positive = self.relu(x)?;
        let step = above - below;
        if [below, above].iter().any(|slope| slope.abs() > LARGEST) {
            return Err("a slope in whose sum with another the other would be lost".into());
        }
        if merged > 0 && below != 0.0 && above != 0.0 {
            return Err("a slope that is computed".into());
        }
        let positive = if step == 1.0 { positive } else { self.line(&positive, step, 0.0, merged + 1)? };
        if below == 0.0 {
            return Ok(positive);
        }
        let line = if below == 1.0 { x.clone() } else { self.line(x, below, 0.0, merged)? };
        self.add(&line, &positive)
    }

    pub(super) fn prelu(&mut self, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let slope = self.spread(call.constant(1)?, &x.shape)?;
        if slope.merged > 0 {
            return Err("a slope that is computed".into());
        }
        let below = slope.floats()?;
        if below.iter().any(|slope| slope.abs() > LARGEST) {
            return Err("a slope in whose sum with another the other would be lost".into());
        }
        let zeros = vec![0.0; below.len()];
        let above = below.iter().map(|slope| 1.0 - slope).collect();
        let line = self.scale(&x, Affine::exact(below.to_vec(), zeros.clone()))?;
        let positive = self.relu(&x)?;
        let positive = self.scale(&positive, Affine { merged: 1, ..Affine::exact(above, zeros) })?;
        Ok(Value::Active(self.add(&line, &positive)?))
    }

    pub(super) fn clip(&mut self, call: &Call<'_>) -> Result<Value> {
        let x = call.value(0)?;
        let (low, high) = if self.opset < 11 {
            (
                call.attributes.get("min").map(|a| f64::from(a.float)),
                call.attributes.get("max").map(|a| f64::from(a.float)),
            )
        } else {
            let bound = |i| match call.optional(i)? {
                None => Ok(None),
                Some(c) if c.len() == 1 => Ok(Some(c.floats()?[0])),
                Some(_) => Err::<_, String>("a bound that is no scalar".into()),
            };
            (bound(1)?, bound(2)?)
        };
        let scalar = |number: f64| {
            Value::Constant(Tensor { shape: vec![], data: Data::Float(vec![number]), merged: 0, double: false })
        };
        let unlimited = f64::from(f32::MAX);
        let x = match low.filter(|low| *low > -unlimited) {
            Some(low) => self.extreme(true, x, scalar(low))?,
            None => x,
        };
        // Where the lower bound is above the upper one, it is the upper one that holds.
        match high.filter(|high| *high < unlimited) {
            Some(high) => self.extreme(false, x, scalar(high)),
            None => Ok(x),
        }
    }

    /// The larger (or smaller) of two: `c + relu(x - c)`, `c - relu(c - x)`.
    pub(super) fn extreme(&mut self, larger: bool, a: Value, b: Value) -> Result<Value> {
        let sign = if larger { 1.0 } else { -1.0 };
        let (x, c) = match (a, b) {
            (Value::Active(x), Value::Active(y)) => {
                // max(x, y) = y + relu(x - y), min(x, y) = x - relu(x - y).
                let negative = self.line(&y, -1.0, 0.0, 0)?;
                let difference = self.add(&x, &negative)?;
                let above = self.relu(&difference)?;
                if larger {
                    return Ok(Value::Active(self.add(&y, &above)?));
                }
                let above = self.line(&above, -1.0, 0.0, 0)?;
                return Ok(Value::Active(self.add(&x, &above)?));
            }
            (Value::Active(x), Value::Constant(c)) | (Value::Constant(c), Value::Active(x)) => (x, c),
            _ => return Err("two constants".into()),
        };
        let shape = together(&x.shape, &c.shape)?;
        let Value::Active(x) = self.broadcast(Value::Active(x), &shape)? else { return Err("no variable".into()) };
        let c = self.spread(&c, &shape)?;
        let (numbers, merged) = (c.floats()?, c.merged);
        if numbers.iter().any(|n| !n.is_finite()) {
            return Err("a bound that is not finite".into());
        }
        if let Some(n) = numbers.iter().find(|n| n.abs() > LARGEST) {
            return Err(format!("a bound of {n:e}, in whose sum with a value the value would be lost"));
        }
        let plain = numbers.iter().all(|c| *c == 0.0);
        let n = numbers.len();
        let shifted = if plain && larger {
            x
        } else {
            let bias = numbers.iter().map(|c| -sign * c).collect();
            self.scale(&x, Affine { merged, ..Affine::exact(vec![sign; n], bias) })?
        };
        let above = self.relu(&shifted)?;
        if plain && larger {
            return Ok(Value::Active(above));
        }
        Ok(Value::Active(self.scale(&above, Affine { merged, ..Affine::exact(vec![sign; n], numbers.to_vec()) })?))
    }

    /// What is chosen by the sign of a value, if both choices are multiples of it.
    pub(super) fn choose(&mut self, call: &Call<'_>) -> Result<Value> {
        let Value::Sign(x, positive) = call.value(0)? else {
            return Err("a condition that is no comparison of the chosen value with 0".into());
        };
        let (yes, no) = (self.slope(&call.value(1)?, &x)?, self.slope(&call.value(2)?, &x)?);
        let ((above, m), (below, n)) = if positive { (yes, no) } else { (no, yes) };
        Ok(Value::Active(self.slopes(&x, below, above, m.max(n))?))
    }

    /// The `a` and its roundings where `y = a x`.
    fn slope(&self, y: &Value, x: &Active) -> Result<(f64, u32)> {
        let fail = || Err("it chooses between values that are no multiples of the compared one".into());
        match y {
            Value::Active(y) if y.shape != x.shape => fail(),
            Value::Active(y) if y.value == x.value => Ok((1.0, 0)),
            Value::Active(y) => {
                let node = y.value.checked_sub(1).map(|i| &self.nodes[i]);
                match node.map(|node| (&node.operation, node.inputs.as_slice())) {
                    Some((Operation::Scale(affine), [from]))
                        if *from == x.value
                            && !affine.weight.is_empty()
                            && affine.bias.iter().all(|b| *b == 0.0)
                            && affine.weight.iter().all(|w| *w == affine.weight[0]) =>
                    {
                        Ok((affine.weight[0], affine.merged))
                    }
                    _ => fail(),
                }
            }
            Value::Constant(c) if c.floats()?.iter().all(|c| *c == 0.0) && together(&x.shape, &c.shape)? == x.shape => {
                Ok((0.0, 0))
            }
            Value::Constant(_) | Value::Sign(..) => fail(),
        }
    }
}

pub(super) fn compare(op: &str, call: &Call<'_>) -> Result<Value> {
    // One that has more dimensions would add them to what is chosen.
    let zero = |c: &Tensor, x: &Active| {
        c.len() == 1 && c.shape.len() <= x.shape.len() && matches!(&c.data, Data::Float(data) if data[0] == 0.0)
    };
    let greater = op.starts_with("Greater");
    match (call.value(0)?, call.value(1)?) {
        (Value::Active(x), Value::Constant(c)) if zero(&c, &x) => Ok(Value::Sign(x, greater)),
        (Value::Constant(c), Value::Active(x)) if zero(&c, &x) => Ok(Value::Sign(x, !greater)),
        _ => Err("a comparison with something else than 0".into()),
    }
}
