//! `docs/errors.md` lists the code of every error: the sources are read for what they can report.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A constructor of `Problem`, and the kinds of error that it makes.
const CONSTRUCTORS: [(&str, &[&str]); 4] =
    [("input", &["input"]), ("training", &["training"]), ("machine", &["machine"]), ("io", &["input", "machine"])];

/// A source file without comments and unit tests.
struct Source {
    path: PathBuf,
    text: String,
}

#[test]
fn every_code_is_in_the_list_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut reported = BTreeSet::new();
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let mut sources = vec![];
        read(&entry.unwrap().path().join("src"), &mut sources);
        for source in &sources {
            for (name, kinds) in CONSTRUCTORS {
                for (at, actions) in actions(source, name, &sources) {
                    let line = 1 + source.text[..at].matches('\n').count();
                    assert!(!actions.is_empty(), "{} about line {line}: which action?", source.path.display());
                    for action in actions {
                        let slug = action.replace(' ', "-").to_lowercase();
                        reported.extend(kinds.iter().map(|kind| format!("{kind}/{slug}")));
                    }
                }
            }
        }
    }
    assert!(reported.len() > 100 && reported.contains("machine/start-threads"), "the sources were not read");

    let page = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let is_code = |word: &&str| CONSTRUCTORS.iter().any(|(kind, _)| word.starts_with(&format!("{kind}/")));
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<&str> = rows.flat_map(|row| row.split('`').filter(is_code)).collect();
    let once: BTreeSet<String> = listed.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(listed.len(), once.len(), "docs/errors.md lists a code twice");
    let missing: Vec<_> = reported.difference(&once).collect();
    let stale: Vec<_> = once.difference(&reported).collect();
    assert!(missing.is_empty() && stale.is_empty(), "docs/errors.md: missing {missing:#?}, stale {stale:#?}");
}

/// The sources below a folder.
fn read(folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("\n#[cfg(test)]\nmod").next().unwrap_or_default();
            let code = |line: &&str| !line.trim_start().starts_with("//");
            sources.push(Source { path, text: text.lines().filter(code).collect::<Vec<_>>().join("\n") });
        }
    }
}

/// For every use of a constructor its place and the actions that it may name.
fn actions(source: &Source, constructor: &str, sources: &[Source]) -> Vec<(usize, BTreeSet<String>)> {
    // `Problem` itself calls its constructors by `Self`.
    let own = if source.path.ends_with("base/src/problem.rs") { "Self" } else { "Problem" };
    let call = format!("{own}::{constructor}(");
    calls(source, &call).map(|(at, arguments)| (at, values(arguments[0], at, source, sources))).collect()
}

/// The calls that begin with these words (`name(`), with their arguments.
fn calls<'s>(source: &'s Source, call: &str) -> impl Iterator<Item = (usize, Vec<&'s str>)> {
    let places: Vec<usize> = source.text.match_indices(call).map(|(at, _)| at).collect();
    let length = call.len();
    places.into_iter().map(move |at| (at, arguments(&source.text[at + length..])))
}

/// The arguments of a call whose opening parenthesis has just been read.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut begin, mut before) = (0, false, 0, ' ');
    let mut found = vec![];
    for (at, c) in text.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            _ if quoted => {}
            ')' | ']' | '}' if depth == 0 => {
                found.push(text[begin..at].trim());
                return found;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    panic!("a call without an end: {}", &text[..text.len().min(80)]);
}

/// What an argument at `at` of a source may be: its own text, that of a constant, of a variable, or of a parameter at every call.
fn values(argument: &str, at: usize, source: &Source, sources: &[Source]) -> BTreeSet<String> {
    if let Some(literal) = argument.strip_prefix('"') {
        return BTreeSet::from([literal.trim_end_matches('"').to_owned()]);
    }
    if argument.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        let line = format!("const {argument}: &str = \"");
        let in_file = |source: &Source| {
            source.text.split(&line).nth(1).and_then(|rest| rest.split('"').next().map(str::to_owned))
        };
        let shared = |other: &&Source| {
            let sibling = other.path.parent() == source.path.parent();
            let parent = source.path.starts_with(other.path.with_extension(""));
            let imports = |line: &str| line.trim_start().starts_with("use ") && line.contains(argument);
            let public = || source.text.lines().any(imports) && other.text.contains(&format!("pub {line}"));
            parent || (sibling && other.text.contains(&format!("pub(super) {line}"))) || public()
        };
        let found = in_file(source).or_else(|| sources.iter().filter(shared).find_map(in_file));
        return found.into_iter().collect();
    }
    let before = &source.text[..at];
    let last = |pattern: &str| before.rfind(pattern).map(|at| (at, at + pattern.len()));
    let variable = last(&format!("let {argument} = ")).or(last(&format!("let ({argument}, ")));
    let parameter = last(&format!("{argument}: &'static str"));
    match (variable, parameter) {
        (Some((from, to)), parameter) if parameter.is_none_or(|(parameter, _)| parameter < from) => {
            let value = source.text[to..].trim_start_matches(|c| c != '"').split('"').nth(1);
            value.map(str::to_owned).into_iter().collect()
        }
        (_, Some((parameter, _))) => {
            let begin = before[..parameter].rfind("fn ").expect("a parameter is of a function");
            let header = &before[begin + 3..];
            let name = header.split(['(', '<']).next().unwrap_or_default();
            let parameters = arguments(&source.text[begin + before[begin..].find('(').unwrap() + 1..]);
            let method = parameters[0].ends_with("self");
            let number = parameters.iter().position(|one| one.starts_with(argument)).unwrap() - usize::from(method);
            let call = match before[..begin].rfind("\nimpl ").map(|at| &before[at + 6..begin]) {
                _ if method => format!(".{name}("),
                // An `impl` that has ended is another's.
                Some(block) if !block.contains("\n}") => {
                    format!("{}::{name}(", block.split([' ', '<']).next().unwrap())
                }
                _ => format!(" {name}("),
            };
            let mut found = BTreeSet::new();
            for other in sources {
                let text = calls(other, &call).filter(|(at, _)| !other.text[..*at].ends_with("fn"));
                for (at, arguments) in text {
                    found.extend(values(arguments[number], at, other, sources));
                }
            }
            found
        }
        _ => BTreeSet::new(),
    }
}
