//! Documents out of files: `.txt`, `.jsonl` (also `.json` with one object a line, `.ndjson`), each as it is or
//! compressed by gzip (`.gz`) or Zstandard (`.zst`, with windows up to 2 GiB); folders and globs of them; and bytes in memory.
//!
//! * A `.txt` file is one document. A line of a JSONL file is one document: an object with the text under a key, or inside
//!   objects under a path of keys (`data.text`). JSON is read as Python writes it, `NaN` and `Infinity` included.
//! * The order is that of the inputs; a folder (searched to the bottom) and a glob are sorted by path. A file is read once,
//!   where it comes first. [`Documents::notes`] report what is passed over.
//! * Text is handed on exactly as read: no trimming, no line-end or Unicode normalisation. Its length in bytes is
//!   therefore what bits per byte divides by.
//! * Lines without a text that can be used are left out and counted, or are an error, by option: [`super::bad_lines`].
//! * Text in UTF-16 or UTF-32 is an error that says how to convert it.
//! * A byte order mark of UTF-8 at the start of a JSON line is ignored: files that were joined have it in the middle.
//! * Empty documents and blank lines of JSONL files are left out; the former are counted.
//! * A line, and a document, is at most [`LONGEST`] bytes long: what a compressed file unpacks to has no other bound.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use temper_base::{Problem, Result};

use super::bad_lines::{AT_ONCE, BadLines, Fault, Skipped, Tally};
use super::inputs::{Bytes, Format, Part, expand, read_once};
use super::json_line::{self, Line};
use super::lines::Lines;

pub(crate) use super::inputs::is_text;
pub use super::inputs::{Input, Note};

/// The most bytes of a line or of a document: 1 GiB.
pub const LONGEST: usize = 1 << 30;

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The key of a JSONL object that holds the text; `data.text` is the key `text` inside `data`, unless there is a key
    /// `data.text`.
    pub text_key: String,
    /// What to do with a line that holds no text that can be used.
    pub bad_lines: BadLines,
    /// The most bytes of a line or of a document.
    pub longest: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { text_key: "text".into(), bad_lines: BadLines::Skip, longest: LONGEST }
    }
}

/// One document. Its size in bytes as read is `text.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text as read.
    pub text: String,
}

/// How far reading has come; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct ReadCount {
    /// Bytes of the input files read, compressed as they are.
    pub input: AtomicU64,
    /// Documents left out because they were empty.
    pub empty_documents: AtomicU64,
    bad: Mutex<Tally>,
}

impl ReadCount {
    /// The lines left out so far, by what is wrong with them.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.bad.lock().expect("no panic").all()
    }
}

/// Iterator over the documents of some inputs, in order. Ends after the first error.
pub struct Documents {
    parts: std::vec::IntoIter<Part>,
    current: Option<Reader>,
    options: ReadOptions,
    count: Arc<ReadCount>,
    notes: Vec<Note>,
    total: u64,
    failed: bool,
}

