//! Remedies in words of the command line. The crates below name no command and no option; where a hint of theirs means one, this table
//! puts it in.

use std::path::Path;

use temper_base::Problem;
use temper_base::problem::pasted;
use temper_record::RunDir;

/// Of any code, or of a text without one.
const ANY: &str = "";

/// The code of an error, or how it begins, or [`ANY`]; words of its hint or, after what Temper was doing, of its place; what the program
/// prints instead. `{}` is a name, which the program prints as a shell reads it, and `{run}` the run that the place lies in.
const REMEDIES: &[(&str, &str, &str)] = &[
    ("machine/start-threads", "ask for fewer", "ask for fewer with --threads"),
    // Runs.
    ("input/create-run", "choose another directory", "choose another --out"),
    ("machine/create-run", "choose another directory", "choose another --out"),
    ("input/create-run", "a new or empty directory", "a new or empty directory for --out"),
    ("input/create-run", "resume it", "continue it with `temper resume {run}`"),
    ("input/record-run", "resume the run", "continue the run with `temper resume {run}`"),
    ("input/open-run", "training a recipe makes one", "`temper train RECIPE --out DIR` makes one"),
    ("input/open-run", "a run, or a Hugging Face", "a run of `temper train`, or a Hugging Face"),
    (
        "input/open-run",
        "it can be verified and inspected",
        "`temper verify` and `temper inspect` look at such a run, and `temper export --format onnx` exports it",
    ),
    ("input/open-run", "it can be evaluated and sampled from", "`temper eval` and `temper sample` look at such a run"),
    ("input/resume", "resume: until ", "resume: --until "),
    ("input/resume", "a longer run.horizon", "a longer run.horizon: temper branch RUN RECIPE --out DIR"),
    (ANY, "to continue, resume `{}` until `{}`", "to continue: temper resume {} --until {}"),
    (ANY, "max_steps asks for", "--max-steps asks for"),
    (ANY, "max_steps only ends", "--max-steps only ends"),
    (ANY, "since overrides changed", "since --set changed"),
    // Branches.
    (
        "input/read-recipe",
        "train `{}` first, then branch `{}` from that run into `{}`",
        "temper train {} --out runs/base, then temper branch runs/base {} --out {}",
    ),
    ("input/read-recipe", "train `{}`, which begins there", "`temper train {} --out DIR` begins there"),
    ("input/read-recipe", "branch from a run, or name one:", "use `temper branch RUN RECIPE`, or name a run:"),
    (ANY, "branch from `{}` with `{}`", "`temper branch {} {} --out DIR` branches from it"),
    ("input/read-state-dict", "from a run, branch from it", "from a run: temper branch RUN RECIPE --out DIR"),
    (ANY, "this one is for a branch from that run", "this one is for `temper branch` from that run"),
    // Plans.
    ("input/plan", "plan: base run ", "plan: --from "),
    (ANY, "planning `{}` from a run shows it", "temper plan {} --from RUN plans it"),
    (ANY, "fetching `{}` gets it", "`temper data fetch {}` gets it"),
    ("input/read-recipe", "a plan shows what", "`temper plan` shows what"),
    // Whatever the machine could not write of a run.
    ("machine/", "resume the run", "`temper resume {run}`"),
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
    (ANY, "a document: data.eod", END_OF_DOCUMENT),
    (
        ANY,
        "data.eod of a recipe chooses another",
        "--eod TOKEN of `temper data prepare` and data.eod of a recipe choose another",
    ),
    ("input/open-token-shard", "preparing text makes shards", "`temper data prepare` makes shards from text"),
    ("machine/open-token-shard", "preparing text makes shards", "`temper data prepare` makes shards from text"),
    (ANY, "training a tokenizer makes one", "`temper data train-tokenizer` makes one"),
    (ANY, "the recipe rewarm/docs has", "`temper recipe show rewarm/docs` has"),
    // Images.
    ("input/read-images", "the known data sets can be fetched", "`temper data fetch` gets the known data sets"),
    ("machine/read-images", "the known data sets can be fetched", "`temper data fetch` gets the known data sets"),
    ("input/read-recipe", "the known data sets can be fetched", "`temper data fetch` gets the known data sets"),
    ("input/read-recipe", "a verification can judge on others", "`temper verify --data` judges on others"),
    ("input/read-recipe", "fetch `{}` into `{}`", "`temper data fetch {} --out {}`"),
    ("input/read-images", "take the binary version", "take the binary version, `temper data fetch cifar-10`"),
    // Weights and verdicts.
    ("input/write-tensors", "the range of float32", "the range of float32 (--dtype bf16)"),
    ("input/write-tensors", "float32 loses nothing", "float32 loses nothing (--dtype f32)"),
    ("input/write-verdicts", "choose another folder", "choose another folder with --out"),
    // Recipes and sweeps.
    (ANY, "the grammar of layers", "`temper recipe layers`"),
    (ANY, "the table of networks lists", "`temper recipe networks` lists"),
    ("input/find-recipe", "a path ends in .toml", "`temper recipe list` shows all; a path ends in .toml"),
    ("input/read-recipe", "the table of keys lists all", "`temper recipe keys` lists all keys"),
    ("input/read-overrides", "for example ", "for example --set "),
    ("input/read-sweep", "choose a size", "choose with --size"),
    ("input/read-sweep", "read sweep: set_base:", "read sweep: --set-base:"),
    ("input/read-sweep", "complete it: while", "complete it with `temper resume`: while"),
    ("input/make-folder", "choose another folder", "choose another folder with --out"),
    ("machine/make-folder", "choose another folder", "choose another folder with --out"),
    (ANY, "set replaces one of a variant, set_base one", "--set replaces one of a variant, --set-base one"),
];

