//! A report: which parts and figures it has, and its files.

use std::fs;
use std::path::{Path, PathBuf};

use temper_base::{Problem, Result, files};
use temper_record::RunSeries;
use temper_record::metric::CERTIFIED_ERROR;

use crate::bars::{Bars, Verified};
use crate::chart::Figure;
use crate::options::{self, ReportOptions};
use crate::svg::Drawing;
use crate::{certify, errors, figures, grid, page};

/// The figures that a report can have; `layers-2` and so on join them where runs have different layers.
pub const FIGURES: [&str; 7] = ["curves", "plane", "training", "errors", "verdicts", "losses", "layers"];

/// A report, not yet on disk.
#[derive(Debug, Clone)]
pub struct Report {
    /// The page.
    pub html: String,
    /// The figures of the page as separate files: name without ending, SVG.
    pub figures: Vec<(String, String)>,
}

impl Report {
    /// Writes `report.html` and the figures into a directory, which is made if need be. Returns the path of the page.
    ///
    /// # Errors
    /// If the machine cannot make the folder or write a file.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let save = |name: &str, content: &str| {
            let path = dir.join(name);
            files::write_whole(&path, content.as_bytes())?;
            Ok(path)
        };
        fs::create_dir_all(dir).map_err(|e| Problem::io("write report", dir, &e))?;
        for (name, svg) in &self.figures {
            save(&format!("{name}.svg"), svg)?;
        }
        save("report.html", &self.html)
    }
}

/// A figure, drawn.
pub(crate) struct Drawn {
    pub name: String,
    pub title: String,
    pub caption: String,
    /// What the lines are called, as an element for screens that cut the names beside them.
    pub keys: String,
    /// As an element of the page, and as a file.
    pub svg: [String; 2],
}

impl Drawn {
    fn figure(figure: &Figure, options: &ReportOptions) -> Self {
        Self {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: page::caption(figure, options),
            keys: page::keys(figure),
            svg: [figure.to_inline_svg(), figure.to_svg()],
        }
    }

    fn bars(bars: &Bars) -> Self {
        let [name, title, caption] = bars.names().map(str::to_owned);
        Self { name, title, caption, keys: String::new(), svg: [bars.to_inline_svg(), bars.to_svg()] }
    }

    fn grid(grid: &grid::Grid) -> Self {
        Self {
            name: grid.name.clone(),
            title: grid.title.clone(),
            caption: page::grid_caption(grid),
            keys: String::new(),
            svg: [grid.to_inline_svg(), grid.to_svg()],
        }
    }
}

/// The part of a report that is about the runs of one task.
pub(crate) struct Part<'a> {
    pub runs: &'a [RunSeries],
    pub figures: Vec<Drawn>,
}

/// Makes the report of these runs, in their order. A run that another of them branched from is shown as its past. Language
/// models and image classifiers have separate parts.
///
/// # Errors
/// If there is no run, one has nothing to show, or `old` or `new` names a set on which no run was evaluated.
pub fn report(runs: &[RunSeries], options: &ReportOptions) -> Result<Report> {
    if runs.is_empty() {
        return Err(
            Problem::input("report", "(no runs)", "there is nothing to report").hint("name at least one run directory")
        );
    }
    runs.iter().try_for_each(|run| check(run, if run.is_certify() { CERTIFIED_ERROR } else { &options.metric }))?;
    let (images, texts): (Vec<RunSeries>, Vec<RunSeries>) = runs.iter().cloned().partition(RunSeries::is_certify);
    let mut parts = Vec::new();
    if !texts.is_empty() {
        let sets = options::sets(&texts, options)?;
        let placed = options::placed(&texts, options);
        let figures = std::iter::once(figures::curves(&placed, &sets, options))
            .chain(figures::plane(&placed, &sets, options))
            .chain(figures::training(&placed, options));
        parts.push(Part { runs: &texts, figures: figures.map(|figure| Drawn::figure(&figure, options)).collect() });
    }
    if !images.is_empty() {
        let set = errors::shown_set(&images);
        let placed = options::placed(&images, options);
        let mut figures = vec![Drawn::figure(&certify::errors(&placed, set, options), options)];
        let ends = placed.iter().filter_map(|p| Verified::at_the_end(p, set));
        let verified: Vec<Verified> = ends.chain(options.verified.iter().cloned()).collect();
        figures.extend((!verified.is_empty()).then(|| Drawn::bars(&Bars(&verified))));
        figures.extend(certify::losses(&placed, options).map(|figure| Drawn::figure(&figure, options)));
        figures.extend(certify::layer_grids(&placed, set, options).iter().map(Drawn::grid));
        parts.push(Part { runs: &images, figures });
    }
    let html = page::page(runs, &parts, options)?;
    let figures = parts.into_iter().flat_map(|part| part.figures);
    Ok(Report { html, figures: figures.map(|Drawn { name, svg: [_, file], .. }| (name, file)).collect() })
}

/// Whether a run has anything to report: evaluations with this metric.
fn check(run: &RunSeries, metric: &str) -> Result<()> {
    let evaluated = run.sets().any(|set| !run.eval_metric(set, metric).is_empty());
    let why = match () {
        _ if run.steps.is_empty() && run.evals.is_empty() => "the run is empty: no step and no evaluation",
        _ if run.evals.is_empty() => "the run has no evaluations",
        _ if !evaluated => &format!("no evaluation has the metric `{metric}`"),
        _ => return Ok(()),
    };
    let hint = if run.is_certify() {
        "leave this run out: it was stopped before its first evaluation, which comes before step 1"
    } else {
        "leave this run out, or give its recipe validation sets: they are evaluated before step 1 and during training"
    };
    Err(Problem::input("report", &run.name, why).hint(hint))
}
