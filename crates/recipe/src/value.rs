//! Kinds of values a key can have, and the conversion from TOML.

use std::fmt;

use temper_schedule::Length;

use crate::library::nearest;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, at least this one.
    Int(i64),
    /// A whole number, at least this one, or `"auto"`.
    IntOrAuto(i64),
    /// A number.
    Float(Range),
    /// A radius above 0 and at most 1: a number, a fraction such as `"8/255"`, or a named literal of the reference code.
    Radius,
    /// Text.
    Text,
    /// One text or a list of texts.
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A length of training; a fraction is one of the horizon.
    Length,
    /// A length of training that is not a fraction and not zero.
    Horizon,
    /// A list of lengths.
    Lengths,
}

/// What a number may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 0 or more.
    AtLeastZero,
    /// More than 0.
    AboveZero,
    /// 0 to 1.
    ZeroToOne,
    /// 0 to below 1.
    ZeroToBelowOne,
    /// Above 0 to 1.
    AboveZeroToOne,
    /// Any number.
    Any,
}

impl Range {
    fn contains(self, x: f64) -> bool {
        match self {
            Range::AtLeastZero => x >= 0.0,
            Range::AboveZero => x > 0.0,
            Range::ZeroToOne => (0.0..=1.0).contains(&x),
            Range::ZeroToBelowOne => (0.0..1.0).contains(&x),
            Range::AboveZeroToOne => x > 0.0 && x <= 1.0,
            Range::Any => true,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Range::AtLeastZero => " of at least 0",
            Range::AboveZero => " above 0",
            Range::ZeroToOne => " from 0 to 1",
            Range::ZeroToBelowOne => " from 0 to below 1",
            Range::AboveZeroToOne => " above 0 and at most 1",
            Range::Any => "",
        }
    }
}

impl fmt::Display for Kind {
    /// What the key takes, in words: "a whole number of at least 1".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => write!(f, "true or false"),
            Kind::Int(least) => write!(f, "a whole number of at least {least}"),
            Kind::IntOrAuto(least) => write!(f, "\"auto\" or a whole number of at least {least}"),
            Kind::Float(range) => write!(f, "a number{}", range.words()),
            Kind::Radius => write!(f, "a radius above 0 and at most 1, such as \"8/255\" or 0.3"),
            Kind::Text => write!(f, "text"),
            Kind::Texts => write!(f, "text or a list of texts"),
            Kind::Choice(choices) => {
                let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
                write!(f, "one of {}", quoted.join(", "))
            }
            Kind::Length => write!(f, "a length such as \"1%\", \"2000 steps\", \"300 Mtok\", \"3 epochs\""),
            Kind::Horizon => write!(f, "a length such as \"2000 steps\", \"300 Mtok\", \"3 epochs\""),
            Kind::Lengths => write!(f, "a list of lengths such as [\"50%\", \"2000 steps\"]"),
        }
    }
}

/// A resolved value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text, a choice, or `auto`.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A length of training.
    Length(Length),
    /// Lengths of training.
    Lengths(Vec<Length>),
}

impl fmt::Display for Value {
    /// As TOML, so that it reads back to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Texts(texts) if texts.len() == 1 => f.write_str(&quoted(&texts[0])),
            Value::Texts(texts) => f.write_str(&list(texts.iter().map(|text| quoted(text)).collect())),
            Value::Length(length) => write!(f, "\"{length}\""),
            Value::Lengths(lengths) => f.write_str(&list(lengths.iter().map(|l| format!("\"{l}\"")).collect())),
        }
    }
}

impl Value {
    /// The lengths that it is, if it is any.
    pub fn lengths(&self) -> &[Length] {
        match self {
            Value::Length(length) => std::slice::from_ref(length),
            Value::Lengths(lengths) => lengths,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Texts(_) => &[],
        }
    }
}

/// Why a value is refused, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub why: String,
    pub hint: Option<String>,
}

