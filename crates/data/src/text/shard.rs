//! The token shard `NAME.tokens`: token ids ready to be mapped into memory, and what they stand for.
//!
//! All numbers little-endian.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic `TMPRTOKS` |
//! | 8 | 4 | version = 1 |
//! | 12 | 4 | bytes per token: 2 (ids up to 65535) or 4 |
//! | 16 | 8 | vocabulary size: every id is below |
//! | 24 | 32 | vocabulary fingerprint (sha256) |
//! | 56 | 8 | end-of-document id |
//! | 64 | 8 | T = number of tokens |
//! | 72 | 8 | D = number of documents |
//! | 80 | 8 | UTF-8 bytes of the text as read |
//! | 88 | 8 | characters of the text that the ids do not spell; zero in files of versions that did not count them |
//! | 96 | 32 | sha256 of all bytes from 128 on, then of bytes 0 to 95 |
//! | 128 | T x (2 or 4) | token ids, every document followed by its end-of-document token |
//! | .. | to a multiple of 64 | zeros |
//! | .. | 16 D | for every document: u64 tokens and u64 bytes up to its end, both counted from the file's start |
//!
//! Written to a temporary name, synced and renamed: a shard is whole or absent.

use std::path::{Path, PathBuf};

use temper_base::files::AtomicFile;
use temper_base::hash::{Digest, Sha256, finished, hex};
use temper_base::{Problem, Result};

use super::identity::hash_file;
use super::source::{Vocabulary, bad_id, with_suffix};
use crate::files::{Mapping, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"TMPRTOKS";
const VERSION: u32 = 1;
/// Where the hash is, and where what it covers at the front ends.
const HASH_AT: usize = 96;
/// Where the tokens start.
const HEADER: usize = 128;
const OPEN: &str = "open token shard";

/// What a shard's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardInfo {
    /// The file.
    pub path: PathBuf,
    /// Number of tokens, end-of-document tokens included.
    pub tokens: u64,
    /// Number of documents.
    pub documents: u64,
    /// UTF-8 bytes of the documents' text as read, before any normalisation.
    pub bytes: u64,
    /// Characters of the text that the ids do not spell, since the tokenizer cannot.
    pub lost: u64,
    /// Bytes a token takes: 2 or 4.
    pub token_bytes: u32,
    /// What the ids mean.
    pub vocabulary: Vocabulary,
    /// Sha256 of the content, in hex.
    pub hash: String,
}

impl ShardInfo {
    /// The header but for its hash.
    fn head(&self) -> Result<[u8; HASH_AT]> {
        let mut head = [0; HASH_AT];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&self.token_bytes.to_le_bytes());
        head[16..24].copy_from_slice(&self.vocabulary.size.to_le_bytes());
        head[24..56].copy_from_slice(&unhex(&self.vocabulary.fingerprint, &self.path)?);
        let numbers = [u64::from(self.vocabulary.eod), self.tokens, self.documents, self.bytes, self.lost];
        for (i, n) in numbers.into_iter().enumerate() {
            head[56 + 8 * i..64 + 8 * i].copy_from_slice(&n.to_le_bytes());
        }
        Ok(head)
    }
}

fn unhex(hex: &str, path: &Path) -> Result<[u8; 32]> {
    let digit = |i: usize| hex.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    bytes.and_then(|b| b.try_into().ok()).ok_or_else(|| {
        Problem::input("write token shard", path.display(), format_args!("`{hex}` is not a sha256 in hex"))
    })
}

/// Zeros between tokens and document table.
fn padding(token_end: u64) -> u64 {
    token_end.next_multiple_of(64) - token_end
}

/// Writes a shard document by document; memory does not grow with the corpus.
pub struct ShardWriter {
    file: AtomicFile,
    /// The document table, which ends up behind the tokens: until then a separate file, and never renamed.
    table: AtomicFile,
    hash: Sha256,
    info: ShardInfo,
    buffer: Vec<u8>,
}

