//! The examples run, and are as short as an example should be.

#[path = "../examples/continue_model.rs"]
mod continue_model;

#[path = "../examples/verify_onnx.rs"]
mod verify_onnx;

#[test]
fn a_property_is_decided() {
    let network = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/onnx/gemm_bare.onnx");
    let computation = temper_formats::onnx::read(&network).unwrap().computation;
    let (inputs, outputs) = (computation.inputs(), computation.outputs());
    let folder = tempfile::tempdir().unwrap();
    let ask = |violation: &str| {
        let declare =
            |kind: &str, n: usize| (0..n).map(|i| format!("(declare-const {kind}_{i} Real)\n")).collect::<String>();
        let ends: String = (0..inputs).map(|i| format!("(assert (>= X_{i} 0.0))\n(assert (<= X_{i} 1.0))\n")).collect();
        let text = declare("X", inputs) + &declare("Y", outputs) + &ends + violation;
        let property = folder.path().join("property.vnnlib");
        std::fs::write(&property, text).unwrap();
        verify_onnx::verify_onnx(&network, &property, 60.0).unwrap()
    };
    assert!(ask("(assert (>= Y_0 1000000.0))").starts_with("unsat: proved by "));
    assert!(ask("(assert (>= Y_0 -1000000.0))").starts_with("sat: "));
}

#[test]
fn a_model_is_continued() {
    let out = tempfile::tempdir().expect("a folder");
    let small = ["model.layers=1", "model.d_model=32", "model.heads=2", "data.seq_len=32", "batch.sequences=2"];
    let losses = continue_model::continue_model(out.path(), &small.map(str::to_owned), Some(4)).unwrap();
    // A byte-pair vocabulary of some thousand ids, hardly trained: neither 0 nor far above the loss of a guess.
    for loss in losses {
        let loss = loss.expect("both sets are evaluated");
        assert!((2.0..12.0).contains(&loss), "{losses:?}");
    }
    // The branch has its base's weights and a learning rate that begins again.
    let first_rate = |name: &str| {
        let run = temper::RunDir::open(out.path().join(name)).unwrap();
        let series = temper::RunSeries::read(&run).unwrap();
        assert_eq!(series.info.start, if name == "german" { "branch" } else { "fresh" });
        series.step_metric("lr")[0].1
    };
    assert!(first_rate("german") > 0.0 && first_rate("german") < 1e-3);
    assert!(first_rate("english") > 0.0);
}

#[test]
fn examples_are_short() {
    for text in [include_str!("../examples/continue_model.rs"), include_str!("../examples/verify_onnx.rs")] {
        let lines = text.lines().count();
        assert!(lines <= 40, "{lines} lines");
    }
}
