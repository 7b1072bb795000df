//! Images: a folder to two data sets in memory, and those to batches addressed by their step.
//!
//! | module | what it does |
//! |---|---|
//! | `idx` | MNIST, Fashion-MNIST and their like, raw or `.gz` |
//! | `cifar` | CIFAR-10, binary version, as files or in its archive |
//! | `tree` | TinyImageNet; any tree with one folder of `.png` or `.jpg` files per class |
//! | [`packed`] | the form of the data set inside the binary |
//! | [`known`](mod@known) | hashes, classes and normalisation of the known data sets |
//! | [`order`] | which images an update takes: a permutation per epoch |
//! | [`augment`] | flip and edge-padded crop |
//! | `classes` | classes by name: another set's labels as a network numbers them |
//! | `limits` | what a header may claim, and reading no more than that |
//! | `nearby` | where the images are, when they are not in the folder that was named |
//!
//! Pixels stay bytes until a batch is made of them: TinyImageNet takes 1.4 GB.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use temper_base::hash::{Digest, Sha256, finished};
use temper_base::{Problem, Result};

pub mod augment;
mod cifar;
mod classes;
mod idx;
pub mod known;
mod limits;
mod nearby;
pub mod order;
pub mod packed;
mod picture;
mod tree;

pub use augment::{Augment, Placement};
pub use classes::Match;
pub use known::{Known, KnownFile, known, normalisation};
pub use limits::{PICTURE_PIXELS, SET_BYTES};
pub use order::Epochs;

use crate::permute::Permutation;
use temper_base::random::key_of;

const READ: &str = "read images";
/// Sets the draw of a held-out part apart from all others of one seed.
const HOLD_OUT: u64 = 5;
const LAYOUTS: &str = "a folder may hold MNIST's four idx files (also .gz), CIFAR-10's binary version (or its archive), \
    TinyImageNet, or train/CLASS/*.png and test/CLASS/*.png; the known data sets can be fetched";

/// Labelled images of one size, in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Images {
    /// The name of a known data set (see [`known`](mod@known)), otherwise that of the folder.
    pub name: String,
    /// Channels (1 or 3), height, width.
    pub shape: [usize; 3],
    /// What the labels stand for; numbers where nothing better is known.
    pub class_names: Vec<String>,
    /// Where the images are from: whether the files are the known ones, and what else a report should say.
    pub note: Option<String>,
    /// The known data set that the content is, recognised by hashes or by a layout that no other set has, never by the name
    /// of a folder.
    pub known: Option<&'static str>,
    /// What lies in the folders and was not read: ending and number of files.
    pub passed_over: Vec<(String, usize)>,
    /// `[N]`, the path of every image below its data set; empty where the images are not separate files.
    files: Vec<String>,
    /// Whether the images take turns: the first of every class, then the second.
    turns: bool,
    /// `[N, C, H, W]`.
    pixels: Vec<u8>,
    /// `[N]`, each below the number of classes.
    labels: Vec<u32>,
}

/// A training set and a test set of the same shape and classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// The images to train on.
    pub train: Images,
    /// The images to test on.
    pub test: Images,
}

/// Reads the data set in a folder (or an archive or packed file), whichever of the known layouts it has.
///
/// # Errors
/// If there is nothing there, the layout is none of those known, or a file of it is missing, damaged or larger than its format allows.
pub fn open(path: &Path) -> Result<Splits> {
    let meta = fs::metadata(path).map_err(|e| Problem::io(READ, path, &e).hint(LAYOUTS))?;
    if !meta.is_dir() {
        return open_file(path);
    }
    if idx::is_here(path) {
        return idx::read(path);
    }
    if let Some(place) = cifar::find(path) {
        return cifar::read(&place);
    }
    if let Some(folder) = tree::find_tiny_imagenet(path) {
        return tree::read_tiny_imagenet(&folder);
    }
    if tree::is_here(path) {
        return tree::read(path);
    }
    let empty = fs::read_dir(path).map_err(|e| Problem::io(READ, path, &e))?.next().is_none();
    if empty {
        return Err(Problem::input(READ, path.display(), "the folder is empty").hint(LAYOUTS));
    }
    let python = ["cifar-10-batches-py", "data_batch_1"].iter().any(|name| path.join(name).exists());
    let problem = Problem::input(READ, path.display(), "no image data that can be read");
    Err(if python {
        problem.hint("this is CIFAR-10's Python version: take the binary version")
    } else if path.join("tiny-imagenet-200.zip").exists() {
        problem.hint("unpack tiny-imagenet-200.zip first")
    } else {
        problem.hint(nearby::hint(path).unwrap_or_else(|| LAYOUTS.to_owned()))
    })
}

