//! What a verification leaves behind, and takes up again: `verdicts.csv` or `radii.csv`, and beside it the question that it answers.
//!
//! Lines are made durable before the next image is begun. `verdicts-question.json` (or `radii-question.json`) says what was asked, so that
//! answers to two different questions never end up in one file. What a clock says is in a file of its own, `times.csv`: no two runs agree
//! on it, while they agree on every byte of the verdicts.

pub mod times;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use temper_base::files::{lock, write_whole};
use temper_base::{Problem, Result};
use temper_record::csv::quoted;

use crate::cascade::{Arithmetic, Stage};
use crate::radius::CertifiedRadius;
use crate::shards::Shard;
use crate::verdict::{ImageVerdict, Summary, Verdict};

pub use times::{StageSeconds, Times};

/// The column of `verdicts.csv` with the row of `counterexamples.npy`.
pub(crate) const COUNTEREXAMPLE: usize = 12;

/// What a file of answers holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A verdict for every image, in one box each.
    Verdicts,
    /// The largest radius at which an image is certified, and the smallest at which it is not.
    Radii,
}

impl Kind {
    /// The name of the file, without its ending.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Verdicts => "verdicts",
            Kind::Radii => "radii",
        }
    }

    /// The columns. Those that hold names come last: they may be quoted.
    pub fn header(self) -> &'static str {
        match self {
            Kind::Verdicts => {
                "index,label,predicted,outcome,stage,arithmetic,clean_margin,bound,attack_margin,attack_class,rounding,reason,counterexample,class,predicted_class,file"
            }
            Kind::Radii => "index,label,certified,not_certified,class,file",
        }
    }
}

/// The names of an image, of which each may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names<'a> {
    /// Of the class of its label.
    pub class: &'a str,
    /// Of the class that the network gives it.
    pub predicted: &'a str,
    /// Of its file.
    pub file: &'a str,
}

/// The line of a verdict; `counterexample` is the row of `counterexamples.npy` that holds the image of another class.
pub fn verdict_line(verdict: &ImageVerdict, counterexample: Option<usize>, names: Names) -> String {
    let maybe = |value: Option<String>| value.unwrap_or_default();
    let reason = verdict.reason.as_deref().unwrap_or("").replace([',', '"', '\n', '\r'], ";");
    format!(
        "{},{},{},{},{},{},{},{},{},{},{},{reason},{},{},{},{}",
        verdict.index,
        verdict.label,
        verdict.predicted,
        verdict.verdict.name(),
        verdict.stage.map_or("", Stage::name),
        verdict.arithmetic.map_or("", Arithmetic::name),
        verdict.clean_margin,
        maybe(verdict.bound.map(|bound| bound.to_string())),
        maybe(verdict.attack_margin.map(|margin| margin.to_string())),
        maybe(verdict.attack_class.map(|class| class.to_string())),
        u8::from(verdict.rounding),
        maybe(counterexample.map(|row| row.to_string())),
        field(names.class),
        field(names.predicted),
        field(names.file),
    )
}

/// The line of a certified radius.
pub fn radius_line(index: u64, label: u32, radius: &CertifiedRadius, names: Names) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let (certified, not) = (number(radius.certified), number(radius.uncertified));
    format!("{index},{label},{certified},{not},{},{}", field(names.class), field(names.file))
}

/// A name as a field of one line: quoted where it has to be, without line ends and escape sequences.
fn field(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    quoted(&name)
}

/// A file of answers, open at its end.
pub struct Store {
    /// Where it is.
    pub path: PathBuf,
    file: File,
    /// The answers that are complete, a line each.
    pub lines: Vec<String>,
}

impl Store {
    /// Opens or makes the file of this kind in `folder`. It removes a line that a kill cut short.
    ///
    /// # Errors
    /// Answers to another question than `asked`, a damaged file, a folder that cannot be written.
    pub fn open(folder: &Path, kind: Kind, asked: &Value) -> Result<Self> {
        let io = |path: &Path, cause: std::io::Error| Problem::io("write verdicts", path, &cause);
        fs::create_dir_all(folder).map_err(|cause| io(folder, cause))?;
        let question = folder.join(format!("{}-question.json", kind.name()));
        let text = serde_json::to_string_pretty(asked).expect("plain data") + "\n";
        let path = folder.join(format!("{}.csv", kind.name()));
        match fs::read_to_string(&question) {
            Ok(found) if found == text => {}
            // An earlier version did not write it whole: without answers nothing depends on it.
            Ok(found) if serde_json::from_str::<Value>(&found).is_err() && !has_lines(&path) => {
                write_whole(&question, text.as_bytes())?;
            }
            Ok(found) => return Err(other_question(&question, &found, asked)),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => write_whole(&question, text.as_bytes())?,
            Err(cause) => return Err(io(&question, cause)),
        }
        let header = kind.header();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(|cause| io(&path, cause))?;
        lock(&file).map_err(|cause| io(&path, cause))?;
        let mut read = || -> std::io::Result<String> {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            text.truncate(whole);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            if text.is_empty() {
                text = format!("{header}\n");
                file.write_all(text.as_bytes())?;
            }
            Ok(text)
        };
        let text = read().map_err(|cause| io(&path, cause))?;
        let shard = Shard::of_question(asked);
        let lines = read_lines(kind, &text, &path, &shard)?;
        // Where the question says how many images there are, more answers would be counted as if they belonged to it.
        let images = asked["images"].as_u64().map(|images| shard.images(images as usize));
        if let Some(images) = images.filter(|images| lines.len() > *images) {
            return Err(damaged(&path, format!("it holds {} answers about {images} images", lines.len())));
        }
        Ok(Self { path, file, lines })
    }

