//! The `.bin` and `.idx` pair of GPT-NeoX and Megatron-LM (`MMapIndexedDataset`), read and written.
//!
//! `.bin` holds the bare token ids. `.idx`, little-endian, without padding, so that its arrays are unaligned:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 9 | `MMIDIDX\0\0` |
//! | 9 | 8 | u64 version = 1 |
//! | 17 | 1 | u8 code of the ids' type |
//! | 18 | 8 | u64 n = number of sequences |
//! | 26 | 8 | u64 m = documents + 1 |
//! | 34 | 4n | i32 tokens of each sequence |
//! | .. | 8n | i64 byte offset of each sequence in `.bin` |
//! | .. | 8m | i64 sequence at which each document starts; the last is n |
//! | .. | n | i8 modes, in Megatron's multimodal sets only; not used |
//!
//! Codes: 1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16. Codes 6 and 7 are f32 and f64 in GPT-NeoX, f64 and f32 in Megatron;
//! neither holds token ids and both are refused.
//!
//! The sequences must lie in `.bin` one after another without holes (every tool writes them so): the stream is `.bin`
//! from front to back. If the document index ends before the last sequence (tools that join files leave it so), every sequence is a
//! document, and [`Megatron::note`] says so. Whether documents end with an end-of-document token depends on the tool that wrote it
//! (`--append-eod`). The format says neither the vocabulary nor the bytes of text.

use std::path::{Path, PathBuf};

use temper_base::files::AtomicFile;
use temper_base::hash::{Digest, Sha256, finished};
use temper_base::{Problem, Result};

use super::documents::Note;
use super::identity::hash_file;
use super::source::{bad_id, with_suffix};
use crate::files::{Mapping, u64_at};

const OPEN: &str = "open Megatron data";
const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const OLD_MAGIC: &[u8; 8] = b"TNTIDX\0\0";
const HEADER: usize = 34;

/// The type of the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    U8,
    I8,
    I16,
    I32,
    I64,
    U16,
}

impl Dtype {
    fn size(self) -> u64 {
        match self {
            Dtype::U8 | Dtype::I8 => 1,
            Dtype::I16 | Dtype::U16 => 2,
            Dtype::I32 => 4,
            Dtype::I64 => 8,
        }
    }

    /// The id in the first bytes; the caller has checked that they are there.
    fn get(self, b: &[u8]) -> i64 {
        match self {
            Dtype::U8 => b[0].into(),
            Dtype::I8 => (b[0] as i8).into(),
            Dtype::I16 => i16::from_le_bytes([b[0], b[1]]).into(),
            Dtype::U16 => u16::from_le_bytes([b[0], b[1]]).into(),
            Dtype::I32 => i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into(),
            Dtype::I64 => u64_at(b, 0) as i64,
        }
    }
}

/// A `.bin` and `.idx` pair, mapped into memory.
pub struct Megatron {
    bin: Mapping,
    idx: Mapping,
    bin_path: PathBuf,
    dtype: Dtype,
    tokens: u64,
    documents: u64,
    /// Where the byte offsets start in `idx`, and where the documents start: `None` if every sequence is one.
    pointers_at: usize,
    documents_at: Option<usize>,
    note: Option<Note>,
    sequences: u64,
    /// An id at or above it is an error.
    limit: u64,
}

/// `NAME.bin` and `NAME.idx` of either of them or of `NAME`.
fn both(path: &Path) -> (PathBuf, PathBuf) {
    match path.extension().and_then(|e| e.to_str()) {
        Some("bin" | "idx") => (path.with_extension("bin"), path.with_extension("idx")),
        _ => (with_suffix(path, ".bin"), with_suffix(path, ".idx")),
    }
}

