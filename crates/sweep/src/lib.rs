//! What a sweep is: a comparison of a paper as a file, and what measured numbers say about its claims. Pure: nothing here
//! trains, and nothing reads or writes a file.
//!
//! Reading order: [`file`] (the format), [`choose`] (one size of it, every variant with all its overrides), [`numbers`] (what
//! a run is compared by), [`claim`] (does it hold?), [`stats`] (mean, spread, confidence).

#![warn(clippy::missing_errors_doc)]

pub mod choose;
pub mod claim;
pub mod file;
pub mod numbers;
mod parse;
mod read;
pub mod stats;

pub use choose::{Chosen, Start, Variant};
pub use claim::{Comparison, Judged, Verdict, judge, judge_all};
pub use file::{Claim, Measure, Relation, Sweep};
pub use numbers::{At, Curve};
