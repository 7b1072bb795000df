//! A pair of GPT-NeoX or Megatron (`NAME.idx`, `NAME.bin`). The first two bytes, little-endian, are the length of the index.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::{EvalWindows, TokenSource};
use temper_fuzz::file;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let (index, tokens) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let path = file("pair.idx", index);
    file("pair.bin", tokens);
    let Ok(source) = TokenSource::open(&path) else { return };
    let end = source.after_documents(source.documents());
    assert!(end.0 <= source.len(), "documents end after the last token");
    assert!(source.len() <= tokens.len() as u64, "more tokens than bytes");
    let mut ids = vec![0; source.len() as usize];
    let _ = source.read(0, &mut ids);
    let Ok(windows) = EvalWindows::new(&source, 4, Some(6)) else { return };
    windows.batches(2).for_each(drop);
});
