//! From a recipe of certified training to a run.

pub mod images;
pub mod open;
pub mod plan;
pub mod settings;
pub mod start;
