//! Training batches, addressed by the number of their first sample.
//!
//! Source j is cut into windows: window k is the tokens `kT ..= kT + T`, so neighbours share one token and there are
//! `(tokens - 1) / T` of them. Sample i belongs to a source by error diffusion ([`super::mixture`]) and, being that
//! source's c-th sample, is window `permutation(c mod n)` of epoch `c / n`, with a permutation drawn by (seed, source,
//! epoch) ([`crate::permute`]): nothing comes twice before the epoch ends. Everything is a pure function of
//! (description, i), so resuming after an interruption is a seek, and two runs of one description see the same order.
//!
//! **Replay** (Ibrahim et al. 2024, section 3.2 and the `adding_replay` branch of GPT-NeoX): one more source that is
//! itself a stream, of which the first `seen` samples are used: exactly those an earlier run has trained on. It takes
//! its fraction *out of* the samples; their number stays what it was. A replay stream may itself replay another.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use temper_base::{Problem, Result};

use super::identity::Identity;
use super::mixture::{Mixture, Share};
use super::source::{TokenSource, Vocabulary};
use crate::permute::Permutation;
use temper_base::random::key_of;

const OPEN: &str = "open data stream";

/// Description of a stream: all that decides its samples, besides the files' content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// Seed of every order in the stream.
    pub seed: u64,
    /// T: tokens the model sees at once. A sample has one more.
    pub seq_len: usize,
    /// The sources, at least one.
    pub sources: Vec<SourceSpec>,
    /// Old data mixed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Box<ReplaySpec>>,
}

/// One source of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// What it is called in plans and metrics.
    pub name: String,
    /// `NAME.tokens`, or a Megatron pair; see [`TokenSource::open`].
    pub path: PathBuf,
    /// Its part of the samples, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
    /// What the file held when the run began; `None` if nobody has looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

fn one() -> f64 {
    1.0
}

/// Replay of an earlier stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// Its part of all samples: at least 0, below 1.
    pub fraction: f64,
    /// In which order its samples come.
    #[serde(default)]
    pub order: ReplayOrder,
    /// Only its first samples, as many as the earlier run has trained on; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// Samples to leave out at the start, so that two later runs need not replay the same ones.
    #[serde(default)]
    pub offset: u64,
    /// The earlier stream.
    pub stream: StreamSpec,
}

/// In which order samples are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOrder {
    /// As they were seen, starting again when all have been replayed.
    #[default]
    Original,
    /// In a new random order, another one each time around. Without a limit, one round has as many samples as the
    /// earlier stream has windows.
    Reshuffled,
}

temper_base::names!(ReplayOrder { Original = "original", Reshuffled = "reshuffled" });

/// Some samples in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, [count, T + 1], row-major.
    pub tokens: Vec<u32>,
    /// For every sample its source: an index into [`Stream::names`].
    pub source: Vec<usize>,
}

/// Where a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Index into [`Stream::names`]: a source, or replay.
    pub source: usize,
    /// Epoch of the file it is read from, from 0.
    pub epoch: u64,
    /// Window of the file it is read from.
    pub window: u64,
    /// For a replayed sample: its number in the earlier stream.
    pub replayed: Option<u64>,
}

/// An open stream.
pub struct Stream {
    spec: StreamSpec,
    names: Vec<String>,
    files: Vec<TokenSource>,
    windows: Vec<u64>,
    mixture: Mixture,
    replay: Option<Replay>,
}

struct Replay {
    share: Share,
    order: ReplayOrder,
    /// How many samples of the earlier stream are used.
    limit: Option<u64>,
    offset: u64,
    stream: Box<Stream>,
}

