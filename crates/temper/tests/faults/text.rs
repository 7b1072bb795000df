//! Text, tokenizers and token files.
