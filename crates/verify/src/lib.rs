//! The one engine of verdicts: what certifies an image, in which order errors stand, what a verification leaves behind. Nothing here
//! knows a tensor library: whoever has one implements [`Engine`].
//!
//! | file | what |
//! |---|---|
//! | [`verdict`] | one verdict an image from bound and attack; counts and their order |
//! | [`decide`](mod@decide) | a batch: who is attacked, what is kept |
//! | [`cascade`] | one question of any network: the stages that try to decide it |
//! | [`images`] | an image in its box: interval bounds, and the search where they and the attack leave it open |
//! | [`engine`] | bounds: intervals, linear bounds, their optimisation; each in plain or sound arithmetic |
//! | [`branch`] | proofs by splitting ReLUs |
//! | [`verifier`] | a network ready to be asked: it runs the stages |
//! | [`radius`] | the largest radius at which an image is certified; how the radii of a set are spread |
//! | [`store`] | `verdicts.csv`, `radii.csv` and their questions, resumable; `times.csv` |
//! | [`shards`] | parts of a verification, joined |
//! | [`stack`] | `counterexamples.npy` |
//! | [`attack`](mod@attack) | counterexamples of a [`Property`](temper_graph::Property), by gradients |
//! | [`split_input`](mod@split_input) | proofs for few inputs, by splitting their box |
//! | [`proof`] | certificates of proofs |
//! | [`check`](mod@check) | replays a certificate, independently of what found it |

#![warn(clippy::missing_errors_doc)]

pub mod attack;
pub mod branch;
pub mod cascade;
pub mod check;
pub mod decide;
pub mod engine;
pub mod images;
mod margins;
pub mod proof;
pub mod radius;
pub mod shards;
pub mod split_input;
pub mod stack;
mod steps;
pub mod store;
pub mod verdict;
pub mod verifier;

pub use cascade::{Arithmetic, Settings, Stage};
pub use check::{Checked, Verdict as ProofVerdict, check};
pub use decide::{AttackCertified, Counterexample, Decided, Engine, decide};
pub use images::{Certifier, Norm, Searched, of_pixels, pixel_box, robustness};
pub use radius::{CertifiedRadius, RadiusSummary, bisect};
pub use stack::Stack;
pub use store::{Store, Times};
pub use verdict::{
    Attacked, Evidence, ImageVerdict, ROUNDING, StageCount, Summary, Verdict, certifies, check_order, judge,
};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
