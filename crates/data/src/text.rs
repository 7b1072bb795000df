//! Text: documents, tokens, streams. See the table in the crate's documentation.

pub mod bad_lines;
pub mod claim;
pub mod documents;
pub mod identity;
mod inputs;
mod json_line;
mod lines;
pub mod megatron;
pub mod mixture;
pub mod prepare;
pub mod shard;
pub mod source;
pub mod stream;
pub mod tokenizer;
pub mod tokenizer_file;
pub mod windows;
pub mod words;
