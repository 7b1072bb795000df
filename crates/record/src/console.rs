//! Events as lines for a person: one aligned line each. Nothing is drawn here.

use crate::event::{Event, Values};

/// The event as one line, without a line break. Lines of the same kind are aligned with each other.
pub fn console_line(event: &Event) -> String {
    match event {
        Event::Start(info) => {
            let parent = info.parent.as_ref().map(|p| format!(", from {}@{}", p.run, p.step)).unwrap_or_default();
            format!(
                "start  {} ({}{parent}): {} steps, {} tokens, {} parameters, seed {}",
                info.recipe,
                info.start,
                info.steps,
                count(info.tokens as f64),
                count(info.parameters as f64),
                info.seed
            )
        }
        Event::Phase { name, first_step, last_step } => format!("phase  {name}: steps {first_step} to {last_step}"),
        Event::Step { step, tokens, values } => format!("step {step:>8}  {}", line_of(*tokens, values)),
        Event::Eval { step, tokens, set, values } => format!("eval {step:>8}  {}  {set}", line_of(*tokens, values)),
        Event::Checkpoint { step, path } => format!("saved {step:>7}  {path}"),
        Event::Warning { message, hint: None, .. } => format!("warning: {message}"),
        Event::Warning { message, hint: Some(hint), .. } => format!("warning: {message} (hint: {hint})"),
        Event::Resume { step, tokens, .. } => format!("resume {step:>6}  {:>7} tok", count(*tokens as f64)),
        Event::Stop { step, reason } => format!("stop {step:>8}  {reason}"),
        Event::Done { step, tokens, seconds } => {
            format!("done {step:>8}  {:>7} tok  in {}", count(*tokens as f64), duration(*seconds))
        }
    }
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

/// A metric as a person wants to see it: losses with four decimals, rates as powers of ten, the rest with five digits.
pub fn metric(name: &str, value: f64) -> String {
    match name {
        _ if !value.is_finite() => word(value).to_owned(),
        "lr" | "eps" | "weight" => format!("{value:.2e}"),
        _ if name.ends_with("loss") || name == "bits_per_byte" => format!("{value:.4}"),
        _ => digits(value, 5),
    }
}

/// A number with so many significant digits; very large and very small ones as powers of ten.
pub fn digits(value: f64, significant: usize) -> String {
    if !value.is_finite() {
        return word(value).to_owned();
    }
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if !(-4..=8).contains(&exponent) {
        return format!("{value:.*e}", significant.saturating_sub(1));
    }
    format!("{value:.*}", (significant as i32 - 1 - exponent).max(0) as usize)
}

/// A count in three digits: `512`, `49.2k`, `1.64M`, `297G`.
pub fn count(n: f64) -> String {
    if !n.is_finite() {
        return word(n).to_owned();
    }
    let (mut n, mut unit) = (n, 0);
    // 999.5 would be shown as 1000.
    while n.abs() >= 999.5 && unit < 4 {
        n /= 1000.0;
        unit += 1;
    }
    let decimals = match n.abs() {
        _ if unit == 0 && n.fract() == 0.0 => 0,
        a if a < 9.995 => 2,
        a if a < 99.95 => 1,
        _ => 0,
    };
    format!("{n:.decimals$}{}", ["", "k", "M", "G", "T"][unit])
}

/// A time span: `8.3s`, `4m07s`, `2h05m`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return word(seconds).to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

fn word(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "NaN",
    }
}
