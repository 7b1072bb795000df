//! What only computes constants: Constant, ConstantOfShape, Shape, Range, Gather, Cast.

use super::{Call, Reader, Value, axes, sizes};
use crate::onnx::model::{Data, Tensor};
use crate::onnx::tensor::{Moves, count, strides};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn constant_of_shape(&mut self, call: &Call<'_>) -> Result<Value> {
        let shape = sizes(call.constant(0)?.ints()?)?;
        let total = count(&shape)?;
        self.spend(total)?;
        let zero = Tensor { shape: vec![1], data: Data::Float(vec![0.0]), merged: 0, double: false };
        let value = call.attributes.get("value").and_then(|a| a.tensor.clone()).unwrap_or(zero);
        if value.len() != 1 {
            return Err("a value that is no scalar".into());
        }
        Ok(Value::Constant(Moves { shape, from: vec![Some(0); total] }.constant(&value, 0.0)))
    }

    pub(super) fn range(&mut self, call: &Call<'_>) -> Result<Value> {
        let number = |i: usize| -> Result<i64> {
            call.constant(i)?.ints()?.first().copied().ok_or_else(|| "an empty bound".into())
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let span = limit.checked_sub(start).ok_or("too large")?;
        if step == 0 {
            return Err("a step of 0".into());
        }
        let n = if (span > 0) == (step > 0) { span.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
        self.spend(usize::try_from(n).map_err(|_| "too large")?)?;
        Ok(Value::Constant(Tensor::of_ints((0..n as i64).map(|i| start + i * step).collect())))
    }

    pub(super) fn gather(&mut self, call: &Call<'_>) -> Result<Value> {
        let (Value::Constant(data), indices) = (call.value(0)?, call.constant(1)?) else {
            return Err("it gathers from a variable".into());
        };
        let axis = axes(&[call.int("axis", 0)], data.shape.len())?[0];
        let size = data.shape[axis] as i64;
        let wrap = |i: &i64| usize::try_from(if *i < 0 { *i + size } else { *i }).ok().filter(|i| (*i as i64) < size);
        let at: Vec<usize> =
            indices.ints()?.iter().map(wrap).collect::<Option<_>>().ok_or_else(|| format!("an index beyond {size}"))?;
        let mut shape = data.shape[..axis].to_vec();
        shape.extend(&indices.shape);
        shape.extend(&data.shape[axis + 1..]);
        self.spend(count(&shape)?)?;
        let (rank, steps) = (indices.shape.len(), strides(&indices.shape));
        let place = |i: &[usize]| {
            let index: usize = i[axis..axis + rank].iter().zip(&steps).map(|(i, step)| i * step).sum();
            let mut old = i[..axis].to_vec();
            old.push(at[index]);
            old.extend(&i[axis + rank..]);
            Some(old)
        };
        Ok(Value::Constant(Moves::new(&data.shape, shape, place).constant(&data, 0.0)))
    }
}

pub(super) fn constant(call: &Call<'_>) -> Result<Value> {
    let float = |data: Vec<f64>, shape| Tensor { shape, data: Data::Float(data), merged: 0, double: false };
    let Some((name, value)) = call.attributes.iter().next() else { return Err("no value".into()) };
    let tensor = match name.as_str() {
        "value" => value.tensor.clone().ok_or("no value")?,
        "value_float" => float(vec![f64::from(value.float)], vec![]),
        "value_floats" => float(value.floats.clone(), vec![value.floats.len()]),
        "value_int" => Tensor { shape: vec![], ..Tensor::of_ints(vec![value.int]) },
        "value_ints" => Tensor::of_ints(value.ints.clone()),
        other => return Err(format!("attribute {other}")),
    };
    if let Data::Float(data) = &tensor.data
        && let Some(number) = data.iter().find(|number| number.is_nan())
    {
        return Err(format!("its value is {number}"));
    }
    Ok(Value::Constant(tensor))
}

pub(super) fn shape(call: &Call<'_>) -> Result<Value> {
    let shape: Vec<i64> = call.shape(0)?.iter().map(|size| *size as i64).collect();
    let rank = shape.len() as i64;
    let bound = |name: &str, absent: i64| {
        let at = call.int(name, absent);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    Ok(Value::Constant(Tensor::of_ints(shape.get(start..end).unwrap_or(&[]).to_vec())))
}

pub(super) fn cast(call: &Call<'_>) -> Result<Value> {
    let to = call.int("to", 0);
    match (call.value(0)?, to) {
        (Value::Active(x), 1 | 11) => Ok(Value::Active(x)),
        (Value::Constant(t), 1 | 11) => {
            let data = match t.data {
                Data::Float(data) => data,
                Data::Int(data) if data.iter().all(|i| i.unsigned_abs() <= 1 << 24) => {
                    data.iter().map(|i| *i as f64).collect()
                }
                Data::Int(_) => return Err("an integer that a float does not hold".into()),
            };
            // A double that is no float is another number then.
            if to == 1 && t.merged == 0 && data.iter().any(|x| f64::from(*x as f32) != *x) {
                return Err("a double that a float does not hold".into());
            }
            Ok(Value::Constant(Tensor { data: Data::Float(data), double: to == 11, ..t }))
        }
        (Value::Constant(t), 6 | 7) => {
            let data = match t.data {
                Data::Int(data) => data,
                Data::Float(data) => data.iter().map(|x| *x as i64).collect(),
            };
            Ok(Value::Constant(Tensor { data: Data::Int(data), ..t }))
        }
        _ => Err(format!("to elements of type {to}")),
    }
}
