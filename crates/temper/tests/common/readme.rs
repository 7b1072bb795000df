//! README.md taken apart: its code blocks, recipes and commands.

// Every test file is a crate of its own and uses another part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of README.md.
pub fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The code blocks of a language.
pub fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest).to_owned());
    blocks.collect()
}

/// The file name with which a recipe of the README begins.
pub fn recipe_name(block: &str) -> String {
    let name = block.trim_start_matches("# ").split(':').next().expect("a name").to_owned();
    assert!(name.ends_with(".toml"), "a recipe begins with a comment that names its file: {name}");
    name
}

/// What a line runs `temper` with, if it does.
pub fn arguments(line: &str) -> Option<String> {
    let arguments = line.strip_prefix("temper ").or_else(|| line.strip_prefix("cargo run --release -- "));
    arguments.map(str::to_owned)
}

/// Words as a shell splits them, as far as quotes go.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(opening)) if c == opening => quote = None,
            (' ', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
