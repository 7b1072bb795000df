//! `temper verify NETWORK.onnx --data IMAGES --eps EPS`: a verdict for each image of a data set.

use std::path::{Path, PathBuf};

use temper_base::listener::Meter;
use temper_base::{Problem, Result};
use temper_certify::images::splits;
use temper_certify::network_verification::{NetworkQuestion, NetworkVerification};
use temper_formats::onnx;
use temper_verify::{Settings, Summary, store};

use super::{Told, radius, so_far, tell_verdicts};
use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn verify(args: &args::Verify, network: &str, data: &str, settings: Settings, printer: &Printer) -> Outcome {
    let refuse = |what: &str, why: &str| Problem::input("verify", format!("{network} {what}"), why);
    for (given, option) in [
        (args.attack.is_some(), "--attack"),
        (args.steps.is_some(), "--steps"),
        (args.restarts.is_some(), "--restarts"),
        (args.radius, "--radius"),
        (args.shard.is_some(), "--shard"),
        (args.handover.is_some(), "--handover"),
        (args.import.is_some(), "--import"),
    ] {
        if given {
            return Err(refuse(option, "only the verification of a run has it").into());
        }
    }
    let Some(written) = &args.eps else {
        return Err(refuse("--data", "a network has no target radius").hint("give --eps, for example 2/255").into());
    };
    let eps = radius(written)?;
    let signals = Signals::listen_and_answer(
        "stopping: abandoning this image, keeping the verdicts so far (once more to stop at once)",
    )?;
    let path = Path::new(network);
    let model = onnx::read(path)?;
    let test = splits(data)?.test;
    if let Some(asked) = args.images.filter(|asked| *asked as usize > test.len()) {
        printer.warn(format!("--images {asked}: the set has {} images; Temper verifies those", test.len()), None);
    }
    let test = args.images.map_or(test.clone(), |count| test.first(count as usize));
    let channels = test.shape[0];
    let question = NetworkQuestion {
        eps,
        mean: numbers("--mean", args.mean.as_deref().unwrap_or("0"), channels)?,
        std: numbers("--std", args.std.as_deref().unwrap_or("1"), channels)?,
        settings,
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = || PathBuf::from("verify").join(format!("{stem}-eps-{}", written.trim().replace('/', "-")));
    let folder = args.out.clone().unwrap_or_else(folder);
    let (mut verification, asked) = NetworkVerification::open(&folder, &model.computation, &test, question)?;
    let (first, images) = (verification.file.lines.len(), test.len());
    if first > 0 {
        let path = verification.file.path.display();
        printer.say(format_args!("{first} of {images} images have verdicts already: {path}"));
    }
    let meter = Meter::begin(printer, "verify", (images - first) as u64);
    let mut summary = Summary::default();
    verification.file.lines.iter().for_each(|line| store::count(&mut summary, line));
    loop {
        let done = verification.file.lines.len();
        if done >= images {
            break;
        }
        verification.advance(&|| signals.seen_signal().is_some())?;
        verification.file.lines[done..].iter().for_each(|line| store::count(&mut summary, line));
        let made = verification.file.lines.len() - first;
        meter.update(made as u64, format_args!("{}{:.1} images/s", so_far(&summary), made as f64 / meter.seconds()));
        if let Some(signal) = signals.seen_signal().filter(|_| first + made < images) {
            drop(meter);
            signals.answer_signal();
            let done = first + made;
            printer.say(format_args!("stopped after {done} of {images} images; the same command resumes"));
            return Ok((128 + signal) as u8);
        }
    }
    let rate = (images > first).then(|| (images - first) as f64 / meter.seconds());
    drop(meter);
    let told = Told { run: Some(network), asked: &asked, rate, imported: None, json: args.json };
    tell_verdicts(&told, &verification.file, &verification.times.total, printer)
}

/// One number for all channels, or one for each.
fn numbers(option: &str, text: &str, channels: usize) -> Result<Vec<f64>> {
    let found: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match found {
        Some(one) if one.len() == 1 => Ok(vec![one[0]; channels]),
        Some(all) if all.len() == channels => Ok(all),
        Some(_) | None => {
            let why = format!("it is neither a number nor {channels} numbers, one for each channel");
            Err(Problem::input("verify", format!("{option} {text}"), why).hint("for example 0.4914,0.4822,0.4465"))
        }
    }
}
