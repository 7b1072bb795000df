//! Does a claim hold? Paired over seeds, with the confidence of the mean difference.
//!
//! Two variants are compared by the differences of their numbers, seed by seed: what a seed does to both cancels. The
//! *spread* is half the width of the 95 % confidence interval of the mean difference (Student's t, n - 1 degrees of freedom).
//!
//! | relation | holds | does not hold | undecided |
//! |---|---|---|---|
//! | `<`, `>` | the difference has the claimed sign and is larger than the spread | it has the other sign and is larger | it is not larger than the spread |
//! | `about equal` | difference and spread together are at most `within` | the difference less the spread is above `within` | otherwise |
//! | `increases with`, `decreases with` | every neighbouring pair holds | one does not hold | otherwise |
//!
//! With one seed there is no spread: every claim is undecided then, and the numbers say in which direction it points. A list
//! of variants on one side means every pair.

use std::fmt;

use crate::file::{Claim, Relation, Setting, Sweep};
use crate::stats::Spread;

/// What is found of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The numbers say so.
    Holds,
    /// The numbers say otherwise.
    DoesNotHold,
    /// The spread is larger than the difference, or there are too few numbers.
    Undecided,
}

impl Verdict {
    /// As it stands in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::DoesNotHold => "does-not-hold",
            Verdict::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Verdict::Holds => "holds",
            Verdict::DoesNotHold => "does not hold",
            Verdict::Undecided => "undecided",
        })
    }
}

/// One pair of variants.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The one on the left.
    pub left: String,
    /// The one on the right.
    pub right: String,
    /// Means over the seeds that both have.
    pub means: [f64; 2],
    /// Left minus right, over the seeds that both have.
    pub difference: Spread,
    /// Half the width of its 95 % confidence interval; `None` with fewer than two seeds.
    pub spread: Option<f64>,
    /// What follows for this pair.
    pub verdict: Verdict,
    /// Why it is undecided; empty otherwise.
    pub why: String,
}

/// What is found of a claim in one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// All pairs together: one that does not hold decides, then one that is undecided.
    pub verdict: Verdict,
    /// Pair by pair.
    pub comparisons: Vec<Comparison>,
}

/// Judges every claim of a sweep in every one of these settings that it is about. `number` is the claim's metric at the claim's
/// time, by setting, variant and seed, where there is one.
pub fn judge_all<'a>(
    sweep: &'a Sweep,
    settings: &'a [Setting],
    seeds: &[u64],
    number: impl Fn(&Claim, &str, &str, u64) -> Option<f64>,
) -> Vec<(&'a Claim, &'a Setting, Judged)> {
    let mut all = Vec::new();
    for claim in &sweep.claims {
        let about = |setting: &&Setting| claim.settings.is_empty() || claim.settings.contains(&setting.name);
        for setting in settings.iter().filter(about) {
            let judged = judge_claim(claim, seeds, |variant, seed| number(claim, &setting.name, variant, seed));
            all.push((claim, setting, judged));
        }
    }
    all
}

/// Judges a claim. `number` is the claim's metric at the claim's time, by variant and seed, where there is one.
pub fn judge_claim(claim: &Claim, seeds: &[u64], number: impl Fn(&str, u64) -> Option<f64>) -> Judged {
    let pairs: Vec<(&String, &String, Relation)> = match claim.relation {
        Relation::Increases => claim.left.windows(2).map(|pair| (&pair[0], &pair[1], Relation::Less)).collect(),
        Relation::Decreases => claim.left.windows(2).map(|pair| (&pair[0], &pair[1], Relation::Greater)).collect(),
        relation => {
            let right = |left| claim.right.iter().map(move |right| (left, right, relation));
            claim.left.iter().flat_map(right).collect()
        }
    };
    let comparisons: Vec<Comparison> = pairs
        .into_iter()
        .map(|(left, right, relation)| {
            let both = |seed: &u64| Some([number(left, *seed)?, number(right, *seed)?]);
            let numbers: Vec<[f64; 2]> = seeds.iter().filter_map(both).collect();
            compare(left, right, relation, claim.within, &numbers)
        })
        .collect();
    let any = |verdict| comparisons.iter().any(|comparison| comparison.verdict == verdict);
    let verdict = match () {
        _ if any(Verdict::DoesNotHold) => Verdict::DoesNotHold,
        _ if any(Verdict::Undecided) || comparisons.is_empty() => Verdict::Undecided,
        _ => Verdict::Holds,
    };
    Judged { verdict, comparisons }
}

fn compare(left: &str, right: &str, relation: Relation, within: f64, numbers: &[[f64; 2]]) -> Comparison {
    let mean = |side: usize| Spread::of(&numbers.iter().map(|pair| pair[side]).collect::<Vec<_>>()).mean;
    let difference = Spread::of(&numbers.iter().map(|[left, right]| left - right).collect::<Vec<_>>());
    let spread = difference.half_width();
    let (verdict, why) = match (spread, numbers.len()) {
        (None, 0) => (Verdict::Undecided, "no seed has both numbers"),
        (None, _) => (Verdict::Undecided, "one seed: the spread is not known"),
        (Some(spread), _) => decide(relation, difference.mean, spread, within),
    };
    Comparison {
        left: left.to_owned(),
        right: right.to_owned(),
        means: [mean(0), mean(1)],
        difference,
        spread,
        verdict,
        why: why.to_owned(),
    }
}

fn decide(relation: Relation, difference: f64, spread: f64, within: f64) -> (Verdict, &'static str) {
    if relation == Relation::Equal {
        return match difference.abs() {
            size if size + spread <= within => (Verdict::Holds, ""),
            size if size - spread > within => (Verdict::DoesNotHold, ""),
            _ => (Verdict::Undecided, "the spread is too large to tell"),
        };
    }
    let claimed = if relation == Relation::Greater { difference } else { -difference };
    match () {
        _ if claimed.abs() <= spread => (Verdict::Undecided, "the spread is larger than the difference"),
        _ if claimed > 0.0 => (Verdict::Holds, ""),
        _ => (Verdict::DoesNotHold, ""),
    }
}
