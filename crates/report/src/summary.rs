//! Runs in numbers: start, peak, final and change by run and validation set, and the facts of every run.

use std::path::Path;

use temper_base::numbers;
use temper_base::{Problem, Result};
use temper_record::metric::{self, SECONDS};
use temper_record::{RunSeries, env};

use crate::errors::{certified_sentence, errors_table};
use crate::options::{Placed, ReportOptions, Sets, counted, placed, sets};
use crate::table::Table;
use crate::text::{change_cell, set_name};

/// One metric of one run on one validation set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// At the first evaluation: before step 1.
    pub start: f64,
    /// The highest value, NaN aside.
    pub peak: f64,
    /// At the last evaluation.
    pub last: f64,
}

impl Summary {
    /// Sums one metric up. None if the run has no such metric on that set.
    pub fn of(run: &RunSeries, set: &str, metric: &str) -> Option<Self> {
        let values: Vec<f64> = run.eval_metric(set, metric).into_iter().map(|(_, v)| v).collect();
        Some(Self {
            start: *values.first()?,
            last: *values.last()?,
            peak: values.iter().copied().fold(f64::NAN, f64::max),
        })
    }

    /// Final minus start.
    pub fn change(&self) -> f64 {
        self.last - self.start
    }
}

/// One row a run, final values of every metric by validation set: what a console has room for. For image classifiers it is
/// [`errors_table`]; runs of both tasks have no table in common.
///
/// # Errors
/// If language models and image classifiers are mixed, or `old` or `new` names a set on which no run was evaluated.
pub fn final_table(runs: &[RunSeries], options: &ReportOptions) -> Result<Table> {
    match runs.iter().filter(|run| run.is_certify()).count() {
        0 => {}
        n if n == runs.len() => return Ok(errors_table(runs, options)),
        _ => {
            return Err(Problem::input(
                "table of runs",
                &runs[0].name,
                "language models and image classifiers are mixed",
            )
            .hint("make one table of each"));
        }
    }
    let sets = sets(runs, options)?;
    let metrics = present(runs, &sets, options);
    let mut table = Table::new().text_column("run");
    for set in &sets.names {
        for metric in &metrics {
            table = table.number_column(&heading(set, &sets), &metric::title(metric));
        }
    }
    for p in placed(runs, options) {
        let cells = sets.names.iter().flat_map(|set| {
            metrics.iter().map(|m| Summary::of(p.run, set, m).map_or("–".to_owned(), |s| metric::cell(m, s.last)))
        });
        table.row(std::iter::once(p.name.clone()).chain(cells));
    }
    Ok(table)
}

/// One row for every run and validation set: start, peak, final and change of every metric.
///
/// # Errors
/// If `old` or `new` names a set on which no run was evaluated.
pub fn change_table(runs: &[RunSeries], options: &ReportOptions) -> Result<Table> {
    let sets = sets(runs, options)?;
    let metrics = present(runs, &sets, options);
    let mut table = Table::new().text_column("run").text_column("data");
    for metric in &metrics {
        for name in ["start", "peak", "final", "change"] {
            table = table.number_column(&metric::title(metric), name);
        }
    }
    for p in placed(runs, options) {
        for set in sets.names.iter().chain(&sets.means) {
            let found: Vec<Option<Summary>> = metrics.iter().map(|m| Summary::of(p.run, set, m)).collect();
            if found.iter().all(Option::is_none) {
                continue;
            }
            let mut row = vec![p.name.clone(), heading(set, &sets)];
            for (metric, summary) in metrics.iter().zip(found) {
                row.extend(match summary {
                    None => vec!["–".to_owned(); 4],
                    Some(s) => vec![
                        metric::cell(metric, s.start),
                        metric::cell(metric, s.peak),
                        metric::cell(metric, s.last),
                        change_cell(metric, s.start, s.last),
                    ],
                });
            }
            table.row(row);
        }
    }
    Ok(table)
}

