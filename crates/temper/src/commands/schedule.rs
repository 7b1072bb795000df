//! `temper schedule`: the learning rate of a recipe as a drawing, a table or a figure. Reads no data and builds no model.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use temper_data::files;
use temper_recipe::{Origin, Recipe};
use temper_record::Problem;
use temper_record::console::{count, metric};
use temper_report::{ScheduleCurve, Table, schedule_svg};
use temper_schedule::{Length, LengthError, Schedule, Units, sparkline};

use crate::args;
use crate::builtin::LIBRARY;
use crate::lm::start::inherit;
use crate::printer::Printer;
use crate::problems::{Outcome, Problems};
use crate::progress::thousands;

/// Columns and rows of the drawing.
const DRAWING: (usize, usize) = (72, 8);
/// About how many points a figure has.
const POINTS: u64 = 1000;
/// Lines printed at once.
const LINES: usize = 4096;

/// The schedule of a recipe, with what it needs to be read.
struct Plan {
    tokens_per_step: u64,
    horizon: u64,
    stop: u64,
    schedule: Schedule,
}

/// Runs the command.
pub fn run(args: &args::Schedule, printer: &Printer) -> Outcome {
    if let Some(path) = args.svg.as_deref().filter(|path| path.exists()) {
        let problem = Problem::input("write figure", path.display(), "the file exists already");
        return Err(problem.hint("choose another name, or remove it").into());
    }
    let recipe = load(&args.recipe, &args.overrides.set)?;
    for key in recipe.dropped() {
        printer.say(format_args!("{key} is not used: lr.shape was changed, and the new one has no such key"));
    }
    let plan = resolve(&recipe)?;
    if args.csv {
        csv(&plan, args.every, printer);
    } else if let Some(path) = &args.svg {
        files::write_whole(path, svg(&recipe, &plan).as_bytes())?;
        printer.data(path.display());
    } else {
        printer.data(drawing(&recipe, &plan)?.trim_end());
    }
    Ok(0)
}

/// The recipe, and what it leaves to the run it branches from as that run's recipe (`base`) has it.
fn load(name: &str, overrides: &[String]) -> Outcome<Recipe> {
    let resolved = Path::new(name).join("resolved.toml");
    if resolved.is_file() {
        let problem = Problem::input("find recipe", name, "this is a run, not a recipe");
        return Err(problem.hint(format!("its recipe is {}", resolved.display())).into());
    }
    with_base(Recipe::load(name, overrides, &LIBRARY)?, &mut vec![name.to_owned()])
}

fn with_base(mut recipe: Recipe, seen: &mut Vec<String>) -> Outcome<Recipe> {
    let Some(base) = base_of(&recipe) else { return Ok(recipe) };
    if seen.contains(&base) {
        let why = format!("the base of a recipe cannot be the recipe itself: {} -> {base}", seen.join(" -> "));
        return Err(recipe.problem("base", why).into());
    }
    seen.push(base.clone());
    let parent = Recipe::load(&base, &[], &LIBRARY).map_err(|problems| named(&recipe, &base, problems))?;
    inherit(&mut recipe, &with_base(parent, seen)?, &base)?;
    Ok(recipe)
}

