//! MNIST's file format, idx, raw or compressed with gzip. MNIST, Fashion-MNIST, EMNIST and others come in it.
//!
//! Big-endian: two zero bytes, the type (8 for `u8`), the number of dimensions, each dimension as `u32`, the data. Images
//! have three dimensions `[N, H, W]`, labels one. A data set is four files whose names are those of the original.

use std::path::{Path, PathBuf};

use temper_base::hash::sha256;
use temper_base::{Problem, Result};

use super::known::KNOWN;
use super::{Images, READ, SET_BYTES, Splits, folder_name, limits, numbered};

/// Training images and labels, test images and labels: the start of the names.
const STEMS: [(&str, usize); 4] = [("train-images", 3), ("train-labels", 1), ("t10k-images", 3), ("t10k-labels", 1)];

/// The usual forms of the name: as the original's, as some programs unpack it, and either compressed; or in a folder that
/// has the file's name, as Kaggle's archive unpacks.
fn find(folder: &Path, (stem, dimensions): (&str, usize)) -> Option<PathBuf> {
    let names = ["-", "."].map(|dash| format!("{stem}{dash}idx{dimensions}-ubyte"));
    let names = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    let places = |name: String| [folder.join(&name), folder.join(&name).join(&name)];
    names.flat_map(places).find(|path| path.is_file())
}

/// Whether the folder holds any of the four files.
pub(super) fn is_here(folder: &Path) -> bool {
    STEMS.iter().any(|stem| find(folder, *stem).is_some())
}

/// Reads the four files.
pub(super) fn read(folder: &Path) -> Result<Splits> {
    let mut hashes = Vec::new();
    let mut files = Vec::new();
    for stem in STEMS {
        let path = find(folder, stem).ok_or_else(|| {
            let why = format!("{}-idx{}-ubyte is missing", stem.0, stem.1);
            Problem::input(READ, folder.display(), why)
                .hint("the data set is four files: train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k; each may end in .gz")
        })?;
        let bytes = limits::read(&path, |head| claim(&path, head, stem.1))?;
        hashes.push(sha256(&bytes));
        files.push((path, bytes));
    }
    let [train_images, train_labels, test_images, test_labels] = &files[..] else { unreachable!("four files") };
    let train = Pair::of(train_images, train_labels)?;
    let test = Pair::of(test_images, test_labels)?;
    if train.size != test.size {
        let [[h, w], [test_h, test_w]] = [train.size, test.size];
        let why = format!("the images are {test_h}x{test_w}, those of the training set {h}x{w}");
        return Err(Problem::input(READ, test_images.0.display(), why));
    }
    let classes = count_classes(train.labels, &train_labels.0)?;
    if let Some(image) = test.labels.iter().position(|&label| usize::from(label) >= classes) {
        let label = test.labels[image];
        let why = format!("label {label} of image {image}: the training set has the classes 0 to {}", classes - 1);
        return Err(
            Problem::input(READ, test_labels.0.display(), why).hint("training and test set are not of one data set")
        );
    }
    let (name, known, class_names, note) = identify(folder, &hashes, classes);
    let [train, test] = [train, test].map(|Pair { size: [height, width], pixels, labels }| {
        let labels = labels.iter().map(|&label| label.into()).collect();
        let images = Images::new(&name, [1, height, width], class_names.clone(), pixels.to_vec(), labels);
        Images { known, ..images.with_note(note.clone()) }
    });
    Ok(Splits { train, test })
}

/// The content of two files that belong together.
struct Pair<'a> {
    /// Height and width.
    size: [usize; 2],
    pixels: &'a [u8],
    labels: &'a [u8],
}

impl<'a> Pair<'a> {
    fn of(images: &'a (PathBuf, Vec<u8>), labels: &'a (PathBuf, Vec<u8>)) -> Result<Self> {
        let ([images_count, height, width], pixels) = content(&images.0, &images.1)?;
        let ([count], values) = content(&labels.0, &labels.1)?;
        if images_count != count {
            let why = format!("{count} labels for the {images_count} images of {}", images.0.display());
            return Err(Problem::input(READ, labels.0.display(), why).hint("the two files are not of one data set"));
        }
        Ok(Self { size: [height, width], pixels, labels: values })
    }
}

/// The bytes that a file should have by its header. [`content`] reports what is wrong with a header.
fn claim(path: &Path, head: &[u8], dimensions: usize) -> Result<u64> {
    let size = |d: usize| head.get(4 + 4 * d..8 + 4 * d).map(|four| u32::from_be_bytes(four.try_into().expect("four")));
    let Some(sizes) = (0..dimensions).map(size).collect::<Option<Vec<u32>>>() else { return Ok(0) };
    if head[..4] != [0, 0, 8, dimensions as u8] {
        return Ok(0);
    }
    let total = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size.into()));
    match total.filter(|total| *total <= SET_BYTES) {
        Some(total) => Ok(total + 4 + 4 * dimensions as u64),
        None => {
            let listed = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("x");
            let why = format!(
                "{listed} take too many bytes, more than the {SET_BYTES} that are read: it is cut short or no such file"
            );
            Err(Problem::input(READ, path.display(), why)
                .hint("the file is incomplete or damaged: copy or fetch it again"))
        }
    }
}

