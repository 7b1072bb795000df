//! Documents out of files: `.txt`, `.jsonl` (also `.json` with one object a line, `.ndjson`), each as it is or
//! compressed by gzip (`.gz`) or Zstandard (`.zst`); folders and globs of them; and bytes in memory.
//!
//! * A `.txt` file is one document. A line of a JSONL file is one document: an object with the text under a key.
//! * The order is that of the inputs; a folder (searched to the bottom) and a glob are sorted by path.
//! * Text is handed on exactly as read: no trimming, no line-end or Unicode normalisation. Its length in bytes is
//!   therefore what bits per byte divides by.
//! * Bytes that are not UTF-8 spoil the line they are in: it is left out and counted, or it is an error, by option.
//! * Empty documents and blank lines of JSONL files are left out; the former are counted.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use temper_record::{Problem, Result};

const READ: &str = "read documents";

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

/// What to do with a line that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidUtf8 {
    /// Leave the line out and count it.
    #[default]
    Skip,
    /// Stop with an error that names file and line.
    Error,
}

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The key of a JSONL object that holds the text.
    pub text_key: String,
    /// What to do with a line that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { text_key: "text".into(), invalid_utf8: InvalidUtf8::Skip }
    }
}

/// One document. Its size in bytes as read is `text.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text as read.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    JsonLines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// One file to read, its format known by its name.
#[derive(Debug, Clone)]
struct Part {
    name: String,
    bytes: Bytes,
    size: u64,
    format: Format,
    compression: Compression,
}

#[derive(Debug, Clone)]
enum Bytes {
    File(PathBuf),
    Memory(&'static [u8]),
}

/// The formats for a hint.
const FORMATS: &str = ".txt, .jsonl, .ndjson and .json (one object a line), each also with .gz or .zst";

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

fn part_of(path: PathBuf) -> Result<Part> {
    let Some((format, compression)) = formats_of(&path) else {
        let why = "the name does not say a format that can be read";
        return Err(Problem::input(READ, path.display(), why).hint(format!("formats are {FORMATS}")));
    };
    let meta = fs::metadata(&path).map_err(|e| Problem::io(READ, &path, &e))?;
    Ok(Part { name: path.display().to_string(), bytes: Bytes::File(path), size: meta.len(), format, compression })
}

/// Adds the readable files of a folder, to the bottom, hidden ones left out; sorted at the end by the caller.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let problem = |e: io::Error| Problem::io(READ, folder, &e);
    for entry in fs::read_dir(folder).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Links to files are followed, links to folders are not: they could lead round in a circle.
        if entry.file_type().map_err(problem)?.is_dir() {
            walk(&path, found)?;
        } else if formats_of(&path).is_some() && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn expand(input: &Input) -> Result<Vec<Part>> {
    let path = match input {
        Input::Memory { name, jsonl_zst } => {
            return Ok(vec![Part {
                name: name.clone(),
                bytes: Bytes::Memory(jsonl_zst),
                size: jsonl_zst.len() as u64,
                format: Format::JsonLines,
                compression: Compression::Zstandard,
            }]);
        }
        Input::Path(path) => path,
    };
    if path.is_dir() {
        let mut found = vec![];
        walk(path, &mut found)?;
        if found.is_empty() {
            let why = "the folder holds no file that can be read";
            return Err(Problem::input(READ, path.display(), why).hint(format!("formats are {FORMATS}")));
        }
        found.sort();
        return found.into_iter().map(part_of).collect();
    }
    let pattern = path.to_string_lossy();
    if !path.exists() && pattern.contains(['*', '?', '[']) {
        let matches = glob::glob(&pattern).map_err(|e| {
            Problem::input(READ, path.display(), e).hint("in a pattern *, ? and [..] are special; ** crosses folders")
        })?;
        let mut parts = vec![];
        for found in matches {
            let found = found.map_err(|e| Problem::io(READ, e.path(), e.error()))?;
            parts.extend(expand(&Input::Path(found))?); // glob sorts
        }
        if parts.is_empty() {
            return Err(Problem::input(READ, path.display(), "no file matches the pattern"));
        }
        return Ok(parts);
    }
    if !path.exists() {
        return Err(Problem::input(READ, path.display(), "no such file or directory")
            .hint("check the path; quote a pattern so that the shell leaves it alone"));
    }
    Ok(vec![part_of(path.clone())?])
}

/// How far reading has come; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct ReadCount {
    /// Bytes of the input files read, compressed as they are.
    pub input: AtomicU64,
    /// Lines left out because they were not UTF-8.
    pub skipped_lines: AtomicU64,
    /// Documents left out because they were empty.
    pub empty_documents: AtomicU64,
}

/// Iterator over the documents of some inputs, in order. Ends after the first error.
pub struct Documents {
    parts: std::vec::IntoIter<Part>,
    current: Option<Reader>,
    options: ReadOptions,
    count: Arc<ReadCount>,
    total: u64,
    failed: bool,
}

impl Documents {
    /// Finds the files (a missing one is an error now, a damaged one when it is read).
    pub fn open(inputs: &[Input], options: &ReadOptions) -> Result<Self> {
        let mut parts = vec![];
        for input in inputs {
            parts.extend(expand(input)?);
        }
        let total = parts.iter().map(|p| p.size).sum();
        let parts = parts.into_iter();
        Ok(Self { parts, current: None, options: options.clone(), count: Arc::default(), total, failed: false })
    }

