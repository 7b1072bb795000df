//! Temper as a library: from a recipe to a run, whatever it trains. The command line is one of its front doors.
//!
//! A [`Recipe`] is read by [`recipe`] or [`branch_recipe`]. [`train`], [`branch`] and [`resume`] make a [`Run`] of it, whose
//! [`Run::train`] trains it to its end.
//! `examples/continue_model.rs` does so in 40 lines. The towers `temper-lm` and `temper-certify` have what belongs to a task alone.

#![warn(clippy::missing_errors_doc)]

pub mod builtin;
pub mod device;
mod network;
mod schema;

use std::path::Path;

use temper_certify::task::CertifyTask;
use temper_lm::task::LmTask;
use temper_record::event::CERTIFY;
use temper_record::run::RunRef;
use temper_schedule::Length;
use temper_train::ranks::Order;
use temper_train::start;

pub use device::device;
pub use network::Network;
pub use schema::{SCHEMA, Trains, inherit};
pub use temper_base::listener::{Listener, Silent};
pub use temper_base::{Problem, Problems};
pub use temper_recipe::Recipe;
pub use temper_record::{RunDir, RunSeries};
pub use temper_train::ranks::Ranks;
pub use temper_train::run::{Expected, Limits, Run, Session};
pub use temper_train::trainer::{End, Interrupt, Unattended, Watch};
pub use temper_verify::Settings;
pub use temper_verify::cascade::{Answer, Decision};

/// The recipe of this name or path, with `key=value` overrides.
///
/// # Errors
/// Everything that is wrong with it.
pub fn recipe(name_or_path: &str, overrides: &[String]) -> Result<Recipe, Problems> {
    Ok(Recipe::load(name_or_path, overrides, &builtin::LIBRARY)?)
}

/// As [`recipe`], for a branch: what the base run has may be left out.
///
/// # Errors
/// Everything that is wrong with it.
pub fn branch_recipe(name_or_path: &str, overrides: &[String]) -> Result<Recipe, Problems> {
    Ok(Recipe::load_branch(name_or_path, overrides, &builtin::LIBRARY)?)
}

/// The resolved recipe of a run.
///
/// # Errors
/// A run without one, or one that cannot be read.
pub fn recipe_of(run: &RunDir) -> Result<Recipe, Problems> {
    temper_train::run::resolved_recipe(run, &SCHEMA)
}

/// A new run in the folder `out`: fresh weights, or those that `init.from` names.
///
/// # Errors
/// Everything that keeps the run from beginning. The folder is left as it was found.
pub fn train(recipe: Recipe, out: &Path, session: Session) -> Result<Box<dyn Run>, Problems> {
    Ok(match Trains::of(&recipe) {
        Trains::LanguageModel => Box::new(start::train::<LmTask>(recipe, out, session)?),
        Trains::Classifier => Box::new(start::train::<CertifyTask>(recipe, out, session)?),
    })
}

/// A new run in the folder `out` from the clocks of another that the recipe keeps. `base` is `DIR`, `DIR@STEP` or `DIR@best`.
///
/// # Errors
/// Everything that keeps the run from beginning. The folder is left as it was found.
pub fn branch(recipe: Recipe, base: &str, out: &Path, session: Session) -> Result<Box<dyn Run>, Problems> {
    Ok(match Trains::of(&recipe) {
        Trains::LanguageModel => Box::new(start::branch::<LmTask>(recipe, base, out, session)?),
        Trains::Classifier => Box::new(start::branch::<CertifyTask>(recipe, base, out, session)?),
    })
}

/// The run `name` (`DIR`, `DIR@STEP` or `DIR@best`) as it was at its checkpoint, to continue to its end or to `until`. `None` if it
/// is complete.
///
/// # Errors
/// A checkpoint that is damaged, data that has changed, an end that is behind it.
pub fn resume(name: &str, until: Option<Length>, session: Session) -> Result<Option<Box<dyn Run>>, Problems> {
    Ok(match Trains::of(&recipe_of(&RunRef::parse(name)?.open()?)?) {
        Trains::LanguageModel => start::resume::<LmTask>(name, until, &SCHEMA, session)?.map(boxed),
        Trains::Classifier => start::resume::<CertifyTask>(name, until, &SCHEMA, session)?.map(boxed),
    })
}

/// On a rank that does not lead: makes its part of everything that rank 0 orders, until that one has come to its end.
///
/// # Errors
/// A rank that has failed or cannot be reached. What rank 0 can tell itself is no error here.
pub fn follow(session: Session) -> Result<(), Problem> {
    let mut order = session.ranks.next()?;
    loop {
        order = match order {
            Order::Open(opening) if opening.task == CERTIFY => {
                start::follow::<CertifyTask>(&opening, &SCHEMA, session)?
            }
            Order::Open(opening) => start::follow::<LmTask>(&opening, &SCHEMA, session)?,
            Order::End => return Ok(()),
            Order::Update(_) | Order::Evaluate(_) => unreachable!("a run is opened before it is trained"),
        }
    }
}

fn boxed<R: Run + 'static>(run: R) -> Box<dyn Run> {
    Box::new(run)
}

/// The program of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