fn open_file(path: &Path) -> Result<Splits> {
    if path.to_string_lossy().ends_with(".tar.gz") {
        return cifar::read(&cifar::Place::Archive(path.to_owned()));
    }
    let read = |e| Problem::io(READ, path, &e);
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut head)).map_err(read)?;
    if packed::is_here(&head) {
        return packed::read(&path.display().to_string(), &fs::read(path).map_err(read)?);
    }
    Err(Problem::input(READ, path.display(), "not a folder").hint(LAYOUTS))
}

impl Images {
    /// Images from their parts: `pixels` is `[N, C, H, W]`, `labels` `[N]`, each below the number of classes.
    pub fn new(name: &str, shape: [usize; 3], class_names: Vec<String>, pixels: Vec<u8>, labels: Vec<u32>) -> Self {
        assert_eq!(pixels.len(), labels.len() * shape.iter().product::<usize>(), "pixels and labels of {name}");
        assert!(labels.iter().all(|&label| (label as usize) < class_names.len()), "labels of {name}");
        Self {
            name: name.to_owned(),
            shape,
            class_names,
            note: None,
            known: None,
            passed_over: Vec::new(),
            files: Vec::new(),
            turns: false,
            pixels,
            labels,
        }
    }

    /// With a note on where they are from.
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The file that holds this image alone, as a path below the folder of the data set (`test/cat/3.png`); `None` where a
    /// file holds many.
    pub fn file_name(&self, image: usize) -> Option<&str> {
        self.files.get(image).map(String::as_str)
    }

