//! `temper verify RUN`: standard, attacked and certified error of a classifier on its test set, with a verdict for each image.
//!
//! A signal is answered at once and abandons the batch.

use std::path::Path;

use serde_json::{Value, json};
use temper::SCHEMA;
use temper_base::listener::Meter;
use temper_base::{Problem, Result};
use temper_bounds::attack::Attack;
use temper_bounds::ibp::Bound;
use temper_bounds::verdict::Question;
use temper_certify::verification::{Asked, Verification};
use temper_certify::{images, open};
use temper_verify::store::{certified_radii, summary};
use temper_verify::{AttackCertified, RadiusSummary, Store};

use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &args::Verify, printer: &Printer) -> Outcome {
    let signals = Signals::listen_and_answer(
        "stopping: abandoning this batch, keeping the verdicts so far (once more to stop at once)",
    )?;
    let device = temper::device();
    let opened = open::open(&args.run, &SCHEMA, &device)?;
    let test = images::judged_images(&opened.run, &opened.spec, args.data.as_deref(), printer)?;
    open::require_fit(&opened.net, &test, args.data.as_deref().unwrap_or(&args.run))?;
    if let Some(asked) = args.images.filter(|asked| *asked as usize > test.len()) {
        let why = format!("--images {asked}: the set has {} images; Temper verifies those", test.len());
        printer.warn(why, None);
    }
    let test = args.images.map_or(test.clone(), |count| test.first(count as usize));
    let (eps, written) = match &args.eps {
        Some(text) => (radius(text)?, text.clone()),
        None => (opened.spec.target()?, opened.spec.target_as_written()),
    };
    let name = folder_name(args, opened.step, &written, &test.fingerprint());
    if args.out.is_none() {
        opened.run.require_no_link("verify")?;
    }
    let folder = args.out.clone().unwrap_or_else(|| opened.run.path().join("verify").join(name));
    let bound = Bound::from_name(&args.bound).unwrap_or_default();
    let asked = if args.radius {
        Asked::Radii { eps, bound, halvings: args.halvings as usize }
    } else {
        let (steps, restarts, seed) = (args.steps as usize, args.restarts as usize, opened.spec.run.seed);
        let attack = Attack { steps, restarts, seed, ..Attack::default() };
        let attack_certified = AttackCertified::from_name(&args.attack).unwrap_or_default();
        Asked::Verdicts(Question { eps, bound, attack, attack_certified })
    };
    let (mut verification, asked) = Verification::open(&folder, &opened, &test, asked)?;
    let first = verification.done();
    if first > 0 {
        let path = verification.file.path.display();
        printer.say(format_args!("{first} of {} images have verdicts already: {path}", test.len()));
    }
    let meter = Meter::begin(printer, "verify", test.len() as u64);
    while verification.done() < test.len() {
        verification.next_batch(args.batch as usize, &|| signals.seen_signal().is_some(), &device)?;
        let done = verification.done();
        meter.update(done as u64, format_args!("{:.1} images/s", (done - first) as f64 / meter.seconds()));
        if let Some(signal) = signals.seen_signal().filter(|_| done < test.len()) {
            drop(meter);
            signals.answer_signal();
            printer.say(format_args!("stopped after {done} of {} images; the same command resumes", test.len()));
            return Ok((128 + signal) as u8);
        }
    }
    let seconds = meter.seconds();
    drop(meter);
    let made = test.len() - first;
    let rate = (made > 0).then(|| made as f64 / seconds);
    let file = verification.file;
    if args.radius {
        tell_radii(args, &file, &asked, rate, printer)
    } else {
        tell_verdicts(args, &file, &asked, rate, printer)
    }
}

/// A radius from the command line: a number or a fraction, from 0 to 1.
pub fn radius(text: &str) -> Result<f64> {
    let zero = text.trim().parse::<f64>().is_ok_and(|value| value == 0.0);
    let found = if zero { Some(0.0) } else { temper_recipe::radius(text) };
    found.ok_or_else(|| {
        Problem::input("read radius", format!("--eps {text}"), "it is not a radius from 0 to 1")
            .hint("pixels run from 0 to 1: for example 0.3 or 8/255")
    })
}

