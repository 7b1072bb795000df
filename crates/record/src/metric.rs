//! The table of metrics: what every number that a run records is called, how it is written, and what it is good for.
//!
//! Console lines, reports, sweeps and the choice of the best checkpoint look a metric up here by its name in `metrics.jsonl`. CSV
//! columns and TensorBoard tags are that name. A new metric is a line of [`METRICS`]: the line says where it is shown, and its
//! place among the others in which order. One that is not in it, of another version of Temper say, is read, kept and shown all
//! the same, under its own name and in five digits.

mod format;

use crate::event::{CERTIFY, LM};

pub use format::{cell, improves, line, title};

/// What is known about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name in `metrics.jsonl`. Where `by_layer` is set, `.` and the name of a layer or stage follow.
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
    /// Whether every layer has one, or every stage of a verification.
    pub by_layer: bool,
    /// The task whose runs sweeps compare by it, at evaluations.
    pub compares: Option<&'static str>,
    /// The lines, tables and figures of a choice of metrics that have it.
    pub shown: &'static [Place],
    /// What its panel of a figure is headed.
    pub heading: &'static str,
    /// What it is, in a sentence for below a table; empty if the title says it.
    pub definition: &'static str,
}

/// A line, table or figure that shows some metrics, in the order of [`METRICS`]. What shows every metric that was recorded has no
/// place here: CSV, TensorBoard, the lines of language models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The console's line of an image classifier's update: a column each.
    UpdateLine,
    /// The end of that line, for what not every update has: no column moves when it is gone.
    UpdateLineEnd,
    /// The errors of an image classifier at the target radius: the console's line of an evaluation, and the report's table and
    /// figure of them.
    Errors,
    /// The same at the radius of the schedule.
    CurrentErrors,
    /// The schedule beneath the figure of the errors.
    BeneathErrors,
    /// The figure of an image classifier's losses, on logarithmic axes.
    Losses,
    /// The same figure, on axes from 0.
    Regularisers,
    /// What drives the losses, beneath them.
    BeneathLosses,
    /// The schedule beneath a language model's curves.
    BeneathCurves,
    /// The figure of a language model's training.
    Training,
    /// The tables of language models.
    Table,
    /// The table of runs that follow each other.
    Stages,
}

// What code asks for by name, since it computes with it, chooses by it or tells runs apart by it.

/// The loss.
pub const LOSS: &str = "loss";
/// exp(loss).
pub const PERPLEXITY: &str = "perplexity";
/// The loss in bits over the bytes of the text.
pub const BITS_PER_BYTE: &str = "bits_per_byte";
/// The learning rate.
pub const LR: &str = "lr";
/// The radius: of an update, or the target of evaluations.
pub const EPS: &str = "eps";
/// The radius of the schedule at an evaluation.
pub const EPS_CURRENT: &str = "eps_current";
/// Speed of a language model's updates.
pub const TOKENS_PER_S: &str = "tokens_per_s";
/// Speed of an image classifier's updates.
pub const IMAGES_PER_S: &str = "images_per_s";
/// Seconds of training so far.
pub const SECONDS: &str = "seconds";
/// Images that are classified wrong, in per cent.
pub const STANDARD_ERROR: &str = "standard_error";
/// The same with those that an attack turns.
pub const PGD_ERROR: &str = "pgd_error";
/// The images of which the class is not proved, in per cent.
pub const CERTIFIED_ERROR: &str = "certified_error";
/// The same by all stages of a verification, of the first images.
pub const VERIFIED_ERROR: &str = "verified_error";
/// Of those, the ones that are classified wrong, in per cent.
pub const VERIFIED_STANDARD_ERROR: &str = "verified_standard_error";
/// The same with those that an attack or a search turned.
pub const VERIFIED_ROBUST_ERROR: &str = "verified_robust_error";
/// How many images these are.
pub const IMAGES_VERIFIED: &str = "images_verified";
/// Images that a stage certified, in per cent of those.
pub const CERTIFIED_BY: &str = "certified_by";
/// Seconds that a stage took.
pub const SECONDS_OF: &str = "seconds_of";
/// How many images an evaluation was of.
pub const IMAGES: &str = "images";
/// How many of them were attacked.
pub const PGD_IMAGES: &str = "pgd_images";
/// The share of a layer's ReLUs that are certain to pass their input.
pub const ACTIVE: &str = "active";
/// The share of those that the box leaves open.
pub const UNSTABLE: &str = "unstable";
/// The share of those that are certain to give 0.
pub const INACTIVE: &str = "inactive";
/// The mean width of the bounds before a layer's ReLUs.
pub const WIDTH: &str = "width";

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

