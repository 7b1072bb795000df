//! `temper verify RUN`: standard, robust and certified error of a classifier on its test set, with a verdict for each image.
//!
//! A signal is answered at once and abandons the image in work.

mod images;
mod import;
mod network;

pub use network::is_network;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use serde_json::{Map, Value, json};
use temper::{Ranks, SCHEMA};
use temper_base::listener::Meter;
use temper_base::{Problem, Problems, Result};
use temper_bounds::attack::Attack;
use temper_bounds::verdict::Question;
use temper_certify::images::judged_images;
use temper_certify::open;
use temper_certify::verification::{Asked, RESTARTS, STEPS, TIMEOUT, Verification};
use temper_verify::attack::Thin;
use temper_verify::shards::{self, Shard};
use temper_verify::store::{self, Kind, StageSeconds, certified_radii, times};
use temper_verify::{Arithmetic, AttackCertified, Norm, RadiusSummary, Settings, Stage, Store, Summary};

use crate::args::{self, VerifyCommand, VerifyMerge};
use crate::commands::export::set::{Set, require_new};
use crate::commands::verify::import::{Imported, left_open};
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command. Of several ranks each verifies a part of a run's images, and rank 0 joins the parts.
pub fn run(args: &args::Verify, ranks: &Ranks, printer: &Printer) -> Outcome {
    let alone = Ranks::alone();
    let ranks = match ranks.size() > 1 {
        true if has_parts(args) => ranks,
        // The rest is work for one.
        true if !ranks.leads() => return Ok(0),
        _ => &alone,
    };
    match &args.command {
        Some(VerifyCommand::Merge(args)) => return merge(args, printer),
        Some(VerifyCommand::Check(args)) => return network::check(args, printer),
        None => {}
    }
    let settings = settings(args)?;
    let run_in_batches = args.property.is_none() && args.run.as_deref().is_some_and(|run| !network::is_network(run));
    if !run_in_batches || images::norm(args) == Norm::Two {
        args.device.require_cpu("the verification of networks in files, and by the Euclidean norm,")?;
    }
    if let Some(list) = &args.instances {
        return network::list(args, list, &settings, printer);
    }
    let run = args.run.as_deref().expect("required without a subcommand or a list");
    match &args.property {
        Some(property) if network::is_network(run) => return network::one(args, run, property, &settings, printer),
        Some(property) => {
            let why = "a property is one of a network (FILE.onnx), and this is none";
            return Err(Problem::input("verify", format!("{run} {}", property.display()), why).into());
        }
        None if network::is_network(run) => {
            let Some(data) = &args.data else {
                let why = "a network alone says not what is to be verified of it";
                let hint = "give a property (FILE.vnnlib) behind it, or images (--data) and a radius (--eps)";
                return Err(Problem::input("verify", run, why).hint(hint).into());
            };
            return images::of_file(args, run, data, settings, printer);
        }
        None if args.mean.is_some() || args.std.is_some() => {
            let why = "a run says itself how its pixels are normalised";
            return Err(Problem::input("verify", format!("{run} --mean --std"), why).hint("leave them out").into());
        }
        None if images::norm(args) == Norm::Two => return images::of_run(args, run, settings, printer),
        None => {}
    }
    let shard = shard(args)?;
    // Nothing is verified for a folder that cannot be written.
    args.handover.as_deref().map(require_new).transpose()?;
    let signals = Signals::listen_and_answer(
        "stopping: abandoning this batch, keeping the verdicts so far (once more to stop at once)",
    )?;
    let device = ranks.agree(args.device.open(printer))?;
    let opened = ranks.agree_all(open::open(run, &SCHEMA, &device))?;
    let test = judged_images(&opened.run, &opened.spec, args.data.as_deref(), printer).map_err(Problems::from);
    let test = ranks.agree_all(test)?;
    open::require_fit(&opened.net, &test, args.data.as_deref().unwrap_or(run))?;
    if let Some(asked) = args.images.filter(|asked| *asked as usize > test.len()) {
        let why = format!("--images {asked}: the set has {} images; Temper verifies those", test.len());
        printer.warn(why, None);
    }
    let test = args.images.map_or(test.clone(), |count| test.first(count as usize));
    let (eps, written) = match &args.eps {
        Some(text) => (radius(text)?, text.clone()),
        None => (opened.spec.target()?, opened.spec.target_as_written()),
    };
    let name = folder_name(args, &settings, opened.step, &written, &test.fingerprint());
    if args.out.is_none() {
        opened.run.require_no_link("verify")?;
    }
    let folder = args.out.clone().unwrap_or_else(|| opened.run.path().join("verify").join(name));
    let settings = Settings { seed: opened.spec.run.seed, ..settings };
    let asked = if args.radius {
        Asked::Radii { eps, settings, halvings: args.halvings as usize }
    } else {
        let (steps, restarts) = (args.steps.unwrap_or(STEPS) as usize, args.restarts.unwrap_or(RESTARTS) as usize);
        let attack = Attack { steps, restarts, seed: settings.seed, ..Attack::default() };
        let attack_certified = args.attack.as_deref().and_then(AttackCertified::from_name).unwrap_or_default();
        Asked::Verdicts(Question { eps, settings, attack, attack_certified })
    };
    let open = |folder: &Path, shard| Verification::open(folder, &opened, &test, asked.clone(), shard);
    let rows = args.batch as usize;
    if ranks.size() > 1 {
        let finish = |mut part: Verification| finish(&mut part, rows, &signals, &device, printer);
        if let Some(signal) = in_parts(ranks, rows, &folder, &open, &finish)? {
            return Ok((128 + signal) as u8);
        }
        if !ranks.leads() {
            return Ok(0);
        }
    }
    let (mut verification, asked) = open(&folder, shard)?;
    let (first, images, begun) = (verification.done(), verification.images(), Instant::now());
    // What ranks have joined is complete.
    if ranks.size() == 1
        && let Some(signal) = finish(&mut verification, rows, &signals, &device, printer)?
    {
        return Ok((128 + signal) as u8);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let set = || Set::new(&opened.net.to_network(), &test, (eps, written.clone()));
    if let Some(folder) = &args.handover {
        let open = left_open(&verification.file.lines);
        if open.is_empty() {
            printer.say("no image is left open: nothing is handed over");
        } else {
            let limit = args.search.timeout.unwrap_or(TIMEOUT).as_secs_f64();
            set()?.write(folder, "network", &open, limit)?;
            printer.say(format_args!("{}: {} images left open", folder.join("instances.csv").display(), open.len()));
        }
    }
    let import = |path: &PathBuf| Imported::read(path, &set()?, &verification.file.lines);
    let imported = args.import.as_ref().map(import).transpose()?;
    let made = images - first;
    let rate = (made > 0).then(|| made as f64 / seconds);
    let told = Told { run: Some(run), asked: &asked, rate, imported, json: args.json };
    match &verification.times {
        Some(times) => tell_verdicts(&told, &verification.file, &times.total, printer),
        None => tell_radii(&told, &verification.file, printer),
    }
}

/// Answers for the rest of the images, `rows` at a time. The signal that stopped it, if one did.
fn finish(
    verification: &mut Verification,
    rows: usize,
    signals: &Signals,
    device: &Device,
    printer: &Printer,
) -> Result<Option<i32>> {
    let (first, images) = (verification.done(), verification.images());
    if first > 0 {
        let path = verification.file.path.display();
        printer.say(format_args!("{first} of {images} images have verdicts already: {path}"));
    }
    let meter = Meter::begin(printer, "verify", (images - first) as u64);
    let (mut counted, mut summary) = (0, Summary::default());
    while verification.done() < images {
        verification.advance(rows, &|| signals.seen_signal().is_some(), device)?;
        let done = verification.done();
        // Radii have no verdicts.
        if verification.times.is_some() {
            verification.file.lines[counted..].iter().for_each(|line| store::count(&mut summary, line));
            counted = done;
        }
        let rate = (done - first) as f64 / meter.seconds();
        meter.update((done - first) as u64, format_args!("{}{rate:.1} images/s", so_far(&summary)));
        if let Some(signal) = signals.seen_signal().filter(|_| done < images) {
            drop(meter);
            signals.answer_signal();
            printer.say(format_args!("stopped after {done} of {images} images; the same command resumes"));
            return Ok(Some(signal));
        }
    }
    Ok(None)
}

/// Whether this is a verification that ranks can share: verdicts on the images of a run.
fn has_parts(args: &args::Verify) -> bool {
    let of_run = args.run.as_deref().is_some_and(|run| !network::is_network(run)) && args.property.is_none();
    let plain = !args.radius && args.shard.is_none() && args.handover.is_none() && args.import.is_none();
    of_run && plain && images::norm(args) != Norm::Two
}

/// Opens the verification of a part of the images in a folder.
type Open<'f, 'a> = dyn Fn(&Path, Shard) -> Result<(Verification<'a>, Value)> + 'f;

/// Has every rank verify a part in a folder of its own, and rank 0 join them in `folder`. The signal that stopped one of them, if one did.
fn in_parts<'a>(
    ranks: &Ranks,
    batch: usize,
    folder: &Path,
    open: &Open<'_, 'a>,
    finish: &dyn Fn(Verification<'a>) -> Result<Option<i32>>,
) -> Result<Option<i32>> {
    let (rank, of) = (ranks.group().rank(), ranks.size());
    let part = |rank: usize| folder.join(format!("part-{rank}-of-{of}"));
    let complete = || {
        let (whole, _) = open(folder, Shard::WHOLE)?;
        let (done, images) = (whole.done(), whole.images());
        if 0 < done && done < images {
            let why = format!("one process has begun it: {done} of {images} images have verdicts");
            let hint = "finish it with one process, or choose another folder";
            return Err(Problem::input("verify", folder.display(), why).hint(hint));
        }
        Ok(done == images)
    };
    let complete = ranks.agree(if ranks.leads() { complete() } else { Ok(false) })?;
    if ranks.group().broadcast(&[u8::from(complete)])? == [1] {
        return Ok(None);
    }
    let ended = open(&part(rank), Shard { part: rank, of, batch }).and_then(|(part, _)| finish(part));
    let signal = ranks.agree(ended)?.unwrap_or(0);
    let signals = ranks.group().gather(&[signal as u8])?;
    if let Some(signal) = signals.concat().into_iter().find(|signal| *signal > 0) {
        return Ok(Some(signal.into()));
    }
    if ranks.leads() {
        let parts: Vec<PathBuf> = (0..of).map(part).collect();
        shards::merge(&parts, folder)?;
        // Their verdicts are in the whole.
        parts.iter().for_each(|part| _ = std::fs::remove_dir_all(part));
    }
    Ok(None)
}

/// The verdicts of a verification under way, for its line of progress; nothing for radii.
fn so_far(summary: &Summary) -> String {
    let Summary { images, certified, attacked, misclassified, unknown, timeouts, .. } = summary;
    if *images == 0 {
        return String::new();
    }
    let open = unknown + timeouts;
    format!("{certified} certified, {attacked} attacked, {misclassified} misclassified, {open} open, ")
}

/// The stages and limits that were asked for. An option that the question has no use for is an error: nothing that was asked is dropped in
/// silence.
fn settings(args: &args::Verify) -> Result<Settings> {
    let fail = |what: String, why: &str| Problem::input("verify", what, why);
    if let Some(bound) = &args.bound {
        let hint = "--stages ibp certifies by intervals alone, --stages ibp,crown by linear bounds too; without it all stages are tried";
        return Err(fail(format!("--bound {bound}"), "which bounds may certify is said by --stages").hint(hint));
    }
    let named = |stage: &Stage| args.search.stages.iter().any(|name| name == stage.name());
    let stages: Vec<Stage> = match (args.search.stages.is_empty(), args.radius) {
        (true, false) => Stage::ALL.to_vec(),
        (true, true) => vec![Stage::Ibp],
        (false, _) => Stage::ALL.into_iter().filter(named).collect(),
    };
    let allowed = |stage: &Stage| matches!(stage, Stage::Ibp | Stage::Crown);
    if let Some(other) = stages.iter().find(|stage| args.radius && !allowed(stage)) {
        let why = "a radius is found by interval bounds and crown alone";
        return Err(fail(format!("--radius with the stage {}", other.name()), why).hint("give --stages ibp,crown"));
    }
    if args.radius && !stages.contains(&Stage::Ibp) {
        return Err(fail("--radius --stages crown".into(), "crown goes on where interval bounds end")
            .hint("give --stages ibp,crown"));
    }
    let last = stages.iter().max().copied().unwrap_or(Stage::Bab);
    let search = &args.search;
    let attack = stages.contains(&Stage::Attack) || args.radius;
    for (given, option, of_use, needs) in [
        (args.attack.is_some(), "--attack", attack, "attack"),
        (args.steps.is_some(), "--steps", attack, "attack"),
        (args.restarts.is_some(), "--restarts", attack, "attack"),
        (search.timeout.is_some(), "--timeout", last >= Stage::Crown && !args.radius, "crown, alpha or bab"),
        (search.max_domains.is_some(), "--max-domains", last == Stage::Bab, "bab"),
        (search.memory.is_some(), "--memory", last == Stage::Bab, "bab"),
    ] {
        if given && !of_use {
            let why = format!("only the stage {needs} has a use for it, and that is not one of those to try");
            return Err(fail(option.into(), &why).hint("leave it out, or say otherwise with --stages"));
        }
    }
    Ok(Settings {
        stages,
        arithmetic: Arithmetic::from_name(&search.arithmetic).unwrap_or_default(),
        timeout: (!args.radius).then(|| search.timeout.unwrap_or(TIMEOUT)),
        max_domains: search.max_domains,
        memory: search.memory.unwrap_or(Settings::default().memory),
        seed: 0,
        thin: Thin::Nothing,
    })
}

/// The part of the images.
fn shard(args: &args::Verify) -> Result<Shard> {
    let Some(text) = &args.shard else { return Ok(Shard::WHOLE) };
    if args.radius {
        let why = "radii are not found in parts";
        return Err(Problem::input("verify", "--radius --shard", why).hint("give --images N for a quicker look"));
    }
    Shard::parse(text, args.batch as usize).ok_or_else(|| {
        Problem::input("verify", format!("--shard {text}"), "it is not a part of the images")
            .hint("parts are counted from 0: the four of --shard 0/4 are 0/4, 1/4, 2/4 and 3/4")
    })
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
fn folder_name(args: &args::Verify, settings: &Settings, step: u64, eps: &str, content: &str) -> String {
    // However a radius of nothing is written, it is one question.
    let eps = if radius(eps).is_ok_and(|eps| eps == 0.0) { "0" } else { eps.trim() };
    let mut name = format!("step-{step}-eps-{}", eps.replace('/', "-"));
    let usual: &[Stage] = if args.radius { &[Stage::Ibp] } else { &Stage::ALL };
    if settings.stages != usual {
        settings.stages.iter().for_each(|stage| name += &format!("-{}", stage.name()));
    }
    if settings.arithmetic != Arithmetic::default() {
        name += &format!("-{}", settings.arithmetic.name());
    }
    if images::norm(args) != Norm::default() {
        name += &format!("-norm-{}", images::norm(args).name());
    }
    if let Some(attack) = args.attack.as_deref().filter(|attack| *attack != AttackCertified::default().name()) {
        name += &format!("-{attack}");
    }
    let timeout = settings.timeout.filter(|timeout| *timeout != TIMEOUT).map(|timeout| timeout.as_secs_f64());
    timeout.iter().for_each(|timeout| name += &format!("-timeout-{timeout}"));
    let memory = Some(settings.memory).filter(|memory| *memory != Settings::default().memory);
    let halvings = args.radius.then_some(args.halvings);
    for (word, value) in [
        ("max-domains", settings.max_domains),
        ("memory", memory),
        ("steps", args.steps.filter(|steps| *steps != STEPS)),
        ("restarts", args.restarts.filter(|restarts| *restarts != RESTARTS)),
        ("halvings", halvings.filter(|halvings| *halvings != 12)),
        ("first", args.images),
    ] {
        value.iter().for_each(|value| name += &format!("-{word}-{value}"));
    }
    if let Some(data) = args.data.as_deref().and_then(|path| Path::new(path).file_name()) {
        // Two sets may be called the same.
        name += &format!("-{}-{}", data.to_string_lossy(), content.get(..8).unwrap_or(content));
    }
    if let Some(shard) = &args.shard {
        name += &format!("-shard-{}", shard.trim().replace('/', "-of-"));
        if args.batch != 100 {
            name += &format!("-batch-{}", args.batch);
        }
    }
    name
}

/// What certificates in an arithmetic are worth.
fn worth(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Real => "plain: rounding is not accounted for, so that a certificate can be wrong",
        Arithmetic::Sound => "certificates hold for the network over the real numbers, whatever was rounded",
        Arithmetic::Float32 => "certificates hold for every execution in single precision, in any order of its sums",
    }
}

/// What is told of a verification, and how.
struct Told<'a> {
    /// The run, where there is one.
    run: Option<&'a str>,
    /// The question.
    asked: &'a Value,
    /// Images a second.
    rate: Option<f64>,
    /// Answers of another verifier.
    imported: Option<Imported>,
    json: bool,
}

impl Told<'_> {
    fn arithmetic(&self) -> Arithmetic {
        self.asked["arithmetic"].as_str().and_then(Arithmetic::from_name).unwrap_or_default()
    }

    /// The stages that were tried.
    fn stages(&self) -> Vec<Stage> {
        let names = self.asked["stages"].as_array().into_iter().flatten();
        names.filter_map(|name| Stage::from_name(name.as_str()?)).collect()
    }
}

