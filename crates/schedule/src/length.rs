//! Lengths of training with their unit: `1%`, `0.01`, `2000 steps`, `300 Mtok`, `3 epochs`, `2000`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of training, or a point in it counted from its beginning.
///
/// | written | means |
/// |---|---|
/// | `1%`, `0.01`, `1e-2` | that part of the horizon (a number with a dot or an exponent is a fraction and at most 1) |
/// | `2000`, `2000 steps`, `2k steps` | optimiser updates |
/// | `300 Mtok`, `297B tokens`, `5000 tok` | training tokens; k, M, G or B, T are powers of 1000 |
/// | `3 epochs`, `0.5 epochs` | passes over the training data |
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Part of the horizon, 0 to 1.
    Fraction(f64),
    /// Optimiser updates.
    Steps(u64),
    /// Training tokens.
    Tokens(u64),
    /// Passes over the training data.
    Epochs(f64),
}

/// What a step and an epoch are worth in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Tokens of one optimiser update (sequences of a batch times their length).
    pub tokens_per_step: u64,
    /// Tokens of one pass over the training data; `None` while the data is not known.
    pub tokens_per_epoch: Option<u64>,
}

/// Why a text is no length, or a length has no number of updates here.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LengthError {
    /// The text is not a length.
    #[error("`{text}` is not a length: {why}")]
    Syntax {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A fraction where there is no horizon to take it of.
    #[error("{0} of what? there is no horizon here to take a part of; give steps, tokens or epochs")]
    FractionOfNothing(Length),
    /// Epochs, but the size of the training data is not known.
    #[error("{0} of what? the number of tokens in the training data is not known here; give steps or tokens")]
    EpochsOfNothing(Length),
    /// Tokens or epochs, but a step has no tokens.
    #[error("{0} cannot be turned into steps: a step has no tokens here")]
    NoTokensPerStep(Length),
    /// More than 2^63 updates.
    #[error("{0} is more steps than can be counted")]
    TooLong(Length),
}

/// Steps and tokens are fewer than this, however they are written: what is shown can be read again.
const MOST: u64 = 9_200_000_000_000_000_000;
const EXAMPLES: &str = "write for example `1%`, `2000 steps`, `300 Mtok`, `3 epochs`";

impl Length {
    /// Nothing at all.
    pub const ZERO: Length = Length::Steps(0);

    /// The length in optimiser updates: rounded to the nearest (halves up), and at least 1 unless the length is zero.
    /// `horizon_steps` is what a fraction is a fraction of.
    ///
    /// # Errors
    /// If a fraction has no horizon, tokens or epochs lack the size of an update or of the data, or the length is beyond 9.2e18
    /// updates.
    pub fn steps(&self, units: &Units, horizon_steps: Option<u64>) -> Result<u64, LengthError> {
        let exact = match *self {
            Length::Steps(steps) => return Ok(steps),
            Length::Fraction(fraction) => fraction * horizon_steps.ok_or(LengthError::FractionOfNothing(*self))? as f64,
            Length::Tokens(_) | Length::Epochs(_) if units.tokens_per_step == 0 => {
                return Err(LengthError::NoTokensPerStep(*self));
            }
            Length::Tokens(tokens) => {
                // In integers, so that 297 Gtok at 2,097,152 tokens a step adds no rounding.
                let step = u128::from(units.tokens_per_step);
                let steps = ((2 * u128::from(tokens) + step) / (2 * step)) as u64;
                return Ok(if tokens > 0 { steps.max(1) } else { 0 });
            }
            Length::Epochs(epochs) => {
                let epoch = units.tokens_per_epoch.ok_or(LengthError::EpochsOfNothing(*self))?;
                epochs * epoch as f64 / units.tokens_per_step as f64
            }
        };
        match exact {
            0.0 => Ok(0),
            _ if exact < 9.2e18 => Ok((exact.round() as u64).max(1)),
            _ => Err(LengthError::TooLong(*self)),
        }
    }

