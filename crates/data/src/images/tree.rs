//! Image files in folders: one folder per class, and TinyImageNet's layout.
//!
//! A tree is `train/CLASS/FILE` and `test/CLASS/FILE` (or `val`, `valid`, `validation`); the files may lie one folder
//! deeper, in `CLASS/images`. Classes are numbered in the order of their names. TinyImageNet has its validation
//! images, which serve as the test set, in one folder, `val/images`, and their classes in `val/val_annotations.txt`.
//!
//! The images of a tree stand in turns, the first of every class, the second of every class, and so on: so the first
//! so many of them are of all classes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use temper_record::{Problem, Result};

use super::known::known;
use super::picture::{self, Picture};
use super::{Images, READ, Splits, folder_name};

/// Files decoded at a time: enough for every thread, little in memory.
const CHUNK: usize = 1024;
/// What the other split may be called.
const TESTS: [&str; 4] = ["test", "val", "valid", "validation"];
const TREE_HINT: &str = "an image tree is train/CLASS/*.png (or .jpg) and test/CLASS/*.png";

/// TinyImageNet's folder: this one or the one its archive unpacks to.
pub(super) fn find_tiny_imagenet(folder: &Path) -> Option<PathBuf> {
    let folders = [folder.to_owned(), folder.join("tiny-imagenet-200")];
    folders.into_iter().find(|folder| folder.join("wnids.txt").is_file() && folder.join("train").is_dir())
}

/// Whether the folder holds a tree.
pub(super) fn is_here(folder: &Path) -> bool {
    folder.join("train").is_dir()
}

/// The visible entries of a folder in the order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let problem = |e: io::Error| Problem::io(READ, folder, &e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| picture::is_picture(path) && path.is_file()).collect())
}

/// The names of the class folders.
fn classes(split: &Path) -> Result<Vec<String>> {
    Ok(entries(split)?.iter().filter(|path| path.is_dir()).map(|path| folder_name(path)).collect())
}

/// The files of a split in turns, with their labels.
fn in_turns(split: &Path, classes: &[String]) -> Result<Vec<(PathBuf, u32)>> {
    let mut files = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let folder = split.join(class);
        let deeper = folder.join("images");
        let mut found = pictures(&folder)?;
        if found.is_empty() && deeper.is_dir() {
            found = pictures(&deeper)?;
        }
        if found.is_empty() {
            let why = "the class has no image";
            return Err(Problem::input(READ, folder.display(), why).hint("images are .png, .jpg or .jpeg"));
        }
        files.extend(found.into_iter().enumerate().map(|(turn, path)| (turn, label as u32, path)));
    }
    files.sort_by_key(|(turn, label, _)| (*turn, *label));
    Ok(files.into_iter().map(|(_, label, path)| (path, label)).collect())
}

/// Reads a tree.
pub(super) fn read(folder: &Path) -> Result<Splits> {
    let train = folder.join("train");
    let class_names = classes(&train)?;
    if class_names.is_empty() {
        return Err(Problem::input(READ, train.display(), "there is no class folder in it").hint(TREE_HINT));
    }
    let with_classes = |name: &&&str| {
        let split = folder.join(name);
        split.is_dir() && classes(&split).is_ok_and(|classes| !classes.is_empty())
    };
    let splits: Vec<&&str> = TESTS.iter().filter(with_classes).collect();
    let Some(test) = splits.first().map(|name| folder.join(name)) else {
        let why = "there is a train folder, but no test or val folder with class folders in it";
        return Err(Problem::input(READ, folder.display(), why).hint(TREE_HINT));
    };
    same_classes(&class_names, &classes(&test)?, &train, &test)?;
    let (train, test) = (in_turns(&train, &class_names)?, in_turns(&test, &class_names)?);
    let mut note = "an image tree, one folder per class".to_owned();
    if let [used, unused, ..] = splits[..] {
        note = format!("{note}; the test set is {used}/, and {unused}/ is not used");
    }
    assemble(&folder_name(folder), class_names, note, [train, test], 1)
}

fn same_classes(ours: &[String], theirs: &[String], train: &Path, test: &Path) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let lacks = |folder: &Path, class: &str| format!("{} has no folder {class}", folder.display());
    let missing = ours.iter().find(|class| !theirs.contains(class)).map(|class| lacks(test, class));
    let extra = || theirs.iter().find(|class| !ours.contains(class)).map(|class| lacks(train, class));
    let why = format!(
        "{} classes, but {} in the training set: {}",
        theirs.len(),
        ours.len(),
        missing.or_else(extra).unwrap_or_default()
    );
    Err(Problem::input(READ, test.display(), why).hint("both splits need the same class folders"))
}

