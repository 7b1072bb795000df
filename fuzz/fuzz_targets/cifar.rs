//! CIFAR-10's binary version: by the first byte, one of its six files, or the archive (packed by the target or as it stands).

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use temper_data::images;
use temper_fuzz::{file, folder, selected};

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let place = match form % 4 {
        0 | 1 => {
            let record = vec![3; 1 + 3 * 32 * 32];
            for i in 1..=5 {
                file(&format!("cifar/data_batch_{i}.bin"), if i == 1 && form & 4 == 0 { data } else { &record });
            }
            file("cifar/test_batch.bin", if form & 4 == 0 { &record } else { data });
            folder().join("cifar")
        }
        2 => file("cifar-10-binary.tar.gz", data),
        _ => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(data).expect("packed");
            file("cifar-10-binary.tar.gz", &packer.finish().expect("packed"))
        }
    };
    if let Ok(splits) = images::open(&place) {
        let _ = splits.test.batch(&[0], None);
    }
});