    /// Whether this is a length of nothing.
    pub fn is_zero(&self) -> bool {
        match *self {
            Length::Fraction(x) | Length::Epochs(x) => x == 0.0,
            Length::Steps(x) | Length::Tokens(x) => x == 0,
        }
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let error = |why: String| LengthError::Syntax { text: text.to_owned(), why };
        let compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != '_').collect();
        let digits = number_prefix(&compact);
        let (number, unit) = compact.split_at(digits);
        if number.is_empty() {
            return Err(error(if unit.starts_with('-') {
                "a length is not negative".to_owned()
            } else {
                format!("it does not begin with a number; {EXAMPLES}")
            }));
        }
        let value: f64 = number.parse().map_err(|_| error(format!("`{number}` is not a number")))?;
        if !value.is_finite() {
            return Err(error(format!("`{number}` is too large")));
        }
        if unit.is_empty() {
            return match number.parse::<u64>() {
                Ok(steps) if steps >= MOST => Err(error("it is more steps than can be counted".to_owned())),
                Ok(steps) => Ok(Length::Steps(steps)),
                Err(_) => fraction(value).ok_or_else(|| {
                    error(format!(
                        "a bare number with a dot or an exponent is a fraction of the horizon and at most 1.0; for steps write `{value} steps`"
                    ))
                }),
            };
        }
        if unit == "%" {
            return fraction(value / 100.0).ok_or_else(|| error("a part of the horizon is at most 100%".to_owned()));
        }
        let (scale, name) = scale_and_name(unit);
        let whole = |what: &str| {
            let product = value * scale;
            // A product like 0.3 * 1e9 may miss the integer by an ulp.
            let nearest = product.round();
            if (product - nearest).abs() > 1e-12 * nearest {
                Err(error(format!("it is not a whole number of {what}")))
            } else if nearest >= MOST as f64 {
                Err(error(format!("it is more {what} than can be counted")))
            } else {
                Ok(nearest as u64)
            }
        };
        // Large plain integers keep every digit.
        let exact = if scale == 1.0 { number.parse::<u64>().ok().filter(|&n| n < MOST) } else { None };
        match name.to_ascii_lowercase().as_str() {
            "step" | "steps" | "update" | "updates" => exact.map_or_else(|| whole("steps"), Ok).map(Length::Steps),
            "tok" | "toks" | "token" | "tokens" => exact.map_or_else(|| whole("tokens"), Ok).map(Length::Tokens),
            "epoch" | "epochs" if scale == 1.0 => Ok(Length::Epochs(value)),
            _ => Err(error(format!("the unit `{unit}` is not known; {EXAMPLES}"))),
        }
    }
}

/// `Some` if the value is a part of one.
fn fraction(value: f64) -> Option<Length> {
    (0.0..=1.0).contains(&value).then_some(Length::Fraction(value))
}

/// How many bytes of `text` are a decimal number with an optional exponent. An `e` counts only when digits follow it,
/// so that `3epochs` is 3 and `epochs`.
fn number_prefix(text: &str) -> usize {
    let bytes = text.as_bytes();
    let plain = bytes.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    if plain == 0 || !matches!(bytes.get(plain), Some(b'e' | b'E')) {
        return plain;
    }
    let sign = usize::from(matches!(bytes.get(plain + 1), Some(b'+' | b'-')));
    match bytes[plain + 1 + sign..].iter().take_while(|b| b.is_ascii_digit()).count() {
        0 => plain,
        exponent => plain + 1 + sign + exponent,
    }
}

/// Splits `Mtok` into a million and `tok`. Only k is allowed in either case: `m` might be meant as milli.
fn scale_and_name(unit: &str) -> (f64, &str) {
    let scale = match unit.as_bytes()[0] {
        b'k' | b'K' => 1e3,
        b'M' => 1e6,
        b'G' | b'B' => 1e9,
        // `T` is a prefix only before an upright unit; `tok` begins with a small one.
        b'T' if unit.len() > 1 && unit[1..].starts_with(['t', 's']) => 1e12,
        _ => return (1.0, unit),
    };
    (scale, &unit[1..])
}

impl fmt::Display for Length {
    /// The shortest spelling that reads back as the same length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Length::Fraction(fraction) => {
                let percent = format!("{}", (fraction * 1e14).round() / 1e12);
                match percent.parse::<f64>() {
                    Ok(value) if value / 100.0 == fraction => write!(f, "{percent}%"),
                    _ => write!(f, "{fraction:?}"),
                }
            }
            Length::Steps(1) => write!(f, "1 step"),
            Length::Steps(steps) => write!(f, "{steps} steps"),
            Length::Epochs(1.0) => write!(f, "1 epoch"),
            Length::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Length::Tokens(tokens) => {
                for (unit, prefix) in [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")] {
                    if tokens >= unit && tokens.is_multiple_of(unit / 1000) {
                        let (whole, thousandths) = (tokens / unit, tokens % unit / (unit / 1000));
                        let decimals = format!(".{thousandths:03}");
                        let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
                        return write!(f, "{whole}{decimals} {prefix}tok");
                    }
                }
                write!(f, "{tokens} tok")
            }
        }
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LengthVisitor)
    }
}

struct LengthVisitor;

impl Visitor<'_> for LengthVisitor {
    type Value = Length;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length such as \"1%\", \"300 Mtok\" or 2000")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, steps: u64) -> Result<Length, E> {
        Ok(Length::Steps(steps))
    }

    fn visit_i64<E: de::Error>(self, steps: i64) -> Result<Length, E> {
        u64::try_from(steps).map(Length::Steps).map_err(|_| E::custom("a length is not negative"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Length, E> {
        format!("{value:?}").parse().map_err(E::custom)
    }
}
