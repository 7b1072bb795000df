//! `temper demo`.

use temper_record::Problem;

use crate::args::Demo;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &Demo, _printer: &Printer) -> Outcome {
    Err(Problem::input("demo", "this version", "is not built yet").into())
}
