//! Fixed evaluation windows: the same tokens, predicted the same way, at every evaluation of every run.
//!
//! The convention (packed text, as the Pile's validation set is evaluated by GPT-NeoX):
//!
//! * Windows of the sequence length that do not overlap; the last, partial one included. Window k reads the tokens
//!   `kT .. kT + T` and predicts `kT + 1 ..= kT + T`. Every token but the stream's first is predicted exactly once,
//!   each from the tokens before it *in its window*.
//! * Documents are not aligned with windows, and the end-of-document token is read and predicted like any other.
//! * The bytes are those of the text as read, before any normalisation, without end-of-document tokens: bits per byte is
//!   the sum of the losses in nats over `ln 2` times these bytes.
//! * A limit in tokens takes the first documents that fit in it, cut at a document's end: tokens and bytes are then those of
//!   exactly these documents. If not even the first fits, its first tokens are taken, as many as the limit says; how many bytes
//!   these are is not known.

use std::ops::Range;

use temper_base::{Problem, Result};

use super::source::TokenSource;

/// The windows of (the start of) a source.
pub struct EvalWindows<'s> {
    source: &'s TokenSource,
    seq_len: usize,
    tokens: u64,
    documents: u64,
    bytes: Option<u64>,
    cut: bool,
}

/// Windows of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalBatch {
    /// Token ids the model reads, [rows, cols], row-major.
    pub inputs: Vec<u32>,
    /// Token ids it is to predict, [rows, cols]: the input moved on by one.
    pub targets: Vec<u32>,
    /// Number of windows.
    pub rows: usize,
    /// Their length: the sequence length, or less in the last batch, which then has one row.
    pub cols: usize,
}

impl<'s> EvalWindows<'s> {
    /// Chooses the documents; `max_tokens` as the module says, `None` for all.
    ///
    /// # Errors
    /// If the sequence length is 0, `max_tokens` is below 2, the set has fewer than two tokens, or its table of documents does not fit
    /// its tokens.
    pub fn new(source: &'s TokenSource, seq_len: usize, max_tokens: Option<u64>) -> Result<Self> {
        let problem = |why: &str| Problem::input("choose evaluation windows", source.path().display(), why);
        if seq_len == 0 {
            return Err(problem("a sequence length of 0 tokens"));
        }
        if max_tokens.is_some_and(|max| max < 2) {
            return Err(
                problem("a limit below two tokens: nothing to predict").hint("0 in a recipe takes all of a set")
            );
        }
        let after = |documents: u64| {
            let (tokens, bytes) = source.after_documents(documents);
            let why = format!("document {documents} ends at token {tokens}, and there are {}", source.len());
            let hint = "the file is damaged: copy it again, or prepare the text again";
            if tokens > source.len() { Err(problem(&why).hint(hint)) } else { Ok((tokens, bytes)) }
        };
        let mut documents = source.documents();
        if let Some(max) = max_tokens {
            // The largest number of documents that fits, by halving.
            let (mut fits, mut beyond) = (0, documents + 1);
            while beyond - fits > 1 {
                let middle = fits + (beyond - fits) / 2;
                if source.after_documents(middle).0 <= max { fits = middle } else { beyond = middle }
            }
            if after(fits)?.0 < 2 && fits < documents && source.len() >= 2 {
                after(beyond)?;
                return Ok(Self {
                    source,
                    seq_len,
                    tokens: max.min(source.len()),
                    documents: beyond,
                    bytes: None,
                    cut: true,
                });
            }
            documents = fits;
        }
        let (tokens, bytes) = after(documents)?;
        if tokens < 2 {
            return Err(problem("fewer than two tokens: nothing to predict"));
        }
        Ok(Self { source, seq_len, tokens, documents, bytes, cut: false })
    }

    /// Number of tokens read.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Number of tokens predicted: what the loss is a mean over.
    pub fn targets(&self) -> u64 {
        self.tokens - 1
    }

    /// Whether the limit falls inside the first document, so that only its beginning is read.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Number of documents, the one that is cut included.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// UTF-8 bytes of the documents as read; `None` where the format does not say.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// How many batches of `rows` windows there are; a partial last window is one of its own.
    pub fn count(&self, rows: usize) -> usize {
        let width = self.seq_len as u64;
        (self.targets() / width).div_ceil(rows.max(1) as u64) as usize
            + usize::from(!self.targets().is_multiple_of(width))
    }

    /// The batches of these numbers, `rows` windows each, in order.
    pub fn batches(&self, rows: usize, numbers: Range<usize>) -> impl Iterator<Item = Result<EvalBatch>> {
        let (rows, width) = (rows.max(1) as u64, self.seq_len as u64);
        let whole = self.targets() / width;
        numbers.map(move |number| {
            let first = number as u64 * rows;
            if first < whole {
                self.read(first * width, rows.min(whole - first) as usize, self.seq_len)
            } else {
                self.read(whole * width, 1, (self.targets() - whole * width) as usize)
            }
        })
    }

    fn read(&self, start: u64, rows: usize, cols: usize) -> Result<EvalBatch> {
        let mut inputs = vec![0; rows * cols + 1];
        self.source.read(start, &mut inputs)?;
        let targets = inputs[1..].to_vec();
        inputs.pop();
        Ok(EvalBatch { inputs, targets, rows, cols })
    }
}