    /// What was passed over, in words: `20 .bmp, 1 .webp`. `None` if everything was read.
    pub fn passed_over(&self) -> Option<String> {
        let listed: Vec<String> = self.passed_over.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        (!listed.is_empty()).then(|| listed.join(", "))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// The label of every image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Values of one image: C H W.
    fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes of one image, `[C, H, W]`.
    pub fn pixels(&self, image: usize) -> &[u8] {
        &self.pixels[image * self.size()..][..self.size()]
    }

    /// A batch: pixels in [0, 1], `[N, C, H, W]`, and labels. Augmented if asked for.
    pub fn batch(&self, indices: &[u32], augment: Option<&Augment>) -> (Vec<f32>, Vec<u32>) {
        let [_, height, width] = self.shape;
        let plane = height * width;
        let mut values = vec![0.0; indices.len() * self.size()];
        for (&index, out) in indices.iter().zip(values.chunks_exact_mut(self.size())) {
            let placement = augment.map_or(Placement::IDENTITY, |augment| augment.draw(index));
            let channels = self.pixels(index as usize).chunks_exact(plane).zip(out.chunks_exact_mut(plane));
            for (source, out) in channels {
                placement.apply(source, [height, width], |at, pixel| out[at] = f32::from(pixel) / 255.0);
            }
        }
        (values, indices.iter().map(|&index| self.labels[index as usize]).collect())
    }

    /// The images with these numbers, in this order.
    pub fn select(&self, indices: &[u32]) -> Self {
        let pixels = indices.iter().flat_map(|&index| self.pixels(index as usize)).copied().collect();
        let labels = indices.iter().map(|&index| self.labels[index as usize]).collect();
        let files = if self.files.is_empty() {
            Vec::new()
        } else {
            indices.iter().map(|&index| self.files[index as usize].clone()).collect()
        };
        Self {
            name: self.name.clone(),
            class_names: self.class_names.clone(),
            note: self.note.clone(),
            known: self.known,
            passed_over: self.passed_over.clone(),
            files,
            turns: self.turns,
            shape: self.shape,
            pixels,
            labels,
        }
    }

    /// The first `count` images, or all if there are fewer.
    pub fn first(mut self, count: usize) -> Self {
        self.pixels.truncate(count.saturating_mul(self.size()));
        self.labels.truncate(count);
        self.files.truncate(count);
        self
    }

    /// Divides the images into those kept and those held out, which are a `fraction` of every class (rounded to whole
    /// images), drawn by the seed. Both keep their order. The fraction lies between 0 and 1, and neither part may be
    /// empty.
    ///
    /// # Errors
    /// If the fraction is not between 0 and 1, or one of the two parts would be empty.
    pub fn hold_out(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let what = "hold out validation images";
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Problem::input(what, &self.name, format!("the fraction {fraction} is not between 0 and 1")));
        }
        let mut of_class = vec![Vec::new(); self.classes()];
        for (index, &label) in (0u32..).zip(&self.labels) {
            of_class[label as usize].push(index);
        }
        let mut held = vec![false; self.len()];
        for (class, images) in of_class.iter().enumerate().filter(|(_, images)| !images.is_empty()) {
            let order = Permutation::new(images.len() as u64, key_of(&[seed, HOLD_OUT, class as u64]));
            let count = (images.len() as f64 * fraction).round() as u64;
            (0..count).for_each(|place| held[images[order.get(place) as usize] as usize] = true);
        }
        let [kept, held] = [false, true].map(|wanted| -> Vec<u32> {
            (0u32..).zip(&held).filter(|(_, held)| **held == wanted).map(|(index, _)| index).collect()
        });
        if held.is_empty() || kept.is_empty() {
            let why =
                format!("a fraction of {fraction} of {} images leaves {} and {}", self.len(), kept.len(), held.len());
            return Err(Problem::input(what, &self.name, why).hint("take more images or another fraction"));
        }
        Ok((self.select(&kept), self.select(&held)))
    }

    /// Mean and standard deviation of every channel, of pixels in [0, 1]. Summed in whole numbers: exact, in any order.
    pub fn statistics(&self) -> (Vec<f32>, Vec<f32>) {
        let plane = self.shape[1] * self.shape[2];
        let mut sums = vec![(0u64, 0u64); self.shape[0]];
        for (at, pixels) in self.pixels.chunks_exact(plane).enumerate() {
            let (sum, squares) = &mut sums[at % self.shape[0]];
            for &pixel in pixels {
                *sum += u64::from(pixel);
                *squares += u64::from(pixel) * u64::from(pixel);
            }
        }
        let count = (self.len() * plane).max(1) as f64;
        let of = |(sum, squares): (u64, u64)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(0.0);
            // A channel with a single value is not scaled.
            let deviation = if variance > 0.0 { variance.sqrt() / 255.0 } else { 1.0 };
            ((mean / 255.0) as f32, deviation as f32)
        };
        sums.into_iter().map(of).unzip()
    }

    /// The sha256, in hex, of shape, classes, labels and pixels: what a run must find again to resume.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for number in self.shape.iter().chain([&self.classes(), &self.len()]) {
            hash.update((*number as u64).to_le_bytes());
        }
        for label in &self.labels {
            hash.update(label.to_le_bytes());
        }
        hash.update(&self.pixels);
        finished(hash)
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Images({} of {:?}, {:?}, {} classes)", self.len(), self.name, self.shape, self.classes())
    }
}

/// What a data set without a name is called.
fn folder_name(folder: &Path) -> String {
    let absolute = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.file_name().map_or_else(|| "images".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Names of classes that have none.
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}