impl Documents {
    /// Finds the files (a missing one is an error now, a damaged one when it is read).
    ///
    /// # Errors
    /// If a file or folder is missing, a pattern matches nothing, or what a folder holds is not text that Temper reads.
    pub fn open(inputs: &[Input], options: &ReadOptions) -> Result<Self> {
        let (mut parts, mut notes) = (vec![], vec![]);
        for input in inputs {
            parts.extend(expand(input, &mut notes)?);
        }
        read_once(&mut parts, &mut notes);
        let total = parts.iter().map(|p| p.size).sum();
        let parts = parts.into_iter();
        Ok(Self { parts, current: None, options: options.clone(), count: Arc::default(), notes, total, failed: false })
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

    /// What was passed over, and what was found more than once.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The counters, which grow while documents are read.
    pub fn counts(&self) -> Arc<ReadCount> {
        self.count.clone()
    }

    fn advance(&mut self) -> Result<Option<Document>> {
        loop {
            if self.current.is_none() {
                let Some(part) = self.parts.next() else { return Ok(None) };
                self.current = Some(Reader::open(part, &self.options, self.count.clone())?);
            }
            let reader = self.current.as_mut().expect("just opened");
            match reader.next_document()? {
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

/// The documents of one file.
struct Reader {
    lines: Lines,
    options: ReadOptions,
    count: Arc<ReadCount>,
    /// Lines that are not blank, and the bad ones of them.
    seen: u64,
    bad: u64,
    first: Option<FirstBad>,
}

/// The first bad line of a file, in case the file turns out to be no corpus.
struct FirstBad {
    problem: Problem,
    fault: Fault,
    /// The keys of the first bad lines.
    keys: Vec<String>,
}

/// How many bad lines are searched for keys, and how many keys an error shows.
const KEYS: (u64, usize) = (100, 12);

impl Reader {
    fn open(part: Part, options: &ReadOptions, count: Arc<ReadCount>) -> Result<Self> {
        let lines = Lines::open(part, options.longest, &count)?;
        Ok(Self { lines, options: options.clone(), count, seen: 0, bad: 0, first: None })
    }

    fn next_document(&mut self) -> Result<Option<String>> {
        match self.lines.part().format {
            Format::Text if self.lines.number() > 0 => Ok(None),
            Format::Text => self.whole().map(Some),
            Format::JsonLines => self.next_line(),
        }
    }

    /// The text of the whole file.
    fn whole(&mut self) -> Result<String> {
        let mut text = String::new();
        while let Some(line) = self.lines.next()? {
            self.seen += 1;
            match str::from_utf8(line) {
                Ok(line) if text.len() + line.len() > self.options.longest => {
                    return Err(self.lines.too_long("a text"));
                }
                Ok(line) => text.push_str(line),
                Err(e) => {
                    let at = e.valid_up_to();
                    self.skip(Fault::NotUtf8, format!("not UTF-8 after byte {at} of the line"), &[])?;
                }
            }
        }
        self.check_share(true)?;
        Ok(text)
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let Some(line) = self.lines.next()? else {
                self.check_share(true)?;
                return Ok(None);
            };
            let found = match str::from_utf8(line) {
                Ok(line) => {
                    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
                    if line.trim().is_empty() {
                        continue;
                    }
                    Ok(json_line::text_under(line, &self.options.text_key))
                }
                Err(e) => Err(e.valid_up_to()),
            };
            self.seen += 1;
            match found {
                Ok(Line::Text(text)) => return Ok(Some(text)),
                Ok(Line::Bad(fault, keys)) => self.skip(fault, self.why(fault), &keys)?,
                Ok(Line::NoObject(kind)) => return Err(self.no_object(kind)),
                Ok(Line::NoJson(why)) => return Err(self.no_json(&why)),
                Err(at) => self.skip(Fault::NotUtf8, format!("not UTF-8 after byte {at} of the line"), &[])?,
            }
            self.check_share(false)?;
        }
    }

    fn why(&self, fault: Fault) -> String {
        let key = &self.options.text_key;
        match fault {
            Fault::NoKey => format!("the document has no key `{key}`"),
            Fault::LoneSurrogate => {
                format!("the text under `{key}` holds half of a surrogate pair, which is no character")
            }
            Fault::Null => format!("expected an object with a string under `{key}`: it is null"),
            _ => format!("expected an object with a string under `{key}`, not another value"),
        }
    }

    /// Leaves out the line that was just read, or fails.
    fn skip(&mut self, fault: Fault, why: String, keys: &[String]) -> Result<()> {
        if self.options.bad_lines == BadLines::Error {
            return Err(self.lines.problem(why).hint(fault.remedy(keys) + "; or let such lines be skipped"));
        }
        let lines = &self.lines;
        let first = self.first.get_or_insert_with(|| FirstBad { problem: lines.problem(why), fault, keys: vec![] });
        if self.bad < KEYS.0 {
            let fresh: Vec<&String> = keys.iter().filter(|key| !first.keys.contains(key)).collect();
            first.keys.extend(fresh.into_iter().cloned());
            first.keys.truncate(KEYS.1);
        }
        self.bad += 1;
        self.count.bad.lock().expect("no panic").add(fault, || lines.place());
        Ok(())
    }

    /// Fails if the bad lines are too many for a corpus.
    fn check_share(&mut self, at_end: bool) -> Result<()> {
        let too_many =
            if at_end { 2 * self.bad >= self.seen.max(1) } else { self.bad == AT_ONCE && self.seen == AT_ONCE };
        let Some(FirstBad { mut problem, fault, keys }) = self.first.take_if(|_| too_many) else { return Ok(()) };
        if self.seen > 1 {
            let all = if at_end { "lines of the file" } else { "first lines" };
            problem.why += &format!("; {} of the {} {all} have no text that can be used", self.bad, self.seen);
        }
        Err(problem.hint(fault.remedy(&keys)))
    }

    fn no_object(&self, kind: &str) -> Problem {
        let why = format!("expected one object a line, with a string under `{}`; found {kind}", self.options.text_key);
        self.lines.problem(why).hint(self.one_a_line())
    }

    fn no_json(&self, why: &str) -> Problem {
        self.lines.problem(format_args!("not JSON: {why}")).hint(self.one_a_line())
    }

    /// What to do about a file that does not hold one object a line.
    fn one_a_line(&self) -> String {
        let part = self.lines.part();
        let name = Path::new(&part.name);
        let json = name.to_string_lossy().to_lowercase().contains(".json") && self.seen <= 1;
        let single = !part.name.to_lowercase().contains(".jsonl");
        if part.found && json && single {
            let folder = name.parent().unwrap_or(Path::new("."));
            return format!(
                "the file is probably not data: leave it out by naming a pattern such as \"{}/*.jsonl\" instead of the folder; or, \
                 if it is, make it one object a line: jq -c '.[]' {} > corpus.jsonl",
                folder.display(),
                name.display()
            );
        }
        if json {
            return format!(
                "one object a line is expected; a JSON array becomes that by jq -c '.[]' {} > corpus.jsonl",
                part.name
            );
        }
        "every line of a JSONL file is one object".into()
    }
}
