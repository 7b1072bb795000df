//! ONNX files, with numbers beside the file: what is read has the sizes that it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_formats::onnx::parse;
use temper_fuzz::{file, folder};

fuzz_target!(|data: &[u8]| {
    file("w", &[0; 64]);
    let Ok(model) = parse(data, Some(folder()), "fuzz") else { return };
    assert_eq!(model.input_shape.iter().product::<usize>(), model.computation.inputs());
    assert_eq!(model.output_shape.iter().product::<usize>(), model.computation.outputs());
});
