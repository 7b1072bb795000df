//! Images are often a folder or two below the one that was named, as other programs and archives leave them. They are
//! not taken from there without being asked for; the hint says where they are.

use std::fs;
use std::path::{Path, PathBuf};

use super::{cifar, idx, tree};

/// How far down to look.
const DEPTH: usize = 2;
/// Folders looked into on each level.
const FOLDERS: usize = 64;
/// Places named in a hint.
const SHOWN: usize = 3;

/// Where below this folder images are, as a hint; `None` if none were found.
pub(super) fn hint(folder: &Path) -> Option<String> {
    let mut found = Vec::new();
    look(folder, DEPTH, &mut found);
    let places: Vec<String> =
        found.iter().take(SHOWN).map(|(what, path)| format!("{what} in {}", path.display())).collect();
    match places.as_slice() {
        [] => None,
        [place] => Some(format!("there are {place}: name that folder")),
        _ => Some(format!("there are {}: name one of these folders", places.join(", "))),
    }
}

fn look(folder: &Path, depth: usize, found: &mut Vec<(&'static str, PathBuf)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    for inner in folders.into_iter().take(FOLDERS) {
        match layout(&inner) {
            Some(what) => found.push((what, inner)),
            None if depth > 1 => look(&inner, depth - 1, found),
            None => {}
        }
    }
}

/// What a folder holds, if it is one of the layouts that are read.
fn layout(folder: &Path) -> Option<&'static str> {
    if idx::is_here(folder) {
        return Some("MNIST's idx files");
    }
    if cifar::find(folder).is_some() {
        return Some("CIFAR-10's binary files");
    }
    if tree::find_tiny_imagenet(folder).is_some() {
        return Some("TinyImageNet's folders");
    }
    (tree::is_here(folder) && tree::has_test(folder)).then_some("class folders (train, test)")
}
