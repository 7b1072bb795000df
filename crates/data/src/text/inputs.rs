//! Finds the files of text that the user names: a file, a folder, a glob, a text inside the program.
//!
//! A folder is searched to its bottom and sorted by path. [`Note`]s report what is passed over: files of formats that are not
//! read, counted by extension; hidden files that would be read otherwise; and files that lie beside data without being any
//! (`LICENSE.txt`, `dataset_info.json`). To read one of the latter two, the user names the file itself. A file found more than
//! once, through several inputs or links, is read once.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use temper_base::{Problem, Result};

pub(super) const READ: &str = "read documents";

/// Where documents come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file, a folder, or a glob pattern (`corpus/*.jsonl.zst`).
    Path(PathBuf),
    /// A Zstandard-compressed JSONL file in memory, e.g. a text embedded in the program.
    Memory {
        /// What errors call it.
        name: String,
        /// The compressed bytes.
        jsonl_zst: &'static [u8],
    },
}

impl<P: Into<PathBuf>> From<P> for Input {
    fn from(path: P) -> Self {
        Input::Path(path.into())
    }
}

/// Something about the inputs that the user should know, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What was found.
    pub what: String,
    /// What can be done.
    pub hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    JsonLines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// One file to read, its format known by its name.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub name: String,
    pub bytes: Bytes,
    pub size: u64,
    pub format: Format,
    pub compression: Compression,
    /// It was found in a folder, not named itself.
    pub found: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Bytes {
    File(PathBuf),
    Memory(&'static [u8]),
}

/// The formats for a hint.
const FORMATS: &str = ".txt, .jsonl, .ndjson and .json (one object a line), each also with .gz or .zst";
/// Names of files that lie beside data, without their extensions.
const ABOUT: [&str; 14] = [
    "authors",
    "changelog",
    "changes",
    "citation",
    "contributing",
    "copying",
    "copyright",
    "licence",
    "license",
    "notice",
    "readme",
    "requirements",
    "robots",
    "third_party_notices",
];
/// Files of settings and descriptions that data sets and models come with.
const SETTINGS: [&str; 14] = [
    "added_tokens.json",
    "config.json",
    "dataset_dict.json",
    "dataset_info.json",
    "dataset_infos.json",
    "generation_config.json",
    "manifest.json",
    "metadata.json",
    "model.safetensors.index.json",
    "package.json",
    "special_tokens_map.json",
    "state.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

fn formats_of(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.')? {
        (stem, "gz") => (stem, Compression::Gzip),
        (stem, "zst") => (stem, Compression::Zstandard),
        _ => (name.as_str(), Compression::None),
    };
    match stem.rsplit_once('.')?.1 {
        "txt" => Some((Format::Text, compression)),
        "jsonl" | "ndjson" | "json" => Some((Format::JsonLines, compression)),
        _ => None,
    }
}

/// Whether the name is that of a file this module reads.
pub(crate) fn is_text(path: &Path) -> bool {
    formats_of(path).is_some()
}

/// Whether the name is that of a file about data.
fn is_about(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = name.split('.').next().unwrap_or("");
    (name.contains(".txt") && ABOUT.contains(&stem)) || SETTINGS.contains(&name.as_str())
}

/// The extension, both parts of it where the last one says how the file is compressed.
fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let parts: Vec<&str> = name.split('.').skip(1).collect();
    let packed = parts.last().is_some_and(|last| ["gz", "zst", "xz", "bz2", "lz4", "zip"].contains(last));
    let from = parts.len().saturating_sub(if packed { 2 } else { 1 });
    if parts.is_empty() { "(no extension)".into() } else { format!(".{}", parts[from..].join(".")) }
}

/// How to make a file of this name readable.
fn conversion(path: &Path) -> String {
    let name = path.display();
    match extension(path).rsplit('.').next().unwrap_or("") {
        "parquet" => format!(
            "turn it into JSON lines: python3 -c 'import pandas; pandas.read_parquet(\"{name}\").to_json(\"corpus.jsonl\", \
             orient=\"records\", lines=True, force_ascii=False)'"
        ),
        "arrow" => "turn the data set into JSON lines: python3 -c 'import datasets; \
             datasets.load_from_disk(\"FOLDER\").to_json(\"corpus.jsonl\", force_ascii=False)'"
            .into(),
        "csv" | "tsv" => format!(
            "turn it into JSON lines: python3 -c 'import pandas; pandas.read_csv(\"{name}\").to_json(\"corpus.jsonl\", \
             orient=\"records\", lines=True, force_ascii=False)'"
        ),
        "xz" | "bz2" | "lz4" | "zip" => {
            format!(
                "unpack it, or pack it again: xz -dc FILE.xz | zstd > FILE.zst (bzip2 and lz4 likewise); formats are {FORMATS}"
            )
        }
        _ => format!("formats are {FORMATS}"),
    }
}

