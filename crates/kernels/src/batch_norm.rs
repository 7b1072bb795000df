//! Batch normalisation of a stack on the statistics of its clean activations (Ioffe & Szegedy 2015; the full
//! batch norm of arXiv 2103.17268): an affine map per channel whose scale and shift depend on the batch.
//!
//! Forward it is [`channel_affine`] with what [`scale_and_shift`] makes of the moments. Backward, the gradient through the
//! moments is added while the gradient through the map is in the cache: two passes, one for the sums of a channel, one
//! that replaces the gradient; no tensor is made for the moments' part.

use crate::channel_affine::{self, Dims};

/// `weight / sqrt(variance + eps)` and `bias - mean * scale` for moments `[2, channels]`, mean and biased variance.
///
/// # Panics
/// If the lengths do not belong together.
pub fn scale_and_shift(moments: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> [Vec<f32>; 2] {
    let channels = weight.len();
    assert!(moments.len() == 2 * channels && bias.len() == channels, "batch_norm: moments, bias");
    let (mean, variance) = moments.split_at(channels);
    let scale: Vec<f32> =
        weight.iter().zip(variance).map(|(weight, variance)| weight / (variance + eps).sqrt()).collect();
    let shift = bias.iter().zip(mean).zip(&scale).map(|((bias, mean), scale)| bias - mean * scale).collect();
    [scale, shift]
}

/// Replaces the gradient `g` of the output by that of `x`, through the moments of its clean activations too, and
/// returns `[dweight, dbias]`, each `[channels]`. `x` and `g` are stacks as `dims` says, `moments` what
/// [`channel_moments`](crate::channel_moments) makes of `x`.
///
/// # Panics
/// If a slice is not as long as `dims` says.
pub fn backward(x: &[f32], moments: &[f32], weight: &[f32], eps: f32, g: &mut [f32], dims: Dims) -> [Vec<f32>; 2] {
    let channels = dims.channels;
    let [scale, _] = scale_and_shift(moments, weight, &vec![0.0; channels], eps);
    let (mut dweight, mut dbias) = (vec![0.0; channels], vec![0.0; channels]);
    let clean = x.len() / dims.slabs;
    let count = (clean / channels) as f64;
    // For every channel, what is added to the gradient of a clean activation x: constant + slope (x - mean).
    let mut through_moments = vec![[0.0_f32; 3]; channels];
    for (c, [with_x, alone]) in channel_affine::gradient_sums(x, &scale, g, dims).into_iter().enumerate() {
        let (mean, variance) = (f64::from(moments[c]), f64::from(moments[channels + c]));
        let rstd = 1.0 / (variance + f64::from(eps)).sqrt();
        let dscale = with_x - mean * alone;
        dweight[c] = (dscale * rstd) as f32;
        dbias[c] = alone as f32;
        let dmean = -f64::from(scale[c]) * alone;
        let dvariance = -0.5 * f64::from(weight[c]) * rstd.powi(3) * dscale;
        through_moments[c] = [mean as f32, (dmean / count) as f32, (2.0 * dvariance / count) as f32];
    }
    let images = clean / (channels * dims.plane);
    channel_affine::scale_gradient(
        &scale,
        g,
        dims,
        #[inline(always)]
        |isa, image, c, g| {
            if image < images {
                let [mean, constant, slope] = through_moments[c];
                for (g, &x) in g.iter_mut().zip(&x[(image * channels + c) * dims.plane..]) {
                    *g += isa.fma(x - mean, slope, constant);
                }
            }
        },
    );
    [dweight, dbias]
}
