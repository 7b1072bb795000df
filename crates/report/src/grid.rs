//! Small multiples: one column a layer, rows of small plots that share their axes, drawn as SVG.

use std::fmt::Write;

use crate::chart::{Axis, Band, Figure, Line, Names, Panel};
use crate::plot::Plot;
use crate::scale::{Kind, Scale};
use crate::svg::{Drawing, LEFT, SIZE, SMALL, WIDTH, draw_entries};
use crate::text::{escape, pixels, shortened, tick_labels};

/// Columns of one block; more go into further blocks below.
const MOST: usize = 8;
const GAP: f64 = 16.0;
/// More tooltips than this in one cell only make the file larger.
const MOST_TIPS: usize = 60;

/// A grid of small plots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grid {
    /// File name without ending, and prefix of ids.
    pub name: String,
    pub title: String,
    pub description: String,
    /// Headings.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// The horizontal axis of every plot. It has a range.
    pub x: Axis,
    /// Vertical bands behind the lines; their bounds over the areas.
    pub bands: Vec<Band>,
    /// Names of the areas, from the bottom up.
    pub areas: Vec<String>,
}

/// One row of plots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub title: String,
    pub height: f64,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// The vertical axis of lines.
    pub y: Axis,
}

/// One plot.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    /// Shares of a whole, above each other.
    Shares {
        /// From first to last.
        points: Vec<Shares>,
        /// What stands above the plot.
        note: String,
    },
    /// Lines.
    Lines(Vec<Line>),
}

/// The shares of a whole at one place: from the bottom up, with a tooltip.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares {
    pub x: f64,
    pub shares: [f64; 3],
    pub tip: String,
}

impl Drawing for Grid {
    fn names(&self) -> [&str; 3] {
        [&self.name, &self.title, &self.description]
    }

    fn draw(&self) -> (String, f64) {
        let mut body = String::new();
        let mut top = self.draw_legend(&mut body);
        let blocks = self.columns.len().div_ceil(MOST).max(1);
        let width = self.columns.len().div_ceil(blocks).max(1);
        let cell = (WIDTH - 24.0 - LEFT - GAP * (width as f64 - 1.0)) / width as f64;
        let mut number = 0;
        for first in (0..self.columns.len()).step_by(width) {
            if first > 0 {
                top += 18.0;
            }
            let columns = first..self.columns.len().min(first + width);
            let left = |column: usize| LEFT + (column - first) as f64 * (cell + GAP);
            for column in columns.clone() {
                let name = shortened(&self.columns[column], (cell / (SIZE * 0.6)) as usize);
                let _ = write!(
                    body,
                    "<text class=\"title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    left(column) + cell / 2.0,
                    top + 16.0,
                    escape(&name)
                );
            }
            top += 24.0;
            for row in &self.rows {
                let _ = write!(body, "<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top + 16.0, escape(&row.title));
                let notes = row.cells.iter().any(|cell| matches!(cell, Cell::Shares { .. }));
                top += if notes { 39.0 } else { 25.0 };
                let bottom = top + row.height;
                for column in columns.clone() {
                    let frame = [left(column), top, left(column) + cell, bottom];
                    self.draw_cell(&mut body, row, column, frame, number, column == first);
                    number += 1;
                }
                top = bottom + 10.0;
            }
            for column in columns.clone() {
                let x = self.x_scale(left(column), left(column) + cell);
                self.draw_ticks(&mut body, &x, top - 10.0);
            }
            top += 16.0;
        }
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - 24.0) / 2.0,
            top + 16.0,
            escape(&self.x.label)
        );
        (body, top + 28.0)
    }
}

impl Grid {
    fn x_scale(&self, from: f64, to: f64) -> Scale {
        Scale::new(Kind::Linear, self.x.range.unwrap_or((0.0, 1.0)), (from, to))
    }

    /// First and last round number that has room: neighbouring plots are close to each other.
    fn draw_ticks(&self, body: &mut String, x: &Scale, bottom: f64) {
        let ticks = x.ticks(60.0);
        let labels = tick_labels(&ticks, self.x.format);
        let mut free = f64::NEG_INFINITY;
        for (tick, label) in ticks.iter().zip(labels) {
            let (at, half) = (x.place(*tick), pixels(&label, SMALL) / 2.0);
            if at - half >= free {
                let _ = write!(
                    body,
                    "<text class=\"soft small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    bottom + 16.0,
                    escape(&label)
                );
                free = at + half + 10.0;
            }
        }
    }