impl ShardWriter {
    /// Starts `path`.
    ///
    /// # Errors
    /// If the fingerprint of the vocabulary is no sha256, or the machine cannot make the file.
    pub fn create(path: &Path, vocabulary: &Vocabulary) -> Result<Self> {
        let info = ShardInfo {
            path: path.to_path_buf(),
            tokens: 0,
            documents: 0,
            bytes: 0,
            lost: 0,
            token_bytes: if vocabulary.size <= 1 << 16 { 2 } else { 4 },
            vocabulary: vocabulary.clone(),
            hash: String::new(),
        };
        info.head()?;
        let mut file = AtomicFile::create(path)?;
        file.write(&[0; HEADER])?;
        let table = AtomicFile::create(&with_suffix(path, ".table"))?;
        Ok(Self { file, table, hash: Sha256::new(), info, buffer: vec![] })
    }

    /// Appends a document: its tokens as they are (the caller adds the end-of-document token), and its bytes as read.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the machine cannot write.
    pub fn push(&mut self, tokens: &[u32], bytes: u64) -> Result<()> {
        let size = self.info.vocabulary.size;
        if let Some(i) = tokens.iter().position(|&token| u64::from(token) >= size) {
            return Err(bad_id(&self.info.path, self.info.tokens + i as u64, tokens[i].into(), size));
        }
        for some in tokens.chunks(1 << 20) {
            self.buffer.clear();
            for &token in some {
                self.buffer.extend_from_slice(&token.to_le_bytes()[..self.info.token_bytes as usize]);
            }
            self.hash.update(&self.buffer);
            self.file.write(&self.buffer)?;
        }
        self.info.tokens += tokens.len() as u64;
        self.info.bytes += bytes;
        self.info.documents += 1;
        self.table.write(&self.info.tokens.to_le_bytes())?;
        self.table.write(&self.info.bytes.to_le_bytes())
    }

    /// Notes that this many characters of the text pushed are not in its tokens.
    pub fn add_lost(&mut self, characters: u64) {
        self.info.lost += characters;
    }

    /// What has been written so far (without a hash).
    pub fn info(&self) -> &ShardInfo {
        &self.info
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// If the machine cannot write; what was at `path` before is then still there.
    pub fn finish(self) -> Result<ShardInfo> {
        self.complete()?.finish()
    }

    /// Completes the file under its temporary name.
    ///
    /// # Errors
    /// If the machine cannot write or sync.
    pub fn complete(self) -> Result<CompleteShard> {
        let Self { mut file, mut table, mut hash, mut info, .. } = self;
        let zeros = [0; 64];
        let zeros = &zeros[..padding(info.tokens * u64::from(info.token_bytes)) as usize];
        file.write(zeros)?;
        hash.update(zeros);
        table.reread(|bytes| {
            hash.update(bytes);
            file.write(bytes)
        })?;
        let mut header = [0; HEADER];
        header[..HASH_AT].copy_from_slice(&info.head()?);
        hash.update(&header[..HASH_AT]);
        header[HASH_AT..].copy_from_slice(&hash.finalize());
        info.hash = hex(&header[HASH_AT..]);
        file.write_at_start(&header)?;
        Ok(CompleteShard { file, info })
    }
}

/// A shard that lacks nothing but its name.
pub struct CompleteShard {
    file: AtomicFile,
    info: ShardInfo,
}

impl CompleteShard {
    /// Gives it its name; what was there is replaced.
    ///
    /// # Errors
    /// If the machine cannot rename it; what was there before is then still there.
    pub fn finish(self) -> Result<ShardInfo> {
        self.file.finish()?;
        Ok(self.info)
    }

