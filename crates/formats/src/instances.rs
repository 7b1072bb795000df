//! Lists of instances: `instances.csv`, one a line, `network,property,seconds`; and lists of answers to them, as the competitions write
//! them: `category,network,property,seconds to prepare,answer,seconds`.

use std::path::{Path, PathBuf};

use temper_base::{Problem, Result};

/// A network, a property and a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The network as the list names it.
    pub network: String,
    /// The property as the list names it.
    pub property: String,
    /// Seconds that a verifier has.
    pub timeout: f64,
}

/// Reads a list. Its first line may name the columns; empty lines say nothing.
///
/// # Errors
/// A file that cannot be read, or a line that is no instance.
pub fn read(path: &Path) -> Result<Vec<Instance>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Problem::io("read instances", path, &cause))?;
    parse(&text, &path.display().to_string())
}

/// The same of a text; `place` says where it is from.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, place: &str) -> Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fail = |why: &str| Err(Problem::input("read instances", format!("{place}, line {}", number + 1), why));
        if line.contains('"') || line.contains('[') {
            return fail("a list of networks: Temper verifies properties of one");
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [network, property, seconds] = fields[..] else { return fail("it is not \"network,property,seconds\"") };
        let timeout = match seconds.parse::<f64>() {
            Ok(timeout) if timeout > 0.0 && timeout.is_finite() => timeout,
            // Names of columns.
            Err(_) if number == 0 && !network.contains(".onnx") => continue,
            _ => return fail("its time is not a number of seconds above 0"),
        };
        instances.push(Instance { network: network.into(), property: property.into(), timeout });
    }
    if instances.is_empty() {
        return Err(Problem::input("read instances", place, "it has no instance"));
    }
    Ok(instances)
}

/// The text of a list.
pub fn write(instances: &[Instance]) -> String {
    instances.iter().map(|i| format!("{},{},{}\n", i.network, i.property, i.timeout)).collect()
}

/// What a verifier says of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing violates it.
    Unsat,
    /// Something does.
    Sat,
    /// Nothing: it was not decided, not in time, or not understood.
    Open,
}

/// Reads the properties of a list of answers, and the answers.
///
/// # Errors
/// A file that cannot be read, or a line that is no answer.
pub fn read_results(path: &Path) -> Result<Vec<(String, Claim)>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Problem::io("read results", path, &cause))?;
    parse_results(&text, &path.display().to_string())
}

/// The same of a text; `place` says where it is from.
///
/// # Errors
/// As [`read_results`].
pub fn parse_results(text: &str, place: &str) -> Result<Vec<(String, Claim)>> {
    let mut results = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let fail = |why: &str| Err(Problem::input("read results", format!("{place}, line {}", number + 1), why));
        let [_, _, property, _, answer, ..] = fields[..] else {
            return fail("it is not \"category,network,property,seconds to prepare,answer,seconds\"");
        };
        let claim = match answer {
            "unsat" | "holds" | "verified" => Claim::Unsat,
            "sat" | "violated" | "falsified" => Claim::Sat,
            "unknown" | "timeout" | "error" | "no_result_in_file" => Claim::Open,
            _ if number == 0 => continue, // The header.
            _ => return fail(&format!("{answer:?} is no answer: sat, unsat, unknown, timeout or error")),
        };
        match results.iter_mut().find(|(known, _)| known == property) {
            None => results.push((property.to_owned(), claim)),
            // A question counts once; an answer counts more than none.
            Some((_, known)) if *known == Claim::Open => *known = claim,
            Some((_, known)) if claim != Claim::Open && *known != claim => {
                return fail("another line has the opposite answer for this property");
            }
            Some(_) => {}
        }
    }
    Ok(results)
}

/// Where a file of a list is: beside the list, and packed if only that is there.
pub fn locate(list: &Path, name: &str) -> PathBuf {
    let path = list.parent().unwrap_or(Path::new("")).join(name.strip_prefix("./").unwrap_or(name));
    let packed = PathBuf::from(format!("{}.gz", path.display()));
    if !path.exists() && packed.exists() { packed } else { path }
}
