//! `temper bench ibp`: updates of an image classifier by a method of certified training, within the ramp of the radius.

use std::path::Path;

use serde_json::{Value, json};
use temper::builtin::LIBRARY;
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_certify::cost::{Memory, passes};
use temper_certify::radius::EpsAt;
use temper_certify::spec::CertifySpec;
use temper_certify::step::{Batch, Update, train_step};
use temper_graph::{BatchNorm, NetworkConfig, by_name};
use temper_model::Classifier;
use temper_model::image::stored;
use temper_model::tensors::{self, Dtype, Outgoing};
use temper_recipe::{Origin, Recipe, Value as Setting};
use temper_train::group::Alone;
use temper_train::optimizer::Optimizer;
use temper_train::spec::Spec;
use temper_train::trainer::NO_LIMIT;

use super::{Work, begin_dump, dump_settings, made_up, measure, require_memory};
use crate::args::{BenchIbp, Repeat};
use crate::printer::Printer;
use crate::problems::Outcome;

/// What a recipe must say; everything else has its default there and so here. The data is never looked for, and the radius is
/// an option. The learning rate is a fiftieth of the paper's: the bounds of fresh weights are so wide that the first of its
/// updates divide the loss by ten each, and two programs that round differently would part after four of them.
const RECIPE: &str = r#"
task = "certify"
data.images = "made up"
eps.target = 0.4
lr.peak = 1e-5
run.horizon = "1000 steps"
"#;
/// The target of the ramp as a multiple of the radius: between its ends, so that regularisers and mixtures of bounds act.
const TARGET: f64 = 4.0;

/// Runs the command.
pub fn run(args: &BenchIbp, printer: &Printer) -> Outcome {
    if !(args.eps > 0.0 && args.eps <= 1.0) {
        let problem = Problem::input("bench ibp", format!("--eps {}", args.eps), "it is not a radius");
        return Err(problem.hint("a radius is above 0 and at most 1").into());
    }
    let (rows, repeat) = (args.batch as usize, &args.repeat);
    let (width, classes) = (args.width.map(|width| width as usize), args.classes as usize);
    let config = by_name(&args.net, width, BatchNorm::Full, args.image, classes)?;
    let spec = spec(args)?;
    let CertifySpec { ref method, accumulation, .. } = spec;
    let memory = Memory::of(&config, method, 1, rows, 1, rows)?.total();
    require_memory("ibp", memory, "a smaller --batch or --width needs less")?;

    let target = TARGET * args.eps;
    let radius = EpsAt { eps: args.eps, target, weight: method.lambda * (1.0 - args.eps / target) };
    let device = args.device.open(printer)?;
    let mut net = Classifier::new(config.clone(), spec.network.init(), repeat.seed, &device);
    let optimizer_settings = spec.run.optimizer;
    let mut optimizer = Optimizer::new(optimizer_settings, &net, &device);
    let lr = spec.run.schedule_spec()?.lr.peak;
    let regularised = method.regularised(&radius);
    let described = json!({
        "workload": "ibp", "net": args.net, "width": args.width, "image": args.image, "classes": args.classes,
        "batch": rows, "method": args.method, "parameters": config.parameters(),
        "eps": radius.eps, "target": target, "weight": radius.weight, "tau": method.tau,
        "tightness": regularised && method.tightness, "relu_balance": regularised && method.relu_balance,
        "lr": lr, "optimizer": optimizer_settings,
    });
    let pixels = args.image.iter().product();
    let batch = |step: u64| made_up::images(repeat.seed, step, pixels, classes, rows);
    if let Some(folder) = &repeat.dump {
        dump(folder, &net, &described, repeat, rows, batch)?;
    }
    let measured = measure(repeat, batch, |step, batch| {
        let update = Update { batch, method, radius: &radius, accumulation, lr, step: step + 1, seed: repeat.seed };
        let metrics = train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, &device)?;
        Ok(metrics.expect("nothing stops it").loss)
    })?;
    measured.show(work(args, &config, described, passes(method, &radius, classes)), repeat, printer);
    Ok(0)
}

fn work(args: &BenchIbp, config: &NetworkConfig, settings: Value, passes: u64) -> Work {
    let [c, h, w] = args.image;
    Work {
        settings,
        about: format!(
            "{} of {} parameters, {}; batches of {} images of {c}x{h}x{w}",
            args.net,
            count(config.parameters() as f64),
            args.method,
            args.batch
        ),
        unit: "images",
        units: args.batch as usize,
        flops: 2.0 * config.macs() as f64 * passes as f64 * f64::from(args.batch),
    }
}

/// The recipe with this network and method.
fn spec(args: &BenchIbp) -> Result<CertifySpec, Problems> {
    let mut recipe = Recipe::from_text("bench ibp", RECIPE, &[], &LIBRARY)?;
    for (key, value) in [("model.name", &args.net), ("method.name", &args.method)] {
        recipe.fill(key, Setting::Text(value.clone()), Origin::Set);
    }
    CertifySpec::read(&recipe)
}

/// Writes the network as a checkpoint holds it (`network.json`, `model.safetensors`), `batches.safetensors` with `pixels`
/// `[steps, batch, C, H, W]` and `labels` `[steps, batch]`, whole numbers in f32, and `bench.json`.
fn dump(
    folder: &Path,
    net: &Classifier,
    settings: &Value,
    repeat: &Repeat,
    rows: usize,
    batch: impl Fn(u64) -> Batch,
) -> Result<()> {
    begin_dump(folder)?;
    let path = folder.join("network.json");
    std::fs::write(&path, net.config.to_json()).map_err(|cause| Problem::io("write network", path, &cause))?;
    tensors::write(&folder.join("model.safetensors"), stored::outgoing(net))?;
    let (steps, [c, h, w]) = (repeat.warmup as usize + repeat.steps as usize, net.config.input);
    let pixels = || (0..steps as u64).flat_map(|step| batch(step).pixels).collect();
    let labels = || (0..steps as u64).flat_map(|step| batch(step).labels).map(|label| label as f32).collect();
    let tensors = vec![
        ("pixels".into(), Outgoing { shape: vec![steps, rows, c, h, w], values: Box::new(pixels), dtype: Dtype::F32 }),
        ("labels".into(), Outgoing { shape: vec![steps, rows], values: Box::new(labels), dtype: Dtype::F32 }),
    ];
    tensors::write(&folder.join("batches.safetensors"), tensors)?;
    dump_settings(folder, settings)
}
