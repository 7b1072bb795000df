//! Sweeps: a comparison of a paper as a file, the tree of runs that it makes, and what their numbers say about its claims.
//!
//! | file | what |
//! |---|---|
//! | [`file`](mod@file) | the format; [`choose`] takes one size of it, every variant with all its overrides |
//! | [`tree`] | the runs, each known by the hash of what decides its numbers; equal ones are one |
//! | [`texts`] | what they train on, named by its content and tokenised once |
//! | [`cost`] | what the tree costs |
//! | [`store`] | where runs lie, shared by all sweeps of a folder |
//! | [`execute`], [`one`] | trains them all; a single one |
//! | [`gains`] | measures networks that need no training |
//! | [`results`], [`numbers`] | reads the records back; what a run is compared by |
//! | [`claim`], [`stats`] | does a claim hold? mean, spread, confidence |
//! | [`page`] | the report |
//!
//! `file`, `choose`, `numbers`, `claim` and `stats` are pure: they neither train nor read or write a file.

#![warn(clippy::missing_errors_doc)]

pub mod choose;
pub mod claim;
pub mod cost;
pub mod execute;
pub mod file;
pub mod gains;
pub mod numbers;
pub mod one;
pub mod page;
mod parse;
mod read;
pub mod results;
pub mod stats;
pub mod store;
pub mod texts;
pub mod tree;

pub use choose::{Chosen, Start, Variant};
pub use claim::{Comparison, Judged, Verdict, judge_all, judge_claim};
pub use file::{Claim, Measure, Relation, Sweep};
pub use numbers::{At, Curve};
