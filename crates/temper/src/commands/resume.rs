//! `temper resume`.

use temper_record::Problem;

use crate::args::Resume;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Resume, _printer: &Printer) -> Outcome {
    Err(Problem::input("resume", "this version", "is not built yet").into())
}
