//! Folders for what is needed only while a command runs: drawn at random, closed to other users, and gone when the command ends,
//! by a signal too.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;

use temper_base::{Problem, Problems, Result};
use tempfile::TempDir;

use crate::console;

/// A folder in the system's temporary directory. It is made when something is put there first.
#[derive(Default)]
pub struct Scratch {
    root: OnceCell<TempDir>,
    folders: Cell<u32>,
}

impl Scratch {
    /// The path of a new folder, which does not exist yet. Its name is a number, since what it is for may have any name.
    pub fn folder(&self) -> Result<PathBuf, Problems> {
        if self.root.get().is_none() {
            let mut builder = tempfile::Builder::new();
            builder.prefix("temper-");
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let made = builder.tempdir();
            let made = made.map_err(|cause| Problem::io("make temporary folder", std::env::temp_dir(), &cause))?;
            let path = made.path().to_owned();
            console::end_at_signal(move || {
                _ = std::fs::remove_dir_all(path);
                Some("stopped".into())
            })?;
            _ = self.root.set(made);
        }
        let number = self.folders.replace(self.folders.get() + 1);
        Ok(self.root.get().expect("just made").path().join(number.to_string()))
    }
}
