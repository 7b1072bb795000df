//! What all training has in common, whatever is trained: the loop, the second half of an update, the optimiser, checkpoints, and the run around them, from a
//! recipe's lengths to its end.
//!
//! Reading order: [`trainer`], [`apply`], [`gradients`], [`shards`], [`group`], [`ranks`], [`optimizer`], [`checkpoint`], [`spec`], [`start`], [`run`], [`lengths`], [`plan`]. Nothing here knows a model or a command
//! line.

#![warn(clippy::missing_errors_doc)]

pub mod apply;
pub mod checkpoint;
pub mod gradients;
pub mod group;
pub mod lengths;
pub mod machine;
pub mod optimizer;
pub mod plan;
pub mod ranks;
mod record;
pub mod run;
pub mod shards;
pub mod spec;
pub mod start;
pub mod trainer;
