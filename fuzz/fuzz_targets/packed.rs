//! Packed images (`NAME.images.zst`): packed by the target, or as they stand, by the first byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::images::packed;
use temper_fuzz::selected;

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let splits = match form & 1 {
        0 => packed::read("fuzz", &zstd::encode_all(data, 1).expect("packed")),
        _ => packed::read("fuzz", data),
    };
    if let Ok(splits) = splits {
        assert!(!splits.train.is_empty() && !splits.test.is_empty());
        let _ = splits.test.batch(&[0], None);
    }
});
