//! A schedule as text: a few rows of block characters with the values and updates at the axes.

use std::fmt::Write;

use crate::phase::Schedule;

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Updates looked at for one column; the highest is drawn, so that a short peak is not lost.
const SAMPLES: u64 = 16;

/// Draws updates 1 to `stop` (the horizon if `None`) as `rows` rows of `width` columns, from zero to the highest value, with
/// labels, and a line that lists the phases. Ends with a newline.
pub fn sparkline(schedule: &Schedule, stop: Option<u64>, width: usize, rows: usize) -> String {
    let stop = stop.unwrap_or(schedule.horizon()).max(1);
    let peak = schedule.peak(stop);
    let mut text = curve(|n| schedule.at(n), peak, stop, width, rows);
    let margin = number(peak).len().max(1);
    for (index, band) in schedule.bands(stop).iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let lead = if index == 0 { format!("{:>margin$}  ", "") } else { String::new() };
        let (start, end) = (number(band.start), number(band.end));
        let values = if start == end { start } else { format!("{start} to {end}") };
        let _ = write!(text, "{lead}{separator}{} {}-{} ({values})", band.name, band.first, band.last);
    }
    text.push('\n');
    text
}

/// Draws the values of updates 1 to `stop`, of which `peak` is the highest, without the line of phases.
pub fn curve(at: impl Fn(u64) -> f64, peak: f64, stop: u64, width: usize, rows: usize) -> String {
    let (width, rows, stop) = (width.clamp(10, 400) as u64, rows.clamp(1, 40), stop.max(1));
    let heights: Vec<usize> = (0..width)
        .map(|column| {
            let value_at = |part: u64| at(place(column * SAMPLES + part, width * SAMPLES, stop));
            let value = (0..SAMPLES).map(value_at).fold(0.0, f64::max);
            let eighths = (rows * 8) as f64;
            // Anything above zero leaves a trace.
            let height = if peak > 0.0 { (value / peak * eighths).round() as usize } else { 0 };
            height.max(usize::from(value > 0.0)).min(rows * 8)
        })
        .collect();
    let top = number(peak);
    let margin = top.len().max(1);
    let mut text = String::new();
    for row in (0..rows).rev() {
        let label = if row == rows - 1 { top.as_str() } else { "" };
        let line: String = heights.iter().map(|height| BLOCKS[height.saturating_sub(row * 8).min(8)]).collect();
        let _ = writeln!(text, "{label:>margin$} |{}", line.trim_end());
    }
    let _ = writeln!(text, "{:>margin$} +{}", 0, "-".repeat(width as usize));
    let (last, middle) = (stop.to_string(), (stop / 2).to_string());
    let half = (width as usize / 2).saturating_sub(1 + middle.len() / 2);
    let rest = (width as usize).saturating_sub(1 + half + middle.len());
    let _ = match stop {
        1..4 => writeln!(text, "{:>margin$}  1{last:>1$}", "", width as usize - 1),
        _ => writeln!(text, "{:>margin$}  1{:half$}{middle}{last:>rest$}", "", ""),
    };
    text
}

/// The update at `index` of `count` places over 1..=stop.
fn place(index: u64, count: u64, stop: u64) -> u64 {
    1 + (u128::from(index) * u128::from(stop - 1) / u128::from(count - 1)) as u64
}

/// A learning rate as people write it.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}
