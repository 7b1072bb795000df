//! Counterexample files, as verifiers exchange them: the forms of VNN-LIB 1.0 and 2.0.

use std::fmt::Write;

use temper_base::{Problem, Result};

use crate::vnnlib::Variable;

/// A counterexample: an input, and the output that it claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Of every input.
    pub input: Vec<f64>,
    /// Of every output; what a verifier found, which a reader computes again.
    pub output: Vec<f64>,
}

/// `((X_0 0.5)` to `(Y_n 1.0))`: the form that goes with VNN-LIB 1.0.
pub fn write(input: &[f32], output: &[f64]) -> String {
    let inputs = input.iter().enumerate().map(|(i, x)| format!("(X_{i} {})", plain(f64::from(*x))));
    let outputs = output.iter().enumerate().map(|(i, y)| format!("(Y_{i} {})", plain(*y)));
    let lines: Vec<String> = inputs.chain(outputs).collect();
    format!("({})\n", lines.join("\n"))
}

/// The form of VNN-LIB 2.0: a line with name, type and shape, then the values, one a line.
pub fn write_version_2(variables: &[Variable; 2], input: &[f32], output: &[f64]) -> String {
    let mut text = String::new();
    let values = [input.iter().map(|x| f64::from(*x)).collect(), output.to_vec()];
    for (variable, values) in variables.iter().zip::<[Vec<f64>; 2]>(values) {
        let shape: Vec<String> = variable.shape.iter().map(usize::to_string).collect();
        let _ = writeln!(text, "{} {} [{}]", variable.name, variable.element.name(), shape.join(", "));
        values.iter().for_each(|value| _ = writeln!(text, "{}", plain(*value)));
    }
    text
}

/// The shortest digits that are read back as this double, without exponent. A float is written as the double that it is: whoever reads
/// doubles finds it just where it lies in the box, and whoever reads floats finds it too.
fn plain(number: f64) -> String {
    let text = format!("{number}");
    if text.contains('.') { text } else { text + ".0" }
}

/// Reads the first form, however its blanks are set; a first line `sat` may stand before it.
///
/// # Errors
/// Text that is none, and indices with gaps; `place` is where it is from.
pub fn parse(text: &str, place: &str) -> Result<Assignment> {
    let fail = |why: String| Problem::input("read counterexample", place, why);
    let spaced = text.replace(['(', ')'], " ");
    let mut words = spaced.split_whitespace().skip_while(|word| matches!(*word, "sat" | "violated")).peekable();
    let mut assignment = Assignment { input: Vec::new(), output: Vec::new() };
    if words.peek().is_none() {
        return Err(fail("it is empty".into()));
    }
    while let Some(name) = words.next() {
        let value = words.next().and_then(|value| value.parse::<f64>().ok()).filter(|value| value.is_finite());
        let Some(value) = value else { return Err(fail(format!("{name} has no number"))) };
        let to = match name.split_once('_') {
            Some(("X", at)) if at.parse() == Ok(assignment.input.len()) => &mut assignment.input,
            Some(("Y", at)) if at.parse() == Ok(assignment.output.len()) => &mut assignment.output,
            _ => {
                return Err(
                    fail(format!("{name} is out of turn")).hint("X_0, X_1, ..., then Y_0, Y_1, ..., without gaps")
                );
            }
        };
        to.push(value);
    }
    Ok(assignment)
}

/// Reads the second form, of these variables; a first line `sat` may stand before it.
///
/// # Errors
/// Text that is none, other variables, and more or fewer values than their shapes hold; `place` is where it is from.
pub fn parse_version_2(text: &str, variables: &[Variable; 2], place: &str) -> Result<Assignment> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "sat").peekable();
    let mut values = |variable: &Variable| {
        let fail = |why: String| Problem::input("read counterexample", place, why);
        let Variable { name, shape, .. } = variable;
        if lines.next().and_then(|line| line.split_whitespace().next()) != Some(name) {
            return Err(fail(format!("a line \"{name} TYPE [SHAPE]\" belongs before the values of {name}")));
        }
        let number = |line: &&str| line.parse::<f64>().is_ok_and(f64::is_finite);
        let found: Vec<f64> = std::iter::from_fn(|| lines.next_if(number)?.parse().ok()).collect();
        let wanted: usize = shape.iter().product();
        if found.len() == wanted {
            Ok(found)
        } else {
            Err(fail(format!("{name} has {} values; its shape {shape:?} holds {wanted}", found.len())))
        }
    };
    let assignment = Assignment { input: values(&variables[0])?, output: values(&variables[1])? };
    match lines.next() {
        Some(line) => Err(Problem::input("read counterexample", place, format!("\"{line}\" behind its end"))),
        None => Ok(assignment),
    }
}
