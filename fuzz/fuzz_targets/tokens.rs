//! A token file (`NAME.tokens`): opened, checked, read to its end in windows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::{EvalWindows, TokenSource};
use temper_fuzz::file;

fuzz_target!(|data: &[u8]| {
    let path = file("train.tokens", data);
    let Ok(source) = TokenSource::open(&path) else { return };
    let _ = source.verify();
    let end = source.after_documents(source.documents());
    assert!(end.0 <= source.len(), "documents end after the last token");
    assert!(source.len() <= data.len() as u64, "more tokens than bytes");
    let mut tokens = vec![0; source.len() as usize];
    let _ = source.read(0, &mut tokens);
    for most in [None, Some(0), Some(3), Some(u64::MAX)] {
        let Ok(windows) = EvalWindows::new(&source, 4, most) else { continue };
        assert!(windows.tokens() <= source.len());
        windows.batches(2).for_each(drop);
    }
});
