//! `temper schedule`: the learning rate of a recipe, and its radius where it has one, as a drawing, a table or a figure.
//! Builds no model, and reads no data but images, whose number says how long an epoch is.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use temper::Trains;
use temper::builtin::LIBRARY;
use temper_base::numbers::count;
use temper_base::numbers::thousands;
use temper_base::{Problem, Problems, Result, files};
use temper_certify as certify;
use temper_certify::images::{self, Size};
use temper_certify::spec::CertifySpec;
use temper_lm::spec::LmSpec;
use temper_recipe::{Origin, Recipe};
use temper_record::metric;
use temper_report::{ScheduleCurve, Table, schedule_svg};
use temper_schedule::sparkline::curve;
use temper_schedule::{Convention, EpsSchedule, Length, LengthError, LrSpec, Schedule, Units, sparkline};
use temper_train::spec::{self, RunSpec, Spec};

use crate::args;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Columns and rows of the drawing.
const DRAWING: (usize, usize) = (72, 8);
/// About how many points a figure has.
const POINTS: u64 = 1000;
/// Lines printed at once.
const LINES: usize = 4096;

/// The schedule of a recipe, with what it needs to be read.
struct Plan {
    spec: RunSpec,
    lr: LrSpec,
    /// Sequences of an update and their length, where it trains on text.
    update: Option<[usize; 2]>,
    /// Tokens of an update; images, where there are no tokens.
    tokens_per_step: u64,
    horizon: u64,
    stop: u64,
    schedule: Schedule,
    /// Of certified training.
    radius: Option<Radius>,
}

/// The radius by update, with what belongs to it.
struct Radius {
    eps: EpsSchedule,
    /// Weight of the warmup regularisers at radius 0; 0 without them.
    lambda: f64,
    /// How many images there are, if that is known.
    size: Option<Size>,
}

impl Plan {
    /// Tokens or images of the first `n` updates.
    fn tokens(&self, n: u64) -> u128 {
        match self.radius.as_ref().and_then(|radius| radius.size.as_ref()) {
            Some(size) => size.images_after(n, self.tokens_per_step).into(),
            None => u128::from(n) * u128::from(self.tokens_per_step),
        }
    }
}

/// Runs the command.
pub fn run(args: &args::Schedule, printer: &Printer) -> Outcome {
    if let Some(path) = args.svg.as_deref().filter(|path| path.exists()) {
        let problem = Problem::input("write figure", path.display(), "the file exists already");
        return Err(problem.hint("choose another name, or remove it").into());
    }
    let recipe = load(&args.recipe, &args.overrides.set)?;
    for key in recipe.dropped() {
        printer.say(format_args!("{key} has no effect: the new lr.shape has no such key"));
    }
    let plan = match Trains::of(&recipe) {
        Trains::LanguageModel => {
            let spec = LmSpec::read(&recipe)?;
            let units = Units { tokens_per_step: spec.tokens_per_step(), tokens_per_epoch: None };
            Plan { update: Some([spec.batch, spec.seq_len]), ..resolve(&spec.run, units)? }
        }
        Trains::Classifier => certified(&CertifySpec::read(&recipe)?, printer)?,
    };
    if args.csv {
        csv(&plan, args.every, printer);
    } else if let Some(path) = &args.svg {
        files::write_whole(path, svg(&plan).as_bytes())?;
        printer.data(path.display());
    } else {
        printer.data(drawing(&plan).trim_end());
    }
    Ok(0)
}

/// The recipe, and what it leaves to the run it branches from as that run's recipe (`base`) has it.
fn load(name: &str, overrides: &[String]) -> Result<Recipe, Problems> {
    let resolved = Path::new(name).join("resolved.toml");
    if resolved.is_file() {
        let problem = Problem::input("find recipe", name, "this is a run, not a recipe");
        return Err(problem.hint(format!("its recipe is {}", resolved.display())).into());
    }
    let mut recipe = with_base(Recipe::load(name, overrides, &LIBRARY)?, &mut vec![name.to_owned()])?;
    if Trains::of(&recipe) == Trains::Classifier {
        certify::spec::fill_method(&mut recipe)?;
    }
    Ok(recipe)
}

fn with_base(mut recipe: Recipe, seen: &mut Vec<String>) -> Result<Recipe, Problems> {
    let Some(base) = base_of(&recipe)? else { return Ok(recipe) };
    if seen.contains(&base) {
        let why = format!("the base of a recipe cannot be the recipe itself: {} -> {base}", seen.join(" -> "));
        return Err(recipe.problem("base", why).into());
    }
    seen.push(base.clone());
    let parent = Recipe::load(&base, &[], &LIBRARY).map_err(|problems| named(&recipe, &base, problems))?;
    if parent.task() != recipe.task() {
        let why = format!("{base} is a recipe of {}, and this is one of {}", parent.task().words, recipe.task().words);
        return Err(recipe.problem("base", why).into());
    }
    let parent = with_base(parent, seen)?;
    temper::inherit(&mut recipe, &parent, &base);
    Ok(recipe)
}

