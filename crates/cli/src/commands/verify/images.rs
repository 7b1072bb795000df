//! `temper verify NETWORK.onnx --data IMAGES --eps EPS`, and `temper verify RUN --norm 2`: a verdict for each image of a data set, which goes
//! through all stages alone.

use std::path::{Path, PathBuf};

use temper::SCHEMA;
use temper_base::listener::Meter;
use temper_base::{Problem, Result};
use temper_certify::images::{judged_images, splits};
use temper_certify::network_verification::{NetworkQuestion, NetworkVerification};
use temper_certify::open;
use temper_data::images::Images;
use temper_formats::onnx;
use temper_graph::Computation;
use temper_verify::{Norm, Settings, Summary, store};

use super::{Told, folder_name, radius, so_far, tell_verdicts};
use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// A network, and what is asked of it.
struct Subject {
    computation: Computation,
    test: Images,
    question: NetworkQuestion,
    folder: PathBuf,
}

/// What is asked by norm.
pub fn norm(args: &args::Verify) -> Norm {
    args.norm.as_deref().and_then(Norm::from_name).unwrap_or_default()
}

/// What only the passes over batches have is refused, since images go through all stages alone here.
fn refuse(args: &args::Verify, name: &str, why: &str) -> Result<()> {
    let given = [
        (args.attack.is_some(), "--attack"),
        (args.steps.is_some(), "--steps"),
        (args.restarts.is_some(), "--restarts"),
        (args.radius, "--radius"),
        (args.shard.is_some(), "--shard"),
        (args.handover.is_some(), "--handover"),
        (args.import.is_some(), "--import"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(Problem::input("verify", format!("{name} {option}"), why).hint("leave it out")),
        None => Ok(()),
    }
}

fn listen() -> Result<Signals> {
    Signals::listen_and_answer(
        "stopping: abandoning this image, keeping the verdicts so far (once more to stop at once)",
    )
}

/// A network of a file.
pub fn of_file(args: &args::Verify, network: &str, data: &str, settings: Settings, printer: &Printer) -> Outcome {
    refuse(args, network, "only the verification of a run has it")?;
    let Some(written) = &args.eps else {
        return Err(Problem::input("verify", format!("{network} --data"), "a network has no target radius")
            .hint("give --eps, for example 2/255")
            .into());
    };
    let eps = radius(written)?;
    let signals = listen()?;
    let path = Path::new(network);
    let computation = onnx::read(path)?.computation;
    let test = splits(data)?.test;
    let channels = test.shape[0];
    let mean = numbers("--mean", args.mean.as_deref().unwrap_or("0"), channels)?;
    let std = numbers("--std", args.std.as_deref().unwrap_or("1"), channels)?;
    let question = NetworkQuestion { eps, norm: norm(args), mean, std, settings };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut name = format!("{stem}-eps-{}", written.trim().replace('/', "-"));
    if question.norm != Norm::default() {
        name += &format!("-norm-{}", question.norm.name());
    }
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("verify").join(name));
    verify(args, network, Subject { computation, test, question, folder }, &signals, printer)
}

/// The network of a run, by the Euclidean norm: the passes over batches know boxes alone.
pub fn of_run(args: &args::Verify, run: &str, settings: Settings, printer: &Printer) -> Outcome {
    refuse(args, run, "with --norm 2 every image goes through all stages alone")?;
    let signals = listen()?;
    let opened = open::open(run, &SCHEMA, &temper::device())?;
    let test = judged_images(&opened.run, &opened.spec, args.data.as_deref(), printer)?;
    open::require_fit(&opened.net, &test, args.data.as_deref().unwrap_or(run))?;
    let (eps, written) = match &args.eps {
        Some(text) => (radius(text)?, text.clone()),
        None => (opened.spec.target()?, opened.spec.target_as_written()),
    };
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => {
            opened.run.require_no_link("verify")?;
            let name = folder_name(args, &settings, opened.step, &written, &test.fingerprint());
            opened.run.path().join("verify").join(name)
        }
    };
    let channels = test.shape[0];
    let settings = Settings { seed: opened.spec.run.seed, ..settings };
    // It normalises pixels itself.
    let (mean, std) = (vec![0.0; channels], vec![1.0; channels]);
    let question = NetworkQuestion { eps, norm: norm(args), mean, std, settings };
    let computation = opened.net.to_network().computation()?;
    verify(args, run, Subject { computation, test, question, folder }, &signals, printer)
}

fn verify(args: &args::Verify, name: &str, subject: Subject, signals: &Signals, printer: &Printer) -> Outcome {
    let Subject { computation, test, question, folder } = subject;
    if let Some(asked) = args.images.filter(|asked| *asked as usize > test.len()) {
        printer.warn(format!("--images {asked}: the set has {} images; Temper verifies those", test.len()), None);
    }
    let test = args.images.map_or(test.clone(), |count| test.first(count as usize));
    let (mut verification, asked) = NetworkVerification::open(&folder, &computation, &test, question)?;
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
    let told = Told { run: Some(name), asked: &asked, rate, imported: None, json: args.json };
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
