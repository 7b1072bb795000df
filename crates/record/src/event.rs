//! The vocabulary of a run: everything that happens in it, as one line of JSON each (`metrics.jsonl`).
//!
//! A line is a flat object tagged by `event`, for example
//! `{"event":"step","step":12,"tokens":49152,"loss":6.31,"lr":0.0003}`. Metrics go by name, so a second kind of task needs no
//! new event. JSON has no NaN and no infinity: a metric that is not finite is written as the string `"NaN"`, `"inf"` or
//! `"-inf"` and read back as that number (`null`, which other tools write, reads as NaN).

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The set name of the average over all validation sets in which every token counts the same.
pub const MEAN_MICRO: &str = "mean:micro";
/// The set name of the average over all validation sets in which every set counts the same.
pub const MEAN_MACRO: &str = "mean:macro";

/// [`RunInfo::task`] of language models.
pub const LM: &str = "lm";
/// [`RunInfo::task`] of image classifiers, whatever they are trained against.
pub const CERTIFY: &str = "certify";

/// Keys of an event's own fields; no metric may take one of these names.
const RESERVED: [&str; 4] = ["event", "step", "tokens", "set"];

/// One thing that happened in a run.
///
/// `step` counts updates from 1; at step 0 nothing has been trained yet. `tokens` counts what the run has trained on so far:
/// tokens of text, or examples where the task has no tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins. Always the first line.
    Start(RunInfo),
    /// A phase of the schedule, both steps included. Written before step 1, one for every phase.
    Phase {
        /// Its name, e.g. `warmup`.
        name: String,
        /// First update that belongs to it.
        first_step: u64,
        /// Last update that belongs to it.
        last_step: u64,
    },
    /// One update was made.
    Step {
        /// Number of the update.
        step: u64,
        /// Tokens trained on, this update included.
        tokens: u64,
        /// `loss` (nats per token), `lr`, `grad_norm`, `tokens_per_s`, `seconds` (of this run so far), ... Image classifiers:
        /// `clean_loss` and `robust_loss` (nats per image), the regularisers `tightness` and `relu_balance` with their
        /// `weight`, `eps`, `images_per_s`; what an update did not compute is not there.
        #[serde(flatten)]
        values: Values,
    },
    /// One validation set was evaluated.
    Eval {
        /// Updates made before the evaluation; 0 is before training.
        step: u64,
        /// Tokens trained on before the evaluation.
        tokens: u64,
        /// Name of the set, or [`MEAN_MICRO`] or [`MEAN_MACRO`].
        set: String,
        /// `loss` (nats per token), `perplexity`, `bits_per_byte`, and the size of the set: `set_tokens`, `set_bytes`. Image
        /// classifiers, in per cent of the `images` at the radius `eps`: `standard_error`, `pgd_error` (of the first
        /// `pgd_images`), `certified_error`; `pgd_error_current` and `certified_error_current` at `eps_current`, the radius
        /// of the schedule; `rounding`, the number of images on which bounds and clean pass differ by rounding;
        /// `clean_loss`, `robust_loss`; and for every ReLU layer NAME the shares `active.NAME`, `unstable.NAME`,
        /// `inactive.NAME` and the mean width `width.NAME` of the bounds before it. Of a verification at the end: `verified_error` of
        /// the first `images_verified`, and for every stage `certified_by.STAGE` in per cent of them and `seconds_of.STAGE`.
        #[serde(flatten)]
        values: Values,
    },
    /// A checkpoint is complete on disk.
    Checkpoint {
        /// Updates made before it was taken.
        step: u64,
        /// Where it is, relative to the run directory.
        path: String,
    },
    /// Something the user should know; training continues.
    Warning {
        /// Updates made so far.
        step: u64,
        /// What is wrong.
        message: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The run resumes from one of its checkpoints.
    Resume {
        /// Updates made before the checkpoint was taken.
        step: u64,
        /// Tokens trained on before it was taken.
        tokens: u64,
        /// Seconds since 1970 (UTC).
        #[serde(default)]
        time: u64,
        /// The update at which the run is to end from now on, if that is not what it began with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    /// The run stopped before its end, e.g. at a signal or a time limit.
    Stop {
        /// Updates made so far.
        step: u64,
        /// Why, in words.
        reason: String,
    },
    /// The run is complete.
    Done {
        /// Updates made.
        step: u64,
        /// Tokens trained on.
        tokens: u64,
        /// Wall-clock seconds of training, all sessions of the run together.
        seconds: f64,
    },
}

impl Event {
    /// The event as one line of JSON, with the line break.
    pub fn to_line(&self) -> String {
        // Every field has a JSON form and every key is a string, so this cannot fail.
        let mut line = serde_json::to_string(self).expect("an event has a JSON form");
        line.push('\n');
        line
    }

    /// Reads one line of JSON. The error says what is wrong with it, without its place.
    ///
    /// # Errors
    /// If the line is not JSON, or not an event of this format: why, without a place.
    pub fn from_line(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|e| e.to_string())
    }
}

