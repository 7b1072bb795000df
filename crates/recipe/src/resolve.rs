//! Layers to values: later layers win, types are checked, defaults are filled in, everything wrong is collected.

use std::collections::{BTreeMap, BTreeSet};

use temper_base::Problem;
use temper_schedule::{Length, LrShape, Units, shape_fields};

use crate::keys::{KEYS, Key, Task, alternative, current, find_key};
use crate::layer::{self, Item, Layer, at};
use crate::library::{Library, Source};
use crate::recipe::{Entry, Origin, Recipe, Written};
use crate::value::Value;

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
    layers.push(layer::overrides(overrides, &mut problems));
    let mut recipe = Resolver { whole, branches, ..Resolver::new(name, own, problems) }.run(layers)?;
    recipe.written.text = Some(text.to_owned());
    Ok(recipe)
}

pub(crate) fn resolved(text: &str, place: &str) -> Result<Recipe, Vec<Problem>> {
    let items = layer::items(text, place).map_err(|problem| vec![problem])?;
    let header = text.lines().next().and_then(|line| line.strip_prefix("# Resolved from "));
    let name = header.and_then(|line| line.rsplit_once(';')).map_or(place, |(name, _)| name);
    let comments: BTreeMap<String, Origin> =
        items.iter().filter_map(|item| Some((item.path.clone(), item.comment.parse().ok()?))).collect();
    let layer = Layer { origin: Origin::File(place.to_owned()), items };
    // While it is read, what is missing is missing in this file.
    let mut recipe = Resolver::new(place.to_owned(), 0, Vec::new()).run(vec![layer])?;
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
    fn new(name: String, own: usize, problems: Vec<Problem>) -> Self {
        let recipe = Recipe { name, entries: BTreeMap::new(), dropped: Vec::new(), written: Written::default() };
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
        self.choose_lr_keys();
        self.fill_defaults();
        if self.whole {
            self.check_required();
        }
        // The values of what it extends are in the recipe now.
        self.forget("extends");
        if self.problems.is_empty() {
            self.check_lr();
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
        let path = current(&item.path);
        if let Some(prefix) = removal(item) {
            let inherited = |key: &String| key.starts_with(&prefix);
            if !self.recipe.entries.keys().any(inherited) {
                let why = "there is nothing of this name to take away";
                return self.problem(&item.place, path, why, None);
            }
            return self.recipe.entries.retain(|key, _| !inherited(key));
        }
        let Some(key) = find_key(path) else {
            return self.problems.push(layer::unknown(item));
        };
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
        if let Some(other) = alternative(path) {
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
        let task = self.recipe.task();
        let paths: Vec<(String, Task)> = self
            .recipe
            .entries
            .keys()
            .filter_map(|path| Some((path.clone(), find_key(path)?.task.filter(|own| *own != task)?)))
            .collect();
        for (path, own) in paths {
            let why = format!("this is a key of {}, and the recipe has task = \"{}\"", own.words(), task.name());
            let problem = self.recipe.problem(&path, why);
            self.problems.push(problem.hint(format!("task = \"{}\", or take the key out", own.name())));
            self.forget(&path);
        }
    }

    /// Checks that every name which the user chose has the keys that it needs.
    fn check_names(&mut self) {
        for key in KEYS {
            let Some(why) = key.needed else { continue };
            for path in self.instances(key) {
                if !self.recipe.is_set(&path) && !self.refused.contains(&path) {
                    let problem = self.recipe.problem(&path, why);
                    self.problems.push(problem);
                }
            }
        }
    }

    /// Keys of `lr` that the shape does not have are dropped if inherited by the choice of the shape, an error otherwise.
    fn choose_lr_keys(&mut self) {
        let Some(fields) = self.lr_fields() else { return };
        let chosen = self.layer_of.get("lr.shape").copied().unwrap_or(0);
        let strange: Vec<String> = self
            .recipe
            .entries
            .keys()
            .filter(|path| path.strip_prefix("lr.").is_some_and(|field| !fields.contains(&field)))
            .cloned()
            .collect();
        for path in strange {
            if self.layer_of.get(&path).is_some_and(|layer| *layer < chosen) {
                self.forget(&path);
                self.recipe.dropped.push(path);
                continue;
            }
            let field = path.trim_start_matches("lr.");
            let has = |shape: &&&str| shape_fields(shape).is_some_and(|[_, own]| own.contains(&field));
            let homes: Vec<&str> = LrShape::NAMES.iter().filter(has).copied().collect();
            let shape = self.lr_shape();
            let problem = self
                .recipe
                .problem(&path, format!("a schedule of lr.shape = \"{shape}\" has no such key"))
                .hint(format!("it belongs to lr.shape = {}", homes.join(", ")));
            self.problems.push(problem);
        }
    }

    fn lr_shape(&self) -> String {
        match self.recipe.get("lr.shape").map(|entry| &entry.value) {
            Some(Value::Text(shape)) => shape.clone(),
            _ => "cosine".to_owned(),
        }
    }

    /// The fields of the chosen shape; `None` if the choice was refused.
    fn lr_fields(&self) -> Option<Vec<&'static str>> {
        let shape = self.lr_shape();
        if self.refused.contains("lr.shape") {
            return None;
        }
        shape_fields(&shape).map(|lists| lists.concat())
    }

    fn fill_defaults(&mut self) {
        let (fields, task) = (self.lr_fields(), self.recipe.task());
        for key in KEYS {
            let Some(default) = key.default_for(task).filter(|_| key.belongs_to(task)) else { continue };
            let Some(value) = default_value(key, default) else { continue };
            let belongs = match key.path.strip_prefix("lr.") {
                Some(field) => fields.as_ref().is_none_or(|fields| fields.contains(&field)),
                None => true,
            };
            if !belongs || alternative(key.path).is_some_and(|other| self.recipe.is_set(other)) {
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

    fn check_required(&mut self) {
        let keeps = |recipe: &Recipe, clock: &str| recipe.text(clock).is_ok_and(|choice| choice == "keep");
        // What is kept of a base run comes from there.
        if !keeps(&self.recipe, "clocks.schedule") {
            for key in ["lr.peak", "run.horizon"] {
                if !self.recipe.is_set(key) && !self.refused.contains(key) {
                    let doc = find_key(key).map_or("", |key| key.doc);
                    let problem = self.recipe.problem(key, "it is not set").hint(format!("{key} is {doc}"));
                    self.problems.push(problem);
                }
            }
        }
        match self.recipe.task() {
            Task::Lm => self.check_text(keeps(&self.recipe, "clocks.data")),
            Task::Certify => {
                // A branch takes images and target from its base.
                let branch = self.branches || self.recipe.is_set("base");
                let [data, schedule] = ["clocks.data", "clocks.schedule"].map(|clock| keeps(&self.recipe, clock));
                self.check_certify(data || branch, schedule || branch);
            }
        }
        if self.recipe.length("log.every").is_ok_and(|every| every.is_zero()) {
            let problem = self.recipe.problem("log.every", "must be at least one step");
            self.problems.push(problem);
        }
        let expects = ["expect.metric", "expect.mean", "expect.tolerance"];
        let (set, unset): (Vec<&str>, Vec<&str>) = expects.iter().partition(|key| self.recipe.is_set(key));
        if !set.is_empty() && !unset.is_empty() && !expects.iter().any(|key| self.refused.contains(*key)) {
            let problem = self.recipe.problem(set[0], format!("it needs {} too", unset.join(" and ")));
            self.problems.push(problem);
        }
    }

    fn check_text(&mut self, kept: bool) {
        let named = |path: &String| path.starts_with("data.train.");
        let any = self.recipe.entries.keys().any(named) || self.refused.iter().any(named);
        if !any && !kept {
            let problem = self.recipe.problem("data.train", "there is nothing to train on");
            self.problems.push(problem.hint("for example data.train.docs.path = \"corpus/docs\""));
        }
    }

    fn check_certify(&mut self, data_kept: bool, target_kept: bool) {
        let unset = |key: &str| !self.recipe.is_set(key) && !self.refused.contains(key);
        let mut missing = Vec::new();
        if unset("data.images") && !data_kept {
            missing.push(("data.images", "there is nothing to train on", "for example data.images = \"data/mnist\""));
        }
        if unset("eps.target") && !target_kept {
            missing.push(("eps.target", "it is not set", "for example eps.target = \"8/255\""));
        }
        for (key, why, hint) in missing {
            let problem = self.recipe.problem(key, why);
            self.problems.push(problem.hint(hint));
        }
        if self.recipe.is_set("model.graph") && self.recipe.is_set("model.width") {
            let problem = self.recipe.problem("model.width", "a list of layers has its own widths");
            self.problems.push(problem.hint("take it out, or give model.name instead of model.graph"));
        }
        if let (Ok(floor), Ok(target)) = (self.recipe.f64("eps.floor"), self.recipe.radius("eps.target"))
            && floor > target
        {
            let problem = self.recipe.problem("eps.floor", format!("{floor} is above eps.target, {target}"));
            self.problems.push(problem.hint("1e-6 is the paper's: just enough for bounds in single precision"));
        }
        let attacked = self.recipe.text("method.name").is_ok_and(|name| name == "pgd");
        let given = |key: &str| self.recipe.bool(key) == Ok(true);
        if attacked && (given("method.tightness") || given("method.relu_balance")) {
            let problem =
                self.recipe.problem("method.name", "the warmup regularisers need bounds, and \"pgd\" has none");
            self.problems
                .push(problem.hint("take method.tightness and method.relu_balance out, or choose another method"));
        }
        let tokens = |value: &Value| match value {
            Value::Length(length) => matches!(length, Length::Tokens(_)),
            Value::Lengths(lengths) => lengths.iter().any(|length| matches!(length, Length::Tokens(_))),
            _ => false,
        };
        let in_tokens: Vec<String> = self
            .recipe
            .entries
            .iter()
            .filter(|(_, entry)| tokens(&entry.value))
            .map(|(path, _)| path.clone())
            .collect();
        for path in in_tokens {
            let problem = self.recipe.problem(&path, "images have no tokens");
            self.problems.push(problem.hint("write for example \"2000 steps\", \"3 epochs\" or \"10%\""));
        }
        let statistics = self.recipe.text("batch.statistics").is_ok_and(|choice| choice == "batch");
        if statistics && self.recipe.usize("batch.accumulate").is_ok_and(|pieces| pieces == 1) {
            let problem = self.recipe.problem("batch.statistics", "a batch in one piece has its own statistics anyway");
            self.problems.push(problem.hint("set batch.accumulate above 1, or batch.statistics = \"piece\""));
        }
    }

    /// Checks the schedule as far as possible before the data is known: all of it, unless a length is in epochs.
    fn check_lr(&mut self) {
        let recipe = &self.recipe;
        let Ok(horizon) = recipe.length("run.horizon") else { return };
        let tokens = match recipe.task() {
            Task::Lm => {
                recipe.u64("data.seq_len").unwrap_or(1).saturating_mul(recipe.u64("batch.sequences").unwrap_or(1))
            }
            Task::Certify => recipe.u64("batch.images").unwrap_or(1),
        };
        let units = Units { tokens_per_step: tokens.max(1), tokens_per_epoch: None };
        let in_epochs = |value: &Value| match value {
            Value::Length(length) => matches!(length, Length::Epochs(_)),
            Value::Lengths(lengths) => lengths.iter().any(|length| matches!(length, Length::Epochs(_))),
            _ => false,
        };
        if recipe.entries.iter().any(|(path, entry)| path.starts_with("lr.") && in_epochs(&entry.value)) {
            return;
        }
        let Ok(steps) = horizon.steps(&units, None) else { return };
        if recipe.is_set("lr.peak") {
            self.problems.extend(recipe.schedule(&units, steps).err().unwrap_or_default());
        }
    }
}

/// `data.train.NAME.` if the item takes that name away.
fn removal(item: &Item) -> Option<String> {
    let (prefix, _) = item.path.rsplit_once('.')?;
    let chosen = KEYS.iter().any(|key| key.prefix() == Some(prefix));
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
