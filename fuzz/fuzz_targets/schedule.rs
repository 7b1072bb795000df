//! `--set` overrides, one a line, over a recipe; the schedules of learning rate and radius that come of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper::{SCHEMA, Trains};
use temper_certify::spec::CertifySpec;
use temper_recipe::{Library, Recipe};
use temper_schedule::{Units, sparkline};
use temper_train::spec::{RunSpec, Spec};

const BASE: &str = "lr = { peak = 1e-3, warmup = \"1%\" }\nrun.horizon = \"1000 steps\"\n\
    data = { tokenizer = \"builtin:demo\", train.t.path = \"t.jsonl\" }\nmodel = { layers = 1, d_model = 16, heads = 2 }\n";
const IMAGES: &str = "task = \"certify\"\nmodel = { name = \"small\", width = 2 }\ndata = { images = \"pets\" }\n\
    eps = { target = 0.1, length = \"30%\" }\nlr = { shape = \"constant\", peak = 5e-3 }\nrun.horizon = \"1000 steps\"\n";

fuzz_target!(|text: &str| {
    let overrides: Vec<String> = text.lines().map(str::to_owned).collect();
    for base in [BASE, IMAGES] {
        let Ok(recipe) = Recipe::from_text("fuzz", base, &overrides, &Library { schema: &SCHEMA, recipes: &[] }) else { continue };
        let Ok(spec) = RunSpec::read(&recipe) else { continue };
        let units = Units { tokens_per_step: 512, tokens_per_epoch: Some(100_000) };
        let Ok(written) = spec.schedule_spec() else { continue };
        let Ok(horizon) = written.horizon.steps(&units, None) else { continue };
        if let Ok(schedule) = spec.schedule(&units, horizon) {
            for phase in schedule.phases() {
                for n in [phase.first, phase.last, phase.last.saturating_add(1)] {
                    assert!(schedule.at(n).is_finite(), "lr of update {n} in\n{text}");
                }
            }
            let _ = sparkline(&schedule, Some(horizon), 60, 4);
            let _ = schedule.bands(horizon);
        }
        if Trains::of(&recipe) == Trains::Classifier
            && let Ok(eps) = CertifySpec::read(&recipe).and_then(|spec| spec.eps_schedule(&units, horizon))
        {
            for n in [0, 1, eps.first, eps.last, horizon / 2, horizon] {
                let radius = eps.at(n);
                assert!((0.0..=1.0).contains(&radius), "radius {radius} of update {n} in\n{text}");
            }
            let _ = eps.bands(horizon);
        }
    }
});
