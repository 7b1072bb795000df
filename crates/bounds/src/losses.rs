//! The losses of certified training (arXiv 2103.17268, section 4).

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

/// The mean over the batch of `-log softmax(logits)[label]`; `logits` is `[N, K]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &logits.device());
    -activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim::<2>(1)).mean()
}

/// The mean over the batch of `log sum_j exp(-margin_j)`: the cross-entropy of the worst logits that the lower bounds
/// `margins` of `z_y - z_j` allow. `[N, K]`, 0 for the label itself.
pub fn robust_loss(margins: Tensor<2>) -> Tensor<1> {
    let worst = -margins;
    let largest = worst.clone().max_dim(1).detach();
    ((worst - largest.clone()).exp().sum_dim(1).log() + largest).mean()
}

/// The tightness regulariser: how far the mean radius of the intervals before each ReLU exceeds that of the input.
/// `moments` are those of [`temper_ops::stack::interval_moments`], one a ReLU; `input` is the mean radius of the
/// input box in normalised units, `[1]`; `tau` the tolerance. `mean over ReLUs of relu(tau - input / max(mean radius,
/// 1e-12)) / tau`.
pub fn tightness(moments: &[Tensor<1>], input: Tensor<1>, tau: f64) -> Tensor<1> {
    let terms = moments.iter().map(|moments| {
        let radius = moments.clone().narrow(0, 0, 1).clamp_min(1e-12);
        activation::relu(-(radius.recip() * input.clone()) + tau)
    });
    mean(terms, moments.len(), tau, &input.device())
}

/// The regulariser of the balance between active and inactive ReLUs: for each ReLU, with `a` the ratio of the mean
/// impact of the active units to that of the inactive and `b` that of their variances, each turned over if above 1,
/// `(relu(tau - a) + relu(tau - b)) / tau`; the mean over ReLUs.
///
/// By case, where the formula has no value: a ReLU without inactive units adds nothing; one with inactive units but
/// without active ones adds the constant 2, which has no gradient; one whose units are all at the mean adds nothing.
/// All count in the mean.
pub fn relu_balance(moments: &[Tensor<1>], tau: f64, device: &Device) -> Tensor<1> {
    let terms = moments.iter().map(|moments| {
        let part = |i: usize| moments.clone().narrow(0, i, 1);
        let is_zero = |x: Tensor<1>| x.inner().equal_elem(0.0);
        let nothing = is_zero(part(6)).bool_or(is_zero(part(3).max_pair(part(4))));
        let none_active = is_zero(part(5));
        // Where the formula has no value, a division by 1 takes its place, whose gradient is masked away.
        let no_ratio = nothing.clone().bool_or(none_active.clone());
        // The smaller over the larger is min(q, 1 / q), without a division by zero.
        let ratio = |a: usize, b: usize| {
            let (a, b) = (part(a), part(b));
            let ascending = a.clone().inner().lower_equal(b.clone().inner());
            let smaller = b.clone().mask_where(ascending.clone(), a.clone());
            let larger = a.mask_where(ascending, b).mask_fill(no_ratio.clone(), 1.0);
            activation::relu(-(smaller / larger) + tau)
        };
        // Impacts of active and inactive units, then their variances: see `interval_moments`.
        (ratio(1, 2) + ratio(3, 4)).mask_fill(none_active, 2.0 * tau).mask_fill(nothing, 0.0)
    });
    mean(terms, moments.len(), tau, device)
}

/// The sum of `terms` over `count * tau`.
fn mean(terms: impl Iterator<Item = Tensor<1>>, count: usize, tau: f64, device: &Device) -> Tensor<1> {
    let sum = terms.reduce(|sum, term| sum + term);
    sum.map_or_else(|| Tensor::zeros([1], device), |sum| sum / (count as f64 * tau))
}
