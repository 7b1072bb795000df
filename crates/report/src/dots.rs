//! Final numbers of variants beside each other: a row each, a column for each metric; every seed a dot, their mean a mark, and a
//! bar of one standard deviation to both sides.

use std::fmt::Write;
use std::ops::Range;

use temper_base::numbers;

use crate::scale::{Kind, Scale};
use crate::svg::{Drawing, LEFT, NARROW, SIZE, SMALL, WIDTH, element};
use crate::text::{Format, escape, pixels, shortened, shortened_heading, tick_labels};
use crate::theme::{STYLES, marker};

/// Height of a row in pixels.
const ROW: f64 = 26.0;

/// A figure of dots.
#[derive(Debug, Clone, Default)]
pub struct Dots {
    /// File name without ending.
    pub name: String,
    /// Title for screen readers.
    pub title: String,
    /// What the figure shows, in a sentence.
    pub description: String,
    /// What the columns measure.
    pub columns: Vec<String>,
    /// The rows: name, and for each column the number of every seed.
    pub rows: Vec<(String, Vec<Vec<f64>>)>,
}

impl Drawing for Dots {
    fn names(&self) -> [&str; 3] {
        [&self.name, &self.title, &self.description]
    }

    fn narrowed(&self) -> Option<String> {
        // One metric below the other.
        let (mut body, mut top) = (String::new(), 0.0);
        for n in 0..self.columns.len() {
            top += self.draw_columns(&mut body, n..n + 1, 18, (top, NARROW)) + 10.0;
        }
        let name = format!("{}-narrow", self.name);
        Some(element("", " narrow", [&name, &self.title, &self.description], &body, [NARROW, top]))
    }

    fn draw(&self) -> (String, f64) {
        let mut body = String::new();
        let height = self.draw_columns(&mut body, 0..self.columns.len(), 34, (0.0, WIDTH));
        (body, height)
    }
}

impl Dots {
    /// Some of the columns beside each other, with the names of the rows in at most `most` letters. Returns their height.
    fn draw_columns(&self, body: &mut String, columns: Range<usize>, most: usize, (top, width): (f64, f64)) -> f64 {
        let widest = self.rows.iter().map(|(name, _)| pixels(&shortened(name, most), SIZE)).fold(0.0, f64::max);
        let left = (widest + 24.0).max(LEFT);
        let height = 30.0 + ROW * self.rows.len() as f64;
        for (n, (name, _)) in self.rows.iter().enumerate() {
            let y = top + 30.0 + ROW * (n as f64 + 0.5);
            let name = escape(&shortened(name, most));
            let _ =
                write!(body, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", left - 14.0, y + 4.5);
            let _ = write!(body, "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{:.1}\"/>", width - 16.0);
        }
        let share = (width - 16.0 - left) / columns.len().max(1) as f64;
        for (place, n) in columns.enumerate() {
            let from = left + share * place as f64;
            self.draw_column(body, n, &self.columns[n], (from, from + share - 24.0), (top + 30.0, top + height));
        }
        height + 34.0
    }

    fn draw_column(
        &self,
        body: &mut String,
        column: usize,
        title: &str,
        (from, to): (f64, f64),
        (top, bottom): (f64, f64),
    ) {
        let _ = write!(
            body,
            "<text class=\"title\" x=\"{from:.1}\" y=\"{:.1}\">{}</text>",
            top - 12.0,
            escape(&shortened_heading(title, to - from + 12.0))
        );
        let of = |row: &'_ (String, Vec<Vec<f64>>)| -> Vec<f64> {
            row.1.get(column).into_iter().flatten().copied().filter(|value| value.is_finite()).collect()
        };
        let all: Vec<f64> = self.rows.iter().flat_map(of).collect();
        // The bars need room too.
        let bars =
            self.rows.iter().map(of).filter_map(|values| spread(&values)).flat_map(|(mean, sd)| [mean - sd, mean + sd]);
        let shown = all.iter().copied().chain(bars);
        let ends = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if all.is_empty() {
            return;
        }
        let scale = Scale::new(Kind::Linear, ends, (from, to)).padded(0.08, 0.08);
        for (x, label) in labelled(&scale, (from, to)) {
            let _ = write!(body, "<path class=\"grid\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>");
            let _ = write!(
                body,
                "<text class=\"soft small\" font-size=\"{SMALL}\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                escape(&label)
            );
        }
        for (n, row) in self.rows.iter().enumerate() {
            let (values, y, style) = (of(row), top + ROW * (n as f64 + 0.5), 1 + n % (STYLES - 1));
            if values.is_empty() {
                continue;
            }
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            for value in &values {
                let _ = write!(
                    body,
                    "<circle class=\"h{style}\" stroke-width=\"1.2\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>",
                    scale.place(*value)
                );
            }
            let mut tip = format!("{}: {}", row.0, numbers::digits(mean, 5));
            if let Some((_, sd)) = spread(&values) {
                let (low, high) = (scale.place(mean - sd), scale.place(mean + sd));
                let _ = write!(body, "<path class=\"curve s{style}\" d=\"M{low:.1} {y:.1}H{high:.1}\"/>");
                tip += &format!(" ± {} ({} seeds)", numbers::digits(sd, 3), values.len());
            }
            let _ = write!(
                body,
                "<path class=\"f{style}\" transform=\"translate({:.1} {y:.1})\" d=\"{}\"><title>{}</title></path>",
                scale.place(mean),
                marker(style, 5.0),
                escape(&tip)
            );
        }
    }
}

/// Mean and standard deviation; None of a single number.
fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let sum: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (mean, (sum / (count - 1.0)).sqrt()))
}

/// Ticks with labels that stay under their own panel and do not touch each other; at least two, if any density has two.
fn labelled(scale: &Scale, (from, to): (f64, f64)) -> Vec<(f64, String)> {
    /// Half the gap between two panels.
    const BEYOND: f64 = 10.0;
    const APART: f64 = 8.0;
    let of = |every: f64| -> Vec<(f64, String)> {
        let ticks = scale.ticks(every);
        let labels = ticks.iter().map(|tick| scale.place(*tick)).zip(tick_labels(&ticks, Format::Plain));
        let mut kept: Vec<(f64, String)> = Vec::new();
        let mut taken = from - BEYOND;
        for (x, label) in labels {
            let half = pixels(&label, SMALL) / 2.0;
            if x - half >= taken && x + half <= to + BEYOND {
                taken = x + half + APART;
                kept.push((x, label));
            }
        }
        kept
    };
    let first = of(70.0);
    if first.len() > 1 {
        return first;
    }
    [50.0, 36.0, 25.0, 18.0].into_iter().map(of).find(|labels| labels.len() > 1).unwrap_or(first)
}
