//! One file a command. Each has `run(&args, &printer)`, which gives the exit code.

pub mod bench;
pub mod branch;
pub mod completions;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod fetch;
pub mod inspect;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod resume;
pub mod sample;
pub mod schedule;
mod selftest;
pub mod sweep;
pub mod train;
pub mod verify;
