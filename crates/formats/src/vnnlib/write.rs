//! Properties as text.

use std::fmt::Write;

use temper_graph::{LinearConstraint, Property};

use super::decimal::all_digits;

/// A property as VNN-LIB 1.0; `about` becomes its first comment. Numbers are written with all their digits, without exponent, so that
/// whoever reads them exactly finds the same ones.
pub fn write(property: &Property, about: &str) -> String {
    let input = |i: usize| format!("X_{i}");
    let output = |i: usize| format!("Y_{i}");
    let mut text = comment(about);
    (0..property.input().lower.len()).for_each(|i| _ = writeln!(text, "(declare-const X_{i} Real)"));
    (0..property.outputs()).for_each(|i| _ = writeln!(text, "(declare-const Y_{i} Real)"));
    body(property, &input, &output, false, &mut text);
    text
}

/// The same as VNN-LIB 2.0, of a network called `f` with an input and an output of these shapes in single precision.
pub fn write_version_2(property: &Property, about: &str, input: &[usize], output: &[usize]) -> String {
    let index = |shape: &[usize], i: usize| {
        let mut rest = i;
        let mut at: Vec<String> = Vec::new();
        for n in shape.iter().rev() {
            at.push((rest % n).to_string());
            rest /= n;
        }
        at.reverse();
        at.join(", ")
    };
    let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut text = comment(about);
    text += "(vnnlib-version <2.0>)\n";
    let _ = writeln!(
        text,
        "(declare-network f\n    (declare-input X float32 [{}])\n    (declare-output Y float32 [{}])\n)",
        shape(input),
        shape(output)
    );
    body(property, &|i| format!("X[{}]", index(input, i)), &|i| format!("Y[{}]", index(output, i)), true, &mut text);
    text
}

fn comment(about: &str) -> String {
    about.lines().map(|line| format!("; {line}\n")).collect()
}

fn body(property: &Property, x: &dyn Fn(usize) -> String, y: &dyn Fn(usize) -> String, newer: bool, text: &mut String) {
    let ends = property.input().lower.iter().zip(&property.input().upper);
    for (i, (lower, upper)) in ends.enumerate() {
        let _ = writeln!(text, "(assert (>= {} {}))\n(assert (<= {} {}))", x(i), plain(*lower), x(i), plain(*upper));
    }
    let group = |rows: &Vec<LinearConstraint>| {
        format!("(and {})", rows.iter().map(|r| row(r, y, newer)).collect::<Vec<_>>().join(" "))
    };
    match property.violations() {
        // Nothing violates it: outputs that there are none of.
        [] => _ = writeln!(text, "(assert (<= {} 0.0))\n(assert (>= {} 1.0))", y(0), y(0)),
        // Every output violates it.
        groups if groups.iter().any(Vec::is_empty) => {}
        [only] => only.iter().for_each(|r| _ = writeln!(text, "(assert {})", row(r, y, newer))),
        groups => {
            text.push_str("(assert (or\n");
            groups.iter().for_each(|rows| _ = writeln!(text, "    {}", group(rows)));
            text.push_str("))\n");
        }
    }
}

/// One constraint. Version 1.0 has no arithmetic: a difference of two outputs is their comparison.
fn row(row: &LinearConstraint, y: &dyn Fn(usize) -> String, newer: bool) -> String {
    let less = if row.strict && newer { "<" } else { "<=" };
    match row.terms.as_slice() {
        [(a, ca), (b, cb)] if *ca == -*cb && row.bound == 0.0 => {
            let [below, above] = if *ca > 0.0 { [a, b] } else { [b, a] };
            format!("({less} {} {})", y(*below), y(*above))
        }
        [(a, c)] if c.abs() == 1.0 => {
            let more = if row.strict && newer { ">" } else { ">=" };
            if *c > 0.0 {
                format!("({less} {} {})", y(*a), plain(row.bound))
            } else {
                format!("({more} {} {})", y(*a), plain(-row.bound))
            }
        }
        terms => {
            let term = |(output, c): &(usize, f64)| format!("(* {} {})", plain(*c), y(*output));
            let sum = terms.iter().map(term).collect::<Vec<_>>().join(" ");
            format!("({less} (+ {sum}) {})", plain(row.bound))
        }
    }
}

/// A double with all its digits and a point.
fn plain(number: f64) -> String {
    let (whole, fraction) = all_digits(number);
    let sign = if number < 0.0 { "-" } else { "" };
    let fraction = fraction.trim_end_matches('0');
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}
