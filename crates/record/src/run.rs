//! The run directory: where everything of a run lies, how a run is named on the command line, and who may write it.
//!
//! ```text
//! DIR/recipe.toml  resolved.toml  env.json      what was asked for, what that came to, where it ran
//! DIR/metrics.jsonl                             the truth: one event a line
//! DIR/steps.csv  evals.csv  tensorboard/        the same for other tools, rebuilt from metrics.jsonl at any time
//! DIR/log.txt  report/  data/                   what was said, figures, prepared tokens
//! DIR/checkpoints/step-00001000/                see [`crate::checkpoint`]
//! DIR/.lock                                     held while a process writes the run; contains its process id
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::begun;
use crate::checkpoint::{self, Checkpoint};
use temper_base::files;
use temper_base::problem::{Problem, Result};

/// Files that only a run has: where one of them is, there is a run.
pub(crate) const MARKS: [&str; 4] = ["metrics.jsonl", "recipe.toml", "resolved.toml", "env.json"];

/// What is written through its name when a run is resumed, reported or verified.
const WRITTEN: [&str; 10] = [
    ".lock",
    "metrics.jsonl",
    "steps.csv",
    "evals.csv",
    "log.txt",
    "checkpoints",
    "tensorboard",
    "data",
    "report",
    "verify",
];

/// The directory of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// The directory itself, whatever its name becomes; held open, so that no other can get its number.
    held: Option<Arc<File>>,
}

impl PartialEq for RunDir {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for RunDir {}

impl RunDir {
    /// Makes the directory of a new run and takes its lock. Nothing is ever overwritten: a directory that holds a run, or
    /// anything else, is refused. A run that ended before its first checkpoint is nothing yet: what Temper wrote of it is removed.
    ///
    /// # Errors
    /// If the directory holds a run or anything else, a file is in the way, another process has the lock, or the machine cannot make
    /// it.
    pub fn create(path: impl AsRef<Path>) -> Result<(Self, RunLock)> {
        let path = path.as_ref();
        let what = "create run";
        make_durable(path).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                Problem::input(what, path.display(), "a file is in the way").hint("choose another directory")
            }
            _ => Problem::io(what, path, &e).hint("choose another directory, or make its parent writable"),
        })?;
        let run = Self::unchecked(path);
        if !begun::only_begun(&run) {
            run.check_empty()?;
        }
        let lock = run.lock()?;
        // Somebody else may have filled it between the look and the lock.
        if begun::only_begun(&run) {
            begun::clear(&run)?;
        }
        run.check_empty()?;
        Ok((run, lock))
    }

    /// The directory of this name, whatever is in it, and whether there is one.
    pub fn unchecked(path: &Path) -> Self {
        let held = if cfg!(unix) { File::open(path).ok().map(Arc::new) } else { None };
        Self { path: path.to_owned(), held }
    }

    /// An error if the directory that was opened is no longer the one of this name: somebody has moved or removed it.
    ///
    /// # Errors
    /// If it is gone, or another directory has its name.
    pub fn still_there(&self) -> Result<()> {
        #[cfg(unix)]
        if let Some(held) = &self.held {
            use std::os::unix::fs::MetadataExt;
            let number = |meta: fs::Metadata| (meta.dev(), meta.ino());
            let then = held.metadata().map(number);
            let now = fs::metadata(&self.path).map(number);
            if !matches!((&then, &now), (Ok(then), Ok(now)) if then == now) {
                let why = "the directory of this run was moved or removed while Temper was writing it";
                return Err(Problem::machine("write run", self.path.display(), why).hint(
                    "move it back and resume it, or resume it under its new name: its checkpoints so far are in it",
                ));
            }
        }
        Ok(())
    }

    fn check_empty(&self) -> Result<()> {
        let (what, path) = ("create run", self.path.display());
        if MARKS.iter().any(|mark| self.path.join(mark).exists()) {
            return Err(Problem::input(what, &path, "there is already a run here")
                .hint("resume it, or choose another directory"));
        }
        for entry in fs::read_dir(&self.path).map_err(|e| Problem::io(what, &self.path, &e))? {
            let name = entry.map_err(|e| Problem::io(what, &self.path, &e))?.file_name();
            if name != ".lock" {
                let why = format!("the directory is not empty (it holds `{}`)", name.to_string_lossy());
                return Err(Problem::input(what, path, why).hint("choose a new or empty directory"));
            }
        }
        Ok(())
    }

    /// The directory of a run that exists.
    ///
    /// # Errors
    /// If there is no such directory, or no run in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fail = |why: &str| Problem::input("open run", path.display(), why);
        if !path.exists() {
            return Err(fail("no such directory").hint("a run is named by its directory: DIR, DIR@STEP or DIR@best"));
        }
        if !path.is_dir() {
            return Err(fail("not a directory").hint("a run is named by its directory: DIR, DIR@STEP or DIR@best"));
        }
        if !MARKS.iter().any(|mark| path.join(mark).exists()) {
            return Err(fail("no run here: it has no metrics.jsonl").hint("training a recipe makes one"));
        }
        Ok(Self::unchecked(path))
    }

    /// Takes the right to write this run, until the lock is dropped or the process ends, however it ends. What a killed
    /// writer left half done among the checkpoints is put right.
    ///
    /// # Errors
    /// If another process holds the lock, an entry of the directory leads out of it, or what a killed writer left cannot be put right.
    pub fn lock(&self) -> Result<RunLock> {
        WRITTEN.iter().try_for_each(|name| self.require_no_link(name))?;
        let (what, path) = ("lock run", self.path.join(".lock"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Problem::io(what, &path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message: whoever holds the lock may be writing its number just now.
                let _ = file.read_to_string(&mut pid);
                let who = match pid.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(Problem::input(what, self.path.display(), format!("in use: {who} is writing this run"))
                    .hint("wait for it or stop it, or choose another directory"));
            }
            // A file system without locks: the user's own care has to do.
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Problem::io(what, &path, &e)),
        }
        // Never empty in between: after a kill, the number distinguishes a lock of Temper's from another file of that name.
        let number = std::process::id().to_string();
        let written = file.write_all(number.as_bytes()).and_then(|()| file.set_len(number.len() as u64));
        written.map_err(|e| Problem::io(what, &path, &e))?;
        checkpoint::recover(self)?;
        Ok(RunLock { _file: file })
    }

    /// An error if this entry of the directory is a link that leads out of it: a run may come from a stranger, and what is written to it
    /// stays in it. Token files are only read, and may lie anywhere.
    ///
    /// # Errors
    /// If it is such a link.
    pub fn require_no_link(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        if !path.is_symlink() {
            return Ok(());
        }
        let inside = || Some(path.canonicalize().ok()?.starts_with(self.path.canonicalize().ok()?));
        if inside() == Some(true) {
            return Ok(());
        }
        let to = fs::read_link(&path).unwrap_or_default();
        let why = format!("it is a link that leads out of the run, to {}: Temper would write there", to.display());
        Err(Problem::input("write run", path.display(), why)
            .hint("replace the link by what it leads to, if you know where this run comes from"))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its last component: the name of the run in tables and figures.
    pub fn name(&self) -> String {
        // `runs/a/..` and `.` do not end in a name. A link does.
        let full = || self.path.canonicalize().ok()?.file_name().map(ToOwned::to_owned);
        let name = self.path.file_name().map(ToOwned::to_owned).or_else(full);
        name.map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// The recipe as the user gave it.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// The recipe with every value and its origin.
    pub fn resolved(&self) -> PathBuf {
        self.path.join("resolved.toml")
    }

    /// Where and when it ran, see [`crate::env::Env`].
    pub fn env(&self) -> PathBuf {
        self.path.join("env.json")
    }

    /// The events, one a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// What Temper printed on the terminal.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    /// Every update as a table.
    pub fn steps_csv(&self) -> PathBuf {
        self.path.join("steps.csv")
    }

    /// Every evaluation as a table.
    pub fn evals_csv(&self) -> PathBuf {
        self.path.join("evals.csv")
    }

    /// Directory of TensorBoard event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// Directory of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Directory of the report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report")
    }

    /// Directory of prepared data that belongs to this run alone.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

/// Makes a folder and those above it, and their names durable.
fn make_durable(path: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    fs::create_dir_all(path)?;
    for made in missing {
        files::sync_folder(made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    }
    Ok(())
}

/// The right to write a run. Dropping it gives it up.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// Which checkpoint of a run is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The last finished one.
    Last,
    /// The one taken after this many updates.
    Step(u64),
    /// The one marked best.
    Best,
}

/// A run as the command line names it: `DIR`, `DIR@STEP` or `DIR@best`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRef {
    /// The run's directory.
    pub dir: PathBuf,
    /// The checkpoint.
    pub at: At,
}

