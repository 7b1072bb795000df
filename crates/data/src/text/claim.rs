//! Who writes a corpus into a folder: one at a time, and a killed writer leaves nothing that counts.
//!
//! The writer holds a lock on `.prepare.lock` in the folder and takes the file away when it is done. A lock file without a lock is
//! what a kill left: `validation.tokens` beside it without `train.tokens` (which gets its name last) is half of a corpus, and is
//! replaced like the unfinished files.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use temper_base::{Problem, Result, files};

const WHAT: &str = "prepare data";
const LOCK: &str = ".prepare.lock";
/// The files that a corpus consists of.
const NAMES: [&str; 3] = ["train.tokens", "validation.tokens", "tokenizer.json"];

/// The folders that this process writes into. Locked while files get their names, and from then on by a signal that ends the
/// process: it meets all of them or none. No result depends on it.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to write a corpus into a folder.
pub struct Claim {
    lock: PathBuf,
    /// Locked until it is closed.
    _file: File,
}

impl Claim {
    /// Takes it, and clears away what a killed writer left.
    ///
    /// # Errors
    /// If another process prepares data in this folder, or the machine cannot make the folder, take the lock or remove what was left.
    pub fn take(folder: &Path) -> Result<Self> {
        let lock = folder.join(LOCK);
        let (left, file) = files::making(|_| {
            fs::create_dir_all(folder).map_err(|e| Problem::io("create folder", folder, &e))?;
            let left = left_behind(folder);
            let open = File::options().create(true).truncate(false).write(true).open(&lock);
            Ok::<_, Problem>((left, open.map_err(|e| Problem::io(WHAT, &lock, &e))?))
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Problem::input(WHAT, folder.display(), "another process is preparing data in this folder")
                    .hint("choose another folder, or wait until it has ended"));
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        held().insert(lock.clone());
        let claim = Self { lock, _file: file };
        if left {
            clear(folder).map_err(|e| Problem::io(WHAT, folder, &e))?;
        }
        Ok(claim)
    }

    /// Gives files their names; a signal that ends the process waits for all of them.
    ///
    /// # Errors
    /// What `work` answers.
    pub fn name<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _held = held();
        work()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        held().remove(&self.lock);
        _ = fs::remove_file(&self.lock);
    }
}

/// Whether a writer was killed in this folder, or is at work in it.
pub fn left_behind(folder: &Path) -> bool {
    folder.join(LOCK).exists()
}

/// Whether a writer was killed here when all its files had their names: then only its lock is left, and goes.
pub fn was_finished(folder: &Path) -> bool {
    let lock = folder.join(LOCK);
    let free = || File::options().write(true).open(&lock).is_ok_and(|file| file.try_lock().is_ok());
    folder.join("train.tokens").exists() && free() && fs::remove_file(&lock).is_ok()
}

/// Whether this process is preparing data in a folder or below it.
pub fn is_at_work(folder: &Path) -> bool {
    held().iter().any(|lock| lock.starts_with(folder))
}

/// Removes half of a corpus, and what was never finished.
fn clear(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = NAMES.iter().any(|own| name.starts_with(&format!(".{own}.")));
        if ours && name.ends_with(files::UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    remove_half(folder);
    Ok(())
}

fn remove_half(folder: &Path) {
    if !folder.join("train.tokens").exists() {
        _ = fs::remove_file(folder.join("validation.tokens"));
    }
}

/// The last thing that this process does in a folder before a signal ends it: half of a corpus goes away.
pub fn abandon(folder: &Path) {
    // Never given back: from here on nothing gets its name.
    let held = held();
    if held.contains(&folder.join(LOCK)) {
        remove_half(folder);
        _ = fs::remove_file(folder.join(LOCK));
    }
    std::mem::forget(held);
}
