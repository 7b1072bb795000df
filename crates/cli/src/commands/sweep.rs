//! `temper sweep`: a figure or table of a paper as one command.

mod plan;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use temper::builtin::SWEEPS;
use temper_base::Listener;
use temper_base::hash::{Digest, Sha256};
use temper_base::listener::Meter;
use temper_base::{Problem, Problems, Result};
use temper_certify::images;
use temper_recipe::nearest;
use temper_report::Table;
use temper_report::text::escape;
use temper_sweep::{Chosen, Measure, Sweep};

use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::run::console_of_run;
use temper::{Ranks, Run, Trains, Watch};
use temper_sweep::cost::{self, Clock};
use temper_sweep::one::{Front, RunLog};
use temper_sweep::results::{self, Results};
use temper_sweep::store::{State, Store, state};
use temper_sweep::tree::{self, Tree};
use temper_sweep::{execute, gains, page, texts};

/// The command line as the program that a sweep runs in.
struct Terminal {
    signals: Signals,
    device: Device,
}

/// What hears one of several runs.
struct Quiet<'s> {
    printer: Printer,
    signals: &'s Signals,
}

impl Front for Terminal {
    fn run_log(&self) -> Box<dyn RunLog + '_> {
        Box::new(Quiet { printer: Printer::for_log(), signals: &self.signals })
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn signal(&self) -> Option<i32> {
        self.signals.seen_signal()
    }
}

impl RunLog for Quiet<'_> {
    fn listener(&self) -> &dyn Listener {
        &self.printer
    }

    fn watch<'a>(&'a self, run: &dyn Run) -> Box<dyn Watch + 'a> {
        Box::new(console_of_run(run, "", self.signals, &self.printer))
    }
}

/// Runs the command. All ranks do this: they share the store as sweeps of several processes do, and rank 0 reports.
pub fn run(args: &args::Sweep, ranks: &Ranks, printer: &Printer) -> Outcome {
    let Some(name) = &args.name else {
        return if args.json { list_json(printer) } else { list("", printer) };
    };
    if args.show {
        return show(name, printer);
    }
    sweep_of(name, args, ranks, printer).map_err(|mut problems| {
        problems.0.iter_mut().for_each(|problem| in_the_file(problem, name, args));
        problems
    })
}

/// An override is the command line's, for variants or base, or else one of the sweep's own; and what a variant says, the sweep
/// says.
fn in_the_file(problem: &mut Problem, name: &str, args: &args::Sweep) {
    if problem.place.starts_with("variant ") || problem.what == "find recipe" {
        problem.place = format!("{name}: {}", problem.place);
    }
    let Some(key) = problem.place.strip_prefix("--set ") else { return };
    let among = |given: &[String]| given.iter().any(|set| set.split('=').next() == Some(key));
    match () {
        _ if among(&args.overrides.set) => {}
        _ if among(&args.set_base) => problem.place = format!("--set-base {key}"),
        _ => problem.place = format!("{name}: set.{key}"),
    }
}

/// The overrides as the command line gave them.
fn given(args: &args::Sweep) -> Vec<String> {
    let of = |option: &str, all: &[String]| all.iter().map(|set| format!("{option} {set}")).collect::<Vec<_>>();
    [of("--set", &args.overrides.set), of("--set-base", &args.set_base)].concat()
}

/// The folder of a sweep's report: one for each size, and one for each way to override it.
fn folder_of(sweep: &Sweep, chosen: &Chosen, overrides: &[String], store: &Store) -> PathBuf {
    let size = &chosen.size.name;
    store.sweep(
        &short_name(sweep),
        &match overrides {
            [] => size.clone(),
            all => format!("{size}-with-{}", texts::short_hash(Sha256::new_with_prefix(all.join("\n")))),
        },
    )
}

