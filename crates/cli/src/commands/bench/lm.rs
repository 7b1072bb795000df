//! `temper bench lm`: updates of a GPT-NeoX language model.

use std::path::Path;

use serde_json::{Value, json};
use temper::builtin::LIBRARY;
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_data::Vocabulary;
use temper_lm::cost::Memory;
use temper_lm::shape;
use temper_lm::spec::LmSpec;
use temper_lm::step::{Pieces, Update, train_step};
use temper_model::tensors::{self, Dtype, Outgoing};
use temper_model::{GptNeox, GptNeoxConfig, hugging_face};
use temper_recipe::{Origin, Recipe, Value as Setting};
use temper_train::group::Alone;
use temper_train::optimizer::Optimizer;
use temper_train::spec::Spec;
use temper_train::trainer::NO_LIMIT;

use super::{Work, begin_dump, dump_settings, made_up, measure, require_memory};
use crate::args::{BenchLm, Repeat};
use crate::printer::Printer;
use crate::problems::Outcome;

/// What a recipe must say; everything else has its default there and so here. The data is never looked for.
const RECIPE: &str = r#"
task = "lm"
data.train.made_up.path = "made up"
lr.peak = 1e-3
run.horizon = "1000 steps"
"#;

/// Runs the command.
pub fn run(args: &BenchLm, printer: &Printer) -> Outcome {
    let (batch, seq, repeat) = (args.batch as usize, args.seq as usize, &args.repeat);
    let spec = spec(args)?;
    let config = config(args, &spec)?;
    let pieces = Pieces { shards: 1, micro: batch, activation_checkpointing: false };
    let memory = Memory::of(&config, seq, pieces).total();
    require_memory("lm", memory, "a smaller --batch, --seq, --d-model or --vocab needs less")?;

    let device = args.device.open(printer)?;
    let mut model = GptNeox::new(config.clone(), spec.init, repeat.seed, &device);
    let optimizer_settings = spec.run.optimizer;
    let mut optimizer = Optimizer::new(optimizer_settings, &model, &device);
    let lr = spec.run.schedule_spec()?.lr.peak;
    let settings = json!({
        "workload": "lm", "layers": config.layers, "d_model": config.d_model, "heads": config.heads,
        "vocab": config.vocab_size, "batch": batch, "seq": seq, "parameters": config.parameters(),
        "lr": lr, "optimizer": optimizer_settings,
    });
    let rows = |step: u64| made_up::tokens(repeat.seed, step, config.vocab_size, batch * (seq + 1));
    if let Some(folder) = &repeat.dump {
        dump(folder, &model, &settings, repeat, [batch, seq + 1], rows)?;
    }
    let measured = measure(repeat, rows, |step, rows| {
        let update = Update { rows, seq, pieces, lr, step: step + 1 };
        Ok(train_step(&mut model, &mut optimizer, update, &Alone, NO_LIMIT)?.expect("nothing stops it").loss)
    })?;
    let work = Work {
        about: format!(
            "GPT-NeoX of {} parameters, {} x {}, vocabulary {}; batches of {batch} x {seq} tokens",
            count(config.parameters() as f64),
            config.layers,
            config.d_model,
            config.vocab_size
        ),
        settings,
        unit: "tokens",
        units: batch * seq,
        flops: config.flops_per_token(seq) * (batch * seq) as f64,
    };
    measured.show(work, repeat, printer);
    Ok(0)
}

/// The recipe with this shape.
fn spec(args: &BenchLm) -> Result<LmSpec, Problems> {
    let mut recipe = Recipe::from_text("bench lm", RECIPE, &[], &LIBRARY)?;
    let shape = [
        ("model.layers", args.layers),
        ("model.d_model", args.d_model),
        ("model.heads", args.heads),
        ("model.vocab_size", args.vocab),
        ("data.seq_len", args.seq),
    ];
    for (key, value) in shape {
        recipe.fill(key, Setting::Int(value.into()), Origin::Set);
    }
    LmSpec::read(&recipe)
}

/// The shape; what makes it impossible names the options.
fn config(args: &BenchLm, spec: &LmSpec) -> Result<GptNeoxConfig, Problems> {
    let nobody = Vocabulary { size: 0, fingerprint: String::new(), eod: 0 };
    shape::config(spec, &nobody).map_err(|mut problems| {
        let shape = format!(
            "--layers {} --d-model {} --heads {} --vocab {} --seq {}",
            args.layers, args.d_model, args.heads, args.vocab, args.seq
        );
        for problem in &mut problems.0 {
            let hint = "--d-model is a multiple of --heads, and a quarter of their ratio is even";
            *problem = Problem::input("bench lm", &shape, &problem.why).hint(hint);
        }
        problems
    })
}

/// Writes a Hugging Face directory with the first weights, `batches.safetensors` with the `tokens` `[steps, batch, seq + 1]`,
/// and `bench.json`. Token numbers are whole in f32, in which they are stored.
fn dump(
    folder: &Path,
    model: &GptNeox,
    settings: &Value,
    repeat: &Repeat,
    [batch, row]: [usize; 2],
    rows: impl Fn(u64) -> Vec<u32>,
) -> Result<()> {
    begin_dump(folder)?;
    hugging_face::write(folder, model, Dtype::F32, &[])?;
    let steps = repeat.warmup as usize + repeat.steps as usize;
    let values = || (0..steps as u64).flat_map(&rows).map(|token| token as f32).collect();
    let tokens = Outgoing { shape: vec![steps, batch, row], values: Box::new(values), dtype: Dtype::F32 };
    tensors::write(&folder.join("batches.safetensors"), vec![("tokens".into(), tokens)])?;
    dump_settings(folder, settings)
}
