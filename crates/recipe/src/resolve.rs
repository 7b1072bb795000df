//! Layers to values: later layers win, types are checked, defaults are filled in, everything wrong is collected.

use std::collections::{BTreeMap, BTreeSet};

use temper_base::Problem;

use crate::check::Check;
use crate::layer::{self, Item, Layer, at};
use crate::library::{Library, Source};
use crate::recipe::{Entry, Origin, Recipe, Written};
use crate::schema::{Key, Schema};
use crate::value::{Kind, Value};

pub(crate) fn recipe(
    source: Source,
    text: &str,
    overrides: &[String],
    library: &Library<'_>,
    branches: bool,
) -> Result<Recipe, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = source.label();
    let mut layers = layer::chain(source, text, library, &mut problems);
    let own = layers.len().saturating_sub(1);
    let whole = problems.is_empty();
    layers.push(layer::overrides(overrides, library.schema, &mut problems));
    let mut recipe = Resolver { whole, branches, ..Resolver::new(name, own, library.schema, problems) }.run(layers)?;
    recipe.written.text = Some(text.to_owned());
    Ok(recipe)
}

pub(crate) fn resolved(text: &str, place: &str, schema: &'static Schema) -> Result<Recipe, Vec<Problem>> {
    let items = layer::items(text, place, schema).map_err(|problem| vec![problem])?;
    let header = text.lines().next().and_then(|line| line.strip_prefix("# Resolved from "));
    let name = header.and_then(|line| line.rsplit_once(';')).map_or(place, |(name, _)| name);
    let comments: BTreeMap<String, Origin> =
        items.iter().filter_map(|item| Some((item.path.clone(), item.comment.parse().ok()?))).collect();
    let layer = Layer { origin: Origin::File(place.to_owned()), items };
    // While it is read, what is missing is missing in this file.
    let mut recipe = Resolver::new(place.to_owned(), 0, schema, Vec::new()).run(vec![layer])?;
    recipe.name = name.to_owned();
    recipe.written.at = Some(place.to_owned());
    for (path, origin) in comments {
        if let Some(entry) = recipe.entries.get_mut(&path) {
            entry.origin = origin;
        }
    }
    Ok(recipe)
}

struct Resolver {
    recipe: Recipe,
    /// The layer of the recipe itself; those before are inherited.
    own: usize,
    /// The layer each entry comes from.
    layer_of: BTreeMap<String, usize>,
    /// Keys whose value was refused, so that they are not also reported as missing.
    refused: BTreeSet<String>,
    /// Whether every layer could be read; otherwise nobody knows which keys are missing.
    whole: bool,
    /// It is read for a branch, which takes from its base what it leaves out.
    branches: bool,
    problems: Vec<Problem>,
}

impl Resolver {
    fn new(name: String, own: usize, schema: &'static Schema, problems: Vec<Problem>) -> Self {
        let (entries, written) = (BTreeMap::new(), Written::default());
        let recipe = Recipe { name, entries, dropped: Vec::new(), schema, written };
        let (layer_of, refused) = (BTreeMap::new(), BTreeSet::new());
        Self { recipe, own, layer_of, refused, whole: true, branches: false, problems }
    }

    fn run(mut self, layers: Vec<Layer>) -> Result<Recipe, Vec<Problem>> {
        for (index, layer) in layers.iter().enumerate() {
            for item in &layer.items {
                self.take(item, index, &layer.origin);
            }
        }
        self.check_task();
        self.check_names();
        self.choose_keys();
        self.fill_defaults();
        if self.whole {
            self.check_by_task();
        }
        // The values of what it extends are in the recipe now.
        self.forget("extends");
        if self.problems.is_empty() {
            self.problems = (self.recipe.task().check_sound)(&self.recipe);
        }
        if self.problems.is_empty() { Ok(self.recipe) } else { Err(self.problems) }
    }

