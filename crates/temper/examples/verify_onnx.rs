//! Decides whether a network in an ONNX file has a property in a VNN-LIB file.
//! `cargo run --release -p temper --example verify_onnx NETWORK.onnx PROPERTY.vnnlib [SECONDS]`
use std::path::Path;
use std::time::Duration;
use temper::{Answer, Network, Problems, Settings};

/// What is known of the property after so many seconds, in words.
pub fn verify_onnx(network: &Path, property: &Path, seconds: f64) -> Result<String, Problems> {
    let settings = Settings { timeout: Some(Duration::from_secs_f64(seconds)), ..Settings::default() };
    let (decision, _) = Network::open(network)?.ask(property, &settings, &|| false)?;
    Ok(match decision.answer {
        Answer::Unsat => {
            format!("unsat: proved by {} in {} arithmetic", decision.stage.name(), decision.arithmetic.name())
        }
        Answer::Sat(found) => format!("sat: {:?} gives {:?}", found.input, found.output),
        Answer::Unknown(why) => format!("unknown: {why}"),
        Answer::Timeout => "timeout".to_owned(),
    })
}

#[allow(dead_code, reason = "the test calls the function above")]
fn main() -> Result<(), Problems> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, property, seconds @ ..] = &arguments[..] else { panic!("NETWORK.onnx PROPERTY.vnnlib [SECONDS]") };
    let seconds = seconds.first().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    println!("{}", verify_onnx(Path::new(network), Path::new(property), seconds)?);
    Ok(())
}
