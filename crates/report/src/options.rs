//! What a report shows, and how runs relate to each other in it.

use std::collections::BTreeSet;
use std::path::Path;

use temper_base::{Problem, Result};
use temper_record::metric::{self, LOSS, PERPLEXITY, Place};
use temper_record::{EvalPoint, MEAN_MACRO, MEAN_MICRO, RunSeries, Unit};

use crate::bars::Verified;
use crate::table::Table;

/// What a report shows. The defaults are those of a language model; image classifiers (runs of the task `certify`) have
/// other figures and tables, for which only title, summary, labels, extra tables and the horizontal axis matter.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Heading of the page.
    pub title: String,
    /// What happened, in a sentence; by default [`crate::summary::sentence`].
    pub summary: Option<String>,
    /// What sentences call the runs: name of the run, and the words. By default its name.
    pub labels: Vec<(String, String)>,
    /// Further tables at the end of the part on image classifiers.
    pub extra: Vec<Extra>,
    /// Verifications of the image classifiers, besides those that a run ends with.
    pub verified: Vec<Verified>,
    /// Validation set of the old data. By default the first of exactly two, if any run is a branch.
    pub old: Option<String>,
    /// Validation set of the new data. By default the second of exactly two, if any run is a branch.
    pub new: Option<String>,
    /// Metric of the curves, by validation set.
    pub metric: String,
    /// Metric of both axes of the plane of old against new.
    pub plane: String,
    /// Metrics of the updates drawn beneath the curves: the learning rate, epsilon, ...
    pub beneath: Vec<String>,
    /// Metrics of the updates drawn in the figure of the training itself.
    pub training: Vec<String>,
    /// Metrics of the table.
    pub table: Vec<String>,
    /// What the horizontal axis counts.
    pub x: XAxis,
    /// Where the horizontal axis begins.
    pub origin: Origin,
}

impl Default for ReportOptions {
    fn default() -> Self {
        let shown = |place| metric::shown(place).map(|metric| metric.name.to_owned()).collect();
        Self {
            title: "Training report".to_owned(),
            summary: None,
            labels: Vec::new(),
            extra: Vec::new(),
            verified: Vec::new(),
            old: None,
            new: None,
            metric: LOSS.to_owned(),
            plane: PERPLEXITY.to_owned(),
            beneath: shown(Place::BeneathCurves),
            training: shown(Place::Training),
            table: shown(Place::Table),
            x: XAxis::Tokens,
            origin: Origin::Auto,
        }
    }
}

/// A table of the caller's in a report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Its heading.
    pub heading: String,
    /// What it holds.
    pub table: Table,
    /// What its numbers are, in a sentence or two below it.
    pub note: String,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum XAxis {
    /// Tokens trained on; images, for image classifiers.
    #[default]
    Tokens,
    /// Updates.
    Steps,
    /// A metric of the updates that only grows, e.g. `epoch`.
    Metric(String),
}

/// Where the horizontal axis begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// [`Branch`](Self::Branch), unless a run is both a branch and the start of another.
    #[default]
    Auto,
    /// Every run begins at 0; the runs they began from come before it, faintly.
    Branch,
    /// Branches begin where the run they came from had got to.
    Beginning,
}

/// A run with its place in the report.
#[derive(Debug)]
pub(crate) struct Placed<'a> {
    pub run: &'a RunSeries,
    /// Unique in the report.
    pub name: String,
    pub style: usize,
    /// Shown as context before 0.
    pub faint: bool,
    /// Weights came from elsewhere.
    pub continued: bool,
    /// What is added to the run's own count to get its place on the horizontal axis.
    offset: f64,
    /// `(step, tokens, x)` of every update, x without offset.
    clock: Vec<(f64, f64, f64)>,
}

impl Placed<'_> {
    /// Where the moment after `step` updates lies on the horizontal axis.
    pub fn x_of_step(&self, step: u64) -> f64 {
        let step = step as f64;
        let after = self.clock.partition_point(|c| c.0 < step).clamp(1, self.clock.len().max(2) - 1);
        let at = match (self.clock.get(after - 1), self.clock.get(after)) {
            (Some(a), Some(b)) if b.0 > a.0 => a.2 + (step - a.0) / (b.0 - a.0) * (b.2 - a.2),
            (Some(a), _) => a.2,
            _ => step,
        };
        at + self.offset
    }

    /// First and last place of the run on the horizontal axis.
    pub fn span(&self) -> (f64, f64) {
        let first = self.clock.first().map_or(0.0, |c| c.2);
        (first + self.offset, self.clock.last().map_or(first, |c| c.2) + self.offset)
    }
}

fn clock(run: &RunSeries, x: &XAxis) -> Vec<(f64, f64, f64)> {
    let (step, tokens) = (run.info.first_step as f64, run.info.first_tokens as f64);
    let mut clock = vec![(
        step,
        tokens,
        match x {
            XAxis::Tokens => tokens,
            XAxis::Steps => step,
            XAxis::Metric(_) => 0.0,
        },
    )];
    clock.extend(run.steps.iter().filter_map(|p| {
        let x = match x {
            XAxis::Tokens => p.tokens as f64,
            XAxis::Steps => p.step as f64,
            XAxis::Metric(name) => p.values.get(name)?,
        };
        Some((p.step as f64, p.tokens as f64, x))
    }));
    clock
}

/// What the runs of one task count their training in.
pub(crate) fn counted(run: &RunSeries) -> &'static str {
    Unit::of_task(&run.info.task).name()
}

