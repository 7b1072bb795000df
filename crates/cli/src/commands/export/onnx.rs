//! `temper export RUN --format onnx --out FILE`: a classifier as ONNX, and what is to be verified of it.

use temper::SCHEMA;
use temper_base::files::AtomicFile;
use temper_base::{Problem, Result};
use temper_certify::{images, open};
use temper_formats::onnx;

use crate::args::Export;
use crate::commands::export::set::{Set, require_new};
use crate::commands::verify::radius;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Seconds of an instance, unless they are given.
const SECONDS: f64 = 60.0;

/// Runs the command for this format.
pub fn run(args: &Export, printer: &Printer) -> Outcome {
    if args.dtype.is_some() {
        let problem = Problem::input("export", "--dtype", "ONNX files have the weights in single precision");
        return Err(problem.hint("leave it out").into());
    }
    if args.out.symlink_metadata().is_ok() {
        let why = "there is something of this name already";
        return Err(Problem::input("export", args.out.display(), why).hint("give the name of a new file").into());
    }
    let opened = open::open(&args.model, &SCHEMA, &temper::device())?;
    let network = opened.net.to_network();
    // Weights that are not finite are refused here.
    network.computation()?;
    let network = if args.fold_batch_norm { network.fold_batch_norms()? } else { network };
    let set = args.vnnlib.as_deref().map(|folder| -> Result<_> {
        require_new(folder)?;
        let test = images::judged_images(&opened.run, &opened.spec, args.data.as_deref(), printer)?;
        open::require_fit(&opened.net, &test, args.data.as_deref().unwrap_or(&args.model))?;
        let eps = match &args.eps {
            Some(text) => (radius(text)?, text.clone()),
            None => (opened.spec.target()?, opened.spec.target_as_written()),
        };
        let seconds = args.timeout.map_or(SECONDS, |timeout| timeout.as_secs_f64());
        let indices = places(args.images.as_deref(), test.len())?;
        Ok((folder, test, indices, eps, seconds))
    });
    let set = set.transpose()?;
    let mut file = AtomicFile::create(&args.out)?;
    file.write(&onnx::write(&network)?)?;
    file.finish_new()?;
    printer.say(format_args!("{}: ONNX, opset 13, of {} at step {}", args.out.display(), args.model, opened.step));
    if let Some((folder, test, indices, eps, seconds)) = set {
        let stem = args.out.file_stem().map_or("network".into(), |stem| stem.to_string_lossy());
        Set::new(&network, &test, eps)?.write(folder, &stem, &indices, seconds)?;
        printer.say(format_args!("{}: {} instances", folder.join("instances.csv").display(), indices.len()));
    }
    Ok(0)
}

/// The numbers of the images that were asked for: the first `N`, or those from `FIRST..LAST`, both included.
fn places(asked: Option<&str>, images: usize) -> Result<Vec<u32>> {
    let Some(text) = asked else { return Ok((0..images as u32).collect()) };
    let fail = |why: String| {
        Problem::input("export", format!("--images {text}"), why)
            .hint("images are counted from 0: the first hundred are 100, or 0..99")
    };
    let number =
        |text: &str| text.trim().parse::<usize>().map_err(|_| fail(format!("{text:?} is no number of images")));
    let (first, end) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?.saturating_add(1)),
        None => (0, number(text)?),
    };
    if end > images {
        return Err(fail(format!("the set has {images} images")));
    }
    if first >= end {
        return Err(fail("these are none".into()));
    }
    Ok((first as u32..end as u32).collect())
}
