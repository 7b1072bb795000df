//! `temper data`: text to token files, tokenizers from text, and what a token file or a folder of images holds.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::json;
use temper_base::listener::Meter;
use temper_base::numbers::{count, duration};
use temper_base::numbers::{counted, thousands};
use temper_base::problem::pasted;
use temper_base::{Problem, Result, files};
use temper_certify as certify;
use temper_data::images::Splits;
use temper_data::text::claim;
use temper_data::text::documents::ReadCount;
use temper_data::{
    Document, Documents, Input, PrepareOptions, Prepared, ReadOptions, ShardInfo, TokenSource, Tokenizer, prepare,
};
use temper_lm::reading;
use temper_lm::text::{self, Named};
use temper_lm::tokenising::Tokenising;
use temper_report::Table;

use crate::args::{DataCommand, Info, Prepare, TrainTokenizer};
use crate::console;
use crate::printer::Printer;
use crate::problems::Outcome;

/// How often a command that only counts looks at its counters.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the command.
pub fn run(args: &DataCommand, printer: &Printer) -> Outcome {
    match args {
        DataCommand::Prepare(args) => prepare_text(args, printer),
        DataCommand::TrainTokenizer(args) => train_tokenizer(args, printer),
        DataCommand::Fetch(args) => super::fetch::run(args, printer),
        DataCommand::Info(args) => info(args, printer),
    }
}

/// The texts that the command line names, and everything that is wrong with them.
fn inputs(names: &[String], problems: &mut Vec<Problem>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for name in names {
        match text::find_data(std::slice::from_ref(name)) {
            Ok(Named::Text(texts)) => {
                // Opening finds the files and reads none.
                problems.extend(Documents::open(&texts, &ReadOptions::default()).err());
                inputs.extend(texts);
            }
            Ok(Named::Tokens(path, _)) => problems.push(
                Problem::input("read documents", path.display(), "it holds tokens already, not text")
                    .hint(format!("`temper data info {}` shows what it holds", pasted(path.display()))),
            ),
            Err(problem) => problems.push(problem),
        }
    }
    inputs
}

fn prepare_text(args: &Prepare, printer: &Printer) -> Outcome {
    let mut problems = Vec::new();
    let inputs = inputs(&args.inputs, &mut problems);
    let tokenizer =
        text::tokenizer(&args.tokenizer, args.eod.as_deref()).map_err(|problem| problems.push(problem)).ok();
    if !(0.0..1.0).contains(&args.validation_fraction) {
        let why = format!("{} is not from 0 to below 1", args.validation_fraction);
        problems
            .push(Problem::input("prepare data", "--validation-fraction", why).hint("1 % of the documents is 0.01"));
    }
    problems.extend(in_the_way(&args.out, tokenizer.as_ref()));
    let Some(tokenizer) = tokenizer.filter(|_| problems.is_empty()) else { return Err(problems.into()) };
    let options = PrepareOptions {
        validation_fraction: args.validation_fraction,
        seed: args.seed,
        read: crate::reading::read_options(&args.text_key, args.bad_lines),
        threads: None,
        overwrite: false,
    };
    reading::tell_notes(tokenizer.notes(), printer);
    let (fresh, whole) = (!args.out.exists(), args.out.join("train.tokens"));
    leave_nothing(&args.out, fresh, (!whole.exists()).then_some("train.tokens"))?;
    let shown = Tokenising(Meter::begin(printer, "tokenising", Documents::open(&inputs, &options.read)?.total_bytes()));
    let prepared =
        prepare(&inputs, &tokenizer, &args.out, &options, &shown).inspect_err(|_| remove_if_empty(&args.out, fresh))?;
    let seconds = shown.0.seconds();
    drop(shown);
    summary(&prepared, seconds, printer);
    Ok(0)
}

/// Files in the folder that would be replaced: all of them, at once.
fn in_the_way(out: &Path, tokenizer: Option<&Tokenizer>) -> Vec<Problem> {
    let what = "prepare data";
    if out.exists() && !out.is_dir() {
        return vec![Problem::input(what, out.display(), "a file is in the way").hint("choose another --out")];
    }
    let hint = "choose another --out; Temper never overwrites a file";
    let mut problems: Vec<Problem> = temper_data::text::prepare::in_the_way(out);
    let own = out.join("tokenizer.json");
    let differs = |tokenizer: &Tokenizer| fs::read(&own).is_ok_and(|bytes| bytes != tokenizer.to_json());
    if tokenizer.is_some_and(differs) && !claim::left_behind(out) {
        problems.push(Problem::input(what, own.display(), "another tokenizer is there already").hint(hint));
    }
    problems
}

