//! `temper verify NETWORK.onnx PROPERTY.vnnlib` and `temper verify --instances LIST`: whether an input violates a property, for one question
//! or a whole list of them.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use temper::Network;
use temper_base::files::{lock, write_whole};
use temper_base::hash::{Digest, Sha256, feed_file, finished};
use temper_base::listener::Meter;
use temper_base::{Problem, Result};
use temper_formats::vnnlib::Query;
use temper_formats::{instances, vnnlib, witness};
use temper_verify::ProofVerdict;
use temper_verify::cascade::{Answer, Decision};
use temper_verify::proof::{self, Header, Step};
use temper_verify::{Arithmetic, Settings, Stage};

use crate::args;
use crate::console::Signals;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Whether the first argument names a network and not a run.
pub fn is_network(name: &str) -> bool {
    name.ends_with(".onnx") || name.ends_with(".onnx.gz")
}

/// The word of the competitions for an answer.
fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Unsat => "unsat",
        Answer::Sat(_) => "sat",
        Answer::Unknown(_) => "unknown",
        Answer::Timeout => "timeout",
    }
}

/// The text of a counterexample, in the form of the property's version.
fn counterexample(answer: &Answer, query: &Query) -> Option<String> {
    let Answer::Sat(found) = answer else { return None };
    Some(match &query.variables {
        Some(variables) => witness::write_version_2(variables, &found.input, &found.output),
        None => witness::write(&found.input, &found.output),
    })
}

/// Answers one question.
pub fn one(args: &args::Verify, network: &str, property: &Path, settings: &Settings, printer: &Printer) -> Outcome {
    let signals = Signals::listen_and_answer("stopping (once more to stop at once)")?;
    let begun = Instant::now();
    let stop = || signals.seen_signal().is_some();
    let answered = Network::open(Path::new(network)).and_then(|network| {
        let timeout = settings.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let settings = Settings { timeout, ..settings.clone() };
        if args.proof.is_some() {
            network.ask_for_proof(property, &settings, &stop)
        } else {
            network.ask(property, &settings, &stop).map(|(decision, query)| (decision, query, None))
        }
    });
    if let (Some(path), Err(_)) = (&args.result, &answered) {
        write_whole(path, b"error\n")?;
    }
    let (decision, query, steps) = answered?;
    let proof = match (&args.proof, &decision.answer) {
        (Some(path), Answer::Unsat) => write_proof(path, network, property, decision.arithmetic, steps),
        _ => Ok(()),
    };
    let found = counterexample(&decision.answer, &query);
    if let Some(path) = &args.result {
        let text = format!("{}\n{}", word(&decision.answer), found.as_deref().unwrap_or_default());
        write_whole(path, text.as_bytes())?;
    }
    if let (Some(path), Some(text)) = (&args.witness, &found) {
        write_whole(path, text.as_bytes())?;
    }
    tell(args, network, property, &decision, &query, printer);
    proof?;
    if let Some(signal) = signals.seen_signal() {
        signals.answer_signal();
        return Ok((128 + signal) as u8);
    }
    Ok(0)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|cause| Problem::io("read proof", path, &cause))
}

/// Replays a stored proof.
pub fn check(args: &args::VerifyCheck, printer: &Printer) -> Outcome {
    let begun = Instant::now();
    let (certificate, network) = (bytes(&args.certificate)?, bytes(&args.network)?);
    let property = vnnlib::text(&args.property)?;
    let verdict = std::str::from_utf8(&certificate).map_or_else(
        |_| ProofVerdict::Rejected("a proof that is no text".into()),
        |certificate| temper_verify::check(certificate, &network, &property),
    );
    let seconds = begun.elapsed().as_secs_f64();
    let size = certificate.len();
    let (accepted, result, text) = match &verdict {
        ProofVerdict::Holds(of) => (
            true,
            json!({ "claim": of.arithmetic.name(), "boxes": of.boxes, "leaves": of.leaves,
                "bound": of.bound.is_finite().then_some(of.bound) }),
            format!("accepted: {}, {} leaves, {size} bytes, {seconds:.3} s", of.arithmetic.name(), of.leaves),
        ),
        ProofVerdict::Rejected(why) => (false, json!({ "why": why }), format!("rejected: {why}")),
    };
    if args.json {
        let told = json!({ "accepted": accepted, "proof": result, "bytes": size, "seconds": seconds });
        printer.data(serde_json::to_string_pretty(&told).expect("plain data"));
    } else {
        printer.data(text);
    }
    Ok(u8::from(!accepted))
}

