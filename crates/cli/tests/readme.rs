//! The commands and recipes of README.md and of the pages of docs/ work: every command is run, in the order of its page, in one
//! folder for each page and without a network; every recipe and every key is one.

mod common;
#[path = "common/readme.rs"]
mod readme;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};
use common::Folder;
use readme::{Page, arguments, pages, recipe_name, root, words};
use temper_recipe::{Library, Recipe};

#[allow(dead_code)]
#[path = "../src/args.rs"]
mod args;

/// What is added to a command so that it takes seconds. Every other command is run as it stands.
const SHORTENED: [(&str, &str); 16] = [
    ("demo", "--max-steps 1"),
    // Stopped by SIGTERM after its second update, so that the `resume` that follows has something to do.
    (INTERRUPTED, "--max-steps 6"),
    ("train law.toml --out runs/law", "--set run.horizon='2 steps' --set eval.max_tokens=20000"),
    ("branch runs/law medicine.toml --out runs/medicine", "--max-steps 2"),
    ("train rewarm/small --out runs/base", "--max-steps 2 --set eval.max_tokens=20000"),
    (
        "train rewarm/small --out runs/hotter --set lr.peak=3e-3 --max-steps 100",
        "--set run.stop='2 steps' --set eval.max_tokens=20000",
    ),
    ("train fastibp/mnist-small --out runs/m", "--max-steps 2 --set eval.attack_images=10"),
    ("train fastibp/mnist-cnn7 --set model.width=16 --out runs/cnn7", "--max-steps 1 --set eval.attack_images=0"),
    (
        "sweep rewarm/max-lr --size tiny",
        "--seeds 1 --jobs 1 --set run.horizon='10 steps' --set eval.every='5 steps' --set-base run.horizon='20 steps'",
    ),
    ("verify runs/m --eps 0.3", "--steps 2 --restarts 1 --timeout 0.02"),
    ("verify runs/m --eps 0.3 --json", "--steps 2 --restarts 1 --timeout 0.02"),
    ("verify runs/m --stages attack,ibp", "--steps 2 --restarts 1"),
    ("verify runs/m --shard 0/2 --out parts/0", "--steps 2 --restarts 1 --timeout 0.02"),
    ("verify runs/m --shard 1/2 --out parts/1", "--steps 2 --restarts 1 --timeout 0.02"),
    ("bench lm --layers 6 --d-model 128 --heads 4 --vocab 8192 --batch 8 --seq 512 --steps 7 --json", "--warmup 0"),
    ("bench ibp --net cnn7 --width 16 --image 1x28x28 --batch 128 --method fast --json", "--steps 1 --warmup 0"),
];
/// Commands that are only parsed, since they need the network (tests/fetch.rs runs them against a server of its own) or files of the
/// reader's (crates/temper/tests/examples.rs has such).
const PARSED: [&str; 2] = ["data fetch mnist --out data/mnist", "verify net.onnx property.vnnlib --timeout 60"];
const INTERRUPTED: &str = "train law.toml --out runs/law --max-time 8h";

/// Commands that are not the program's, and why they are not run here.
const ELSEWHERE: [(&str, &str); 2] = [
    ("cargo test --release --workspace", "runs this"),
    ("cargo install --path crates/cli", "builds the program again"),
];

/// How many updates runs have made when the commands of their page are through.
const UPDATES: [(&str, &str, usize); 5] = [
    ("README.md", "runs/law", 2),
    ("docs/continue.md", "runs/law", 6),
    ("docs/continue.md", "runs/medicine", 2),
    ("docs/continue.md", "runs/base", 2),
    ("docs/continue.md", "runs/hotter", 2),
];

/// Longer than any of them takes, on a busy machine too; a command that does not end by then must be shortened.
const LIMIT: Duration = Duration::from_secs(400);

/// A small model in the place of pythia-70m: one update on the old text, then exported.
const MODEL: &str = r#"
model = { layers = 2, d_model = 32, heads = 4 }
data = { tokenizer = "builtin:demo", seq_len = 512, train.old.path = "corpus/old.jsonl.zst" }
batch.sequences = 1
lr = { peak = 1e-3, warmup = "0 steps" }
run.horizon = "1 steps"
"#;

