//! Text: documents, tokens, streams. See the table in the crate's documentation.

pub mod documents;
pub mod identity;
pub mod megatron;
pub mod mixture;
pub mod prepare;
pub mod shard;
pub mod source;
pub mod stream;
pub mod tokenizer;
pub mod windows;
pub mod words;
