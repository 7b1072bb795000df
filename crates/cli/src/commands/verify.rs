//! `temper verify RUN`: standard, attacked and certified error of a classifier on its test set, with a verdict for each image.
//!
//! Verdicts go to a CSV file, batch by batch, each made durable before the next begins: a killed `verify` loses at most
//! one batch, and the same command resumes. Beside it, `verdicts-question.json` (or `radii-question.json`) says what was asked, so that verdicts of two
//! different questions never end up in one file, and `counterexamples.npy` holds the images that the attack found.
//!
//! A signal is answered at once and abandons the batch.

use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use temper::SCHEMA;
use temper_base::listener::Meter;
use temper_base::{Problem, Result};
use temper_bounds::attack::Attack;
use temper_bounds::boxes::Images as Boxed;
use temper_bounds::ibp::Bound;
use temper_bounds::radius::radii_until;
use temper_bounds::search::Stop;
use temper_bounds::verdict::{Question, verify_until};
use temper_certify::images;
use temper_certify::open;
use temper_data::images::Images;
use temper_model::Classifier;
use temper_verify::store::{Kind, Names, certified_radii, radius_line, summary, verdict_line};
use temper_verify::{AttackCertified, CertifiedRadius, ImageVerdict, RadiusSummary, Stack, Store, Verdict};

use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// The version of the attack: another version asks another question.
const ATTACK: &str = "autopgd and squares, 2";

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
    let bound = if args.bound == "best" { Bound::Best } else { Bound::Ibp };
    let name = folder_name(args, opened.step, &written, &test.fingerprint());
    let kind = if args.radius { Kind::Radii } else { Kind::Verdicts };
    if args.out.is_none() {
        opened.run.require_no_link("verify")?;
    }
    let folder = args.out.clone().unwrap_or_else(|| opened.run.path().join("verify").join(name));
    let seed = opened.spec.run.seed;
    let attack = Attack { steps: args.steps as usize, restarts: args.restarts as usize, seed, ..Attack::default() };
    let mut asked = json!({
        "what": kind.name(), "step": opened.step,
        "model_sha256": opened.sha256, "data": test.name, "images": test.len(), "images_sha256": test.fingerprint(),
        "eps": eps, "bound": args.bound,
    });
    // What decides the one file does not bear on the other.
    let more = if args.radius {
        json!({ "halvings": args.halvings })
    } else {
        json!({
            "attack": args.attack, "steps": args.steps, "restarts": args.restarts, "seed": seed, "method": ATTACK,
        })
    };
    asked.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut file = Store::open(&folder, kind, &asked)?;
    let mut stack = if args.radius {
        None
    } else {
        Some(Stack::open(&folder.join("counterexamples.npy"), opened.net.config.input, file.counterexamples())?)
    };
    let mut done = file.lines.len();
    if done > 0 {
        printer.say(format_args!("{done} of {} images have verdicts already: {}", test.len(), file.path.display()));
    }
    let question = Question {
        eps,
        bound,
        attack,
        attack_certified: match args.attack.as_str() {
            "all" => AttackCertified::All,
            "uncertified" => AttackCertified::None,
            _ => AttackCertified::Tenth,
        },
    };
    let meter = Meter::begin(printer, "verify", test.len() as u64);
    let first = done;
    while done < test.len() {
        let batch = Batch::take(&test, done, args.batch as usize);
        let stop = || signals.seen_signal().is_some();
        let lines = match &mut stack {
            None => radius_lines(&opened.net, &batch, &test, eps, args.halvings as usize, bound, &stop, &device)?,
            Some(stack) => verify_until(&opened.net, batch.boxed(&opened.net), &question, &stop, &device)?
                .map(|decided| {
                    let first = stack.rows;
                    stack.append(decided.counterexamples.iter().map(|image| image.pixels.as_slice()))?;
                    Ok::<_, Problem>(lines(&decided.verdicts, &test, first))
                })
                .transpose()?,
        };
        if let Some(lines) = lines {
            done += lines.len();
            file.append(lines)?;
            meter.update(done as u64, format_args!("{:.1} images/s", (done - first) as f64 / meter.seconds()));
        }
        if let Some(signal) = signals.seen_signal().filter(|_| done < test.len()) {
            drop(meter);
            signals.answer_signal();
            printer.say(format_args!("stopped after {done} of {} images; the same command resumes", test.len()));
            return Ok((128 + signal) as u8);
        }
    }
    let seconds = meter.seconds();
    drop(meter);
    let rate = if done > first { Some((done - first) as f64 / seconds) } else { None };
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

/// Some images of the test set.
struct Batch {
    pixels: Vec<f32>,
    labels: Vec<u32>,
    indices: Vec<u64>,
}

impl Batch {
    fn take(test: &Images, first: usize, count: usize) -> Self {
        let indices: Vec<u32> = (first..test.len().min(first + count)).map(|i| i as u32).collect();
        let (pixels, labels) = test.batch(&indices, None);
        Self { pixels, labels, indices: indices.into_iter().map(u64::from).collect() }
    }

    fn boxed(&self, net: &Classifier) -> Boxed<'_> {
        Boxed { pixels: &self.pixels, shape: net.config.input, labels: &self.labels, indices: &self.indices }
    }
}

/// The lines of a batch, of which the first counterexample is row `row` of the stack.
fn lines(verdicts: &[ImageVerdict], test: &Images, mut row: usize) -> Vec<String> {
    let mut line = |verdict: &ImageVerdict| {
        let counterexample = (verdict.verdict == Verdict::Attacked).then(|| {
            row += 1;
            row - 1
        });
        let names = Names { predicted: class(test, verdict.predicted), ..names(test, verdict.label, verdict.index) };
        verdict_line(verdict, counterexample, names)
    };
    verdicts.iter().map(&mut line).collect()
}

/// The names of an image; its file's is empty for sets that are one file.
fn names(test: &Images, label: u32, index: u64) -> Names<'_> {
    Names { class: class(test, label), predicted: "", file: test.file_name(index as usize).unwrap_or_default() }
}

fn class(test: &Images, label: u32) -> &str {
    test.class_names.get(label as usize).map_or("", String::as_str)
}

#[expect(clippy::too_many_arguments, reason = "what was asked, and of whom")]
fn radius_lines(
    net: &Classifier,
    batch: &Batch,
    test: &Images,
    largest: f64,
    halvings: usize,
    bound: Bound,
    stop: Stop,
    device: &Device,
) -> Result<Option<Vec<String>>> {
    let Some(found) = radii_until(net, batch.boxed(net), largest, halvings, bound, stop, device)? else {
        return Ok(None);
    };
    let rows = found.into_iter().zip(batch.indices.iter().zip(&batch.labels));
    let line = |(radius, (index, label)): (CertifiedRadius, (&u64, &u32))| {
        radius_line(*index, *label, &radius, names(test, *label, *index))
    };
    Ok(Some(rows.map(line).collect()))
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
