//! Classes are known by name. Images of another folder, whose classes may stand in another order or be fewer, get the
//! numbers that a network was trained with.

use std::cmp::Ordering;

use temper_base::{Problem, Result};

use super::Images;

/// Names listed in a message before it says how many more there are.
const SHOWN: usize = 8;

/// How the classes of images were matched to those of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The names are the same, in the same order.
    Same,
    /// By name; some stood elsewhere, or are not there.
    ByName,
    /// One side has only numbers for its classes, so the first is the first.
    ByCount,
}

impl Images {
    /// The images with the classes of a network, which are called `names`, in its order. `place` is what the images are
    /// called in an error and `owner` whose the names are.
    ///
    /// Classes that have no names and are not as many are left as they are: they do not fit the network.
    ///
    /// # Errors
    /// A class that the network does not have.
    pub fn with_classes(mut self, names: &[String], place: &str, owner: &str) -> Result<(Self, Match)> {
        if self.class_names == names {
            return Ok((self, Match::Same));
        }
        // Without names only the count can match. Folders named by numbers have names.
        if self.files.is_empty() && unnamed(&self.class_names) && self.classes() != names.len() {
            return Ok((self, Match::Same));
        }
        let number = |name: &String| names.iter().position(|known| known == name).map(|at| at as u32);
        let numbers: Vec<Option<u32>> = self.class_names.iter().map(number).collect();
        let unseen: Vec<&String> =
            self.class_names.iter().zip(&numbers).filter(|(_, at)| at.is_none()).map(|(name, _)| name).collect();
        if !unseen.is_empty() {
            if self.classes() == names.len() && (unnamed(&self.class_names) || unnamed(names)) {
                self.class_names = names.to_vec();
                return Ok((self, Match::ByCount));
            }
            let why = format!(
                "{owner} has no class {}; its classes are {}, those of the images are {}",
                list(unseen.iter().map(|name| name.as_str())),
                list(names.iter().map(String::as_str)),
                list(self.class_names.iter().map(String::as_str)),
            );
            return Err(Problem::input("match classes", place, why)
                .hint("classes are matched by the names of their folders: rename the folders, or leave out what was not trained"));
        }
        for label in &mut self.labels {
            *label = numbers[*label as usize].expect("every name is known");
        }
        self.class_names = names.to_vec();
        Ok((if self.turns { self.in_turns() } else { self }, Match::ByName))
    }

    /// In the order of a tree whose classes are numbered as these: the first of every class, the second of every class.
    fn in_turns(self) -> Self {
        let mut seen = vec![0u32; self.classes()];
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(self.len());
        for (index, &label) in (0u32..).zip(&self.labels) {
            order.push((seen[label as usize], label, index));
            seen[label as usize] += 1;
        }
        order.sort_unstable();
        let order: Vec<u32> = order.into_iter().map(|(.., index)| index).collect();
        self.select(&order)
    }
}

/// Whether the classes have no names, only their numbers.
fn unnamed(names: &[String]) -> bool {
    names.iter().enumerate().all(|(number, name)| *name == number.to_string())
}

/// The first of the names.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

/// Sorts the names of class folders: by number where all of them are numbers, otherwise as text.
pub(super) fn sort(names: &mut [String]) {
    let digits = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if names.iter().all(digits) { names.sort_by(|a, b| by_number(a, b)) } else { names.sort() }
}

/// Numbers of any length; of two ways to write one, the order of the text decides.
fn by_number(a: &str, b: &str) -> Ordering {
    let [x, y] = [a, b].map(|digits| digits.trim_start_matches('0'));
    x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| a.cmp(b))
}
