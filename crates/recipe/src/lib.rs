//! Recipes: TOML in, resolved values with their origin out.
//!
//! One table ([`KEYS`]) drives everything: which keys there are, of what kind, with what default, and the line that explains
//! each. Unknown keys are errors with the nearest known name, and all problems of a recipe are reported at once.
//!
//! Keys belong to one task or to all: a language model has no radius, an image classifier no tokenizer. Some defaults differ by task.
//!
//! A recipe is layers, later ones winning: defaults, the recipes it `extends` (the farthest first), itself, `--set key=value`;
//! whoever starts a run may then fill what is still open from a base run or a preset ([`Recipe::fill`], [`Recipe::inherit`]).
//! Two rules keep layers from fighting: `expect.*` is not inherited (another recipe has another result), and an inherited `lr.*`
//! key that the newly chosen `lr.shape` does not have is dropped ([`Recipe::dropped`]). `data.train.NAME = false` (and the
//! same for `data.validation`) removes an inherited name.

#![warn(clippy::missing_errors_doc)]

mod keys;
mod layer;
mod library;
mod lr;
mod recipe;
mod resolve;
mod value;

pub use keys::{KEYS, Key, Task, find_key};
pub use library::{Library, nearest};
pub use recipe::{Change, Entry, Expectation, Origin, Recipe, diff};
pub use resolve::is_name;
pub use value::{Kind, Range, Value, radius};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
