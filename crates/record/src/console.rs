//! Events as lines for a person: one aligned line each. Nothing is drawn here.

use temper_base::numbers::{count, digits, duration};

use crate::event::{CERTIFY, Event, Values};
use crate::metric::{self, CERTIFIED_ERROR, EPS, EPS_CURRENT, IMAGES_PER_S, Metric, Place, Style};

/// What a run counts its training in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Tokens of text.
    #[default]
    Tokens,
    /// Images.
    Images,
}

impl Unit {
    /// The unit of a kind of task, as [`RunInfo::task`](crate::RunInfo) names it.
    pub fn of_task(task: &str) -> Self {
        if task == CERTIFY { Self::Images } else { Self::Tokens }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Images => "images",
        }
    }

    /// Its name in three letters.
    fn short(self) -> &'static str {
        match self {
            Self::Tokens => "tok",
            Self::Images => "img",
        }
    }
}

/// The event as one line, without a line break. Lines of the same kind are aligned with each other. Most events tell
/// the unit; `resume` and `done` count in tokens, see [`console_line_in`].
pub fn console_line(event: &Event) -> String {
    console_line_in(event, Unit::Tokens)
}

/// The event as one line, for a run that counts in this unit.
pub fn console_line_in(event: &Event, unit: Unit) -> String {
    match event {
        Event::Start(info) => {
            let parent = info.parent.as_ref().map(|p| format!(", from {}@{}", p.run, p.step)).unwrap_or_default();
            format!(
                "start  {} ({}{parent}): {} steps, {} {}, {} parameters, seed {}",
                info.recipe,
                info.start,
                info.steps,
                count(info.tokens as f64),
                Unit::of_task(&info.task).name(),
                count(info.parameters as f64),
                info.seed
            )
        }
        Event::Step { step, tokens, values } if values.get(IMAGES_PER_S).is_some() => {
            format!("step {step:>8}  {:>7} img{}", count(*tokens as f64), certify_step(values))
        }
        Event::Eval { step, tokens, set, values } if values.get(CERTIFIED_ERROR).is_some() => {
            format!("eval {step:>8}  {:>7} img{}", count(*tokens as f64), certify_eval(set, values))
        }
        Event::Phase { name, first_step, last_step } => format!("phase  {name}: steps {first_step} to {last_step}"),
        Event::Step { step, tokens, values } => format!("step {step:>8}  {}", line_of(*tokens, values)),
        Event::Eval { step, tokens, set, values } => format!("eval {step:>8}  {}  {set}", line_of(*tokens, values)),
        Event::Checkpoint { step, path } => format!("saved {step:>7}  {path}"),
        Event::Warning { message, hint: None, .. } => format!("warning: {message}"),
        Event::Warning { message, hint: Some(hint), .. } => format!("warning: {message} (hint: {hint})"),
        Event::Resume { step, tokens, .. } => {
            format!("resume {step:>6}  {:>7} {}", count(*tokens as f64), unit.short())
        }
        Event::Stop { step, reason } => format!("stop {step:>8}  {reason}"),
        Event::Done { step, tokens, seconds } => {
            format!("done {step:>8}  {:>7} {}  in {}", count(*tokens as f64), unit.short(), duration(*seconds))
        }
    }
}

/// An update of certified training: the metrics that one watches, in an order that keeps the columns still.
fn certify_step(values: &Values) -> String {
    let recorded = |place| metric::shown(place).filter_map(|metric| Some((metric, values.get(metric.name)?)));
    let mut line = String::new();
    for (metric, value) in recorded(Place::UpdateLine) {
        let shown = metric::line(metric.name, value);
        line += &match metric.style {
            Style::Rate => format!("  {shown:>6} {}", metric.short),
            Style::Duration => format!("  {shown:>6}"),
            _ => format!("  {} {shown:>8}", metric.name),
        };
    }
    for (metric, value) in recorded(Place::UpdateLineEnd) {
        line += &format!("  {} {}", metric.name, digits(value, 3));
    }
    line
}

/// An evaluation of certified training: the errors at the target radius, and what is certified at that of the schedule while it
/// is smaller.
fn certify_eval(set: &str, values: &Values) -> String {
    let mut line = String::new();
    for &Metric { name, short, .. } in metric::shown(Place::Errors) {
        let value = values.get(name).map_or("–".to_owned(), |value| metric::line(name, value));
        line += &format!("  {short} {value:>6} %");
    }
    let eps = |name: &str| values.get(name).unwrap_or(f64::NAN);
    let (target, current) = (eps(EPS), eps(EPS_CURRENT));
    if target.is_finite() {
        line += &format!("  at eps {}", metric::cell(EPS, target));
    }
    line += &format!("  {set}");
    if current < target {
        let part = |&Metric { name, short, .. }| Some(format!("{short} {} %", metric::line(name, values.get(name)?)));
        let now: Vec<String> = metric::shown(Place::CurrentErrors).filter_map(part).collect();
        if !now.is_empty() {
            line += &format!(" ({} at eps {})", now.join(", "), metric::cell(EPS, current));
        }
    }
    line
}

fn line_of(tokens: u64, values: &Values) -> String {
    let mut line = format!("{:>7} tok", count(tokens as f64));
    for (name, value) in values.iter() {
        line += "  ";
        let shown = metric::line(name, value);
        line += &match metric::named(name) {
            metric if metric.style == Style::Rate => format!("{shown:>7} {}", metric.short),
            metric if metric.style == Style::Duration => format!("{shown:>7}"),
            metric if metric.style == Style::Count => format!("{name} {shown:>7}"),
            _ => format!("{name} {shown:>9}"),
        };
    }
    line
}
