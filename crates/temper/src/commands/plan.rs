//! `temper plan`.

use temper_record::Problem;

use crate::args::Plan;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Plan, _printer: &Printer) -> Outcome {
    Err(Problem::input("plan", "this version", "is not built yet").into())
}
