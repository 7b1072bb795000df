//! Remedies in words of the command line. The crates below name no command and no option; where a hint of theirs means one, this table
//! puts it in.

use std::path::Path;

use temper_base::Problem;
use temper_base::problem::pasted;
use temper_record::RunDir;

/// What a warning without a code is filed under.
const WARNING: &str = "warning";

/// The code of an error, or how it begins, or [`WARNING`]; words of its hint; what the program prints instead. `RUN` is the run that
/// the place lies in.
const REMEDIES: &[(&str, &str, &str)] = &[
    ("machine/start-threads", "ask for fewer", "ask for fewer with --threads"),
    // Runs.
    ("input/create-run", "choose another directory", "choose another --out"),
    ("machine/create-run", "choose another directory", "choose another --out"),
    ("input/create-run", "a new or empty directory", "a new or empty directory for --out"),
    ("input/create-run", "resume it", "continue it with `temper resume RUN`"),
    ("input/record-run", "resume the run", "continue the run with `temper resume RUN`"),
    ("input/open-run", "training a recipe makes one", "`temper train RECIPE --out DIR` makes one"),
    // Whatever the machine could not write of a run.
    ("machine/", "resume the run", "`temper resume RUN`"),
    // Texts and tokens.
    ("input/read-documents", "preparing it was stopped here: repeat that", PREPARE_AGAIN),
    ("input/open-token-stream", "a .tokens file or", "a .tokens file (`temper data prepare` makes it from text) or"),
    ("input/open-token-stream", "tokenise it first", "tokenise it first: `temper data prepare`"),
    (
        "input/open-token-stream",
        "the tokenizer of the model",
        "the tokenizer of the model (`temper data prepare --tokenizer`)",
    ),
    ("input/open-token-stream", "tokenising the text again", "`temper data prepare --eod`"),
    ("input/read-tokenizer", "a document: data.eod", END_OF_DOCUMENT),
    (WARNING, "a document: data.eod", END_OF_DOCUMENT),
    (
        WARNING,
        "data.eod of a recipe chooses another",
        "--eod TOKEN of `temper data prepare` and data.eod of a recipe choose another",
    ),
    ("input/open-token-shard", "preparing text makes shards", "`temper data prepare` makes shards from text"),
    ("machine/open-token-shard", "preparing text makes shards", "`temper data prepare` makes shards from text"),
    // Images.
    ("input/read-images", "the known data sets can be fetched", "`temper data fetch` gets the known data sets"),
    ("machine/read-images", "the known data sets can be fetched", "`temper data fetch` gets the known data sets"),
    ("input/read-images", "take the binary version", "take the binary version, `temper data fetch cifar-10`"),
    // Weights and verdicts.
    ("input/write-tensors", "the range of float32", "the range of float32 (--dtype bf16)"),
    ("input/write-tensors", "float32 loses nothing", "float32 loses nothing (--dtype f32)"),
    ("input/write-verdicts", "choose another folder", "choose another folder with --out"),
    // Recipes and sweeps.
    ("input/build-network", "the grammar of layers", "`temper recipe layers`"),
    ("input/read-recipe", "the grammar of layers", "`temper recipe layers`"),
    ("input/find-recipe", "a path ends in .toml", "`temper recipe list` shows all; a path ends in .toml"),
    ("input/read-recipe", "the table of keys lists all", "`temper recipe keys` lists all keys"),
    ("input/read-overrides", "for example ", "for example --set "),
    ("input/read-sweep", "choose a size", "choose with --size"),
];

const PREPARE_AGAIN: &str = "`temper data prepare` was stopped here: repeat the command";

const END_OF_DOCUMENT: &str = "a document: --eod TOKEN of `temper data prepare`, data.eod";

/// The hint of a problem in words of the command line.
pub fn remedy(problem: &Problem) -> Option<String> {
    Some(in_words(&problem.code(), problem.hint.clone()?, &problem.place))
}

