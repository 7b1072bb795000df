//! `resolved.toml` of a run: what is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper::SCHEMA;
use temper_recipe::Recipe;

fuzz_target!(|text: &str| {
    let Ok(recipe) = Recipe::from_resolved(text, "resolved.toml", &SCHEMA) else { return };
    let written = recipe.to_toml();
    match Recipe::from_resolved(&written, "resolved.toml", &SCHEMA) {
        Ok(again) => assert_eq!(again.to_toml(), written),
        Err(problems) => panic!("{}\n{written}", problems[0]),
    }
});
