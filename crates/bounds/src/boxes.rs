//! The inputs that bounds start from: a batch of images, and the box of radius eps around each of them.

use burn::tensor::{Device, Tensor, TensorData};
use temper_base::{Problem, Result};
use temper_ops::stack;

pub use temper_ops::stack::ends;

/// A batch of labelled images of a data set.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// `[N, C, H, W]`, in [0, 1].
    pub pixels: &'a [f32],
    /// C, H, W.
    pub shape: [usize; 3],
    /// N classes.
    pub labels: &'a [u32],
    /// The N numbers of the images in their data set. With the attack's seed they decide its random starts, so that no
    /// result depends on the batch that an image is in.
    pub indices: &'a [u64],
}

impl Images<'_> {
    /// The shape of the batch, after a check that the images are a network's with this input and these classes.
    ///
    /// # Errors
    /// If the images are of another shape than `input`, there are not as many pixels or numbers as the labels ask for, or a label is not
    /// one of the `classes`.
    pub fn check(&self, input: [usize; 3], classes: usize) -> Result<[usize; 4]> {
        let fail =
            |why: String| Err(Problem::input("bound", "images", why).hint("the network was made for other images"));
        let ([c, h, w], n) = (self.shape, self.labels.len());
        if self.shape != input {
            let [i, j, k] = input;
            return fail(format!("are {c} x {h} x {w}, the network reads {i} x {j} x {k}"));
        }
        if self.pixels.len() != n * c * h * w || self.indices.len() != n {
            return fail(format!("{} pixels and {} numbers for {n} labels", self.pixels.len(), self.indices.len()));
        }
        if let Some(label) = self.labels.iter().find(|label| **label as usize >= classes) {
            return fail(format!("label {label} of a network with {classes} classes"));
        }
        Ok([n, c, h, w])
    }

    /// The images at these places of the batch; owned, as nothing else holds them.
    pub(crate) fn choose(&self, places: &[usize]) -> (Vec<f32>, Vec<u32>, Vec<u64>) {
        let len: usize = self.shape.iter().product();
        let pixels = places.iter().flat_map(|i| &self.pixels[i * len..][..len]).copied().collect();
        (pixels, places.iter().map(|i| self.labels[*i]).collect(), places.iter().map(|i| self.indices[*i]).collect())
    }
}

/// A batch on the device, `[N, C, H, W]`.
pub fn images(pixels: &[f32], shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(pixels.to_vec(), shape), device)
}

/// The stack `[3, N, C, H, W]` of a batch and its boxes. `pixels` are in [0, 1], `[N, C, H, W]`; the box is cut to
/// [0, 1] before the normalisation with `mean` and `std`, one value a channel.
///
/// Centre and radius are formed from the cut bounds in double precision: in f32 `x + 1e-6` is off by several per cent
/// of 1e-6 already.
pub fn boxes(pixels: &[f32], shape: [usize; 4], eps: f64, mean: &[f32], std: &[f32], device: &Device) -> Tensor<5> {
    boxes_each(pixels, shape, &vec![eps; shape[0]], mean, std, device)
}

/// [`boxes`] with a different radius for every image: `eps` has N values.
pub fn boxes_each(
    pixels: &[f32],
    shape: [usize; 4],
    eps: &[f64],
    mean: &[f32],
    std: &[f32],
    device: &Device,
) -> Tensor<5> {
    stack::boxes(images(pixels, shape, device), eps, mean, std)
}

/// The stack `[1, N, C, H, W]` of a batch alone.
pub fn clean(pixels: &[f32], shape: [usize; 4], mean: &[f32], std: &[f32], device: &Device) -> Tensor<5> {
    stack::clean(images(pixels, shape, device), mean, std)
}
