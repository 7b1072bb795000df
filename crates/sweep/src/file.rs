//! The format of a sweep file, as it is read.
//!
#![doc = include_str!("../FORMAT.md")]

use crate::numbers::At;

/// A sweep, with all its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The name it is known by, or its path.
    pub name: String,
    /// Heading of the report.
    pub title: String,
    /// Paper and figure or table.
    pub source: String,
    /// One line for lists.
    pub about: String,
    /// What is done with each variant.
    pub measure: Measure,
    /// `SET/METRIC`, in the order of the report.
    pub metrics: Vec<String>,
    /// What all variants have in common.
    pub all: Layer,
    /// The variants, in the order of the report.
    pub variants: Vec<(String, Layer)>,
    /// What the paper says.
    pub claims: Vec<Claim>,
    /// The sizes.
    pub sizes: Vec<Size>,
}

/// What is done with each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// It is trained.
    #[default]
    Runs,
    /// The difference gains of its fresh network are taken; nothing is trained.
    Gains,
}

/// Recipe and overrides of one level; what a level leaves out comes from the one before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layer {
    /// The recipe.
    pub recipe: Option<String>,
    /// Where it branches from: `base`, `base@7%`, `none`.
    pub from: Option<String>,
    /// Keys and their values as TOML.
    pub set: Vec<(String, String)>,
    /// Keys whose number is multiplied.
    pub scale: Vec<(String, f64)>,
}

/// The run that variants branch from.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// Trained by the sweep, once for each seed.
    Recipe {
        /// The recipe.
        recipe: String,
        /// Its overrides.
        set: Vec<(String, String)>,
    },
    /// A run that exists; every seed branches from it.
    Run(String),
}

/// One size of a sweep.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Size {
    /// Its name.
    pub name: String,
    /// What it needs and what it takes, in a line.
    pub about: String,
    /// How many seeds, unless the command line says.
    pub seeds: Option<u64>,
    /// What variants branch from, if they do.
    pub base: Option<Base>,
    /// In common in this size.
    pub all: Layer,
    /// For single variants in this size.
    pub variants: Vec<(String, Layer)>,
    /// The circumstances; one without a name if the file names none.
    pub settings: Vec<Setting>,
}

/// One of the circumstances under which the variants are compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Setting {
    /// Its name; empty if there is only one.
    pub name: String,
    /// The validation set that metrics call `old`.
    pub old: Option<String>,
    /// The validation set that metrics call `new`.
    pub new: Option<String>,
    /// In common here.
    pub layer: Layer,
    /// For single variants here.
    pub variants: Vec<(String, Layer)>,
}

/// How two numbers are to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Left is lower than right.
    Less,
    /// Left is higher than right.
    Greater,
    /// They differ by no more than `within`.
    Equal,
    /// Each variant is higher than the one before it.
    Increases,
    /// Each variant is lower than the one before it.
    Decreases,
}

/// A comparison that the paper makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// In words.
    pub what: String,
    /// Where the paper says it, if that is more than the sweep's source.
    pub source: Option<String>,
    /// `SET/METRIC`.
    pub metric: String,
    /// When.
    pub at: At,
    /// How.
    pub relation: Relation,
    /// What increases or decreases it.
    pub along: Option<String>,
    /// The variants on the left; of `increases with`, all of them in their order.
    pub left: Vec<String>,
    /// The variants on the right.
    pub right: Vec<String>,
    /// Of [`Relation::Equal`].
    pub within: f64,
    /// Only in these settings; in all if empty.
    pub settings: Vec<String>,
    /// Where it is written.
    pub place: String,
}
