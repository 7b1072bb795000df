//! Sweeps: from a file to a tree of runs, from their records to one report.
//!
//! [`tree`] expands a sweep into runs, each known by the hash of what decides its numbers; equal ones are one. [`texts`] names
//! what they train on by its content and tokenises it once. [`cost`] says what the tree costs, [`plan`] shows it. [`store`] is where runs lie, shared
//! by all sweeps of a folder; [`execute`] trains them all, [`one`] a single one. [`results`] reads them back, [`page`]
//! makes the report. [`gains`] measures networks that need no training.

pub mod cost;
pub mod execute;
pub mod gains;
pub mod one;
pub mod page;
pub mod plan;
pub mod results;
pub mod store;
pub mod texts;
pub mod tree;