/// The recipe named by `base`: a file beside the one that names it, or a name.
fn base_of(recipe: &Recipe) -> Result<Option<String>, Problems> {
    let Some(base) = spec::base_of(recipe)? else { return Ok(None) };
    let beside: Option<PathBuf> = match recipe.origin("base") {
        Origin::File(path) => Path::new(&path).parent().map(|folder| folder.join(&base)),
        _ => None,
    };
    let beside = beside.filter(|path| path.is_file()).map(|path| path.display().to_string());
    Ok(Some(beside.unwrap_or(base)))
}

/// A base that cannot be found is a problem of the line that names it.
fn named(recipe: &Recipe, base: &str, problems: Vec<Problem>) -> Problems {
    match problems.as_slice() {
        [missing] if missing.place == base => {
            let problem = recipe.problem("base", &missing.why);
            missing.hint.iter().fold(problem, |problem, hint| problem.hint(hint)).into()
        }
        _ => problems.into(),
    }
}

/// The plan of a recipe of certified training. Its images are counted if one of its lengths is in epochs, or if they are here.
fn certified(spec: &CertifySpec, printer: &Printer) -> Result<Plan, Problems> {
    let epochs = |length: &Length| matches!(length, Length::Epochs(_));
    let in_epochs = spec.run.recipe.entries().into_iter().any(|(key, entry)| {
        let counts = ["lr.", "eps.", "run."].iter().any(|section| key.starts_with(section));
        counts && entry.value.lengths().iter().any(epochs)
    });
    let size = match images::size(spec) {
        Err(problem) if in_epochs => return Err(problem.into()),
        size => size.ok(),
    };
    if let Some(size) = size.as_ref().filter(|size| !size.here && in_epochs) {
        printer.say(format_args!("{} is not here: an epoch is that of {}", spec.images()?, size.name));
    }
    let units = spec.units(size.as_ref().map(|size| size.train));
    let plan = resolve(&spec.run, units)?;
    let eps = spec.eps_schedule(&units, plan.horizon)?;
    let method = &spec.method;
    let lambda = if method.tightness || method.relu_balance { method.lambda } else { 0.0 };
    Ok(Plan { radius: Some(Radius { eps, lambda, size }), ..plan })
}

/// Every length in updates.
fn resolve(spec: &RunSpec, units: Units) -> Result<Plan, Problems> {
    let steps = |key: &str, length: Length, horizon: Option<u64>| {
        length.steps(&units, horizon).map_err(|error| match error {
            LengthError::EpochsOfNothing(_) => spec
                .problem(key, format!("{length}: only the data says how long an epoch is, and this command reads none"))
                .hint(format!("give steps or tokens, for example --set \"{key}=2000 steps\"")),
            error => spec.problem(key, error),
        })
    };
    let written = spec.schedule_spec()?;
    let horizon = steps("run.horizon", written.horizon, None)?;
    let stop = spec.stop.map(|stop| steps("run.stop", stop, Some(horizon))).transpose();
    let schedule = spec.schedule(&units, horizon);
    match (stop, schedule) {
        (Ok(stop), Ok(schedule)) => {
            let stop = stop.unwrap_or(horizon).max(1);
            let (lr, spec, tokens_per_step) = (written.lr.clone(), spec.clone(), units.tokens_per_step);
            Ok(Plan { spec, lr, tokens_per_step, update: None, horizon, stop, schedule, radius: None })
        }
        (stop, schedule) => Err(stop
            .err()
            .into_iter()
            .chain(schedule.err().map(|problems| problems.0).unwrap_or_default())
            .collect::<Vec<_>>()
            .into()),
    }
}

/// Updates from 1 to `stop`: every `every`th, and the ends of the phases.
fn updates(plan: &Plan, every: u64) -> impl Iterator<Item = u64> {
    let stop = plan.stop;
    let mut ends: Vec<u64> = plan.schedule.bands(stop).iter().flat_map(|band| [band.first, band.last]).collect();
    if let Some(radius) = &plan.radius {
        ends.extend(radius.eps.bands(stop).iter().flat_map(|(_, first, last)| [*first, *last]));
        ends.sort_unstable();
    }
    std::iter::successors(Some(1), move |&n| {
        let multiple = (n / every + 1).saturating_mul(every);
        let end = ends.iter().copied().find(|end| *end > n);
        (n < stop).then(|| multiple.min(end.unwrap_or(stop)).min(stop))
    })
}

fn csv(plan: &Plan, every: u64, printer: &Printer) {
    let mut lines = vec!["step,tokens,lr".to_owned() + if plan.radius.is_some() { ",eps,weight" } else { "" }];
    for n in updates(plan, every) {
        let mut line = format!("{n},{},{:?}", plan.tokens(n), plan.schedule.at(n));
        if let Some(Radius { eps, lambda, .. }) = &plan.radius {
            _ = write!(line, ",{:?},{:?}", eps.at(n), eps.weight(n, *lambda));
        }
        lines.push(line);
        if lines.len() == LINES {
            printer.data(lines.join("\n"));
            lines.clear();
        }
    }
    if !lines.is_empty() {
        printer.data(lines.join("\n"));
    }
}

