//! `temper report`: one page from one or several runs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use temper_base::files::UNFINISHED;
use temper_base::{Problem, Problems, Result};
use temper_lm::text::Manifest;
use temper_record::{MEAN_MACRO, MEAN_MICRO, RunDir, RunSeries};
use temper_report::{FIGURES, ReportOptions, Verified, report, sentence};
use temper_verify::Stage;
use temper_verify::shards::Shard;
use temper_verify::store::{Kind, StageSeconds, read_lines, summary, times};

use crate::args::Report;
use crate::printer::Printer;
use crate::problems::Outcome;

/// A run to report on.
#[derive(Clone)]
struct Run {
    dir: RunDir,
    /// Names of the sources it was trained on, as far as it says.
    sources: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Report, printer: &Printer) -> Outcome {
    let (runs, series) = read(&args.runs, printer)?;
    if args.out.is_none() {
        runs[0].dir.require_no_link("report")?;
    }
    let out = args.out.clone().unwrap_or_else(|| runs[0].dir.report());
    // Image classifiers have no old and new data.
    let texts = runs.iter().zip(&series).filter(|(_, series)| !series.is_certify());
    let texts = texts.map(|(run, series)| (run.clone(), series.clone())).unzip::<_, _, Vec<_>, Vec<_>>();
    let (old, new) = old_and_new(&texts.0, &texts.1);
    let options = ReportOptions {
        title: title(&series),
        old: args.old.clone().or_else(|| old.filter(|old| args.new.as_ref() != Some(old))),
        new: args.new.clone().or_else(|| new.filter(|new| args.old.as_ref() != Some(new))),
        verified: runs.iter().flat_map(|run| verified(&run.dir)).collect(),
        ..ReportOptions::default()
    };
    check_out(&out)?;
    let report = report(&series, &options).map_err(|first| every_problem(&series, first))?;
    let page = report.write(&out)?;
    for stale in FIGURES.iter().filter(|name| report.figures.iter().all(|(figure, _)| figure != *name)) {
        // Of an earlier report of other runs; it may well not exist.
        _ = fs::remove_file(out.join(format!("{stale}.svg")));
    }
    for parent in missing_parents(&series) {
        printer.say(format_args!("{parent} is not in the report: name it first to show the runs as its branches"));
    }
    if let Some(sentence) = sentence(&series, &options) {
        printer.say(sentence);
    }
    printer.data(page.display());
    Ok(0)
}

