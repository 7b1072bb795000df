//! `temper doctor --parity`: the same updates of two tiny models on a device and on the processor.

use burn::tensor::Device;
use serde_json::json;
use temper::builtin::LIBRARY;
use temper_base::Problems;
use temper_certify::radius::EpsAt;
use temper_certify::spec::CertifySpec;
use temper_certify::step::{self as certify, Accumulation};
use temper_data::Vocabulary;
use temper_graph::names::{BatchNorm, by_name};
use temper_lm::shape;
use temper_lm::spec::LmSpec;
use temper_lm::step::{self as lm, Pieces};
use temper_model::{Classifier, GptNeox};
use temper_recipe::Recipe;
use temper_train::group::Alone;
use temper_train::optimizer::Optimizer;
use temper_train::spec::Spec;
use temper_train::trainer::NO_LIMIT;

use crate::args::Doctor;
use crate::commands::bench::made_up;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Updates of each model.
const UPDATES: u64 = 12;
/// How far losses and norms may be apart, as a share of what they are.
const TOLERANCE: f64 = 1e-4;
/// The seed of weights and data.
const SEED: u64 = 1;

const LM: &str = r#"
task = "lm"
data.train.made_up.path = "made up"
data.seq_len = 24
lr.peak = 1e-3
run.horizon = "1000 steps"
model = { layers = 2, d_model = 64, heads = 4, vocab_size = 211 }
"#;
const CERTIFY: &str = r#"
task = "certify"
data.images = "made up"
model.name = "small"
eps.target = 0.1
lr.peak = 1e-4
run.horizon = "1000 steps"
"#;

/// Losses and norms of a half, and how often it read from the device.
struct Half {
    name: &'static str,
    numbers: Vec<[f64; 2]>,
    readbacks: u64,
}

/// Runs the command.
pub fn run(args: &Doctor, printer: &Printer) -> Outcome {
    let device = args.device.open(printer)?;
    let mut halves = Vec::new();
    for train in [language_model as fn(&Device) -> Result<Half, Problems>, classifier] {
        let there = train(&device)?;
        halves.push((train(&temper::device::device())?, there));
    }
    let apart = |here: &Half, there: &Half| {
        let pairs = here.numbers.iter().flatten().zip(there.numbers.iter().flatten());
        // Not a number is as far apart as can be.
        pairs
            .map(|(here, there)| (here - there).abs() / here.abs())
            .fold(0.0, |most, far| if far <= most { most } else { far })
    };
    let mut agree = true;
    let mut described = Vec::new();
    for (here, there) in &halves {
        let (far, reads) = (apart(here, there), there.readbacks as f64 / UPDATES as f64);
        let fine = far <= TOLERANCE;
        agree &= fine;
        described.push(json!({
            "half": here.name, "updates": UPDATES, "relative_difference": far, "agrees": fine, "readbacks_per_update": reads,
            "losses_cpu": here.numbers.iter().map(|[loss, _]| loss).collect::<Vec<_>>(),
            "losses_device": there.numbers.iter().map(|[loss, _]| loss).collect::<Vec<_>>(),
        }));
        if !args.json {
            let word = if fine { "ok" } else { "problem" };
            printer.data(format_args!(
                "{word:7}  {:14} {UPDATES} updates, losses and norms {far:.1e} apart (at most {TOLERANCE:.0e}), {reads:.1} reads an update",
                here.name
            ));
        }
    }
    if args.json {
        let document = json!({ "device": args.device.device.to_string(), "agrees": agree, "halves": described });
        printer.data(serde_json::to_string_pretty(&document).expect("plain data has a JSON form"));
    } else if !agree {
        printer.say("this device does not compute what the processor computes: do not train on it");
    }
    Ok(u8::from(!agree))
}

/// A transformer of two layers: two pieces a batch, so that gradients are accumulated.
fn language_model(device: &Device) -> Result<Half, Problems> {
    let spec = LmSpec::read(&Recipe::from_text("parity", LM, &[], &LIBRARY)?)?;
    let nobody = Vocabulary { size: 0, fingerprint: String::new(), eod: 0 };
    let config = shape::config(&spec, &nobody)?;
    let (seq, batch) = (spec.seq_len, 4);
    let mut model = GptNeox::new(config.clone(), spec.init, SEED, device);
    let mut optimizer = Optimizer::new(spec.run.optimizer, &model, device);
    let pieces = Pieces { shards: 1, micro: 2, activation_checkpointing: false };
    let lr = spec.run.schedule_spec()?.lr.peak;
    train("language model", |step| {
        let rows = made_up::tokens(SEED, step, config.vocab_size, batch * (seq + 1));
        let update = lm::Update { rows: &rows, seq, pieces, lr, step };
        let made = lm::train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT)?.expect("nothing stops it");
        Ok([made.loss, made.grad_norm])
    })
}

/// A network with batch norm, with both regularisers.
fn classifier(device: &Device) -> Result<Half, Problems> {
    let spec = CertifySpec::read(&Recipe::from_text("parity", CERTIFY, &[], &LIBRARY)?)?;
    let (input, classes, images) = ([1, 12, 12], 10, 8);
    let config = by_name("small", Some(2), BatchNorm::Full, input, classes)?;
    let mut net = Classifier::new(config, spec.network.init(), SEED, device);
    let mut optimizer = Optimizer::new(spec.run.optimizer, &net, device);
    let accumulation = Accumulation { shards: 1, pieces: 1, whole_batch_statistics: false };
    let lr = spec.run.schedule_spec()?.lr.peak;
    let method = &spec.method;
    train("classifier", |step| {
        let eps = 0.1 * step as f64 / (2 * UPDATES) as f64;
        let radius = EpsAt { eps, target: 0.1, weight: method.lambda * (1.0 - eps / 0.1) };
        let batch = made_up::images(SEED, step, input.iter().product(), classes, images);
        let update = certify::Update { batch: &batch, method, radius: &radius, accumulation, lr, step, seed: SEED };
        let made = certify::train_step(&mut net, &mut optimizer, update, &Alone, NO_LIMIT, device)?;
        let made = made.expect("nothing stops it");
        Ok([made.loss, made.grad_norm])
    })
}

fn train(name: &'static str, mut update: impl FnMut(u64) -> Result<[f64; 2], Problems>) -> Result<Half, Problems> {
    let before = temper_ops::readbacks();
    let numbers = (1..=UPDATES).map(&mut update).collect::<Result<_, _>>()?;
    Ok(Half { name, numbers, readbacks: temper_ops::readbacks() - before })
}
