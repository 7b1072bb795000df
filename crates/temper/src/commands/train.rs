//! `temper train`.

use temper_record::Problem;

use crate::args::Train;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Train, _printer: &Printer) -> Outcome {
    Err(Problem::input("train", "this version", "is not built yet").into())
}
