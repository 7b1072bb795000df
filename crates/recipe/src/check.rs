//! What a task looks at when the layers of a recipe have become one.

use std::collections::BTreeSet;
use std::fmt;

use temper_base::Problem;

use crate::recipe::Recipe;

/// A recipe whose layers are one, and what is found wrong with it.
pub struct Check<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Whether it is read for a branch, which has from its base what it leaves out.
    pub branch: bool,
    /// Keys whose value was refused, so that they are not also reported as missing.
    pub(crate) refused: &'a BTreeSet<String>,
    pub(crate) problems: Vec<Problem>,
}

impl Check<'_> {
    /// Whether nobody has given this key.
    pub fn missing(&self, key: &str) -> bool {
        !self.recipe.is_set(key) && !self.refused.contains(key)
    }

    /// Whether anybody has given a key that begins so, be it with a value that was refused.
    pub fn any_under(&self, prefix: &str) -> bool {
        let under = |path: &String| path.starts_with(prefix);
        self.recipe.entries.keys().any(under) || self.refused.iter().any(under)
    }

    /// Whether this key was given a value that was refused.
    pub fn refused(&self, key: &str) -> bool {
        self.refused.contains(key)
    }

    /// Notes what is wrong with a key, and what to do about it.
    pub fn problem(&mut self, key: &str, why: impl fmt::Display, hint: impl Into<String>) {
        self.problems.push(self.recipe.problem(key, why).hint(hint));
    }
}