/// Whether a run's weights came from elsewhere.
fn continued(run: &RunSeries) -> bool {
    matches!(run.info.start.as_str(), "branch" | "hf")
}

/// Which of the runs is the parent of which.
pub(crate) fn parent_of(runs: &[RunSeries], child: usize) -> Option<usize> {
    let parent = runs[child].info.parent.as_ref()?;
    let name = Path::new(&parent.run).file_name().map_or(parent.run.clone().into(), |n| n.to_string_lossy());
    runs.iter().enumerate().position(|(i, run)| i != child && run.name == name)
}

/// Gives every run its name, style and place.
pub(crate) fn placed<'a>(runs: &'a [RunSeries], options: &ReportOptions) -> Vec<Placed<'a>> {
    let parents: Vec<Option<usize>> = (0..runs.len()).map(|i| parent_of(runs, i)).collect();
    let is_parent = |i: usize| parents.contains(&Some(i));
    let chain = (0..runs.len()).any(|i| is_parent(i) && parents[i].is_some());
    let since_branch = match options.origin {
        Origin::Auto => !chain,
        Origin::Branch => true,
        Origin::Beginning => false,
    };
    let mut styles = 1..;
    let mut placed: Vec<Placed> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let twins = runs[..i].iter().filter(|r| r.name == run.name).count();
        let faint = since_branch && is_parent(i);
        placed.push(Placed {
            run,
            name: if twins == 0 { run.name.clone() } else { format!("{} ({})", run.name, twins + 1) },
            style: if faint { 0 } else { styles.next().unwrap_or(1) },
            faint,
            continued: continued(run),
            offset: 0.0,
            clock: clock(run, &options.x),
        });
    }
    for i in 0..runs.len() {
        placed[i].offset = offset(&placed, &parents, i, since_branch, runs.len());
    }
    placed
}

/// Follows the chain of parents (or of children), which is at most `depth` long even if damaged records make it a ring.
fn offset(all: &[Placed], parents: &[Option<usize>], i: usize, since_branch: bool, depth: usize) -> f64 {
    let begin = all[i].clock.first().map_or(0.0, |c| c.2);
    let branch_point = |child: usize, parent: usize| {
        let step = all[child].run.info.parent.as_ref().map_or(0, |p| p.step);
        all[parent].x_of_step(step) - all[parent].offset
    };
    let next = if since_branch { parents.iter().position(|p| *p == Some(i)) } else { parents[i] };
    match next.filter(|_| depth > 0) {
        // The parent's branch point lies where the child begins.
        Some(child) if since_branch => {
            let child_begin = all[child].clock.first().map_or(0.0, |c| c.2);
            child_begin + offset(all, parents, child, since_branch, depth - 1) - branch_point(child, i)
        }
        Some(parent) => branch_point(i, parent) + offset(all, parents, parent, since_branch, depth - 1) - begin,
        None => -begin,
    }
}

/// Validation sets of all runs in order: old, new, the others, the averages (if they are over more than one).
pub(crate) fn sets(runs: &[RunSeries], options: &ReportOptions) -> Result<Sets> {
    let mean = |set: &str| set == MEAN_MICRO || set == MEAN_MACRO;
    let (mut names, mut seen): (Vec<String>, BTreeSet<&str>) = Default::default();
    for set in runs.iter().flat_map(|r| r.sets()).filter(|s| !mean(s)) {
        if seen.insert(set) {
            names.push(set.to_owned());
        }
    }
    let (mut old, mut new) = (options.old.clone(), options.new.clone());
    for wanted in [&old, &new].into_iter().flatten() {
        if !names.contains(wanted) {
            return Err(Problem::input("report", wanted, "no run was evaluated on a set of this name")
                .hint(format!("there are: {}", names.join(", "))));
        }
    }
    // Unless a run continues from earlier weights, no data is older than other data.
    let continued = runs.iter().any(continued);
    if let (true, [first, second], None, None) = (continued, names.as_slice(), &old, &new) {
        (old, new) = (Some(first.clone()), Some(second.clone()));
    }
    names.sort_by_key(|n| (Some(n) != old.as_ref(), Some(n) != new.as_ref()));
    let left_out = names.len().saturating_sub(MOST_SETS);
    if left_out > 0 {
        let first = names.iter().filter(|n| Some(*n) == old.as_ref() || Some(*n) == new.as_ref()).count();
        names[first..].sort_by_cached_key(|n| std::cmp::Reverse(moved(runs, n, &options.metric).to_bits()));
        names.truncate(MOST_SETS);
    }
    let present: BTreeSet<&str> = runs.iter().flat_map(|r| r.sets()).collect();
    let means = [MEAN_MICRO, MEAN_MACRO].into_iter().filter(|m| names.len() > 1 && present.contains(m));
    Ok(Sets { means: means.map(str::to_owned).collect(), names, old, new, left_out })
}

/// Sets that a report shows by themselves; of more, those that moved most.
const MOST_SETS: usize = 24;

/// How far the loss of a set moved in any of the runs.
fn moved(runs: &[RunSeries], set: &str, metric: &str) -> f64 {
    let change = |run: &RunSeries| {
        let points = run.evals(set);
        let at = |point: Option<&EvalPoint>| point?.values.get(metric);
        Some((at(points.last())? - at(points.first())?).abs())
    };
    runs.iter().filter_map(change).fold(0.0, f64::max)
}

/// The validation sets of a report.
#[derive(Debug)]
pub(crate) struct Sets {
    pub names: Vec<String>,
    pub means: Vec<String>,
    pub old: Option<String>,
    pub new: Option<String>,
    /// How many more there are.
    pub left_out: usize,
}
