//! Titles and numbers of metrics as people read them.

use temper_base::numbers::{count, digits, duration, non_finite_word, percent, radius};

use super::Style::{Count, Decimals, Duration, Four, Percent, Plain, Power, Radius, Rate};
use super::{Better, find, named};

/// What figures and tables call the metric of this name.
pub fn title(name: &str) -> String {
    match find(name) {
        Some(metric) => metric.title.to_owned() + &name[metric.name.len()..].replace('_', " "),
        None => name.replace('_', " "),
    }
}

/// Its value on a line, at the end of a curve, or beside a unit.
pub fn line(name: &str, value: f64) -> String {
    match named(name).style {
        _ if !value.is_finite() => non_finite_word(value).to_owned(),
        Power | Radius => format!("{value:.2e}"),
        Plain => digits(value, 5),
        Percent => percent(value),
        _ => cell(name, value),
    }
}

/// Its value in a table.
pub fn cell(name: &str, value: f64) -> String {
    match named(name).style {
        _ if !value.is_finite() => non_finite_word(value).to_owned(),
        Decimals => format!("{value:.4}"),
        Plain | Four | Power | Percent => digits(value, 4),
        Radius => radius(value),
        Count | Rate => count(value),
        Duration => duration(value),
    }
}

/// Whether the metric of this name is better at `new` than at `old`.
pub fn improves(name: &str, new: f64, old: f64) -> bool {
    match named(name).better {
        Better::Lower => new < old,
        Better::Higher => new > old,
        Better::Neither => false,
    }
}
