//! One layer of a recipe: the keys of a TOML text with their lines, or those of `--set`.

use std::path::Path;

use temper_base::{Problem, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::library::{Library, Source, nearest};
use crate::recipe::Origin;
use crate::schema::Schema;
use crate::value::Kind;

/// A key as written.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub path: String,
    pub value: toml::Value,
    /// `my.toml:12`, or `--set`.
    pub place: String,
    /// The comment behind the value.
    pub comment: String,
}

/// The keys of one source.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub origin: Origin,
    pub items: Vec<Item>,
}

/// `place: key`, or `--set key`.
pub(crate) fn at(place: &str, key: &str) -> String {
    if place == "--set" { format!("--set {key}") } else { format!("{place}: {key}") }
}

/// The layers of a recipe: what it extends, the farthest first, then itself. A problem does not stop reading.
pub(crate) fn chain(source: Source, text: &str, library: &Library<'_>, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut seen = vec![source.clone()];
    let mut next = Some((source, text.to_owned()));
    while let Some((source, text)) = next.take() {
        let label = source.label();
        let items = match items(&text, &label, library.schema) {
            Ok(items) => items,
            Err(problem) => {
                problems.push(problem);
                break;
            }
        };
        let extends = items.iter().find(|item| item.path == "extends").cloned();
        let origin = match &source {
            Source::BuiltIn(name) => Origin::Recipe(name.clone()),
            Source::File(path) => Origin::File(path.display().to_string()),
        };
        layers.push(Layer { origin, items });
        // Anything but text is reported with the other wrong types.
        let Some((item, name)) = extends.as_ref().and_then(|item| Some((item, item.value.as_str()?))) else { break };
        let beside = match &source {
            Source::File(path) => path.parent().map(Path::to_path_buf),
            Source::BuiltIn(_) => None,
        };
        let parent = library.find(name, beside.as_deref()).and_then(|parent| Ok((library.text(&parent)?, parent)));
        match parent {
            Ok((_, parent)) if seen.iter().any(|earlier| same(earlier, &parent)) => {
                let path: Vec<String> = seen.iter().chain([&parent]).map(Source::label).collect();
                let why = format!("it extends itself: {}", path.join(" -> "));
                problems.push(Problem::input("read recipe", at(&item.place, "extends"), why));
            }
            Ok((text, parent)) => {
                seen.push(parent.clone());
                next = Some((parent, text));
            }
            Err(mut problem) => {
                problem.place = format!("{} (extended at {})", problem.place, item.place);
                problems.push(problem);
            }
        }
    }
    layers.reverse();
    layers
}

fn same(a: &Source, b: &Source) -> bool {
    match (a, b) {
        (Source::File(a), Source::File(b)) => match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        },
        _ => a == b,
    }
}

