//! EVIDENCE.md is made of the committed metrics under `evidence/` and the claims of the sweeps, and of nothing else: this test
//! makes it again and compares. After a change of either,
//!
//! ```text
//! TEMPER_WRITE=1 cargo test --release -p temper-sweep --test evidence
//! ```
//!
//! writes it. A folder under `evidence/` is named after its sweep and holds `metrics.json` and the figures as
//! `temper sweep` leaves them, `stages.json` of `scripts/certify_sweep.py` if its networks were verified, and `about.toml`: command, commit, date, machine, time, a `[[note]]` on why for every claim that
//! is not found to hold, a `[[mark]]` (see [`MARKS`]) for what was decided after numbers had been seen, about one `claim` or, where
//! it names none, about all of them, and a remark if there is one to make.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use temper_base::numbers::digits;
use temper_sweep::file::Setting;
use temper_sweep::stats::Spread;
use temper_sweep::{Claim, Curve, Judged, Measure, Relation, Sweep, Verdict, judge_all};

const HEAD: &str = "# Evidence

* [The scale](#the-scale)
* [The verdicts](#the-verdicts)
* [All claims](#all-claims)
";

const ABOUT: &str = "
## The scale

This file puts what the papers claim beside what we measured on machines with two cores. The language model is a GPT-NeoX of 1.2 million
parameters; its old text is Debian's documentation, its new text German or English prose. The image classifiers are narrow and train on
a third of MNIST in eight epochs (`fastibp/ramp`: sixteen). That is less than the older methods need; LOG.md has a few runs on all of
MNIST. The file shows whether an effect appears at this scale. It does not reproduce the papers' numbers.

The claims of arXiv 2308.04014 are about a weak shift, from the Pile to SlimPajama. We also test them on German, the strong shift
of arXiv 2403.08763. Losses are in nats a token, errors in per cent.

## The verdicts

Differences are taken seed by seed. A claim *holds* if the mean difference over the seeds has the claimed sign and is larger than half
the width of its 95 % confidence interval (Student's t; the number after ±). It *does not hold* if the difference has the other sign and is
larger than that, and is *undecided* otherwise. *About equal* (≈) holds if difference and interval together stay within the limit beside
it. It does not hold if the difference less the interval is beyond the limit, and is undecided otherwise. A claim made of several pairs
holds if every pair does, and does not hold if one does not. Numbers of a variant are mean ± sample standard deviation over the seeds.

A letter beside a verdict marks what was decided after numbers had been seen, which weakens a claim:

";

const MADE: &str = "
The test `crates/sweep/tests/evidence.rs` makes this file from the metrics under `evidence/`, and fails where a number differs.

## All claims
";

/// What weakens a claim, with the letter that stands for it: the mark of `about.toml`, and what it means.
const MARKS: [(&str, char, &str); 3] = [
    ("chosen after a pilot", 'p', "a pilot run had shown that another setting gives no answer"),
    ("restated after the run", 'r', "the claim asked for something else before the run"),
    ("seeds added", 's', "more seeds were run because the first ones did not decide"),
];

#[test]
fn evidence_is_what_the_metrics_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (made, path) = (document(&root), root.join("EVIDENCE.md"));
    if std::env::var_os("TEMPER_WRITE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(found.lines()).position(|(made, found)| made != found);
    if let Some(line) = differs {
        let [made, found] = [&made, &found].map(|text| text.lines().nth(line).unwrap());
        panic!("EVIDENCE.md, line {}, is\n{found}\nand the metrics say\n{made}", line + 1);
    }
    assert_eq!(made.lines().count(), found.lines().count(), "EVIDENCE.md ends elsewhere");
}

#[test]
fn the_evidence_is_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../evidence");
    let bytes: u64 = files(&root).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 5_000_000, "{bytes} bytes");
}

/// One sweep that was run.
struct Run {
    name: String,
    sweep: Sweep,
    metrics: Value,
    about: toml::Table,
    figures: Vec<String>,
    /// What the stages of the verifier certify, as `scripts/certify_sweep.py` leaves it; empty if nothing was verified.
    stages: Vec<Value>,
}

impl Run {
    fn read(root: &Path, folder: &Path) -> Self {
        let name = folder.strip_prefix(root.join("evidence")).unwrap().to_string_lossy().replace('\\', "/");
        let text =
            |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        let sweep = Sweep::parse(&name, &text(root.join(format!("sweeps/{name}.toml")))).expect("a sweep");
        let metrics = serde_json::from_str(&text(folder.join("metrics.json"))).expect("metrics");
        let about = text(folder.join("about.toml")).parse().expect("about.toml");
        let svg = |path: PathBuf| Some(path.strip_prefix(folder).ok()?.to_str()?.strip_suffix(".svg")?.to_owned());
        let mut figures: Vec<String> = files(folder).into_iter().filter_map(svg).collect();
        figures.sort();
        let stages = folder.join("stages.json");
        let stages = if stages.exists() { serde_json::from_str(&text(stages)).expect("stages") } else { Vec::new() };
        Self { name, sweep, metrics, about, figures, stages }
    }

    fn about(&self, key: &str) -> &str {
        let found = self.about.get(key).and_then(toml::Value::as_str);
        found.unwrap_or_else(|| panic!("evidence/{}/about.toml: no {key}", self.name))
    }

    fn seeds(&self) -> Vec<u64> {
        self.metrics["seeds"].as_array().expect("seeds").iter().filter_map(Value::as_u64).collect()
    }

    fn settings(&self) -> &[Setting] {
        let size = self.metrics["size"].as_str().expect("size");
        &self.sweep.sizes.iter().find(|known| known.name == size).expect("a size of the sweep").settings
    }

    /// The metric of a claim at its time, for one variant and seed.
    fn number(&self, claim: &Claim, setting: &str, variant: &str, seed: u64) -> Option<f64> {
        let runs = self.metrics["runs"].as_array()?;
        let run = runs
            .iter()
            .find(|run| run["setting"] == setting && run["variant"] == variant && run["seed"].as_u64() == Some(seed))?;
        let amount = run["tokens"].as_f64().or(run["images"].as_f64()).unwrap_or(1.0).max(1.0);
        let points = run["metrics"][&claim.metric].as_array()?.iter();
        let points =
            points.filter_map(|point| Some((point[0].as_f64()? / amount, point[1].as_f64().unwrap_or(f64::NAN))));
        Curve(points.collect()).value_at(claim.at)
    }

    fn judged(&self) -> Vec<(&Claim, &str, Judged)> {
        let number = |claim: &Claim, setting: &str, variant: &str, seed| self.number(claim, setting, variant, seed);
        let all = judge_all(&self.sweep, self.settings(), &self.seeds(), number).into_iter();
        all.map(|(claim, setting, judged)| (claim, setting.name.as_str(), judged)).collect()
    }

    /// The marks on one of its claims: the letter, the mark and why it is there.
    fn marks(&self, claim: &Claim) -> Vec<(char, &str, &str)> {
        let marks = self.about.get("mark").and_then(toml::Value::as_array).into_iter().flatten();
        let mut found = Vec::new();
        for mark in marks {
            let text = |key: &str| mark.get(key).and_then(toml::Value::as_str);
            let meant = text("claim");
            let known = meant.is_none_or(|what| self.sweep.claims.iter().any(|claim| claim.what == what));
            assert!(known, "evidence/{}/about.toml: a mark on {meant:?}, which is no claim", self.name);
            let name =
                text("mark").unwrap_or_else(|| panic!("evidence/{}/about.toml: a mark without a name", self.name));
            let letter = MARKS.iter().find(|(known, _, _)| *known == name).map(|(_, letter, _)| *letter);
            let letter = letter.unwrap_or_else(|| panic!("evidence/{}/about.toml: unknown mark {name}", self.name));
            if meant.is_none_or(|what| what == claim.what) {
                let why = text("why").unwrap_or_else(|| panic!("evidence/{}/about.toml: why {name}?", self.name));
                found.push((letter, name, why));
            }
        }
        found
    }

    /// The letters beside the verdict on a claim, e.g. ` [p, s]`; nothing on most.
    fn letters(&self, claim: &Claim) -> String {
        let letters: Vec<String> = self.marks(claim).iter().map(|(letter, _, _)| letter.to_string()).collect();
        if letters.is_empty() { String::new() } else { format!(" [{}]", letters.join(", ")) }
    }

    fn heading(&self) -> String {
        format!("{}: {}", self.name, self.sweep.title)
    }

    /// Why a claim is not found to hold.
    fn note(&self, claim: &Claim, setting: &str) -> &str {
        let notes = self.about.get("note").and_then(toml::Value::as_array).into_iter().flatten();
        let meant = |note: &&toml::Value| {
            let is = |key: &str, value: &str| note.get(key).and_then(toml::Value::as_str) == Some(value);
            is("claim", &claim.what) && (setting.is_empty() || note.get("setting").is_none() || is("setting", setting))
        };
        let found = notes.into_iter().find(meant).and_then(|note| note.get("why")?.as_str());
        found.unwrap_or_else(|| {
            panic!("evidence/{}/about.toml: why does `{}` not hold ({setting})?", self.name, claim.what)
        })
    }
}

fn document(root: &Path) -> String {
    let mut folders: Vec<PathBuf> = files(&root.join("evidence"))
        .into_iter()
        .filter(|path| path.ends_with("metrics.json"))
        .map(|path| path.parent().unwrap().to_owned())
        .collect();
    // Continual pre-training first.
    folders.sort_by_key(|folder| (folder.components().any(|part| part.as_os_str() == "fastibp"), folder.clone()));
    let runs: Vec<Run> = folders.iter().map(|folder| Run::read(root, folder)).collect();
    let mut out = HEAD.to_owned();
    for run in &runs {
        let _ = writeln!(out, "* [{}](#{})", run.heading(), anchor(&run.heading()));
    }
    out += ABOUT;
    for (mark, letter, meaning) in MARKS {
        let _ = writeln!(out, "* **{letter}**, {mark}: {meaning}.");
    }
    out += MADE;
    let all = |measure: Measure, with_marks: bool| -> Vec<Verdict> {
        let runs = runs.iter().filter(|run| run.sweep.measure == measure);
        let judged = runs.flat_map(|run| run.judged().into_iter().map(move |(claim, _, judged)| (run, claim, judged)));
        let counted = judged.filter(|(run, claim, _)| with_marks || run.marks(claim).is_empty());
        counted.map(|(_, _, judged)| judged.verdict).collect()
    };
    let sum = |all: &[Verdict]| {
        let count = |verdict| all.iter().filter(|found| **found == verdict).count();
        let [holds, not, undecided] = [Verdict::Holds, Verdict::DoesNotHold, Verdict::Undecided].map(count);
        format!("{holds} hold, {not} do not and {undecided} are undecided")
    };
    let [training, plain, gains] = [(Measure::Runs, true), (Measure::Runs, false), (Measure::Gains, true)]
        .map(|(measure, marked)| all(measure, marked));
    let _ = writeln!(
        out,
        "\nOf {} claims about training, {} (a claim counts once for every setting that it was tested in). Without the {} that carry a mark, \
        {} remain: {}. Of {} claims about fresh weights (a claim counts once for every network), {}.\n",
        training.len(),
        sum(&training),
        training.len() - plain.len(),
        plain.len(),
        sum(&plain),
        gains.len(),
        sum(&gains),
    );
    out += "| sweep | claim | holds | does not hold | undecided |\n|---|---|---|---|---|\n";
    for run in &runs {
        let judged = run.judged();
        for claim in &run.sweep.claims {
            let cell = |verdict| {
                let found = judged.iter().filter(|(known, _, judged)| known == &claim && judged.verdict == verdict);
                let names: Vec<&str> =
                    found.map(|(_, setting, _)| if setting.is_empty() { "yes" } else { setting }).collect();
                names.join(", ")
            };
            let [holds, not, undecided] = [Verdict::Holds, Verdict::DoesNotHold, Verdict::Undecided].map(cell);
            let [holds, not, undecided] = [holds, not, undecided].map(|cell| match cell.as_str() {
                "" => cell,
                settings => format!("{settings}{}", run.letters(claim)),
            });
            let _ = writeln!(out, "| `{}` | {} | {holds} | {not} | {undecided} |", run.name, claim.what);
        }
    }
    for run in &runs {
        out += &section(run);
    }
    out
}

fn section(run: &Run) -> String {
    let mut out = format!("\n## {}\n\n", run.heading());
    let seeds: Vec<String> = run.seeds().iter().map(u64::to_string).collect();
    let _ = writeln!(
        out,
        "{}. `{}`, commit {}, {}, {}, {}; seeds {}.\n",
        run.sweep.source,
        run.about("command"),
        run.about("commit"),
        run.about("date"),
        run.about("machine"),
        run.about("time"),
        seeds.join(", ")
    );
    for figure in &run.figures {
        let _ = writeln!(out, "![{} of {}](evidence/{}/{figure}.svg)", figure.replace('-', " "), run.name, run.name);
    }
    if !run.figures.is_empty() {
        out.push('\n');
    }
    out += "| claim | data | pair | left | right | difference | verdict |\n|---|---|---|---|---|---|---|\n";
    // One note serves several settings in which a claim fails for the same reason.
    let mut notes: Vec<(&Claim, Verdict, &str, Vec<&str>)> = Vec::new();
    for (claim, setting, judged) in run.judged() {
        let single = judged.comparisons.len() == 1;
        let within =
            if claim.relation == Relation::Equal { format!(", within {}", claim.within) } else { String::new() };
        let what = format!("{} ({} {}{within})", claim.what, claim.metric, claim.at);
        let verdict = format!("{}{}", bold(judged.verdict), run.letters(claim));
        if !single {
            let _ = writeln!(out, "| {what} | {setting} | | | | | {verdict} |");
        }
        for pair in &judged.comparisons {
            let side = |name: &str| {
                let numbers: Vec<f64> =
                    run.seeds().iter().filter_map(|seed| run.number(claim, setting, name, *seed)).collect();
                let spread = Spread::of(&numbers);
                spread.sd.map_or(number(spread.mean), |sd| format!("{} ± {}", number(spread.mean), digits(sd, 2)))
            };
            let half = pair.spread.map_or(String::new(), |half| format!(" ± {}", digits(half, 2)));
            let _ = writeln!(
                out,
                "| {} | {} | {} {} {} | {} | {} | {}{half} | {} |",
                if single { what.as_str() } else { "" },
                if single { setting } else { "" },
                pair.left,
                sign(claim),
                pair.right,
                side(&pair.left),
                side(&pair.right),
                digits(pair.difference.mean, 3),
                if single { verdict.clone() } else { pair.verdict.to_string() },
            );
        }
        if judged.verdict != Verdict::Holds {
            let why = run.note(claim, setting);
            let same = |note: &&mut (&Claim, Verdict, &str, Vec<&str>)| {
                note.0 == claim && note.1 == judged.verdict && note.2 == why
            };
            match notes.iter_mut().find(same) {
                Some(note) => note.3.push(setting),
                None => notes.push((claim, judged.verdict, why, vec![setting])),
            }
        }
    }
    out += &certified_by_stage(run);
    if run.sweep.measure == Measure::Gains {
        out += "\nNothing is trained here: Temper draws the first weights of each network and measures them.\n";
    }
    if let Some(remark) = run.about.get("remark").and_then(toml::Value::as_str) {
        let _ = writeln!(out, "\n{remark}");
    }
    let mut marks: Vec<(char, &str, &str)> = run.sweep.claims.iter().flat_map(|claim| run.marks(claim)).collect();
    marks.sort();
    marks.dedup();
    if !marks.is_empty() || !notes.is_empty() {
        out.push('\n');
    }
    for (letter, mark, why) in marks {
        let _ = writeln!(out, "* **{letter}**, {mark}: {why}");
    }
    for (claim, verdict, why, settings) in notes {
        let settings = settings.join(", ");
        let place = if settings.is_empty() { String::new() } else { format!(" ({settings})") };
        let _ = writeln!(out, "* *{}*{place}: {verdict}: {why}", claim.what);
    }
    out
}

/// The shares of images that the stages of `temper verify` certify, a row a variant.
fn certified_by_stage(run: &Run) -> String {
    const COUNTS: [&str; 7] = ["misclassified", "attacked", "ibp", "crown", "alpha", "bab", "open"];
    let Some(first) = run.stages.first() else { return String::new() };
    let count = |entry: &Value, name: &str| entry[name].as_f64().expect("a number");
    let text = |entry: &Value, name: &str| entry[name].as_str().expect("a text").to_owned();
    let asked = |entry: &Value| [&entry["eps"], &entry["timeout"], &entry["images"]].map(Value::to_string);
    assert!(run.stages.iter().all(|entry| asked(entry) == asked(first)), "evidence/{}: several questions", run.name);
    let (eps, timeout, images) = (text(first, "eps"), count(first, "timeout"), count(first, "images"));
    let mut out = format!(
        "\nThe verdicts of `temper verify` on the first {images} test images at epsilon {eps}, up to {timeout} seconds an image, in per cent. A \
        stage counts what those before it left open.\n\n| variant | {} | certified in all | seeds |\n|---|{}\n",
        COUNTS.join(" | "),
        "---|".repeat(COUNTS.len() + 2),
    );
    let mut variants: Vec<[String; 2]> = Vec::new();
    for entry in &run.stages {
        assert_eq!(COUNTS.iter().map(|name| count(entry, name)).sum::<f64>(), images, "{entry}");
        let variant = ["setting", "variant"].map(|name| text(entry, name));
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    for variant in variants {
        let of = |entry: &&Value| ["setting", "variant"].map(|name| text(entry, name)) == variant;
        let entries: Vec<&Value> = run.stages.iter().filter(of).collect();
        let share = |names: &[&str]| {
            let all: f64 = entries.iter().flat_map(|entry| names.iter().map(|name| count(entry, name))).sum();
            format!("{:.1}", 100.0 * all / images / entries.len() as f64)
        };
        let cells: Vec<String> = COUNTS.iter().map(|name| share(&[name])).collect();
        let seeds: Vec<String> = entries.iter().map(|entry| entry["seed"].to_string()).collect();
        let name = if variant[0].is_empty() { variant[1].clone() } else { variant.join(", ") };
        let all = share(&["ibp", "crown", "alpha", "bab"]);
        let _ = writeln!(out, "| {name} | {} | {all} | {} |", cells.join(" | "), seeds.join(", "));
    }
    out
}

/// The anchor that Markdown gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

fn bold(verdict: Verdict) -> String {
    format!("**{verdict}**")
}

fn sign(claim: &Claim) -> &'static str {
    match claim.relation {
        Relation::Less | Relation::Increases => "<",
        Relation::Greater | Relation::Decreases => ">",
        Relation::Equal => "≈",
    }
}

fn number(value: f64) -> String {
    digits(value, 4)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all
}
