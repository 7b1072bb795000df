//! The commands and recipes of README.md are commands and recipes: every line is parsed, nothing is run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use temper_recipe::{Library, Recipe};

#[allow(dead_code)]
#[path = "../src/args.rs"]
mod args;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The code blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest).to_owned());
    blocks.collect()
}

/// Every command of the program: the lines of code blocks, and what stands between backticks with a space in it.
fn commands() -> Vec<String> {
    let lines = blocks("sh").concat();
    let text = readme();
    let quoted = text.split('`').skip(1).step_by(2).filter(|text| !text.contains('\n') && text.contains(' '));
    let all = lines.lines().chain(quoted).filter_map(|line| {
        let arguments = line.strip_prefix("temper ").or_else(|| line.strip_prefix("cargo run --release -- "))?;
        Some(arguments.to_owned())
    });
    all.filter(|arguments| !arguments.starts_with("COMMAND ")).collect()
}

/// Words as a shell splits them, as far as double quotes go.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate();
    quoted
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// The recipes below `recipes/`, by name.
fn built_in() -> Vec<(String, String)> {
    let mut recipes = Vec::new();
    for folder in std::fs::read_dir(root().join("recipes")).expect("recipes").map(|folder| folder.expect("it").path()) {
        for file in std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("it").path()) {
            let part = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
            let name = format!("{}/{}", part(&folder), part(&file));
            recipes.push((name, std::fs::read_to_string(&file).expect("a recipe")));
        }
    }
    recipes
}

#[test]
fn commands_parse() {
    let mut shown = BTreeSet::new();
    for line in commands() {
        let words = words(&line);
        if let Err(error) = args::Cli::try_parse_from(["temper".to_owned()].iter().chain(&words)) {
            panic!("temper {line}\n{error}");
        }
        shown.insert(words[0].clone());
    }
    let all: BTreeSet<String> = args::Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
    assert_eq!(shown, all, "the README shows every command");
}

#[test]
fn recipes_resolve() {
    let texts = built_in();
    let recipes: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let library = Library { recipes: &recipes };
    let folder = tempfile::tempdir().expect("a folder");
    let mut own = BTreeSet::new();
    for block in blocks("toml") {
        let name = block.trim_start_matches("# ").split(':').next().expect("a name").to_owned();
        assert!(name.ends_with(".toml"), "a recipe begins with a comment that names its file: {name}");
        let path = folder.path().join(&name);
        std::fs::write(&path, &block).expect("written");
        let path = path.display().to_string();
        if let Err(problems) = Recipe::load(&path, &[], &library) {
            panic!("{name}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        own.insert(name);
    }
    let mut named = BTreeSet::new();
    for line in commands() {
        for word in words(&line).iter().filter(|word| word.ends_with(".toml") || library.get(word).is_some()) {
            assert!(own.contains(word) || library.get(word).is_some(), "temper {line}: there is no {word}");
            named.insert(word.clone());
        }
    }
    assert!(own.is_subset(&named), "a recipe that no command uses");
    for key in readme().split('`').skip(1).step_by(2).filter(|key| is_key(key)) {
        assert!(temper_recipe::find_key(key).is_some(), "there is no key {key}");
    }
}

/// `clocks.data`, `data.train.old.path`: words with dots in them that begin with a section of recipes.
fn is_key(text: &str) -> bool {
    let sections =
        ["batch", "checkpoint", "clocks", "data", "eval", "init", "lr", "memory", "model", "optimizer", "run"];
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let begins = |(section, _): (&str, &str)| sections.contains(&section);
    text.chars().all(plain) && !text.ends_with(".safetensors") && text.split_once('.').is_some_and(begins)
}