impl Stream {
    /// Opens all files of a description and checks that they fit together.
    ///
    /// # Errors
    /// If the sequence length is 0, there is no source or two of one name, weights or the replayed share are out of range, a source is
    /// shorter than a sample, replayed samples have another length, files have different vocabularies, or one is missing, damaged, or
    /// not the one that the description identifies.
    pub fn open(spec: &StreamSpec) -> Result<Self> {
        if spec.seq_len == 0 {
            return Err(Problem::input(OPEN, "sequence length", "0 tokens"));
        }
        if spec.sources.is_empty() {
            return Err(Problem::input(OPEN, "sources", "no source of tokens").hint("name at least one"));
        }
        let names: Vec<String> = spec.sources.iter().map(|s| s.name.clone()).collect();
        for (i, name) in names.iter().enumerate() {
            if name == REPLAY || names[..i].contains(name) {
                let why =
                    if name == REPLAY { "this name is taken by replayed data" } else { "two sources of this name" };
                return Err(Problem::input(OPEN, format_args!("source `{name}`"), why).hint("give it another name"));
            }
        }
        let weights: Vec<f64> = spec.sources.iter().map(|s| s.weight).collect();
        let mixture = Mixture::new(&weights).ok_or_else(|| {
            Problem::input(OPEN, "weights", format_args!("{weights:?} cannot divide samples"))
                .hint("weights are positive numbers, the largest at most 10^16 times the smallest")
        })?;
        let mut files = vec![];
        let mut windows = vec![];
        for source in &spec.sources {
            let file = TokenSource::open(&source.path)?;
            source.identity.as_ref().map_or(Ok(()), |known| file.resembles(known))?;
            let n = file.len().saturating_sub(1) / spec.seq_len as u64;
            if n == 0 {
                let why = format!("{} tokens do not fill one window of {} + 1", file.len(), spec.seq_len);
                return Err(
                    Problem::input(OPEN, source.path.display(), why).hint("use a shorter sequence length or more text")
                );
            }
            files.push(file);
            windows.push(n);
        }
        let replay = spec.replay.as_deref().map(|replay| Replay::open(replay, spec)).transpose()?;
        let mut stream = Self { spec: spec.clone(), names, files, windows, mixture, replay };
        if stream.replay.is_some() {
            stream.names.push(REPLAY.into());
        }
        if let Some(vocabulary) = stream.vocabulary().cloned() {
            stream.require(&vocabulary)?;
        }
        Ok(stream)
    }

    /// The description this was opened from.
    pub fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    /// Names of the sources, in order, and then `replay` if there is any.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The files of the own sources, in order.
    pub fn files(&self) -> &[TokenSource] {
        &self.files
    }

    /// Windows in each own source: as many samples of it are one epoch.
    pub fn windows(&self) -> &[u64] {
        &self.windows
    }

    /// The earlier stream that is replayed.
    pub fn replayed(&self) -> Option<&Stream> {
        self.replay.as_ref().map(|r| &*r.stream)
    }

