//! Text from a model, token by token, to see what a loss means.

use temper_base::random::Stream;
use temper_base::{Problem, Result};
use temper_model::GptNeox;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Choose among this many most probable tokens; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens that together reach this probability (nucleus sampling).
    pub top_p: f64,
    /// Equal seeds give equal text.
    pub seed: u64,
}

/// Continues `prompt` (at least one token) by up to `count` tokens, handing each to `each`; stops when
/// that says so. The model sees the last `context` tokens. Ids from `vocabulary` on are padding and
/// never chosen.
///
/// # Errors
/// Logits that are not finite.
pub fn generate(
    model: &GptNeox,
    prompt: &[u32],
    count: usize,
    context: usize,
    vocabulary: usize,
    sampling: &Sampling,
    mut each: impl FnMut(u32) -> std::ops::ControlFlow<()>,
) -> Result<()> {
    let mut tokens = prompt.to_vec();
    for n in 0..count {
        let seen = &tokens[tokens.len().saturating_sub(context)..];
        let logits = temper_ops::read(model.logits(seen, 1, seen.len() - 1..seen.len()));
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Problem::training(
                "sample",
                format!("logits of token {}", n + 1),
                "not all of them are finite",
            )
            .hint("the model has weights that are not finite"));
        }
        let token = choose(&logits[..vocabulary.min(logits.len())], sampling, Stream::new(sampling.seed).at(n as u64));
        tokens.push(token);
        if each(token).is_break() {
            break;
        }
    }
    Ok(())
}

/// The token at quantile `u` of the tempered, truncated distribution.
fn choose(logits: &[f32], sampling: &Sampling, u: f64) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Ties go to the lower id, so that the order is one.
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if sampling.temperature == 0.0 {
        return order[0] as u32;
    }
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let largest = f64::from(logits[order[0]]);
    let weights: Vec<f64> =
        order.iter().map(|&i| ((f64::from(logits[i]) - largest) / sampling.temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = 0;
    let mut mass = 0.0;
    while kept < weights.len() && (kept == 0 || mass < sampling.top_p * total) {
        mass += weights[kept];
        kept += 1;
    }
    let mut left = u * mass;
    for (i, weight) in weights[..kept].iter().enumerate() {
        left -= weight;
        if left <= 0.0 {
            return order[i] as u32;
        }
    }
    order[kept - 1] as u32
}
