//! `tokenizer.json` as Temper takes it in; what is accepted encodes and decodes a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::Tokenizer;

fuzz_target!(|data: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_bytes(data, "tokenizer.json", None) else { return };
    let Ok(ids) = tokenizer.encode("the river went over stone, 2026") else { return };
    assert!(ids.iter().all(|&id| u64::from(id) < tokenizer.vocab_size()));
    let _ = tokenizer.decode(&ids);
});
