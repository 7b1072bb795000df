//! Text to token shards: reads, tokenises in parallel, splits off a validation set, writes.
//!
//! * Every document is followed by the end-of-document token, and documents keep their order.
//! * The split is by document: one goes to validation if the hash of (seed, its text) falls below the fraction. So it
//!   does not depend on order or on what else is in the corpus, and copies of one document fall on the same side.
//!   If all documents fell on one side, the last moves to the other.
//! * A corpus that is *one* document (a lone `.txt`) is cut in two instead: its end, from a blank line on if there is
//!   one in reach, becomes the validation document.
//! * Files appear in an order in which nobody can use half of a corpus: all are complete under temporary names before the first gets
//!   its name, and `train.tokens` gets its name last. [`super::claim`] keeps a second writer out of a folder. What a killed writer
//!   left is replaced.
//! * The result does not depend on the number of threads, and memory does not grow with the corpus (a single document
//!   must fit).

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use rayon::prelude::*;
use temper_base::hash::{Digest, Sha256};
use temper_base::{Problem, Result, files};

use super::bad_lines::Skipped;
use super::claim::{self, Claim};
use super::documents::{Document, Documents, Input, Note, ReadOptions};
use super::shard::{CompleteShard, ShardInfo, ShardWriter};
use super::tokenizer::Tokenizer;

const WHAT: &str = "prepare data";
/// Text handed to the threads at once.
const BATCH: usize = 8 << 20;
/// Text a thread takes at once: long documents are cut, which does not change their tokens.
const PIECE: usize = 1 << 17;
/// Pieces encoded before their tokens are put together.
const AT_ONCE: usize = 512;

/// How to prepare.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// Part of the documents that goes to validation: at least 0 (no validation set), below 1.
    pub validation_fraction: f64,
    /// Seed of the split.
    pub seed: u64,
    /// How to read.
    pub read: ReadOptions,
    /// Number of threads; `None`: rayon's.
    pub threads: Option<usize>,
    /// Whether shards of an earlier run may be replaced.
    pub overwrite: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self { validation_fraction: 0.01, seed: 0, read: ReadOptions::default(), threads: None, overwrite: false }
    }
}

/// How much has been done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of the input files, compressed as they are; goes to `input_total`.
    pub input: u64,
    /// Bytes of all input files.
    pub input_total: u64,
    /// UTF-8 bytes of text.
    pub text: u64,
    /// Documents.
    pub documents: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Hears now and then how much has been done.
pub trait Progress {
    /// Called on the thread that called [`prepare`].
    fn update(&self, amount: &Amount);
}

/// Shows nothing.
pub struct Quiet;

impl Progress for Quiet {
    fn update(&self, _: &Amount) {}
}

/// What [`prepare`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// `train.tokens`.
    pub train: ShardInfo,
    /// `validation.tokens`, unless the fraction is 0.
    pub validation: Option<ShardInfo>,
    /// A copy of the tokenizer beside them.
    pub tokenizer: PathBuf,
    /// Lines left out, by what is wrong with them.
    pub skipped: Vec<Skipped>,
    /// What was passed over in folders.
    pub notes: Vec<Note>,
    /// Documents left out because they were empty.
    pub empty_documents: u64,
    /// Whether the corpus was one document that was cut in two.
    pub cut_document: bool,
}

/// Documents read together.
struct Read {
    documents: Vec<Document>,
    /// Bytes of input read by then.
    input: u64,
}

