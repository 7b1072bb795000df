//! Data to train on that is made up: functions of seed, update and index, and such that there is something to learn, so
//! that the losses of the first updates tell a right update from a wrong one.

use temper_certify::step::Batch;
use temper_model::init::uniform;

/// `count` tokens below `vocab`; small numbers are frequent, as the tokens of text are.
pub fn tokens(seed: u64, step: u64, vocab: usize, count: usize) -> Vec<u32> {
    let token = |value: f32| {
        let u = f64::from(value) + 0.5;
        // The cube makes the density fall with the power -2/3.
        ((u * u * u * vocab as f64) as usize).min(vocab - 1) as u32
    };
    uniform(seed, &format!("tokens {step}"), 0.5, count).into_iter().map(token).collect()
}

/// `count` images of that many pixels in [0, 1], as multiples of 1/255, with their labels: noise upon a grey that the class
/// decides.
pub fn images(seed: u64, step: u64, pixels: usize, classes: usize, count: usize) -> Batch {
    let labels: Vec<u32> = (0..count).map(|i| ((i as u64 + step) % classes as u64) as u32).collect();
    let noise = uniform(seed, &format!("images {step}"), 0.5, count * pixels);
    let pixel = |(i, noise): (usize, f32)| {
        let grey = (labels[i / pixels] as f32 + 0.5) / classes as f32;
        ((0.5 * grey + 0.5 * (noise + 0.5)) * 255.0).round() / 255.0
    };
    let pixels = noise.into_iter().enumerate().map(pixel).collect();
    Batch { pixels, labels }
}
