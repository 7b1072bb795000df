//! Numbers taken apart and put together: Slice, Split, Pad, Concat.

use temper_graph::computation::Operation;

use super::{Call, Reader, Value, axes, shape_of, sizes};
use crate::onnx::model::{Data, Tensor};
use crate::onnx::tensor::{Moves, count};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn slice(&mut self, call: &Call<'_>) -> Result<Value> {
        let old = call.shape(0)?;
        let list = |name: &str, i: usize| -> Result<Option<Vec<i64>>> {
            match call.optional(i)? {
                Some(list) => Ok(Some(list.ints()?.to_vec())),
                None => Ok(call.ints(name).map(<[i64]>::to_vec)),
            }
        };
        let starts = list("starts", 1)?.ok_or("no starts")?;
        let ends = list("ends", 2)?.ok_or("no ends")?;
        let along = axes(&list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect()), old.len())?;
        let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if starts.len() != ends.len() || along.len() != ends.len() || steps.len() != ends.len() || steps.contains(&0) {
            return Err("starts, ends, axes and steps do not fit".into());
        }
        let mut shape = old.clone();
        let (mut first, mut step) = (vec![0_i64; old.len()], vec![1_i64; old.len()]);
        for (i, d) in along.into_iter().enumerate() {
            let size = old[d] as i64;
            let wrapped = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
            let (low, high) = if steps[i] > 0 { (0, size) } else { (-1, size - 1) };
            let start = wrapped(starts[i]).clamp(low.max(0), high.max(0));
            let end = wrapped(ends[i]).clamp(low, high);
            let span = if steps[i] > 0 { end - start } else { start - end };
            let width = steps[i].unsigned_abs();
            shape[d] = (span.max(0) as u64).div_ceil(width) as usize;
            (first[d], step[d]) = (start, steps[i]);
        }
        self.spend(count(&shape)?)?;
        let place = |at: &[usize]| {
            Some(at.iter().enumerate().map(|(d, i)| (first[d] + *i as i64 * step[d]) as usize).collect())
        };
        self.moved(call.value(0)?, Moves::new(&old, shape, place), 0.0)
    }

    pub(super) fn split(&mut self, call: &Call<'_>, parts: usize) -> Result<Vec<Value>> {
        let old = call.shape(0)?;
        let axis = axes(&[call.int("axis", 0)], old.len())?[0];
        let given = match call.optional(1)? {
            Some(given) => Some(given.ints()?.to_vec()),
            None => call.ints("split").map(<[i64]>::to_vec),
        };
        let widths = match given {
            Some(given) => sizes(&given)?,
            None => {
                let width = old[axis].div_ceil(parts.max(1));
                (0..parts).map(|i| width.min(old[axis].saturating_sub(i * width))).collect()
            }
        };
        if widths.len() != parts || widths.iter().try_fold(0_usize, |sum, w| sum.checked_add(*w)) != Some(old[axis]) {
            return Err(format!("parts of {widths:?} along {} numbers", old[axis]));
        }
        let mut start = 0;
        let mut values = Vec::new();
        for width in widths {
            let mut shape = old.clone();
            shape[axis] = width;
            self.spend(count(&shape)?)?;
            let moves = Moves::new(&old, shape, |at| {
                Some(at.iter().enumerate().map(|(d, i)| if d == axis { i + start } else { *i }).collect())
            });
            values.push(self.moved(call.value(0)?, moves, 0.0)?);
            start += width;
        }
        Ok(values)
    }

    pub(super) fn pad(&mut self, call: &Call<'_>) -> Result<Value> {
        let mode = call.text("mode", "constant");
        if mode != "constant" {
            return Err(format!("mode {mode}"));
        }
        let old = call.shape(0)?;
        let given = match call.optional(1)? {
            Some(pads) => pads.ints()?.to_vec(),
            None => call.ints("pads").ok_or("no pads")?.to_vec(),
        };
        let fill = match call.optional(2)? {
            Some(fill) if fill.merged == 0 && fill.len() == 1 => match &fill.data {
                Data::Float(fill) => fill[0],
                Data::Int(fill) => fill[0] as f64,
            },
            Some(_) => return Err("a constant that is no scalar of the file".into()),
            None => f64::from(call.float("value", 0.0)),
        };
        if !fill.is_finite() {
            return Err("pads with a number that is not finite".into());
        }
        let along = match call.optional(3)? {
            Some(along) => axes(along.ints()?, old.len())?,
            None => (0..old.len()).collect(),
        };
        if given.len() != 2 * along.len() || given.iter().any(|pad| pad.unsigned_abs() > 1 << 24) {
            return Err(format!("pads {given:?} of {old:?}"));
        }
        let (mut before, mut after) = (vec![0; old.len()], vec![0; old.len()]);
        for (i, d) in along.iter().enumerate() {
            (before[*d], after[*d]) = (given[i], given[along.len() + i]);
        }
        let wide: Vec<i64> = (0..old.len()).map(|d| old[d] as i64 + before[d] + after[d]).collect();
        let shape = sizes(&wide)?;
        self.spend(count(&shape)?)?;
        let place = |at: &[usize]| {
            let inner = at.iter().enumerate().map(|(d, i)| *i as i64 - before[d]);
            inner.zip(&old).map(|(i, size)| usize::try_from(i).ok().filter(|i| i < size)).collect()
        };
        let moves = Moves::new(&old, shape, place);
        let padded = self.moved(call.value(0)?, moves, fill)?;
        let around: Option<Vec<usize>> = before.iter().chain(&after).map(|pad| usize::try_from(*pad).ok()).collect();
        if let (Value::Active(x), Value::Active(y), Some(around)) = (call.value(0)?, &padded, around)
            && fill == 0.0
            && y.value != x.value
            && let [0, 0, top, left, 0, 0, bottom, right] = around[..]
        {
            self.padded.insert(y.value, (x, [top, left, bottom, right]));
        }
        Ok(padded)
    }

    pub(super) fn concat(&mut self, call: &Call<'_>) -> Result<Value> {
        let first = call.shape(0)?;
        let axis = axes(&[call.attributes.get("axis").ok_or("no axis")?.int], first.len())?[0];
        let (mut shape, mut starts) = (first.clone(), Vec::new());
        shape[axis] = 0;
        let mut values = Vec::new();
        for i in 0..call.inputs.len() {
            let part = call.shape(i)?;
            if part.len() != first.len() || (0..part.len()).any(|d| d != axis && part[d] != first[d]) {
                return Err(format!("{part:?} behind {first:?}"));
            }
            starts.push(shape[axis]);
            shape[axis] = shape[axis].checked_add(part[axis]).ok_or("too large")?;
            values.push(call.value(i)?);
        }
        let total = count(&shape)?;
        self.spend(total)?;
        let moves = |part: &Value, start: usize| -> Result<Moves> {
            let old = shape_of(part)?;
            let inside = |i: usize| i >= start && i - start < old[axis];
            Ok(Moves::new(&old, shape.clone(), |at| {
                inside(at[axis])
                    .then(|| at.iter().enumerate().map(|(d, i)| if d == axis { i - start } else { *i }).collect())
            }))
        };
        let constants: Vec<&Tensor> =
            values.iter().filter_map(|v| if let Value::Constant(t) = v { Some(t) } else { None }).collect();
        let all_ints = constants.len() == values.len() && constants.iter().all(|t| matches!(t.data, Data::Int(_)));
        if all_ints {
            let mut data = vec![0; total];
            for (part, start) in values.iter().zip(&starts) {
                let Value::Constant(tensor) = part else { continue };
                let from = moves(part, *start)?.from;
                let numbers = tensor.ints()?;
                from.iter().enumerate().for_each(|(i, from)| data[i] = from.map_or(data[i], |at| numbers[at as usize]));
            }
            return Ok(Value::Constant(Tensor { shape, data: Data::Int(data), merged: 0, double: false }));
        }
        let merged = constants.iter().map(|t| t.merged).max().unwrap_or(0);
        let double = constants.iter().any(|t| t.double);
        let mut fill = vec![0.0; if constants.is_empty() { 0 } else { total }];
        let mut parts = Vec::new();
        for (part, start) in values.iter().zip(&starts) {
            self.spend(total)?;
            let from = moves(part, *start)?.from;
            match part {
                Value::Constant(tensor) => {
                    let numbers = tensor.floats()?;
                    from.iter()
                        .enumerate()
                        .for_each(|(i, from)| fill[i] = from.map_or(fill[i], |at| numbers[at as usize]));
                }
                Value::Active(x) => parts.push((x.value, from)),
                Value::Sign(..) => return Err("the outcome of a comparison is no number".into()),
            }
        }
        if parts.is_empty() {
            return Ok(Value::Constant(Tensor { shape, data: Data::Float(fill), merged, double }));
        }
        if merged > 0 {
            return Err("a constant that is computed".into());
        }
        let mut gathered = Vec::new();
        for (value, from) in parts {
            let fill = std::mem::take(&mut fill);
            gathered.push(self.push(Operation::Gather { from, fill }, vec![value], shape.clone())?);
        }
        if let [one] = gathered.as_slice() {
            return Ok(Value::Active(one.clone()));
        }
        let inputs = gathered.iter().map(|part| part.value).collect();
        Ok(Value::Active(self.push(Operation::Add, inputs, shape)?))
    }
}