/// The recipe named by `base`: a file beside the one that names it, or a name.
fn base_of(recipe: &Recipe) -> Option<String> {
    let base = recipe.text("base").ok()?;
    let beside: Option<PathBuf> = match recipe.origin("base") {
        Origin::File(path) => Path::new(&path).parent().map(|folder| folder.join(&base)),
        _ => None,
    };
    let beside = beside.filter(|path| path.is_file()).map(|path| path.display().to_string());
    Some(beside.unwrap_or(base))
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

/// Every length in updates. Epochs have none here.
fn resolve(recipe: &Recipe) -> Outcome<Plan> {
    let tokens_per_step = recipe.u64("batch.sequences")?.saturating_mul(recipe.u64("data.seq_len")?);
    let units = Units { tokens_per_step, tokens_per_epoch: None };
    let steps = |key: &str, length: Length, horizon: Option<u64>| {
        length.steps(&units, horizon).map_err(|error| match error {
            LengthError::EpochsOfNothing(_) => recipe
                .problem(
                    key,
                    format!("{length}: how long an epoch is, only the data says, and this command reads none"),
                )
                .hint(format!("give steps or tokens, for example --set \"{key}=2000 steps\"")),
            error => recipe.problem(key, error),
        })
    };
    let horizon = recipe.length("run.horizon").map_err(|problem| match keeps_schedule(recipe).unwrap_or(false) {
        true => problem.hint("clocks.schedule = \"keep\": the schedule is that of the run it branches from, whose recipe `base` can name"),
        false => problem,
    })?;
    let horizon = steps("run.horizon", horizon, None)?;
    let stop = recipe.opt("run.stop", Recipe::length)?.map(|stop| steps("run.stop", stop, Some(horizon))).transpose();
    let schedule = recipe.schedule(&units, horizon);
    match (stop, schedule) {
        (Ok(stop), Ok(schedule)) => {
            Ok(Plan { tokens_per_step, horizon, stop: stop.unwrap_or(horizon).max(1), schedule })
        }
        (stop, schedule) => {
            Err(stop.err().into_iter().chain(schedule.err().unwrap_or_default()).collect::<Vec<_>>().into())
        }
    }
}

fn keeps_schedule(recipe: &Recipe) -> temper_record::Result<bool> {
    Ok(recipe.text("clocks.schedule")? == "keep")
}

/// Updates from 1 to `stop`: every so many, and the ends of the phases.
fn updates(plan: &Plan, every: u64) -> impl Iterator<Item = u64> {
    let stop = plan.stop;
    let ends: Vec<u64> = plan.schedule.bands(stop).iter().flat_map(|band| [band.first, band.last]).collect();
    std::iter::successors(Some(1), move |&n| {
        let multiple = (n / every + 1).saturating_mul(every);
        let end = ends.iter().copied().find(|end| *end > n);
        (n < stop).then(|| multiple.min(end.unwrap_or(stop)).min(stop))
    })
}

fn csv(plan: &Plan, every: u64, printer: &Printer) {
    let mut lines = vec!["step,tokens,lr".to_owned()];
    for n in updates(plan, every) {
        let tokens = u128::from(n) * u128::from(plan.tokens_per_step);
        lines.push(format!("{n},{tokens},{:?}", plan.schedule.at(n)));
        if lines.len() == LINES {
            printer.data(lines.join("\n"));
            lines.clear();
        }
    }
    if !lines.is_empty() {
        printer.data(lines.join("\n"));
    }
}

fn svg(recipe: &Recipe, plan: &Plan) -> String {
    let points = updates(plan, (plan.stop / POINTS).max(1)).map(|n| (n as f64, plan.schedule.at(n))).collect();
    let curve = ScheduleCurve { quantity: "learning rate".to_owned(), points };
    let bands = plan.schedule.bands(plan.stop);
    let phases: Vec<_> =
        bands.iter().map(|band| (band.name.to_string(), band.first as f64, band.last as f64)).collect();
    schedule_svg(recipe.name(), "updates", &[curve], &phases)
}

fn drawing(recipe: &Recipe, plan: &Plan) -> Outcome<String> {
    let tokens = |n: u64| count(n as f64 * plan.tokens_per_step as f64);
    let Plan { horizon, stop, .. } = *plan;
    let (sequences, length) = (recipe.u64("batch.sequences")?, recipe.u64("data.seq_len")?);
    let mut text = format!("{}: {}", recipe.name(), recipe.text("lr.shape")?);
    match recipe.text("lr.convention")?.as_str() {
        "ours" => text.push('\n'),
        convention => _ = writeln!(text, ", convention {convention}"),
    }
    _ = writeln!(text, "{} updates ({} tokens)", thousands(horizon), tokens(horizon));
    _ = writeln!(
        text,
        "an update is {} tokens: {} sequences of {}",
        thousands(plan.tokens_per_step),
        thousands(sequences),
        thousands(length)
    );
    if keeps_schedule(recipe)? {
        text += "a branch goes on in it where the run it comes from stands (clocks.schedule = \"keep\")\n";
    }
    if stop != horizon {
        let what = if stop < horizon { "before the schedule ends" } else { "after it: the last value is kept" };
        _ = writeln!(text, "training stops at update {} ({} tokens), {what}", thousands(stop), tokens(stop));
    }
    // The last line lists the phases, which the table does in full.
    let (width, rows) = DRAWING;
    let drawn = sparkline(&plan.schedule, Some(stop), width, rows);
    let drawn = drawn.trim_end().rsplit_once('\n').map_or("", |(drawn, _)| drawn);
    _ = write!(text, "\n{drawn}\n\n");
    let mut table = Table::new().text_column("phase");
    for heading in ["first", "last", "updates", "tokens", "lr at first", "lr at last"] {
        table = table.number_column("", heading);
    }
    for band in plan.schedule.bands(stop) {
        let length = band.last - band.first + 1;
        table.row([
            band.name.to_string(),
            thousands(band.first),
            thousands(band.last),
            thousands(length),
            tokens(length),
            metric("lr", band.start),
            metric("lr", band.end),
        ]);
    }
    Ok(text + &table.to_text())
}
