//! `temper recipe`: the built-in recipes, the named networks, the layers of others, and the keys a recipe may have.

use std::path::Path;

use temper::SCHEMA;
use temper::builtin::LIBRARY;
use temper_base::Problem;
use temper_base::numbers::count;
use temper_graph::text::{EXAMPLE, LAYERS, LINES};
use temper_graph::{BatchNorm, NETWORKS, by_name};
use temper_recipe::{Key, Recipe, nearest};
use temper_report::Table;
use temper_report::text::columns;
use temper_train::spec;

use crate::args::RecipeCommand;
use crate::printer::Printer;
use crate::problems::Outcome;
use crate::remedies::of_text;

/// Columns of a line of `temper recipe keys`.
const WIDTH: usize = 110;
/// Columns that a key with its default may take before its explanation moves down a line.
const LEFT: usize = 38;

/// Runs the command.
pub fn run(args: &RecipeCommand, printer: &Printer) -> Outcome {
    match args {
        RecipeCommand::List => list(printer),
        RecipeCommand::Show { name } => show(name, printer),
        RecipeCommand::Networks => Ok(networks(printer)),
        RecipeCommand::Layers => Ok(layers(printer)),
        RecipeCommand::Keys { prefix } => keys(prefix.as_deref(), printer),
    }
}

fn list(printer: &Printer) -> Outcome {
    let names: Vec<&str> = LIBRARY.names().collect();
    if names.is_empty() {
        printer.say("no recipe is built in; use the path of a TOML file as a recipe");
    }
    let width = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    for name in names {
        let recipe = Recipe::load(name, &[], &LIBRARY)?;
        let about = recipe.about();
        let base = spec::base_of(&recipe)?.map(|base| format!(" (a branch; its base is {base})")).unwrap_or_default();
        printer.data(format_args!("{name:width$}  {}", format!("{about}{base}").trim_start()).to_string().trim_end());
    }
    super::sweep::list("sweep ", printer)
}

fn show(name: &str, printer: &Printer) -> Outcome {
    let Some(text) = LIBRARY.get(name) else {
        let problem = Problem::input("show recipe", name, "there is no built-in recipe of that name");
        let hint = match nearest(name, LIBRARY.names()) {
            _ if Path::new(name).is_file() => "this is a file: any editor shows it".to_owned(),
            Some(near) => format!("did you mean `{near}`? `temper recipe list` shows all"),
            None => "`temper recipe list` shows all".to_owned(),
        };
        return Err(problem.hint(hint).into());
    };
    printer.data(text.strip_suffix('\n').unwrap_or(text));
    Ok(0)
}

/// The sizes of images for which the networks are counted: MNIST's and CIFAR-10's.
const SIZES: [[usize; 3]; 2] = [[1, 28, 28], [3, 32, 32]];

fn networks(printer: &Printer) -> u8 {
    let mut table = Table::new().text_column("network").number_column("", "width");
    for [c, h, w] in SIZES {
        for heading in ["parameters", "multiply-adds"] {
            table = table.number_column(&format!("{c}x{h}x{w}"), heading);
        }
    }
    table = table.text_column("what it is");
    for named in &NETWORKS {
        let mut row = vec![named.name.to_string(), named.width.to_string()];
        for size in SIZES {
            // A network may not fit small images.
            row.extend(match by_name(named.name, None, BatchNorm::Full, size, 10) {
                Ok(config) => [config.parameters(), config.macs()].map(|n| count(n as f64)),
                Err(_) => ["-", "-"].map(String::from),
            });
        }
        row.push(named.about.to_string());
        table.row(row);
    }
    printer.data(table.to_text().trim_end());
    printer.say(
        "\ncounted for 10 classes with full batch norm; -nobn or -convbn after a name says what model.batch_norm otherwise says; model.width overrules the width",
    );
    0
}

/// The grammar of `model.graph`.
fn layers(printer: &Printer) -> u8 {
    let mut text = wrapped(LINES, WIDTH).join("\n") + "\n";
    for layer in &LAYERS {
        text += &format!("\n{}\n", layer.usage());
        for line in wrapped(layer.about, WIDTH - 4) {
            text += &format!("    {line}\n");
        }
        text += &format!("    shape    {}\n", layer.shape);
        if !layer.options.is_empty() {
            let options: Vec<String> =
                layer.options.iter().map(|(word, usual)| format!("{word} is {usual} where it is not given")).collect();
            text += &format!("    options  {}\n", options.join(", "));
        }
        text += &format!("    example  {}\n", layer.example);
    }
    text += "\nA network with a residual connection, for images of ten classes:\n\n[model]\ngraph = [\n";
    for line in EXAMPLE {
        text += &format!("    \"{line}\",\n");
    }
    printer.data(text + "]");
    0
}