fn summary(prepared: &Prepared, seconds: f64, printer: &Printer) {
    let mut table = Table::new().text_column("file");
    for heading in ["documents", "tokens", "bytes of text", "tokens/byte"] {
        table = table.number_column("", heading);
    }
    let shards: Vec<&ShardInfo> = std::iter::once(&prepared.train).chain(&prepared.validation).collect();
    let row = |name: String, [documents, tokens, bytes]: [u64; 3]| {
        [name, thousands(documents), thousands(tokens), thousands(bytes), density(tokens, bytes)]
    };
    for shard in &shards {
        table.row(row(shard.path.display().to_string(), [shard.documents, shard.tokens, shard.bytes]));
    }
    if shards.len() > 1 {
        let sum = |part: fn(&ShardInfo) -> u64| shards.iter().map(|shard| part(shard)).sum();
        table.row(row("together".to_owned(), [sum(|s| s.documents), sum(|s| s.tokens), sum(|s| s.bytes)]));
    }
    printer.data(table.to_text().trim_end());
    for shard in &shards {
        printer.data(format_args!("sha256 {}  {}", shard.hash, shard.path.display()));
    }
    reading::tell_prepared(prepared, "prepared", crate::reading::ON_THE_LINE, printer);
    if prepared.empty_documents > 0 {
        printer.say(format_args!("left out {}: empty", counted(prepared.empty_documents, "document")));
    }
    if prepared.cut_document {
        printer.warn(
            "the corpus is a single document: its end became the validation set",
            Some("write one document on each line as JSON lines, or give several files"),
        );
    }
    printer.say(format_args!(
        "done in {}; the tokenizer lies beside them: {}",
        duration(seconds),
        prepared.tokenizer.display()
    ));
}

fn density(tokens: u64, bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{:.4}", tokens as f64 / bytes as f64) }
}

/// From now on, a signal that ends the process also removes what was half written into `folder`, and `folder` itself
/// if it is `fresh`. `whole` is the file that comes last: where it is, nothing is missing.
pub(super) fn leave_nothing(folder: &Path, fresh: bool, whole: Option<&'static str>) -> Result<()> {
    let folder = folder.to_owned();
    console::end_at_signal(move || {
        claim::abandon(&folder);
        files::make_no_more();
        // A folder that is being unpacked.
        let ending = format!(".{}.tmp", std::process::id());
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(&ending) {
                _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
            }
        }
        remove_if_empty(&folder, fresh);
        Some(if whole.is_some_and(|name| folder.join(name).exists()) {
            "stopped; all files are there, and complete".into()
        } else {
            "stopped; unfinished files are removed".into()
        })
    })
}

pub(super) fn remove_if_empty(folder: &Path, fresh: bool) {
    if fresh {
        // Fails if anything is in it, as it should.
        _ = fs::remove_dir(folder);
    }
}