    fn problem(&mut self, place: &str, key: &str, why: impl std::fmt::Display, hint: Option<String>) {
        let problem = Problem::input("read recipe", at(place, key), why);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// One key of one layer.
    fn take(&mut self, item: &Item, layer: usize, origin: &Origin) {
        let schema = self.recipe.schema;
        let path = schema.current(&item.path);
        if let Some(prefix) = removal(item, schema) {
            let inherited = |key: &String| key.starts_with(&prefix);
            if !self.recipe.entries.keys().any(inherited) {
                let why = "there is nothing of this name to take away";
                return self.problem(&item.place, path, why, None);
            }
            return self.recipe.entries.retain(|key, _| !inherited(key));
        }
        let Some(key) = schema.find(path) else {
            return self.problems.push(layer::unknown(item, schema));
        };
        if path == "extends" && layer > self.own {
            let why = "a recipe says itself what it extends: its layers are read before this one";
            return self.problem(&item.place, path, why, Some("write it into the recipe".to_owned()));
        }
        if let Some(name) = chosen_name(key, path).filter(|name| !is_name(name)) {
            let why = format!("`{name}` cannot be a name: letters, digits, - and _ can");
            return self.problem(&item.place, path, why, None);
        }
        let value = match key.kind.read(&item.value) {
            Ok(value) => value,
            Err(refusal) => {
                self.refused.insert(path.to_owned());
                return self.problem(&item.place, path, refusal.why, refusal.hint);
            }
        };
        if !key.inherited && layer < self.own {
            return;
        }
        if let Some(other) = schema.alternative(path) {
            match self.layer_of.get(other) {
                Some(earlier) if *earlier == layer => {
                    let why = format!("it is given together with {other}");
                    return self.problem(&item.place, path, why, Some("give one of them".to_owned()));
                }
                Some(_) => self.forget(other),
                None => {}
            }
        }
        for other in key.resets {
            if self.layer_of.get(*other).is_some_and(|earlier| *earlier < layer) {
                self.forget(other);
            }
        }
        let entry = Entry { value, origin: origin.clone(), place: item.place.clone() };
        self.recipe.entries.insert(path.to_owned(), entry);
        self.layer_of.insert(path.to_owned(), layer);
    }

    fn forget(&mut self, path: &str) {
        self.recipe.entries.remove(path);
        self.layer_of.remove(path);
    }

    /// Checks that every key belongs to the task of the recipe.
    fn check_task(&mut self) {
        let (schema, task) = (self.recipe.schema, self.recipe.task());
        let strange = |path: &String| {
            let own = schema.task(schema.find(path)?.task?)?;
            (own != task).then(|| (path.clone(), own))
        };
        let strange: Vec<_> = self.recipe.entries.keys().filter_map(strange).collect();
        for (path, own) in strange {
            let why = format!("this is a key of {}, and the recipe has task = \"{}\"", own.words, task.name);
            let problem = self.recipe.problem(&path, why);
            self.problems.push(problem.hint(format!("task = \"{}\", or take the key out", own.name)));
            self.forget(&path);
        }
    }

    /// Checks that every name which the user chose has the keys that it needs.
    fn check_names(&mut self) {
        for key in self.recipe.schema.keys() {
            let Some(why) = key.needed else { continue };
            for path in self.instances(key) {
                if !self.recipe.is_set(&path) && !self.refused.contains(&path) {
                    let problem = self.recipe.problem(&path, why);
                    self.problems.push(problem);
                }
            }
        }
    }

    /// Where a key chooses which others its section has, the others are dropped if inherited by that choice, an error otherwise.
    fn choose_keys(&mut self) {
        for chooser in self.recipe.schema.keys().filter(|key| key.chooses.is_some()) {
            let Some(fields) = self.chosen_fields(chooser) else { continue };
            let chosen = self.layer_of.get(chooser.path).copied().unwrap_or(0);
            let field = |path: &str| path.strip_prefix(chooser.section())?.strip_prefix('.').map(str::to_owned);
            let strange = |path: &&String| field(path).is_some_and(|field| !fields.contains(&field.as_str()));
            let strange: Vec<String> = self.recipe.entries.keys().filter(strange).cloned().collect();
            for path in strange {
                if self.layer_of.get(&path).is_some_and(|layer| *layer < chosen) {
                    self.forget(&path);
                    self.recipe.dropped.push(path);
                    continue;
                }
                let field = field(&path).unwrap_or_default();
                let has = |choice: &&&str| fields_of(chooser, choice).is_some_and(|own| own.contains(&field.as_str()));
                let Kind::Choice(choices) = chooser.kind else { continue };
                let homes: Vec<&str> = choices.iter().filter(has).copied().collect();
                let why = format!("{} = \"{}\" has no such key", chooser.path, self.choice(chooser));
                let problem = self.recipe.problem(&path, why);
                self.problems.push(problem.hint(format!("it belongs to {} = {}", chooser.path, homes.join(", "))));
            }
        }
    }

    /// What is chosen by a key, be it by its default.
    fn choice(&self, chooser: &Key) -> String {
        match self.recipe.get(chooser.path).map(|entry| &entry.value) {
            Some(Value::Text(choice)) => choice.clone(),
            _ => chooser.default.unwrap_or_default().trim_matches('"').to_owned(),
        }
    }

    /// The keys that the section of `chooser` has; `None` if it chooses none, or the choice was refused.
    fn chosen_fields(&self, chooser: &Key) -> Option<Vec<&'static str>> {
        if self.refused.contains(chooser.path) { None } else { fields_of(chooser, &self.choice(chooser)) }
    }