    /// Gives it its name, unless another file has it by now.
    ///
    /// # Errors
    /// If such a file has appeared, or the machine cannot rename it.
    pub fn finish_new(self) -> Result<ShardInfo> {
        self.file.finish_new()?;
        Ok(self.info)
    }
}

/// A shard, mapped into memory.
pub struct TokenShard {
    map: Mapping,
    info: ShardInfo,
    /// Where the document table starts.
    table_at: usize,
}

impl TokenShard {
    /// Maps a shard and checks its header and size, not its hash: see [`TokenShard::verify`].
    ///
    /// # Errors
    /// If there is no such file, it is no shard, of another version, or shorter than its header says, or the header contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        let map = Mapping::open(OPEN, path).map_err(|p| p.hint("preparing text makes shards"))?;
        let bytes = map.bytes();
        let problem = |why: String| Problem::input(OPEN, path.display(), why);
        let damaged = |why: String| problem(why).hint("the file is incomplete or damaged: copy or make it again");
        if !bytes.starts_with(MAGIC) {
            return Err(problem("not a token shard (the file does not start with TMPRTOKS)".into())
                .hint("preparing text makes shards; a .bin/.idx pair is read by its own name"));
        }
        if bytes.len() < HEADER {
            return Err(damaged(format!("ends inside the header, at byte {}", bytes.len())));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(problem(format!("version {version}; this program reads version {VERSION}"))
                .hint("make the shard again with this version"));
        }
        let token_bytes = u32_at(bytes, 12);
        let eod = u64_at(bytes, 56);
        let size = u64_at(bytes, 16);
        if !matches!(token_bytes, 2 | 4) || size > 1 << (8 * token_bytes) || eod >= size {
            let why = format!("the header says {token_bytes} bytes a token, {size} ids, end-of-document {eod}");
            return Err(damaged(why));
        }
        let info = ShardInfo {
            path: path.to_path_buf(),
            tokens: u64_at(bytes, 64),
            documents: u64_at(bytes, 72),
            bytes: u64_at(bytes, 80),
            lost: u64_at(bytes, 88),
            token_bytes,
            vocabulary: Vocabulary { size, fingerprint: hex(&bytes[24..56]), eod: eod as u32 },
            hash: hex(&bytes[HASH_AT..HEADER]),
        };
        let token_end = info.tokens.checked_mul(token_bytes.into()).filter(|&n| n <= 1 << 62);
        let table_at = token_end.map(|n| HEADER as u64 + n + padding(n));
        let end = table_at.and_then(|at| info.documents.checked_mul(16)?.checked_add(at));
        if end != Some(bytes.len() as u64) {
            let expected = end.map_or("too many".into(), |n| n.to_string());
            let why = format!(
                "{} tokens and {} documents take {expected} bytes, the file has {}",
                info.tokens,
                info.documents,
                bytes.len()
            );
            return Err(damaged(why));
        }
        let table_at = table_at.unwrap_or_default() as usize;
        let shard = Self { map, info, table_at };
        let total = shard.after_documents(shard.info.documents);
        if total != (shard.info.tokens, shard.info.bytes) {
            return Err(damaged("the document table does not end where the tokens end".into()));
        }
        Ok(shard)
    }

    /// The header.
    pub fn info(&self) -> &ShardInfo {
        &self.info
    }

    /// Reads all of the file and compares its hash with the header's.
    ///
    /// # Errors
    /// If the content is not what the header says.
    pub fn verify(&self) -> Result<()> {
        let mut hash = Sha256::new();
        hash_file(&mut hash, &self.info.path, HEADER)?;
        hash.update(&self.map.bytes()[..HASH_AT]);
        let found = finished(hash);
        if found == self.info.hash {
            return Ok(());
        }
        let why = format!("the content's sha256 is {found}, the header says {}", self.info.hash);
        Err(Problem::input("verify token shard", self.info.path.display(), why)
            .hint("the file is damaged: copy or make it again"))
    }

    /// Tokens and bytes of the first `count` documents; `count` is at most the number of documents.
    pub fn after_documents(&self, count: u64) -> (u64, u64) {
        if count == 0 {
            return (0, 0);
        }
        let entry = self.table_at + 16 * (count as usize - 1);
        (u64_at(self.map.bytes(), entry), u64_at(self.map.bytes(), entry + 8))
    }

    /// Reads the tokens `start .. start + out.len()`, which must exist.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the file was cut meanwhile.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        assert!(start + out.len() as u64 <= self.info.tokens, "tokens {start}+{} of {}", out.len(), self.info.tokens);
        self.map.still_whole("read tokens")?;
        let width = self.info.token_bytes as usize;
        let from = HEADER + start as usize * width;
        let bytes = &self.map.bytes()[from..from + out.len() * width];
        if width == 2 {
            for (id, two) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *id = u16::from_le_bytes([two[0], two[1]]).into();
            }
        } else {
            for (id, four) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *id = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
        }
        let size = self.info.vocabulary.size;
        match out.iter().position(|&id| u64::from(id) >= size) {
            Some(i) => Err(bad_id(&self.info.path, start + i as u64, out[i].into(), size)),
            None => Ok(()),
        }
    }
}
