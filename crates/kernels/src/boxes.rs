//! Images as networks read them: normalised, and with the box around each. Formed in double precision, since in `f32` `x + 1e-6` is off by
//! several per cent of 1e-6 already.

use crate::arch::dispatch;
use crate::extent::Shared;
use crate::output::make_output;
use rayon::prelude::*;

/// `(x - mean) / std` of `pixels[images, channels, plane]`, with a mean and a deviation a channel.
///
/// # Panics
/// If the pixels are not whole images of so many channels, or there are not as many deviations as means.
pub fn clean(pixels: &[f32], images: usize, mean: &[f32], std: &[f32]) -> Vec<f32> {
    forward(pixels, images, None, mean, std)
}

/// The stack of the same and of the boxes around them: everything within `eps` of a pixel, one radius an image, and within 0 and 1.
///
/// # Panics
/// As [`clean`], and if there are not as many radii as images.
pub fn boxes(pixels: &[f32], eps: &[f64], mean: &[f32], std: &[f32]) -> Vec<f32> {
    forward(pixels, eps.len(), Some(eps), mean, std)
}

fn forward(pixels: &[f32], images: usize, eps: Option<&[f64]>, mean: &[f32], std: &[f32]) -> Vec<f32> {
    let (slab, channels) = (pixels.len(), mean.len());
    let plane = slab / (images * channels).max(1);
    assert!(std.len() == channels && images * channels * plane == slab, "boxes: lengths");
    make_output(if eps.is_some() { 3 * slab } else { slab }, |y| {
        let out = Shared::new(&mut *y);
        (0..images * channels).into_par_iter().with_min_len((1 << 12) / plane.max(1)).for_each(|i| {
            let (mean, std) = (f64::from(mean[i % channels]), f64::from(std[i % channels]));
            let pixels = &pixels[i * plane..][..plane];
            // SAFETY: every task has its own planes of every slab.
            let part = |slab_number: usize| unsafe { out.part(slab_number * slab + i * plane, plane) };
            let clean = part(0);
            dispatch(
                #[inline(always)]
                |_| {
                    for (y, &pixel) in clean.iter_mut().zip(pixels) {
                        y.write(((f64::from(pixel) - mean) / std) as f32);
                    }
                },
            );
            if let Some(eps) = eps {
                let (eps, centre, radius) = (eps[i / channels], part(1), part(2));
                dispatch(
                    #[inline(always)]
                    |_| {
                        for ((centre, radius), &pixel) in centre.iter_mut().zip(radius).zip(pixels) {
                            let [lower, upper] = ends(pixel, eps);
                            centre.write(((0.5 * (lower + upper) - mean) / std) as f32);
                            radius.write((0.5 * (upper - lower) / std) as f32);
                        }
                    },
                );
            }
        });
        // SAFETY: every plane of every image was written, in all slabs that there are.
        unsafe { y.assume_init_mut() }
    })
}

/// The ends of the box of one pixel: within `eps` of it and within 0 and 1.
#[inline(always)]
pub fn ends(pixel: f32, eps: f64) -> [f64; 2] {
    let pixel = f64::from(pixel);
    [(pixel - eps).max(0.0), (pixel + eps).min(1.0)]
}
