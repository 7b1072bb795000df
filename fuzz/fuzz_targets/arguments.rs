//! The command line: words, one a line.

#![no_main]

use clap::Parser;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../crates/cli/src/args.rs"]
mod args;

fuzz_target!(|text: &str| {
    let _ = args::Cli::try_parse_from(std::iter::once("temper").chain(text.lines()));
});