/// Tokenises `inputs` into `out/train.tokens`, `out/validation.tokens` and `out/tokenizer.json`.
///
/// # Errors
/// If the fraction is not in [0, 1), files of these names exist and `overwrite` is not set, another process writes into the folder, an
/// input is missing or damaged, the tokenizer refuses a text, no document is left for one side, or the machine cannot write. A file
/// that was not completed does not appear.
pub fn prepare(
    inputs: &[Input],
    tokenizer: &Tokenizer,
    out: &Path,
    options: &PrepareOptions,
    progress: &dyn Progress,
) -> Result<Prepared> {
    let fraction = options.validation_fraction;
    if !(0.0..1.0).contains(&fraction) {
        return Err(Problem::input(WHAT, "validation fraction", format_args!("{fraction} is not in [0, 1)"))
            .hint("1 % of the documents is 0.01"));
    }
    let [train_path, validation_path, tokenizer_path] =
        ["train.tokens", "validation.tokens", "tokenizer.json"].map(|name| out.join(name));
    if !options.overwrite {
        in_the_way(out).into_iter().next().map_or(Ok(()), Err)?;
    }
    let pool = options.threads.map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build()).transpose();
    let pool = pool.map_err(|e| Problem::no_threads(options.threads.unwrap_or(1), e))?;
    let documents = Documents::open(inputs, &options.read)?;
    let (counts, notes) = (documents.counts(), documents.notes().to_vec());
    let mut amount = Amount { input_total: documents.total_bytes(), ..Amount::default() };

    let claim = Claim::take(out)?;
    let mut sides = Sides {
        train: Side::create(&train_path, tokenizer)?,
        validation: (fraction > 0.0).then(|| Side::create(&validation_path, tokenizer)).transpose()?,
    };
    let mut cut_document = false;
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(2);
        let reading = std::thread::Builder::new().spawn_scoped(scope, move || read(documents, &sender));
        reading.map_err(|e| Problem::no_threads(1, e))?;
        let receiver = receiver; // dropped on an early return, which ends the reading thread
        let (mut next, mut number) = (receiver.recv().ok(), 0u64);
        while let Some(batch) = next {
            let batch: Read = batch?;
            next = receiver.recv().ok();
            let only = number == 0 && batch.documents.len() == 1 && next.is_none();
            number += batch.documents.len() as u64;
            // Text and whether it is for validation.
            let mut texts: Vec<(&str, bool)> = vec![];
            if only && fraction > 0.0 {
                let text = batch.documents[0].text.as_str();
                let (head, tail) = text.split_at(cut(text, fraction)?);
                texts.extend([(head, false), (tail, true)]);
                cut_document = true;
            } else {
                texts.extend(batch.documents.iter().map(|d| (&*d.text, validates(&d.text, options.seed, fraction))));
            }
            let encode = || encode(&texts, tokenizer);
            let encoded = pool.as_ref().map_or_else(encode, |pool| pool.install(encode))?;
            for ((text, validation), (tokens, lost)) in texts.into_iter().zip(encoded) {
                amount.documents += 1;
                amount.text += text.len() as u64;
                amount.tokens += tokens.len() as u64;
                let side = if validation { sides.validation.as_mut() } else { None };
                side.unwrap_or(&mut sides.train).push(Encoded { tokens, bytes: text.len() as u64, lost })?;
            }
            amount.input = batch.input;
            progress.update(&amount);
        }
        Ok(())
    })?;

    let skipped = counts.skipped();
    if amount.documents == 0 {
        let hint = match skipped.iter().map(|bad| bad.lines).sum() {
            0u64 => "every file is empty, or all its documents are".to_string(),
            n => format!("{n} lines were left out: {}", skipped[0].fault.words()),
        };
        return Err(Problem::input(WHAT, places(inputs), "the corpus is empty").hint(hint));
    }
    let (train, validation) = sides.complete()?;
    let (train, validation) = claim.name(|| {
        files::write_whole(&tokenizer_path, tokenizer.to_json())?;
        let validation = validation.map(|shard| shard.finish()).transpose()?;
        if validation.is_none() && validation_path.exists() {
            std::fs::remove_file(&validation_path).map_err(|e| Problem::io(WHAT, &validation_path, &e))?;
        }
        let train = if options.overwrite { train.finish()? } else { train.finish_new()? };
        Ok((train, validation))
    })?;
    let empty_documents = counts.empty_documents.load(Relaxed);
    Ok(Prepared { train, validation, tokenizer: tokenizer_path, skipped, notes, empty_documents, cut_document })
}

/// Whether a corpus is in the folder already. A validation set without training tokens counts unless a writer that was killed left it.
pub fn in_the_way(out: &Path) -> Vec<Problem> {
    let hint = if claim::was_finished(out) {
        "the command that was stopped here had finished writing: the corpus in this folder is whole"
    } else {
        "choose another folder; Temper never overwrites a file"
    };
    let names = if claim::left_behind(out) { &["train.tokens"][..] } else { &["train.tokens", "validation.tokens"] };
    let problem = |path: PathBuf| Problem::input(WHAT, path.display(), "the file exists already").hint(hint);
    names.iter().map(|name| out.join(name)).filter(|path| path.exists()).map(problem).collect()
}