    /// Adds lines and waits until they are on disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append(&mut self, lines: Vec<String>) -> Result<()> {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|cause| {
            Problem::io("write verdicts", &self.path, &cause)
                .hint("make room; the same command resumes after the last verdict")
        })?;
        self.lines.extend(lines);
        Ok(())
    }

    /// How many images have a counterexample.
    pub fn counterexamples(&self) -> usize {
        self.lines.iter().filter(|line| line.split(',').nth(3) == Some(Verdict::Attacked.name())).count()
    }
}

/// The answers of a file of this kind about this part of the images: everything behind its header, checked. `path` is where it is, for
/// messages.
///
/// # Errors
/// A first line that is not the header, a line that is not the answer for the image of its place, a counterexample out of turn.
pub fn read_lines(kind: Kind, text: &str, path: &Path, shard: &Shard) -> Result<Vec<String>> {
    let mut lines = text.lines();
    if lines.next() != Some(kind.header()) {
        return Err(damaged(path, "its first line is not the header of verdicts".into()));
    }
    // Names may hold commas: they come last and are not counted.
    let columns = kind.header().split(',').count();
    // The row of `counterexamples.npy` that belongs to the next attacked image.
    let mut row = 0;
    let mut answers = |line: &str, image: usize| {
        let fields: Vec<&str> = line.split(',').collect();
        let whole = |text: &str| text.parse::<u32>().is_ok();
        let none_or = |text: &str, holds: bool| text.is_empty() || holds;
        let number = |text: &str| text.parse::<f64>().is_ok();
        let radius = |text: &str| text.parse().is_ok_and(|radius: f64| (0.0..=1.0).contains(&radius));
        fields.len() >= columns
            && fields[0].parse::<usize>().ok() == Some(image)
            && whole(fields[1])
            && match kind {
                Kind::Verdicts => {
                    let verdict = Verdict::from_name(fields[3]);
                    let expected = (verdict == Some(Verdict::Attacked)).then_some(row);
                    row += usize::from(expected.is_some());
                    whole(fields[2])
                        && verdict.is_some()
                        && none_or(fields[4], Stage::from_name(fields[4]).is_some())
                        && none_or(fields[5], Arithmetic::from_name(fields[5]).is_some())
                        && number(fields[6])
                        && none_or(fields[7], number(fields[7]))
                        && none_or(fields[8], number(fields[8]))
                        && none_or(fields[9], whole(fields[9]))
                        && matches!(fields[10], "0" | "1")
                        && fields[COUNTEREXAMPLE] == expected.map_or_else(String::new, |row| row.to_string())
                }
                Kind::Radii => fields[2..4].iter().all(|field| none_or(field, radius(field))),
            }
    };
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    match lines.iter().enumerate().find(|(place, line)| !answers(line, shard.image(*place))) {
        Some((place, _)) => {
            let image = shard.image(place);
            Err(damaged(path, format!("line {} is not the verdict on image {image}", place + 2)))
        }
        None => Ok(lines),
    }
}

fn damaged(path: &Path, why: String) -> Problem {
    Problem::input("read verdicts", path.display(), why).hint("remove the folder and verify again")
}

/// Whether there is an answer in the file.
fn has_lines(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().count() > 1)
}

/// The error that the folder holds verdicts on another question; it says everything that differs.
pub fn other_question(question: &Path, found: &str, asked: &Value) -> Problem {
    let found: Value = serde_json::from_str(found).unwrap_or_default();
    let keys = |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let gone = keys(&found).into_iter().filter(|key| asked.get(key).is_none());
    let differs = keys(asked).into_iter().chain(gone).filter(|key| found.get(key) != asked.get(key));
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".into(), Value::to_string);
    let differs: Vec<String> = differs
        .map(|key| format!("{key} = {}, now it is {}", shown(found.get(&key)), shown(asked.get(&key))))
        .collect();
    let why = if differs.is_empty() || found.is_null() {
        "the question there cannot be read".into()
    } else {
        format!("the verdicts there were asked with {}", differs.join("; with "))
    };
    Problem::input("write verdicts", question.display(), why).hint("choose another folder, or remove that one")
}

/// Counts the verdicts of lines as [`verdict_line`] writes them.
pub fn summary(lines: &[String]) -> Summary {
    let mut summary = Summary::default();
    lines.iter().for_each(|line| count(&mut summary, line));
    summary
}

/// Counts one more line.
pub fn count(summary: &mut Summary, line: &str) {
    let fields: Vec<&str> = line.split(',').collect();
    let verdict = Verdict::from_name(fields[3]).unwrap_or(Verdict::Error);
    summary.count(verdict, Stage::from_name(fields[4]), fields[10] == "1");
}

/// The certified radius of every line as [`radius_line`] writes them; 0 where there is none.
pub fn certified_radii(lines: &[String]) -> Vec<f64> {
    let certified = |line: &String| line.split(',').nth(2).and_then(|field| field.parse::<f64>().ok());
    lines.iter().map(|line| certified(line).unwrap_or(0.0)).collect()
}