/// The keys of a TOML text.
pub(crate) fn items(text: &str, label: &str, schema: &'static Schema) -> Result<Vec<Item>> {
    let line_of = |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let syntax = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        let why = error.message().trim().replace('\n', " ");
        Problem::input("read recipe", format!("{label}:{line}"), why)
            .hint("it is not valid TOML; text goes in quotes, for example warmup = \"1%\"")
    };
    let values: toml::Table = toml::from_str(text).map_err(syntax)?;
    let spans = DeTable::parse(text).map_err(syntax)?;
    let mut items = Vec::new();
    walk(schema, spans.get_ref(), &values, &mut Vec::new(), &mut |path, spanned, value| {
        let end = spanned.span().end.min(text.len());
        let rest = text[end..].lines().next().unwrap_or("");
        let comment = rest.trim().strip_prefix('#').unwrap_or("").trim().to_owned();
        let place = format!("{label}:{}", line_of(spanned.span().start));
        items.push((spanned.span().start, Item { path, value: value.clone(), place, comment }));
    });
    items.sort_by_key(|(start, _)| *start);
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// Visits what is not a table, and tables where no table belongs.
fn walk(
    schema: &'static Schema,
    spans: &DeTable<'_>,
    values: &toml::Table,
    path: &mut Vec<String>,
    visit: &mut impl FnMut(String, &Spanned<DeValue<'_>>, &toml::Value),
) {
    for (key, spanned) in spans {
        let Some(value) = values.get(key.get_ref().as_ref()) else { continue };
        // A quoted key with a dot must not look like two.
        path.push(key.get_ref().replace('.', "\u{b7}"));
        let joined = path.join(".");
        let inside = schema.keys().any(|key| begins(key.path, path));
        match (spanned.get_ref().as_table(), value.as_table()) {
            (Some(spans), Some(values)) if !values.is_empty() && schema.find(&joined).is_none() => {
                walk(schema, spans, values, path, visit);
            }
            (Some(_), Some(values)) if values.is_empty() && inside => {}
            _ => visit(joined, spanned, value),
        }
        path.pop();
    }
}

/// Whether the key pattern continues below `path`.
fn begins(pattern: &str, path: &[String]) -> bool {
    let parts: Vec<&str> = pattern.split('.').collect();
    parts.len() > path.len() && parts.iter().zip(path).all(|(own, part)| *own == "*" || own == part)
}

/// The layer of `key=value` overrides.
pub(crate) fn overrides(texts: &[String], schema: &'static Schema, problems: &mut Vec<Problem>) -> Layer {
    let mut items = Vec::new();
    for text in texts {
        let Some((path, raw)) = text.split_once('=') else {
            let problem = Problem::input("read overrides", format!("--set {text}"), "expected key=value");
            problems.push(problem.hint("for example lr.peak=6e-4"));
            continue;
        };
        let (path, raw) = (path.trim().to_owned(), raw.trim());
        let bare = || toml::Value::String(raw.to_owned());
        let parsed = toml::from_str::<toml::Table>(&format!("value = {raw}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        // What is not TOML is text without quotes, and where text belongs a number is text.
        let value = match (parsed, schema.find(&path).map(|key| key.kind)) {
            (Some(value @ (toml::Value::String(_) | toml::Value::Array(_))), _) => value,
            (Some(_), Some(Kind::Text | Kind::Texts | Kind::Choice(_))) | (None, _) => bare(),
            (Some(value), _) => value,
        };
        items.push(Item { path, value, place: "--set".to_owned(), comment: String::new() });
    }
    Layer { origin: Origin::Set, items }
}

/// The problem that `path` is no key, with the nearest ones.
pub(crate) fn unknown(item: &Item, schema: &'static Schema) -> Problem {
    let parts: Vec<&str> = item.path.split('.').collect();
    let whole: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    let below: Vec<&str> = schema.keys().filter(|key| begins(key.path, &whole)).map(|key| key.path).collect();
    let place = at(&item.place, &item.path);
    if !below.is_empty() {
        let hint = format!("its keys are {}", below.join(", "));
        return Problem::input("read recipe", place, "this is a table, not a value").hint(hint);
    }
    // Names the user chose are taken over, so that `data.trian.docs.path` finds `data.train.docs.path`.
    let named = |pattern: &str| -> String {
        let own: Vec<&str> = pattern.split('.').collect();
        let part = |(index, own): (usize, &&str)| match (*own, parts.get(index)) {
            ("*", Some(part)) if parts.len() == pattern.split('.').count() => (*part).to_owned(),
            ("*", _) => "NAME".to_owned(),
            (own, _) => own.to_owned(),
        };
        own.iter().enumerate().map(part).collect::<Vec<_>>().join(".")
    };
    let candidates: Vec<String> = schema.keys().map(|key| named(key.path)).collect();
    let last = parts.last().copied().unwrap_or_default();
    let ends_alike = |candidate: &&String| candidate.rsplit('.').next() == Some(last);
    let suggestions: Vec<&str> = match nearest(&item.path, candidates.iter().map(String::as_str)) {
        Some(near) => vec![near],
        None => candidates.iter().filter(ends_alike).map(String::as_str).take(3).collect(),
    };
    let hint = if suggestions.is_empty() {
        "the table of keys lists all".to_owned()
    } else {
        format!("did you mean `{}`? the table of keys lists all", suggestions.join("` or `"))
    };
    Problem::input("read recipe", place, "there is no such key").hint(hint)
}
