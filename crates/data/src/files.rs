//! Files that are whole or absent, and files seen as memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use sha2::{Digest, Sha256};
use temper_record::{Problem, Result};

/// A file under construction: written under a temporary name in the target's folder, synced and renamed by
/// [`AtomicFile::finish`]. Dropped before that, it leaves nothing behind.
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts a file that will appear at `target`; creates the folder.
    pub fn create(target: &Path) -> Result<Self> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| Problem::io("create folder", folder, &e))?;
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(|e| Problem::io("create file", &temporary, &e))?;
        Ok(Self { target: target.to_path_buf(), temporary, file: Some(BufWriter::with_capacity(1 << 18, file)) })
    }

    fn writer(&mut self) -> &mut BufWriter<File> {
        self.file.as_mut().expect("an unfinished file")
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer().write_all(bytes).map_err(|e| Problem::io("write", &self.target, &e))
    }

    /// Replaces the bytes at the start of the file; the position afterwards is the end of the file again.
    pub fn write_at_start(&mut self, bytes: &[u8]) -> Result<()> {
        let done = (|| {
            let writer = self.file.as_mut().expect("an unfinished file");
            writer.seek(SeekFrom::Start(0))?;
            writer.write_all(bytes)?;
            writer.seek(SeekFrom::End(0))
        })();
        done.map(drop).map_err(|e| Problem::io("write", &self.target, &e))
    }

    /// The bytes written so far, read back from the start; the position afterwards is the end of the file.
    pub fn reread(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let target = self.target.clone();
        let problem = |e: io::Error| Problem::io("read back", &target, &e);
        let file = self.writer();
        file.seek(SeekFrom::Start(0)).map_err(problem)?; // flushes
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = io::Read::read(file.get_mut(), &mut buffer).map_err(problem)?;
            if n == 0 {
                break;
            }
            each(&buffer[..n])?;
        }
        self.writer().seek(SeekFrom::End(0)).map_err(problem)?;
        Ok(())
    }

    /// Flushes, syncs and gives the file its name, replacing what was there.
    pub fn finish(mut self) -> Result<()> {
        let done = (|| {
            let mut writer = self.file.take().expect("an unfinished file");
            writer.flush()?;
            writer.get_ref().sync_all()?;
            drop(writer);
            fs::rename(&self.temporary, &self.target)?;
            // The name is durable once its folder is; a file system that cannot sync a folder is no reason to fail.
            let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if let Ok(folder) = File::open(folder) {
                let _ = folder.sync_all();
            }
            Ok(())
        })();
        done.map_err(|e| {
            let _ = fs::remove_file(&self.temporary);
            Problem::io("write", &self.target, &e)
        })
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a small file in one go, whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// A file mapped into memory, read-only.
pub struct Mapping {
    /// `None` for an empty file, which cannot be mapped everywhere.
    map: Option<Mmap>,
}

impl Mapping {
    /// Maps the whole file. `what` is what the caller is doing, for the error.
    pub fn open(what: &str, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Problem::io(what, path, &e))?;
        let meta = file.metadata().map_err(|e| Problem::io(what, path, &e))?;
        if !meta.is_file() {
            return Err(Problem::input(what, path.display(), "not a file"));
        }
        if meta.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is read-only and lives as long as the slices taken from it. What remains is that another
        // process could change or truncate the file while we read: Temper itself never does (its files appear by
        // rename and are never edited), and the bytes are only ever decoded as integers, every one of which is valid.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Problem::io(what, path, &e))?;
        Ok(Self { map: Some(map) })
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

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The sha256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
