//! Recipes: TOML in, resolved values with their origin out.
//!
//! A [`Schema`] drives everything: which keys there are, of what kind, with what default, and the line that explains each. This crate
//! knows no key but those that it reads itself ([`KEYS`]): whoever reads a [`Key`] declares it, and a program puts its schema together.
//! Unknown keys are errors with the nearest known name, and all problems of a recipe are reported at once.
//!
//! Keys belong to one [`Task`] or to all: a language model has no radius, an image classifier no tokenizer. Some defaults differ by task.
//!
//! A recipe is layers, later ones winning: defaults, the recipes it `extends` (the farthest first), itself, `--set key=value`;
//! whoever starts a run may then fill what is still open from a base run or a preset ([`Recipe::fill`], [`Recipe::inherit`]).
//! Two rules keep layers from fighting: what a recipe expects is not inherited (another recipe has another result), and an inherited
//! key that a newly chosen `lr.shape` does not have is dropped ([`Recipe::dropped`]). `data.train.NAME = false` (and the
//! same for `data.validation`) removes an inherited name.

#![warn(clippy::missing_errors_doc)]

mod check;
mod layer;
mod library;
mod recipe;
mod resolve;
mod schema;
mod value;

pub use check::Check;
pub use library::{Library, nearest};
pub use recipe::{Entry, Origin, Recipe};
pub use resolve::is_name;
pub use schema::{Fields, KEYS, Key, Refers, Schema, Task};
pub use value::{Kind, Range, Value, radius};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
