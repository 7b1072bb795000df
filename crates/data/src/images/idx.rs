//! MNIST's file format, idx, raw or compressed with gzip. MNIST, Fashion-MNIST, EMNIST and others come in it.
//!
//! Big-endian: two zero bytes, the type (8 for `u8`), the number of dimensions, each dimension as `u32`, the data. Images
//! have three dimensions `[N, H, W]`, labels one. A data set is four files whose names are those of the original.

use std::path::{Path, PathBuf};

use temper_record::{Problem, Result};

use super::known::KNOWN;
use super::{Images, READ, Splits, folder_name, numbered, whole};
use crate::files::sha256;

/// Training images and labels, test images and labels: the start of the names.
const STEMS: [(&str, usize); 4] = [("train-images", 3), ("train-labels", 1), ("t10k-images", 3), ("t10k-labels", 1)];

/// The usual forms of the name: as the original's, as some programs unpack it, and either compressed.
fn find(folder: &Path, (stem, dimensions): (&str, usize)) -> Option<PathBuf> {
    let names = ["-", "."].map(|dash| format!("{stem}{dash}idx{dimensions}-ubyte"));
    let names = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    names.map(|name| folder.join(name)).find(|path| path.is_file())
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
        let bytes = whole(&path)?;
        hashes.push(sha256(&bytes));
        files.push((path, bytes));
    }
    let [train_pixels, train_labels, test_pixels, test_labels] = &files[..] else { unreachable!("four files") };
    let train = pair(train_pixels, train_labels)?;
    let test = pair(test_pixels, test_labels)?;
    if train.0[1..] != test.0[1..] {
        let [[_, h, w], [_, test_h, test_w]] = [train.0, test.0];
        let why = format!("the images are {test_h}x{test_w}, those of the training set {h}x{w}");
        return Err(Problem::input(READ, test_pixels.0.display(), why));
    }
    let classes = count_classes(&train.2, &train_labels.0)?;
    if let Some(image) = test.2.iter().position(|&label| usize::from(label) >= classes) {
        let why =
            format!("label {} of image {image}: the training set has the classes 0 to {}", test.2[image], classes - 1);
        return Err(
            Problem::input(READ, test_labels.0.display(), why).hint("training and test set are not of one data set")
        );
    }
    let (name, class_names, note) = identify(folder, &hashes, classes);
    let images = |([_, height, width], pixels, labels): ([usize; 3], &[u8], &[u8])| {
        let labels = labels.iter().map(|&label| label.into()).collect();
        Images::new(&name, [1, height, width], class_names.clone(), pixels.to_vec(), labels).with_note(note.clone())
    };
    Ok(Splits { train: images((train.0, train.1, train.2)), test: images((test.0, test.1, test.2)) })
}

/// Dimensions, pixels and labels of one split.
type Pair<'a> = ([usize; 3], &'a [u8], &'a [u8]);

fn pair<'a>(images: &'a (PathBuf, Vec<u8>), labels: &'a (PathBuf, Vec<u8>)) -> Result<Pair<'a>> {
    let (shape, pixels) = content::<3>(&images.0, &images.1)?;
    let ([count], values) = content::<1>(&labels.0, &labels.1)?;
    if shape[0] != count {
        let why = format!("{count} labels for the {} images of {}", shape[0], images.0.display());
        return Err(Problem::input(READ, labels.0.display(), why).hint("the two files are not of one data set"));
    }
    Ok((shape, pixels, values))
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
        let state =
            if total.is_none_or(|total| bytes.len() - header < total) { "it is cut short" } else { "it is too long" };
        return Err(damaged(format!("{state}: {listed} take {expected} bytes, it has {}", bytes.len())));
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
fn identify(folder: &Path, hashes: &[String], classes: usize) -> (String, Vec<String>, String) {
    let idx = || KNOWN.iter().filter(|known| known.files.len() == STEMS.len());
    let differing = |known: &super::Known| -> Vec<&'static str> {
        let pairs = known.files.iter().zip(hashes);
        pairs.filter(|(file, hash)| file.sha256 != hash.as_str()).map(|(file, _)| file.name).collect()
    };
    for known in idx() {
        match differing(known) {
            none if none.is_empty() => {
                let names = known.classes.iter().map(ToString::to_string).collect();
                return (known.name.to_owned(), names, format!("{}: all four files are the known ones", known.title));
            }
            some if some.len() < STEMS.len() => {
                let note = format!("not {}: {} differ from the known files", known.title, some.join(", "));
                return (folder_name(folder), numbered(classes), note);
            }
            _ => {}
        }
    }
    let titles: Vec<&str> = idx().map(|known| known.title).collect();
    (folder_name(folder), numbered(classes), format!("not the known files of {}", titles.join(" or ")))
}
