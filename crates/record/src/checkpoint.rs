//! Checkpoints that are either complete or not there: `checkpoints/step-00001000/`.
//!
//! A checkpoint is written under a temporary name, every file is synced, `DONE` (size and SHA-256 of every file) comes last,
//! the directory is renamed and its parent synced. Killing the writer at any moment leaves the previous checkpoints as they
//! were; its leftovers go when the next writer takes the run's lock. Reading compares what is there with `DONE`; a directory
//! without `DONE` is unfinished and ignored.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temper_base::hash::{Digest, Sha256, feed_file, finished, sha256};

use crate::run::RunDir;
use temper_base::files;
use temper_base::problem::{Kind, Problem, Result, pasted};

/// Being written.
const TEMPORARY: &str = ".tmp-";
/// Set aside while a newer one of the same step takes its place.
const LEAVING: &str = ".old-";

/// The content of `DONE`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Done {
    /// Version of this layout.
    format: u32,
    step: u64,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// Bytes.
    size: u64,
    /// Lower-case hexadecimal digits.
    sha256: String,
}

fn dir_name(step: u64) -> String {
    format!("step-{step:08}")
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Writes one checkpoint. Dropped without [`commit`](Self::commit), it leaves no trace. The caller holds the run's lock.
#[derive(Debug)]
pub struct CheckpointWriter {
    run: RunDir,
    step: u64,
    temporary: PathBuf,
    files: BTreeMap<String, Entry>,
    committed: bool,
}

impl CheckpointWriter {
    /// Begins the checkpoint after `step` updates; leftovers of killed writers are removed.
    ///
    /// # Errors
    /// If the run was moved or removed, leftovers cannot be removed, or the machine cannot make the folder.
    pub fn begin(run: &RunDir, step: u64) -> Result<Self> {
        let parent = run.checkpoints();
        // Before anything is made: under the old name of a run that was moved, nothing appears.
        run.still_there()?;
        match fs::create_dir(&parent) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(write_failed(run, &parent, &e)),
            _ => sync_dir(run.path()).map_err(|e| write_failed(run, &parent, &e))?,
        }
        recover(run)?;
        let temporary = parent.join(format!("{TEMPORARY}{}", dir_name(step)));
        fs::create_dir(&temporary).map_err(|e| write_failed(run, &temporary, &e))?;
        Ok(Self { run: run.clone(), step, temporary, files: BTreeMap::new(), committed: false })
    }

    /// Writes one file, buffered, hashed on the way and synced at the end.
    ///
    /// # Errors
    /// If `fill` fails or the machine cannot write the file: it is then no part of the checkpoint, and those before it are intact.
    pub fn write(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let path = self.path(name);
        let entry = (|| {
            let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            let mut out = Hashed { inner: file, hash: Sha256::new(), size: 0 };
            fill(&mut out)?;
            out.inner.flush()?;
            out.inner.get_ref().sync_all()?;
            Ok(Entry { size: out.size, sha256: finished(out.hash) })
        })();
        let entry = entry.map_err(|e| write_failed(&self.run, &path, &e))?;
        self.files.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Takes in a file that something else has written to [`path(name)`](Self::path): it is synced and hashed.
    ///
    /// # Errors
    /// If the file is not there, or the machine cannot read or sync it.
    pub fn adopt(&mut self, name: &str) -> Result<()> {
        let path = self.path(name);
        let entry = File::open(&path).and_then(|f| f.sync_all()).and_then(|()| hash_file(&path));
        let entry = entry.map_err(|e| write_failed(&self.run, &path, &e))?;
        self.files.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Where a file of this checkpoint lies while it is written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// Makes the checkpoint exist. A checkpoint of the same step is replaced by it.
    ///
    /// # Errors
    /// If the machine cannot write, rename or sync. If the checkpoint does not exist by then, what was written of it is removed, and
    /// one of the same step that was there before stays.
    pub fn commit(mut self) -> Result<Checkpoint> {
        let done = Done { format: 1, step: self.step, files: std::mem::take(&mut self.files) };
        let parent = self.run.checkpoints();
        let path = parent.join(dir_name(self.step));
        let leaving = parent.join(format!("{LEAVING}{}", dir_name(self.step)));
        let result = (|| {
            let mut file = File::create(self.path("DONE"))?;
            file.write_all(serde_json::to_string_pretty(&done)?.as_bytes())?;
            file.sync_all()?;
            sync_dir(&self.temporary)?;
            let replaced = path.exists();
            if replaced {
                // Killed between the two renames, `recover` brings the old one back.
                fs::rename(&path, &leaving)?;
            }
            fs::rename(&self.temporary, &path)?;
            self.committed = true;
            sync_dir(&parent)?;
            if replaced {
                fs::remove_dir_all(&leaving)?;
            }
            Ok(())
        })();
        result.map_err(|e: io::Error| write_failed(&self.run, &path, &e))?;
        Ok(Checkpoint { path, step: self.step })
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if !self.committed {
            // If this fails too, the next writer tries again.
            let _ = fs::remove_dir_all(&self.temporary);
            let _ = recover(&self.run);
        }
    }
}

/// Whatever made a write fail, it is the machine; what was there before still is.
fn write_failed(run: &RunDir, path: &Path, cause: &io::Error) -> Problem {
    let first = match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "free some space",
        _ => "put this right",
    };
    Problem::machine("write checkpoint", path.display(), cause).hint(way_on(run, first))
}

/// What to do about a checkpoint that could not be written: `first` and then what helps.
pub fn way_on(run: &RunDir, first: &str) -> String {
    match Checkpoint::list(run) {
        Ok(earlier) if earlier.is_empty() => format!(
            "{first}, then begin the run again with the same command: it has no checkpoint yet, and nothing was trained"
        ),
        _ => format!("{first}, then resume the run; the checkpoints before this one are intact"),
    }
}

/// Puts right what a killed writer left: half-written checkpoints go, one that was being replaced comes back.
pub(crate) fn recover(run: &RunDir) -> Result<()> {
    let parent = run.checkpoints();
    for folder in [run.path(), &run.data(), &parent] {
        remove_unfinished_in(folder)?;
    }
    for entry in entries_of(&parent)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let fixed = match name.strip_prefix(LEAVING).map(|old| parent.join(old)) {
            Some(old) if !old.exists() && entry.path().join("DONE").exists() => fs::rename(entry.path(), old),
            Some(_) => fs::remove_dir_all(entry.path()),
            None if name.starts_with(TEMPORARY) && entry.path().is_dir() => fs::remove_dir_all(entry.path()),
            None if name.starts_with(TEMPORARY) => fs::remove_file(entry.path()),
            None => Ok(()),
        };
        fixed.map_err(|e| Problem::machine("tidy checkpoints", entry.path().display(), e))?;
    }
    Ok(())
}

