//! Files of several exporters, against what onnxruntime computes with its optimiser off.

use std::path::Path;

use temper_formats::onnx::{parse, read};
use temper_graph::computation::Order;

#[test]
fn files_of_exporters_are_read_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx");
    // The fixtures are made apart from this crate.
    let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let model = match (read(&folder.join(file)), case["refused"].as_str()) {
            (Err(problem), Some(name)) if problem.why.contains(name) => continue,
            // Refused a node earlier: where numbers become the integers that its Reshape asks for.
            (Err(problem), Some("Reshape")) if problem.why.starts_with("Cast at node 1") => continue,
            (Err(problem), refused) => {
                wrong.push(format!("{file}: {} (expected {refused:?})", problem.why));
                continue;
            }
            (Ok(_), Some(name)) => {
                wrong.push(format!("{file}: read, should be refused for {name}"));
                continue;
            }
            (Ok(model), None) => model,
        };
        let numbers = |list: &serde_json::Value| -> Vec<f64> {
            list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        for (x, y) in case["inputs"].as_array().unwrap().iter().zip(case["outputs"].as_array().unwrap()) {
            let (found, y) = (model.computation.evaluate(&numbers(x), Order::Forward), numbers(y));
            let largest = y.iter().fold(1e-6_f64, |m, y| m.max(y.abs()));
            let off = found.iter().zip(&y).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            if found.len() != y.len() || off > 1e-5 * largest {
                wrong.push(format!("{file}: {off} off, of {largest}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_packed_file_is_unpacked() {
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx/conv_pad.onnx");
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("conv_pad.onnx.gz");
    let mut file = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), Default::default());
    std::io::Write::write_all(&mut file, &std::fs::read(&plain).unwrap()).unwrap();
    file.finish().unwrap();
    assert_eq!(read(&packed).unwrap(), read(&plain).unwrap());
    // Cut, it is an error.
    let bytes = std::fs::read(&packed).unwrap();
    std::fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    assert!(read(&packed).is_err());
}

#[test]
fn a_cut_file_is_an_error_or_the_same_network() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx");
    for file in ["conv_pad.onnx", "flatten_shape_cast.onnx", "written_float_data.onnx"] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let whole = parse(&bytes, None, file).unwrap().computation;
        for end in 0..bytes.len() {
            if let Ok(cut) = parse(&bytes[..end], None, file) {
                assert_eq!(cut.computation, whole, "{file} cut at {end}");
            }
        }
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx");
    for file in ["conv_pad.onnx", "flatten_shape_cast.onnx", "rectifier_leaky_where.onnx", "bn_before_conv.onnx"] {
        let mut bytes = std::fs::read(folder.join(file)).unwrap();
        for i in 0..bytes.len() {
            let byte = bytes[i];
            for other in [0, 1, 0x7f, 0xff, byte ^ 1, byte ^ 0x80] {
                bytes[i] = other;
                let _ = parse(&bytes, None, file);
            }
            bytes[i] = byte;
        }
    }
}
