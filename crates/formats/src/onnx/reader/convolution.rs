//! Conv, and the windows that pools share with it.

use temper_graph::computation::{Affine, Operation, Window};

use super::{Call, Reader, Value, sizes};
use crate::onnx::wire::Result;

impl Reader {
    pub(super) fn conv(&mut self, call: &Call<'_>) -> Result<Value> {
        let (mut x, w) = (call.active(0)?, call.constant(1)?);
        let rank = x.shape.len();
        if !matches!(rank, 3 | 4) || w.shape.len() != rank || x.shape[0] != 1 {
            return Err(format!(
                "{:?} with a weight of {:?}: one picture or one row of them is read",
                x.shape, w.shape
            ));
        }
        if call
            .ints("kernel_shape")
            .is_some_and(|kernel| kernel.iter().map(|k| *k as usize).ne(w.shape[2..].iter().copied()))
        {
            return Err(format!("kernel_shape {:?} of a weight of {:?}", call.ints("kernel_shape"), w.shape));
        }
        let groups = usize::try_from(call.int("group", 1)).map_err(|_| "group below 0")?;
        let mut around = [0; 4];
        // Zeros around what is read are the padding of the convolution, which engines have at no cost.
        if let Some((inner, zeros)) = self.padded.get(&x.value).cloned()
            && call.text("auto_pad", "NOTSET") == "NOTSET"
            && around_gives(&inner.shape, zeros, &x.shape)
        {
            (x, around) = (inner, zeros);
        }
        let (mut window, _) = window(call, &x.shape, &w.shape[2..])?;
        window.padding.iter_mut().zip(around).for_each(|(padding, more)| *padding += more);
        let [rows, columns] = window.output().ok_or("the kernel is larger than what it is moved over")?;
        let outputs = w.shape[0];
        let (bias, merged) = match call.optional(2)? {
            Some(bias) => (bias.floats()?.to_vec(), bias.merged),
            None => (vec![0.0; outputs], 0),
        };
        if groups == 0 || bias.len() != outputs || w.shape[1].checked_mul(groups) != Some(x.shape[1]) {
            return Err(format!("group {groups}, weight {:?}, {} biases for {:?}", w.shape, bias.len(), x.shape));
        }
        let affine = Affine { merged: w.merged.max(merged), ..Affine::exact(w.floats()?.to_vec(), bias) };
        let shape = if rank == 3 { vec![1, outputs, columns] } else { vec![1, outputs, rows, columns] };
        Ok(Value::Active(self.push(Operation::Conv { window, groups, affine }, vec![x.value], shape)?))
    }
}

/// Whether a picture has this shape with so many numbers around it; what was reshaped since is another picture.
fn around_gives(inner: &[usize], [top, left, bottom, right]: [usize; 4], shape: &[usize]) -> bool {
    matches!((inner, shape), (&[n, c, h, w], wide) if wide == [n, c, h + top + bottom, w + left + right])
}

/// The window of a convolution or pool over `[1, C, W]` or `[1, C, H, W]`, and whether its steps end at the border.
pub(super) fn window(call: &Call<'_>, shape: &[usize], kernel: &[usize]) -> Result<(Window, bool)> {
    let dims = kernel.len();
    let list = |name: &str, n: usize, absent: usize| -> Result<Vec<usize>> {
        let list = match call.ints(name) {
            None | Some([]) => vec![absent; n],
            Some(list) => sizes(list).map_err(|why| format!("{name}: {why}"))?,
        };
        // What is larger than this is no picture; sums of a few cannot overflow.
        if list.len() == n && list.iter().all(|size| *size < 1 << 24) {
            Ok(list)
        } else {
            Err(format!("{name} {list:?}"))
        }
    };
    let (strides, dilations) = (list("strides", dims, 1)?, list("dilations", dims, 1)?);
    if strides.contains(&0) || dilations.contains(&0) || kernel.iter().any(|k| *k == 0 || *k >= 1 << 24) {
        return Err("a window with a size of 0, or beyond any picture".into());
    }
    let pads = list("pads", 2 * dims, 0)?;
    let auto = call.text("auto_pad", "NOTSET");
    let side = |d: usize| -> Result<(usize, usize)> {
        match auto.as_str() {
            "NOTSET" | "" => Ok((pads[d], pads[d + dims])),
            "VALID" => Ok((0, 0)),
            "SAME_UPPER" | "SAME_LOWER" => {
                let size = shape[d + 2];
                let reach = (kernel[d] - 1) * dilations[d] + 1;
                let total = ((size.div_ceil(strides[d]).max(1) - 1) * strides[d] + reach).saturating_sub(size);
                let (small, large) = (total / 2, total - total / 2);
                Ok(if auto == "SAME_UPPER" { (small, large) } else { (large, small) })
            }
            other => Err(format!("auto_pad {other}")),
        }
    };
    let mut window =
        Window { input: [shape[1], 1, 1], kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
    let mut exact = true;
    for d in 0..dims {
        let to = d + 2 - dims;
        window.input[to + 1] = shape[d + 2];
        (window.kernel[to], window.stride[to], window.dilation[to]) = (kernel[d], strides[d], dilations[d]);
        (window.padding[to], window.padding[to + 2]) = side(d)?;
        let reach = (kernel[d] - 1) * dilations[d] + 1;
        let room = shape[d + 2] + window.padding[to] + window.padding[to + 2];
        exact &= room.checked_sub(reach).is_some_and(|room| room.is_multiple_of(strides[d]));
    }
    Ok((window, exact))
}