/// Checks the header; gives the dimensions and the data.
fn content<'a, const D: usize>(path: &Path, bytes: &'a [u8]) -> Result<([usize; D], &'a [u8])> {
    let problem = |why: String| Problem::input(READ, path.display(), why);
    let damaged = |why| problem(why).hint("the file is incomplete or damaged: copy or fetch it again");
    let number = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_be_bytes(four.try_into().expect("four bytes")));
    let kind = |dimensions: u32| if dimensions == 1 { "labels" } else { "images" };
    let expected = 0x0800 + D as u32;
    match number(0) {
        Some(magic) if magic == expected => {}
        Some(magic) => {
            let found = match magic {
                0x0801 | 0x0803 => format!(", as a file of {}", kind(magic & 0xff)),
                _ => String::new(),
            };
            let why = format!(
                "it starts with {magic:#010x}{found}; {} in idx format start with {expected:#010x}",
                kind(D as u32)
            );
            return Err(problem(why).hint("is it the right file under the right name?"));
        }
        None => return Err(damaged(format!("it ends inside the header, at byte {}", bytes.len()))),
    }
    let mut shape = [0; D];
    for (d, size) in shape.iter_mut().enumerate() {
        let found = number(4 + 4 * d);
        *size = found.ok_or_else(|| damaged(format!("it ends inside the header, at byte {}", bytes.len())))? as usize;
    }
    let header = 4 + 4 * D;
    let total = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let listed = shape.map(|size| size.to_string()).join("x");
    if total == Some(0) {
        return Err(problem(format!("it is empty: its header says {listed}")));
    }
    if total.and_then(|total| total.checked_add(header)) != Some(bytes.len()) {
        let expected = total.map_or("too many".to_owned(), |total| (total as u128 + header as u128).to_string());
        // No more than one byte too many was read.
        let (state, more) = if total.is_none_or(|total| bytes.len() - header < total) {
            ("it is cut short", "")
        } else {
            ("it is too long", " or more")
        };
        return Err(damaged(format!("{state}: {listed} take {expected} bytes, it has {}{more}", bytes.len())));
    }
    Ok((shape, &bytes[header..]))
}

/// The number of classes, which the format does not say: one more than the largest label, unless that label is so far
/// above the others that it must be wrong. A small extract may lack a few classes, and labels may begin at 1.
fn count_classes(labels: &[u8], path: &Path) -> Result<usize> {
    let mut first = [None; 256];
    for (image, &label) in labels.iter().enumerate().rev() {
        first[usize::from(label)] = Some(image);
    }
    let distinct = first.iter().flatten().count();
    let limit = (2 * distinct).max(10);
    match first.iter().enumerate().skip(limit).find_map(|(label, image)| image.map(|image| (label, image))) {
        Some((label, image)) => {
            let why =
                format!("label {label} of image {image} is out of range: there are {distinct} different labels only");
            Err(Problem::input(READ, path.display(), why).hint("labels count the classes from 0, without large gaps"))
        }
        None => Ok(first.iter().rposition(Option::is_some).map_or(0, |last| last + 1)),
    }
}

/// Name, classes and note of the files with these hashes.
fn identify(folder: &Path, hashes: &[String], classes: usize) -> (String, Option<&'static str>, Vec<String>, String) {
    let idx = || KNOWN.iter().filter(|known| known.files.len() == STEMS.len());
    let differing = |known: &super::Known| -> Vec<&'static str> {
        let pairs = known.files.iter().zip(hashes);
        pairs.filter(|(file, hash)| file.sha256 != hash.as_str()).map(|(file, _)| file.name).collect()
    };
    for known in idx() {
        match differing(known) {
            none if none.is_empty() => {
                let names = known.classes.iter().map(ToString::to_string).collect();
                let note = format!("{}: all four files are the known ones", known.title);
                return (known.name.to_owned(), Some(known.name), names, note);
            }
            some if some.len() < STEMS.len() => {
                let note = format!("not {}: {} differ from the known files", known.title, some.join(", "));
                return (folder_name(folder), None, numbered(classes), note);
            }
            _ => {}
        }
    }
    let titles: Vec<&str> = idx().map(|known| known.title).collect();
    (folder_name(folder), None, numbered(classes), format!("not the known files of {}", titles.join(" or ")))
}
