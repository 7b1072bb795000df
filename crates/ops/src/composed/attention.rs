//! Causal self-attention in tiles of query rows: no tensor has T x T numbers a head, neither in a pass nor kept for the other (Dao et al.
//! 2022). Kept are input, output and the log-sum-exp of every row; the backward pass computes each tile of probabilities again.

use burn::tensor::{Device, Tensor, TensorData};
use temper_kernels::attention::Shape;

use super::PIECE;
use crate::attention::Rotary;
use crate::own_gradient::{OwnGradient, apply};

/// Most query rows of a tile: taller ones compute more that the mask then takes away.
const ROWS: usize = 128;

/// See [`crate::causal_attention`].
pub fn causal_attention(qkv: Tensor<2>, rotary: &Rotary, shape: Shape) -> Tensor<2> {
    let rows = (PIECE / (shape.batch * shape.heads * shape.seq).max(1)).clamp(1, ROWS);
    causal_attention_in_tiles(qkv, rotary, shape, rows)
}

/// [`causal_attention`] with so many query rows in a tile.
pub fn causal_attention_in_tiles(qkv: Tensor<2>, rotary: &Rotary, shape: Shape, rows: usize) -> Tensor<2> {
    let tables = rotary.on_device(&qkv.device().inner(), shape.seq, rows);
    apply(Attention { shape, tables }, [qkv])
}

/// What attention needs beside its input, made once for a length and kept with the model.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// Tokens of a sequence.
    pub seq: usize,
    /// Query rows of a tile.
    pub rows: usize,
    /// Cosine and sine of the angles, `[1, 1, T, pairs]`; none where nothing rotates.
    angles: Option<[Tensor<4>; 2]>,
    /// `[1, 1, rows, T + rows]`: the mask of any tile is a part of it, see [`Self::mask`].
    mask: Tensor<4>,
}

impl Tables {
    /// Those for a rotary embedding of `dims` entries of each head.
    pub fn new(dims: usize, base: f64, seq: usize, rows: usize, device: &Device) -> Self {
        let half = dims / 2;
        let angle = |f: fn(f64) -> f64| {
            let values = (0..seq * half).map(|i| {
                let (position, pair) = ((i / half) as f64, (i % half) as f64);
                f(position * base.powf(-2.0 * pair / dims as f64)) as f32
            });
            Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [1, 1, seq, half]), device)
        };
        let width = seq + rows;
        let hidden = |i: usize| i % width > seq + i / width;
        let mask: Vec<f32> = (0..rows * width).map(|i| if hidden(i) { -1e30 } else { 0.0 }).collect();
        Self {
            seq,
            rows,
            angles: (half > 0).then(|| [angle(f64::cos), angle(f64::sin)]),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, rows, width]), device),
        }
    }

    /// True if they are for such tiles on that device.
    pub fn fit(&self, device: &Device, seq: usize, rows: usize) -> bool {
        (self.seq, self.rows) == (seq, rows) && self.mask.device() == *device
    }

    /// What is added to the scores of queries `first..end` and keys `0..end`.
    fn mask(&self, first: usize, end: usize) -> Tensor<4> {
        self.mask.clone().narrow(2, 0, end - first).narrow(3, self.seq - first, end)
    }

    /// Rotates the first entries of every head, `[B, H, T, dh]`; `by` is 1, or -1 for the other way.
    fn rotate(&self, x: Tensor<4>, by: f32) -> Tensor<4> {
        let Some([cos, sin]) = &self.angles else { return x };
        let (half, width) = (cos.dims()[3], x.dims()[3]);
        let piece = |from: usize, to: usize| x.clone().narrow(3, from, to - from);
        let (x1, x2) = (piece(0, half), piece(half, 2 * half));
        let sin = sin.clone() * by;
        let mut parts = vec![
            x1.clone() * cos.clone() - x2.clone() * sin.clone(), //
            x2 * cos.clone() + x1 * sin,
        ];
        if 2 * half < width {
            parts.push(piece(2 * half, width));
        }
        Tensor::cat(parts, 3)
    }
}

#[derive(Debug, Clone)]
struct Attention {
    shape: Shape,
    tables: Tables,
}

#[derive(Debug, Clone)]
struct Saved {
    qkv: Tensor<2>,
    out: Tensor<4>,
    /// Log-sum-exp of every row of scores, `[B, H, T, 1]`.
    lse: Tensor<4>,
}