/// Reads the runs; everything that is wrong with any of them is reported.
fn read(names: &[PathBuf], printer: &Printer) -> Result<(Vec<Run>, Vec<RunSeries>), Problems> {
    let (mut runs, mut series, mut problems) = (Vec::<Run>::new(), Vec::new(), Vec::new());
    for name in names {
        match open(name).and_then(|dir| Ok((RunSeries::read(&dir)?, dir))) {
            Ok((_, dir)) if runs.iter().any(|run| same(&run.dir, &dir)) => {
                printer.say(format_args!("{} is named twice; the report shows it once", name.display()));
            }
            Ok((record, dir)) => {
                runs.push(Run { sources: sources(&dir), dir });
                series.push(record);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok((runs, series)) } else { Err(problems.into()) }
}

/// The verifications in the folder of a run that came to their end, by the names of their folders.
fn verified(run: &RunDir) -> Vec<Verified> {
    let folders = fs::read_dir(run.path().join("verify")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    folders.iter().filter_map(|folder| one_verified(run, folder)).collect()
}

/// Nothing if it is not at its end, of another version, or none at all: a report shows what is there.
fn one_verified(run: &RunDir, folder: &Path) -> Option<Verified> {
    let asked = fs::read_to_string(folder.join("verdicts-question.json")).ok()?;
    let asked: Value = serde_json::from_str(&asked).ok()?;
    let shard = Shard::of_question(&asked);
    let path = folder.join("verdicts.csv");
    let lines = read_lines(Kind::Verdicts, &fs::read_to_string(&path).ok()?, &path, &shard).ok()?;
    let summary = summary(&lines);
    if lines.is_empty() || lines.len() != shard.images(asked["images"].as_u64()? as usize) {
        return None;
    }
    let mut seconds = StageSeconds::default();
    for line in times::read(&folder.join("times.csv")) {
        seconds.iter_mut().zip(line).for_each(|(sum, seconds)| *sum += seconds);
    }
    let percent = |count: u64| 100.0 * count as f64 / summary.images as f64;
    let names = asked["stages"].as_array()?.iter().filter_map(|name| Stage::from_name(name.as_str()?));
    let stage = |stage: Stage| {
        (stage.name().to_owned(), percent(summary.stages[stage as usize].certified), seconds[stage as usize])
    };
    Some(Verified {
        name: format!("{}, {}", run.name(), folder.file_name()?.to_string_lossy()),
        images: summary.images as f64,
        stages: names.map(stage).collect(),
        misclassified: percent(summary.misclassified),
        attacked: percent(summary.attacked),
        open: percent(summary.unknown + summary.timeouts + summary.errors),
    })
}

fn open(name: &Path) -> temper_base::Result<RunDir> {
    let text = name.to_string_lossy();
    RunDir::open(name).map_err(|problem| match text.rsplit_once('@') {
        Some((dir, _)) if Path::new(dir).is_dir() => {
            problem.hint(format!("a report shows whole runs: leave out the @, and name {dir}"))
        }
        _ => problem,
    })
}

fn same(a: &RunDir, b: &RunDir) -> bool {
    let whole = |run: &RunDir| run.path().canonicalize().ok();
    a.path() == b.path() || (whole(a).is_some() && whole(a) == whole(b))
}

fn title(series: &[RunSeries]) -> String {
    let names: Vec<&str> = series.iter().map(|run| run.name.as_str()).collect();
    match names.len() {
        0..=4 => format!("Training report: {}", names.join(", ")),
        n => format!("Training report of {n} runs"),
    }
}

/// The validation sets of the old and the new data: the first that the base was trained on, and the first that it was
/// not but a branch was, the last of a chain before those that it branches from. The base is the run at the head of a chain, wherever its own weights came from; if it is not among the
/// runs, it is looked for where the branch says it was. Of a run without any earlier run (weights from a Hugging Face
/// directory), what it was trained on is new and the rest is old.
fn old_and_new(runs: &[Run], series: &[RunSeries]) -> (Option<String>, Option<String>) {
    let nothing = (None, None);
    let mut sets: Vec<&str> = Vec::new();
    for set in series.iter().flat_map(RunSeries::sets) {
        if set != MEAN_MICRO && set != MEAN_MACRO && !sets.contains(&set) {
            sets.push(set);
        }
    }
    let split = |known: &[String]| -> (Vec<&str>, Vec<&str>) {
        sets.iter().partition(|set| known.iter().any(|source| source == *set))
    };
    let first = |sets: &[&str]| sets.first().map(|set| (*set).to_owned());
    let is_parent = |run: &RunSeries| series.iter().filter_map(parent_name).any(|parent| parent == run.name);
    let branches = |last: bool| {
        runs.iter().zip(series).filter(move |(_, run)| run.info.parent.is_some() && is_parent(run) != last)
    };
    let Some(base) = base_sources(runs, series) else {
        let Some(run) = series.iter().position(continued).filter(|run| !runs[*run].sources.is_empty()) else {
            return nothing;
        };
        let (trained, others) = split(&runs[run].sources);
        return (first(&others), first(&trained));
    };
    let (trained, others) = split(&base);
    let by = |last: bool| {
        others.iter().find(|set| branches(last).any(|(run, _)| run.sources.iter().any(|source| source == **set)))
    };
    let new = by(true).or_else(|| by(false)).or(others.first());
    (first(&trained), new.map(|set| (*set).to_owned()))
}

/// What the run that the others branch from was trained on. None if none of them branches, or nobody knows.
fn base_sources(runs: &[Run], series: &[RunSeries]) -> Option<Vec<String>> {
    let named = |name: &str| series.iter().any(|run| run.name == name);
    let is_parent = |run: &RunSeries| series.iter().filter_map(parent_name).any(|parent| parent == run.name);
    let is_head = |run: &RunSeries| is_parent(run) && !parent_name(run).is_some_and(|parent| named(&parent));
    let known = match series.iter().position(is_head) {
        Some(head) => runs[head].sources.clone(),
        None => {
            let parent = series.iter().find_map(|run| run.info.parent.as_ref())?;
            sources(&RunDir::open(Path::new(&parent.run)).ok()?)
        }
    };
    Some(known).filter(|known| !known.is_empty())
}

/// Names of the sources that a run was trained on, as far as it says.
fn sources(dir: &RunDir) -> Vec<String> {
    let sources = Manifest::read(dir).map(|data| data.stream.sources).unwrap_or_default();
    sources.into_iter().map(|source| source.name).collect()
}

/// The name of the run that this one branched from.
fn parent_name(run: &RunSeries) -> Option<String> {
    let parent = run.info.parent.as_ref()?;
    Some(Path::new(&parent.run).file_name()?.to_string_lossy().into_owned())
}

/// Whether a run's weights came from elsewhere.
fn continued(run: &RunSeries) -> bool {
    matches!(run.info.start.as_str(), "branch" | "hf")
}

/// A folder that holds something else is left alone; a report that is there is replaced, since it can always be made again.
fn check_out(out: &Path) -> Result<(), Problems> {
    let what = "write report";
    if out.is_file() {
        return Err(Problem::input(what, out.display(), "a file is in the way").hint("--out names a folder").into());
    }
    let foreign = |name: &str| {
        let begun = name.starts_with('.') && name.ends_with(UNFINISHED);
        let figure = name.strip_suffix(".svg").is_some_and(|figure| {
            let ours = FIGURES.contains(&figure) || figure.starts_with("layers-");
            ours && fs::read_to_string(out.join(name)).is_ok_and(|svg| svg.contains("class=\"fig\""))
        });
        !begun && !figure
    };
    // The page is written last: a report that was cut has figures only.
    let mut names = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.file_name());
    if !out.join("report.html").exists() && names.any(|name| foreign(&name.to_string_lossy())) {
        let problem = Problem::input(what, out.display(), "the folder holds other files, and no report");
        return Err(problem.hint("choose a new or empty folder for --out").into());
    }
    Ok(())
}

/// The first problem, and those that the other runs have by themselves.
fn every_problem(series: &[RunSeries], first: Problem) -> Problems {
    let options = ReportOptions::default();
    let own = series.iter().filter_map(|run| report(std::slice::from_ref(run), &options).err());
    let mut problems: Vec<Problem> = own.collect();
    if !problems.contains(&first) {
        problems.insert(0, first);
    }
    problems.into()
}

/// Runs that one of these branched from, and that are not among them.
fn missing_parents(series: &[RunSeries]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for run in series {
        let (Some(parent), Some(name)) = (run.info.parent.as_ref(), parent_name(run)) else { continue };
        if series.iter().all(|run| run.name != name) && !missing.contains(&parent.run) {
            missing.push(parent.run.clone());
        }
    }
    missing
}