impl Megatron {
    /// Opens a pair and checks all of its index against the size of its data.
    ///
    /// # Errors
    /// If one of the two is missing, the index is damaged or of a format or data type that Temper does not read, or the data is shorter
    /// than the index says.
    pub fn open(path: &Path) -> Result<Self> {
        let (bin_path, idx_path) = both(path);
        let idx = Mapping::open(OPEN, &idx_path)?;
        let bin = Mapping::open(OPEN, &bin_path)?;
        let bytes = idx.bytes();
        let problem = |why: String| Problem::input(OPEN, idx_path.display(), why);
        let damaged = |why: String| {
            problem(why).hint(
            "the index is damaged or does not belong to its .bin: copy both again, or make them again with preprocess_data.py",
        )
        };
        if bytes.starts_with(OLD_MAGIC) {
            return Err(problem("the old format (magic TNTIDX), which is not memory-mapped".into()).hint(
                "convert it with the tool that made it (`--dataset-impl mmap` in Megatron's preprocess_data.py)",
            ));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(problem("not a Megatron index (the file does not start with MMIDIDX)".into()));
        }
        if bytes.len() < HEADER {
            return Err(damaged(format!("ends inside the header, at byte {}", bytes.len())));
        }
        let version = u64_at(bytes, 9);
        if version != 1 {
            return Err(problem(format!("version {version}; only version 1 is known")));
        }
        let (sequences, entries) = (u64_at(bytes, 18), u64_at(bytes, 26));
        let expected = index_bytes(sequences, entries).filter(|&n| n <= bytes.len() as u64);
        let Some(expected) = expected else {
            let why = format!(
                "truncated: {sequences} sequences and {entries} document entries do not fit in {} bytes",
                bytes.len()
            );
            return Err(damaged(why));
        };
        let surplus = bytes.len() as u64 - expected;
        if surplus != 0 && surplus != sequences {
            return Err(damaged(format!("{surplus} bytes more than its header accounts for")));
        }
        let pointers_at = HEADER + 4 * sequences as usize;
        let documents_at = pointers_at + 8 * sequences as usize;
        let size = |i: u64| i32::from_le_bytes(bytes[HEADER + 4 * i as usize..][..4].try_into().expect("in the file"));
        let code = bytes[17];
        let dtype = match code {
            1 => Dtype::U8,
            2 => Dtype::I8,
            3 => Dtype::I16,
            4 => Dtype::I32,
            5 => Dtype::I64,
            8 => Dtype::U16,
            6 | 7 => {
                // The number of bytes per value shows which of the two it is.
                let first = (0..sequences).map(size).take_while(|&n| n >= 0).fold(0u64, |sum, n| sum + n as u64);
                let width = if sequences > 1 && size(0) > 0 {
                    u64_at(bytes, pointers_at + 8) / size(0) as u64
                } else {
                    (bin.bytes().len() as u64).checked_div(first).unwrap_or(0)
                };
                let (neox, megatron) = if code == 6 { ("f32", "f64") } else { ("f64", "f32") };
                let name = match (width, code) {
                    (4, 6) | (8, 7) => format!("{neox} values (code {code} as GPT-NeoX writes it)"),
                    (8, 6) | (4, 7) => format!("{megatron} values (code {code} as Megatron-LM writes it)"),
                    _ => format!("floating-point values (code {code}: {neox} in GPT-NeoX, {megatron} in Megatron-LM)"),
                };
                return Err(problem(format!("holds {name}, not token ids")).hint("only integer data holds text"));
            }
            _ => return Err(damaged(format!("unknown type code {code}"))),
        };
        let mut end = 0u64;
        for i in 0..sequences {
            let pointer = u64_at(bytes, pointers_at + 8 * i as usize);
            if pointer != end || size(i) < 0 {
                let why = format!(
                    "bad pointer: sequence {i} ({} tokens) should start at byte {end} of the data, but its pointer says {pointer}",
                    size(i)
                );
                return Err(damaged(why));
            }
            end += size(i) as u64 * dtype.size();
        }
        if end != bin.bytes().len() as u64 {
            let why = format!("holds {} bytes, its index accounts for {end}", bin.bytes().len());
            return Err(Problem::input(OPEN, bin_path.display(), why)
                .hint("the data is truncated, or not the one of this index: copy both again"));
        }
        let mut last = 0;
        for i in 0..entries {
            let start = u64_at(bytes, documents_at + 8 * i as usize);
            if start < last || start > sequences || (i == 0 && start != 0) {
                let why = format!("bad pointer: document {i} starts at sequence {start} of {sequences}");
                return Err(damaged(why));
            }
            last = start;
        }
        if entries == 0 {
            return Err(damaged("no document entries, not even the closing one".into()));
        }
        // Tools that join files copy the lengths and the data, and some leave the documents behind.
        let note = (last != sequences).then(|| Note {
            what: format!(
                "its document index covers {last} of {sequences} sequences, as some tools leave it that join files: every \
                 sequence is taken as a document"
            ),
            hint: "if documents have several sequences, join the files again with a tool that copies the document index \
                (merge_datasets.py of Megatron-LM does)"
                .into(),
        });
        let tokens = end / dtype.size();
        let limit = u64::from(u32::MAX) + 1;
        Ok(Self {
            bin,
            idx,
            bin_path,
            dtype,
            tokens,
            documents: if note.is_some() { sequences } else { entries - 1 },
            pointers_at,
            documents_at: note.is_none().then_some(documents_at),
            note,
            sequences,
            limit,
        })
    }

    /// The `.bin` file.
    pub fn path(&self) -> &Path {
        &self.bin_path
    }