/// What is known about a run when it starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Kind of task: [`LM`] or [`CERTIFY`].
    pub task: String,
    /// Name of the recipe, or the path it was read from.
    pub recipe: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Update at which the run is to end.
    pub steps: u64,
    /// Update at which the recipe has it end, if `--max-steps` made that earlier; else 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub end: u64,
    /// Tokens trained on when it ends.
    pub tokens: u64,
    /// Updates already made when the run began: 0, unless a branch keeps the schedule's clock.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_step: u64,
    /// Tokens already counted when the run began: 0, unless a branch keeps the schedule's clock.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_tokens: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// How the weights came to be: `fresh`, `branch` or `hf`.
    pub start: String,
    /// The run this one branched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Version of Temper.
    pub version: String,
    /// Git commit of Temper, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Seconds since 1970 (UTC).
    pub time: u64,
}

/// Where a branch began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Parent {
    /// Directory of the parent run, as the user gave it.
    pub run: String,
    /// The parent's step.
    pub step: u64,
    /// Tokens the parent had been trained on.
    #[serde(default)]
    pub tokens: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Metrics by name, in the order they were put in.
///
/// Two of them are equal when names, order and numbers are; NaN equals NaN here, so that a round trip can be checked.
#[derive(Debug, Clone, Default)]
pub struct Values(Vec<(String, f64)>);

impl Values {
    /// No metrics yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric, or replaces the one of that name. For chains: `Values::new().with("loss", 2.0).with("lr", 1e-3)`.
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a metric, or replaces the one of that name.
    ///
    /// # Panics
    /// If the name is one of the event's own keys (`event`, `step`, `tokens`, `set`): the line could not be read back.
    pub fn set(&mut self, name: &str, value: f64) {
        assert!(!RESERVED.contains(&name), "`{name}` is a key of the event itself, not a metric");
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The metric of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// Names and numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(n, v)| (n.as_str(), *v))
    }

    /// Whether there is no metric at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, f64)> for Values {
    fn from_iter<I: IntoIterator<Item = (&'a str, f64)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |values, (name, value)| values.with(name, value))
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.iter().zip(other.iter()).all(|((n, v), (m, w))| n == m && (v == w || (v.is_nan() && w.is_nan())))
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.iter() {
            match value {
                v if v.is_nan() => map.serialize_entry(name, "NaN")?,
                f64::INFINITY => map.serialize_entry(name, "inf")?,
                f64::NEG_INFINITY => map.serialize_entry(name, "-inf")?,
                // Counts read better without a decimal point, and are exact up to 2^53.
                v if v.fract() == 0.0 && v.abs() < 9.0e15 && !(v == 0.0 && v.is_sign_negative()) => {
                    map.serialize_entry(name, &(v as i64))?
                }
                v => map.serialize_entry(name, &v)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Values;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("metrics by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = Values::new();
                while let Some((name, Number(value))) = map.next_entry::<String, Number>()? {
                    values.0.push((name, value));
                }
                Ok(values)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A metric as JSON has it: a number, one of the three words, or null.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\", \"-inf\" or null")
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(f64::NAN))
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Number, E> {
                match word {
                    "NaN" => Ok(Number(f64::NAN)),
                    "inf" => Ok(Number(f64::INFINITY)),
                    "-inf" => Ok(Number(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}
