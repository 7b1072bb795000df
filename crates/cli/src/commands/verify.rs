//! `temper verify RUN`: standard, attacked and certified error of a classifier on its test set, with a verdict for each image.
//!
//! Verdicts go to a CSV file, batch by batch, each made durable before the next begins: a killed `verify` loses at most
//! one batch, and the same command resumes. Beside it, `verdicts-question.json` (or `radii-question.json`) says what was asked, so that verdicts of two
//! different questions never end up in one file, and `counterexamples.npy` holds the images that the attack found ([`stack`]).
//!
//! A signal is answered at once and abandons the batch.

mod stack;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};
use temper_base::files::write_whole;
use temper_base::{Problem, Result};
use temper_bounds::attack::Attack;
use temper_bounds::boxes::Images as Boxed;
use temper_bounds::ibp::Bound;
use temper_bounds::radius::{Radius, radii_until};
use temper_bounds::search::Stop;
use temper_bounds::verdict::{AttackCertified, Outcome as Kind, Question, Summary, Verdict, verify_until};
use temper_data::images::Images;
use temper_model::ImageNet;
use temper_record::csv::quoted;

use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use temper_base::listener::Meter;
use temper_certify::images;
use temper_certify::open;

use stack::Stack;

/// The columns of `verdicts.csv`: `counterexample` is the row of `counterexamples.npy`; names come last, and may be quoted.
const VERDICTS: &str = "index,label,predicted,outcome,clean_margin,bound,attack_margin,attack_class,rounding,error,counterexample,class,predicted_class,file";
/// The columns of `radii.csv`: the largest radius at which the image is certified, and the smallest at which it is not.
const RADII: &str = "index,label,certified,not_certified,class,file";
/// Names at the end of a line.
const NAMES: [usize; 2] = [3, 2];
/// The version of the attack: another version asks another question.
const ATTACK: &str = "autopgd and squares, 2";

/// Runs the command.
pub fn run(args: &args::Verify, printer: &Printer) -> Outcome {
    let signals = Signals::listen_and_answer(
        "stopping: abandoning this batch, keeping the verdicts so far (once more to stop at once)",
    )?;
    let device = Device::flex();
    let opened = open::open(&args.run, &device)?;
    let test = images::judged(&opened.run, &opened.recipe, args.data.as_deref(), printer)?;
    open::require_fit(&opened.net, &test, args.data.as_deref().unwrap_or(&args.run))?;
    let test = args.images.map_or(test.clone(), |count| test.first(count as usize));
    let (eps, written) = match &args.eps {
        Some(text) => (radius(text)?, text.clone()),
        None => (opened.recipe.radius("eps.target")?, opened.recipe.shown("eps.target")),
    };
    let bound = if args.bound == "best" { Bound::Best } else { Bound::Ibp };
    let name = folder_name(args, opened.step, &written, &test.fingerprint());
    let kind = if args.radius { "radii" } else { "verdicts" };
    if args.out.is_none() {
        opened.run.owns("verify")?;
    }
    let folder = args.out.clone().unwrap_or_else(|| opened.run.path().join("verify").join(name));
    let seed = opened.recipe.u64("seed")?;
    let attack = Attack { steps: args.steps as usize, restarts: args.restarts as usize, seed, ..Attack::default() };
    let mut asked = json!({
        "what": kind, "step": opened.step,
        "model_sha256": opened.sha256, "data": test.name, "images": test.len(), "images_sha256": test.fingerprint(),
        "eps": eps, "bound": args.bound,
    });
    // What decides the one file does not bear on the other.
    let more = match args.radius {
        true => json!({ "halvings": args.halvings }),
        false => json!({
            "attack": args.attack, "steps": args.steps, "restarts": args.restarts, "seed": seed, "method": ATTACK,
        }),
    };
    asked.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let header = if args.radius { RADII } else { VERDICTS };
    let mut file = Verdicts::open(&folder, kind, header, NAMES[usize::from(args.radius)], &asked)?;
    let found = file.lines.iter().filter(|line| line.split(',').nth(3) == Some(Kind::Attacked.name())).count();
    let mut stack = match args.radius {
        true => None,
        false => Some(Stack::open(&folder.join("counterexamples.npy"), opened.net.config.input, found)?),
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
        let stop = || signals.seen().is_some();
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
        if let Some(signal) = signals.seen().filter(|_| done < test.len()) {
            drop(meter);
            signals.answer();
            printer.say(format_args!("stopped after {done} of {} images; the same command resumes", test.len()));
            return Ok((128 + signal) as u8);
        }
    }
    let seconds = meter.seconds();
    drop(meter);
    let rate = if done > first { Some((done - first) as f64 / seconds) } else { None };
    match args.radius {
        true => tell_radii(args, &file, &asked, rate, printer),
        false => tell_verdicts(args, &file, &asked, rate, printer),
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
    let mut name = format!("step-{step}-eps-{}", eps.trim().replace('/', "-"));
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

    fn boxed(&self, net: &ImageNet) -> Boxed<'_> {
        Boxed { pixels: &self.pixels, shape: net.config.input, labels: &self.labels, indices: &self.indices }
    }
}

