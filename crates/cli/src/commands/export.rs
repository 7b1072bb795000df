//! `temper export RUN --out DIR`

mod onnx;
pub mod set;

use std::fs;
use std::path::Path;
use std::time::Duration;

use temper_base::{Listener, Problem, Result, files};
use temper_lm::{beside, open};
use temper_model::narrow::Losses;
use temper_model::{hugging_face, parameter, tensors};

use crate::args::{Dtype, Export, Format};
use crate::console;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Export, printer: &Printer) -> Outcome {
    match args.format {
        Format::Onnx => return onnx::run(args, printer),
        Format::HuggingFace if args.fold_batch_norm || args.vnnlib.is_some() => {
            let option = if args.fold_batch_norm { "--fold-batch-norm" } else { "--vnnlib" };
            let problem = Problem::input("export", option, "only an image classifier is exported so, as ONNX");
            return Err(problem.hint("add --format onnx, or leave it out").into());
        }
        Format::HuggingFace => {}
    }
    let mut opened = open::open(&args.model, &temper::SCHEMA, &temper::device(), printer)?;
    let dtype = match args.dtype {
        None => opened.dtype,
        Some(Dtype::F32) => tensors::Dtype::F32,
        Some(Dtype::F16) => tensors::Dtype::F16,
        Some(Dtype::Bf16) => tensors::Dtype::Bf16,
    };
    let mut beside = std::mem::take(&mut opened.beside);
    if let Some(tokenizer) = &opened.tokenizer {
        if opened.run.is_some() {
            opened.model.config.eos_token_id = tokenizer.eod();
        }
        let (files, warnings) = beside::complete_files(beside, tokenizer, &opened.model.config)?;
        printer.warnings(&warnings);
        beside = files;
        beside.push(("tokenizer.json".into(), tokenizer.to_json().to_vec()));
    }
    if let Some((name, entry, value)) = parameter::first_non_finite(&opened.model) {
        let why = format!("entry {entry} is {value}, which is exported unchanged");
        printer.warn(
            Problem::input("export", format!("tensor {name}"), why),
            Some("Temper does not train from such weights"),
        );
    }
    leave_nothing_half(&args.out, &beside)?;
    let losses = hugging_face::write(&args.out, &opened.model, dtype, &beside)?;
    say_losses(losses, dtype, printer);
    printer.say(format_args!("{}: GPT-NeoX in {}", args.out.display(), dtype.name()));
    if opened.tokenizer.is_none() {
        printer.say("exported without a tokenizer: the source directory has no tokenizer.json");
    }
    Ok(0)
}

/// A signal ends the export and removes what there is of it.
fn leave_nothing_half(out: &Path, beside: &beside::Files) -> Result<()> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(()); // It is refused, and nothing in it is ours.
    }
    let out = out.to_owned();
    let names: Vec<String> = beside
        .iter()
        .map(|(name, _)| name.clone())
        .chain(["model.safetensors".into(), hugging_face::MARK.into()])
        .collect();
    console::end_at_signal(move || {
        if out.join("config.json").exists() {
            return None; // All of it is there.
        }
        files::make_no_more();
        // What is just getting its name may still appear.
        for _ in 0..75 {
            for name in &names {
                let _ = fs::remove_file(out.join(name));
            }
            if fs::remove_dir(&out).is_ok() || !out.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some("stopped: nothing is exported".into())
    })
}

/// What the type did not keep. Few values near zero are usual.
fn say_losses(losses: Losses, dtype: tensors::Dtype, printer: &Printer) {
    let Losses { values, zeros, subnormal } = losses;
    if zeros + subnormal == 0 {
        return;
    }
    let name = dtype.name();
    let what = format!(
        "{name}: {zeros} of {values} weights become 0, {subnormal} keep fewer digits: they are too small for it"
    );
    if (zeros + subnormal) * 100 > values {
        printer.warn(what, Some("--dtype bf16 has the range of f32, and --dtype f32 loses nothing"));
    } else {
        printer.say(what);
    }
}