fn places(inputs: &[Input]) -> String {
    let place = |input: &Input| match input {
        Input::Path(path) => path.display().to_string(),
        Input::Memory { name, .. } => name.clone(),
    };
    inputs.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// Reads on a separate thread, some documents ahead.
fn read(mut documents: Documents, sender: &mpsc::SyncSender<Result<Read>>) {
    let counts = documents.counts();
    loop {
        let mut batch = vec![];
        let mut size = 0;
        while size < BATCH {
            match documents.next() {
                Some(Ok(document)) => {
                    size += document.text.len();
                    batch.push(document);
                }
                Some(Err(problem)) => {
                    let _ = sender.send(Err(problem));
                    return;
                }
                None => break,
            }
        }
        let read = Read { documents: batch, input: counts.input.load(Relaxed) };
        if read.documents.is_empty() || sender.send(Ok(read)).is_err() {
            return; // all read, or nobody listens any more
        }
    }
}

/// The tokens of every text, each followed by the end-of-document token, and how many characters they do not spell.
fn encode(texts: &[(&str, bool)], tokenizer: &Tokenizer) -> Result<Vec<(Vec<u32>, u64)>> {
    let pieces: Vec<(usize, &str)> = texts
        .iter()
        .enumerate()
        .flat_map(|(i, (text, _))| tokenizer.pieces(text, PIECE).map(move |piece| (i, piece)))
        .collect();
    let mut all: Vec<(Vec<u32>, u64)> = vec![(vec![], 0); texts.len()];
    // Not all at once: of a long document, text and tokens would be in memory twice.
    for some in pieces.chunks(AT_ONCE) {
        let encoded: Vec<_> = some.par_iter().map(|(_, text)| tokenizer.encode_counted(text)).collect::<Result<_>>()?;
        for ((i, _), (piece, lost)) in some.iter().zip(encoded) {
            let (tokens, sum) = &mut all[*i];
            *sum += lost;
            if tokens.is_empty() {
                *tokens = piece;
                tokens.shrink_to_fit();
            } else {
                tokens.extend(piece);
            }
        }
    }
    all.iter_mut().for_each(|(tokens, _)| tokens.push(tokenizer.eod()));
    Ok(all)
}

/// Whether a document is for validation.
fn validates(text: &str, seed: u64, fraction: f64) -> bool {
    let hash = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(text).finalize();
    let drawn = u64::from_le_bytes(hash[..8].try_into().expect("eight bytes"));
    (drawn as f64) < fraction * 2f64.powi(64)
}

/// Where the validation part of a lone document starts: about the last `fraction` of it, after a blank line, or after a
/// line end, or just there.
fn cut(text: &str, fraction: f64) -> Result<usize> {
    let wanted = text.floor_char_boundary((text.len() as f64 * (1.0 - fraction)) as usize);
    let in_reach = |at: &usize| *at >= wanted / 2 && *at > 0;
    let blank = text[..wanted].rfind("\n\n").map(|at| at + 2).filter(in_reach);
    let line = || text[..wanted].rfind('\n').map(|at| at + 1).filter(in_reach);
    let at = blank.or_else(line).unwrap_or(wanted);
    if at == 0 || at == text.len() {
        let why = format!("one document of {} bytes cannot be cut at {}", text.len(), 1.0 - fraction);
        return Err(Problem::input(WHAT, "validation split", why).hint("give more text, or a validation fraction of 0"));
    }
    Ok(at)
}

/// A shard whose last document can still move.
struct Side {
    writer: ShardWriter,
    last: Option<Encoded>,
}

/// A document as it goes into a shard.
struct Encoded {
    tokens: Vec<u32>,
    bytes: u64,
    /// Characters that the tokens do not spell.
    lost: u64,
}

impl Side {
    fn create(path: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { writer: ShardWriter::create(path, tokenizer.vocabulary())?, last: None })
    }

    fn push(&mut self, document: Encoded) -> Result<()> {
        let before = self.last.replace(document);
        self.write(before)
    }

    fn write(&mut self, document: Option<Encoded>) -> Result<()> {
        let Some(Encoded { tokens, bytes, lost }) = document else { return Ok(()) };
        self.writer.add_lost(lost);
        self.writer.push(&tokens, bytes)
    }

    fn complete(mut self) -> Result<CompleteShard> {
        let last = self.last.take();
        self.write(last)?;
        self.writer.complete()
    }
}

struct Sides {
    train: Side,
    validation: Option<Side>,
}

impl Sides {
    fn complete(self) -> Result<(CompleteShard, Option<CompleteShard>)> {
        let Self { mut train, validation } = self;
        let Some(mut validation) = validation else { return Ok((train.complete()?, None)) };
        if validation.last.is_none() {
            validation.last = train.last.take();
        } else if train.last.is_none() {
            train.last = validation.last.take();
        }
        Ok((train.complete()?, Some(validation.complete()?)))
    }
}
