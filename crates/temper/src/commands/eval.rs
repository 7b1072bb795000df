//! `temper eval`.

use temper_record::Problem;

use crate::args::Eval;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Eval, _printer: &Printer) -> Outcome {
    Err(Problem::input("eval", "this version", "is not built yet").into())
}