/// Takes away the files that a killed writer began in this folder.
fn remove_unfinished_in(folder: &Path) -> Result<()> {
    for entry in entries_of(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(files::UNFINISHED) {
            fs::remove_file(entry.path()).map_err(|e| Problem::machine("tidy run", entry.path().display(), e))?;
        }
    }
    Ok(())
}

/// What lies in a folder; nothing if there is none.
fn entries_of(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Problem::io("list folder", folder, &e)),
    }
}

/// A finished checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    path: PathBuf,
    step: u64,
}

/// Which checkpoint of a run is the best, and by what measure; kept in `checkpoints/best.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Updates made before it was taken.
    pub step: u64,
    /// Validation set it was judged on.
    pub set: String,
    /// Metric it was judged by.
    pub metric: String,
    /// The metric's value.
    pub value: f64,
}

impl Best {
    /// Marks a checkpoint as the best; [`prune`] keeps it.
    ///
    /// # Errors
    /// If the machine cannot write the mark; the one before it then still holds.
    pub fn write(&self, run: &RunDir) -> Result<()> {
        let json = serde_json::to_string(self).expect("plain data has a JSON form");
        files::write_whole(&best_path(run), json.as_bytes()).map_err(|mut problem| {
            problem.kind = Kind::Machine;
            problem.hint(way_on(run, "put this right"))
        })
    }

    /// The mark, if there is one.
    ///
    /// # Errors
    /// If the mark cannot be read, or is damaged.
    pub fn read(run: &RunDir) -> Result<Option<Self>> {
        let path = best_path(run);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| {
                Problem::input("read best checkpoint", path.display(), e)
                    .hint("name the checkpoint by its step: DIR@STEP")
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Problem::io("read best checkpoint", path, &e)),
        }
    }
}

fn best_path(run: &RunDir) -> PathBuf {
    run.checkpoints().join("best.json")
}

