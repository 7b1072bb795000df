//! Unembedding and softmax cross-entropy, a piece of rows after the other: the logits of a batch never exist at once, and no tensor is
//! larger than a device can bind (128 MiB on many).

use std::sync::Arc;

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::{PIECE, indices};
use crate::own_gradient::{OwnGradient, apply};

/// How many rows a piece has at so many logits a row.
fn rows_of_piece(vocab: usize) -> usize {
    (PIECE / vocab).max(1)
}

/// `-log softmax(x wᵀ)[target]` of every row, `[N]`; off the tape.
pub fn token_nll(x: Tensor<2>, weight: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let rows = rows_of_piece(weight.dims()[0]);
    let pieces = targets.chunks(rows).enumerate().map(|(i, targets)| {
        let x = x.clone().narrow(0, i * rows, targets.len());
        Piece::new(x, &weight, targets).nll()
    });
    Tensor::cat(pieces.collect(), 0)
}

/// See [`crate::cross_entropy`].
pub fn cross_entropy(x: Tensor<2>, weight: Tensor<2>, targets: &[u32], scale: f32) -> Tensor<1> {
    let rows = rows_of_piece(weight.dims()[0]);
    cross_entropy_in_pieces(x, weight, targets, scale, rows)
}

/// [`cross_entropy`] with so many rows in a piece.
pub fn cross_entropy_in_pieces(x: Tensor<2>, weight: Tensor<2>, targets: &[u32], scale: f32, rows: usize) -> Tensor<1> {
    apply(CrossEntropy { targets: targets.into(), scale, rows }, [x, weight])
}

/// The softmax of some rows before it is normalised.
struct Piece {
    /// `exp(logit - largest logit)`, `[R, V]`.
    exp: Tensor<2>,
    /// Its sum, `[R, 1]`.
    sum: Tensor<2>,
    /// The target's logit minus the largest, `[R, 1]`.
    target: Tensor<2>,
    /// The targets, `[R, 1]`.
    targets: Tensor<2, Int>,
}

impl Piece {
    fn new(x: Tensor<2>, weight: &Tensor<2>, targets: &[u32]) -> Self {
        let targets = indices(targets, &x).unsqueeze_dim::<2>(1);
        let logits = x.matmul(weight.clone().transpose());
        let logits = logits.clone() - logits.max_dim(1);
        let target = logits.clone().gather(1, targets.clone());
        let exp = logits.exp();
        let sum = exp.clone().sum_dim(1);
        Self { exp, sum, target, targets }
    }

    fn nll(&self) -> Tensor<1> {
        (self.sum.clone().log() - self.target.clone()).squeeze_dim::<1>(1)
    }

    /// The gradient of `scale` times the sum of [`Self::nll`] by the logits, `[R, V]`.
    fn gradient(self, scale: f32) -> Tensor<2> {
        let p = self.exp * (self.sum.recip() * scale);
        let own = self.target.zeros_like() - scale;
        p.scatter(1, self.targets, own, IndexingUpdateOp::Add)
    }
}

#[derive(Debug, Clone)]
struct CrossEntropy {
    targets: Arc<[u32]>,
    scale: f32,
    /// Rows of a piece.
    rows: usize,
}

impl OwnGradient<2, 1> for CrossEntropy {
    /// The gradients of `x` and `weight`, made in the forward pass while the logits are there.
    type Saved = Option<[Tensor<2>; 2]>;

    fn forward(&self, [x, weight]: [Tensor<2>; 2], tracked: bool) -> (Tensor<1>, Self::Saved) {
        let (mut loss, mut by_x, mut by_weight) = (None, Vec::new(), None);
        for (i, targets) in self.targets.chunks(self.rows).enumerate() {
            let x = x.clone().narrow(0, i * self.rows, targets.len());
            let piece = Piece::new(x.clone(), &weight, targets);
            loss = add(loss, piece.nll().sum());
            if tracked {
                let gradient = piece.gradient(self.scale);
                by_x.push(gradient.clone().matmul(weight.clone()));
                by_weight = add(by_weight, gradient.transpose().matmul(x));
            }
        }
        let loss = loss.expect("a batch has rows") * self.scale;
        (loss, by_weight.map(|by_weight| [Tensor::cat(by_x, 0), by_weight]))
    }

    fn backward(&self, saved: Self::Saved, gradient: Tensor<1>) -> [Tensor<2>; 2] {
        saved.expect("saved when tracked").map(|by_input| by_input * gradient.clone().unsqueeze::<2>())
    }
}

fn add<const D: usize>(sum: Option<Tensor<D>>, next: Tensor<D>) -> Option<Tensor<D>> {
    Some(match sum {
        Some(sum) => sum + next,
        None => next,
    })
}
