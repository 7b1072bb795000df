//! A safetensors file: as it stands, or, by the first byte, with the length of its header put right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, selected};
use temper_model::tensors;

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let mut content = data.to_vec();
    if form & 1 == 1
        && let Some(end) = data.iter().rposition(|&byte| byte == b'}')
    {
        content = [&(end as u64 + 1).to_le_bytes()[..], data].concat();
    }
    let Ok(found) = tensors::read(&file("model.safetensors", &content), &|_| true) else { return };
    for (name, stored) in found {
        assert_eq!(stored.values.len(), stored.shape.iter().product::<usize>(), "{name}");
    }
});