/// The lines of a batch, of which the first counterexample is row `row` of the stack.
fn lines(verdicts: &[Verdict], test: &Images, mut row: usize) -> Vec<String> {
    let mut line = |verdict: &Verdict| {
        let maybe = |value: Option<String>| value.unwrap_or_default();
        let error = verdict.error.as_deref().unwrap_or("").replace([',', '"', '\n'], ";");
        let counterexample = (verdict.outcome == Kind::Attacked).then(|| {
            row += 1;
            (row - 1).to_string()
        });
        format!(
            "{},{},{},{},{},{},{},{},{},{error},{},{},{},{}",
            verdict.index,
            verdict.label,
            verdict.predicted,
            verdict.outcome.name(),
            verdict.clean_margin,
            verdict.bound,
            maybe(verdict.attack_margin.map(|margin| margin.to_string())),
            maybe(verdict.attack_class.map(|class| class.to_string())),
            u8::from(verdict.rounding),
            maybe(counterexample),
            class(test, verdict.label),
            class(test, verdict.predicted),
            file_name(test, verdict.index),
        )
    };
    verdicts.iter().map(&mut line).collect()
}

/// The name of a class as a field.
fn class(test: &Images, label: u32) -> String {
    test.class_names.get(label as usize).map_or_else(String::new, |name| field(name))
}

/// The name of an image's file as a field; empty for sets that are one file.
fn file_name(test: &Images, index: u64) -> String {
    test.file_name(index as usize).map_or_else(String::new, field)
}

/// A name as a field of one line: quoted where it has to be, without line ends and escape sequences.
fn field(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    quoted(&name)
}

#[expect(clippy::too_many_arguments, reason = "what was asked, and of whom")]
fn radius_lines(
    net: &ImageNet,
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
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let rows = found.into_iter().zip(batch.indices.iter().zip(&batch.labels));
    let line = |(radius, (index, label)): (Radius, (&u64, &u32))| {
        let (certified, not) = (number(radius.certified), number(radius.uncertified));
        format!("{index},{label},{certified},{not},{},{}", class(test, *label), file_name(test, *index))
    };
    Ok(Some(rows.map(line).collect()))
}

/// The file of verdicts, open at its end.
struct Verdicts {
    path: PathBuf,
    file: File,
    /// The lines that are complete, without the header.
    lines: Vec<String>,
}

impl Verdicts {
    /// Opens or makes the file. It removes a line that a kill cut short, and refuses verdicts on another question.
    fn open(folder: &Path, kind: &str, header: &str, names: usize, asked: &Value) -> Result<Self> {
        let io = |path: &Path, cause: std::io::Error| Problem::io("write verdicts", path, &cause);
        fs::create_dir_all(folder).map_err(|cause| io(folder, cause))?;
        let question = folder.join(format!("{kind}-question.json"));
        let text = serde_json::to_string_pretty(asked).expect("plain data") + "\n";
        let path = folder.join(format!("{kind}.csv"));
        match fs::read_to_string(&question) {
            Ok(found) if found == text => {}
            // An earlier version did not write it whole: without verdicts nothing depends on it.
            Ok(found) if serde_json::from_str::<Value>(&found).is_err() && !has_lines(&path) => {
                write_whole(&question, text.as_bytes())?;
            }
            Ok(found) => return Err(other_question(&question, &found, asked)),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => write_whole(&question, text.as_bytes())?,
            Err(cause) => return Err(io(&question, cause)),
        }
        if !path.exists() {
            write_whole(&path, format!("{header}\n").as_bytes())?;
        }
        let open = || -> std::io::Result<(File, String)> {
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            text.truncate(whole);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            if text.is_empty() {
                text = format!("{header}\n");
                file.write_all(text.as_bytes())?;
            }
            Ok((file, text))
        };
        let (file, text) = open().map_err(|cause| io(&path, cause))?;
        let mut lines = text.lines().map(str::to_owned);
        // Names may hold commas: they come last and are not counted.
        let plain = header.split(',').count() - names;
        let damaged = |why: String| {
            Problem::input("read verdicts", path.display(), why).hint("remove the folder and verify again")
        };
        if lines.next().as_deref() != Some(header) {
            return Err(damaged("its first line is not the header of verdicts".into()));
        }
        let lines: Vec<String> = lines.collect();
        for (number, line) in lines.iter().enumerate() {
            let mut fields = line.split(',');
            if fields.next().and_then(|index| index.parse::<usize>().ok()) != Some(number)
                || fields.count() + 1 < plain + names
            {
                return Err(damaged(format!("line {} is not the verdict on image {number}", number + 2)));
            }
        }
        Ok(Self { path, file, lines })
    }

