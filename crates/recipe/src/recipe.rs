//! The resolved recipe: every value with its origin, typed getters, and its TOML form.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

use temper_base::{Problem, Result};
use temper_schedule::Length;

use crate::library::Library;
use crate::resolve;
use crate::schema::{Schema, Task};
use crate::value::{Value, radius};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of keys.
    Default,
    /// A built-in recipe.
    Recipe(String),
    /// A file.
    File(String),
    /// `--set`.
    Set,
    /// A named model shape.
    Preset(String),
    /// The run that this one branches off from.
    Base(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Recipe(name) => write!(f, "recipe {name}"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Set => f.write_str("--set"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::Base(run) => write!(f, "base run {run}"),
        }
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        match text {
            "default" => Ok(Origin::Default),
            "--set" => Ok(Origin::Set),
            _ => named("recipe ")
                .map(Origin::Recipe)
                .or_else(|| named("file ").map(Origin::File))
                .or_else(|| named("preset ").map(Origin::Preset))
                .or_else(|| named("base run ").map(Origin::Base))
                .ok_or(()),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it is written, for messages: `my.toml:12`, `--set`; empty for defaults.
    pub place: String,
}

/// A resolved recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub(crate) name: String,
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) dropped: Vec<String>,
    pub(crate) schema: &'static Schema,
    pub(crate) written: Written,
}

