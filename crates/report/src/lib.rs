//! From runs to something to look at: figures (SVG), tables, and one self-contained page (HTML).
//!
//! [`report`] makes all of it from what [`temper_record`] has read. Below it, from general to special: [`chart`] and `svg`
//! draw panels of lines over one axis, `grid` small multiples, [`table`] writes rows three ways. `figures` and [`summary`]
//! turn runs of language models into both, `bars` verifications, `certify` and [`errors`] those of image classifiers. Metrics go by name; nothing
//! here knows a model.

#![warn(clippy::missing_errors_doc)]

mod bars;
mod certify;
pub mod chart;
pub mod dots;
pub mod errors;
mod figures;
pub mod gains;
mod grid;
mod labels;
mod names;
pub mod options;
mod page;
mod plot;
mod report;
pub mod scale;
mod schedule;
mod stages;
pub mod summary;
mod svg;
pub mod table;
pub mod text;
mod theme;

pub use bars::Verified;
pub use chart::Figure;
pub use dots::Dots;
pub use errors::{certified_sentence, errors_table};
pub use gains::{InitGains, gain_table};
pub use options::{Extra, Origin, ReportOptions, XAxis};
pub use page::{document, keys};
pub use report::{FIGURES, Report, report};
pub use schedule::{ScheduleCurve, schedule_svg};
pub use stages::stage_table;
pub use summary::{Summary, change_table, facts_table, final_table, sentence};
pub use svg::Drawing;
pub use table::Table;

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
