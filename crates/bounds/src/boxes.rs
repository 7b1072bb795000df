//! The inputs that bounds start from: a batch of images, and the box of radius eps around each of them.

use burn::tensor::{Device, Tensor, TensorData};

/// The stack `[3, N, C, H, W]` of a batch and its boxes. `pixels` are in [0, 1], `[N, C, H, W]`; the box is cut to [0, 1]
/// before the normalisation with `mean` and `std`, one value a channel.
///
/// Centre and radius are formed from the cut bounds in double precision: in f32 `x + 1e-6` is off by several per cent
/// of 1e-6 already.
pub fn boxes(pixels: &[f32], shape: [usize; 4], eps: f64, mean: &[f32], std: &[f32], device: &Device) -> Tensor<5> {
    let n = pixels.len();
    let mut values = vec![0.0f32; 3 * n];
    let (clean, rest) = values.split_at_mut(n);
    let (centre, radius) = rest.split_at_mut(n);
    let outputs = clean.iter_mut().zip(centre).zip(radius);
    for ((&pixel, channel), ((clean, centre), radius)) in pixels.iter().zip(channels(shape)).zip(outputs) {
        let (pixel, mean, std) = (f64::from(pixel), f64::from(mean[channel]), f64::from(std[channel]));
        let (lower, upper) = ((pixel - eps).max(0.0), (pixel + eps).min(1.0));
        *clean = ((pixel - mean) / std) as f32;
        *centre = ((0.5 * (lower + upper) - mean) / std) as f32;
        *radius = (0.5 * (upper - lower) / std) as f32;
    }
    let [n, c, h, w] = shape;
    Tensor::from_data(TensorData::new(values, [3, n, c, h, w]), device)
}

/// The stack `[1, N, C, H, W]` of a batch alone.
pub fn clean(pixels: &[f32], shape: [usize; 4], mean: &[f32], std: &[f32], device: &Device) -> Tensor<5> {
    let normalise = |(&pixel, channel): (&f32, usize)| {
        ((f64::from(pixel) - f64::from(mean[channel])) / f64::from(std[channel])) as f32
    };
    let values: Vec<f32> = pixels.iter().zip(channels(shape)).map(normalise).collect();
    let [n, c, h, w] = shape;
    Tensor::from_data(TensorData::new(values, [1, n, c, h, w]), device)
}

/// The channel of every pixel of a batch.
fn channels([n, c, h, w]: [usize; 4]) -> impl Iterator<Item = usize> {
    (0..n * c).flat_map(move |plane| std::iter::repeat_n(plane % c, h * w))
}
