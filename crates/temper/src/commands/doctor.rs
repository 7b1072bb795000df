//! `temper doctor`.

use temper_record::Problem;

use crate::args::Doctor;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Doctor, _printer: &Printer) -> Outcome {
    Err(Problem::input("doctor", "this version", "is not built yet").into())
}
