//! What a run leaves behind: its directory, its events and its checkpoints.
//!
//! Reading order: [`event`] (what happens in a run), [`metric`] (the numbers in it), [`run`] (where it is kept), [`sink`] (how events
//! reach the files), [`checkpoint`] (what survives a kill), [`series`] (reading it all back). No tensors here, and nothing
//! that knows a model or a task: metrics go by name, so language models and image classifiers leave the same records.

#![warn(clippy::missing_errors_doc)]

pub mod begun;
pub mod checkpoint;
pub mod console;
pub mod csv;
pub mod env;
pub mod event;
pub mod metric;
pub mod run;
pub mod series;
pub mod sink;
pub mod tensorboard;

pub use checkpoint::{Best, Checkpoint, CheckpointWriter};
pub use console::{Unit, console_line, console_line_in};
pub use env::Env;
pub use event::{CERTIFY, Event, LM, MEAN_MACRO, MEAN_MICRO, Parent, RunInfo, Values};
pub use run::{At, RunDir, RunLock, RunRef};
pub use series::{EvalPoint, Phase, RunSeries, StepPoint};
pub use sink::Recorder;

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