impl Checkpoint {
    /// All finished checkpoints of a run, the oldest first.
    ///
    /// # Errors
    /// If the folder of checkpoints cannot be read; that there is none is no error.
    pub fn list(run: &RunDir) -> Result<Vec<Self>> {
        let parent = run.checkpoints();
        let mut found: Vec<_> = entries_of(&parent)?
            .into_iter()
            .filter_map(|entry| Some(Self { step: step_of(&entry.file_name().to_string_lossy())?, path: entry.path() }))
            .filter(|checkpoint| checkpoint.path.join("DONE").exists())
            .collect();
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// The last finished checkpoint.
    ///
    /// # Errors
    /// If there is none, or the folder of checkpoints cannot be read.
    pub fn latest(run: &RunDir) -> Result<Self> {
        Self::list(run)?.pop().ok_or_else(|| {
            Problem::input("find checkpoint", run.path().display(), "the run has no finished checkpoint")
                .hint("it stopped before its first one: repeat the command that began it")
        })
    }

    /// The checkpoint after `step` updates.
    ///
    /// # Errors
    /// If there is none of this step, or none that is finished.
    pub fn at_step(run: &RunDir, step: u64) -> Result<Self> {
        let all = Self::list(run)?;
        let steps: Vec<_> = all.iter().map(|c| c.step.to_string()).collect();
        all.into_iter().find(|c| c.step == step).ok_or_else(|| {
            let place = format!("{}@{step}", run.path().display());
            let unfinished = run.checkpoints().join(dir_name(step)).exists();
            let why = if unfinished { "this checkpoint is unfinished (it has no DONE)" } else { "no such checkpoint" };
            Problem::input("find checkpoint", place, why).hint(if steps.is_empty() {
                "the run has no finished checkpoint".to_owned()
            } else {
                format!("there are: {}", steps.join(", "))
            })
        })
    }

    /// The checkpoint marked best.
    ///
    /// # Errors
    /// If no checkpoint is marked, the mark is damaged, or the checkpoint that it names is gone.
    pub fn best(run: &RunDir) -> Result<Self> {
        let best = Best::read(run)?.ok_or_else(|| {
            Problem::input("find checkpoint", format!("{}@best", run.path().display()), "no checkpoint is marked best")
                .hint("a language model has one if checkpoint.keep_best asks for it, a classifier once it was evaluated at the target radius; name a checkpoint by its step, or leave the @ out for the last one")
        })?;
        Self::at_step(run, best.step)
    }

    /// Updates made before it was taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Where the checkpoint after `step` updates lies, relative to the run directory.
    pub fn relative(step: u64) -> String {
        format!("checkpoints/{}", dir_name(step))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of one of its files, which must be there. Nothing is verified: call [`verify`](Self::verify) once before.
    ///
    /// # Errors
    /// If it is not there.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        if path.exists() { Ok(path) } else { Err(self.damaged(name, "missing")) }
    }

    /// Reads every file and compares it with what was written.
    ///
    /// # Errors
    /// If the manifest is damaged, or a file is missing, cannot be read, or is not what was written.
    pub fn verify(&self) -> Result<()> {
        self.done()?.files.keys().try_for_each(|name| self.verify_file(name))
    }

    /// Reads one file and compares it with what was written.
    ///
    /// # Errors
    /// If the file is not in the manifest, missing, cannot be read, or is not what was written.
    pub fn verify_file(&self, name: &str) -> Result<()> {
        let entry = self.entry(name)?;
        let path = self.file(name)?;
        let size = fs::metadata(&path).map_err(|e| Problem::io("read checkpoint", &path, &e))?.len();
        self.compare_size(name, &entry, size)?;
        let found = hash_file(&path).map_err(|e| Problem::io("read checkpoint", &path, &e))?;
        self.compare(name, &entry, &found)
    }

    /// What the SHA-256 of one file is to be, in hex.
    ///
    /// # Errors
    /// If the manifest is damaged, or does not name the file.
    pub fn sha256(&self, name: &str) -> Result<String> {
        Ok(self.entry(name)?.sha256)
    }

    /// The bytes of one file, verified. For the small ones.
    ///
    /// # Errors
    /// If the file is missing, cannot be read, or is not what was written.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let entry = self.entry(name)?;
        let path = self.file(name)?;
        let bytes = fs::read(&path).map_err(|e| Problem::io("read checkpoint", &path, &e))?;
        self.compare_size(name, &entry, bytes.len() as u64)?;
        let found = Entry { size: bytes.len() as u64, sha256: sha256(&bytes) };
        self.compare(name, &entry, &found)?;
        Ok(bytes)
    }

    fn compare_size(&self, name: &str, entry: &Entry, size: u64) -> Result<()> {
        match size.cmp(&entry.size) {
            std::cmp::Ordering::Equal => Ok(()),
            order => {
                let word = if order.is_lt() { "truncated" } else { "too long" };
                Err(self.damaged(name, &format!("{word}: {size} bytes, but {} were written", entry.size)))
            }
        }
    }