/// What was run: recipe, seed, size, where it came from, how far it got.
pub fn facts_table(runs: &[RunSeries], options: &ReportOptions) -> Table {
    let mut table = Table::new().text_column("run").text_column("recipe").text_column("weights");
    for name in ["seed", "steps", runs.first().map_or("tokens", counted), "parameters", "time"] {
        table = table.number_column("", name);
    }
    table = table.text_column("state").text_column("began (UTC)").text_column("Temper");
    for p in placed(runs, options) {
        let (run, info) = (p.run, &p.run.info);
        let weights = match (&info.parent, info.start.as_str()) {
            (Some(parent), _) => {
                let name = Path::new(&parent.run).file_name().map(|n| n.to_string_lossy());
                format!("{}@{}", name.as_deref().unwrap_or(&parent.run), parent.step)
            }
            (None, "hf") => "Hugging Face directory".to_owned(),
            (None, _) => "random".to_owned(),
        };
        let seconds = run.done.or_else(|| run.steps.iter().rev().find_map(|s| s.values.get(SECONDS)));
        let state = match (&run.stopped, run.done) {
            (_, Some(_)) => "complete".to_owned(),
            (Some(reason), None) => format!("stopped: {reason}"),
            (None, None) => "unfinished".to_owned(),
        };
        table.row([
            p.name.clone(),
            info.recipe.clone(),
            weights,
            info.seed.to_string(),
            if run.last_step() == info.steps {
                info.steps.to_string()
            } else {
                format!("{} of {}", run.last_step(), info.steps)
            },
            numbers::count(run.last_tokens() as f64),
            if info.parameters == 0 { "–".to_owned() } else { numbers::count(info.parameters as f64) },
            seconds.map_or("–".to_owned(), numbers::duration),
            state,
            if info.time == 0 { "–".to_owned() } else { env::utc(info.time)[..16].replace('T', " ") },
            format!(
                "{} {}",
                info.version,
                info.commit.as_deref().unwrap_or_default().chars().take(10).collect::<String>()
            )
            .trim()
            .to_owned(),
        ]);
    }
    table
}

/// Where the runs ran: one text for every machine, with the names of its runs.
pub fn machines(runs: &[RunSeries], options: &ReportOptions) -> Vec<String> {
    let mut machines: Vec<(String, Vec<String>)> = Vec::new();
    for p in placed(runs, options) {
        let Some(env) = &p.run.env else { continue };
        let cpu = env.cpu.as_deref().unwrap_or("unknown processor");
        let memory = env.memory_bytes.map_or(String::new(), |b| format!(", {}B memory", numbers::count(b as f64)));
        let machine = format!("{cpu}, {} threads on {} cores{memory}, {}", env.threads, env.cores, env.os);
        match machines.iter_mut().find(|(m, _)| *m == machine) {
            Some((_, names)) => names.push(p.name),
            None => machines.push((machine, vec![p.name])),
        }
    }
    machines.into_iter().map(|(machine, names)| format!("{}: {machine}.", names.join(", "))).collect()
}

