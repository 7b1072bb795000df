//! EVIDENCE.md is made of the committed metrics under `evidence/` and the claims of the sweeps, and of nothing else: this test
//! makes it again and compares. After a change of either,
//!
//! ```text
//! TEMPER_WRITE=1 cargo test --release -p temper-sweep --test evidence
//! ```
//!
//! writes it. A folder under `evidence/` is named after its sweep and holds `metrics.json` and the figures as
//! `temper sweep` leaves them, and `about.toml`: command, commit, date, machine, time, a sentence on why for every claim that
//! is not found to hold, and a remark if there is one to make.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use temper_record::console::digits;
use temper_sweep::file::Setting;
use temper_sweep::stats::Spread;
use temper_sweep::{Claim, Curve, Judged, Measure, Relation, Sweep, Verdict, judge_all};

const HEAD: &str = "# Evidence

What the papers claim and what was measured here, at the scale of a machine with two cores: a GPT-NeoX of 1.2 million
parameters on Debian's documentation (old) and German or English prose (new), and narrow image classifiers, which are trained on
a third of MNIST in eight epochs (`fastibp/ramp`: sixteen): less than the older methods need (LOG.md has a few runs on all of
it). This says whether an effect shows at this scale; it does not reproduce the papers' numbers.

A claim *holds* where the mean difference over the seeds, paired seed by seed, has the claimed sign and is larger than half the
width of its 95 % confidence interval (Student's t, the number after ±), *does not hold* where it has the other sign and is
larger, and is *undecided* otherwise. *About equal* (≈) holds where difference and interval together stay within the limit that
stands beside it, does not hold where the difference less the interval is beyond it, and is undecided otherwise. One that is made
of several pairs holds if every pair does, and does not if one does not. Numbers of a variant are mean ± sample standard
deviation over the seeds. Losses are in nats a token, errors in per cent. The claims of arXiv 2308.04014 were made of a weak
shift, from the Pile to SlimPajama; they are tried here on German as well, the strong shift of arXiv 2403.08763.

This file is made of the metrics under `evidence/` by `crates/sweep/tests/evidence.rs`, which fails where a number differs.
";

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
        Self { name, sweep, metrics, about, figures }
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
        Curve(points.collect()).at(claim.at)
    }

    fn judged(&self) -> Vec<(&Claim, &str, Judged)> {
        let number = |claim: &Claim, setting: &str, variant: &str, seed| self.number(claim, setting, variant, seed);
        let all = judge_all(&self.sweep, self.settings(), &self.seeds(), number).into_iter();
        all.map(|(claim, setting, judged)| (claim, setting.name.as_str(), judged)).collect()
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
    let sum = |measure: Measure, about: &str| {
        let runs = runs.iter().filter(|run| run.sweep.measure == measure);
        let all: Vec<Verdict> = runs.flat_map(|run| run.judged()).map(|(_, _, judged)| judged.verdict).collect();
        let count = |verdict| all.iter().filter(|found| **found == verdict).count();
        let [holds, not, undecided] = [Verdict::Holds, Verdict::DoesNotHold, Verdict::Undecided].map(count);
        format!("Of {} claims about {about}, {holds} hold, {not} do not, {undecided} are undecided.", all.len())
    };
    let training = sum(Measure::Runs, "training (counted in every setting that they were tried in)");
    let gains = sum(Measure::Gains, "fresh weights (counted on every network)");
    let _ = writeln!(out, "\n{training} {gains}\n");
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
            let _ = writeln!(out, "| `{}` | {} | {holds} | {not} | {undecided} |", run.name, claim.what);
        }
    }
    for run in &runs {
        out += &section(run);
    }
    out
}

fn section(run: &Run) -> String {
    let mut out = format!("\n## {}: {}\n\n", run.name, run.sweep.title);
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
    // What does not hold for one reason in several settings is said once.
    let mut notes: Vec<(&Claim, Verdict, &str, Vec<&str>)> = Vec::new();
    for (claim, setting, judged) in run.judged() {
        let single = judged.comparisons.len() == 1;
        let within =
            if claim.relation == Relation::Equal { format!(", within {}", claim.within) } else { String::new() };
        let what = format!("{} ({} {}{within})", claim.what, claim.metric, claim.at);
        if !single {
            let _ = writeln!(out, "| {what} | {setting} | | | | | {} |", bold(judged.verdict));
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
                if single { bold(judged.verdict) } else { pair.verdict.to_string() },
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
    if run.sweep.measure == Measure::Gains {
        out += "\nNothing is trained here: the networks are drawn and looked at.\n";
    }
    if let Some(remark) = run.about.get("remark").and_then(toml::Value::as_str) {
        let _ = writeln!(out, "\n{remark}");
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for (claim, verdict, why, settings) in notes {
        let settings = settings.join(", ");
        let place = if settings.is_empty() { String::new() } else { format!(" ({settings})") };
        let _ = writeln!(out, "* *{}*{place}: {verdict}: {why}", claim.what);
    }
    out
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