    /// The areas, then the lines. Returns its height.
    fn draw_legend(&self, body: &mut String) -> f64 {
        let mut y = 16.0;
        let mut x = LEFT;
        for (n, name) in self.areas.iter().enumerate() {
            let _ = write!(
                body,
                "<rect class=\"area a{n}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"26\" height=\"13\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                y - 7.0,
                x + 34.0,
                y + 4.5,
                escape(name)
            );
            x += 34.0 + pixels(name, SIZE) + 24.0;
        }
        if !self.areas.is_empty() {
            y += 24.0;
        }
        let lines = self.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| match cell {
            Cell::Lines(lines) => Some(lines),
            Cell::Shares { .. } => None,
        });
        let mut lines = lines.flatten().peekable();
        if lines.peek().is_some() {
            y = draw_entries(body, lines, (LEFT, y), WIDTH - 24.0) + 22.0;
        }
        y
    }

    fn draw_cell(&self, body: &mut String, row: &Row, column: usize, frame: [f64; 4], number: usize, numbered: bool) {
        let [left, top, right, bottom] = frame;
        let x = self.x_scale(left, right);
        match row.cells.get(column) {
            Some(Cell::Lines(lines)) => {
                let all: Vec<Line> = row.cells.iter().filter_map(Cell::lines).flatten().cloned().collect();
                let panel = Panel { y: row.y.clone(), lines: all, ..Panel::default() };
                let y = panel.y_scale((bottom, top), |_| true);
                let panel = Panel { lines: lines.clone(), ..panel };
                let figure = Figure {
                    name: self.name.clone(),
                    bands: self.bands.clone(),
                    names: Names::None,
                    ..Figure::default()
                };
                Plot { figure: &figure, panel: &panel, x: &x, y: &y, frame, number, numbered }.draw(body);
            }
            Some(Cell::Shares { points, note }) => {
                let _ = write!(
                    body,
                    "<text class=\"soft small\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>",
                    top - 5.0,
                    escape(note)
                );
                self.draw_shares(body, points, &x, frame);
                if numbered {
                    for (share, label) in [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")] {
                        let _ = write!(
                            body,
                            "<text class=\"soft small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                            left - 9.0,
                            bottom - share * (bottom - top) + 4.2
                        );
                    }
                }
            }
            None => {}
        }
    }

    fn draw_shares(&self, body: &mut String, points: &[Shares], x: &Scale, [left, top, right, bottom]: [f64; 4]) {
        let known: Vec<&Shares> =
            points.iter().filter(|p| p.x.is_finite() && p.shares.iter().all(|share| share.is_finite())).collect();
        let place = |p: &Shares| x.place(p.x).clamp(left, right);
        let up = |p: &Shares, areas: usize| {
            let share: f64 = p.shares[..areas].iter().sum();
            bottom - share.clamp(0.0, 1.0) * (bottom - top)
        };
        // One evaluation is a bar.
        let spread = |areas: usize| -> Vec<(f64, f64)> {
            match known[..] {
                [only] => vec![(left, up(only, areas)), (right, up(only, areas))],
                _ => known.iter().map(|p| (place(p), up(p, areas))).collect(),
            }
        };
        for area in 0..3 {
            let mut path = String::new();
            for (n, (px, py)) in spread(area + 1).iter().chain(spread(area).iter().rev()).enumerate() {
                let _ = write!(path, "{}{px:.1} {py:.1}", if n == 0 { 'M' } else { 'L' });
            }
            if !path.is_empty() {
                let _ = write!(body, "<path class=\"area a{area}\" d=\"{path}Z\"/>");
            }
        }
        for band in self.bands.iter().skip(1) {
            let at = x.place(band.from);
            if at > left + 1.0 && at < right - 1.0 {
                let _ = write!(body, "<path class=\"bound\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
            }
        }
        let _ = write!(body, "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
        let every = known.len().div_ceil(MOST_TIPS).max(1);
        let shown: Vec<&&Shares> = known.iter().rev().step_by(every).collect();
        for (n, p) in shown.iter().enumerate() {
            // Halfway to the neighbours; they come from last to first.
            let middle = |other: Option<&&&Shares>, edge: f64| other.map_or(edge, |o| (place(o) + place(p)) / 2.0);
            let (from, to) =
                (middle(shown.get(n + 1), left), middle(n.checked_sub(1).and_then(|n| shown.get(n)), right));
            let _ = write!(
                body,
                "<rect class=\"hit\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                (to - from).max(0.0),
                bottom - top,
                escape(&p.tip)
            );
        }
    }
}

impl Cell {
    fn lines(&self) -> Option<&Vec<Line>> {
        match self {
            Self::Lines(lines) => Some(lines),
            Self::Shares { .. } => None,
        }
    }
}