/// Reads TinyImageNet's layout.
pub(super) fn read_tiny_imagenet(folder: &Path) -> Result<Splits> {
    let list = folder.join("wnids.txt");
    let mut class_names: Vec<String> = text(&list)?.split_whitespace().map(str::to_owned).collect();
    class_names.sort();
    class_names.dedup();
    if class_names.is_empty() {
        return Err(Problem::input(READ, list.display(), "it names no class"));
    }
    let train = folder.join("train");
    if let Some(class) = class_names.iter().find(|class| !train.join(class).is_dir()) {
        let why = format!("there is no folder {class}, which wnids.txt names");
        return Err(Problem::input(READ, train.display(), why).hint("the data set is not unpacked completely"));
    }
    let train = in_turns(&train, &class_names)?;
    let val = folder.join("val");
    let annotations = val.join("val_annotations.txt");
    let test = match annotations.is_file() && val.join("images").is_dir() {
        true => annotated(&annotations, &val.join("images"), &class_names)?,
        // Some scripts sort the validation images into class folders.
        false => {
            let found = if val.is_dir() { classes(&val)? } else { Vec::new() };
            same_classes(&class_names, &found, &folder.join("train"), &val)?;
            in_turns(&val, &class_names)?
        }
    };
    let data_set = known("tiny-imagenet").expect("in the table");
    let complete = [class_names.len(), train.len(), test.len()] == [200, 100_000, 10_000];
    let layout = "TinyImageNet's layout; the test set is its validation set";
    let note = match complete {
        true => format!(
            "{layout}; its 200 classes, 100,000 and 10,000 images are there (single files have no known hashes)"
        ),
        false => format!("{layout}, but not its 200 classes, 100,000 and 10,000 images"),
    };
    // A few of its files are grey.
    assemble(data_set.name, class_names, note, [train, test], 3)
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Problem::io(READ, path, &e))
}

/// Lines of `FILE class x y x y`, in the order of the file.
fn annotated(list: &Path, images: &Path, class_names: &[String]) -> Result<Vec<(PathBuf, u32)>> {
    let labels: HashMap<&str, u32> = class_names.iter().map(String::as_str).zip(0..).collect();
    let mut files = Vec::new();
    for (number, line) in text(list)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("{}:{}", list.display(), number + 1);
        let mut words = line.split_whitespace();
        let (Some(file), Some(class)) = (words.next(), words.next()) else {
            return Err(Problem::input(READ, place, "not a file and a class"));
        };
        let Some(&label) = labels.get(class) else {
            return Err(Problem::input(READ, place, format!("{class} is not a class of wnids.txt")));
        };
        files.push((images.join(file), label));
    }
    if files.is_empty() {
        return Err(Problem::input(READ, list.display(), "it names no image"));
    }
    Ok(files)
}

/// Decodes both splits into images of at least so many channels.
fn assemble(
    name: &str,
    class_names: Vec<String>,
    note: String,
    splits: [Vec<(PathBuf, u32)>; 2],
    channels: usize,
) -> Result<Splits> {
    let [train, test] = splits.map(|files| (Pixels::decode(&files, channels), files));
    let ((train, train_files), (test, test_files)) = ((train.0?, train.1), (test.0?, test.1));
    if train.size != test.size {
        return Err(other_size(&test_files[0].0, test.size, &train_files[0].0, train.size));
    }
    if train.channels != test.channels {
        let kind = |channels| if channels == 1 { "grey" } else { "colour" };
        let why = format!("the images are {}, those of the training set {}", kind(test.channels), kind(train.channels));
        let place = test_files[0].0.parent().unwrap_or(&test_files[0].0);
        return Err(Problem::input(READ, place.display(), why).hint("make both grey or both colour"));
    }
    let [train, test] = [(train, train_files), (test, test_files)].map(|(pixels, files)| {
        let labels = files.iter().map(|(_, label)| *label).collect();
        let shape = [pixels.channels, pixels.size[0], pixels.size[1]];
        Images::new(name, shape, class_names.clone(), pixels.bytes, labels).with_note(note.clone())
    });
    Ok(Splits { train, test })
}

fn other_size(path: &Path, [h, w]: [usize; 2], first: &Path, [first_h, first_w]: [usize; 2]) -> Problem {
    let why = format!("the image is {h}x{w}, while {} is {first_h}x{first_w}", first.display());
    Problem::input(READ, path.display(), why).hint("all images must be of one size: scale them to it beforehand")
}

/// The images of a split, planar.
struct Pixels {
    size: [usize; 2],
    channels: usize,
    bytes: Vec<u8>,
}

impl Pixels {
    /// Decodes the files. They are grey if all of them are; otherwise the grey ones become colour too.
    fn decode(files: &[(PathBuf, u32)], channels: usize) -> Result<Self> {
        let mut all = Self { size: [0, 0], channels, bytes: Vec::new() };
        for (number, chunk) in files.chunks(CHUNK).enumerate() {
            let pictures: Vec<Result<Picture>> = chunk.par_iter().map(|(path, _)| picture::read(path)).collect();
            for ((path, _), picture) in chunk.iter().zip(pictures) {
                let picture = picture?;
                if number == 0 && all.bytes.is_empty() {
                    all.size = picture.size;
                    all.channels = channels.max(picture.channels);
                    all.bytes.reserve(files.len() * all.channels * picture.size[0] * picture.size[1]);
                } else if picture.size != all.size {
                    return Err(other_size(path, picture.size, &files[0].0, all.size));
                }
                all.push(&picture);
            }
        }
        Ok(all)
    }

    fn push(&mut self, picture: &Picture) {
        let plane = self.size[0] * self.size[1];
        if picture.channels > self.channels {
            self.bytes = self.bytes.chunks_exact(plane).flat_map(|grey| [grey; 3]).flatten().copied().collect();
            self.channels = picture.channels;
        }
        for channel in 0..self.channels {
            let from = channel.min(picture.channels - 1);
            self.bytes.extend(picture.bytes.iter().skip(from).step_by(picture.channels));
        }
    }
}
