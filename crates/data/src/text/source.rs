//! One face for every stream of token ids on disk: [`TokenShard`] (our `.tokens`) and [`Megatron`] (`.bin` and `.idx`).

use std::path::{Path, PathBuf};

use temper_base::{Problem, Result};

use super::documents::Note;
use super::megatron::Megatron;
use super::shard::TokenShard;

/// What the ids mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Number of ids: every id is below.
    pub size: u64,
    /// Sha256, in hex, of all that decides the ids of a text; see [`super::tokenizer::Tokenizer::fingerprint`].
    pub fingerprint: String,
    /// The token that ends a document.
    pub eod: u32,
}

/// A stream of token ids: documents one after another.
pub enum TokenSource {
    /// A `.tokens` file.
    Shard(TokenShard),
    /// A `.bin` and `.idx` pair.
    Megatron(Megatron),
}

impl TokenSource {
    /// Opens `NAME.tokens`, or `NAME.bin` / `NAME.idx` by either name or by `NAME` alone.
    ///
    /// # Errors
    /// If there is no such file, it is a folder or text, or damaged: as [`TokenShard::open`] and [`Megatron::open`] say.
    pub fn open(path: &Path) -> Result<Self> {
        let what = "open token stream";
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if matches!(extension, "bin" | "idx") {
            return Megatron::open(path).map(Self::Megatron);
        }
        if path.is_dir() {
            let hint = if path.join("train.tokens").exists() {
                format!("name one of the files in it, e.g. {}", path.join("train.tokens").display())
            } else {
                "a .tokens file or a .bin/.idx pair is expected".to_string()
            };
            return Err(Problem::input(what, path.display(), "is a folder").hint(hint));
        }
        if !path.exists() && with_suffix(path, ".idx").exists() {
            return Megatron::open(path).map(Self::Megatron);
        }
        if super::documents::is_text(path) && path.exists() {
            return Err(Problem::input(what, path.display(), "it holds text, not tokens").hint("tokenise it first"));
        }
        TokenShard::open(path).map(Self::Shard)
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::Shard(s) => &s.info().path,
            Self::Megatron(m) => m.path(),
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> u64 {
        match self {
            Self::Shard(s) => s.info().tokens,
            Self::Megatron(m) => m.len(),
        }
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of documents.
    pub fn documents(&self) -> u64 {
        match self {
            Self::Shard(s) => s.info().documents,
            Self::Megatron(m) => m.documents(),
        }
    }

    /// UTF-8 bytes of the text as read; `None` where the format does not say.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Shard(s) => Some(s.info().bytes),
            Self::Megatron(_) => None,
        }
    }

    /// Characters of the text that the ids do not spell; 0 where the format does not say.
    pub fn lost_characters(&self) -> u64 {
        match self {
            Self::Shard(s) => s.info().lost,
            Self::Megatron(_) => 0,
        }
    }

    /// What the user should know about the file.
    pub fn note(&self) -> Option<&Note> {
        match self {
            Self::Shard(_) => None,
            Self::Megatron(m) => m.note(),
        }
    }

    /// What the ids mean; `None` where the format does not say.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match self {
            Self::Shard(s) => Some(&s.info().vocabulary),
            Self::Megatron(_) => None,
        }
    }

    /// Where the stream stands after its first `count` documents: tokens, and bytes of text if known.
    pub fn after_documents(&self, count: u64) -> (u64, Option<u64>) {
        match self {
            Self::Shard(s) => {
                let (tokens, bytes) = s.after_documents(count);
                (tokens, Some(bytes))
            }
            Self::Megatron(m) => (m.after_documents(count), None),
        }
    }

    /// Reads the tokens `start .. start + out.len()`, which must exist.
    ///
    /// An id that the vocabulary does not have is an error: the file is damaged, or made by another tokenizer.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the file was cut meanwhile.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        match self {
            Self::Shard(s) => s.read(start, out),
            Self::Megatron(m) => m.read(start, out),
        }
    }

    /// Fails unless the ids are those of `expected`. A format that does not say what its ids mean passes; from then on
    /// an id that is not below `expected.size` is an error where it is read.
    ///
    /// # Errors
    /// If the file was made with another vocabulary.
    pub fn require(&mut self, expected: &Vocabulary) -> Result<()> {
        match self {
            Self::Shard(s) => {
                let found = &s.info().vocabulary;
                if found.fingerprint == expected.fingerprint {
                    return Ok(());
                }
                let why = format!(
                    "made with another vocabulary: fingerprint {} ({} ids), but {} ({} ids) is expected",
                    found.fingerprint, found.size, expected.fingerprint, expected.size
                );
                Err(Problem::input("open token stream", s.info().path.display(), why)
                    .hint("tokenise the text again with the tokenizer of the model"))
            }
            Self::Megatron(m) => {
                m.limit_ids(expected.size);
                Ok(())
            }
        }
    }

    /// Fails where documents end with another token than `expected` says: each of these ends would be taken for a word. A format
    /// that does not say passes.
    ///
    /// # Errors
    /// If the file's documents end with another token.
    pub fn ends_as(&self, expected: &Vocabulary) -> Result<()> {
        let Some(found) = self.vocabulary().filter(|found| found.eod != expected.eod) else { return Ok(()) };
        let why = format!(
            "its documents end with token {}, those of the tokenizer in use with token {}",
            found.eod, expected.eod
        );
        Err(Problem::input("open token stream", self.path().display(), why).hint(
            "data.eod of a recipe chooses the token that ends a document; tokenising the text again makes such a file anew",
        ))
    }

    /// Checks the hash of the content against the file's own header, which reads all of it; a format without a hash passes.
    ///
    /// # Errors
    /// If the content is not what the header says.
    pub fn verify(&self) -> Result<()> {
        match self {
            Self::Shard(s) => s.verify(),
            Self::Megatron(_) => Ok(()),
        }
    }
}

/// `path` with `suffix` added to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// The error for an id outside the vocabulary.
pub(crate) fn bad_id(path: &Path, at: u64, id: i64, size: u64) -> Problem {
    let why = format!("token {at} is {id}, outside the vocabulary of {size} ids");
    Problem::input("read tokens", path.display(), why).hint("the file is damaged, or was made with another tokenizer")
}
