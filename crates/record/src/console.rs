//! Events as lines for a person: one aligned line each. Nothing is drawn here.

use temper_base::numbers::{count, digits, duration, percent, radius, word};

use crate::event::{CERTIFY, Event, Values};

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

/// The event as one line, without a line break. Lines of the same kind are aligned with each other. The unit is told by the
/// event where it can be; `resume` and `done` speak of tokens, see [`console_line_in`].
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

/// An update of certified training: what one watches, in an order that keeps the columns still. The weight of the
/// regularisers comes last, since it is gone after the ramp.
fn certify_step(values: &Values) -> String {
    let mut line = String::new();
    for name in ["loss", "eps", "lr"] {
        if let Some(value) = values.get(name) {
            line += &format!("  {name} {:>8}", metric(name, value));
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
    for (name, what) in [("standard_error", "standard"), ("pgd_error", "PGD"), ("certified_error", "certified")] {
        let value = values.get(name).map_or("–".to_owned(), percent);
        line += &format!("  {what} {value:>6} %");
    }
    let eps = |name: &str| values.get(name).unwrap_or(f64::NAN);
    let (target, current) = (eps("eps"), eps("eps_current"));
    if target.is_finite() {
        line += &format!("  at eps {}", radius(target));
    }
    line += &format!("  {set}");
    if current < target {
        let now = [("PGD", "pgd_error_current"), ("certified", "certified_error_current")];
        let now = now.iter().filter_map(|(what, name)| Some(format!("{what} {} %", percent(values.get(name)?))));
        let now: Vec<String> = now.collect();
        if !now.is_empty() {
            line += &format!(" ({} at eps {})", now.join(", "), radius(current));
        }
    }
    line
}

fn line_of(tokens: u64, values: &Values) -> String {
    let mut line = format!("{:>7} tok", count(tokens as f64));
    for (name, value) in values.iter() {
        line += "  ";
        line += &match name {
            "tokens_per_s" => format!("{:>7} tok/s", count(value)),
            "seconds" => format!("{:>7}", duration(value)),
            "set_tokens" | "set_bytes" => format!("{name} {:>7}", count(value)),
            _ => format!("{name} {:>9}", metric(name, value)),
        };
    }
    line
}

/// A metric as a person wants to see it: losses and bits per byte with four decimals, perplexities, which follow from them, with four
/// digits, rates as powers of ten, the rest with five digits.
pub fn metric(name: &str, value: f64) -> String {
    match name {
        _ if !value.is_finite() => word(value).to_owned(),
        "lr" | "eps" | "eps_current" | "weight" => format!("{value:.2e}"),
        _ if name.ends_with("loss") || name == "bits_per_byte" => format!("{value:.4}"),
        "perplexity" => digits(value, 4),
        _ => digits(value, 5),
    }
}