/// What the pages take for granted, a model and texts under the names they use; and the recipes of this page.
fn furnish(folder: &Folder, page: &Page) {
    for made in ["models", "corpus", "corpus/law", "corpus/medicine", "data", "data/mnist"] {
        fs::create_dir(folder.path(made)).expect("a folder");
    }
    let documents = |asset: &str| {
        let file = File::open(root().join("assets").join(asset)).expect("a text");
        let mut text = String::new();
        zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("UTF-8");
        text.lines().take(400).map(|line| format!("{line}\n")).collect::<Vec<_>>()
    };
    let (english, german) = (documents("web.jsonl.zst"), documents("law.jsonl.zst"));
    let old = zstd::encode_all(english[..40].concat().as_bytes(), 3).expect("zstd");
    folder.write("corpus/old.jsonl.zst", old);
    folder.write("corpus/law/law.jsonl", german[..200].concat());
    folder.write("corpus/medicine/medicine.jsonl", german[200..400].concat());
    folder.write("corpus/cases.txt", "Der Antrag ist innerhalb eines Monats zu stellen.");
    // In the format of MNIST, and as many classes.
    for (split, count) in [("train", 300u32), ("t10k", 100)] {
        let number = u32::to_be_bytes;
        let images = [number(0x803), number(count), number(28), number(28)].concat();
        let pixels = (0..count * 28 * 28).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        folder.write(
            &format!("data/mnist/{split}-images-idx3-ubyte"),
            images.into_iter().chain(pixels).collect::<Vec<u8>>(),
        );
        let labels = [number(0x801), number(count)].concat();
        let classes = (0..count).map(|i| (i % 10) as u8);
        folder.write(
            &format!("data/mnist/{split}-labels-idx1-ubyte"),
            labels.into_iter().chain(classes).collect::<Vec<u8>>(),
        );
    }
    folder.write("model.toml", MODEL);
    folder.ok(&["train", "model.toml", "--out", "model"]);
    folder.ok(&["export", "model", "--out", "models/pythia-70m"]);
    for block in page.blocks("toml") {
        folder.write(&recipe_name(&block), &block);
    }
}

/// Every command of the program on a page, in order: the lines of shell blocks, and what stands between backticks with a
/// space in it. A line of a shell block that is neither the program's nor known must not be there.
fn commands(page: &Page) -> Vec<String> {
    let (mut commands, mut block) = (Vec::new(), None);
    for line in page.text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_none() { Some(language.to_owned()) } else { None };
        } else if block.as_deref() == Some("sh") {
            match arguments(line) {
                Some(arguments) => {
                    assert!(
                        !is_mention(&arguments) && !has_placeholder(&arguments),
                        "{}: not whole: {line}",
                        page.name
                    );
                    commands.push(arguments);
                }
                None => {
                    let known = ELSEWHERE.iter().any(|(known, _)| *known == line);
                    assert!(known, "{}: unknown command: {line}", page.name);
                }
            }
        } else if block.is_none() {
            let quoted = line.split('`').skip(1).step_by(2).filter(|text| text.contains(' ')).filter_map(arguments);
            commands.extend(quoted.filter(|line| !is_mention(line)));
        }
    }
    assert!(block.is_none(), "{}: a code block does not end", page.name);
    commands
}

/// Whether this only names a command in running text, as `verify` or `data info`, without what the command needs.
fn is_mention(line: &str) -> bool {
    let (words, mut command) = (words(line), args::Cli::command());
    for word in &words {
        match command.find_subcommand(word) {
            Some(found) => command = found.clone(),
            None => return false,
        }
    }
    parse(&words).is_err()
}

/// Whether something is to be put in, as in `resume DIR`: words in capitals.
fn has_placeholder(line: &str) -> bool {
    // `RUN`, and `NETWORK.onnx` or `DIR/list.csv` as well.
    let name = |word: &String| word.split(['.', '/']).next().unwrap_or_default().to_owned();
    words(line).iter().map(name).any(|name| name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase()))
}

fn parse(words: &[String]) -> Result<args::Cli, clap::Error> {
    args::Cli::try_parse_from(["temper".to_owned()].iter().chain(words))
}

