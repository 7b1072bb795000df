//! Numbers as a person reads them.

/// A fraction as a percentage, without the sign.
pub fn percent(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { non_finite_word(value).to_owned() }
}

/// A radius in pixel values: `0.3` if it is in whole hundredths, `8/255` if in whole levels, else with three digits.
pub fn radius(eps: f64) -> String {
    let hundredths = (eps * 100.0).round();
    let levels = (eps * 255.0).round();
    match () {
        _ if (eps * 100.0 - hundredths).abs() < 1e-9 => format!("{}", hundredths / 100.0),
        _ if levels >= 1.0 && (eps * 255.0 - levels).abs() < 1e-6 => format!("{levels}/255"),
        _ if eps < 1e-3 => format!("{eps:.1e}"),
        _ => digits(eps, 3),
    }
}

/// A number with that many significant digits; very large and very small ones as powers of ten.
pub fn digits(value: f64, significant: usize) -> String {
    if !value.is_finite() {
        return non_finite_word(value).to_owned();
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
        return non_finite_word(n).to_owned();
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
        return non_finite_word(seconds).to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// The word that stands for a number that is not finite.
pub fn non_finite_word(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "NaN",
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 line`, `2,000 lines`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}
