//! `temper recipe`.

use temper_record::Problem;

use crate::args::RecipeCommand;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(_args: &RecipeCommand, _printer: &Printer) -> Outcome {
    Err(Problem::input("recipe", "this version", "is not built yet").into())
}
