//! Pre-trains a small model on English and continues it on German, with the learning rate warmed up again.
//! `cargo run --release -p temper --example continue_model [OUT [KEY=VALUE ...]]`
use std::path::Path;
use temper::{Limits, Problems, Ranks, RunSeries, Session, Silent, Unattended};

/// Trains both runs in `out` and gives the loss of the second on either language. `overrides` are of the first one's recipe.
pub fn continue_model(out: &Path, overrides: &[String], max_steps: Option<u64>) -> Result<[Option<f64>; 2], Problems> {
    let limits = Limits { max_steps, deadline: None };
    let session = Session { limits, device: &temper::device(), listener: &Silent, ranks: &Ranks::alone() };

    let english = temper::recipe("demo/english", overrides)?;
    let base = out.join("english");
    temper::train(english, &base, session)?.train(&mut Unattended)?;

    let rewarmed = ["lr.shape=cosine", "lr.peak=1e-3", "lr.warmup=5%", "clocks.schedule=reset"].map(str::to_owned);
    let german = temper::branch_recipe("demo/rewarmed", &rewarmed)?;
    let mut run = temper::branch(german, &base.display().to_string(), &out.join("german"), session)?;
    run.train(&mut Unattended)?;

    let series = RunSeries::read(run.dir())?;
    Ok(["english", "german"].map(|set| series.eval_metric(set, "loss").last().map(|(_, loss)| *loss)))
}

#[allow(dead_code, reason = "the test calls the function above")]
fn main() -> Result<(), Problems> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().unwrap_or_else(|| "runs/continued".into());
    let [english, german] = continue_model(Path::new(&out), &arguments.collect::<Vec<_>>(), None)?;
    println!("loss of the continued model: English {english:.4?}, German {german:.4?}");
    Ok(())
}
