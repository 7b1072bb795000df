//! The results of a sweep's runs: the curves of its metrics, run by run, and what they say about its claims. The files for
//! other programs: `metrics.json` (everything that was compared), `table.csv`, `claims.json`.

use std::fmt::Write;

use serde_json::{Value, json};
use temper_base::Listener;
use temper_base::numbers;
use temper_record::csv::quoted;

use crate::file::Setting;
use crate::stats::Spread;
use crate::store;
use crate::tree::Tree;
use crate::{At, Chosen, Claim, Curve, Judged, Relation, Sweep, Variant, judge_all};

/// The times that tables show.
pub const TIMES: [(&str, At); 4] =
    [("start", At::Start), ("peak", At::Peak), ("final", At::Final), ("change", At::Change)];

/// One variant with one seed.
pub struct Measured {
    /// Index of the variant in [`Chosen::variants`].
    pub variant: usize,
    /// Seed.
    pub seed: u64,
    /// What its training is counted in: `tokens` or `images`.
    pub unit: &'static str,
    /// How much it was trained on.
    pub amount: f64,
    /// The name of its directory.
    pub run: String,
    /// The sweep's metrics and those of its claims.
    pub curves: Vec<(String, Curve)>,
}

/// Everything that was measured.
pub struct Results<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// Its size.
    pub chosen: &'a Chosen,
    /// The seeds.
    pub seeds: &'a [u64],
    /// What the command line overrode, as it was given.
    pub overrides: &'a [String],
    /// What is there; variants that failed are not.
    pub measured: Vec<Measured>,
}

/// The validation set that a metric of a sweep means: `old` and `new` are those of the setting.
pub fn set_of<'a>(set: &'a str, setting: Option<&'a Setting>) -> Option<&'a str> {
    match (set, setting) {
        ("old", Some(setting)) => setting.old.as_deref(),
        ("new", Some(setting)) => setting.new.as_deref(),
        _ => Some(set),
    }
}

/// Every metric that tables or claims need.
pub fn metrics(sweep: &Sweep) -> Vec<&String> {
    let mut all: Vec<&String> = Vec::new();
    for metric in sweep.metrics.iter().chain(sweep.claims.iter().map(|claim| &claim.metric)) {
        if !all.contains(&metric) {
            all.push(metric);
        }
    }
    all
}

/// Reads the runs of a tree that are complete.
pub fn read(sweep: &Sweep, chosen: &Chosen, tree: &Tree, listener: &dyn Listener) -> Vec<Measured> {
    let mut measured = Vec::new();
    for row in &tree.rows {
        let node = &tree.nodes[row.node];
        if store::state(&node.path) != store::State::Done {
            continue;
        }
        // A record that can no longer be read costs the report one variant, not the whole page.
        let run = match store::series(&node.path) {
            Ok(run) => run,
            Err(problem) => {
                listener.warnings(&[problem]);
                continue;
            }
        };
        let variant = &chosen.variants[row.variant];
        let setting = chosen.size.settings.iter().find(|setting| setting.name == variant.setting);
        let curve = |metric: &&String| {
            let (set, name) = metric.split_once('/')?;
            Some(((*metric).clone(), Curve::of(&run, set_of(set, setting)?, name)))
        };
        measured.push(Measured {
            variant: row.variant,
            seed: row.seed,
            unit: temper_record::Unit::of_task(&run.info.task).name(),
            amount: (run.last_tokens() - run.info.first_tokens) as f64,
            run: run.name.clone(),
            curves: metrics(sweep).iter().filter_map(curve).collect(),
        });
    }
    measured
}