/// The same of a warning, which has neither code nor place.
pub fn of_warning(hint: &str) -> String {
    in_words(WARNING, hint.to_owned(), "")
}

fn in_words(code: &str, mut hint: String, place: &str) -> String {
    for (_, words, command) in REMEDIES.iter().filter(|(known, ..)| code.starts_with(known)) {
        if !hint.contains(words) {
            continue;
        }
        // A place that is in no run leaves the words as they are.
        let command = if command.contains("RUN") {
            run_of(place).map(|run| command.replace("RUN", &run))
        } else {
            Some((*command).to_owned())
        };
        hint = command.map_or(hint.clone(), |command| hint.replacen(words, &command, 1));
    }
    hint
}

/// The run that a path lies in, as a word of a command.
fn run_of(place: &str) -> Option<String> {
    let is_run = |path: &&Path| !path.as_os_str().is_empty() && RunDir::open(path).is_ok();
    Path::new(place).ancestors().find(is_run).map(|run| pasted(run.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory;
    use temper_base::Problem;

    use super::{REMEDIES, WARNING, remedy};
    use crate::args::Cli;

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => sources(&path, text),
                path if path.extension().is_some_and(|extension| extension == "rs") => {
                    text.push_str(&fs::read_to_string(path).unwrap());
                }
                _ => {}
            }
        }
    }

    /// A row whose words no crate uses any more would be silent.
    #[test]
    fn the_crates_below_use_these_words() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let codes = fs::read_to_string(crates.join("../docs/errors.md")).unwrap();
        let mut below = String::new();
        for name in ["base", "record", "data", "graph", "model", "verify", "recipe", "sweep"] {
            sources(&crates.join(name).join("src"), &mut below);
        }
        for (code, words, _) in REMEDIES {
            assert!(below.contains(words), "no crate says {words:?}");
            assert!(*code == WARNING || codes.contains(&format!("`{code}")), "docs/errors.md has no {code}");
        }
    }

    fn options(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))));
        command.get_subcommands().for_each(|below| options(below, found));
    }

    /// The crates that know neither recipes nor runs name no command and no option at all.
    #[test]
    fn a_library_names_no_command_and_no_option() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut known = vec![format!("`{} ", "temper")];
        options(&Cli::command(), &mut known);
        assert!(["--out", "--eod", "--dtype"].iter().all(|option| known.iter().any(|k| k == option)));
        for name in
            ["base", "schedule", "record", "kernels", "ops", "data", "graph", "model", "verify", "bounds", "report"]
        {
            let mut text = String::new();
            sources(&crates.join(name).join("src"), &mut text);
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let names = |option: &String| {
                    line.match_indices(option.as_str()).any(|(at, _)| {
                        let after = line[at + option.len()..].chars().next();
                        option.starts_with('`')
                            || !after.is_some_and(|c| c.is_ascii_alphanumeric() || "-:_".contains(c))
                    })
                };
                let found = known.iter().find(|option| names(option));
                assert!(found.is_none(), "{name} names {}: {line}", found.unwrap());
            }
        }
    }

    #[test]
    fn the_run_is_named_as_a_shell_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a run");
        fs::create_dir_all(run.join("checkpoints/step-1")).unwrap();
        fs::write(run.join("metrics.jsonl"), "").unwrap();
        let problem = |place: &Path| {
            Problem::machine("write checkpoint", place.display(), "disk full")
                .hint("make room, then resume the run; no more")
        };
        let named = format!("make room, then `temper resume '{}'`; no more", run.display());
        assert_eq!(remedy(&problem(&run.join("checkpoints/step-1/x"))), Some(named));
        // Outside a run, and of another code, the hint stays.
        assert_eq!(remedy(&problem(folder.path())), problem(folder.path()).hint);
        let other = Problem::input("read metrics", run.display(), "why").hint("resume the run");
        assert_eq!(remedy(&other), other.hint);
    }
}
