//! From runs to something to look at: figures (SVG), tables, and one self-contained page (HTML).
//!
//! [`report`] makes all of it from what [`temper_record`] has read. Below it, from general to special: [`chart`] and [`svg`]
//! draw panels of lines over one axis, [`table`] writes rows three ways, [`figures`] and [`summary`] turn runs into both.
//! Nothing here knows a model: metrics go by name, so classifiers (error against epoch, epsilon beneath) need only
//! other [`ReportOptions`].

pub mod chart;
mod figures;
mod labels;
mod names;
pub mod options;
mod page;
mod plot;
pub mod scale;
mod schedule;
pub mod summary;
mod svg;
pub mod table;
pub mod text;
mod theme;

use std::fs;
use std::path::{Path, PathBuf};

use temper_record::{Problem, Result, RunSeries};

pub use chart::Figure;
pub use options::{Origin, ReportOptions, XAxis};
pub use schedule::{ScheduleCurve, schedule_svg};
pub use summary::{Summary, change_table, facts_table, final_table, sentence};
pub use table::Table;

/// A report, not yet on disk.
#[derive(Debug, Clone)]
pub struct Report {
    /// The page.
    pub html: String,
    /// The figures of the page as files of their own: name without ending, SVG.
    pub figures: Vec<(String, String)>,
}

impl Report {
    /// Writes `report.html` and the figures into a directory, which is made if need be. Gives the path of the page.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let save = |name: &str, content: &str| {
            let path = dir.join(name);
            fs::write(&path, content).map_err(|e| Problem::io("write report", &path, &e))?;
            Ok(path)
        };
        fs::create_dir_all(dir).map_err(|e| Problem::io("write report", dir, &e))?;
        for (name, svg) in &self.figures {
            save(&format!("{name}.svg"), svg)?;
        }
        save("report.html", &self.html)
    }
}

/// Makes the report of these runs, in their order. A run that another of them branched from is shown as its past.
pub fn report(runs: &[RunSeries], options: &ReportOptions) -> Result<Report> {
    if runs.is_empty() {
        return Err(
            Problem::input("report", "(no runs)", "there is nothing to report").hint("name at least one run directory")
        );
    }
    for run in runs {
        let metric = &options.metric;
        let evaluated = run.sets().any(|set| !run.eval_metric(set, metric).is_empty());
        let why = match () {
            _ if run.steps.is_empty() && run.evals.is_empty() => "the run is empty: no step and no evaluation",
            _ if run.evals.is_empty() => "the run has no evaluations",
            _ if !evaluated => &format!("no evaluation has the metric `{metric}`"),
            _ => continue,
        };
        return Err(Problem::input("report", &run.name, why)
            .hint("leave this run out, or give its recipe validation sets: they are evaluated before step 1 and as it goes on"));
    }
    let sets = options::sets(runs, options)?;
    let placed = options::placed(runs, options);
    let figures: Vec<(Figure, String)> = std::iter::once(figures::curves(&placed, &sets, options))
        .chain(figures::plane(&placed, &sets, options))
        .chain(figures::training(&placed, options))
        .map(|figure| {
            let caption = page::caption(&figure, options);
            (figure, caption)
        })
        .collect();
    Ok(Report {
        html: page::page(runs, &figures, options)?,
        figures: figures.iter().map(|(figure, _)| (figure.name.clone(), figure.to_svg())).collect(),
    })
}