fn svg(plan: &Plan) -> String {
    let points = |value: &dyn Fn(u64) -> f64| -> Vec<(f64, f64)> {
        updates(plan, (plan.stop / POINTS).max(1)).map(|n| (n as f64, value(n))).collect()
    };
    let mut curves =
        vec![ScheduleCurve { quantity: "learning rate".to_owned(), points: points(&|n| plan.schedule.at(n)) }];
    let phases: Vec<_> = match &plan.radius {
        Some(Radius { eps, .. }) => {
            curves.push(ScheduleCurve { quantity: "eps".to_owned(), points: points(&|n| eps.at(n)) });
            eps.bands(plan.stop)
                .into_iter()
                .map(|(name, first, last)| (name.to_owned(), first as f64, last as f64))
                .collect()
        }
        None => {
            let bands = plan.schedule.bands(plan.stop);
            bands.iter().map(|band| (band.name.to_string(), band.first as f64, band.last as f64)).collect()
        }
    };
    schedule_svg(plan.spec.recipe.name(), "updates", &curves, &phases)
}

fn drawing(plan: &Plan) -> String {
    let tokens = |n: u64| count(plan.tokens(n) as f64);
    let Plan { horizon, stop, .. } = *plan;
    let unit = if plan.radius.is_some() { "images" } else { "tokens" };
    let mut text = format!("{}: {}", plan.spec.recipe.name(), plan.lr.shape.name());
    match plan.lr.convention {
        Convention::Ours => text.push('\n'),
        convention => _ = writeln!(text, ", convention {}", convention.name()),
    }
    _ = writeln!(text, "{} updates ({} {unit})", thousands(horizon), tokens(horizon));
    _ = write!(text, "an update is {} {unit}", thousands(plan.tokens_per_step));
    match (&plan.radius, plan.update) {
        (_, Some([sequences, length])) => {
            _ = writeln!(text, ": {} sequences of {}", thousands(sequences as u64), thousands(length as u64));
        }
        (Some(Radius { size: Some(size), .. }), None) => {
            let (train, epoch) = (size.train as u64, (size.train as u64).div_ceil(plan.tokens_per_step));
            _ = writeln!(text, ", an epoch {} updates ({} images)", thousands(epoch), thousands(train));
        }
        (Some(_) | None, None) => text.push('\n'),
    }
    if plan.spec.clocks.schedule {
        text += "a branch continues it at the update where its base run stands (clocks.schedule = \"keep\")\n";
    }
    if stop != horizon {
        let what = if stop < horizon { "before the schedule ends" } else { "after it: the last value is kept" };
        _ = writeln!(text, "training stops at update {} ({} {unit}), {what}", thousands(stop), tokens(stop));
    }
    // The last line lists the phases, which the table does in full.
    let (width, rows) = DRAWING;
    let drawn = sparkline(&plan.schedule, Some(stop), width, rows);
    let drawn = drawn.trim_end().rsplit_once('\n').map_or("", |(drawn, _)| drawn);
    _ = write!(text, "\n{drawn}\n\n");
    let between = |first: u64, last: u64| count((plan.tokens(last) - plan.tokens(first - 1)) as f64);
    let mut table = Table::new().text_column("phase");
    for heading in ["first", "last", "updates", unit, "lr at first", "lr at last"] {
        table = table.number_column("", heading);
    }
    for band in plan.schedule.bands(stop) {
        table.row([
            band.name.to_string(),
            thousands(band.first),
            thousands(band.last),
            thousands(band.last - band.first + 1),
            between(band.first, band.last),
            metric::line("lr", band.start),
            metric::line("lr", band.end),
        ]);
    }
    text += &table.to_text();
    if let Some(Radius { eps, lambda, .. }) = &plan.radius {
        let target = eps.at(stop);
        _ = write!(text, "\neps: {}, target {}\n\n", eps.shape.name(), metric::line("eps", eps.target));
        _ = writeln!(text, "{}", curve(|n| eps.at(n), target, stop, width, rows));
        let mut table = Table::new().text_column("phase");
        for heading in ["first", "last", "updates", unit, "eps at first", "eps at last", "weight at first"] {
            table = table.number_column("", heading);
        }
        for (name, first, last) in eps.bands(stop) {
            table.row([
                name.to_owned(),
                thousands(first),
                thousands(last),
                thousands(last - first + 1),
                between(first, last),
                metric::line("eps", eps.at(first)),
                metric::line("eps", eps.at(last)),
                metric::line("weight", eps.weight(first, *lambda)),
            ]);
        }
        text += &table.to_text();
    }
    text
}
