//! `temper export RUN --out DIR`

use burn::tensor::Device;
use temper_model::hugging_face;
use temper_model::tensors;

use crate::args::{Dtype, Export};
use crate::lm::open;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Export, printer: &Printer) -> Outcome {
    let opened = open::open(&args.model, &Device::flex())?;
    let dtype = match args.dtype {
        None => opened.dtype,
        Some(Dtype::F32) => tensors::Dtype::F32,
        Some(Dtype::F16) => tensors::Dtype::F16,
        Some(Dtype::Bf16) => tensors::Dtype::Bf16,
    };
    let tokenizer =
        opened.tokenizer.as_ref().map(|tokenizer| String::from_utf8_lossy(tokenizer.to_json()).into_owned());
    hugging_face::write(&args.out, &opened.model, dtype, tokenizer.as_deref())?;
    printer.say(format_args!("{}: GPT-NeoX in {}", args.out.display(), dtype.name()));
    Ok(0)
}
