//! Files and folders that are whole or absent.
//!
//! Everything that Temper writes to be read again is complete under another name in the same folder, synced, renamed, and then its
//! folder is synced, so that a kill or a power cut at any moment leaves the old file or the new one. Temporary names are drawn at
//! random and opened exclusively: Temper follows no link there, and two processes never share a name. A writer holds a lock on its
//! temporary file: what a killed writer left, the next writer of the same file removes.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::problem::{Problem, Result};

/// Ends the name of every file that is not whole yet; it begins with a dot and the name that the file will have.
pub const UNFINISHED: &str = ".unfinished";

/// A file under construction: written under a temporary name in the target's folder, synced and renamed by
/// [`AtomicFile::finish`]. Dropped before that, it leaves nothing behind.
pub struct AtomicFile {
    target: PathBuf,
    file: BufWriter<NamedTempFile>,
    /// Dropped after the file has its name or is gone.
    listed: Listed,
}

impl AtomicFile {
    /// Starts a file that will appear at `target`; creates the folder.
    ///
    /// # Errors
    /// If the folder or the file cannot be made.
    pub fn create(target: &Path) -> Result<Self> {
        let folder = folder_of(target);
        let prefix = format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(UNFINISHED);
        // The permissions of any other file: what the umask allows. (The library's default is meant for secrets.)
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, listed) = making(|list| {
            fs::create_dir_all(folder).map_err(|e| Problem::io("create folder", folder, &e))?;
            remove_left_behind(folder, &prefix);
            let file = builder.tempfile_in(folder).map_err(|e| Problem::io("create file", target, &e))?;
            // Until it is closed, however this process ends. A file system without locks keeps what a kill leaves.
            let _ = file.as_file().try_lock();
            list.insert(file.path().to_path_buf());
            let listed = Listed(file.path().to_path_buf());
            Ok((file, listed))
        })?;
        Ok(Self { target: target.to_path_buf(), file: BufWriter::with_capacity(1 << 18, file), listed })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If the machine cannot write them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Problem::io("write", &self.target, &e))
    }

    /// Replaces the bytes at the start of the file; the position afterwards is the end of the file again.
    ///
    /// # Errors
    /// If the machine cannot write them.
    pub fn write_at_start(&mut self, bytes: &[u8]) -> Result<()> {
        let done = (|| {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(bytes)?;
            self.file.seek(SeekFrom::End(0))
        })();
        done.map(drop).map_err(|e| Problem::io("write", &self.target, &e))
    }

    /// The bytes written so far, read back from the start; the position afterwards is the end of the file.
    ///
    /// # Errors
    /// If they cannot be read back, and whatever `each` answers.
    pub fn reread(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let target = self.target.clone();
        let problem = |e: io::Error| Problem::io("read back", &target, &e);
        self.file.seek(SeekFrom::Start(0)).map_err(problem)?; // flushes
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = self.file.get_mut().read(&mut buffer).map_err(problem)?;
            if n == 0 {
                break;
            }
            each(&buffer[..n])?;
        }
        self.file.seek(SeekFrom::End(0)).map_err(problem)?;
        Ok(())
    }

    /// Flushes, syncs and gives the file its name, replacing what was there.
    ///
    /// # Errors
    /// If the machine cannot; what was there before is then still there.
    pub fn finish(self) -> Result<()> {
        self.name(|file, target| file.persist(target))
    }

    /// As [`finish`](Self::finish), but does not replace a file that has appeared at the target meanwhile.
    ///
    /// # Errors
    /// If there is such a file, or the machine fails.
    pub fn finish_new(self) -> Result<()> {
        self.name(|file, target| file.persist_noclobber(target))
    }

    fn name(self, persist: impl FnOnce(NamedTempFile, &Path) -> Result<File, tempfile::PersistError>) -> Result<()> {
        let Self { target, file, listed: _listed } = self;
        let done = (|| {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            persist(file, &target).map_err(|e| e.error)?;
            sync_folder(folder_of(&target));
            Ok(())
        })();
        done.map_err(|e: io::Error| Problem::io("write", &target, &e))
    }
}

/// The unfinished files of this process, so that a signal which ends it can take them along. No result depends on it.
static LIST: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        list().remove(&self.0);
    }
}

/// Removes what killed writers of a file left beside it: unfinished files that nobody holds locked.
fn remove_left_behind(folder: &Path, prefix: &str) {
    let left = |name: &str| name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(UNFINISHED)).is_some();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // No pipe, whose opening waits, and no link.
        if !entry.file_name().to_str().is_some_and(left) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn list() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the right to write this file, until it is closed or the process ends, however it ends.
///
/// # Errors
/// Of the kind `ResourceBusy` if another process has it.
pub fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "in use: another process is writing it"))
        }
        // A file system without locks: the user's own care has to do.
        Err(TryLockError::Error(cause)) if cause.kind() != io::ErrorKind::Unsupported => Err(cause),
        _ => Ok(()),
    }
}

/// Makes files or folders, unless [`make_no_more`] was called: then it waits for the end of the process. `make` gets the list of what
/// is unfinished.
pub fn making<T>(make: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    make(&mut list())
}

/// Removes what this process has begun to write and not finished. From now on this module makes, finishes and removes no file or folder, so
/// that what a signal handler removes stays removed. Any thread that calls it waits for the end of the process, the caller of this
/// function included.
pub fn make_no_more() {
    let list = list();
    for path in list.iter() {
        let _ = fs::remove_file(path);
    }
    std::mem::forget(list);
}

/// How long it should take to hash, write and sync this many bytes in `folder`, from a part of them in a file without a name.
///
/// # Errors
/// If the machine cannot write them.
pub fn time_of_writing(folder: &Path, bytes: u64) -> Result<Duration> {
    const PART: usize = 1 << 24;
    let problem = |e: io::Error| Problem::io("write", folder, &e);
    // No two blocks are equal: some file systems would keep one of them.
    let part: Vec<u8> = (0..PART as u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let begun = Instant::now();
    let mut file = tempfile::tempfile_in(folder).map_err(problem)?;
    std::hint::black_box(Sha256::digest(&part));
    file.write_all(&part).and_then(|()| file.sync_all()).map_err(problem)?;
    Ok(begun.elapsed().mul_f64(bytes as f64 / PART as f64))
}

/// Writes a small file in one go, whole or not at all; it replaces what was there.
///
/// # Errors
/// If the machine cannot; what was there before is then still there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// Makes a new empty file for what can be made again at any time. It replaces the file that is there and follows no link.
///
/// # Errors
/// If the old file cannot be removed or the new one cannot be made.
pub fn create_afresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path)
}

/// Makes the names in a folder durable. A file system that cannot sync a folder is no reason to fail.
pub fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
