//! Which tokens a file holds, so that a run can tell its own from others of the same name.
//!
//! * Of a `.tokens` file the hash is the one in its header, which covers all of it ([`super::shard`]).
//! * Of a Megatron pair it is the sha256 of all bytes of the `.idx` and then of the `.bin`: the format stores no hash.
//!
//! Headers (the hash of a shard, tokens, vocabulary) are compared wherever a stream is opened, which costs nothing. Content is read and
//! hashed where a run begins and where it is resumed, from the file itself and not through the map.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use temper_base::hash::{Sha256, feed_file};
use temper_base::{Problem, Result};

use super::source::TokenSource;

/// What a token file held when a run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Sha256 of the content, in hex.
    pub sha256: String,
    /// Number of tokens.
    pub tokens: u64,
    /// Fingerprint of the vocabulary; `None` where the format does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |hash: &str| hash.chars().take(16).collect::<String>();
        write!(f, "{} tokens of sha256 {}", self.tokens, short(&self.sha256))?;
        match &self.vocabulary {
            Some(vocabulary) => write!(f, " in vocabulary {}", short(vocabulary)),
            None => Ok(()),
        }
    }
}

impl TokenSource {
    /// Reads and hashes all of the content. A shard whose content is not what its own header says is an error.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn identity(&self) -> Result<Identity> {
        self.verify()?;
        let sha256 = match self {
            Self::Shard(shard) => shard.info().hash.clone(),
            Self::Megatron(pair) => pair.content_hash()?,
        };
        Ok(self.identity_of(sha256))
    }

    /// Compares what costs nothing with what is known of the file.
    ///
    /// # Errors
    /// If it is another one; both are named.
    pub fn resembles(&self, known: &Identity) -> Result<()> {
        let sha256 = match self {
            Self::Shard(shard) => shard.info().hash.clone(),
            // Known only after reading all of it.
            Self::Megatron(_) => known.sha256.clone(),
        };
        self.same(known, &self.identity_of(sha256))
    }

    /// Reads all of the content and compares it with what is known of it, if anything is.
    ///
    /// # Errors
    /// If it is another one, or damaged.
    pub fn verify_as(&self, known: Option<&Identity>) -> Result<Identity> {
        let found = self.identity()?;
        known.map_or(Ok(()), |known| self.same(known, &found))?;
        Ok(found)
    }

    fn identity_of(&self, sha256: String) -> Identity {
        let vocabulary = self.vocabulary().map(|vocabulary| vocabulary.fingerprint.clone());
        Identity { sha256, tokens: self.len(), vocabulary }
    }

    fn same(&self, known: &Identity, found: &Identity) -> Result<()> {
        if known == found {
            return Ok(());
        }
        let why = format!("it holds {found}, but {known} when the run began");
        Err(Problem::input("open token stream", self.path().display(), why)
            .hint("put the original file back, or begin a new run: this one needs the tokens it began with"))
    }
}

/// Feeds a file of tokens, from `skip` bytes on, to a hash.
pub(crate) fn hash_file(hash: &mut Sha256, path: &Path, skip: usize) -> Result<()> {
    feed_file(hash, path, skip as u64).map(drop).map_err(|cause| Problem::io("read tokens", path, &cause))
}