impl Kind {
    /// The value that `value` is for a key of this kind.
    pub(crate) fn read(self, value: &toml::Value) -> Result<Value, Refusal> {
        let wrong = || Refusal { why: format!("expected {self}, found {}", shown(value)), hint: None };
        match (self, value) {
            (Kind::Bool, toml::Value::Boolean(value)) => Ok(Value::Bool(*value)),
            (Kind::IntOrAuto(_), toml::Value::String(text)) if text == "auto" => Ok(Value::Text(text.clone())),
            (Kind::Int(least) | Kind::IntOrAuto(least), _) => {
                let number = match value {
                    toml::Value::Integer(number) => Some(*number),
                    // `1e6` is how people write a million.
                    toml::Value::Float(x) if x.fract() == 0.0 && x.abs() < 9e15 => Some(*x as i64),
                    _ => None,
                };
                number.filter(|number| *number >= least).map(Value::Int).ok_or_else(wrong)
            }
            (Kind::Float(range), _) => {
                let number = match value {
                    toml::Value::Integer(number) => Some(*number as f64),
                    toml::Value::Float(number) if number.is_finite() => Some(*number),
                    _ => None,
                };
                number.filter(|number| range.contains(*number)).map(Value::Float).ok_or_else(wrong)
            }
            (Kind::Radius, toml::Value::String(text)) if radius(text).is_some() => Ok(Value::Text(text.clone())),
            (Kind::Radius, toml::Value::Float(number)) if *number > 0.0 && *number <= 1.0 => Ok(Value::Float(*number)),
            (Kind::Radius, toml::Value::Integer(1)) => Ok(Value::Float(1.0)),
            (Kind::Text, toml::Value::String(text)) => Ok(Value::Text(text.clone())),
            (Kind::Texts, toml::Value::String(text)) => Ok(Value::Texts(vec![text.clone()])),
            (Kind::Texts, toml::Value::Array(items)) => {
                let text = |item: &toml::Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
                items.iter().map(text).collect::<Result<Vec<_>, _>>().map(Value::Texts)
            }
            (Kind::Choice(choices), toml::Value::String(text)) => {
                if choices.contains(&text.as_str()) {
                    Ok(Value::Text(text.clone()))
                } else {
                    let hint = nearest(text, choices.iter().copied()).map(|word| format!("did you mean \"{word}\"?"));
                    Err(Refusal { hint, ..wrong() })
                }
            }
            (Kind::Length | Kind::Horizon, _) => {
                let length = read_length(value, wrong)?;
                match (self, length) {
                    (Kind::Horizon, Length::Fraction(_)) => Err(Refusal {
                        why: format!("{length} of what? this is what fractions are taken of"),
                        hint: Some("give steps, tokens or epochs".to_owned()),
                    }),
                    (Kind::Horizon, _) if length.is_zero() => {
                        Err(Refusal { why: "must be longer than nothing".to_owned(), hint: None })
                    }
                    _ => Ok(Value::Length(length)),
                }
            }
            (Kind::Lengths, toml::Value::Array(items)) => {
                items.iter().map(|item| read_length(item, wrong)).collect::<Result<_, _>>().map(Value::Lengths)
            }
            _ => Err(wrong()),
        }
    }
}

/// The radius a text means, above 0 and at most 1: `8/255`, `0.3`, or `reference-8/255` and `reference-1/255`, which are
/// the rounded literals in the code of arXiv 2103.17268.
pub fn radius(text: &str) -> Option<f64> {
    let value = match text.trim() {
        "reference-8/255" => 0.03137,
        "reference-1/255" => 0.00392,
        text => match text.split_once('/') {
            Some((over, under)) => over.trim().parse::<f64>().ok()? / under.trim().parse::<f64>().ok()?,
            None => text.parse().ok()?,
        },
    };
    (value > 0.0 && value <= 1.0).then_some(value)
}

fn read_length(value: &toml::Value, wrong: impl Fn() -> Refusal) -> Result<Length, Refusal> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) if number.is_finite() => format!("{number:?}"),
        _ => return Err(wrong()),
    };
    text.parse().map_err(|error| Refusal { why: format!("{error}"), hint: None })
}

/// A TOML value in an error message, not longer than a line.
fn shown(value: &toml::Value) -> String {
    let text = match value {
        toml::Value::Table(_) => "a table".to_owned(),
        other => other.to_string().replace('\n', " "),
    };
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
