//! `temper verify RUN --import results.csv`: what another verifier says of the images that were left open. Its answers are taken as they are,
//! so they are counted apart and change no verdict.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use temper_base::{Problem, Result};
use temper_formats::instances::{Claim, read_results};
use temper_verify::Verdict;

use crate::commands::export::set::Set;

/// Answers of another verifier to images that were left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// It claims that no image of the box has another class.
    pub certified: u64,
    /// It claims that one has.
    pub attacked: u64,
    /// It has no answer either.
    pub open: u64,
}

impl Imported {
    /// Reads the answers to the questions of this set, of which `lines` has the verdicts.
    ///
    /// # Errors
    /// A file that cannot be read, that answers none of these questions, or that contradicts a verdict.
    pub fn read(path: &Path, set: &Set<'_>, lines: &[String]) -> Result<Self> {
        let verdicts: HashMap<u32, Verdict> = lines.iter().filter_map(|line| verdict(line)).collect();
        let (mut imported, mut known) = (Self::default(), false);
        for (property, claim) in read_results(path)? {
            let name = property.rsplit('/').next().unwrap_or_default();
            let index = name.strip_prefix("image_").and_then(|rest| rest.split('-').next()?.parse().ok());
            let Some((index, verdict)) = index.and_then(|index| Some((index, *verdicts.get(&index)?))) else {
                continue;
            };
            if !set.question(index)?.0.ends_with(&format!("/{name}")) {
                continue;
            }
            known = true;
            match (verdict, claim) {
                (Verdict::Unknown | Verdict::Timeout, Claim::Unsat) => imported.certified += 1,
                (Verdict::Unknown | Verdict::Timeout, Claim::Sat) => imported.attacked += 1,
                (Verdict::Unknown | Verdict::Timeout, Claim::Open) => imported.open += 1,
                (Verdict::Certified, Claim::Sat) | (Verdict::Attacked | Verdict::Misclassified, Claim::Unsat) => {
                    let why = format!("{claim:?} for {property}, which contradicts the verdict {}", verdict.name());
                    return Err(Problem::input("read results", path.display(), why.to_lowercase())
                        .hint("one of the two verifiers is wrong, or computes with other roundings: ask both for a counterexample"));
                }
                (Verdict::Certified | Verdict::Attacked | Verdict::Misclassified | Verdict::Error, _) => {}
            }
        }
        if !known {
            let why = "it has no answer to a question about this network, these images and this radius";
            return Err(Problem::input("read results", path.display(), why)
                .hint("a set that was handed over comes back with the settings that it was written with"));
        }
        Ok(imported)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({ "certified": self.certified, "attacked": self.attacked, "open": self.open })
    }
}

/// The image of a line and its verdict.
fn verdict(line: &str) -> Option<(u32, Verdict)> {
    let fields: Vec<&str> = line.split(',').collect();
    Some((fields.first()?.parse().ok()?, Verdict::from_name(fields.get(3)?)?))
}

/// The numbers of the images that neither a certificate nor an attack decided.
pub fn left_open(lines: &[String]) -> Vec<u32> {
    let open = |(index, verdict)| matches!(verdict, Verdict::Unknown | Verdict::Timeout).then_some(index);
    lines.iter().filter_map(|line| verdict(line)).filter_map(open).collect()
}