/// `temper verify merge`.
fn merge(args: &VerifyMerge, printer: &Printer) -> Outcome {
    let asked = shards::merge(&args.folders, &args.out)?;
    let file = Store::open(&args.out, Kind::Verdicts, &asked)?;
    let mut seconds = StageSeconds::default();
    for line in times::read(&args.out.join("times.csv")) {
        seconds.iter_mut().zip(line).for_each(|(sum, seconds)| *sum += seconds);
    }
    tell_verdicts(
        &Told { run: None, asked: &asked, rate: None, imported: None, json: args.json },
        &file,
        &seconds,
        printer,
    )
}

fn tell_verdicts(told: &Told, file: &Store, seconds: &StageSeconds, printer: &Printer) -> Outcome {
    let Told { asked, rate, .. } = *told;
    let (summary, stages, arithmetic) = (store::summary(&file.lines), told.stages(), told.arithmetic());
    let [standard, robust, certified] = [summary.standard_error(), summary.robust_error(), summary.certified_error()];
    if told.json {
        let stage = |stage: &Stage| {
            let (count, seconds) = (summary.stages[*stage as usize], seconds[*stage as usize]);
            let value = json!({ "certified": count.certified, "attacked": count.attacked, "seconds": seconds });
            (stage.name().to_owned(), value)
        };
        let mut result = json!({
            "run": told.run, "question": asked, "images": summary.images,
            "standard_error": standard, "robust_error": robust, "certified_error": certified,
            "misclassified": summary.misclassified, "attacked": summary.attacked, "certified": summary.certified,
            "unknown": summary.unknown, "timeouts": summary.timeouts, "errors": summary.errors,
            "rounding": summary.rounding, "stages": stages.iter().map(stage).collect::<Map<String, Value>>(),
            "arithmetic": arithmetic.name(), "images_per_s": rate, "verdicts": file.path.display().to_string(),
        });
        if let Some(imported) = &told.imported {
            result["imported"] = imported.json();
        }
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        let percent = |count: u64| 100.0 * count as f64 / summary.images.max(1) as f64;
        let mut text =
            format!("{} images of {}, eps {}\n\n", summary.images, asked["data"].as_str().unwrap_or(""), asked["eps"]);
        // The attack on a network of a file is that of properties.
        let how = if asked.get("network_sha256").is_some() { "by gradients" } else { "targeted and gradient-free" };
        let attacked = if stages.contains(&Stage::Attack) { how } else { "not attacked" };
        if let Some(norm) = asked["norm"].as_str() {
            text = text.trim_end().to_owned() + &format!(" in the norm {norm}\n\n");
        }
        text += &format!("standard error   {standard:6.2} %\n");
        text += &format!("robust error     {robust:6.2} % ({attacked})\n");
        text += &format!("certified error  {certified:6.2} %\n\n");
        for (name, count) in [
            ("misclassified", summary.misclassified),
            ("attacked", summary.attacked),
            ("unknown", summary.unknown),
            ("timeout", summary.timeouts),
            ("certified", summary.certified),
            ("error", summary.errors),
        ] {
            text += &format!("{name:16} {count:>6}  {:6.2} %\n", percent(count));
        }
        text += "\nstage   certified  attacked   seconds\n";
        for stage in stages {
            let count = summary.stages[stage as usize];
            let (name, seconds) = (stage.name(), seconds[stage as usize]);
            text += &format!("{name:7} {:>9} {:>9} {seconds:>9.1}\n", count.certified, count.attacked);
        }
        if let Some(Imported { certified, attacked, open }) = told.imported {
            text += &format!(
                "\nimported, of those left open and counted nowhere above: {certified} certified, {attacked} attacked, {open} open\n"
            );
        }
        if summary.rounding > 0 {
            let counts = if arithmetic == Arithmetic::Real { "attack" } else { "certificate" };
            text += &format!(
                "\n{} verdicts differ between bound and attack by rounding; the {counts} counts\n",
                summary.rounding
            );
        }
        text += &format!("\narithmetic: {}: {}\n", arithmetic.name(), worth(arithmetic));
        text += &format!("verdicts:   {}", file.path.display());
        printer.data(text);
        if let Some(rate) = rate {
            printer.say(format_args!("{rate:.1} images/s"));
        }
    }
    summary.check(&file.path.display().to_string())?;
    Ok(0)
}

fn tell_radii(told: &Told, file: &Store, printer: &Printer) -> Outcome {
    let Told { asked, rate, .. } = *told;
    let arithmetic = told.arithmetic();
    let radii = RadiusSummary::of(certified_radii(&file.lines));
    let RadiusSummary { images, mean, median, quartiles: [lower, upper], none } = radii;
    let path = file.path.display().to_string();
    if told.json {
        let result = json!({
            "run": told.run, "question": asked, "images": images, "mean": mean, "median": median, "quartiles": [lower, upper],
            "none": none, "arithmetic": arithmetic.name(), "images_per_s": rate, "radii": path,
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
    } else {
        printer.data(format_args!(
            "{images} images of {}, certified radius up to {}; 0 where the image is misclassified\n\nmean      {mean:.5}\nmedian    {median:.5}\nquartiles {lower:.5} {upper:.5}\n\narithmetic: {}: {}\nradii:      {path}",
            asked["data"].as_str().unwrap_or(""),
            asked["eps"],
            arithmetic.name(),
            worth(arithmetic),
        ));
    }
    Ok(0)
}
