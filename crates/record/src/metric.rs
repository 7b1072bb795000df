//! The table of metrics: what every number that a run records is called, how it is written, and what it is good for.
//!
//! Console lines, reports, sweeps and the choice of the best checkpoint look a metric up here by its name in `metrics.jsonl`. CSV
//! columns and TensorBoard tags are that name. A new metric is a line of [`METRICS`]. One that is not in it, of another version
//! of Temper say, is read, kept and shown all the same, under its own name and in five digits.

use temper_base::numbers::{count, digits, duration, percent, radius, word};

use crate::event::{CERTIFY, LM};

/// What is known about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name in `metrics.jsonl`. Where [`by_layer`](Self::by_layer) is set, `.` and the name of a layer follow.
    pub name: &'static str,
    /// What figures and tables call it.
    pub title: &'static str,
    /// What a line or a column calls it that has little room.
    pub short: &'static str,
    /// Its unit, where the title leaves it open.
    pub unit: &'static str,
    /// How its numbers are written.
    pub style: Style,
    /// Which of two numbers is the better one.
    pub better: Better,
    /// Whether it follows from the number of the update, as what the schedule sets and clocks do. Where updates are merged the last
    /// one has it; all other metrics are averaged.
    pub of_the_last: bool,
    /// Whether every layer has one.
    pub by_layer: bool,
    /// The task whose runs sweeps compare by it, at evaluations.
    pub compares: Option<&'static str>,
    /// What it is, in a sentence for below a table; empty if the title says it.
    pub definition: &'static str,
}

/// How the numbers of a metric are written: on lines, which stand below each other, and in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Five digits, four in a table.
    Plain,
    /// Four digits.
    Four,
    /// Four decimals.
    Decimals,
    /// A power of ten, four digits in a table.
    Power,
    /// A power of ten, in a table as radii of boxes are known: `0.3`, `8/255`.
    Radius,
    /// Two decimals, four digits in a table.
    Percent,
    /// A count in three digits: `1.64M`.
    Count,
    /// The same of something in a second.
    Rate,
    /// `4m07s`.
    Duration,
}

/// Which of two numbers is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// Neither.
    Neither,
}

use Better::{Higher, Lower};
use Style::{Count, Decimals, Duration, Four, Percent, Plain, Power, Radius, Rate};

/// Every metric that runs record.
pub const METRICS: &[Metric] = &[
    // Of updates and evaluations. A classifier's loss is per image, and nothing shows it with its unit.
    row("loss", "loss", Decimals)
        .is(Lower)
        .unit("nats per token")
        .compares(LM)
        .defined("Loss is the mean negative log-likelihood in nats per token."),
    row("perplexity", "perplexity", Four).is(Lower).compares(LM).defined("Perplexity is exp(loss)."),
    row("bits_per_byte", "bits per byte", Decimals).is(Lower).compares(LM).defined(
        "Bits per byte is the total loss in bits over the UTF-8 bytes of the text; only it compares across tokenizers.",
    ),
    row("set_tokens", "set tokens", Count),
    row("set_bytes", "set bytes", Count),
    // Of updates.
    row("lr", "learning rate", Power).of_the_last(),
    row("grad_norm", "gradient norm", Plain),
    row("tokens_per_s", "tokens per second", Rate).is(Higher).short("tok/s"),
    row("images_per_s", "images per second", Rate).is(Higher).short("img/s"),
    row("seconds", "seconds", Duration).of_the_last(),
    row("epoch", "epoch", Plain).of_the_last(),
    // Of image classifiers' updates; the radius of their evaluations too.
    row("eps", "epsilon", Radius).of_the_last(),
    row("weight", "λ, the weight of the regularisers", Power).of_the_last(),
    row("adversarial_loss", "adversarial loss", Decimals).is(Lower).unit("nats per image"),
    row("tightness", "tightness regulariser, unweighted", Plain).is(Lower),
    row("relu_balance", "ReLU-balance regulariser, unweighted", Plain).is(Lower),
    // Of image classifiers' evaluations; the losses of their updates too.
    row("standard_error", "standard error", Percent).is(Lower).short("standard").unit("%").compares(CERTIFY),
    row("certified_error", "certified error", Percent).is(Lower).short("certified").unit("%").compares(CERTIFY),
    row("clean_loss", "clean loss", Decimals).is(Lower).unit("nats per image").compares(CERTIFY),
    row("robust_loss", "robust loss", Decimals).is(Lower).unit("nats per image").compares(CERTIFY),
    row("certified_error_current", "certified error current", Percent)
        .is(Lower)
        .short("certified")
        .unit("%")
        .compares(CERTIFY),
    row("pgd_error", "PGD error", Percent).is(Lower).short("PGD").unit("%").compares(CERTIFY),
    row("pgd_error_current", "pgd error current", Percent).is(Lower).short("PGD").unit("%"),
    row("eps_current", "eps current", Radius),
    row("pgd_images", "pgd images", Plain),
    row("images", "images", Plain),
    row("rounding", "rounding", Plain),
    row("active", "active", Plain).by_layer(),
    row("unstable", "unstable", Plain).by_layer(),
    row("inactive", "inactive", Plain).by_layer(),
    row("width", "width", Plain).by_layer(),
];