    fn compare(&self, name: &str, entry: &Entry, found: &Entry) -> Result<()> {
        self.compare_size(name, entry, found.size)?;
        if found.sha256 == entry.sha256 {
            return Ok(());
        }
        let why =
            format!("bit-flipped: the right length, but SHA-256 {:.8}… instead of {:.8}…", found.sha256, entry.sha256);
        Err(self.damaged(name, &why))
    }

    fn entry(&self, name: &str) -> Result<Entry> {
        self.done()?.files.remove(name).ok_or_else(|| self.damaged(name, "not part of this checkpoint"))
    }

    fn done(&self) -> Result<Done> {
        let path = self.path.join("DONE");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.damaged("DONE", "missing: it is unfinished")),
            Err(e) => return Err(Problem::io("read checkpoint", path, &e)),
        };
        let done: Done = serde_json::from_slice(&text)
            .map_err(|e| self.damaged("DONE", &format!("truncated or bit-flipped: {e}")))?;
        match (done.format, done.step) {
            (1, step) if step == self.step => Ok(done),
            (1, step) => {
                Err(self.damaged("DONE", &format!("this is the checkpoint of step {step}, under a wrong name")))
            }
            (format, _) => {
                Err(self.damaged("DONE", &format!("format {format} is newer than this Temper, which reads 1")))
            }
        }
    }

    /// The user has a damaged checkpoint; the way out is the one before, if there is one.
    fn damaged(&self, name: &str, why: &str) -> Problem {
        let problem = Problem::input("read checkpoint", self.path.join(name).display(), why);
        let run = self.path.parent().and_then(Path::parent).unwrap_or(&self.path);
        let earlier = RunDir::open(run).and_then(|run| Self::list(&run)).unwrap_or_default();
        match earlier.iter().rev().find(|c| c.step < self.step) {
            Some(earlier) => problem.hint(format!(
                "continue from the one before: {}",
                pasted(format_args!("{}@{}", run.display(), earlier.step))
            )),
            None => problem.hint("there is no earlier checkpoint: restore this one from a backup, or train again"),
        }
    }

    fn remove(&self) -> Result<()> {
        // Renamed it is gone, wherever a kill interrupts the rest.
        let leaving = self.path.with_file_name(format!("{TEMPORARY}{}", dir_name(self.step)));
        let removed = fs::rename(&self.path, &leaving).and_then(|()| fs::remove_dir_all(&leaving));
        removed.map_err(|e| Problem::machine("remove checkpoint", self.path.display(), e))
    }
}

/// Removes the checkpoints that need not be kept and says which. Kept are the last `keep_last` (at least one), those at
/// multiples of `keep_every` updates (0: none), the steps in `keep`, and the one marked best.
///
/// # Errors
/// If the checkpoints or the mark of the best cannot be read, or one cannot be removed.
pub fn prune(run: &RunDir, keep_last: usize, keep_every: u64, keep: &[u64]) -> Result<Vec<u64>> {
    let all = Checkpoint::list(run)?;
    let best = Best::read(run)?.map(|best| best.step);
    let first_of_last = all.len().saturating_sub(keep_last.max(1));
    let mut removed = Vec::new();
    for checkpoint in &all[..first_of_last] {
        let step = checkpoint.step;
        let periodic = keep_every > 0 && step % keep_every == 0;
        if !periodic && !keep.contains(&step) && best != Some(step) {
            checkpoint.remove()?;
            removed.push(step);
        }
    }
    Ok(removed)
}

/// Removes every checkpoint after `step`, for a run that resumes from an earlier one than its last: `metrics.jsonl` is cut
/// there, so the later ones belong to a past that no longer exists. Says which.
///
/// # Errors
/// If the checkpoints cannot be read, or one cannot be removed.
pub fn discard_after(run: &RunDir, step: u64) -> Result<Vec<u64>> {
    if Best::read(run)?.is_some_and(|best| best.step > step) {
        let path = best_path(run);
        fs::remove_file(&path).map_err(|e| Problem::machine("remove checkpoint", path.display(), e))?;
    }
    let later: Vec<_> = Checkpoint::list(run)?.into_iter().filter(|c| c.step > step).collect();
    later.iter().rev().map(|checkpoint| checkpoint.remove().map(|()| checkpoint.step)).collect()
}

/// Passes bytes on, hashing and counting them.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hash_file(path: &Path) -> io::Result<Entry> {
    let mut hash = Sha256::new();
    let size = feed_file(&mut hash, path, 0)?;
    Ok(Entry { size, sha256: finished(hash) })
}

/// Makes the names in a directory durable, where the system can.
fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
