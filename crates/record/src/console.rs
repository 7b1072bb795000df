//! Events as lines for a person: one aligned line each. Nothing is drawn here.

use temper_base::numbers::{count, digits, duration};

use crate::event::{CERTIFY, Event, Values};
use crate::metric::{self, Style};

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
        Event::Step { step, tokens, values } if values.get("images_per_s").is_some() => {
            format!("step {step:>8}  {:>7} img{}", count(*tokens as f64), certify_step(values))
        }
        Event::Eval { step, tokens, set, values } if values.get("certified_error").is_some() => {
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

/// An update of certified training: the metrics that one watches, in an order that keeps the columns still. The weight of the
/// regularisers comes last, since it is gone after the ramp.
fn certify_step(values: &Values) -> String {
    let mut line = String::new();
    for name in ["loss", "eps", "lr"] {
        if let Some(value) = values.get(name) {
            line += &format!("  {name} {:>8}", metric::line(name, value));
        }
    }
    if let Some(value) = values.get("images_per_s") {
        line += &format!("  {:>6} img/s", count(value));
    }
    if let Some(value) = values.get("seconds") {
        line += &format!("  {:>6}", duration(value));
    }
    if let Some(value) = values.get("weight") {
        line += &format!("  weight {}", digits(value, 3));
    }
    line
}

/// An evaluation of certified training: the three errors at the target radius, and what is certified at that of the schedule
/// while it is smaller.
fn certify_eval(set: &str, values: &Values) -> String {
    let mut line = String::new();
    for name in ["standard_error", "pgd_error", "certified_error"] {
        let value = values.get(name).map_or("–".to_owned(), |value| metric::line(name, value));
        line += &format!("  {} {value:>6} %", metric::of(name).short);
    }
    let eps = |name: &str| values.get(name).unwrap_or(f64::NAN);
    let (target, current) = (eps("eps"), eps("eps_current"));
    if target.is_finite() {
        line += &format!("  at eps {}", metric::cell("eps", target));
    }
    line += &format!("  {set}");
    if current < target {
        let part = |name| Some(format!("{} {} %", metric::of(name).short, metric::line(name, values.get(name)?)));
        let now: Vec<String> = ["pgd_error_current", "certified_error_current"].into_iter().filter_map(part).collect();
        if !now.is_empty() {
            line += &format!(" ({} at eps {})", now.join(", "), metric::cell("eps", current));
        }
    }
    line
}

fn line_of(tokens: u64, values: &Values) -> String {
    let mut line = format!("{:>7} tok", count(tokens as f64));
    for (name, value) in values.iter() {
        line += "  ";
        let shown = metric::line(name, value);
        line += &match metric::of(name) {
            metric if metric.style == Style::Rate => format!("{shown:>7} {}", metric.short),
            metric if metric.style == Style::Duration => format!("{shown:>7}"),
            metric if metric.style == Style::Count => format!("{name} {shown:>7}"),
            _ => format!("{name} {shown:>9}"),
        };
    }
    line
}