/// The folder of these verdicts in the run: the step and the radius as it was written, and every setting that differs from its default.
fn folder_name(args: &args::Verify, step: u64, eps: &str, content: &str) -> String {
    // However a radius of nothing is written, it is one question.
    let eps = if radius(eps).is_ok_and(|eps| eps == 0.0) { "0" } else { eps.trim() };
    let mut name = format!("step-{step}-eps-{}", eps.replace('/', "-"));
    let usual = [("ibp", &args.bound), ("tenth", &args.attack)];
    for (_, word) in usual.iter().filter(|(usual, word)| usual != word).take(if args.radius { 1 } else { 2 }) {
        name += &format!("-{word}");
    }
    let attack = [("steps", args.steps, 200), ("restarts", args.restarts, 10)];
    let numbers = if args.radius { &[("halvings", args.halvings, 12)][..] } else { &attack[..] };
    for (word, value, _) in numbers.iter().filter(|(_, value, usual)| value != usual) {
        name += &format!("-{word}-{value}");
    }
    if let Some(images) = args.images {
        name += &format!("-first-{images}");
    }
    if let Some(data) = args.data.as_deref().and_then(|path| Path::new(path).file_name()) {
        // Two sets may be called the same.
        name += &format!("-{}-{}", data.to_string_lossy(), content.get(..8).unwrap_or(content));
    }
    name
}

/// In which arithmetic the bounds hold.
const ARITHMETIC: &str =
    "f32, rounded to nearest: the bounds are not rounding-sound, so that a certificate can be wrong";

fn tell_verdicts(args: &args::Verify, file: &Store, asked: &Value, rate: Option<f64>, printer: &Printer) -> Outcome {
    let summary = summary(&file.lines);
    let errors = [summary.standard_error(), summary.pgd_error(), summary.certified_error()];
    if args.json {
        let [standard, pgd, certified] = errors;
        let result = json!({
            "run": args.run, "question": asked, "images": summary.images,
            "standard_error": standard, "pgd_error": pgd, "certified_error": certified,
            "misclassified": summary.misclassified, "attacked": summary.attacked, "certified": summary.certified,
            "unknown": summary.unknown, "errors": summary.errors, "rounding": summary.rounding,
            "arithmetic": ARITHMETIC, "images_per_s": rate, "verdicts": file.path.display().to_string(),
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        let percent = |count: u64| 100.0 * count as f64 / summary.images.max(1) as f64;
        let mut text =
            format!("{} images of {}, eps {}\n\n", summary.images, asked["data"].as_str().unwrap_or(""), asked["eps"]);
        let [standard, pgd, certified] = errors;
        for (name, value) in [("standard error", standard), ("PGD error", pgd), ("certified error", certified)] {
            text += &format!("{name:16} {value:6.2} %\n");
        }
        text.push('\n');
        for (name, count) in [
            ("misclassified", summary.misclassified),
            ("attacked", summary.attacked),
            ("unknown", summary.unknown),
            ("certified", summary.certified),
            ("error", summary.errors),
        ] {
            text += &format!("{name:16} {count:>6}  {:6.2} %\n", percent(count));
        }
        if summary.rounding > 0 {
            text += &format!(
                "\n{} verdicts differ between bound and attack by rounding; the attack counts\n",
                summary.rounding
            );
        }
        text += &format!("\narithmetic: {ARITHMETIC}\nverdicts:   {}", file.path.display());
        printer.data(text);
        if let Some(rate) = rate {
            printer.say(format_args!("{rate:.1} images/s"));
        }
    }
    summary.check(&file.path.display().to_string())?;
    Ok(0)
}

fn tell_radii(args: &args::Verify, file: &Store, asked: &Value, rate: Option<f64>, printer: &Printer) -> Outcome {
    let radii = RadiusSummary::of(certified_radii(&file.lines));
    let RadiusSummary { images, mean, median, quartiles: [lower, upper], none } = radii;
    let path = file.path.display().to_string();
    if args.json {
        let result = json!({
            "run": args.run, "question": asked, "images": images, "mean": mean, "median": median, "quartiles": [lower, upper],
            "none": none, "arithmetic": ARITHMETIC,
            "images_per_s": rate, "radii": path,
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        printer.data(format_args!(
            "{images} images of {}, certified radius up to {}; 0 where the image is misclassified\n\nmean      {mean:.5}\nmedian    {median:.5}\nquartiles {lower:.5} {upper:.5}\n\narithmetic: {ARITHMETIC}\nradii:      {path}",
            asked["data"].as_str().unwrap_or(""),
            asked["eps"],
        ));
    }
    Ok(0)
}