    fn fill_defaults(&mut self) {
        let (schema, task) = (self.recipe.schema, self.recipe.task());
        let choosers = schema.keys().filter_map(|key| Some((key.section(), self.chosen_fields(key)?)));
        let chosen: BTreeMap<&str, Vec<&str>> = choosers.collect();
        for key in schema.declared().filter(|key| key.belongs_to(task)) {
            let Some(value) = schema.default_of(key, task).and_then(|default| default_value(key, default)) else {
                continue;
            };
            let field = key.path.rsplit('.').next().unwrap_or_default();
            let belongs = chosen.get(key.section()).is_none_or(|fields| fields.contains(&field));
            if !belongs || schema.alternative(key.path).is_some_and(|other| self.recipe.is_set(other)) {
                continue;
            }
            for path in self.instances(key) {
                let entry = Entry { value: value.clone(), origin: Origin::Default, place: String::new() };
                self.recipe.entries.entry(path).or_insert(entry);
            }
        }
    }

    /// The paths that a key stands for: itself, or one for each name.
    fn instances(&self, key: &Key) -> Vec<String> {
        match key.path.split_once(".*.") {
            None => vec![key.path.to_owned()],
            Some((prefix, rest)) => {
                self.recipe.names(prefix).into_iter().map(|name| format!("{prefix}.{name}.{rest}")).collect()
            }
        }
    }

    fn check_by_task(&mut self) {
        let (branch, refused) = (self.branches, &self.refused);
        let mut check = Check { recipe: &self.recipe, branch, refused, problems: Vec::new() };
        (self.recipe.task().check)(&mut check);
        self.problems.extend(check.problems);
    }
}

/// The keys that the section of `chooser` has beside `choice`.
fn fields_of(chooser: &Key, choice: &str) -> Option<Vec<&'static str>> {
    chooser.chooses.and_then(|fields| fields(choice))
}

/// `data.train.NAME.` if the item takes that name away.
fn removal(item: &Item, schema: &'static Schema) -> Option<String> {
    let (prefix, _) = item.path.rsplit_once('.')?;
    let chosen = schema.keys().any(|key| key.prefix() == Some(prefix));
    (chosen && item.value.as_bool() == Some(false)).then(|| format!("{}.", item.path))
}

/// The part of `path` that stands for `*`.
fn chosen_name<'a>(key: &Key, path: &'a str) -> Option<&'a str> {
    key.path.split('.').zip(path.split('.')).find(|(own, _)| *own == "*").map(|(_, part)| part)
}

/// Whether `name` can name a source, a set or anything else that may become part of a path: letters, digits, - and _.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Reads a default as TOML. One that cannot be read is a mistake in the table, which a test finds.
fn default_value(key: &Key, default: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {default}")).ok()?;
    key.kind.read(table.get("value")?).ok()
}
