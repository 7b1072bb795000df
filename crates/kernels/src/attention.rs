//! Causal self-attention with rotary position embedding (Su et al. 2021), GPT-NeoX layout, in tiles of query rows.
//!
//! One task for each (batch, head). The rotated queries and keys and the values are copied once into the order of the tiles
//! of a product; then a tile of queries meets only the keys up to its last row, so the upper triangle is skipped, and
//! its scores never leave the cache. The forward pass keeps the log-sum-exp of each row, from which the backward pass
//! rebuilds the probabilities (FlashAttention-2, Dao 2023).
//!
//! Two products forward and five backward of 2 * head_dim operations for each score, against about 15 for the exponential;
//! memory sees the inputs and outputs once. Probabilities are powers of two, with log2(e) in the scale of the scores.

mod backward;
mod forward;

pub use backward::backward;
pub use forward::forward;

use crate::extent::{Ptr, PtrMut};
use crate::gemm::pack::{self, View};
use crate::gemm::tile::{Left, Level, Right};
use crate::output::{self, Slot};
use crate::scratch::{self, Scratch};

/// Sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sequences.
    pub batch: usize,
    /// Positions of a sequence.
    pub seq: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Shape {
    /// From one position to the next in `out`.
    fn out_stride(self) -> usize {
        self.heads * self.head_dim
    }

    /// Start of a head at a position of a sequence in `qkv`.
    fn qkv_at(self, batch: usize, position: usize, head: usize) -> usize {
        ((batch * self.seq + position) * self.heads + head) * 3 * self.head_dim
    }

    /// Start of a head at a position of a sequence in `out`.
    fn out_at(self, batch: usize, position: usize, head: usize) -> usize {
        ((batch * self.seq + position) * self.heads + head) * self.head_dim
    }

    /// Numbers of `out`.
    fn out_len(self) -> usize {
        self.batch * self.seq * self.heads * self.head_dim
    }

    /// Numbers of `lse`.
    fn lse_len(self) -> usize {
        self.batch * self.heads * self.seq
    }

    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Cosines and sines of the rotary embedding.
#[derive(Clone, Debug)]
pub struct Rotary {
    half: usize,
    max_seq: usize,
    /// `[max_seq, half]`.
    cos: Vec<f32>,
    /// `[max_seq, half]`.
    sin: Vec<f32>,
}

impl Rotary {
    /// Tables for the first `dims` entries (even) of a head: angle of pair i at position p is `p * base^(-2 i / dims)`.
    ///
    /// The angle is formed in `f32` from an `f32` frequency, as the reference implementations do.
    ///
    /// # Panics
    /// If `dims` is odd.
    pub fn new(dims: usize, base: f64, max_seq: usize) -> Self {
        assert!(dims.is_multiple_of(2), "rotary: dims must be even");
        let half = dims / 2;
        let frequency: Vec<f32> = (0..half).map(|i| base.powf(-2.0 * i as f64 / dims as f64) as f32).collect();
        let angles = (0..max_seq).flat_map(|p| frequency.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        Self { half, max_seq, cos, sin }
    }

    /// Rotates the head vector `from` at position `p` by `direction` (1 or -1) times its angles.
    #[inline(always)]
    fn rotate(&self, p: usize, direction: f32, from: &[f32], to: &mut [Slot]) {
        let h = self.half;
        let (cos, sin) = (&self.cos[p * h..][..h], &self.sin[p * h..][..h]);
        let (from1, from2) = from[..2 * h].split_at(h);
        let (to1, rest) = to.split_at_mut(h);
        let (to2, rest) = rest.split_at_mut(h);
        for i in 0..h {
            let s = direction * sin[i];
            to1[i].write(from1[i] * cos[i] - from2[i] * s);
            to2[i].write(from2[i] * cos[i] + from1[i] * s);
        }
        rest[..from.len() - 2 * h].write_copy_of_slice(&from[2 * h..]);
    }
}

fn check(qkv: &[f32], rotary: &Rotary, shape: Shape) {
    let Shape { seq, head_dim, .. } = shape;
    assert_eq!(qkv.len(), 3 * shape.out_len(), "attention: qkv");
    assert!(rotary.max_seq >= seq && 2 * rotary.half <= head_dim, "attention: rotary tables too small");
}

/// One head of an attention.
#[derive(Clone, Copy)]
struct Head<'a> {
    qkv: &'a [f32],
    rotary: &'a Rotary,
    shape: Shape,
    /// The sequence and the head of it.
    batch: usize,
    head: usize,
}

impl<'a> Head<'a> {
    /// Number `task` of all heads of all sequences.
    fn new(qkv: &'a [f32], rotary: &'a Rotary, shape: Shape, task: usize) -> Self {
        Self { qkv, rotary, shape, batch: task / shape.heads, head: task % shape.heads }
    }

    /// Where the head's query begins at a position, followed by key and value.
    fn qkv_at(&self, position: usize) -> usize {
        self.shape.qkv_at(self.batch, position, self.head)
    }

    /// Where the head's output begins at a position.
    fn out_at(&self, position: usize) -> usize {
        self.shape.out_at(self.batch, position, self.head)
    }

    /// The head's row of something shaped like the output.
    fn row<'b>(&self, of: &'b [f32], position: usize) -> &'b [f32] {
        &of[self.out_at(position)..][..self.shape.head_dim]
    }

    /// Rotated queries and keys, and values.
    fn operands(&self, level: &Level) -> [Rows; 3] {
        let Shape { seq, head_dim: hd, .. } = self.shape;
        let part = |p: usize, part: usize| &self.qkv[self.qkv_at(p) + part * hd..][..hd];
        let rotated = |of: usize| Rows::new(level, seq, hd, |p, row| self.rotary.rotate(p, 1.0, part(p, of), row));
        let values = Rows::new(level, seq, hd, |p, row| {
            row.write_copy_of_slice(part(p, 2));
        });
        [rotated(0), rotated(1), values]
    }
}

