//! README.md and the pages of docs/ taken apart: their code blocks, recipes and commands.

// Every test file is a crate of its own and uses another part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// README.md or a page of docs/.
pub struct Page {
    /// Its path below the folder of the repository.
    pub name: String,
    pub text: String,
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    /// The code blocks of a language.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let opening = format!("```{language}\n");
        let blocks = self.text.split(&opening).skip(1);
        blocks.map(|rest| rest.split("```").next().unwrap_or(rest).to_owned()).collect()
    }
}

/// README.md, then every page of docs/ by name.
pub fn pages() -> Vec<Page> {
    let files = std::fs::read_dir(root().join("docs")).expect("docs").map(|file| file.expect("a file").file_name());
    let mut names: Vec<String> = files.map(|name| format!("docs/{}", name.to_string_lossy())).collect();
    names.retain(|name| name.ends_with(".md"));
    names.sort();
    names.insert(0, "README.md".to_owned());
    names.iter().map(|name| Page::read(name)).collect()
}

/// The file name with which a recipe on a page begins.
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
