//! `model.graph`: a network as lines of text. What is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_graph::text::{lines, parse};

fuzz_target!(|text: &str| {
    let written: Vec<&str> = text.lines().collect();
    let Ok(config) = parse(&written, "fuzz", [1, 8, 8], 10) else { return };
    let _ = (config.parameters(), config.macs(), config.relus(), config.has_batch_norm());
    let again = parse(&lines(&config), "fuzz", [1, 8, 8], 10).expect("what was written is read");
    assert_eq!(again.to_json(), config.to_json());
});
