//! Text in figures and tables: escaping, widths, numbers on axes.

use temper_record::metric;

/// Makes any text safe inside XML and HTML, attributes included. Control characters, which XML forbids, become `?`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' => out += "&#10;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// About how wide a text is in a common sans-serif font, in pixels. Errs on the wide side.
pub fn pixels(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.9,
        'A'..='Z' => 0.7,
        c if columns_of(c) == 2 => 1.05,
        _ => 0.58,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// How many columns of a terminal a text takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Simple on purpose: combining marks take none, East Asian wide characters and emoji two, everything else one.
fn columns_of(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The text in at most `most` characters: if it is longer, an ellipsis replaces the middle, since names of runs differ at
/// their ends as often as at their beginnings.
pub fn shortened(text: &str, most: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    let head = most.saturating_sub(tail + 1);
    all[..head].iter().chain(&['…']).chain(&all[all.len() - tail..]).collect()
}

/// A text in lines of at most `room` pixels, broken at its blanks.
pub fn lines(text: &str, room: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_inclusive(' ') {
        match lines.last_mut() {
            Some(line) if pixels(&format!("{line}{}", word.trim_end()), size) <= room => *line += word,
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A heading in bold letters, shortened to that many pixels.
pub fn shortened_heading(text: &str, room: f64) -> String {
    let most = (4..=text.chars().count()).rev().find(|most| pixels(&shortened(text, *most), 13.0) <= room);
    shortened(text, most.unwrap_or(4))
}

/// How numbers are written on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `2.5`, and powers of ten where zeros would pile up.
    #[default]
    Plain,
    /// Counts with a unit: `1.5M`.
    Count,
    /// Round numbers over several powers of ten, each by itself: `500`, `2000`, `20k`.
    Each,
}

/// The labels of ticks, all with the same number of decimals and the same unit.
pub fn tick_labels(ticks: &[f64], format: Format) -> Vec<String> {
    if format == Format::Each {
        return ticks.iter().map(|t| each(*t)).collect();
    }
    let largest = ticks.iter().fold(0.0_f64, |m, t| m.max(t.abs()));
    if largest == 0.0 {
        return ticks.iter().map(|_| "0".to_owned()).collect();
    }
    let (unit, suffix) = match format {
        Format::Count if largest >= 1e12 => (1e12, "T"),
        Format::Count if largest >= 1e9 => (1e9, "G"),
        Format::Count if largest >= 1e6 => (1e6, "M"),
        Format::Count if largest >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    if suffix.is_empty() && !(0.01..1e6).contains(&largest) {
        return ticks.iter().map(|t| if *t == 0.0 { "0".to_owned() } else { scientific(*t) }).collect();
    }
    let exact = |decimals: usize| {
        ticks.iter().all(|t| {
            let shown: f64 = format!("{:.decimals$}", t / unit).parse().unwrap_or(0.0);
            (shown - t / unit).abs() <= (t / unit).abs() * 1e-6 + 1e-12
        })
    };
    let decimals = (0..8).find(|d| exact(*d)).unwrap_or(8);
    let label = |t: &f64| if *t == 0.0 { "0".to_owned() } else { format!("{:.decimals$}{suffix}", t / unit) };
    ticks.iter().map(|t| label(t).replace('-', "−")).collect()
}

fn each(value: f64) -> String {
    match value.abs() {
        large if large >= 1e12 => scientific(value),
        large if large >= 1e9 => format!("{}G", value / 1e9),
        large if large >= 1e6 => format!("{}M", value / 1e6),
        large if large >= 1e4 => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

/// `3e-4`, `2.5e-4`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.3e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{}e{exponent}", mantissa.replace('-', "−"))
}

/// The difference of two numbers of a metric in a table: with its sign, and as many decimals as the numbers it was made of.
pub fn change_cell(metric: &str, from: f64, to: f64) -> String {
    let change = to - from;
    if !change.is_finite() {
        return "–".to_owned();
    }
    let decimals = [from, to].map(|v| metric::cell(metric, v).split_once('.').map_or(0, |(_, d)| d.len()));
    format!("{change:+.*}", decimals[0].min(decimals[1]))
}

/// The text with a capital first letter.
pub fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |c| c.to_uppercase().chain(rest).collect())
}

/// The unit of a metric in brackets, if its title leaves it open.
pub fn metric_unit(metric: &str) -> String {
    match metric::named(metric).unit {
        "" => String::new(),
        unit => format!(" ({unit})"),
    }
}

/// The name of a validation set for people.
pub fn set_name(set: &str) -> String {
    match set {
        temper_record::MEAN_MICRO => "mean over tokens".to_owned(),
        temper_record::MEAN_MACRO => "mean over sets".to_owned(),
        _ => set.to_owned(),
    }
}
