//! `temper completions`.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Completions, printer: &Printer) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "temper", &mut script);
    printer.data(String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}
