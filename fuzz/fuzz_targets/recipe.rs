//! A recipe as a file holds it: read, layered on a built-in one, checked, written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper::SCHEMA;
use temper_recipe::{Library, Recipe};
use temper_train::spec::expectation::Expectation;

const BASE: &str = include_str!("../../recipes/rewarm/small.toml");

fuzz_target!(|text: &str| {
    let library = Library { schema: &SCHEMA, recipes: &[("rewarm/small", BASE)] };
    let Ok(recipe) = Recipe::from_text("fuzz", text, &[], &library) else { return };
    let _ = Expectation::read(&recipe);
    let written = recipe.to_toml();
    if let Err(problems) = Recipe::from_resolved(&written, "resolved.toml", &SCHEMA) {
        panic!("{}\n{written}", problems[0]);
    }
});