/// One part (query, key, value) of one head, `[seq, width]` with rows filled up with zeros to whole vectors.
struct Rows {
    data: Scratch,
    width: usize,
}

impl Rows {
    /// Copies row by row with `copy(position, row)`.
    fn new(level: &Level, seq: usize, head_dim: usize, copy: impl Fn(usize, &mut [Slot])) -> Self {
        let width = head_dim.next_multiple_of(level.lanes);
        let mut data = scratch::take(seq * width);
        for (p, row) in data.chunks_exact_mut(width).enumerate() {
            let (row, padding) = row.split_at_mut(head_dim);
            // SAFETY: rows are rotated or copied, so numbers are written.
            copy(p, unsafe { output::slots(row) });
            padding.fill(0.0);
        }
        Self { data, width }
    }

    /// Address of a row.
    fn row(&self, p: usize) -> Ptr {
        Ptr::new(&self.data[p * self.width..])
    }

    /// As the left operand of a product that sums over the head, from position `p` on.
    fn left(&self, level: &Level, p: usize) -> Left {
        Left { start: self.row(p), strip: level.mr * self.width, row: self.width, step: 1 }
    }

    /// As the right operand of a product that sums over positions, from position `p` on.
    fn right(&self, level: &Level, p: usize) -> Right {
        Right { start: self.row(p), panel: level.nr, step: self.width }
    }

    /// As the right operand of a product that sums over the head: panels of positions.
    fn transposed(&self, level: &Level, seq: usize, head_dim: usize) -> Panels {
        let mut data = scratch::take(pack::right_len(level, head_dim, seq));
        let view = View { start: Ptr::new(&self.data), row: 1, column: self.width };
        // SAFETY: the view is [head_dim, seq], and the buffer has the stated length.
        let right = unsafe { pack::pack_right(level, head_dim, seq, view, PtrMut::of(&mut data)) };
        Panels { right, _data: data }
    }
}

/// A packed right operand and its memory.
struct Panels {
    right: Right,
    _data: Scratch,
}

/// From one row of scores to the next: room for whole panels, and an odd number of cache lines, so that columns do not
/// fall into the same set.
fn score_stride(level: &Level, seq: usize) -> usize {
    let lines = seq.next_multiple_of(level.nr).div_ceil(16);
    16 * (lines | 1)
}
