//! What a run is compared by: one metric at one time of its course.

use std::fmt;
use std::str::FromStr;

use temper_record::RunSeries;

/// A time of a run, or a difference between two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// The evaluation before the first update.
    Start,
    /// The highest value.
    Peak,
    /// The lowest value.
    Lowest,
    /// The last evaluation.
    Final,
    /// Final minus start.
    Change,
    /// Peak minus start.
    Rise,
    /// The evaluation nearest to this part of the run, 0 to 1.
    Part(f64),
}

impl At {
    /// What may be written.
    pub const FORMS: &'static str = "start, peak, lowest, final, change, rise, or a part of the run such as 25%";
}

impl FromStr for At {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "start" => At::Start,
            "peak" => At::Peak,
            "lowest" => At::Lowest,
            "final" => At::Final,
            "change" => At::Change,
            "rise" => At::Rise,
            _ => {
                let part: f64 = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).ok_or(())?;
                if !(0.0..=100.0).contains(&part) {
                    return Err(());
                }
                At::Part(part / 100.0)
            }
        })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            At::Start => f.write_str("at the start"),
            At::Peak => f.write_str("at its peak"),
            At::Lowest => f.write_str("at its lowest"),
            At::Final => f.write_str("at the end"),
            At::Change => f.write_str("final minus start"),
            At::Rise => f.write_str("peak minus start"),
            At::Part(part) => write!(f, "after {} % of the run", (part * 1000.0).round() / 10.0),
        }
    }
}

/// One metric of one run, evaluation by evaluation: how much of the run was done, and the value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve(pub Vec<(f64, f64)>);

impl Curve {
    /// The metric `name` on the validation set `set`; empty if it was not recorded.
    pub fn of(run: &RunSeries, set: &str, name: &str) -> Self {
        let (first, last) = (run.info.first_tokens as f64, run.last_tokens() as f64);
        let part = |tokens: u64| if last > first { (tokens as f64 - first) / (last - first) } else { 0.0 };
        Self(run.eval_metric(set, name).into_iter().map(|(tokens, value)| (part(tokens), value)).collect())
    }

    /// The number at this time. `None` where nothing was recorded, or it is not finite: nothing can be compared with it.
    pub fn value_at(&self, at: At) -> Option<f64> {
        let values = || self.0.iter().map(|(_, value)| *value);
        let (first, last) = (self.0.first()?.1, self.0.last()?.1);
        let found = match at {
            At::Start => first,
            At::Final => last,
            At::Change => last - first,
            At::Peak => values().fold(f64::NAN, f64::max),
            At::Lowest => values().fold(f64::NAN, f64::min),
            At::Rise => values().fold(f64::NAN, f64::max) - first,
            At::Part(part) => self.0.iter().min_by(|a, b| (a.0 - part).abs().total_cmp(&(b.0 - part).abs()))?.1,
        };
        found.is_finite().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let curve = Curve(vec![(0.0, 2.0), (0.3, 5.0), (0.6, 1.0), (1.0, 3.0)]);
        let at = |text: &str| curve.value_at(text.parse().unwrap());
        let found = ["start", "peak", "lowest", "final", "change", "rise", "25%", "100%"].map(at);
        assert_eq!(found, [2.0, 5.0, 1.0, 3.0, 1.0, 3.0, 5.0, 3.0].map(Some));
        for wrong in ["end", "120%", "-1%", "%", ""] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
        assert_eq!(Curve::default().value_at(At::Final), None);
        assert_eq!(Curve(vec![(0.0, 1.0), (1.0, f64::NAN)]).value_at(At::Final), None);
    }
}
