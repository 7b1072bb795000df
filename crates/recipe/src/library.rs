//! Where recipes come from: the library inside the binary, and files.

use std::path::{Path, PathBuf};

use temper_base::{Problem, Result};

use crate::schema::Schema;

/// The recipes built into a program, as (name, TOML), and the keys that its recipes have; names look like `rewarm/small`.
#[derive(Debug, Clone, Copy)]
pub struct Library<'a> {
    /// The keys.
    pub schema: &'static Schema,
    /// Name and text of each.
    pub recipes: &'a [(&'a str, &'a str)],
}

/// Where one recipe is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    BuiltIn(String),
    File(PathBuf),
}

impl Source {
    /// Its name in messages.
    pub fn label(&self) -> String {
        match self {
            Source::BuiltIn(name) => name.clone(),
            Source::File(path) => path.display().to_string(),
        }
    }
}

impl<'a> Library<'a> {
    /// The text of a built-in recipe.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.recipes.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The names, in the order of the library.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.recipes.iter().map(|(name, _)| *name)
    }

    /// What `name` stands for: a path if it ends in `.toml` or is a file, a built-in recipe otherwise.
    /// `beside` is the directory relative paths start from.
    pub(crate) fn find(&self, name: &str, beside: Option<&Path>) -> Result<Source> {
        let path = beside.map_or_else(|| PathBuf::from(name), |beside| beside.join(name));
        if name.ends_with(".toml") || path.is_file() {
            return Ok(Source::File(path));
        }
        if self.get(name).is_some() {
            return Ok(Source::BuiltIn(name.to_owned()));
        }
        let hint = match nearest(name, self.names()) {
            Some(near) => format!("did you mean `{near}`? a path ends in .toml"),
            None => "a path ends in .toml".to_owned(),
        };
        Err(Problem::input("find recipe", name, "there is no recipe of that name and no such file").hint(hint))
    }

    pub(crate) fn text(&self, source: &Source) -> Result<String> {
        match source {
            Source::BuiltIn(name) => Ok(self.get(name).unwrap_or_default().to_owned()),
            Source::File(path) => {
                let bytes = std::fs::read(path).map_err(|error| Problem::io("read recipe", path, &error))?;
                String::from_utf8(bytes).map_err(|error| {
                    let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                        .iter()
                        .filter(|b| **b == b'\n')
                        .count();
                    Problem::input("read recipe", format!("{}:{line}", path.display()), "it is not UTF-8 text")
                })
            }
        }
    }
}

/// The candidate that `word` is most likely a misspelling of, if any is close.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    scored
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (word.chars().count() / 3).max(2))
        .map(|(_, candidate)| candidate)
}
