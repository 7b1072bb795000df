//! Where the runs of sweeps lie, by the hash of what decides their numbers:
//!
//! ```text
//! sweeps/runs/docs-3f2a91bc04de/         a run, as `temper train` or `temper branch` leaves it
//! sweeps/runs/.3f2a91bc04de.lock         held while a sweep works on it
//! sweeps/runs/.3f2a91bc04de.keep         updates whose checkpoints sweeps branch from
//! sweeps/tokens/docs-91bc04de3f2a/       tokens of a text
//! sweeps/rewarm/max-lr/small/            a sweep: its report, and `runs/` with links to its runs
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use temper_base::{Problem, Result};
use temper_record::event::Event;
use temper_record::run::RunDir;
use temper_record::{Checkpoint, RunSeries};

/// The folder of all sweeps.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Absent,
    /// It was begun, and there is no checkpoint to resume from.
    Begun,
    /// It can resume after that many updates.
    Partial(u64),
    /// It is complete.
    Done,
}

impl Store {
    /// In this folder, which need not exist.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the folders.
    ///
    /// # Errors
    /// If the folders cannot be made.
    pub fn create(&self) -> Result<()> {
        for folder in ["runs", "tokens"].map(|name| self.root.join(name)) {
            fs::create_dir_all(&folder)
                .map_err(|cause| Problem::io("make folder", &folder, &cause).hint("choose another folder"))?;
        }
        Ok(())
    }

    /// The folder of a sweep in one size.
    pub fn sweep(&self, name: &str, size: &str) -> PathBuf {
        self.root.join(name).join(size)
    }

    /// The folder of a text's tokens.
    pub fn tokens(&self, name: &str, hash: &str) -> PathBuf {
        self.root.join("tokens").join(format!("{name}-{hash}"))
    }

    /// The run of this hash, whatever it is called; where it would be, if there is none.
    pub fn run(&self, name: &str, hash: &str) -> PathBuf {
        let (runs, ending) = (self.root.join("runs"), format!("-{hash}"));
        let entries = fs::read_dir(&runs).into_iter().flatten().flatten();
        let found = entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(&ending));
        found.unwrap_or_else(|| runs.join(format!("{name}-{hash}")))
    }

    /// Has whoever trains the run of this hash keep its checkpoints after these updates, now and after a kill.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub fn keep_steps(&self, hash: &str, steps: &[u64]) -> Result<()> {
        let known = self.kept_steps(hash);
        let mut new: String =
            steps.iter().filter(|step| !known.contains(step)).map(|step| format!("{step}\n")).collect();
        if new.is_empty() {
            return Ok(());
        }
        let path = self.wanted(hash);
        // A full disk or a power cut may have left half a line: a number appended to it would be another one.
        if fs::read(&path).is_ok_and(|text| text.last().is_some_and(|last| *last != b'\n')) {
            new.insert(0, '\n');
        }
        let written =
            File::options().append(true).create(true).open(&path).and_then(|mut file| file.write_all(new.as_bytes()));
        written.map_err(|cause| Problem::io("write down which checkpoints to keep", &path, &cause))
    }

    /// The updates whose checkpoints sweeps have asked for.
    pub fn kept_steps(&self, hash: &str) -> Vec<u64> {
        let bytes = fs::read(self.wanted(hash)).unwrap_or_default();
        // What a power cut made of one line says nothing about the others.
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn wanted(&self, hash: &str) -> PathBuf {
        self.root.join("runs").join(format!(".{hash}.keep"))
    }

    /// Where another sweep has begun this run under another name since this one looked, this name becomes a link to it. To be
    /// called by who has the lock.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub fn settle_run(&self, hash: &str, path: &Path) -> Result<()> {
        let found = self.run("", hash);
        if path.exists() || !found.exists() {
            return Ok(());
        }
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(found.file_name().unwrap_or_default(), path);
        #[cfg(not(unix))]
        let linked = Err(ErrorKind::AlreadyExists.into());
        linked.map_err(|cause: std::io::Error| {
            Problem::io("begin run", path, &cause)
                .hint(format!("another sweep began it as {}; the same command again finds it", found.display()))
        })
    }

    /// The right to make the tokens of this folder, once nobody else has it.
    ///
    /// # Errors
    /// If the lock cannot be taken.
    pub fn wait_for_tokens(&self, folder: &Path) -> Result<File> {
        let path = self.root.join("tokens").join(format!(".{}.lock", folder.file_name().unwrap_or_default().display()));
        let problem = |cause: &_| Problem::io("lock tokens", &path, cause);
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(|e| problem(&e))?;
        match file.lock() {
            Err(cause) if cause.kind() != ErrorKind::Unsupported => Err(problem(&cause)),
            _ => Ok(file),
        }
    }

    /// The right to work on the run of this hash, given up when the process ends, however it ends. `None` if another has it.
    ///
    /// # Errors
    /// If the lock cannot be opened.
    pub fn lock(&self, hash: &str) -> Result<Option<File>> {
        let path = self.root.join("runs").join(format!(".{hash}.lock"));
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|cause| Problem::io("lock run", &path, &cause))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: the user's own care has to do.
            Err(TryLockError::Error(cause)) if cause.kind() == ErrorKind::Unsupported => Ok(Some(file)),
            Err(TryLockError::Error(cause)) => Err(Problem::io("lock run", &path, &cause)),
        }
    }
}

/// How far the run in this directory is.
pub fn state(path: &Path) -> State {
    if !path.exists() {
        return State::Absent;
    }
    let Ok(run) = RunDir::open(path) else { return State::Begun };
    if last_event(&run).is_some_and(|event| matches!(event, Event::Done { .. })) {
        return State::Done;
    }
    Checkpoint::latest(&run).map_or(State::Begun, |checkpoint| State::Partial(checkpoint.step()))
}

/// Makes way for a run: renames a folder that holds anything but a lock, and returns the new name. It removes nothing.
///
/// # Errors
/// If the folder cannot be moved.
pub fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
    let io = |cause: std::io::Error| Problem::io("begin run again", path, &cause);
    let names: std::io::Result<Vec<_>> = fs::read_dir(path).map_err(io)?.map(|entry| Ok(entry?.file_name())).collect();
    if names.map_err(io)?.iter().all(|name| name == ".lock") {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1..).map(|n| path.with_file_name(format!("{name}.aside-{n}"))).find(|aside| !aside.exists());
    let aside = free.expect("one of these names is free");
    fs::rename(path, &aside).map_err(io)?;
    Ok(Some(aside))
}

/// The last event of a run's record, without reading all of it.
fn last_event(run: &RunDir) -> Option<Event> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(run.metrics()).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(8192))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.ends_with('\n').then(|| Event::from_line(text.lines().last()?).ok())?
}

/// Its record.
///
/// # Errors
/// A record that cannot be read.
pub fn series(path: &Path) -> Result<RunSeries> {
    RunSeries::read(&RunDir::open(path)?)
}
