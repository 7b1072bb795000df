//! `temper inspect RUN`: what the intervals do, layer by layer.

use std::path::Path;

use burn::tensor::Device;
use serde_json::json;
use temper::builtin::LIBRARY;
use temper_base::Problem;
use temper_bounds::boxes::boxes;
use temper_bounds::ibp::{LayerState, difference_gains, layer_states};
use temper_certify::{images, open, settings, start};
use temper_data::images::Images;
use temper_model::ImageNet;
use temper_model::image::names::vanilla_init;
use temper_model::image::{ImageInit, Op, Statistics};
use temper_recipe::{Recipe, Task};
use temper_report::Table;

use crate::args;
use crate::commands::verify::radius;
use crate::printer::Printer;
use crate::problems::Outcome;

/// What is known of one layer.
#[derive(Debug, Clone)]
pub struct Row {
    /// The layer with weights.
    pub layer: String,
    /// Mean width of its output before its batch norm, over the mean width of the pre-activation that it reads.
    pub gain: f64,
    /// The same after its batch norm, where it has one.
    pub gain_after: f64,
    /// The intervals before its ReLU.
    pub state: LayerState,
}

/// Runs the command.
pub fn run(args: &args::Inspect, printer: &Printer) -> Outcome {
    let device = Device::flex();
    let path = Path::new(args.run.split('@').next().unwrap_or(&args.run));
    if path.join("metrics.jsonl").exists() || path.join("resolved.toml").exists() {
        if !args.overrides.set.is_empty() {
            let problem =
                Problem::input("inspect", "--set", "values can be overridden only for a recipe, not for a run");
            return Err(problem.hint("leave --set out, or name the recipe instead of the run").into());
        }
        let opened = open::open(&args.run, &device)?;
        let test = images::judged(&opened.run, &opened.recipe, None, printer)?;
        open::require_fit(&opened.net, &test, &args.run)?;
        let eps = eps(args, &opened.recipe)?;
        let images = test.len().min(args.images as usize);
        let rows = look(&opened.net, &test, images, eps, Statistics::Running, &device);
        let what = format!("{} at step {}, running statistics", args.run, opened.step);
        tell(args, &what, eps, images, &[("", rows)], printer);
        return Ok(0);
    }
    let mut recipe = Recipe::load(&args.run, &args.overrides.set, &LIBRARY)?;
    if recipe.task() != Task::Certify {
        let problem = Problem::input("inspect", &args.run, "it is a recipe of a language model");
        return Err(problem.hint("name a run or a recipe of certified training").into());
    }
    settings::fill_method(&mut recipe)?;
    let data = images::open(&recipe)?;
    let eps = eps(args, &recipe)?;
    let own = start::fresh(&recipe, &data, &device)?;
    let images = data.test.len().min(args.images as usize);
    let drawn = |init: ImageInit| {
        let net = ImageNet::new(own.config.clone(), init, recipe.u64("seed")?, &device)
            .normalised(own.mean.clone(), own.std.clone());
        Ok::<_, Problem>(look(&net, &data.test, images, eps, Statistics::Batch, &device))
    };
    // The initialisation by default, that of the paper, and that of the recipe.
    let name = recipe.opt("model.name", Recipe::text)?;
    let vanilla = name.map_or(ImageInit::Default, |name| vanilla_init(&name));
    let mut columns = vec![("default", drawn(vanilla)?), ("ibp", drawn(ImageInit::Ibp)?)];
    let (chosen, init) = (recipe.text("init.weights")?, settings::init(&recipe)?);
    if init != vanilla && init != ImageInit::Ibp {
        columns.push((&chosen, drawn(init)?));
    }
    tell(args, &format!("{}, fresh weights, batch statistics", args.run), eps, images, &columns, printer);
    Ok(0)
}

fn eps(args: &args::Inspect, recipe: &Recipe) -> temper_base::Result<f64> {
    args.eps.as_deref().map_or_else(|| recipe.radius("eps.target"), radius)
}

/// Looks at the first `count` images.
pub fn look(
    net: &ImageNet,
    images: &Images,
    count: usize,
    eps: f64,
    statistics: Statistics,
    device: &Device,
) -> Vec<Row> {
    let indices: Vec<u32> = (0..images.len().min(count) as u32).collect();
    let (pixels, labels) = images.batch(&indices, None);
    let [c, h, w] = net.config.input;
    let x = boxes(&pixels, [labels.len(), c, h, w], eps, &net.mean, &net.std, device);
    let trace = net.trace_plain(x, statistics);
    let states = layer_states(net, &trace);
    let nodes = &net.config.nodes;
    let width = |value: usize| f64::from(trace.values[value].clone().narrow(0, 2, 1).mean().into_scalar::<f32>());
    let gains = difference_gains(net, &trace);
    let rows = gains.into_iter().map(|(layer, gain)| {
        let node = nodes.iter().position(|node| node.name == layer).expect("the layer of a gain");
        // Forward to the batch norm and the ReLU behind the layer, if they follow it directly.
        let reader = |value: usize, op: Op| nodes.iter().position(|node| node.op == op && node.inputs == [value]);
        let norm = reader(node + 1, Op::BatchNorm);
        let last = norm.map_or(node + 1, |norm| norm + 1);
        let state = reader(last, Op::Relu).map(|relu| nodes[relu].name.as_str());
        let state = states.iter().find(|found| Some(found.name.as_str()) == state).cloned();
        let gain_after = gain * width(last) / width(node + 1);
        let nothing = LayerState {
            name: String::new(),
            units: 0.0,
            active: 0.0,
            unstable: 0.0,
            inactive: 0.0,
            width: 2.0 * width(last),
        };
        Row { layer, gain, gain_after, state: state.unwrap_or(nothing) }
    });
    rows.collect()
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
