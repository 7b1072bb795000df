//! `network.json` of a checkpoint. What is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_graph::NetworkConfig;

fuzz_target!(|text: &str| {
    let Ok(config) = NetworkConfig::from_json(text, "network.json") else { return };
    let _ = (config.parameters(), config.macs(), config.relus(), config.has_batch_norm());
    let again = NetworkConfig::from_json(&config.to_json(), "network.json").expect("what was written is read");
    assert_eq!(again.to_json(), config.to_json());
});