impl RunRef {
    /// Takes a name apart. If a directory of the whole name exists, the name means that directory, even if it ends in `@3` or
    /// `@best`.
    ///
    /// # Errors
    /// If the name is empty, has no directory before the `@`, or neither a number, `last` nor `best` after it.
    pub fn parse(name: &str) -> Result<Self> {
        let hint = "a run is named DIR, DIR@STEP or DIR@best, for example runs/a@4000";
        if name.is_empty() {
            return Err(Problem::input("name of a run", "(empty)", "no directory given").hint(hint));
        }
        let whole = Self { dir: PathBuf::from(name), at: At::Last };
        let Some((dir, at)) = name.rsplit_once('@').filter(|(_, at)| !at.contains('/')) else {
            return Ok(whole);
        };
        if whole.dir.is_dir() {
            return Ok(whole);
        }
        let at = match at {
            "best" => At::Best,
            "last" => At::Last,
            digits => match digits.parse() {
                Ok(step) if digits.bytes().all(|b| b.is_ascii_digit()) => At::Step(step),
                _ => {
                    let why = format!("`{digits}` after the @ is neither a step nor `best`");
                    return Err(Problem::input("name of a run", name, why).hint(hint));
                }
            },
        };
        if dir.is_empty() {
            return Err(Problem::input("name of a run", name, "no directory before the @").hint(hint));
        }
        Ok(Self { dir: PathBuf::from(dir), at })
    }

    /// The run's directory, which must exist.
    ///
    /// # Errors
    /// If there is no such directory, or no run in it.
    pub fn open(&self) -> Result<RunDir> {
        RunDir::open(&self.dir)
    }

    /// The checkpoint that is meant, which must exist; it is not verified yet.
    ///
    /// # Errors
    /// If the directory holds no run, or the run has no such checkpoint.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let run = self.open()?;
        match self.at {
            At::Last => Checkpoint::latest(&run),
            At::Step(step) => Checkpoint::at_step(&run, step),
            At::Best => Checkpoint::best(&run),
        }
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.dir.display())?;
        match self.at {
            At::Last => Ok(()),
            At::Step(step) => write!(f, "@{step}"),
            At::Best => f.write_str("@best"),
        }
    }
}
