//! Products with matrices: Gemm, MatMul.

use temper_graph::computation::{Affine, Operation, Window};

use super::{Active, Call, Reader, Value};
use crate::onnx::tensor::Moves;
use crate::onnx::wire::Result;

impl Reader {
    /// `x` as rows of `n` numbers, each multiplied by `weight` `[m, n]`; the result has `shape`.
    fn rows(&mut self, x: &Active, rows: usize, affine: Affine, shape: Vec<usize>) -> Result<Active> {
        self.spend(affine.weight.len())?;
        if rows == 1 {
            return self.push(Operation::Dense(affine), vec![x.value], shape);
        }
        let (m, n) = (affine.bias.len(), affine.weight.len() / affine.bias.len().max(1));
        // A product of every row is a convolution of 1 x 1 whose channels are the columns.
        let turned = |rows: usize, columns: usize| Moves::transpose(&[rows, columns], &[1, 0]);
        let view = Active { value: x.value, shape: vec![rows, n] };
        let channels = self.rearranged(&view, turned(rows, n), 0.0)?;
        let window = Window { input: [n, rows, 1], kernel: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2] };
        let product = self.push(Operation::Conv { window, groups: 1, affine }, vec![channels.value], vec![m, rows])?;
        let back = self.rearranged(&product, turned(m, rows), 0.0)?;
        Ok(Active { value: back.value, shape })
    }

    pub(super) fn gemm(&mut self, call: &Call<'_>) -> Result<Value> {
        let mut x = call.active(0)?;
        let w = call.constant(1)?;
        let (&[a, b], &[h, k]) = (w.shape.as_slice(), x.shape.as_slice()) else {
            return Err("not two matrices".into());
        };
        let (alpha, beta) = (f64::from(call.float("alpha", 1.0)), f64::from(call.float("beta", 1.0)));
        if !alpha.is_finite() || !beta.is_finite() {
            return Err("alpha or beta is not finite".into());
        }
        if call.int("transA", 0) != 0 {
            if h != 1 && k != 1 {
                return Err("transA of a variable with more than one row".into());
            }
            x.shape = vec![k, h];
        }
        let (n, m) = if call.int("transB", 0) != 0 { (b, a) } else { (a, b) };
        let numbers = w.floats()?;
        if x.shape[1] != n || m == 0 || n == 0 {
            return Err(format!("{:?} times a weight of {:?}", x.shape, w.shape));
        }
        let entry = |o: usize, i: usize| {
            alpha * if call.int("transB", 0) != 0 { numbers[o * n + i] } else { numbers[i * m + o] }
        };
        let weight = (0..m).flat_map(|o| (0..n).map(move |i| (o, i))).map(|(o, i)| entry(o, i)).collect();
        let rows = x.shape[0];
        let shape = vec![rows, m];
        let mut affine = Affine { merged: w.merged + u32::from(alpha != 1.0), ..Affine::exact(weight, vec![0.0; m]) };
        let mut extra = None;
        if let Some(c) = call.optional(2)? {
            let spread = self.spread(c, &shape)?;
            let merged = spread.merged + u32::from(beta != 1.0);
            let numbers: Vec<f64> = spread.floats()?.iter().map(|c| beta * c).collect();
            if rows == 1 {
                affine.bias = numbers;
                affine.merged = affine.merged.max(merged);
            } else {
                extra = Some((numbers, merged));
            }
        }
        let product = self.rows(&x, rows, affine, shape)?;
        let Some((numbers, merged)) = extra else { return Ok(Value::Active(product)) };
        let affine = Affine { merged, ..Affine::exact(vec![1.0; numbers.len()], numbers) };
        Ok(Value::Active(self.scale(&product, affine)?))
    }

    pub(super) fn matmul(&mut self, call: &Call<'_>) -> Result<Value> {
        match (call.value(0)?, call.value(1)?) {
            (Value::Active(x), Value::Constant(w)) => {
                let (n, m) = match *w.shape.as_slice() {
                    [n] => (n, None),
                    [n, m] => (n, Some(m)),
                    _ => return Err(format!("a weight of shape {:?}", w.shape)),
                };
                let columns = m.unwrap_or(1);
                let numbers = w.floats()?;
                if x.shape.last() != Some(&n) || n == 0 || columns == 0 {
                    return Err(format!("{:?} times a weight of {:?}", x.shape, w.shape));
                }
                let weight = (0..columns).flat_map(|o| (0..n).map(move |i| numbers[i * columns + o])).collect();
                let mut shape = x.shape.clone();
                shape.pop();
                let rows = shape.iter().product();
                shape.extend(m);
                let affine = Affine { merged: w.merged, ..Affine::exact(weight, vec![0.0; columns]) };
                Ok(Value::Active(self.rows(&x, rows, affine, shape)?))
            }
            (Value::Constant(w), Value::Active(x)) => {
                let (m, n) = match *w.shape.as_slice() {
                    [n] => (None, n),
                    [m, n] => (Some(m), n),
                    _ => return Err(format!("a weight of shape {:?}", w.shape)),
                };
                let (mut front, columns) = match x.shape.as_slice() {
                    [k] => (vec![*k], None),
                    [front @ .., c] => (front.to_vec(), Some(*c)),
                    [] => return Err("a product with a scalar".into()),
                };
                if front.pop() != Some(n) || n == 0 || m == Some(0) {
                    return Err(format!("a weight of {:?} times {:?}", w.shape, x.shape));
                }
                // Columns of x as rows, and back.
                let (batch, c) = (front.iter().product::<usize>(), columns.unwrap_or(1));
                let outputs = m.unwrap_or(1);
                let view = Active { value: x.value, shape: vec![batch, n, c] };
                let rows = self.rearranged(&view, Moves::transpose(&view.shape, &[0, 2, 1]), 0.0)?;
                let affine = Affine { merged: w.merged, ..Affine::exact(w.floats()?.to_vec(), vec![0.0; outputs]) };
                let product = self.rows(&rows, batch * c, affine, vec![batch, c, outputs])?;
                let moves = Moves::transpose(&product.shape, &[0, 2, 1]);
                let value = self.rearranged(&product, moves, 0.0)?.value;
                front.extend(m);
                front.extend(columns);
                Ok(Value::Active(Active { value, shape: front }))
            }
            _ => Err("two variables, or two constants".into()),
        }
    }
}