impl Attention {
    /// Rotated queries and keys, and values: `[B, H, T, dh]`.
    fn parts(&self, qkv: Tensor<2>) -> [Tensor<4>; 3] {
        let Shape { batch, seq, heads, head_dim } = self.shape;
        let heads_first = qkv.reshape([batch, seq, heads, 3 * head_dim]).swap_dims(1, 2); // [B, H, T, 3*dh]
        let part = |i: usize| heads_first.clone().narrow(3, i * head_dim, head_dim);
        [self.tables.rotate(part(0), 1.0), self.tables.rotate(part(1), 1.0), part(2)]
    }

    /// First and last query row of every tile.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        let (seq, rows) = (self.shape.seq, self.tables.rows);
        (0..seq).step_by(rows).map(move |first| (first, (first + rows).min(seq)))
    }

    fn scale(&self) -> f64 {
        1.0 / (self.shape.head_dim as f64).sqrt()
    }

    /// Scores of a tile, with those of later keys taken away, `[B, H, R, end]`.
    fn scores(&self, q: &Tensor<4>, k: &Tensor<4>, first: usize, end: usize) -> Tensor<4> {
        let (q, k) = (q.clone().narrow(2, first, end - first), k.clone().narrow(2, 0, end));
        q.matmul(k.transpose()) * self.scale() + self.tables.mask(first, end)
    }
}

impl OwnGradient<1, 2> for Attention {
    type Saved = Saved;

    fn forward(&self, [qkv]: [Tensor<2>; 1], _: bool) -> (Tensor<2>, Saved) {
        let Shape { batch, seq, heads, head_dim } = self.shape;
        let [q, k, v] = self.parts(qkv.clone());
        let (mut outs, mut sums) = (Vec::new(), Vec::new());
        for (first, end) in self.tiles() {
            let scores = self.scores(&q, &k, first, end);
            let largest = scores.clone().max_dim(3);
            let exp = (scores - largest.clone()).exp();
            let sum = exp.clone().sum_dim(3);
            outs.push(exp.matmul(v.clone().narrow(2, 0, end)) / sum.clone());
            sums.push(sum.log() + largest);
        }
        let (out, lse) = (Tensor::cat(outs, 2), Tensor::cat(sums, 2));
        let rows = out.clone().swap_dims(1, 2).reshape([batch * seq, heads * head_dim]);
        (rows, Saved { qkv, out, lse })
    }

    fn backward(&self, Saved { qkv, out, lse }: Saved, gradient: Tensor<2>) -> [Tensor<2>; 1] {
        let Shape { batch, seq, heads, head_dim } = self.shape;
        let [q, k, v] = self.parts(qkv);
        let g = gradient.reshape([batch, seq, heads, head_dim]).swap_dims(1, 2); // [B, H, T, dh]
        // The gradient of a row's scores is that of its probabilities minus this, times the probabilities.
        let mean = (g.clone() * out).sum_dim(3);
        let (mut by_q, mut by_k, mut by_v) = (Vec::new(), k.zeros_like(), v.zeros_like());
        for (first, end) in self.tiles() {
            let rows = |x: &Tensor<4>| x.clone().narrow(2, first, end - first);
            let p = (self.scores(&q, &k, first, end) - rows(&lse)).exp();
            let g = rows(&g);
            by_v = add_to(by_v, p.clone().transpose().matmul(g.clone()));
            let by_p = g.matmul(v.clone().narrow(2, 0, end).transpose());
            let by_scores = p * (by_p - rows(&mean)) * self.scale();
            by_q.push(by_scores.clone().matmul(k.clone().narrow(2, 0, end)));
            by_k = add_to(by_k, by_scores.transpose().matmul(rows(&q)));
        }
        let by_q = self.tables.rotate(Tensor::cat(by_q, 2), -1.0);
        let by_k = self.tables.rotate(by_k, -1.0);
        let by_qkv = Tensor::cat(vec![by_q, by_k, by_v], 3).swap_dims(1, 2); // [B, T, H, 3*dh]
        [by_qkv.reshape([batch * seq, heads * 3 * head_dim])]
    }
}

/// Adds to the first rows of a sum.
fn add_to(sum: Tensor<4>, part: Tensor<4>) -> Tensor<4> {
    let [b, h, rows, d] = part.dims();
    if sum.dims()[2] == rows {
        return sum + part;
    }
    let part = sum.clone().narrow(2, 0, rows) + part;
    sum.slice_assign([0..b, 0..h, 0..rows, 0..d], part)
}
