//! `temper inspect RUN`: what the intervals do, layer by layer.

mod network;

use std::path::Path;

use serde_json::json;
use temper::builtin::LIBRARY;
use temper::{SCHEMA, Trains};
use temper_base::Problem;
use temper_certify::layers::{Row, look_at_layers};
use temper_certify::spec::{CertifySpec, fill_method};
use temper_certify::{images, open, start};
use temper_model::Classifier;
use temper_model::image::vanilla_init;
use temper_model::image::{ImageInit, Statistics};
use temper_recipe::Recipe;
use temper_report::Table;
use temper_train::spec::Spec;

use crate::args;
use crate::commands::verify::{is_network, radius};
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &args::Inspect, printer: &Printer) -> Outcome {
    if is_network(&args.run) {
        return network::run(args, printer);
    }
    if let Some(property) = &args.property {
        let problem = Problem::input("inspect", property.display(), "a property is one of a network (FILE.onnx)");
        return Err(problem.hint("leave --property out, or name a network").into());
    }
    let device = temper::device();
    let path = Path::new(args.run.split('@').next().unwrap_or(&args.run));
    if path.join("metrics.jsonl").exists() || path.join("resolved.toml").exists() {
        if !args.overrides.set.is_empty() {
            let problem =
                Problem::input("inspect", "--set", "values can be overridden only for a recipe, not for a run");
            return Err(problem.hint("leave --set out, or name the recipe instead of the run").into());
        }
        let opened = open::open(&args.run, &SCHEMA, &device)?;
        let test = images::judged_images(&opened.run, &opened.spec, None, printer)?;
        open::require_fit(&opened.net, &test, &args.run)?;
        let eps = eps(args, &opened.spec)?;
        let images = test.len().min(args.images as usize);
        let rows = look_at_layers(&opened.net, &test, images, eps, Statistics::Running, &device);
        let what = format!("{} at step {}, running statistics", args.run, opened.step);
        tell(args, &what, eps, images, &[("", rows)], printer);
        return Ok(0);
    }
    let mut recipe = Recipe::load(&args.run, &args.overrides.set, &LIBRARY)?;
    if Trains::of(&recipe) != Trains::Classifier {
        let problem = Problem::input("inspect", &args.run, "it is a recipe of a language model");
        return Err(problem.hint("name a run or a recipe of certified training").into());
    }
    fill_method(&mut recipe)?;
    let spec = CertifySpec::read(&recipe)?;
    let data = images::open(&spec)?;
    let eps = eps(args, &spec)?;
    let own = start::fresh_network(&spec, &data, &device)?;
    let images = data.test.len().min(args.images as usize);
    let drawn = |init: ImageInit| {
        let net = Classifier::new(own.config.clone(), init, spec.run.seed, &device)
            .normalised(own.mean.clone(), own.std.clone());
        look_at_layers(&net, &data.test, images, eps, Statistics::Batch, &device)
    };
    // The initialisation by default, that of the paper, and that of the recipe.
    let vanilla = spec.network.name.as_deref().map_or(ImageInit::Default, vanilla_init);
    let mut columns = vec![("default", drawn(vanilla)), ("ibp", drawn(ImageInit::Ibp))];
    let init = spec.network.init();
    if init != vanilla && init != ImageInit::Ibp {
        columns.push((spec.network.first_weights.name(), drawn(init)));
    }
    tell(args, &format!("{}, fresh weights, batch statistics", args.run), eps, images, &columns, printer);
    Ok(0)
}

fn eps(args: &args::Inspect, spec: &CertifySpec) -> temper_base::Result<f64> {
    args.eps.as_deref().map_or_else(|| spec.target(), radius)
}

fn tell(args: &args::Inspect, what: &str, eps: f64, images: usize, columns: &[(&str, Vec<Row>)], printer: &Printer) {
    if args.json {
        let sets: serde_json::Map<String, serde_json::Value> = columns
            .iter()
            .map(|(name, rows)| {
                let layers = rows.iter().map(|row| {
                    let [active, unstable, inactive] = row.state.shares();
                    json!({
                        "layer": row.layer, "gain": row.gain, "gain_after_batch_norm": row.gain_after,
                        "relu": row.state.name, "active": number(active), "unstable": number(unstable),
                        "inactive": number(inactive), "width": row.state.width,
                    })
                });
                ((if name.is_empty() { "run" } else { name }).to_string(), layers.collect())
            })
            .collect();
        let result = json!({ "what": what, "eps": eps, "images": images, "layers": sets });
        return printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    }
    let mut table = Table::new().text_column("layer");
    for (name, _) in columns {
        let group = if name.is_empty() { String::new() } else { format!("{name} init") };
        for heading in ["gain", "after bn", "width", "active", "unstable", "inactive"] {
            table = table.number_column(&group, heading);
        }
    }
    for (index, first) in columns[0].1.iter().enumerate() {
        let mut row = vec![first.layer.clone()];
        for (_, rows) in columns {
            let Row { gain, gain_after, state, .. } = &rows[index];
            let share = |share: f64| if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "-".into() };
            let [active, unstable, inactive] = state.shares();
            row.extend([format!("{gain:.3}"), format!("{gain_after:.3}"), format!("{:.4}", state.width)]);
            row.extend([active, unstable, inactive].map(share));
        }
        table.row(row);
    }
    printer.data(format_args!("{what}, eps {eps:.5}, {images} images\n\n{}", table.to_text().trim_end()));
    printer.say(
        "\ngain: mean width of the layer's output over that of the pre-activation it reads; after bn: the same behind its batch norm,\n\
         which takes the scale of the weights out: with full batch norm all first weights give about the same widths there",
    );
}

fn number(value: f64) -> serde_json::Value {
    if value.is_finite() { value.into() } else { serde_json::Value::Null }
}