fn part_of(path: PathBuf, found: bool) -> Result<Part> {
    let Some((format, compression)) = formats_of(&path) else {
        let why = "the name does not end in a format that Temper reads";
        return Err(Problem::input(READ, path.display(), why).hint(conversion(&path)));
    };
    let meta = fs::metadata(&path).map_err(|e| Problem::io(READ, &path, &e))?;
    let (name, size) = (path.display().to_string(), meta.len());
    Ok(Part { name, bytes: Bytes::File(path), size, format, compression, found })
}

/// What lies in a folder.
#[derive(Default)]
struct Folder {
    texts: Vec<PathBuf>,
    about: Vec<PathBuf>,
    /// Hidden, or in a hidden folder, and of a format that is read.
    hidden: Vec<PathBuf>,
    /// Numbers of files that are not read, by extension.
    others: BTreeMap<String, u64>,
}

impl Folder {
    /// Looks to the bottom.
    fn look(&mut self, folder: &Path) -> Result<()> {
        let problem = |e: io::Error| Problem::io(READ, folder, &e);
        for entry in fs::read_dir(folder).map_err(problem)? {
            let entry = entry.map_err(problem)?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                self.look_at_hidden(&path);
                continue;
            }
            // Links to files are followed, links to folders are not: they could lead round in a circle.
            if entry.file_type().map_err(problem)?.is_dir() {
                self.look(&path)?;
            } else if path.is_dir() {
                *self.others.entry("(link to a folder)".into()).or_default() += 1;
            } else if is_about(&path) {
                self.about.push(path);
            } else if is_text(&path) && path.is_file() {
                self.texts.push(path);
            } else {
                *self.others.entry(extension(&path)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Counts what would be read if it were not hidden. A hidden folder that cannot be opened is nobody's corpus.
    fn look_at_hidden(&mut self, path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.look_at_hidden(&entry.path());
            }
        } else if is_text(path) && !is_about(path) && path.is_file() {
            self.hidden.push(path.to_owned());
        }
    }

    fn counted(&self) -> String {
        let others = self.others.iter().map(|(extension, n)| format!("{n} {extension}"));
        let hidden = (!self.hidden.is_empty()).then(|| format!("{} hidden", self.hidden.len()));
        others.chain(hidden).collect::<Vec<_>>().join(", ")
    }

    fn notes(&self, folder: &Path) -> Vec<Note> {
        let mut notes = vec![];
        let others: u64 = self.others.values().sum();
        if others > 0 {
            let files = if others == 1 { "file" } else { "files" };
            let counted: Vec<String> = self.others.iter().map(|(extension, n)| format!("{n} {extension}")).collect();
            let counted = counted.join(", ");
            let what = format!("{}: passed over {others} {files} of other formats: {counted}", folder.display());
            notes.push(Note { what, hint: format!("formats are {FORMATS}") });
        }
        if !self.about.is_empty() {
            let what =
                format!("{}: left out files that are probably not data: {}", folder.display(), listed(&self.about));
            notes.push(Note { what, hint: "name such a file itself if its text belongs to the corpus".into() });
        }
        if !self.hidden.is_empty() {
            let files = if self.hidden.len() == 1 { "file" } else { "files" };
            let what = format!(
                "{}: passed over {} hidden {files}: {}",
                folder.display(),
                self.hidden.len(),
                listed(&self.hidden)
            );
            notes.push(Note { what, hint: "name such a file itself if its text belongs to the corpus".into() });
        }
        notes
    }
}

/// The first names in order, and how many more there are.
fn listed(paths: &[PathBuf]) -> String {
    let mut paths: Vec<&PathBuf> = paths.iter().collect();
    paths.sort();
    let mut names: Vec<String> = paths.iter().take(5).map(|path| path.display().to_string()).collect();
    if paths.len() > names.len() {
        names.push(format!("{} more", paths.len() - names.len()));
    }
    names.join(", ")
}

/// Removes files that already stand further ahead: under the same path, under another one, or through a link.
pub(super) fn read_once(parts: &mut Vec<Part>, notes: &mut Vec<Note>) {
    let mut seen = HashSet::new();
    let mut again = vec![];
    parts.retain(|part| {
        let name = PathBuf::from(&part.name);
        let fresh = seen.insert(match &part.bytes {
            Bytes::File(path) => (true, path.canonicalize().unwrap_or(name.clone())),
            Bytes::Memory(_) => (false, name.clone()),
        });
        if !fresh {
            again.push(name);
        }
        fresh
    });
    if !again.is_empty() {
        again.dedup();
        let files = if again.len() == 1 { "a file that was" } else { "files that were" };
        let what = format!("read once only, {files} found more than once: {}", listed(&again));
        let hint = "to make a text count for more, give it a larger data.train.NAME.weight".into();
        notes.push(Note { what, hint });
    }
}

fn folder(path: &Path, notes: &mut Vec<Note>) -> Result<Vec<Part>> {
    let tokens = |name: &str| path.join(name).is_file();
    if tokens("validation.tokens") && !tokens("train.tokens") {
        let why = "it holds validation.tokens without train.tokens: half of a corpus";
        return Err(Problem::input(READ, path.display(), why)
            .hint("preparing it was stopped here: repeat that to complete it, or name the file itself"));
    }
    let mut inside = Folder::default();
    inside.look(path)?;
    if inside.texts.is_empty() {
        let others = inside.counted();
        let why = match (others.as_str(), inside.about.is_empty()) {
            ("", true) => "the folder holds no file that can be read".into(),
            ("", false) => "the folder holds no file that can be read, only files that describe data".into(),
            (others, _) => format!("the folder holds no file that can be read, but {others}"),
        };
        let parquet = inside.others.keys().any(|extension| [".parquet", ".arrow"].contains(&extension.as_str()));
        let example = path.join(if parquet { "FILE.parquet" } else { "FILE" });
        return Err(Problem::input(READ, path.display(), why).hint(conversion(&example)));
    }
    notes.extend(inside.notes(path));
    inside.texts.sort();
    inside.texts.into_iter().map(|path| part_of(path, true)).collect()
}

/// The files of an input, in order; what is passed over goes to `notes`.
pub(super) fn expand(input: &Input, notes: &mut Vec<Note>) -> Result<Vec<Part>> {
    let path = match input {
        Input::Memory { name, jsonl_zst } => {
            return Ok(vec![Part {
                name: name.clone(),
                bytes: Bytes::Memory(jsonl_zst),
                size: jsonl_zst.len() as u64,
                format: Format::JsonLines,
                compression: Compression::Zstandard,
                found: false,
            }]);
        }
        Input::Path(path) => path,
    };
    if path.is_dir() {
        return folder(path, notes);
    }
    let pattern = path.to_string_lossy();
    if !path.exists() && pattern.contains(['*', '?', '[']) {
        let matches = glob::glob(&pattern).map_err(|e| {
            Problem::input(READ, path.display(), e).hint("in a pattern *, ? and [..] are special; ** crosses folders")
        })?;
        let mut parts = vec![];
        for found in matches {
            let found = found.map_err(|e| Problem::io(READ, e.path(), e.error()))?;
            parts.extend(expand(&Input::Path(found), notes)?); // glob sorts
        }
        if parts.is_empty() {
            return Err(Problem::input(READ, path.display(), "no file matches the pattern"));
        }
        return Ok(parts);
    }
    if !path.exists() {
        return Err(Problem::input(READ, path.display(), "no such file or directory").hint(missing(&pattern)));
    }
    Ok(vec![part_of(path.clone(), false)?])
}

/// What to do about a path that is not there; `owner/name` may be meant as a data set of the Hugging Face hub.
fn missing(path: &str) -> String {
    let word = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['~', '*', ':']);
    match path.split_once('/') {
        Some((owner, name)) if word(owner) && word(name) && !name.contains('/') && !is_text(Path::new(name)) => {
            format!(
                "check the path; names of the Hugging Face hub are not read: python3 -c 'import datasets; \
             datasets.load_dataset(\"{path}\", split=\"train\").to_json(\"corpus.jsonl\", force_ascii=False)' makes a file of one"
            )
        }
        _ => "check the path; quote a pattern so that the shell does not expand it".into(),
    }
}
