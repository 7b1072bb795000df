//! Means and maxima over windows and dimensions: AveragePool, MaxPool, GlobalAveragePool, ReduceMean, ReduceSum.

use temper_graph::computation::{Affine, Operation, Window};

use super::convolution::window;
use super::{Call, Reader, Value, axes, sizes};
use crate::onnx::tensor::{Moves, count};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn pool(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let kernel = sizes(call.ints("kernel_shape").ok_or("no kernel_shape")?)?;
        if !matches!(x.shape.len(), 3 | 4) || kernel.len() + 2 != x.shape.len() || x.shape[0] != 1 {
            return Err(format!("kernel_shape {kernel:?} on {:?}: one picture or one row of them is read", x.shape));
        }
        let (window, exact) = window(call, &x.shape, &kernel)?;
        if (0..4).any(|side| window.padding[side] >= window.kernel[side % 2]) || window.kernel.iter().any(|k| *k > 4096)
        {
            return Err("pads as wide as the window, or a window of more than 4096".into());
        }
        if call.int("ceil_mode", 0) != 0 && !exact {
            return Err("ceil_mode 1 with windows that leave the picture".into());
        }
        if call.int("storage_order", 0) != 0 {
            return Err("storage_order 1".into());
        }
        let [rows, columns] = window.output().ok_or("the window is larger than what it is moved over")?;
        let channels = x.shape[1];
        let shape = if x.shape.len() == 3 { vec![1, channels, columns] } else { vec![1, channels, rows, columns] };
        if op == "MaxPool" {
            return Ok(Value::Active(self.push(Operation::MaxPool(window), vec![x.value], shape)?));
        }
        let taps = window.kernel[0] * window.kernel[1];
        self.spend(channels.checked_mul(taps).ok_or("too large")?)?;
        let whole = call.int("count_include_pad", 0) != 0 || window.padding == [0; 4];
        let weight = if whole { 1.0 / taps as f64 } else { 1.0 };
        let affine =
            Affine { merged: u32::from(whole), ..Affine::exact(vec![weight; channels * taps], vec![0.0; channels]) };
        let pooled = self.push(Operation::Conv { window, groups: channels, affine }, vec![x.value], shape)?;
        if whole {
            return Ok(Value::Active(pooled));
        }
        let seen =
            |d: usize, place: usize| (0..window.kernel[d]).filter(|tap| window.sees(d, place, *tap).is_some()).count();
        let (high, wide): (Vec<_>, Vec<_>) =
            ((0..rows).map(|y| seen(0, y)).collect(), (0..columns).map(|x| seen(1, x)).collect());
        if high.contains(&0) || wide.contains(&0) {
            return Err("a window that lies in the padding alone".into());
        }
        let n = channels * rows * columns;
        self.spend(n)?;
        let weight = (0..n).map(|i| 1.0 / (high[i / columns % rows] * wide[i % columns]) as f64).collect();
        Ok(Value::Active(self.scale(&pooled, Affine { merged: 1, ..Affine::exact(weight, vec![0.0; n]) })?))
    }

    /// A mean or sum over dimensions: those are moved to the end, and what is left is a channel each.
    pub(super) fn reduce(&mut self, op: &str, call: &Call<'_>) -> Result<Value> {
        let x = call.active(0)?;
        let rank = x.shape.len();
        let (over, kept) = if op == "GlobalAveragePool" {
            ((2..rank).collect(), true)
        } else {
            let from = match call.optional(1)? {
                Some(axes) => Some(axes.ints()?.to_vec()),
                None => call.ints("axes").map(<[i64]>::to_vec),
            };
            let over = match from {
                Some(from) if !from.is_empty() => axes(&from, rank)?,
                _ if call.int("noop_with_empty_axes", 0) != 0 => return Ok(Value::Active(x)),
                _ => (0..rank).collect(),
            };
            (over, call.int("keepdims", 1) != 0)
        };
        let stay: Vec<usize> = (0..rank).filter(|d| !over.contains(d)).collect();
        let order: Vec<usize> =
            stay.iter().chain((0..rank).collect::<Vec<_>>().iter().filter(|d| over.contains(d))).copied().collect();
        self.spend(count(&x.shape)?)?;
        let moved = self.rearranged(&x, Moves::transpose(&x.shape, &order), 0.0)?;
        let channels: usize = stay.iter().map(|d| x.shape[*d]).product();
        let taps = x.shape.iter().product::<usize>() / channels.max(1);
        let shape = (0..rank)
            .filter(|d| kept || stay.contains(d))
            .map(|d| if stay.contains(&d) { x.shape[d] } else { 1 })
            .collect();
        if taps == 0 {
            return Err("nothing to sum".into());
        }
        let mean = op != "ReduceSum";
        let weight = if mean { 1.0 / taps as f64 } else { 1.0 };
        let window =
            Window { input: [channels, 1, taps], kernel: [1, taps], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
        let affine =
            Affine { merged: u32::from(mean), ..Affine::exact(vec![weight; channels * taps], vec![0.0; channels]) };
        Ok(Value::Active(self.push(Operation::Conv { window, groups: channels, affine }, vec![moved.value], shape)?))
    }
}
