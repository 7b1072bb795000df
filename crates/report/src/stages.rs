//! Runs that follow each other (base, law, medicine), each a stage: which run continues which, where every stage lies on one axis, and
//! the loss on each corpus at the end of each stage.

use temper_base::Result;
use temper_record::RunSeries;
use temper_record::metric::{self, Place};

use crate::chart::Band;
use crate::options::{Placed, ReportOptions, parent_of, sets};
use crate::summary::heading;
use crate::table::Table;

/// The longest line of runs in which each is the only one that continues the one before, from its head. Empty if no run is the
/// start of another.
pub(crate) fn longest_chain(runs: &[RunSeries]) -> Vec<usize> {
    let parents: Vec<Option<usize>> = (0..runs.len()).map(|i| parent_of(runs, i)).collect();
    let from = |head: usize| {
        let mut line = vec![head];
        // A ring of damaged records ends where it closes.
        while let Some(&last) = line.last() {
            let children: Vec<usize> = (0..runs.len()).filter(|i| parents[*i] == Some(last)).collect();
            match children[..] {
                [child] if !line.contains(&child) => line.push(child),
                _ => break,
            }
        }
        line
    };
    let lines = (0..runs.len()).filter(|i| parents[*i].is_none()).map(from).filter(|line| line.len() > 1);
    lines.fold(Vec::new(), |longest, line| if line.len() > longest.len() { line } else { longest })
}

/// The stages as bands of one axis. None unless all runs are one chain that lies on it from its beginning.
pub(crate) fn bands(placed: &[Placed]) -> Option<Vec<Band>> {
    let runs: Vec<RunSeries> = placed.iter().map(|p| shell(p.run)).collect();
    let line = longest_chain(&runs);
    if line.len() < placed.len() || line.is_empty() || placed.iter().any(|p| p.faint) {
        return None;
    }
    let begin = |n: usize| line.get(n).map(|i| placed[*i].span().0);
    let band = |(n, i): (usize, &usize)| {
        let (from, end) = placed[*i].span();
        Band { name: placed[*i].name.clone(), from, to: begin(n + 1).unwrap_or(end) }
    };
    Some(line.iter().enumerate().map(band).collect())
}

/// Name and parent of a run, without its points.
fn shell(run: &RunSeries) -> RunSeries {
    RunSeries { name: run.name.clone(), info: run.info.clone(), ..RunSeries::default() }
}

/// Corpus by stage: loss and perplexity before the first stage and at the end of each. None without a chain.
///
/// # Errors
/// If `old` or `new` names a set on which no run was evaluated.
pub fn stage_table(runs: &[RunSeries], options: &ReportOptions) -> Result<Option<Table>> {
    let line = longest_chain(runs);
    if line.is_empty() {
        return Ok(None);
    }
    let sets = sets(runs, options)?;
    let metrics = || metric::shown(Place::Stages).map(|metric| metric.name);
    let mut table = Table::new().text_column("data");
    for group in std::iter::once("start".to_owned()).chain(line.iter().map(|i| format!("after {}", runs[*i].name))) {
        for metric in metrics() {
            table = table.number_column(&group, &metric::title(metric));
        }
    }
    let edge = |i: usize, set: &str, metric: &str, first: bool| {
        let points = runs[i].evals(set);
        if first { points.first() } else { points.last() }?.values.get(metric)
    };
    for set in &sets.names {
        let mut row = vec![heading(set, &sets)];
        for stage in 0..=line.len() {
            for metric in metrics() {
                let value = match stage {
                    0 => edge(line[0], set, metric, true),
                    // A set that a stage was not evaluated on, the next one evaluates before its first update.
                    n => edge(line[n - 1], set, metric, false).or_else(|| {
                        let next = *line.get(n)?;
                        let at_end = runs[next].info.parent.as_ref()?.step >= runs[line[n - 1]].last_step();
                        if at_end { edge(next, set, metric, true) } else { None }
                    }),
                };
                row.push(value.map_or("–".to_owned(), |value| metric::cell(metric, value)));
            }
        }
        // A corpus of a run beside the chain.
        if row[1..].iter().any(|cell| cell != "–") {
            table.row(row);
        }
    }
    Ok(Some(table))
}
