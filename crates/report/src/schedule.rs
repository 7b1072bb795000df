//! The picture of a schedule.

use crate::chart::{Axis, Band, Figure, Line, Names, Panel, Point};
use crate::svg::Drawing;
use crate::text::Format;

/// One scheduled quantity.
#[derive(Debug, Clone, Default)]
pub struct ScheduleCurve {
    /// Its name: `learning rate`, `epsilon`, ...
    pub quantity: String,
    /// Place on the horizontal axis and value, from first to last.
    pub points: Vec<(f64, f64)>,
}

/// Draws one panel for each quantity over a common axis, as SVG. `x_label` says what the axis counts (`steps`, `tokens`);
/// `phases` are `(name, from, to)` on that axis.
pub fn schedule_svg(title: &str, x_label: &str, curves: &[ScheduleCurve], phases: &[(String, f64, f64)]) -> String {
    let panel = |n: usize, curve: &ScheduleCurve| {
        let points = curve.points.iter().map(|(x, y)| Point { x: *x, y: *y, tip: None }).collect();
        let finite = curve.points.iter().map(|p| p.1).filter(|y| y.is_finite());
        let (low, high) = finite.fold((0.0_f64, 0.0_f64), |r, y| (r.0.min(y), r.1.max(y)));
        Panel {
            title: if n == 0 { format!("{title}: {}", curve.quantity) } else { curve.quantity.clone() },
            height: if curves.len() > 1 { 200.0 } else { 300.0 },
            y: Axis { range: Some((low, high)), ..Axis::default() },
            lines: vec![Line { name: curve.quantity.clone(), style: 1, points, ..Line::default() }],
            ..Panel::default()
        }
    };
    Figure {
        name: "schedule".to_owned(),
        title: title.to_owned(),
        description: "The schedule of a recipe.".to_owned(),
        x: Axis { label: x_label.to_owned(), format: Format::Count, ..Axis::default() },
        panels: curves.iter().enumerate().map(|(n, c)| panel(n, c)).collect(),
        bands: phases.iter().map(|(name, from, to)| Band { name: name.clone(), from: *from, to: *to }).collect(),
        names: Names::None,
        ..Figure::default()
    }
    .to_svg()
}
