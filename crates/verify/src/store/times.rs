//! `times.csv`: what every stage took on every image, beside the verdicts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use temper_base::files::write_whole;
use temper_base::{Problem, Result};

use crate::cascade::Stage;

/// Seconds of every stage, in the order of [`Stage`].
pub type StageSeconds = [f64; Stage::NAMES.len()];

/// The file, open at its end. It decides nothing: a line that is missing or cannot be read counts for nothing.
pub struct Times {
    path: PathBuf,
    file: File,
    /// What all stages took so far.
    pub total: StageSeconds,
}

impl Times {
    /// Opens or makes the file in `folder`, and leaves one line for each of these images in it.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(folder: &Path, images: impl Iterator<Item = usize>) -> Result<Self> {
        let path = folder.join("times.csv");
        let found = read(&path);
        let mut total = StageSeconds::default();
        let mut text = format!("index,{}\n", Stage::NAMES.join(","));
        for (image, seconds) in images.zip(found.into_iter().chain(std::iter::repeat(StageSeconds::default()))) {
            total.iter_mut().zip(seconds).for_each(|(total, seconds)| *total += seconds);
            text += &line(image, &seconds);
        }
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            write_whole(&path, text.as_bytes())?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|cause| Problem::io("write verdicts", &path, &cause))?;
        Ok(Self { path, file, total })
    }

    /// Adds images; the verdicts on them follow.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append<'a>(&mut self, images: impl Iterator<Item = (usize, &'a StageSeconds)>) -> Result<()> {
        let mut text = String::new();
        for (image, seconds) in images {
            self.total.iter_mut().zip(seconds).for_each(|(total, seconds)| *total += seconds);
            text += &line(image, seconds);
        }
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|cause| {
            Problem::io("write verdicts", &self.path, &cause)
                .hint("make room; the same command resumes after the last verdict")
        })
    }
}

fn line(image: usize, seconds: &StageSeconds) -> String {
    let seconds: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.6}")).collect();
    format!("{image},{}\n", seconds.join(","))
}

/// The seconds of a file, line by line, as far as it can be read; none if there is no such file.
pub fn read(path: &Path) -> Vec<StageSeconds> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let seconds = |line: &str| {
        let numbers: Option<Vec<f64>> = line.split(',').skip(1).map(|number| number.parse().ok()).collect();
        numbers.and_then(|numbers| StageSeconds::try_from(numbers).ok())
    };
    let valid = |seconds: &StageSeconds| seconds.iter().all(|seconds| seconds.is_finite() && *seconds >= 0.0);
    text.lines().skip(1).map_while(|line| seconds(line).filter(valid)).collect()
}