fn sweep_of(name: &str, args: &args::Sweep, ranks: &Ranks, printer: &Printer) -> Outcome {
    let store = Store::new(&args.out);
    let (sweep, mut problems) = load(name)?;
    // An error in its form does not stop the search for others.
    let chosen = match sweep.choose(&args.size, &args.overrides.set, &args.set_base) {
        Ok(chosen) => chosen,
        Err(more) => return Err([problems, more].concat().into()),
    };
    let seeds: Vec<u64> = (1..=args.seeds.or(chosen.size.seeds).unwrap_or(3)).collect();
    if sweep.measure == Measure::Gains {
        texts::require(&problems)?;
        return measure_gains(args, &sweep, &chosen, &seeds, &store, ranks, printer);
    }
    let tree = match tree::grow_tree(&sweep, &chosen, &seeds, &store) {
        Ok(tree) if problems.is_empty() => tree,
        Ok(_) => return Err(problems.into()),
        Err(more) => {
            problems.extend(more.0);
            return Err(problems.into());
        }
    };
    let device = temper::device();
    let mut clock = (args.dry_run && !args.no_calibration).then(Clock::default);
    if args.dry_run && !ranks.leads() {
        return Ok(0);
    }
    if args.dry_run {
        let costs = cost::of_tree(&tree, clock.as_mut(), &device, printer)?;
        plan::runs(args, &sweep, &chosen, &tree, &costs, printer);
        return Ok(0);
    }
    texts::require(&tree.texts.missing)?;
    let signals = Signals::listen()?;
    store.create()?;
    for node in tree.nodes.iter().filter(|node| state(&node.path) != State::Done) {
        store.keep_steps(&node.hash, &node.keep_at)?;
    }
    tree.texts.tokenise(&store, printer)?;
    let left = tree.nodes.iter().filter(|node| state(&node.path) != State::Done).count();
    let jobs = match args.jobs {
        Some(jobs) => usize::from(jobs).min(left.max(1)),
        None if left <= 1 || ranks.size() > 1 => 1,
        // Their large batches keep all threads busy.
        None if tree.nodes.iter().all(|node| Trains::of(&node.recipe) == Trains::Classifier) => 1,
        None => {
            let mut clock = Clock::default();
            let costs = cost::of_tree(&tree, Some(&mut clock), &device, printer)?;
            let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or(0);
            cost::side_by_side(&clock, left, memory, &device)
        }
    };
    let costs = cost::of_tree(&tree, None, &device, printer)?;
    let weights: Vec<f64> = costs.iter().map(|cost| cost.flops).collect();
    printer.say(format_args!("{}: {} runs, {left} of them to do, {jobs} at a time", sweep.name, tree.nodes.len(),));
    let ended = execute::run(&tree, &store, jobs, &weights, &Terminal { signals, device }, printer)?;
    if let Some(signal) = ended.signal {
        printer.say("stopped; the same command resumes");
        return Ok((128 + signal) as u8);
    }
    if !ranks.leads() {
        return Ok(0);
    }
    let overrides = given(args);
    let measured = results::read(&sweep, &chosen, &tree, printer);
    let results = Results { sweep: &sweep, chosen: &chosen, seeds: &seeds, overrides: &overrides, measured };
    let failed = ended.failed.len();
    // Nothing was measured: an earlier report stays as it is.
    if !results.measured.is_empty() {
        let folder = folder_of(&sweep, &chosen, &overrides, &store);
        let report = page::write(&results, &runs_html(&chosen, &tree, &ended.failed), &folder)?;
        link(&chosen, &tree, &folder);
        tell(args, &results, &report, printer);
        if failed > 0 {
            printer.warn(format_args!("runs that failed: {failed}; the report leaves them out"), None);
        }
    } else {
        printer.warn(format_args!("runs that failed: {failed}; there is nothing to report"), None);
    }
    let problems: Vec<Problem> = ended.failed.into_iter().flat_map(|(_, problems)| problems.0).collect();
    if problems.is_empty() { Ok(0) } else { Ok(Problems(problems).exit_code()) }
}

/// The built-in sweeps, a line each, their names after `before`.
pub fn list(before: &str, printer: &Printer) -> Outcome {
    let width = SWEEPS.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, text) in SWEEPS {
        let sweep = Sweep::parse(name, text)?;
        printer.data(format_args!("{before}{name:width$}  {} ({})", sweep.about, sweep.source));
    }
    Ok(0)
}

/// The same for other programs.
fn list_json(printer: &Printer) -> Outcome {
    let sweep = |(name, text): &(&str, &str)| {
        let sweep = Sweep::parse(name, text)?;
        let sizes: Vec<&str> = sweep.sizes.iter().map(|size| size.name.as_str()).collect();
        Ok(serde_json::json!({ "name": name, "about": sweep.about, "source": sweep.source, "sizes": sizes }))
    };
    let all = SWEEPS.iter().map(sweep).collect::<Result<Vec<_>, Problems>>()?;
    printer.data(serde_json::to_string_pretty(&all).expect("plain data"));
    Ok(0)
}

fn show(name: &str, printer: &Printer) -> Outcome {
    load(name)?;
    match SWEEPS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => printer.data(text.trim_end()),
        None => printer.say("this is a file: any editor shows it"),
    }
    Ok(0)
}

/// The sweep of this name or path, as far as it can be read, and what is wrong with it.
fn load(name: &str) -> Result<(Sweep, Vec<Problem>), Problems> {
    let path = Path::new(name);
    let whole = |(sweep, problems): (Option<Sweep>, Vec<Problem>)| match sweep {
        Some(sweep) => Ok((sweep, problems)),
        None => Err(Problems(problems)),
    };
    if name.ends_with(".toml") || path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Problem::io("read sweep", path, &cause)
                .hint("a sweep is a TOML file; `temper sweep` lists the built-in ones")
        })?;
        return whole(Sweep::read(name, &text));
    }
    match SWEEPS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => whole(Sweep::read(name, text)),
        None => {
            let hint = match nearest(name, SWEEPS.iter().map(|(name, _)| *name)) {
                Some(near) => {
                    format!("did you mean `{near}`? `temper sweep` without a name lists all; a path ends in .toml")
                }
                None => "`temper sweep` without a name lists all; a path ends in .toml".to_owned(),
            };
            Err(Problem::input("find sweep", name, "there is no sweep of that name and no such file").hint(hint).into())
        }
    }
}

