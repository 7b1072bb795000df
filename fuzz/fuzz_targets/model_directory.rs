//! A Hugging Face directory: the text is `config.json`, a line `---`, the index of the shards (or nothing), a line `---`, and the
//! header of a file whose values are zeros.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, folder};
use temper_model::hugging_face;

/// More zeros than this stand in no file.
const MOST: u64 = 1 << 16;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, "---\n");
    let [config, index, header] = [(); 3].map(|()| parts.next().unwrap_or_default().trim_end());
    file("model/config.json", config.as_bytes());
    let mut weights = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let end = header.rsplit(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    weights.resize(weights.len() + end.min(MOST) as usize, 0);
    let (whole, shard) = (folder().join("model/model.safetensors"), folder().join("model/a.safetensors"));
    let _ = (std::fs::remove_file(whole), std::fs::remove_file(shard));
    if index.is_empty() {
        file("model/model.safetensors", &weights);
    } else {
        file("model/model.safetensors.index.json", index.as_bytes());
        file("model/a.safetensors", &weights);
    }
    let _ = hugging_face::read(&folder().join("model"), &burn::tensor::Device::flex());
});
