//! A sweep file: read, and every size chosen.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_sweep::{Sweep, judge_claim};

fuzz_target!(|text: &str| {
    let (Some(sweep), _) = Sweep::read("fuzz", text) else { return };
    for size in &sweep.sizes {
        let _ = sweep.choose(&size.name, &[], &[]);
        let _ = sweep.choose(&size.name, &["lr.peak=1e-3".to_owned()], &["seed=2".to_owned()]);
    }
    if let Ok(sweep) = Sweep::parse("fuzz", text) {
        assert!(!sweep.sizes.is_empty(), "a sweep without a size was accepted");
        for claim in &sweep.claims {
            let _ = judge_claim(claim, &[1, 2, 3], |name, seed| Some(name.len() as f64 + seed as f64));
        }
    }
});