    /// What the user should know about the pair.
    pub fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// Sha256, in hex, of the index and then of the data: reads all of both.
    ///
    /// # Errors
    /// If one of the two cannot be read.
    pub fn content_hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash_file(&mut hash, &self.bin_path.with_extension("idx"), 0)?;
        hash_file(&mut hash, &self.bin_path, 0)?;
        Ok(finished(hash))
    }

    /// Number of tokens.
    pub fn len(&self) -> u64 {
        self.tokens
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Number of documents.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Tokens of the first `count` documents; `count` is at most the number of documents.
    pub fn after_documents(&self, count: u64) -> u64 {
        let sequence = self.documents_at.map_or(count, |at| u64_at(self.idx.bytes(), at + 8 * count as usize));
        if sequence == self.sequences {
            return self.tokens;
        }
        u64_at(self.idx.bytes(), self.pointers_at + 8 * sequence as usize) / self.dtype.size()
    }

    /// From now on an id that is not below `size` is an error where it is read.
    pub fn limit_ids(&mut self, size: u64) {
        self.limit = size;
    }

    /// Reads the tokens `start .. start + out.len()`, which must exist.
    ///
    /// # Errors
    /// If an id is negative or not below the limit, or the data was cut meanwhile.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        assert!(start + out.len() as u64 <= self.tokens, "tokens {start}+{} of {}", out.len(), self.tokens);
        self.bin.still_whole("read tokens")?;
        let size = self.dtype.size() as usize;
        let bytes = &self.bin.bytes()[start as usize * size..][..out.len() * size];
        for (i, (id, bytes)) in out.iter_mut().zip(bytes.chunks_exact(size)).enumerate() {
            let value = self.dtype.get(bytes);
            if value < 0 || value as u64 >= self.limit {
                return Err(bad_id(&self.bin_path, start + i as u64, value, self.limit));
            }
            *id = value as u32;
        }
        Ok(())
    }
}

/// Bytes of an index without modes; `None` if that is no number.
fn index_bytes(sequences: u64, entries: u64) -> Option<u64> {
    sequences.checked_mul(12)?.checked_add(entries.checked_mul(8)?)?.checked_add(HEADER as u64)
}

/// Writes a pair, one sequence a document, as GPT-NeoX's `preprocess_data.py` does: u16 ids for vocabularies below
/// 65500, else i32.
pub struct MegatronWriter {
    bin: AtomicFile,
    idx_path: PathBuf,
    dtype: Dtype,
    sizes: Vec<i32>,
    buffer: Vec<u8>,
}

impl MegatronWriter {
    /// Starts `PREFIX.bin` and `PREFIX.idx`.
    ///
    /// # Errors
    /// If the machine cannot make `PREFIX.bin`.
    pub fn create(prefix: &Path, vocab_size: u64) -> Result<Self> {
        let (bin, idx_path) = both(prefix);
        let dtype = if vocab_size < 65500 { Dtype::U16 } else { Dtype::I32 };
        Ok(Self { bin: AtomicFile::create(&bin)?, idx_path, dtype, sizes: vec![], buffer: vec![] })
    }

    /// Appends a document, its end-of-document token included.
    ///
    /// # Errors
    /// If the document has more tokens than the index can count, or the machine cannot write.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        self.buffer.clear();
        for token in tokens {
            self.buffer.extend_from_slice(&token.to_le_bytes()[..self.dtype.size() as usize]);
        }
        let size = tokens.len().try_into().map_err(|_| {
            Problem::input("write Megatron data", self.idx_path.display(), "a document of more than 2147483647 tokens")
        })?;
        self.sizes.push(size);
        self.bin.write(&self.buffer)
    }

    /// Completes both files.
    ///
    /// # Errors
    /// If the machine cannot write; a file that was not completed does not appear.
    pub fn finish(self) -> Result<()> {
        self.bin.finish()?;
        let mut idx = AtomicFile::create(&self.idx_path)?;
        let n = self.sizes.len() as u64;
        idx.write(MAGIC)?;
        idx.write(&1u64.to_le_bytes())?;
        idx.write(&[if self.dtype == Dtype::U16 { 8 } else { 4 }])?;
        idx.write(&n.to_le_bytes())?;
        idx.write(&(n + 1).to_le_bytes())?;
        for size in &self.sizes {
            idx.write(&size.to_le_bytes())?;
        }
        let mut pointer = 0;
        for &size in &self.sizes {
            idx.write(&u64::to_le_bytes(pointer))?;
            pointer += size as u64 * self.dtype.size();
        }
        for document in 0..=n {
            idx.write(&document.to_le_bytes())?;
        }
        idx.finish()
    }
}
