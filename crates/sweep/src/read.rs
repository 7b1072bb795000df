//! TOML with places: every value knows its line, unknown keys are found, and a problem does not stop reading.

use temper_base::Problem;
use temper_recipe::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(crate) type Item<'t> = Spanned<DeValue<'t>>;

/// Collects what is wrong with one file.
pub(crate) struct Reader<'t> {
    /// What messages call the file.
    pub label: &'t str,
    pub text: &'t str,
    pub problems: Vec<Problem>,
}

/// A table with its dotted name in the file.
pub(crate) struct Section<'a, 't> {
    pub name: String,
    pub table: &'a DeTable<'t>,
    /// Where it begins, in bytes.
    pub start: usize,
}

impl Section<'_, '_> {
    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl Reader<'_> {
    /// `file:12`.
    pub fn place(&self, at: usize) -> String {
        let line = 1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.label)
    }

    pub fn wrong(&mut self, at: usize, key: &str, why: impl std::fmt::Display, hint: impl Into<String>) {
        let place = format!("{}: {key}", self.place(at));
        let (problem, hint) = (Problem::input("read sweep", place, why), hint.into());
        self.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    /// Reports the keys of a table that are none of these.
    pub fn allow_only(&mut self, section: &Section, known: &[&str]) {
        for (key, item) in section.table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", known.join(", ")),
                };
                let _ = item;
                self.wrong(key.span().start, &section.path(name), "there is no such key", hint);
            }
        }
    }

    fn other(&mut self, section: &Section, key: &str, item: &Item, wanted: &str) {
        self.wrong(item.span().start, &section.path(key), format!("expected {wanted}"), "");
    }

    pub fn text(&mut self, section: &Section, key: &str) -> Option<String> {
        let item = section.table.get(key)?;
        match item.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.other(section, key, item, "text in quotes");
                None
            }
        }
    }

    pub fn required(&mut self, section: &Section, key: &str, what: &str) -> String {
        if !section.table.contains_key(key) {
            self.wrong(section.start, &section.path(key), "it is not set", what);
        }
        self.text(section, key).unwrap_or_default()
    }

    /// One text or a list of them.
    pub fn texts(&mut self, section: &Section, key: &str) -> Vec<String> {
        let Some(item) = section.table.get(key) else { return Vec::new() };
        if let Some(text) = item.get_ref().as_str() {
            return vec![text.to_owned()];
        }
        let list = item.get_ref().as_array();
        let texts: Option<Vec<String>> =
            list.and_then(|list| list.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        texts.unwrap_or_else(|| {
            self.other(section, key, item, "a name, or a list of names");
            Vec::new()
        })
    }

    pub fn number(&mut self, section: &Section, key: &str) -> Option<f64> {
        let item = section.table.get(key)?;
        let number = number(item);
        if number.is_none() {
            self.other(section, key, item, "a finite number");
        }
        number
    }

    pub fn table<'a, 't>(&mut self, section: &Section<'a, 't>, key: &str) -> Option<Section<'a, 't>> {
        let item = section.table.get(key)?;
        match item.get_ref().as_table() {
            Some(table) => Some(Section { name: section.path(key), table, start: item.span().start }),
            None => {
                self.other(section, key, item, "a table");
                None
            }
        }
    }

    /// The tables below a table, each under its name.
    pub fn named_tables<'a, 't>(&mut self, section: &Section<'a, 't>, key: &str) -> Vec<(String, Section<'a, 't>)> {
        let Some(all) = self.table(section, key) else { return Vec::new() };
        let mut keys: Vec<_> = all.table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        keys.into_iter()
            .filter_map(|(key, _)| Some((key.get_ref().to_string(), self.table(&all, key.get_ref())?)))
            .collect()
    }

    /// The tables of an array of tables (`[[variant]]`).
    pub fn tables<'a, 't>(&mut self, section: &Section<'a, 't>, key: &str) -> Vec<Section<'a, 't>> {
        let Some(item) = section.table.get(key) else { return Vec::new() };
        let list = item.get_ref().as_array();
        let tables: Option<Vec<Section>> = list.and_then(|list| {
            let one = |item: &'a Item<'t>| {
                let table = item.get_ref().as_table()?;
                Some(Section { name: key.to_owned(), table, start: item.span().start })
            };
            list.iter().map(one).collect()
        });
        tables.unwrap_or_else(|| {
            self.other(section, key, item, &format!("tables, each under [[{key}]]"));
            Vec::new()
        })
    }

    /// The values below a table with their dotted paths, as TOML text, in the order in which they are written.
    pub fn leaves(&mut self, section: &Section) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.walk(section.table, "", &mut found);
        found.sort_by_key(|(start, _, _)| *start);
        found.into_iter().map(|(_, path, value)| (path, value)).collect()
    }

    fn walk(&self, table: &DeTable, under: &str, found: &mut Vec<(usize, String, String)>) {
        for (key, item) in table {
            let path = if under.is_empty() { key.get_ref().to_string() } else { format!("{under}.{}", key.get_ref()) };
            match item.get_ref().as_table() {
                Some(table) => self.walk(table, &path, found),
                None => {
                    let value = self.text.get(item.span()).unwrap_or_default();
                    found.push((item.span().start, path, value.to_owned()));
                }
            }
        }
    }
}

pub(crate) fn number(item: &Item) -> Option<f64> {
    match item.get_ref() {
        DeValue::Float(float) => float.as_str().replace('_', "").parse().ok().filter(|number: &f64| number.is_finite()),
        DeValue::Integer(integer) => {
            let digits = integer.as_str().replace('_', "");
            i64::from_str_radix(&digits, integer.radix()).ok().map(|number| number as f64)
        }
        _ => None,
    }
}
