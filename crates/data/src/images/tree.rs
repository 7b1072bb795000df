//! Image files in folders: one folder per class, and TinyImageNet's layout.
//!
//! A tree is `train/CLASS/FILE` and `test/CLASS/FILE` (or `training`, and `testing`, `val`, `valid`, `validation`); the files
//! may lie one folder deeper, in `CLASS/images`. Classes are numbered in the order of their names, which is that of numbers where all of them
//! are numbers. Files that are not read are counted. One image in colour makes all of them colour. TinyImageNet has its validation
//! images, which serve as the test set, in one folder, `val/images`, and their classes in `val/val_annotations.txt`.
//!
//! The images of a tree take turns, the first of every class, the second of every class, and so on, so that the first
//! images are of all classes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use temper_base::{Problem, Result};

use super::known::known;
use super::picture::{self, Picture};
use super::{Images, READ, SET_BYTES, Splits, classes, folder_name};

/// Files decoded at a time: enough for every thread, little in memory.
const CHUNK: usize = 1024;
/// What the training split may be called.
const TRAINS: [&str; 2] = ["train", "training"];
/// What the other split may be called.
const TESTS: [&str; 5] = ["test", "testing", "val", "valid", "validation"];
const TREE_HINT: &str = "an image tree is train/CLASS/*.png (or .jpg) and test/CLASS/*.png";

/// TinyImageNet's folder: this one or the one its archive unpacks to.
pub(super) fn find_tiny_imagenet(folder: &Path) -> Option<PathBuf> {
    let folders = [folder.to_owned(), folder.join("tiny-imagenet-200")];
    folders.into_iter().find(|folder| folder.join("wnids.txt").is_file() && folder.join("train").is_dir())
}

/// Files of a system, which nobody means as data; hidden ones are not even listed.
const SYSTEM: [&str; 4] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"];

/// Whether there is a test set beside the training set of a tree.
pub(super) fn has_test(folder: &Path) -> bool {
    TESTS.iter().any(|name| folder.join(name).is_dir())
}

/// Whether the folder holds a tree.
pub(super) fn is_here(folder: &Path) -> bool {
    TRAINS.iter().any(|name| folder.join(name).is_dir())
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
    Ok(entries(folder)?.into_iter().filter(|path| is_readable(path)).collect())
}

fn is_readable(path: &Path) -> bool {
    picture::is_picture(path) && path.is_file()
}

/// The names of the class folders, in the order of their numbers.
fn class_folders(split: &Path) -> Result<Vec<String>> {
    let folders = entries(split)?.into_iter().filter(|path| path.is_dir() && !is_system(path));
    let mut names: Vec<String> = folders.map(|path| folder_name(&path)).collect();
    classes::sort(&mut names);
    Ok(names)
}

fn is_system(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    SYSTEM.contains(&name.as_str())
}

/// A split, as files.
#[derive(Default)]
struct Split {
    files: Vec<(PathBuf, u32)>,
    /// What lies there and is not read: ending and number.
    passed_over: BTreeMap<String, usize>,
}

impl Split {
    fn pass_over(&mut self, what: &str, count: usize) {
        if count > 0 {
            *self.passed_over.entry(what.to_owned()).or_default() += count;
        }
    }

    /// Counts what lies in a folder of images and is not an image. `deeper` is the folder in it that is read.
    fn pass_over_in(&mut self, folder: &Path, deeper: Option<&Path>) -> Result<()> {
        let all = fs::read_dir(folder).map_err(|e| Problem::io(READ, folder, &e))?.flatten();
        let hidden = all.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
        self.pass_over("hidden", hidden.filter(|entry| is_readable(&entry.path())).count());
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // TinyImageNet has a list of boxes in the folder of every class.
            if is_readable(&path) || is_system(&path) || Some(path.as_path()) == deeper || name.ends_with("_boxes.txt")
            {
                continue;
            }
            let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy().to_ascii_lowercase()));
            let kind = if path.is_dir() { "in folders" } else { ending.as_deref().unwrap_or("without an ending") };
            self.pass_over(kind, 1);
        }
        Ok(())
    }
}

