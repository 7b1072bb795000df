//! Text as training data. The first byte says whether it is `.txt` or `.jsonl`, plain or packed, and packed by the target or as
//! it stands.

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use temper_data::{BadLines, Documents, Input, ReadOptions};
use temper_fuzz::{file, selected};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let stem = ["text.txt", "text.jsonl"][usize::from(form & 1)];
    let packed = form & 8 != 0;
    let (name, content) = match (form >> 1) & 3 {
        0 | 3 => (stem.to_owned(), data.to_vec()),
        1 if packed => (format!("{stem}.gz"), gzip(data)),
        1 => (format!("{stem}.gz"), data.to_vec()),
        _ if packed => (format!("{stem}.zst"), zstd::encode_all(data, 1).expect("packed")),
        _ => (format!("{stem}.zst"), data.to_vec()),
    };
    let path = file(&name, &content);
    for bad_lines in [BadLines::Skip, BadLines::Error] {
        let options = ReadOptions { bad_lines, ..ReadOptions::default() };
        let Ok(documents) = Documents::open(&[Input::Path(path.clone())], &options) else { continue };
        for document in documents {
            assert!(!document.is_ok_and(|document| document.text.is_empty()), "an empty document");
        }
    }
    std::fs::remove_file(path).expect("it was there");
});

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(data).expect("packed");
    packer.finish().expect("packed")
}