fn train_tokenizer(args: &TrainTokenizer, printer: &Printer) -> Outcome {
    let mut problems = Vec::new();
    let inputs = inputs(&args.inputs, &mut problems);
    if args.out.exists() {
        let why = if args.out.is_dir() { "this is a folder" } else { "the file exists already" };
        let problem = Problem::input("train tokenizer", args.out.display(), why);
        problems.push(problem.hint("name a new file for --out; Temper never overwrites a file"));
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let documents = Documents::open(&inputs, &crate::reading::read_options(&args.text_key, args.bad_lines))?;
    reading::tell_notes(documents.notes(), printer);
    let (total, read) = (documents.total_bytes(), documents.counts());
    let seen = Seen::default();
    let meter = Meter::begin(printer, "training", total);
    let tokenizer = watched(documents, args.vocab_size as usize, &read, &seen, &meter)?;
    let seconds = meter.seconds();
    drop(meter);
    files::write_whole(&args.out, tokenizer.to_json())?;
    printer.data(args.out.display());
    let (documents, bytes) = (seen.documents.load(Relaxed), seen.bytes.load(Relaxed));
    printer.say(format_args!(
        "{} entries from {}, {} bytes of text, in {}",
        thousands(tokenizer.vocab_size()),
        counted(documents, "document"),
        thousands(bytes),
        duration(seconds)
    ));
    printer.say(format_args!("fingerprint {}", tokenizer.fingerprint()));
    reading::tell_skipped(&read.skipped(), "texts", crate::reading::ON_THE_LINE, printer);
    if tokenizer.vocab_size() < u64::from(args.vocab_size) {
        printer.warn(
            format_args!("the text has pairs for only {} entries, not {}", tokenizer.vocab_size(), args.vocab_size),
            Some("give more text, or ask for a smaller vocabulary"),
        );
    }
    Ok(0)
}

/// What the trainer has taken in.
#[derive(Default)]
struct Seen {
    documents: AtomicU64,
    bytes: AtomicU64,
}

/// Trains on another thread, while this one shows how far reading has come. Merging begins when all is read.
fn watched(
    documents: Documents,
    entries: usize,
    read: &ReadCount,
    seen: &Seen,
    meter: &Meter<'_>,
) -> Result<Tokenizer> {
    std::thread::scope(|scope| {
        let train = || {
            let counted = documents.inspect(|document: &Result<Document>| {
                if let Ok(document) = document {
                    seen.documents.fetch_add(1, Relaxed);
                    seen.bytes.fetch_add(document.text.len() as u64, Relaxed);
                }
            });
            Tokenizer::train_bpe(counted, entries)
        };
        let training = std::thread::Builder::new().spawn_scoped(scope, train);
        let training = training.map_err(|cause| Problem::no_threads(1, cause))?;
        while !training.is_finished() {
            let bytes = seen.bytes.load(Relaxed);
            let rate = bytes as f64 / meter.seconds().max(1e-3);
            let text = count(bytes as f64);
            match read.input.load(Relaxed) {
                all if all >= meter.total() => meter.at_end(format_args!("{text}B of text read, merging pairs")),
                part => meter.update(part, format_args!("{text}B of text, {}B/s", count(rate))),
            }
            std::thread::sleep(LOOK);
        }
        training.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn info(args: &Info, printer: &Printer) -> Outcome {
    if let Some(splits) = images_of(&args.path) {
        return images_info(&args.path, &splits?, args.json, printer);
    }
    let source = TokenSource::open(&args.path)?;
    // Reads all of the file, one way or the other.
    let largest = match &source {
        TokenSource::Shard(shard) => shard.verify().map(|()| None)?,
        TokenSource::Megatron(_) => largest_id(&source)?,
    };
    let (tokens, documents) = (source.len(), source.documents());
    let shard = match &source {
        TokenSource::Shard(shard) => Some(shard.info()),
        TokenSource::Megatron(_) => None,
    };
    if args.json {
        let mut facts = json!({
            "path": source.path(),
            "format": if shard.is_some() { "tokens" } else { "megatron" },
            "documents": documents,
            "tokens": tokens,
        });
        match shard {
            Some(info) => {
                facts["bytes"] = info.bytes.into();
                facts["lost_characters"] = info.lost.into();
                facts["token_bytes"] = info.token_bytes.into();
                facts["vocabulary"] = json!({
                    "size": info.vocabulary.size,
                    "eod": info.vocabulary.eod,
                    "fingerprint": info.vocabulary.fingerprint,
                });
                facts["sha256"] = info.hash.clone().into();
            }
            None => {
                facts["largest_id"] = largest.into();
                facts["note"] = source.note().map(|note| note.what.clone()).into();
            }
        }
        printer.data(serde_json::to_string_pretty(&facts).expect("plain data has a JSON form"));
        return Ok(0);
    }
    let fact = |name: &str, text: String| printer.data(format_args!("{name:11} {text}"));
    fact("file", source.path().display().to_string());
    match shard {
        Some(info) => fact("format", format!("token shard, {} bytes a token", info.token_bytes)),
        None => fact("format", ".bin/.idx pair of GPT-NeoX or Megatron-LM".to_owned()),
    }
    fact("documents", thousands(documents));
    fact("tokens", thousands(tokens));
    match (shard, largest) {
        (Some(info), _) => {
            let ratio = density(tokens, info.bytes);
            fact("text", format!("{} bytes, {ratio} tokens/byte", thousands(info.bytes)));
            if info.lost > 0 {
                fact("lost", format!("{} that the tokenizer cannot spell", counted(info.lost, "character")));
            }
            let vocabulary = &info.vocabulary;
            fact("vocabulary", format!("{} ids, end of document {}", thousands(vocabulary.size), vocabulary.eod));
            fact("fingerprint", vocabulary.fingerprint.clone());
            fact("sha256", format!("{} (verified)", info.hash));
        }
        (None, largest) => {
            fact(
                "vocabulary",
                format!("not in this format; the largest id is {}", largest.map_or("none".into(), thousands)),
            );
            fact("sha256", "not in this format; every id was read".to_owned());
            if let Some(note) = source.note() {
                printer.warn(&note.what, Some(&note.hint));
            }
        }
    }
    Ok(0)
}

/// The images that the path names, if it is one of images: a folder, a packed file, an archive, a name inside the binary.
fn images_of(path: &Path) -> Option<Result<Splits>> {
    let name = path.to_string_lossy();
    let endings = [".images.zst", ".tar.gz"];
    // For a folder of token files, the error says that it is a folder.
    let folder = path.is_dir() && !path.join("train.tokens").exists();
    let is_images = name.starts_with("builtin:") || folder || endings.iter().any(|end| name.ends_with(end));
    is_images.then(|| certify::images::splits(&name))
}

fn images_info(path: &Path, splits: &Splits, as_json: bool, printer: &Printer) -> Outcome {
    let Splits { train, test } = splits;
    if !as_json {
        printer.data(format_args!("{:11} {}", "path", path.display()));
        images_in_words(splits, |name, text| printer.data(format_args!("{name:11} {text}")));
        for (split, images) in [("training", train), ("test", test)] {
            if let Some(what) = certify::images::passed_over(split, images) {
                printer.warn(what, Some(certify::images::READ));
            }
            printer.data(format_args!("{:11} {} ({split})", "sha256", images.fingerprint()));
        }
        return Ok(0);
    }
    let facts = json!({
        "path": path,
        "format": "images",
        "name": train.name,
        "note": train.note,
        "shape": train.shape,
        "classes": train.class_names,
        "train": { "images": train.len(), "sha256": train.fingerprint(), "not_read": train.passed_over() },
        "test": { "images": test.len(), "sha256": test.fingerprint(), "not_read": test.passed_over() },
    });
    printer.data(serde_json::to_string_pretty(&facts).expect("plain data has a JSON form"));
    Ok(0)
}

/// Tells what a data set is, a name and a text at a time.
pub(super) fn images_in_words(Splits { train, test }: &Splits, tell: impl Fn(&str, String)) {
    let [channels, height, width] = train.shape;
    let colour = if channels == 1 { "grey" } else { "colour" };
    tell("data set", train.name.clone());
    tell(
        "images",
        format!("{} for training, {} for testing", thousands(train.len() as u64), thousands(test.len() as u64)),
    );
    tell("shape", format!("{height}x{width}, {colour}"));
    let (shown, all) = (train.class_names.iter().take(10), train.classes());
    // The printer shows escape sequences as such; a class is one word of a line all the same.
    let names = shown.map(|name| name.replace('\n', "\\n").replace('\t', "\\t")).collect::<Vec<_>>().join(", ");
    tell("classes", format!("{all}: {names}{}", if all > 10 { ", ..." } else { "" }));
    tell("note", train.note.clone().unwrap_or_default());
}

/// The largest id of a stream; none if it is empty.
fn largest_id(source: &TokenSource) -> Result<Option<u64>> {
    let mut ids = vec![0; 1 << 16];
    let mut largest = None;
    for start in (0..source.len()).step_by(ids.len()) {
        let count = (source.len() - start).min(ids.len() as u64) as usize;
        source.read(start, &mut ids[..count])?;
        largest = largest.max(ids[..count].iter().max().map(|id| u64::from(*id)));
    }
    Ok(largest)
}