impl Results<'_> {
    /// The numbers of a variant over its seeds, in the order of the seeds.
    pub fn numbers(&self, variant: usize, metric: &str, at: At) -> Vec<f64> {
        self.seeds.iter().filter_map(|seed| self.number(variant, *seed, metric, at)).collect()
    }

    fn number(&self, variant: usize, seed: u64, metric: &str, at: At) -> Option<f64> {
        let run = self.measured.iter().find(|run| run.variant == variant && run.seed == seed)?;
        run.curves.iter().find(|(name, _)| name == metric)?.1.value_at(at)
    }

    /// The variants of a setting with their indices.
    pub fn variants(&self, setting: &str) -> Vec<(usize, &str)> {
        let all = self.chosen.variants.iter().enumerate();
        all.filter(|(_, variant)| variant.setting == setting).map(|(n, variant)| (n, variant.name.as_str())).collect()
    }

    /// Every claim in every setting that it is about.
    pub fn judged_claims(&self) -> Vec<(&Claim, &Setting, Judged)> {
        judge_all(self.sweep, &self.chosen.size.settings, self.seeds, |claim, setting, variant, seed| {
            let meant = |known: &Variant| known.setting == setting && known.name == variant;
            self.number(self.chosen.variants.iter().position(meant)?, seed, &claim.metric, claim.at)
        })
    }

    /// `claims.json`.
    pub fn claims_json(&self) -> Value {
        let claims = self.judged_claims().into_iter().map(|(claim, setting, judged)| {
            let comparisons = judged.comparisons.iter().map(|pair| {
                json!({
                    "left": pair.left, "right": pair.right, "left_mean": number(pair.means[0]),
                    "right_mean": number(pair.means[1]), "difference": number(pair.difference.mean),
                    "difference_sd": pair.difference.sd, "spread": pair.spread, "seeds": pair.difference.n,
                    "verdict": pair.verdict.key(), "why": pair.why,
                })
            });
            json!({
                "what": claim.what, "source": claim.source.as_ref().unwrap_or(&self.sweep.source),
                "setting": setting.name, "metric": claim.metric, "at": claim.at.to_string(),
                "relation": relation(claim), "along": claim.along,
                "within": (claim.relation == Relation::Equal).then_some(claim.within), "verdict": judged.verdict.key(),
                "comparisons": comparisons.collect::<Vec<_>>(),
            })
        });
        let claims: Vec<Value> = claims.collect();
        json!({
            "sweep": self.sweep.name, "size": self.chosen.size.name, "overrides": self.overrides, "seeds": self.seeds,
            "claims": claims,
        })
    }

    /// `metrics.json`: every evaluation that was compared, so that tables and claims can be made again without the runs.
    pub fn metrics_json(&self) -> Value {
        let runs = self.measured.iter().map(|run| {
            let variant = &self.chosen.variants[run.variant];
            let curves: serde_json::Map<String, Value> = run
                .curves
                .iter()
                .map(|(name, curve)| {
                    let points =
                        curve.0.iter().map(|(part, value)| json!([(part * run.amount).round(), number(*value)]));
                    (name.clone(), points.collect())
                })
                .collect();
            json!({
                "setting": variant.setting, "variant": variant.name, "seed": run.seed, "run": run.run,
                run.unit: run.amount, "metrics": curves,
            })
        });
        let runs: Vec<Value> = runs.collect();
        json!({
            "sweep": self.sweep.name, "size": self.chosen.size.name, "title": self.sweep.title,
            "source": self.sweep.source, "overrides": self.overrides, "seeds": self.seeds, "runs": runs,
        })
    }

    /// `table.csv`: mean and standard deviation of start, peak, final and change.
    pub fn table_csv(&self) -> String {
        let mut out = String::from("setting,variant,metric,seeds");
        for (time, _) in TIMES {
            let _ = write!(out, ",{time},{time}_sd");
        }
        out.push('\n');
        for (index, variant) in self.chosen.variants.iter().enumerate() {
            for metric in &self.sweep.metrics {
                let numbers = TIMES.map(|(_, at)| Spread::of(&self.numbers(index, metric, at)));
                if numbers.iter().all(|number| number.n == 0) {
                    continue;
                }
                let _ = write!(out, "{},{},{metric},{}", quoted(&variant.setting), quoted(&variant.name), numbers[2].n);
                for number in numbers {
                    let sd = number.sd.map_or(String::new(), |sd| sd.to_string());
                    let _ =
                        write!(out, ",{},{sd}", if number.n == 0 { String::new() } else { number.mean.to_string() });
                }
                out.push('\n');
            }
        }
        out
    }
}

/// A relation in a word.
pub fn relation(claim: &Claim) -> &'static str {
    use crate::Relation::{Decreases, Equal, Greater, Increases, Less};
    match claim.relation {
        Less => "<",
        Greater => ">",
        Equal => "about equal",
        Increases => "increases with",
        Decreases => "decreases with",
    }
}

/// A number. JSON has no NaN and no infinity: as in `metrics.jsonl`, a word stands for them.
fn number(value: f64) -> Value {
    if value.is_finite() { value.into() } else { numbers::non_finite_word(value).into() }
}
