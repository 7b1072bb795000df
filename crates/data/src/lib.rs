//! Turns bytes into batches that are addressed by their step. Knows no tensors.
//!
//! Text, in the order the data takes:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`text::documents`] | `.txt`, `.jsonl`, compressed or not, folders, globs, bytes in memory | documents, one `String` each |
//! | [`text::bad_lines`] | | what is wrong with lines that are left out |
//! | [`text::tokenizer`] | a document | token ids (Hugging Face `tokenizer.json`; trains a byte-level BPE) |
//! | [`text::words`] | a text | the words a byte-level BPE merges within (GPT-2's pattern, scanned by hand) |
//! | [`text::prepare`] | documents and a tokenizer | `train.tokens`, `validation.tokens` |
//! | [`text::shard`] | `.tokens` | a memory-mapped token stream with its vocabulary, documents and bytes |
//! | [`text::megatron`] | `.bin` and `.idx` of GPT-NeoX / Megatron-LM | the same |
//! | [`text::source`] | either of the two | one type for both |
//! | [`text::mixture`], [`permute`] | a sample's number | its source and its window: pure arithmetic |
//! | [`text::stream`] | sources, weights, replay, seed | `batch(first sample, count)` |
//! | [`text::windows`] | a source | fixed evaluation windows and the bytes they stand for |
//!
//! Images: [`images`], which has its own table.
//!
//! [`builtin`] is the demo's data, which Temper carries. [`files`] maps files into memory (the crate's only `unsafe`).

#![warn(clippy::missing_errors_doc)]

pub mod builtin;
pub mod files;
pub mod images;
pub mod permute;
pub mod text;

pub use images::{Augment, Epochs, Images, Splits};
pub use text::bad_lines::{BadLines, Fault, Skipped};
pub use text::documents::{Document, Documents, Input, Note, ReadOptions};
pub use text::identity::Identity;
pub use text::prepare::{Amount, PrepareOptions, Prepared, Progress, Quiet, prepare};
pub use text::shard::{ShardInfo, ShardWriter, TokenShard};
pub use text::source::{TokenSource, Vocabulary};
pub use text::stream::{Batch, ReplayOrder, ReplaySpec, SourceSpec, Stream, StreamSpec};
pub use text::tokenizer::Tokenizer;
pub use text::windows::{EvalBatch, EvalWindows};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