const PREPARE_AGAIN: &str = "`temper data prepare` was stopped here: repeat the command";

const END_OF_DOCUMENT: &str = "a document: --eod TOKEN of `temper data prepare`, data.eod";

/// The hint of a problem in words of the command line.
pub fn remedy(problem: &Problem) -> Option<String> {
    Some(in_words(&problem.code(), problem.hint.clone()?, &problem.place))
}

/// A problem as a line, with its place in words of the command line.
pub fn line(problem: &Problem) -> String {
    let line = problem.to_string();
    let placed = |words, option: &str| Some(option.to_owned() + line.strip_prefix(words)?);
    REMEDIES.iter().find_map(|(_, words, option)| placed(words, option)).unwrap_or(line)
}

/// A text that has neither code nor place: a warning, its hint, what a key means.
pub fn of_text(text: &str) -> String {
    in_words(ANY, text.to_owned(), "")
}

fn in_words(code: &str, mut hint: String, place: &str) -> String {
    for (_, words, command) in REMEDIES.iter().filter(|(known, ..)| code.starts_with(known)) {
        if let Some(said) = said(&hint, words, command, place) {
            hint = said;
        }
    }
    hint
}

/// The hint with the command in place of the words; `None` if it does not have them, or its place is in no run.
fn said(hint: &str, words: &str, command: &str, place: &str) -> Option<String> {
    let mut parts = words.split("{}");
    let (before, mut rest) = hint.split_once(parts.next()?)?;
    let mut names = Vec::new();
    for part in parts {
        let (name, after) = rest.split_once(part)?;
        names.push(pasted(name));
        rest = after;
    }
    let command =
        if command.contains("{run}") { command.replace("{run}", &run_of(place)?) } else { command.to_owned() };
    let names = names.into_iter().chain([String::new()]);
    let command: String = command.split("{}").zip(names).flat_map(|(part, name)| [part.to_owned(), name]).collect();
    Some(format!("{before}{command}{rest}"))
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

    use super::{ANY, REMEDIES, line, of_text, remedy};
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
        LIBRARIES.iter().for_each(|name| sources(&crates.join(name).join("src"), &mut below));
        for (code, words, command) in REMEDIES {
            // A line begins with what Temper was doing, which its code says too.
            let doing = code.split('/').next_back().unwrap().replace('-', " ") + ": ";
            let own = words.strip_prefix(&doing).unwrap_or(words).trim_end_matches(':');
            assert!(own.split("{}").all(|part| below.contains(part)), "no crate says {words:?}");
            assert!(*code == ANY || codes.contains(&format!("`{code}")), "docs/errors.md has no {code}");
            assert_eq!(words.matches("{}").count(), command.matches("{}").count(), "{words:?}");
            // What listens to a warning may have put its hint into words already.
            assert!(*code != ANY || of_text(command) == *command, "{command:?}");
        }
    }

    fn options(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))));
        command.get_subcommands().for_each(|below| options(below, found));
    }

    /// All crates below the binary.
    const LIBRARIES: [&str; 18] = [
        "base", "schedule", "record", "kernels", "recipe", "data", "report", "ops", "graph", "formats", "model",
        "verify", "bounds", "train", "lm", "certify", "temper", "sweep",
    ];

    /// The crates below name no command and no option. Only `--set` is a name in recipes too: of the origin and place of an override.
    #[test]
    fn a_library_names_no_command_and_no_option() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut known: Vec<String> =
            Cli::command().get_subcommands().map(|command| format!("temper {}", command.get_name())).collect();
        options(&Cli::command(), &mut known);
        assert!(["--out", "--eod", "temper branch"].iter().all(|option| known.iter().any(|k| k == option)));
        for name in LIBRARIES {
            let mut text = String::new();
            sources(&crates.join(name).join("src"), &mut text);
            // A line about zstd names the options of zstd.
            let ours = |line: &&str| !line.trim_start().starts_with("//") && !line.contains("zstd -d");
            for line in text.lines().filter(ours) {
                let names = |option: &String| {
                    line.match_indices(option.as_str()).any(|(at, _)| {
                        let after = line[at + option.len()..].chars().next();
                        !after.is_some_and(|c| c.is_ascii_alphanumeric() || "-:_".contains(c))
                    }) && !(name == "recipe" && option == "--set")
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
    #[test]
    fn names_are_what_a_shell_reads() {
        let hint = "leave init.from out, or train `my recipe.toml`, which begins there; no more";
        let named = "leave init.from out, or `temper train 'my recipe.toml' --out DIR` begins there; no more";
        assert_eq!(remedy(&Problem::input("read recipe", "x", "why").hint(hint)).as_deref(), Some(named));
        let until = "stopped; to continue, resume `a run` until `7`";
        assert_eq!(of_text(until), "stopped; to continue: temper resume 'a run' --until 7");
    }

    #[test]
    fn a_place_is_an_option() {
        let placed = |what, place, why| line(&Problem::input(what, place, why));
        assert_eq!(placed("resume", "until 50%", "until when?"), "resume: --until 50%: until when?");
        assert_eq!(placed("plan", "base run a b", "why"), "plan: --from a b: why");
        assert_eq!(placed("read sweep", "set_base", "why"), "read sweep: --set-base: why");
        assert_eq!(placed("read sweep", "set_base.toml", "why"), "read sweep: set_base.toml: why");
    }
}
