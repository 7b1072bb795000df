//! The second half of an update, whatever is trained: add up the gradients, refuse what is not finite, clip, let the optimiser move the
//! weights.

use temper_base::{Problem, Result};
use temper_model::Parameters;

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

/// Makes an update of `model` with the gradients of this rank's shards of a batch, whose mean loss is `loss`. Gives the global norm of
/// the gradient before clipping.
///
/// # Errors
/// A loss or a gradient that is not finite, or a rank that has failed. Weights, moments and the optimiser's counter are then as they were.
pub fn apply(
    model: &mut impl Parameters,
    optimizer: &mut Optimizer,
    group: &dyn Group,
    shards: OwnShards,
    loss: f64,
    update: Update,
) -> Result<f64> {
    let Update { step, lr, gentler } = update;
    let gradients = group.sum(shards)?;
    let fail = |what: String, why: String| {
        let hint = format!(
            "the last checkpoint is intact: branch from it with a lower lr.peak or a longer {gentler}, or look at the data"
        );
        Problem::training("train", format!("{what} at step {step}"), why).hint(hint)
    };
    if !loss.is_finite() {
        return Err(fail("loss".into(), format!("is {loss}; no update was made")));
    }
    let norm = gradients.norm();
    if !norm.is_finite() {
        let name = gradients.first_non_finite(model).unwrap_or_else(|| "global norm".into());
        return Err(fail(format!("gradient of {name}"), "is not finite; no update was made".into()));
    }
    optimizer.update(model, gradients, lr, optimizer.settings.grad_scale(norm));
    Ok(norm)
}