const fn row(name: &'static str, title: &'static str, style: Style) -> Metric {
    let (better, of_the_last, by_layer) = (Better::Neither, false, false);
    Metric { name, title, short: name, unit: "", style, better, of_the_last, by_layer, compares: None, definition: "" }
}

impl Metric {
    const fn is(self, better: Better) -> Self {
        Self { better, ..self }
    }

    const fn short(self, short: &'static str) -> Self {
        Self { short, ..self }
    }

    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn of_the_last(self) -> Self {
        Self { of_the_last: true, ..self }
    }

    const fn by_layer(self) -> Self {
        Self { by_layer: true, ..self }
    }

    const fn compares(self, task: &'static str) -> Self {
        Self { compares: Some(task), ..self }
    }

    const fn defined(self, definition: &'static str) -> Self {
        Self { definition, ..self }
    }
}

/// The metric that is recorded under this name, if the table has it.
pub fn find(name: &str) -> Option<&'static Metric> {
    let (stem, layer) = name.split_once('.').map_or((name, false), |(stem, _)| (stem, true));
    METRICS.iter().find(|metric| metric.name == stem && metric.by_layer == layer)
}

/// The same, and what can be assumed of one that the table does not have; its name and title are then empty.
pub fn of(name: &str) -> &'static Metric {
    const UNKNOWN: &Metric = &row("", "", Plain);
    find(name).unwrap_or(UNKNOWN)
}

/// The metrics that sweeps compare runs of a task by.
pub fn compared(task: &str) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.compares == Some(task))
}

/// What figures and tables call the metric of this name.
pub fn title(name: &str) -> String {
    match find(name) {
        Some(metric) => metric.title.to_owned() + &name[metric.name.len()..].replace('_', " "),
        None => name.replace('_', " "),
    }
}

/// Its value on a line, at the end of a curve, or beside a unit.
pub fn line(name: &str, value: f64) -> String {
    match of(name).style {
        _ if !value.is_finite() => word(value).to_owned(),
        Power | Radius => format!("{value:.2e}"),
        Plain => digits(value, 5),
        Percent => percent(value),
        _ => cell(name, value),
    }
}

/// Its value in a table.
pub fn cell(name: &str, value: f64) -> String {
    match of(name).style {
        _ if !value.is_finite() => word(value).to_owned(),
        Decimals => format!("{value:.4}"),
        Plain | Four | Power | Percent => digits(value, 4),
        Radius => radius(value),
        Count | Rate => count(value),
        Duration => duration(value),
    }
}

/// Whether the metric of this name is better at `new` than at `old`.
pub fn improves(name: &str, new: f64, old: f64) -> bool {
    match of(name).better {
        Better::Lower => new < old,
        Better::Higher => new > old,
        Better::Neither => false,
    }
}