    /// What the ids mean, if any of the files says so.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.files.iter().find_map(TokenSource::vocabulary).or_else(|| self.replayed()?.vocabulary())
    }

    /// Fails unless the ids of every file are those of `expected`; see [`TokenSource::require`].
    ///
    /// # Errors
    /// If one was made with another vocabulary.
    pub fn require(&mut self, expected: &Vocabulary) -> Result<()> {
        self.files.iter_mut().try_for_each(|file| file.require(expected))?;
        self.replay.as_mut().map_or(Ok(()), |replay| replay.stream.require(expected))
    }

    /// Fails where the documents of a file end with another token than `expected` says; see [`TokenSource::ends_as`].
    ///
    /// # Errors
    /// If one has another end of a document.
    pub fn ends_as(&self, expected: &Vocabulary) -> Result<()> {
        self.files.iter().try_for_each(|file| file.ends_as(expected))?;
        self.replayed().map_or(Ok(()), |replayed| replayed.ends_as(expected))
    }

    /// Checks the hash of every file, which reads all of them.
    ///
    /// # Errors
    /// If the content of one is not what its header says.
    pub fn verify(&self) -> Result<()> {
        self.files.iter().try_for_each(TokenSource::verify)?;
        self.replayed().map_or(Ok(()), Stream::verify)
    }

    /// Reads all of every file and compares it with what the description knows of it; what it does not know yet, it knows then.
    ///
    /// # Errors
    /// If a file is another one than it was, or damaged.
    pub fn identify(&mut self) -> Result<()> {
        for (file, source) in self.files.iter().zip(&mut self.spec.sources) {
            source.identity = Some(file.verify_as(source.identity.as_ref())?);
        }
        if let (Some(replay), Some(spec)) = (&mut self.replay, &mut self.spec.replay) {
            replay.stream.identify()?;
            spec.stream = replay.stream.spec.clone();
        }
        Ok(())
    }

    /// How many of the first `samples` come from each of [`Stream::names`].
    pub fn sample_counts(&self, samples: u64) -> Vec<u64> {
        let Some(replay) = &self.replay else { return self.mixture.counts(samples) };
        let replayed = replay.share.count(samples);
        let mut counts = self.mixture.counts(samples - replayed);
        counts.push(replayed);
        counts
    }

    /// Where sample `i` (from 0) comes from.
    pub fn locate(&self, i: u64) -> Sample {
        let mut own = i;
        if let Some(replay) = &self.replay {
            let before = replay.share.count(i);
            if replay.share.count(i + 1) > before {
                let number = replay.number(before, self.spec.seed);
                let sample = replay.stream.locate(number);
                return Sample { source: self.files.len(), replayed: Some(number), ..sample };
            }
            own -= before;
        }
        let (source, count) = self.mixture.locate(own);
        let n = self.windows[source];
        let (epoch, position) = (count / n, count % n);
        let order = Permutation::new(n, key_of(&[self.spec.seed, 1, source as u64, epoch]));
        Sample { source, epoch, window: order.get(position), replayed: None }
    }

    /// Reads the samples `first .. first + count`.
    ///
    /// # Errors
    /// If a file was cut meanwhile, or holds an id outside its vocabulary.
    pub fn batch(&self, first: u64, count: usize) -> Result<Batch> {
        let width = self.spec.seq_len + 1;
        let mut batch = Batch { tokens: vec![0; count * width], source: Vec::with_capacity(count) };
        for (i, row) in batch.tokens.chunks_exact_mut(width).enumerate() {
            batch.source.push(self.read(first + i as u64, row)?);
        }
        Ok(batch)
    }

    /// Reads sample `i` into `row`, [T + 1]; returns its source.
    fn read(&self, i: u64, row: &mut [u32]) -> Result<usize> {
        let sample = self.locate(i);
        match (sample.replayed, &self.replay) {
            (Some(number), Some(replay)) => drop(replay.stream.read(number, row)?),
            _ => self.files[sample.source].read(sample.window * self.spec.seq_len as u64, row)?,
        }
        Ok(sample.source)
    }
}

/// What replayed samples are called.
const REPLAY: &str = "replay";

impl Replay {
    fn open(spec: &ReplaySpec, outer: &StreamSpec) -> Result<Self> {
        let share = Share::of(spec.fraction).filter(|_| spec.fraction < 1.0).ok_or_else(|| {
            Problem::input(OPEN, "replay fraction", format_args!("{} is not in [0, 1)", spec.fraction))
                .hint("5 % of old data is 0.05")
        })?;
        if spec.stream.seq_len != outer.seq_len {
            let why =
                format!("the replayed stream has sequences of {}, this one of {}", spec.stream.seq_len, outer.seq_len);
            return Err(Problem::input(OPEN, "replay", why)
                .hint("Temper replays samples only at the sequence length at which they were seen"));
        }
        if spec.seen == Some(0) {
            return Err(Problem::input(OPEN, "replay", "the earlier run has seen no samples"));
        }
        let stream = Box::new(Stream::open(&spec.stream)?);
        let limit = match spec.order {
            ReplayOrder::Original => spec.seen,
            ReplayOrder::Reshuffled => spec.seen.or_else(|| Some(stream.windows.iter().sum())),
        };
        Ok(Self { share, order: spec.order, limit, offset: spec.offset, stream })
    }

    /// The number, in the earlier stream, of the `count`-th replayed sample.
    fn number(&self, count: u64, seed: u64) -> u64 {
        let count = count + self.offset;
        match (self.limit, self.order) {
            (None, _) => count,
            (Some(n), ReplayOrder::Original) => count % n,
            (Some(n), ReplayOrder::Reshuffled) => Permutation::new(n, key_of(&[seed, 2, count / n])).get(count % n),
        }
    }
}