/// Every metric that runs record, in the order in which lines, tables and figures show those that they show.
pub const METRICS: &[Metric] = &[
    // Of updates and evaluations. A classifier's loss is per image, and nothing shows it with its unit.
    row(LOSS, "loss", Decimals)
        .is(Lower)
        .unit("nats per token")
        .compares(LM)
        .shown(&[Place::UpdateLine, Place::Training, Place::Table, Place::Stages])
        .defined("Loss is the mean negative log-likelihood in nats per token."),
    row(PERPLEXITY, "perplexity", Four)
        .is(Lower)
        .compares(LM)
        .shown(&[Place::Table, Place::Stages])
        .defined("Perplexity is exp(loss)."),
    row(BITS_PER_BYTE, "bits per byte", Decimals).is(Lower).compares(LM).shown(&[Place::Table]).defined(
        "Bits per byte is the total loss in bits over the UTF-8 bytes of the text; only it compares across tokenizers.",
    ),
    row("set_tokens", "set tokens", Count),
    row("set_bytes", "set bytes", Count),
    // Of image classifiers' evaluations; the losses of their updates too.
    row(STANDARD_ERROR, "standard error", Percent)
        .is(Lower)
        .short("standard")
        .unit("%")
        .compares(CERTIFY)
        .shown(&[Place::Errors]),
    row(PGD_ERROR, "PGD error", Percent)
        .is(Lower)
        .short("PGD")
        .unit("%")
        .compares(CERTIFY)
        .shown(&[Place::Errors])
        .heading("PGD error at the target epsilon"),
    row(CERTIFIED_ERROR, "certified error", Percent)
        .is(Lower)
        .short("certified")
        .unit("%")
        .compares(CERTIFY)
        .shown(&[Place::Errors])
        .heading("certified error at the target epsilon"),
    row(VERIFIED_ERROR, "certified error by all stages", Percent).is(Lower).unit("%").compares(CERTIFY),
    row(VERIFIED_ROBUST_ERROR, "robust error by all stages", Percent).is(Lower).unit("%"),
    row(VERIFIED_STANDARD_ERROR, "standard error of the verified images", Percent).is(Lower).unit("%"),
    row(IMAGES_VERIFIED, "images verified by all stages", Plain),
    row(CERTIFIED_BY, "certified by", Percent).by_layer(),
    row(SECONDS_OF, "seconds of", Plain).by_layer(),
    row("pgd_error_current", "pgd error current", Percent)
        .is(Lower)
        .short("PGD")
        .unit("%")
        .shown(&[Place::CurrentErrors])
        .heading("PGD error at the current epsilon of the schedule"),
    row("certified_error_current", "certified error current", Percent)
        .is(Lower)
        .short("certified")
        .unit("%")
        .compares(CERTIFY)
        .shown(&[Place::CurrentErrors])
        .heading("certified error at the current epsilon of the schedule"),
    row("clean_loss", "clean loss", Decimals)
        .is(Lower)
        .unit("nats per image")
        .compares(CERTIFY)
        .shown(&[Place::Losses])
        .heading("clean loss of the updates"),
    row("robust_loss", "robust loss", Decimals)
        .is(Lower)
        .unit("nats per image")
        .compares(CERTIFY)
        .shown(&[Place::Losses])
        .heading("robust loss of the updates, at their epsilon"),
    row(EPS_CURRENT, "eps current", Radius),
    row(PGD_IMAGES, "pgd images", Plain),
    row(IMAGES, "images", Plain),
    row("rounding", "rounding", Plain),
    row(ACTIVE, "active", Plain).by_layer(),
    row(UNSTABLE, "unstable", Plain).by_layer(),
    row(INACTIVE, "inactive", Plain).by_layer(),
    row(WIDTH, "width", Plain).by_layer(),
    // Of image classifiers' updates; the radius of their evaluations too.
    row("adversarial_loss", "adversarial loss", Decimals).is(Lower).unit("nats per image"),
    row("tightness", "tightness regulariser, unweighted", Plain).is(Lower).shown(&[Place::Regularisers]),
    row("relu_balance", "ReLU-balance regulariser, unweighted", Plain).is(Lower).shown(&[Place::Regularisers]),
    row(EPS, "epsilon", Radius).of_the_last().shown(&[Place::UpdateLine, Place::BeneathErrors, Place::BeneathCurves]),
    row("weight", "λ, the weight of the regularisers", Power)
        .of_the_last()
        .shown(&[Place::UpdateLineEnd, Place::BeneathErrors]),
    // Of updates.
    row(LR, "learning rate", Power).of_the_last().shown(&[
        Place::UpdateLine,
        Place::BeneathLosses,
        Place::BeneathCurves,
    ]),
    row("grad_norm", "gradient norm", Plain).shown(&[Place::BeneathLosses, Place::Training]),
    row(TOKENS_PER_S, "tokens per second", Rate).is(Higher).short("tok/s").shown(&[Place::Training]),
    row(IMAGES_PER_S, "images per second", Rate).is(Higher).short("img/s").shown(&[Place::UpdateLine]),
    row(SECONDS, "seconds", Duration).of_the_last().shown(&[Place::UpdateLine]),
    row("epoch", "epoch", Plain).of_the_last(),
];

const fn row(name: &'static str, title: &'static str, style: Style) -> Metric {
    Metric {
        name,
        title,
        short: name,
        unit: "",
        style,
        better: Better::Neither,
        of_the_last: false,
        by_layer: false,
        compares: None,
        shown: &[],
        heading: title,
        definition: "",
    }
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

    const fn shown(self, shown: &'static [Place]) -> Self {
        Self { shown, ..self }
    }

    const fn heading(self, heading: &'static str) -> Self {
        Self { heading, ..self }
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
pub fn named(name: &str) -> &'static Metric {
    const UNKNOWN: &Metric = &row("", "", Plain);
    find(name).unwrap_or(UNKNOWN)
}

/// The metrics that sweeps compare runs of a task by.
pub fn compared(task: &str) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.compares == Some(task))
}

/// The metrics that a line, table or figure shows, in their order.
pub fn shown(place: Place) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.shown.contains(&place))
}
