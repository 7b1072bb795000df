//! How far the answers of a network hold: of a few images, the largest radius at which interval bounds certify the class that the
//! network gives them.

use burn::tensor::Device;
use temper_base::Result;
use temper_base::random::Stream;
use temper_bounds::attack::{Attack, attack_images};
use temper_bounds::boxes::Images;
use temper_bounds::radius::radii;
use temper_graph::{BatchNorm, by_name};
use temper_model::Classifier;
use temper_model::image::ImageInit;
use temper_verify::Arithmetic;

const SHAPE: [usize; 3] = [1, 12, 12];
const IMAGES: usize = 4;

fn main() -> Result<()> {
    let device = Device::flex();
    let net = Classifier::new(by_name("small", Some(8), BatchNorm::None, SHAPE, 10)?, ImageInit::Ibp, 1, &device);
    let size = SHAPE.iter().product::<usize>();
    let noise = Stream::named(1, "pixels");
    let pixels: Vec<f32> = (0..(IMAGES * size) as u64).map(|pixel| noise.at(pixel) as f32).collect();
    let indices: Vec<u64> = (0..IMAGES as u64).collect();
    let batch = |labels| Images { pixels: &pixels, shape: SHAPE, labels, indices: &indices };

    // Without a start, the attack only says what the network answers.
    let none = Attack { restarts: 0, ..Attack::default() };
    let classes: Vec<u32> =
        attack_images(&net, batch(&[0; IMAGES]), 0.0, &none, &device)?.iter().map(|found| found.clean_class).collect();
    for (image, radius) in radii(&net, batch(&classes), 0.5, 16, Arithmetic::Sound)?.iter().enumerate() {
        match radius.certified {
            Some(eps) => println!("image {image}: class {} for every change of at most {eps:.5}", classes[image]),
            None => println!("image {image}: nothing is certified"),
        }
    }
    Ok(())
}
