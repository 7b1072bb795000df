//! `temper plan RECIPE`: what a recipe does and costs, before anything starts.

mod certify;
mod lm;

use serde_json::{Value, json};
use temper::Trains;
use temper::builtin::LIBRARY;
use temper_base::Problems;
use temper_base::numbers::{count, duration};
use temper_recipe::{Entry, Recipe};
use temper_report::Table;
use temper_train::plan::Share;
use temper_train::spec::SHARDS;
use temper_train::start::require_part;

use crate::args::Plan;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Plan, printer: &Printer) -> Outcome {
    let load = if args.from.is_some() { Recipe::load_branch } else { Recipe::load };
    let mut recipe = load(&args.recipe, &args.overrides.set, &LIBRARY)?;
    if let Some(ranks) = args.ranks.filter(|_| recipe.get(SHARDS).is_none()) {
        let shards = format!("{SHARDS}={}", ranks.next_power_of_two());
        printer.warn(format_args!("the recipe has no {SHARDS}: planned with {shards}"), None);
        recipe = load(&args.recipe, &[&args.overrides.set[..], &[shards]].concat(), &LIBRARY)?;
    }
    match Trains::of(&recipe) {
        Trains::LanguageModel => lm::run(args, &mut recipe, printer),
        Trains::Classifier => certify::run(args, &mut recipe, printer),
    }
}

/// What a rank holds and sends, if the run is planned for several.
fn share(args: &Plan, recipe: &Recipe, parameters: u64) -> Result<Option<Share>, Problems> {
    let Some(ranks) = args.ranks.map(|ranks| ranks as usize) else { return Ok(None) };
    let shards = recipe.opt(SHARDS, Recipe::usize)?.unwrap_or(1);
    require_part(recipe, shards, ranks)?;
    Ok(Some(Share::of(parameters, shards, ranks)))
}

/// The line about ranks.
fn share_text(share: &Share) -> String {
    let Share { ranks, shards, sent, .. } = share;
    let [slow, fast] = [10e9, 100e9].map(|bits| duration(share.seconds(bits)));
    let sent = count(*sent as f64);
    format!(
        "ranks        {ranks} that share {shards} shards; the memory is that of one, the time that of one process without others; each sends up to {sent}B an update: {slow} at 10 Gbit/s, {fast} at 100 Gbit/s\n"
    )
}

fn share_json(share: &Share) -> Value {
    json!({
        "ranks": share.ranks, "shards": share.shards, "bytes_per_update": share.sent,
        "seconds_at_10_gbit": share.seconds(10e9), "seconds_at_100_gbit": share.seconds(100e9),
    })
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
