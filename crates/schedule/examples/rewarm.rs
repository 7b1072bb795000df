//! Three ways to continue a run whose learning rate has decayed, as curves: `cargo run -p temper-schedule --example rewarm`.

use temper_schedule::{Convention, DecayShape, Length, LrShape, LrSpec, Units, sparkline};

fn main() {
    // 1000 updates of 500,000 tokens: lengths in tokens need to know how large an update is.
    let units = Units { tokens_per_step: 500_000, tokens_per_epoch: None };
    let spec = |peak, warmup, shape| LrSpec {
        peak,
        min: Some(3e-5),
        min_ratio: None,
        warmup,
        warmup_from: 0.0,
        convention: Convention::Ours,
        shape,
    };
    let ways = [
        ("rewarmed and decayed again", spec(3e-4, Length::Fraction(0.01), LrShape::Cosine { decay_end: None })),
        ("constant at the old minimum", spec(3e-5, Length::ZERO, LrShape::Constant)),
        (
            "rewarmed, then stable, with a decay over the last 50 Mtok",
            spec(
                3e-4,
                Length::Tokens(10_000_000),
                LrShape::Wsd { decay: Length::Tokens(50_000_000), decay_shape: DecayShape::Linear, power: 1.0 },
            ),
        ),
    ];
    for (name, spec) in ways {
        match spec.resolve(&units, 1000) {
            Ok(schedule) => println!("{name}\n{}", sparkline(&schedule, None, 64, 4)),
            Err(errors) => errors.iter().for_each(|error| eprintln!("{name}: {}: {}", error.field, error.why)),
        }
    }
}