/// What happened, in a sentence. Language models: who ends best on the new data, and what that cost on the old; None
/// without both. Image classifiers: [`certified_sentence`]. Of runs of both tasks: both sentences.
pub fn sentence(runs: &[RunSeries], options: &ReportOptions) -> Option<String> {
    if runs.iter().any(RunSeries::is_certify) {
        let (images, texts): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(RunSeries::is_certify);
        let both: Vec<String> =
            sentence(&texts, options).into_iter().chain(certified_sentence(&images, options)).collect();
        return (!both.is_empty()).then(|| both.join(" "));
    }
    let sets = sets(runs, options).ok()?;
    let (old, new) = (sets.old.as_ref()?, sets.new.as_ref()?);
    let metric = &options.plane;
    let placed = placed(runs, options);
    let end = |p: &'_ Placed| {
        let (old, new) = (Summary::of(p.run, old, metric)?, Summary::of(p.run, new, metric)?);
        (old.last.is_finite() && new.last.is_finite()).then(|| End {
            name: p.name.clone(),
            old,
            new,
            late: last_evaluated(p.run),
        })
    };
    let mut ends: Vec<End> = placed.iter().filter(|p| !p.faint).filter_map(end).collect();
    ends.sort_by(|a, b| a.new.last.total_cmp(&b.new.last));
    let shown = |value: f64| metric::cell(metric, value);
    // What reads the same is the same to a reader.
    let level = ends.iter().take_while(|end| shown(end.new.last) == shown(ends[0].new.last)).count();
    let (best, others) = ends.split_at(level);
    let list = |of: fn(&End) -> f64, with_step: bool| {
        let step = |end: &End| {
            end.late.filter(|_| with_step).map_or(String::new(), |(at, last)| format!(" at step {at} of {last}"))
        };
        let each: Vec<String> =
            others.iter().map(|end| format!("{} {}{}", end.name, shown(of(end)), step(end))).collect();
        if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
    };
    let name = metric::title(metric);
    let who: Vec<String> = best.iter().map(End::named).collect();
    let ends = match (best, others) {
        ([], _) => return None,
        ([one], []) => format!("{} {name}", one.verb("at")),
        ([one], _) => format!("{} {name}", one.verb("lowest, at")),
        (_, []) => format!("end level, at {name}"),
        _ => format!("end level and lowest, at {name}"),
    };
    let at = shown(best[0].new.last);
    let mut text = format!("On {new}, {} {ends} {at}{}; on {old}, ", who.join(" and "), list(|end| end.new.last, true));
    let moved = |end: &End| match (shown(end.old.start), shown(end.old.last)) {
        (from, to) if from == to => format!("stays at {to}"),
        (from, to) => format!("{} from {from} to {to}", if end.old.change() > 0.0 { "rises" } else { "falls" }),
    };
    text += &match best {
        [one] => format!("its {name} {}", moved(one)),
        several => {
            let each: Vec<String> = several.iter().map(|end| format!("that of {} {}", end.name, moved(end))).collect();
            each.join(", ").replacen("that", &format!("the {name}"), 1)
        }
    };
    Some(text + &list(|end| end.old.last, false) + ".")
}

/// How a run ended.
struct End {
    name: String,
    old: Summary,
    new: Summary,
    late: Option<(u64, u64)>,
}

impl End {
    /// Its name, with the moment that its numbers are of if that is not the end.
    fn named(&self) -> String {
        match self.late {
            Some((at, last)) => format!("{} (last evaluated at step {at} of {last})", self.name),
            None => self.name.clone(),
        }
    }

    fn verb(&self, what: &str) -> String {
        format!("{} {what}", if self.late.is_some() { "is" } else { "ends" })
    }
}

/// Step of the last evaluation and last step, where a run was trained on after it.
pub(crate) fn last_evaluated(run: &RunSeries) -> Option<(u64, u64)> {
    let at = run.evals.iter().filter_map(|(_, points)| points.last()).map(|point| point.step).max()?;
    (at < run.last_step()).then(|| (at, run.last_step()))
}

/// The metrics of the table that any run has.
fn present<'a>(runs: &[RunSeries], sets: &Sets, options: &'a ReportOptions) -> Vec<&'a str> {
    let has = |m: &str| runs.iter().any(|r| sets.names.iter().any(|set| Summary::of(r, set, m).is_some()));
    options.table.iter().map(String::as_str).filter(|m| has(m)).collect()
}

pub(crate) fn heading(set: &str, sets: &Sets) -> String {
    match () {
        _ if sets.new.is_some() && sets.old.as_deref() == Some(set) => format!("{set} (old)"),
        _ if sets.old.is_some() && sets.new.as_deref() == Some(set) => format!("{set} (new)"),
        _ => set_name(set),
    }
}