/// Writes the proof of an answer. One that the checker rejects is none: the checker's bounds are its own, and may be looser than those of
/// the search.
fn write_proof(
    path: &Path,
    network: &str,
    property: &Path,
    arithmetic: Arithmetic,
    steps: Option<Vec<Step>>,
) -> Result<()> {
    let fail = |why: String| Problem::input("verify", format!("--proof {}", path.display()), why);
    let steps =
        steps.ok_or_else(|| fail("no proof is kept in plain arithmetic, which shows nothing for sure".into()))?;
    let (network, property) = (bytes(Path::new(network))?, vnnlib::text(property)?);
    let text = proof::write(&Header::new(arithmetic, &network, property.as_bytes()), &steps);
    match temper_verify::check(&text, &network, &property) {
        ProofVerdict::Holds(_) => write_whole(path, text.as_bytes()),
        ProofVerdict::Rejected(why) => Err(fail(format!("its check rejects it, so that it was not written: {why}"))),
    }
}

fn tell(args: &args::Verify, network: &str, property: &Path, decision: &Decision, query: &Query, printer: &Printer) {
    let answer = &decision.answer;
    let why = match answer {
        Answer::Unknown(why) => Some(why.as_str()),
        Answer::Unsat if query.properties.is_empty() => Some("its box is empty: no input lies in it"),
        Answer::Unsat | Answer::Sat(_) | Answer::Timeout => None,
    };
    if args.json {
        let input = if let Answer::Sat(found) = answer { Some((&found.input, &found.output)) } else { None };
        let stages: serde_json::Map<_, _> = Stage::NAMES
            .iter()
            .zip(decision.stages)
            .map(|(name, seconds)| ((*name).to_owned(), json!(seconds)))
            .collect();
        let result = json!({
            "network": network, "property": property, "result": word(answer), "why": why,
            "stage": decision.stage.name(), "arithmetic": decision.arithmetic.name(), "bound": decision.bound,
            "domains": decision.domains, "seconds": decision.seconds, "stage_seconds": stages,
            "input": input.map(|(x, _)| x), "output": input.map(|(_, y)| y), "witness": args.witness,
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
        return;
    }
    let mut text = word(answer).to_owned();
    if let Some(why) = why {
        text += &format!(": {why}");
    }
    text += &format!("\n\nstage       {}\n", decision.stage.name());
    if *answer == Answer::Unsat {
        text += &format!("arithmetic  {}\n", decision.arithmetic.name());
    }
    if decision.domains > 0 {
        text += &format!("domains     {}\n", decision.domains);
    }
    text += &format!("seconds     {:.2}", decision.seconds);
    if let Answer::Sat(found) = answer {
        let outputs: Vec<String> = found.output.iter().take(10).map(|y| format!("{y:.6}")).collect();
        text += &format!("\noutputs     {}", outputs.join(" "));
        text += &match &args.witness {
            Some(path) => format!("\ncounterexample in {}", path.display()),
            None => "\n--witness FILE writes the counterexample".to_owned(),
        };
    }
    printer.data(text);
}

const HEADER: &str = "category,onnx,vnnlib,prepare_time,result,run_time";

/// Answers a list of questions, one line each in `results.csv`; what has a line there is not asked again.
pub fn list(args: &args::Verify, path: &Path, settings: &Settings, printer: &Printer) -> Outcome {
    let all = instances::read(path)?;
    let category = path.parent().and_then(Path::file_name).map_or("instances".into(), |name| name.to_string_lossy());
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("results"));
    let io = |path: &Path, cause: std::io::Error| Problem::io("write results", path, &cause);
    fs::create_dir_all(&folder).map_err(|cause| io(&folder, cause))?;
    let question = json!({
        "list": path, "instances": all.len(), "files_sha256": fingerprint(path, &all), "stages": settings.stages.iter().map(|stage| stage.name()).collect::<Vec<_>>(),
        "arithmetic": settings.arithmetic.name(), "timeout": args.search.timeout.map(|timeout| timeout.as_secs_f64()),
        "max_domains": settings.max_domains, "memory": settings.memory,
    });
    same_question(&folder.join("question.json"), &question)?;
    let file = folder.join("results.csv");
    let opened = OpenOptions::new().read(true).append(true).create(true).open(&file);
    let mut out = opened.map_err(|cause| io(&file, cause))?;
    lock(&out).map_err(|cause| io(&file, cause))?;
    let rows = read_rows(&mut out, &file, &all)?;
    let done = rows.len();
    if done > 0 {
        printer.say(format_args!("{done} of {} instances have answers already: {}", all.len(), file.display()));
    }
    let signals = Signals::listen_and_answer("stopping: abandoning this instance (once more to stop at once)")?;
    let count = |word: &str, counts: &mut Vec<(String, usize)>| match counts.iter_mut().find(|(known, _)| known == word)
    {
        Some((_, count)) => *count += 1,
        None => counts.push((word.to_owned(), 1)),
    };
    let mut counts = Vec::new();
    rows.iter().for_each(|word| count(word, &mut counts));
    let meter = Meter::begin(printer, "verify", (all.len() - done) as u64);
    let mut network: Option<Network> = None;
    for (number, instance) in all.iter().enumerate().skip(done) {
        let begun = Instant::now();
        let [onnx, property] = [&instance.network, &instance.property].map(|name| instances::locate(path, name));
        if network.as_ref().is_none_or(|network| network.path() != onnx) {
            network = None;
        }
        let own = Duration::from_secs_f64(instance.timeout);
        let limit = args.search.timeout.map_or(own, |most| most.min(own));
        let answered = match &network {
            Some(_) => Ok(()),
            None => Network::open(&onnx).map(|opened| network = Some(opened)),
        };
        let answered = answered.and_then(|()| {
            let settings = Settings { timeout: Some(limit.saturating_sub(begun.elapsed())), ..settings.clone() };
            network.as_ref().expect("it was opened").ask(&property, &settings, &|| signals.seen_signal().is_some())
        });
        if signals.seen_signal().is_some() {
            break;
        }
        let word = match &answered {
            Ok((decision, query)) => {
                if let Some(text) = counterexample(&decision.answer, query) {
                    write_whole(&folder.join(format!("{number}.counterexample")), text.as_bytes())?;
                }
                word(&decision.answer)
            }
            Err(problem) => {
                printer.problems(std::slice::from_ref(problem));
                "error"
            }
        };
        let row = format!(
            "{category},{},{},0,{word},{:.3}\n",
            instance.network,
            instance.property,
            begun.elapsed().as_secs_f64()
        );
        out.write_all(row.as_bytes()).and_then(|()| out.sync_data()).map_err(|cause| io(&file, cause))?;
        count(word, &mut counts);
        let so_far: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        meter.update((number + 1 - done) as u64, so_far.join(", "));
    }
    drop(meter);
    let told: Vec<String> = counts.iter().map(|(word, count)| format!("{count:>6} {word}")).collect();
    if args.json {
        let counts: serde_json::Map<_, _> = counts.into_iter().map(|(word, count)| (word, json!(count))).collect();
        printer.data(
            serde_json::to_string_pretty(&json!({ "question": question, "counts": counts, "results": file }))
                .expect("plain data"),
        );
    } else {
        printer.data(format_args!("{}\n\nresults: {}", told.join("\n"), file.display()));
    }
    if let Some(signal) = signals.seen_signal() {
        signals.answer_signal();
        printer.say("stopped; the same command resumes");
        return Ok((128 + signal) as u8);
    }
    Ok(0)
}

/// The hash of a list and of the files that it names, each once, in its order. A file that cannot be read counts as that: the answer to
/// its instances is an error.
fn fingerprint(list: &Path, all: &[instances::Instance]) -> String {
    let mut hash = Sha256::new();
    let mut seen = HashSet::new();
    for instance in all {
        hash.update(format!("{},{},{}\n", instance.network, instance.property, instance.timeout));
        for name in [&instance.network, &instance.property] {
            if seen.insert(name)
                && let Err(cause) = feed_file(&mut hash, &instances::locate(list, name), 0)
            {
                hash.update(cause.kind().to_string());
            }
        }
    }
    finished(hash)
}

/// Writes the question, or checks that it is the one that is there.
fn same_question(path: &Path, question: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(question).expect("plain data") + "\n";
    match fs::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        Ok(found) => Err(temper_verify::store::other_question(path, &found, question)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => write_whole(path, text.as_bytes()),
        Err(cause) => Err(Problem::io("write results", path, &cause)),
    }
}

/// The results so far, after cutting off a line that a kill left half written.
fn read_rows(file: &mut File, path: &Path, all: &[instances::Instance]) -> Result<Vec<String>> {
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|cause| Problem::io("read results", path, &cause))?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let mut cut = || {
        file.set_len(text.len() as u64)?;
        if text.is_empty() {
            text = format!("{HEADER}\n");
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    };
    cut().map_err(|cause| Problem::io("write results", path, &cause))?;
    let whole = &text;
    let damaged = |line: usize, why: &str| {
        Problem::input("read results", format!("{}, line {line}", path.display()), why)
            .hint("remove the folder and verify again")
    };
    let mut lines = whole.lines();
    if lines.next() != Some(HEADER) {
        return Err(damaged(1, "it is not the header of results"));
    }
    let mut rows = Vec::new();
    for (number, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let belongs = |instance: &instances::Instance| {
            fields.get(1) == Some(&instance.network.as_str()) && fields.get(2) == Some(&instance.property.as_str())
        };
        match fields.get(4) {
            Some(word) if fields.len() == 6 && all.get(number).is_some_and(belongs) => rows.push((*word).to_owned()),
            _ => return Err(damaged(number + 2, "it is not the answer to the instance of its place")),
        }
    }
    Ok(rows)
}
