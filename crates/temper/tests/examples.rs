//! The examples run, and are as short as an example should be.

#[path = "../examples/continue_model.rs"]
mod continue_model;

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
    let lines = include_str!("../examples/continue_model.rs").lines().count();
    assert!(lines <= 40, "{lines} lines");
}