/// The files of a split in turns, with their labels.
fn in_turns(split: &Path, classes: &[String]) -> Result<Split> {
    let mut all = Split::default();
    let mut files = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let folder = split.join(class);
        let deeper = folder.join("images");
        let mut found = pictures(&folder)?;
        let inner = (found.is_empty() && deeper.is_dir()).then_some(deeper.as_path());
        if let Some(inner) = inner {
            found = pictures(inner)?;
        }
        let mut others = Split::default();
        for folder in inner.into_iter().chain([folder.as_path()]) {
            others.pass_over_in(folder, inner)?;
        }
        if found.is_empty() {
            let others: Vec<String> =
                others.passed_over.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let why = match others.as_slice() {
                [] => "the class has no image".to_owned(),
                _ => format!("the class has no image that is read; there are {}", others.join(", ")),
            };
            return Err(Problem::input(READ, folder.display(), why).hint("images are .png, .jpg or .jpeg"));
        }
        others.passed_over.iter().for_each(|(kind, count)| all.pass_over(kind, *count));
        files.extend(found.into_iter().enumerate().map(|(turn, path)| (turn, label as u32, path)));
    }
    all.pass_over("beside the class folders", pictures(split)?.len());
    files.sort_by_key(|(turn, label, _)| (*turn, *label));
    all.files = files.into_iter().map(|(_, label, path)| (path, label)).collect();
    Ok(all)
}

/// Reads a tree.
pub(super) fn read(folder: &Path) -> Result<Splits> {
    let with_classes = |name: &&&str| {
        let split = folder.join(name);
        split.is_dir() && class_folders(&split).is_ok_and(|classes| !classes.is_empty())
    };
    let trains: Vec<&&str> = TRAINS.iter().filter(with_classes).collect();
    let there = || TRAINS.iter().find(|name| folder.join(name).is_dir());
    let train = folder.join(trains.first().copied().or_else(there).expect("the folder holds a tree"));
    let class_names = class_folders(&train)?;
    if class_names.is_empty() {
        return Err(Problem::input(READ, train.display(), "there is no class folder in it").hint(TREE_HINT));
    }
    let tests: Vec<&&str> = TESTS.iter().filter(with_classes).collect();
    let Some(test) = tests.first().map(|name| folder.join(name)) else {
        let why =
            format!("there is a {} folder, but no test or val folder with class folders in it", folder_name(&train));
        return Err(Problem::input(READ, folder.display(), why).hint(TREE_HINT));
    };
    same_classes(&class_names, &class_folders(&test)?, &train, &test)?;
    let (train, test) = (in_turns(&train, &class_names)?, in_turns(&test, &class_names)?);
    let mut note = "an image tree, one folder per class".to_owned();
    for (what, splits) in [("training", trains), ("test", tests)] {
        if let [used, unused, ..] = splits[..] {
            note = format!("{note}; the {what} set is {used}/, and {unused}/ is not used");
        }
    }
    let Splits { train, test } = assemble(folder, &folder_name(folder), class_names, note, [train, test], 1)?;
    let [train, test] = [train, test].map(|images| Images { turns: true, ..images });
    Ok(Splits { train, test })
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
    let unnamed = class_folders(&train)?.iter().filter(|name| !class_names.contains(name)).count();
    let mut train = in_turns(&train, &class_names)?;
    train.pass_over("class folders that wnids.txt does not name", unnamed);
    let val = folder.join("val");
    let annotations = val.join("val_annotations.txt");
    let test = if annotations.is_file() && val.join("images").is_dir() {
        annotated(&annotations, &val.join("images"), &class_names)?
    } else {
        // Some scripts sort the validation images into class folders.
        let mut found = if val.is_dir() { class_folders(&val)? } else { Vec::new() };
        found.sort();
        same_classes(&class_names, &found, &folder.join("train"), &val)?;
        in_turns(&val, &class_names)?
    };
    let data_set = known("tiny-imagenet").expect("in the table");
    let complete = [class_names.len(), train.files.len(), test.files.len()] == [200, 100_000, 10_000];
    let layout = "TinyImageNet's layout; the test set is its validation set";
    let note = if complete {
        format!("{layout}; its 200 classes, 100,000 and 10,000 images are there (single files have no known hashes)")
    } else {
        format!("{layout}, but not its 200 classes, 100,000 and 10,000 images")
    };
    // A few of its files are grey.
    let Splits { train, test } = assemble(folder, data_set.name, class_names, note, [train, test], 3)?;
    let [train, test] = [train, test].map(|images| Images { known: Some(data_set.name), ..images });
    Ok(Splits { train, test })
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Problem::io(READ, path, &e))
}