    /// Adds the lines of one batch and waits until they are on disk.
    fn append(&mut self, lines: Vec<String>) -> Result<()> {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|cause| {
            Problem::io("write verdicts", &self.path, &cause)
                .hint("make room; the same command resumes after the last batch")
        })?;
        self.lines.extend(lines);
        Ok(())
    }
}

/// Whether there is a verdict in the file.
fn has_lines(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().count() > 1)
}

/// The error that the folder holds verdicts on another question; it says everything that differs.
fn other_question(question: &Path, found: &str, asked: &Value) -> Problem {
    let found: Value = serde_json::from_str(found).unwrap_or_default();
    let differs = asked.as_object().into_iter().flatten().filter(|(key, value)| found.get(key) != Some(value));
    let differs: Vec<String> = differs
        .map(|(key, value)| {
            let before = found.get(key).map_or_else(|| "nothing".into(), Value::to_string);
            format!("{key} = {before}, now it is {value}")
        })
        .collect();
    let why = match differs.is_empty() || found.is_null() {
        true => "the question there cannot be read".into(),
        false => format!("the verdicts there were asked with {}", differs.join("; with ")),
    };
    Problem::input("write verdicts", question.display(), why)
        .hint("choose another folder with --out, or remove that one")
}

/// Counts the outcomes of lines as [`lines`] writes them.
fn summary(lines: &[String]) -> Summary {
    let mut summary = Summary { images: lines.len() as u64, ..Summary::default() };
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        match fields[3] {
            "misclassified" => summary.misclassified += 1,
            "attacked" => summary.attacked += 1,
            "certified" => summary.certified += 1,
            "unknown" => summary.unknown += 1,
            _ => summary.errors += 1,
        }
        summary.rounding += u64::from(fields[8] == "1");
    }
    summary
}

/// In which arithmetic the bounds hold.
const ARITHMETIC: &str =
    "f32, rounded to nearest: the bounds are not rounding-sound, so that a certificate can be wrong";

fn tell_verdicts(args: &args::Verify, file: &Verdicts, asked: &Value, rate: Option<f64>, printer: &Printer) -> Outcome {
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

fn tell_radii(args: &args::Verify, file: &Verdicts, asked: &Value, rate: Option<f64>, printer: &Printer) -> Outcome {
    let certified = |line: &String| line.split(',').nth(2).and_then(|field| field.parse::<f64>().ok());
    let mut radii: Vec<f64> = file.lines.iter().map(|line| certified(line).unwrap_or(0.0)).collect();
    radii.sort_by(f64::total_cmp);
    let mean = radii.iter().sum::<f64>() / radii.len().max(1) as f64;
    let at = |part: f64| radii.get(((radii.len() as f64 - 1.0) * part).round() as usize).copied().unwrap_or(0.0);
    let (path, images) = (file.path.display().to_string(), radii.len());
    if args.json {
        let result = json!({
            "run": args.run, "question": asked, "images": images, "mean": mean, "median": at(0.5), "quartiles": [at(0.25), at(0.75)],
            "none": radii.iter().filter(|radius| **radius == 0.0).count(), "arithmetic": ARITHMETIC,
            "images_per_s": rate, "radii": path,
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        printer.data(format_args!(
            "{images} images of {}, certified radius up to {}; 0 where the image is misclassified\n\nmean      {mean:.5}\nmedian    {:.5}\nquartiles {:.5} {:.5}\n\narithmetic: {ARITHMETIC}\nradii:      {path}",
            asked["data"].as_str().unwrap_or(""),
            asked["eps"],
            at(0.5),
            at(0.25),
            at(0.75),
        ));
    }
    Ok(0)
}
