//! The one engine of verdicts: what certifies an image, in which order errors stand, what a verification leaves behind. Nothing here
//! knows a network or a tensor library: whoever has them implements [`Engine`].
//!
//! | file | what |
//! |---|---|
//! | [`verdict`] | one verdict an image from bound and attack; counts and their order |
//! | [`decide`](mod@decide) | a batch: who is attacked, what is kept |
//! | [`engine`] | bounds: intervals, linear bounds, their optimisation; each in plain or sound arithmetic |
//! | [`radius`] | the largest radius at which an image is certified; how the radii of a set are spread |
//! | [`store`] | `verdicts.csv`, `radii.csv` and their questions, resumable |
//! | [`stack`] | `counterexamples.npy` |

#![warn(clippy::missing_errors_doc)]

pub mod cascade;
pub mod decide;
pub mod engine;
pub mod radius;
pub mod stack;
pub mod store;
pub mod verdict;

pub use decide::{AttackCertified, Counterexample, Decided, Engine, decide};
pub use radius::{CertifiedRadius, RadiusSummary, bisect};
pub use stack::Stack;
pub use store::Store;
pub use verdict::{Attacked, ImageVerdict, ROUNDING, Summary, Verdict, certifies, check_order, judge};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