/// Lines of `FILE class x y x y`, in the order of the file.
fn annotated(list: &Path, images: &Path, class_names: &[String]) -> Result<Split> {
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
    let named: HashSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
    let unnamed = pictures(images)?.iter().filter(|path| !named.contains(path)).count();
    let mut split = Split { files, ..Split::default() };
    split.pass_over("that val_annotations.txt does not name", unnamed);
    Ok(split)
}

/// Decodes both splits into images of at least that many channels, the same number in both.
fn assemble(
    folder: &Path,
    name: &str,
    class_names: Vec<String>,
    note: String,
    splits: [Split; 2],
    channels: usize,
) -> Result<Splits> {
    let [train, test] = splits.map(|split| (Pixels::decode(&split.files, channels), split));
    let ((mut train, train_split), (mut test, test_split)) = ((train.0?, train.1), (test.0?, test.1));
    if train.size != test.size {
        let [first, other] = [&train_split, &test_split].map(|split| split.files[0].0.as_path());
        return Err(other_size(other, test.size, first, train.size));
    }
    // One image in colour makes all of them colour, in both splits.
    let channels = train.channels.max(test.channels);
    train.widen(channels);
    test.widen(channels);
    let mut note = note;
    if channels == 3 && train.grey + test.grey > 0 {
        let [all, others] = [&train_split, &test_split].map(|split| split.files.len());
        note += &format!(
            "; {} of {all} training images and {} of {others} test images are grey and read as colour",
            train.grey, test.grey
        );
    }
    let [train, test] = [(train, train_split), (test, test_split)].map(|(pixels, split)| {
        let labels = split.files.iter().map(|(_, label)| *label).collect();
        let shape = [pixels.channels, pixels.size[0], pixels.size[1]];
        let below = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let images = Images::new(name, shape, class_names.clone(), pixels.bytes, labels).with_note(note.clone());
        Images {
            files: split.files.iter().map(|(path, _)| below(path)).collect(),
            passed_over: split.passed_over.into_iter().collect(),
            ..images
        }
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
    /// Images that are grey.
    grey: usize,
    bytes: Vec<u8>,
}

impl Pixels {
    /// Decodes the files. They are grey if all of them are; otherwise the grey ones become colour too.
    fn decode(files: &[(PathBuf, u32)], channels: usize) -> Result<Self> {
        let mut all = Self { size: [0, 0], channels, grey: 0, bytes: Vec::new() };
        for (number, chunk) in files.chunks(CHUNK).enumerate() {
            let pictures: Vec<Result<Picture>> = chunk.par_iter().map(|(path, _)| picture::read(path)).collect();
            for ((path, _), picture) in chunk.iter().zip(pictures) {
                let picture = picture?;
                if number == 0 && all.bytes.is_empty() {
                    all.size = picture.size;
                    all.channels = channels.max(picture.channels);
                    all.reserve(files.len(), path)?;
                } else if picture.size != all.size {
                    return Err(other_size(path, picture.size, &files[0].0, all.size));
                }
                all.push(&picture);
            }
        }
        Ok(all)
    }

    /// Memory for that many images of the first one's size.
    fn reserve(&mut self, images: usize, first: &Path) -> Result<()> {
        let [height, width] = self.size;
        let bytes = images as u128 * (self.channels * height * width) as u128;
        let fits = bytes <= SET_BYTES.into() && self.bytes.try_reserve_exact(bytes as usize).is_ok();
        if fits {
            return Ok(());
        }
        let why = format!("{images} images of {height}x{width} take {bytes} bytes of memory, which is too much");
        Err(Problem::input(READ, first.display(), why).hint("scale the images down beforehand"))
    }

    fn push(&mut self, picture: &Picture) {
        self.grey += usize::from(picture.channels == 1);
        self.widen(picture.channels);
        for channel in 0..self.channels {
            let from = channel.min(picture.channels - 1);
            self.bytes.extend(picture.bytes.iter().skip(from).step_by(picture.channels));
        }
    }

    /// Makes grey images colour if colour is asked for.
    fn widen(&mut self, channels: usize) {
        let plane = self.size[0] * self.size[1];
        if channels > self.channels {
            self.bytes = self.bytes.chunks_exact(plane).flat_map(|grey| [grey; 3]).flatten().copied().collect();
            self.channels = channels;
        }
    }
}