/// How a recipe was written. Two recipes are the same however they were.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// The file of a resolved recipe: where its keys are missing.
    pub at: Option<String>,
    /// The text of a recipe that was not resolved, without what it extends.
    pub text: Option<String>,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Recipe {
    /// Reads the recipe of this name or path, what it extends, and `key=value` overrides.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one entry.
    pub fn load(name_or_path: &str, overrides: &[String], library: &Library<'_>) -> Result<Self, Vec<Problem>> {
        Self::find(name_or_path, overrides, library, false)
    }

    /// As [`Recipe::load`], for a branch: what a branch has from its base may be left out.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one entry.
    pub fn load_branch(name_or_path: &str, overrides: &[String], library: &Library<'_>) -> Result<Self, Vec<Problem>> {
        Self::find(name_or_path, overrides, library, true)
    }

    fn find(
        name_or_path: &str,
        overrides: &[String],
        library: &Library<'_>,
        branches: bool,
    ) -> Result<Self, Vec<Problem>> {
        let source = library.find(name_or_path, None).map_err(|problem| vec![problem])?;
        let text = library.text(&source).map_err(|problem| vec![problem])?;
        resolve::recipe(source, &text, overrides, library, branches)
    }

    /// As [`Recipe::load`], from a text; `name` is what messages and origins call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one entry.
    pub fn from_text(
        name: &str,
        text: &str,
        overrides: &[String],
        library: &Library<'_>,
    ) -> Result<Self, Vec<Problem>> {
        resolve::recipe(crate::library::Source::BuiltIn(name.to_owned()), text, overrides, library, false)
    }

    /// Reads what [`Recipe::to_toml`] wrote, origins included. `place` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one entry.
    pub fn from_resolved(text: &str, place: &str, schema: &'static Schema) -> Result<Self, Vec<Problem>> {
        resolve::resolved(text, place, schema)
    }

    /// The name or path it was loaded by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text as its author wrote it, without the recipes that it extends; `None` if it was read resolved.
    pub fn text_as_written(&self) -> Option<&str> {
        self.written.text.as_deref()
    }

    /// The keys that it may have.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// What it trains.
    pub fn task(&self) -> &'static Task {
        let named = match self.get("task").map(|entry| &entry.value) {
            Some(Value::Text(name)) => self.schema.task(name),
            _ => None,
        };
        named.unwrap_or(self.schema.tasks[0])
    }

    /// What its author says of it in a line, if anything.
    pub fn about(&self) -> String {
        self.shown("about")
    }

    /// The value and origin of a key, if it is set.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Every set key in the order of the schema, keys of one section together.
    pub fn entries(&self) -> Vec<(&str, &Entry)> {
        let mut entries: Vec<_> = self.entries.iter().map(|(path, entry)| (path.as_str(), entry)).collect();
        entries.sort_by_cached_key(|(path, _)| self.schema.rank(path));
        entries
    }

    /// Whether the key has a value, even if only its default.
    pub fn is_set(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// The value of a key as it was written, without quotes; empty if it is unset.
    pub fn shown(&self, path: &str) -> String {
        match self.get(path).map(|entry| &entry.value) {
            Some(Value::Text(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// Where the value of a key comes from; the default if it is unset.
    pub fn origin(&self, path: &str) -> Origin {
        self.get(path).map_or(Origin::Default, |entry| entry.origin.clone())
    }

    /// The keys given by `--set`.
    pub fn overridden(&self) -> Vec<&str> {
        self.entries().into_iter().filter(|(_, entry)| entry.origin == Origin::Set).map(|(path, _)| path).collect()
    }

    /// Inherited `lr` keys that the chosen `lr.shape` does not have, and which therefore have no effect.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The names the user chose under `prefix`: those of the sources for `data.train`. In alphabetical order.
    pub fn names(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .entries
            .keys()
            .filter_map(|path| path.strip_prefix(prefix)?.strip_prefix('.')?.split_once('.'))
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        names
    }

    /// A problem with the value of `key`, which says where it is written.
    pub fn problem(&self, key: &str, why: impl fmt::Display) -> Problem {
        let place = match self.get(key).map(|entry| entry.place.as_str()) {
            Some("--set") => format!("--set {key}"),
            Some(place) if !place.is_empty() => format!("{place}: {key}"),
            _ => format!("{}: {key}", self.written.at.as_ref().unwrap_or(&self.name)),
        };
        Problem::input("read recipe", place, why)
    }

    fn required<T>(&self, key: &str, pick: impl Fn(&Value) -> Option<T>) -> Result<T> {
        match (self.get(key), self.schema.find(key)) {
            (Some(entry), _) => pick(&entry.value)
                .ok_or_else(|| self.problem(key, format!("{} is of another kind than asked for", entry.value))),
            (None, Some(known)) => Err(self.problem(key, "it is not set").hint(format!("{}: {}", key, known.doc))),
            (None, None) => Err(self.problem(key, "there is no key of that name")),
        }
    }

    /// The number of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn f64(&self, key: &str) -> Result<f64> {
        self.required(key, |value| match value {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        })
    }

    /// The whole number of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn u64(&self, key: &str) -> Result<u64> {
        self.required(key, |value| match value {
            Value::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        })
    }

    /// The whole number of a key, as an index.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn usize(&self, key: &str) -> Result<usize> {
        self.required(key, |value| match value {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        })
    }

    /// The whole number of a key that may also be `"auto"`, which is `None`.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn usize_or_auto(&self, key: &str) -> Result<Option<usize>> {
        self.required(key, |value| match value {
            Value::Int(value) => usize::try_from(*value).ok().map(Some),
            Value::Text(text) if text == "auto" => Some(None),
            _ => None,
        })
    }

    /// The truth value of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn bool(&self, key: &str) -> Result<bool> {
        self.required(key, |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// The text or choice of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn text(&self, key: &str) -> Result<String> {
        self.required(key, |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// The choice of a key: what `from_name` makes of its word.
    ///
    /// # Errors
    /// If the key is not set, or its value is none of the choices.
    pub fn choice<T>(&self, key: &str, from_name: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.required(key, |value| match value {
            Value::Text(text) => from_name(text),
            _ => None,
        })
    }

    /// The texts of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        self.required(key, |value| match value {
            Value::Texts(texts) => Some(texts.clone()),
            _ => None,
        })
    }

    /// The radius of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn radius(&self, key: &str) -> Result<f64> {
        self.required(key, |value| match value {
            Value::Float(value) => Some(*value),
            Value::Text(text) => radius(text),
            _ => None,
        })
    }

    /// The length of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn length(&self, key: &str) -> Result<Length> {
        self.required(key, |value| match value {
            Value::Length(length) => Some(*length),
            _ => None,
        })
    }

    /// The lengths of a key.
    ///
    /// # Errors
    /// If the key is not set, or its value is of another kind.
    pub fn lengths(&self, key: &str) -> Result<Vec<Length>> {
        self.required(key, |value| match value {
            Value::Lengths(lengths) => Some(lengths.clone()),
            _ => None,
        })
    }

    /// `None` if the key is not set, otherwise what `get` makes of it: `recipe.opt("batch.micro", Recipe::usize)`.
    ///
    /// # Errors
    /// If the key is set and `get` fails.
    pub fn opt<T>(&self, key: &str, get: impl Fn(&Self, &str) -> Result<T>) -> Result<Option<T>> {
        if self.is_set(key) { get(self, key).map(Some) } else { Ok(None) }
    }

    /// Gives a key a value unless the user has set it: replaces only a default or nothing. Returns whether it did.
    pub fn fill(&mut self, key: &str, value: Value, origin: Origin) -> bool {
        debug_assert!(self.schema.find(key).is_some(), "{key}");
        let open = self.get(key).is_none_or(|entry| entry.origin == Origin::Default);
        if open {
            self.entries.insert(key.to_owned(), Entry { value, origin, place: String::new() });
        }
        open
    }

    /// Gives a key the value that follows from other keys, whatever it was.
    pub fn decide(&mut self, key: &str, value: Value, origin: Origin) {
        debug_assert!(self.schema.find(key).is_some(), "{key}");
        self.entries.insert(key.to_owned(), Entry { value, origin, place: String::new() });
    }

    /// Fills `key`, or every key under it (`model` fills `model.layers` and so on), from the recipe of the run that this one
    /// branches off from, where the user has not given a value.
    pub fn inherit(&mut self, base: &Recipe, key: &str, run: &str) {
        let under = format!("{key}.");
        for (path, entry) in base.entries.iter().filter(|(path, _)| *path == key || path.starts_with(&under)) {
            // A default of the base is the same default here; what a method or a network decided there it decides anew.
            let anew = self.schema.find(path).is_some_and(|key| key.anew);
            let decided = matches!(entry.origin, Origin::Preset(_)) && anew;
            if entry.origin != Origin::Default && !decided {
                self.fill(path, entry.value.clone(), Origin::Base(run.to_owned()));
            }
        }
    }

    /// The resolved form: every value, its origin as a comment. Reads back with [`Recipe::from_resolved`] to the same recipe,
    /// and as an ordinary recipe to the same values.
    pub fn to_toml(&self) -> String {
        let mut text = format!("# Resolved from {}; after each value, where it comes from.\n", one_line(&self.name));
        let mut open = String::new();
        let lines: Vec<(&str, String, &Origin)> = self
            .entries()
            .into_iter()
            .map(|(path, entry)| {
                let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
                (path, format!("{name} = {}", entry.value), &entry.origin)
            })
            .collect();
        let width = lines.iter().map(|(_, line, _)| line.chars().count()).max().unwrap_or(0).min(48);
        for (path, line, origin) in lines {
            let section = path.rsplit_once('.').map_or("", |(section, _)| section);
            if section != open {
                open = section.to_owned();
                let _ = write!(text, "\n[{section}]\n");
            }
            let _ = writeln!(text, "{line:width$}  # {}", one_line(&origin.to_string()));
        }
        text
    }
}

/// A comment in TOML must not hold control characters.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
