//! Certified training of image classifiers (arXiv 2103.17268): from a recipe to a run, and the update that it repeats.
//!
//! | file | what |
//! |---|---|
//! | [`methods`], [`method`], [`step`] | how a network is trained: a method a file, what all have; one update |
//! | [`evaluate`] | standard, attacked and certified error |
//! | [`cascade`] | all stages on the first test images, at the end |
//! | [`task`] | all as the task of a run |
//! | `checkpoint` | what a checkpoint holds |
//! | [`cost`] | memory and time of an update |
//! | [`spec`] | a recipe as typed values, and its keys |
//! | [`network`], [`radius`], [`normalisation`] | network and first weights, radius, mean and deviation of a recipe |
//! | [`images`] | the images of a run, and the manifest that it keeps of them |
//! | [`start`] | what it adds to the starts of a run: images, network, first weights, radius |
//! | [`plan`] | what a recipe does and costs |
//! | [`verification`] | verdicts and radii of a run, image by image into a folder |
//! | [`network_verification`] | verdicts of images against a network of a file, likewise |
//! | [`open`], [`layers`] | a network to look at, and what the intervals do in each of its layers |

#![warn(clippy::missing_errors_doc)]

pub mod cascade;
mod checkpoint;
pub mod cost;
pub mod evaluate;
pub mod images;
pub mod layers;
pub mod method;
pub mod methods;
pub mod network;
pub mod network_verification;
pub mod normalisation;
pub mod open;
pub mod plan;
pub mod radius;
pub mod spec;
pub mod start;
pub mod step;
pub mod task;
pub mod verification;