/// The name of its folder: a built-in sweep's own, a file's without folder and ending.
fn short_name(sweep: &Sweep) -> String {
    if SWEEPS.iter().any(|(known, _)| *known == sweep.name) {
        sweep.name.clone()
    } else {
        Path::new(&sweep.name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn measure_gains(
    args: &args::Sweep,
    sweep: &Sweep,
    chosen: &Chosen,
    seeds: &[u64],
    store: &Store,
    ranks: &Ranks,
    printer: &Printer,
) -> Outcome {
    let device = temper::device();
    let recipes = gains::recipes(sweep, chosen, seeds)?;
    let mut missing: Vec<Problem> = Vec::new();
    for (_, _, recipe) in &recipes {
        let new = images::missing_images(recipe)?.filter(|found| missing.iter().all(|known| known.why != found.why));
        missing.extend(new);
    }
    if args.dry_run {
        return plan::networks(args, sweep, chosen, &recipes, &missing, &device, printer);
    }
    texts::require(&missing)?;
    if !ranks.leads() {
        return Ok(0);
    }
    let meter = Meter::begin(printer, "networks", recipes.len() as u64);
    let (measured, tables) = gains::measure_gains(chosen, &recipes, &device, &meter)?;
    drop(meter);
    let overrides = given(args);
    let results = Results { sweep, chosen, seeds, overrides: &overrides, measured };
    let report = page::write(&results, &tables, &folder_of(sweep, chosen, &overrides, store))?;
    tell(args, &results, &report, printer);
    Ok(0)
}

/// What the sweep found.
fn tell(args: &args::Sweep, results: &Results, report: &Path, printer: &Printer) {
    if args.json {
        let mut found = results.claims_json();
        found["report"] = report.display().to_string().into();
        return printer.data(serde_json::to_string_pretty(&found).expect("plain data"));
    }
    for setting in &results.chosen.size.settings {
        let name = if setting.name.is_empty() { String::new() } else { format!("{}\n", setting.name) };
        printer.data(format_args!("{name}{}", page::numbers_table(results, &setting.name).to_text()));
    }
    for (claim, setting, judged) in results.judged_claims() {
        let place = if setting.name.is_empty() { String::new() } else { format!(" ({})", setting.name) };
        printer.data(format_args!("{:14} {}{place}", judged.verdict.to_string(), claim.what));
    }
    printer.data(format_args!("\nreport: {}", report.display()));
}

/// Which run is which variant, and which failed.
fn runs_html(chosen: &Chosen, tree: &Tree, failed: &[(usize, Problems)]) -> String {
    let mut failures = String::new();
    for (index, problems) in failed {
        let node = &tree.nodes[*index];
        for problem in &problems.0 {
            failures += &format!("<li>{}</li>", escape(&format!("{}, seed {}: {problem}", node.label, node.seed)));
        }
    }
    if !failures.is_empty() {
        failures = format!("<h2>Runs that failed</h2><ul>{failures}</ul>");
    }
    let mut table = Table::new().text_column("variant").text_column("setting");
    table = table.number_column("", "seed").text_column("run").text_column("recipe").text_column("overrides");
    for row in &tree.rows {
        let (variant, node) = (&chosen.variants[row.variant], &tree.nodes[row.node]);
        let name = node.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown: Vec<&str> =
            node.overrides.iter().map(String::as_str).filter(|set| !set.starts_with("data.")).collect();
        table.row([
            variant.name.clone(),
            variant.setting.clone(),
            row.seed.to_string(),
            name,
            node.source.clone(),
            shown.join("  "),
        ]);
    }
    format!("{failures}<h2>Runs</h2>{}", table.to_html())
}

/// Names the runs by what they are in this sweep, for `temper report` and people.
fn link(chosen: &Chosen, tree: &Tree, folder: &Path) {
    #[cfg(unix)]
    {
        let links = folder.join("runs");
        // Nothing but links is in it.
        _ = std::fs::remove_dir_all(&links);
        _ = std::fs::create_dir_all(&links);
        let safe = |text: &str| -> String {
            text.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
        };
        for row in &tree.rows {
            let variant = &chosen.variants[row.variant];
            let parts = [safe(&variant.setting), safe(&variant.name), format!("seed{}", row.seed)];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let name = parts.join("-");
            // `lr < 1` and `lr > 1` come to the same name.
            let others = (2..).map(|n| format!("{name}-{n}"));
            let mut names = std::iter::once(name.clone()).chain(others).map(|name| links.join(name));
            let link = names.find(|link| !link.is_symlink()).expect("without an end");
            if let Ok(path) = tree.nodes[row.node].path.canonicalize() {
                // Links are a convenience: where they cannot be made, the runs are still in the store.
                _ = std::os::unix::fs::symlink(path, link);
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (chosen, tree, folder);
    }
}
