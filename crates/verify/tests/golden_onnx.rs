//! The checker reads networks as onnxruntime does, or refuses them: files that many exporters wrote, with onnxruntime's answers.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use temper_verify::cascade::Arithmetic;
use temper_verify::proof::{Bounds, Header, Step, write};
use temper_verify::{ProofVerdict, check};

/// Whether the checker proves that every output is this one, to 1e-4 of the largest.
fn agrees(onnx: &[u8], input: &[f64], output: &[f64]) -> ProofVerdict {
    let mut text = String::new();
    (0..input.len()).for_each(|i| writeln!(text, "(declare-const X_{i} Real)").unwrap());
    (0..output.len()).for_each(|i| writeln!(text, "(declare-const Y_{i} Real)").unwrap());
    input.iter().enumerate().for_each(|(i, x)| writeln!(text, "(assert (and (<= X_{i} {x}) (>= X_{i} {x})))").unwrap());
    let off = 1e-4 * output.iter().fold(1e-3f64, |most, y| most.max(y.abs()));
    let rows = output.iter().enumerate().map(|(i, y)| format!("(<= Y_{i} {}) (>= Y_{i} {})", y - off, y + off));
    writeln!(text, "(assert (or {}))", rows.collect::<Vec<_>>().join(" ")).unwrap();
    let leaf = |group| [Step::Group(group), Step::Leaf(vec![(0, 1.0)], vec![])];
    let begin = [Step::Box(0), Step::Bounds(Bounds::Crown)];
    let steps: Vec<Step> = begin.into_iter().chain((0..2 * output.len()).flat_map(leaf)).collect();
    check(&write(&Header::new(Arithmetic::Sound, onnx, text.as_bytes()), &steps), onnx, &text)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(parts) => parts.iter().flat_map(numbers).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

#[test]
fn the_checker_agrees_with_onnxruntime_or_refuses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let (mut read, mut refused) = (0, Vec::new());
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let onnx = std::fs::read(folder.join(file)).unwrap();
        let (inputs, outputs) = (case["inputs"].as_array().unwrap(), case["outputs"].as_array().unwrap());
        for (input, output) in inputs.iter().zip(outputs) {
            match agrees(&onnx, &numbers(input), &numbers(output)) {
                ProofVerdict::Holds(_) => read += 1,
                ProofVerdict::Rejected(why) => {
                    assert!(!why.contains("line "), "{file}: {why}");
                    refused.push(format!("{file}: {why}"));
                }
            }
        }
        if case["refused"].is_string() {
            let verdict = agrees(&onnx, &[0.0], &[0.0]);
            assert!(matches!(verdict, ProofVerdict::Rejected(_)), "{file}");
        }
    }
    refused.dedup();
    println!("{read} answers agree, refused: {refused:#?}");
    assert!(read > 90, "{read} answers agree");
}
