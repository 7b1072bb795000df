//! Runs that were begun and ended before their first checkpoint, by a kill, a signal or a power cut: there is nothing to resume, and
//! nothing that was trained. Only what Temper wrote of them is ever removed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::run::{MARKS, RunDir};
use crate::series::each_event;
use temper_base::files::UNFINISHED;
use temper_base::problem::{Problem, Result};

/// Files that Temper writes into a run directory before the first checkpoint.
const FILES: [&str; 8] = [
    "recipe.toml",
    "resolved.toml",
    "env.json",
    "tokenizer.json",
    "metrics.jsonl",
    "steps.csv",
    "evals.csv",
    "log.txt",
];

/// Whether a run was begun here and has neither a checkpoint nor an update. What cannot be read is no such run.
pub fn only_begun(run: &RunDir) -> bool {
    let ours = MARKS.iter().any(|mark| run.path().join(mark).exists()) || killed_while_tokenising(run);
    ours && Checkpoint::list(run).is_ok_and(|all| all.is_empty()) && !has_updates(run)
}

/// Before a run has one of its marks, there is its lock, which holds the number of a process, and `data/`.
fn killed_while_tokenising(run: &RunDir) -> bool {
    let number = |text: String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    run.data().is_dir() && fs::read_to_string(run.path().join(".lock")).is_ok_and(number)
}

/// Whether the record has an update; one that is damaged counts as one.
fn has_updates(run: &RunDir) -> bool {
    let path = run.metrics();
    if !path.exists() {
        return false;
    }
    let mut found = false;
    let read = each_event(&path, |_, event| {
        found |= matches!(event, Event::Step { .. } | Event::Done { .. });
        Ok(())
    });
    found || read.is_err()
}

/// Removes what Temper wrote of a run that was only begun. Everything else stays, and so does the lock. The caller holds it.
///
/// # Errors
/// If the directory cannot be read, or one of these files cannot be removed.
pub fn clear(run: &RunDir) -> Result<()> {
    let io = |e: std::io::Error| Problem::io("remove what was begun", run.path(), &e);
    for entry in fs::read_dir(run.path()).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        // A kill while a file is written leaves it under its temporary name.
        let ours = |name: &str| FILES.contains(&name) || FILES.iter().any(|file| is_unfinished(name, file));
        if name.to_str().is_some_and(ours) {
            remove_file(&run.path().join(name))?;
        }
    }
    remove_where(&run.tensorboard(), &|name| name.contains("tfevents"))?;
    remove_where(&run.checkpoints(), &|name| name == "best.json" || is_unfinished(name, "best.json"))?;
    remove_where(&run.data(), &|name| {
        let whole = ["manifest.json", "tokenizer.json", ".prepare.lock"].contains(&name) || name.ends_with(".tokens");
        whole || (name.starts_with('.') && name.ends_with(UNFINISHED))
    })
}

/// Whether this is a temporary name of `file`.
fn is_unfinished(name: &str, file: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED));
    inner.and_then(|inner| inner.strip_prefix(file)).is_some_and(|random| random.starts_with('.'))
}

/// Removes the files of these names in a folder and in those below it, and every folder that is empty then.
fn remove_where(folder: &Path, ours: &dyn Fn(&str) -> bool) -> Result<()> {
    if folder.is_symlink() || !folder.is_dir() {
        return Ok(());
    }
    let io = |e: std::io::Error| Problem::io("remove what was begun", folder, &e);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let is_folder = entry.file_type().map_err(io)?.is_dir();
        match entry.file_name().to_str() {
            _ if is_folder => remove_where(&entry.path(), ours)?,
            Some(name) if ours(name) => remove_file(&entry.path())?,
            _ => {}
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() != ErrorKind::DirectoryNotEmpty => Err(io(e)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Problem::io("remove what was begun", path, &e)),
        _ => Ok(()),
    }
}
