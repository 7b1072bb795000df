//! A folder in MNIST's format. The first byte says which of the four files the rest is; the others are as they should be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::images;
use temper_fuzz::{file, folder, selected};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let pixels = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 0, 1];
    let files: [(&str, &[u8]); 4] = [
        ("train-images-idx3-ubyte", &pixels),
        ("train-labels-idx1-ubyte", &labels),
        ("t10k-images-idx3-ubyte", &pixels),
        ("t10k-labels-idx1-ubyte", &labels),
    ];
    for (i, (name, whole)) in files.into_iter().enumerate() {
        file(&format!("idx/{name}"), if i == usize::from(form % 4) { data } else { whole });
    }
    if let Ok(splits) = images::open(&folder().join("idx")) {
        assert!(!splits.train.is_empty() && splits.train.shape == splits.test.shape);
        let _ = splits.train.batch(&[0], None);
        let _ = splits.train.hold_out(0.5, 1);
    }
});
