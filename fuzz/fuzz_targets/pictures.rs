//! A picture in an image tree, PNG or JPEG by the first byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::images;
use temper_fuzz::{file, folder, selected};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let root = ["png-tree", "jpg-tree"][usize::from(form & 1)];
    let ending = ["png", "jpg"][usize::from(form & 1)];
    for split in ["train", "test"] {
        for class in ["a", "b"] {
            file(&format!("{root}/{split}/{class}/0.{ending}"), data);
        }
    }
    if let Ok(splits) = images::open(&folder().join(root)) {
        assert_eq!((splits.train.len(), splits.test.len()), (2, 2));
        let _ = splits.train.batch(&[0, 1], None);
    }
});
