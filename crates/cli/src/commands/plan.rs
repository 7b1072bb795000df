//! `temper plan RECIPE`: what a recipe does and costs, before anything starts.

mod certify;
mod lm;

use serde_json::{Value, json};
use temper::Trains;
use temper::builtin::LIBRARY;
use temper_recipe::{Entry, Recipe};
use temper_report::Table;

use crate::args::Plan;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Plan, printer: &Printer) -> Outcome {
    let load = if args.from.is_some() { Recipe::load_branch } else { Recipe::load };
    let mut recipe = load(&args.recipe, &args.overrides.set, &LIBRARY)?;
    match Trains::of(&recipe) {
        Trains::LanguageModel => lm::run(args, &mut recipe, printer),
        Trains::Classifier => certify::run(args, &mut recipe, printer),
    }
}

/// Every value of the recipe and where it comes from.
pub fn values(recipe: &Recipe) -> String {
    let mut values = Table::new().text_column("key").text_column("value").text_column("from");
    for (key, entry) in recipe.entries() {
        values.row([key.to_string(), entry.value.to_string(), entry.origin.to_string()]);
    }
    values.to_text().trim_end().to_string()
}

/// The same as JSON.
pub fn values_json(recipe: &Recipe) -> Value {
    let value = |(key, entry): (&str, &Entry)| {
        (key.to_string(), json!({ "value": entry.value.to_string(), "origin": entry.origin.to_string() }))
    };
    Value::Object(recipe.entries().into_iter().map(value).collect())
}