    /// Bytes of all input files, compressed as they are.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// The files still to be read, in order; texts in memory are left out.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.as_slice().iter().filter_map(|part| match &part.bytes {
            Bytes::File(path) => Some(path.as_path()),
            Bytes::Memory(_) => None,
        })
    }

    /// The counters, which go on while documents are read.
    pub fn counts(&self) -> Arc<ReadCount> {
        self.count.clone()
    }

    fn advance(&mut self) -> Result<Option<Document>> {
        loop {
            if self.current.is_none() {
                let Some(part) = self.parts.next() else { return Ok(None) };
                self.current = Some(Reader::open(part, self.count.clone())?);
            }
            let reader = self.current.as_mut().expect("just opened");
            match reader.next_document(&self.options)? {
                Some(text) if text.is_empty() => drop(self.count.empty_documents.fetch_add(1, Relaxed)),
                Some(text) => return Ok(Some(Document { text })),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Counts the compressed bytes as they are read.
struct Counted<R> {
    inner: R,
    count: Arc<ReadCount>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.input.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

struct Reader {
    part: Part,
    lines: Box<dyn BufRead + Send>,
    line: u64,
    buffer: Vec<u8>,
    count: Arc<ReadCount>,
}

impl Reader {
    fn open(part: Part, count: Arc<ReadCount>) -> Result<Self> {
        let raw: Box<dyn Read + Send> = match &part.bytes {
            Bytes::File(path) => Box::new(File::open(path).map_err(|e| Problem::io(READ, path, &e))?),
            Bytes::Memory(bytes) => Box::new(*bytes),
        };
        let raw = BufReader::with_capacity(1 << 17, Counted { inner: raw, count: count.clone() });
        let lines: Box<dyn BufRead + Send> = match part.compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => Box::new(BufReader::with_capacity(1 << 17, flate2::bufread::MultiGzDecoder::new(raw))),
            Compression::Zstandard => {
                let decoder = zstd::stream::read::Decoder::with_buffer(raw);
                let decoder = decoder.map_err(|e| damage(&part, &e))?;
                Box::new(BufReader::with_capacity(1 << 17, decoder))
            }
        };
        Ok(Self { part, lines, line: 0, buffer: vec![], count })
    }

    /// Reads one line with its line end; false at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.buffer.clear();
        self.line += 1;
        let n = self.lines.read_until(b'\n', &mut self.buffer).map_err(|e| damage(&self.part, &e))?;
        Ok(n > 0)
    }

    /// The line as text; `None` if it is not UTF-8 and is to be left out.
    fn line_text(&self, options: &ReadOptions) -> Result<Option<&str>> {
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some(text)),
            Err(_) if options.invalid_utf8 == InvalidUtf8::Skip => {
                self.count.skipped_lines.fetch_add(1, Relaxed);
                Ok(None)
            }
            Err(e) => {
                let why = format!("not UTF-8 after byte {} of the line", e.valid_up_to());
                Err(self.problem(why).hint("convert the file (iconv -t UTF-8), or let such lines be skipped"))
            }
        }
    }

    fn problem(&self, why: impl std::fmt::Display) -> Problem {
        Problem::input(READ, format_args!("{}:{}", self.part.name, self.line), why)
    }

    fn next_document(&mut self, options: &ReadOptions) -> Result<Option<String>> {
        match self.part.format {
            Format::Text if self.line > 0 => Ok(None),
            Format::Text => {
                let mut text = String::new();
                while self.read_line()? {
                    text.push_str(self.line_text(options)?.unwrap_or(""));
                }
                Ok(Some(text))
            }
            Format::JsonLines => {
                while self.read_line()? {
                    let Some(line) = self.line_text(options)? else { continue };
                    let line = line.strip_prefix('\u{feff}').filter(|_| self.line == 1).unwrap_or(line);
                    if !line.trim().is_empty() {
                        return self.parse(line, &options.text_key).map(Some);
                    }
                }
                Ok(None)
            }
        }
    }

    fn parse(&self, line: &str, key: &str) -> Result<String> {
        let mut json = serde_json::Deserializer::from_str(line);
        let found = TextUnder(key).deserialize(&mut json).and_then(|text| json.end().map(|()| text));
        match found {
            Ok(Some(text)) => Ok(text),
            Ok(None) => {
                let keys = match serde_json::from_str(line) {
                    Ok(serde_json::Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>().join(", "),
                    _ => String::new(),
                };
                let hint = match keys.as_str() {
                    "" => "the object is empty".to_string(),
                    keys => format!("keys here are: {keys}; name the one with the text (text key)"),
                };
                Err(self.problem(format_args!("the document has no key `{key}`")).hint(hint))
            }
            Err(e) if e.is_data() => {
                let why = format!("expected an object with a string under `{key}`: {e}");
                Err(self.problem(why).hint("every line of a JSONL file is one document"))
            }
            Err(e) => Err(self.problem(format_args!("not JSON: {e}")).hint("every line of a JSONL file is one object")),
        }
    }
}

/// A read error of a file that may be compressed: what the decoder complains about is the file, the rest the machine.
fn damage(part: &Part, e: &io::Error) -> Problem {
    if part.compression == Compression::None || e.raw_os_error().is_some() {
        return Problem::io(READ, &part.name, e);
    }
    let why = match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("the compressed data ends early ({e})"),
        _ => format!("the compressed data is damaged ({e})"),
    };
    Problem::input(READ, &part.name, why).hint("the file is truncated or corrupt: fetch or compress it again")
}

/// Picks one string out of an object without building the rest.
struct TextUnder<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for TextUnder<'_> {
    type Value = Option<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextUnder<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<str>>()? {
            if key == self.0 {
                found = Some(map.next_value::<String>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether the name is that of a file this module reads.
pub(crate) fn is_text(path: &Path) -> bool {
    formats_of(path).is_some()
}
