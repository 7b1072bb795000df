//! `config.json` of a Hugging Face directory. What is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_model::GptNeoxConfig;

fuzz_target!(|text: &str| {
    let Ok(config) = GptNeoxConfig::from_json(text, "config.json") else { return };
    let _ = (config.parameters(), config.non_embedding_parameters(), config.flops_per_token(512), config.rotary_dims());
    let again = GptNeoxConfig::from_json(&config.to_json("float32"), "config.json").expect("what was written is read");
    assert_eq!(again.to_json("float32"), config.to_json("float32"));
});
