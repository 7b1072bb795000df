//! What the fuzz targets share: a folder for readers that take paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process, in memory where the machine has such a place. The fuzzer ends without cleaning up:
/// `run.sh` removes what is left.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("temper-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for what is fuzzed");
        folder
    })
}

/// Writes a file below [`folder`] and gives its path.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    let parent = path.parent().expect("it lies in the folder");
    if !parent.is_dir() {
        fs::create_dir_all(parent).expect("a folder");
    }
    fs::write(&path, content).expect("a file can be written");
    path
}

/// Takes the first byte off: which of several forms the rest has.
pub fn selected(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}
