//! Files mapped into memory, and numbers read from their bytes. Files are written by [`temper_base::files`].

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use temper_base::{Problem, Result};

/// A file mapped into memory, read-only.
pub struct Mapping {
    /// `None` for an empty file, which cannot be mapped everywhere.
    map: Option<Mmap>,
    /// The file itself, whatever now lies under its name.
    file: File,
    path: PathBuf,
}

impl Mapping {
    /// Maps the whole file. `what` is what the caller is doing, for the error.
    ///
    /// # Errors
    /// If there is no such file, it is a folder or a pipe, or the machine cannot map it.
    pub fn open(what: &'static str, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Problem::io(what, path, &e))?;
        let meta = file.metadata().map_err(|e| Problem::io(what, path, &e))?;
        if !meta.is_file() {
            return Err(Problem::input(what, path.display(), "not a file"));
        }
        if meta.len() == 0 {
            return Ok(Self { map: None, file, path: path.to_path_buf() });
        }
        // SAFETY: the map is read-only and lives as long as the slices taken from it. What remains is that another
        // process could change or truncate the file while we read: Temper itself never does (its files appear by
        // rename and are never edited), and the bytes are only ever decoded as integers, every one of which is valid.
        // Reading behind the end of a truncated file ends the process (SIGBUS): callers ask `still_whole` first.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Problem::io(what, path, &e))?;
        Ok(Self { map: Some(map), file, path: path.to_path_buf() })
    }

    /// An error if the file has become shorter than the map: one look at its size, cheap enough for every read.
    ///
    /// # Errors
    /// If the file has become shorter, or the machine cannot tell its size.
    pub fn still_whole(&self, what: &'static str) -> Result<()> {
        let (mapped, now) = (self.bytes().len() as u64, self.file.metadata().map(|meta| meta.len()));
        match now.map_err(|e| Problem::io(what, &self.path, &e))? {
            now if now < mapped => {
                let why = format!("the file was cut to {now} bytes while Temper was reading it; it had {mapped}");
                Err(Problem::machine(what, self.path.display(), why)
                    .hint("put the file back as it was; the same command then works"))
            }
            _ => Ok(()),
        }
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

/// The little-endian `u32` at `at`; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The little-endian `u64` at `at`; the caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
