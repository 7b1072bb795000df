//! The second half of an update, whatever is trained: add up the gradients, refuse what is not finite, clip, let the optimiser move the
//! weights.

use burn::tensor::Tensor;
use temper_base::{Problem, Result};
use temper_model::Parameters;
use temper_ops as ops;

use crate::group::Group;
use crate::optimizer::Optimizer;
use crate::shards::OwnShards;

/// Which update it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Its number, from 1.
    pub step: u64,
    /// Its learning rate.
    pub lr: f64,
    /// The key of the recipe that makes the beginning of such a run gentler, for the hint of an error.
    pub gentler: &'static str,
}

/// The mean loss of a batch.
#[derive(Debug, Clone)]
pub enum Loss {
    /// As a number.
    Known(f64),
    /// What is to be added up, still on the device: of every shard, one number for each of its pieces.
    Unread(Vec<Vec<Tensor<1>>>),
}

impl From<f64> for Loss {
    fn from(loss: f64) -> Self {
        Self::Known(loss)
    }
}

impl Loss {
    /// The number, read from the device if it is still there.
    pub fn read(self) -> f64 {
        self.read_beside(|numbers| ops::read_numbers(numbers).into_iter().map(f64::from).collect())
    }

    /// The number; `read` reads what is still on the device.
    fn read_beside(self, read: impl FnOnce(Vec<Tensor<1>>) -> Vec<f64>) -> f64 {
        match self {
            Self::Known(loss) => {
                read(Vec::new());
                loss
            }
            Self::Unread(shards) => {
                let lengths: Vec<usize> = shards.iter().map(Vec::len).collect();
                let mut numbers = read(shards.into_iter().flatten().collect()).into_iter();
                // Pieces one by one, then shards one by one.
                lengths.into_iter().map(|pieces| numbers.by_ref().take(pieces).fold(0.0, |sum, loss| sum + loss)).sum()
            }
        }
    }
}

/// What an update reports of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
}

/// Makes an update of `model` with the gradients of this rank's shards of a batch, whose mean loss is `loss`. Loss and norm are read
/// together: what a device has computed is waited for once.
///
/// # Errors
/// A loss or a gradient that is not finite, or a rank that has failed. Weights, moments and the optimiser's counter are then as they were.
pub fn apply(
    model: &mut impl Parameters,
    optimizer: &mut Optimizer,
    group: &dyn Group,
    shards: OwnShards,
    loss: impl Into<Loss>,
    update: Update,
) -> Result<Applied> {
    let Update { step, lr, gentler } = update;
    let gradients = group.sum(shards)?;
    let fail = |what: String, why: String| {
        let hint = format!(
            "the last checkpoint is intact: branch from it with a lower lr.peak or a longer {gentler}, or look at the data"
        );
        Problem::training("train", format!("{what} at step {step}"), why).hint(hint)
    };
    let mut norm = 0.0;
    let loss = loss.into().read_beside(|numbers| {
        let (squares, numbers) = gradients.squares_and(numbers);
        norm = squares.sqrt();
        numbers
    });
    if !loss.is_finite() {
        return Err(fail("loss".into(), format!("is {loss}; no update was made")));
    }
    if !norm.is_finite() {
        let name = gradients.first_non_finite(model).unwrap_or_else(|| "global norm".into());
        return Err(fail(format!("gradient of {name}"), "is not finite; no update was made".into()));
    }
    optimizer.update(model, gradients, lr, optimizer.settings.grad_scale(norm));
    Ok(Applied { loss, grad_norm: norm })
}