fn keys(prefix: Option<&str>, printer: &Printer) -> Outcome {
    let prefix = prefix.unwrap_or("").trim_matches('.');
    let chosen: Vec<&Key> = SCHEMA.keys().filter(|key| begins(key, prefix)).collect();
    if chosen.is_empty() {
        let problem = Problem::input("list keys", prefix, "no key begins with this");
        return Err(problem.hint(suggestion(prefix)).into());
    }
    let mut sections: Vec<&str> = Vec::new();
    for key in &chosen {
        if !sections.contains(&key.section()) {
            sections.push(key.section());
        }
    }
    let mut text = String::new();
    for section in sections {
        if !text.is_empty() {
            text.push('\n');
        }
        if !section.is_empty() {
            text += &format!("[{}]\n", section.replace('*', "NAME"));
        }
        let own: Vec<&&Key> = chosen.iter().filter(|key| key.section() == section).collect();
        let width = own.iter().map(|key| columns(&left(key))).filter(|width| *width <= LEFT).max().unwrap_or(LEFT);
        for key in own {
            text += &entry(key, width);
        }
    }
    printer.data(text.trim_end());
    if prefix.is_empty() {
        printer.say(
            "\nA key without a value is unset unless a recipe sets it. `temper recipe keys lr` shows only one table.",
        );
    }
    Ok(0)
}

/// Whether the key begins with `prefix`, in which names may stand for `NAME` or `*`.
fn begins(key: &Key, prefix: &str) -> bool {
    let mut own = key.path.split('.');
    let parts: Vec<&str> = prefix.split('.').collect();
    parts.iter().enumerate().all(|(index, part)| match own.next() {
        Some("*") => true,
        Some(own) if index + 1 == parts.len() => own.starts_with(part),
        Some(own) => own == *part,
        None => false,
    })
}

/// The key that was probably meant.
fn suggestion(prefix: &str) -> String {
    let last = prefix.rsplit('.').next().unwrap_or(prefix);
    let name = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let alike: Vec<&str> = SCHEMA.keys().map(|key| key.path).filter(|path| name(path).contains(last)).take(3).collect();
    if !alike.is_empty() {
        return format!("did you mean `{}`?", alike.join("`, `"));
    }
    let near = nearest(prefix, SCHEMA.keys().flat_map(|key| [key.path, key.section()]).filter(|path| !path.is_empty()));
    let near = near.or_else(|| {
        let name = nearest(last, SCHEMA.keys().map(|key| name(key.path)))?;
        SCHEMA.keys().map(|key| key.path).find(|path| path.rsplit('.').next() == Some(name))
    });
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`temper recipe keys` lists all keys".to_owned(),
    }
}

/// The key with its default.
fn left(key: &Key) -> String {
    let path = key.path.replace('*', "NAME");
    match key.default {
        Some(default) => format!("  {path} = {default}"),
        None => format!("  {path}"),
    }
}

/// The key with its explanation, and on further lines what it takes.
fn entry(key: &Key, width: usize) -> String {
    let left = left(key);
    let mut text = left.clone();
    let elsewhere = SCHEMA.tasks.iter().filter(|task| SCHEMA.default_of(key, task) != key.default);
    let own = match key.task {
        Some(task) => format!("; task = \"{task}\""),
        None => elsewhere
            .filter_map(|task| Some(format!("; {} where task = \"{}\"", SCHEMA.default_of(key, task)?, task.name)))
            .collect(),
    };
    let unit = if key.unit.is_empty() { String::new() } else { format!(" ({})", key.unit) };
    let takes = format!("{}{unit}{own}", key.kind);
    let lines = wrapped(&of_text(key.doc), WIDTH - width - 2)
        .into_iter()
        .chain(wrapped(&takes, WIDTH - width - 4).into_iter().map(|line| format!("  {line}")));
    for (index, line) in lines.enumerate() {
        let begun = if index == 0 && columns(&left) <= width { columns(&left) } else { 0 };
        if index > 0 || begun == 0 {
            text.push('\n');
        }
        text += &" ".repeat(width + 2 - begun);
        text += &line;
    }
    text.push('\n');
    text
}

/// The text in lines of at most `width` columns, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
