//! Lengths of training, radii, points of a run, and names of runs, as recipes, sweeps and the command line write them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_recipe::{Origin, radius};
use temper_record::RunRef;
use temper_schedule::{Length, Units};
use temper_sweep::At;

fuzz_target!(|text: &str| {
    if let Ok(length) = text.parse::<Length>() {
        let shown = length.to_string();
        let again: Length = shown.parse().unwrap_or_else(|e| panic!("{text:?} is shown as {shown:?}: {e}"));
        assert_eq!(length.is_zero(), again.is_zero(), "{text:?}, {shown:?}");
        for (tokens_per_step, tokens_per_epoch, horizon) in
            [(0, None, None), (1, Some(u64::MAX), Some(u64::MAX)), (8192, Some(1_000_000), Some(5000))]
        {
            let units = Units { tokens_per_step, tokens_per_epoch };
            if let Ok(steps) = length.steps(&units, horizon) {
                assert_eq!(steps == 0, length.is_zero(), "{length} is {steps} steps");
            }
        }
    }
    if let Some(radius) = radius(text) {
        assert!(radius > 0.0 && radius <= 1.0);
    }
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }
    let _ = text.parse::<At>();
    let _ = RunRef::parse(text);
});