/// Runs `temper`: its exit code, and what it said.
fn run(folder: &Folder, words: &[&str]) -> (Option<i32>, String) {
    let (out, err) = (folder.path("stdout"), folder.path("stderr"));
    let mut command = folder.command(words);
    command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
    let (mut child, begun) = (command.spawn().expect("it starts"), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().and_then(|()| child.wait()).expect("a child");
            panic!("temper {words:?} takes too long for a test: shorten it");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = fs::read_to_string(out).expect("UTF-8") + &fs::read_to_string(err).expect("UTF-8");
    (status.code(), said)
}

#[test]
fn commands_run() {
    let mut shortened = BTreeSet::new();
    for page in pages() {
        let commands = commands(&page);
        if commands.is_empty() {
            continue;
        }
        let folder = Folder::empty();
        furnish(&folder, &page);
        for line in commands {
            shortened.extend(run_as_shown(&folder, &page.name, &line));
        }
        for (_, run, steps) in UPDATES.iter().filter(|(name, _, _)| *name == page.name) {
            assert_eq!(folder.events_of(run, "step").len(), *steps, "{}: updates of {run}", page.name);
        }
    }
    let known: BTreeSet<&str> = SHORTENED.iter().map(|(command, _)| *command).collect();
    assert_eq!(shortened, known, "a shortened command is on no page");
}

/// Runs a command of a page, shortened where that is needed; the command in the list of those shortened.
fn run_as_shown(folder: &Folder, page: &str, line: &str) -> Option<&'static str> {
    if line == "COMMAND --help" {
        for command in args::Cli::command().get_subcommands() {
            let (code, said) = run(folder, &[command.get_name(), "--help"]);
            assert_eq!(code, Some(0), "temper {} --help\n{said}", command.get_name());
        }
        return None;
    }
    if PARSED.contains(&line) || has_placeholder(line) {
        let parsed = parse(&words(line));
        assert!(parsed.is_ok(), "{page}: temper {line}: {parsed:?}");
        return None;
    }
    let short = SHORTENED.iter().find(|(command, _)| *command == line);
    let line = short.map_or(line.to_owned(), |(_, added)| format!("{line} {added}"));
    let begun = Instant::now();
    let words = words(&line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if line.starts_with(INTERRUPTED) {
        let running = folder.start_until(&words, "runs/law", 2).expect("it was to be interrupted");
        let (code, said) = running.signal("TERM");
        assert_eq!(code, Some(143), "{page}: temper {line}\n{said}");
    } else {
        let (code, said) = run(folder, &words);
        assert_eq!(code, Some(0), "{page}: temper {line}\n{said}");
    }
    // What it was to make is there.
    for pair in words.windows(2).filter(|pair| ["--out", "--svg"].contains(&pair[0])) {
        assert!(folder.path(pair[1]).exists(), "{page}: temper {line}: there is no {}", pair[1]);
    }
    println!("{:5.1} s  {page}: temper {line}", begun.elapsed().as_secs_f64());
    short.map(|(command, _)| *command)
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
fn every_command_is_shown() {
    let mut shown = BTreeSet::new();
    for page in pages() {
        for line in commands(&page).iter().filter(|line| !line.starts_with("COMMAND ")) {
            let words = words(line);
            if let Err(error) = parse(&words) {
                panic!("{}: temper {line}\n{error}", page.name);
            }
            shown.insert(words[0].clone());
        }
    }
    let all: BTreeSet<String> = args::Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
    assert_eq!(shown, all, "the pages show every command");
    let readme = Page::read("README.md").text;
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let listed: BTreeSet<String> = rows.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned)).collect();
    assert_eq!(listed, all, "the README's table lists every command");
}

#[test]
fn recipes_resolve() {
    let texts = built_in();
    let recipes: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let library = Library { schema: &temper::SCHEMA, recipes: &recipes };
    let folder = tempfile::tempdir().expect("a folder");
    for page in pages() {
        let mut own = BTreeSet::new();
        for block in page.blocks("toml") {
            let name = recipe_name(&block);
            let path = folder.path().join(&name);
            std::fs::write(&path, &block).expect("written");
            if let Err(problems) = Recipe::load(&path.display().to_string(), &[], &library) {
                let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                panic!("{}: {name}: {problems}", page.name);
            }
            own.insert(name);
        }
        let mut named = BTreeSet::new();
        for line in commands(&page) {
            for word in words(&line).iter().filter(|word| word.ends_with(".toml") || library.get(word).is_some()) {
                let there = own.contains(word) || library.get(word).is_some();
                assert!(there, "{}: temper {line}: there is no {word}", page.name);
                named.insert(word.clone());
            }
        }
        assert!(own.is_subset(&named), "{}: a recipe that no command uses", page.name);
        for key in page.text.split('`').skip(1).step_by(2).filter(|key| is_key(key)) {
            assert!(temper::SCHEMA.find(key).is_some(), "{}: there is no key {key}", page.name);
        }
    }
}

/// `clocks.data`, `data.train.old.path`: words with dots in them that begin with a section of recipes.
fn is_key(text: &str) -> bool {
    let sections = [
        "batch",
        "checkpoint",
        "clocks",
        "data",
        "eps",
        "eval",
        "init",
        "lr",
        "memory",
        "method",
        "model",
        "optimizer",
        "run",
    ];
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let begins = |(section, _): (&str, &str)| sections.contains(&section);
    let is_file = [".safetensors", ".json"].iter().any(|ending| text.ends_with(ending));
    text.chars().all(plain) && !is_file && text.split_once('.').is_some_and(begins)
}
