//! What a figure consists of, before it is drawn: panels above each other that share one horizontal axis.

use crate::scale::{Kind, Scale};
use crate::text::Format;

/// A figure: one or more panels over one horizontal axis.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    /// File name without ending; also keeps the figure's ids apart from those of others in one page.
    pub name: String,
    /// Title for screen readers and tooltips.
    pub title: String,
    /// What the figure shows, in a sentence.
    pub description: String,
    /// The horizontal axis.
    pub x: Axis,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// Vertical bands behind all panels, from left to right.
    pub bands: Vec<Band>,
    /// A remark at the lower right, e.g. whose phases the bands are.
    pub remark: String,
    /// Where the lines are named.
    pub names: Names,
    /// For a narrow screen: names and values are not written beside the lines, and nothing waits for a pointer.
    pub narrow: bool,
}

/// Where lines are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// In a row on top and in the right margin, beside the end of each line.
    #[default]
    Margin,
    /// In a row on top and inside, near the last point of each line.
    Inside,
    /// Nowhere: there is one line only.
    None,
}

/// An axis.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// Linear or logarithmic.
    pub kind: Kind,
    /// How its numbers are written.
    pub format: Format,
    /// The numbers it must show; by default those of the lines.
    pub range: Option<(f64, f64)>,
}

/// One plot.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    /// Stands above it and says what the vertical axis measures.
    pub title: String,
    /// Height of the plot in pixels.
    pub height: f64,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
    /// Horizontal reference lines with their names.
    pub references: Vec<(f64, String)>,
}

/// One line of a panel.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Name of the run; empty for a line that needs none.
    pub name: String,
    /// Which colour, dash and marker.
    pub style: usize,
    /// Context rather than subject.
    pub faint: bool,
    /// From first to last. Points that are not finite interrupt the line.
    pub points: Vec<Point>,
    /// The spread around it, drawn as an area: place, lower and upper end.
    pub spread: Vec<(f64, f64, f64)>,
    /// Which points are marked.
    pub marks: Marks,
    /// Which points decide how far the axes reach.
    pub reach: Reach,
    /// The point with a ring around it.
    pub ring: Option<usize>,
    /// Its last value as text, shown beside the name.
    pub value: String,
}

/// A point, with a tooltip if it has something to say.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// Horizontal.
    pub x: f64,
    /// Vertical.
    pub y: f64,
    /// Shown while the pointer rests on it.
    pub tip: Option<String>,
}

/// Which points of a line are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marks {
    /// None.
    #[default]
    None,
    /// All of them, or fewer where they would touch.
    All,
    /// A few, at different places for every style: lines that lie on each other can be told apart.
    Few,
    /// The start hollow, the end filled, small dots and arrows between: a way through a plane.
    Way,
}

/// Which points of a line decide how far the axes reach. The line is cut where the axes end, and a note says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// All of them.
    #[default]
    All,
    /// The last two thirds, unless that would more than double the axis; for runs that begin far away.
    Tail,
    /// The last one.
    Last,
    /// None.
    Nothing,
}

/// A vertical band behind all panels.
#[derive(Debug, Clone, Default)]
pub struct Band {
    /// Its name, written on top.
    pub name: String,
    /// Where it begins on the horizontal axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
}

impl Line {
    /// The points that are numbers, in unbroken stretches.
    pub fn stretches(&self) -> impl Iterator<Item = &[Point]> {
        self.points.split(|p| !(p.x.is_finite() && p.y.is_finite())).filter(|s| !s.is_empty())
    }

    /// The last point, if it is a number.
    pub fn end(&self) -> Option<&Point> {
        self.points.last().filter(|p| p.x.is_finite() && p.y.is_finite())
    }

    /// The points that count for the axes.
    fn reaching(&self, reach: Reach) -> impl Iterator<Item = &Point> {
        let n = self.points.len();
        let skip = match reach {
            Reach::All => 0,
            Reach::Tail => n / 3,
            Reach::Last => n.saturating_sub(1),
            Reach::Nothing => n,
        };
        self.points[skip..].iter().filter(|p| p.x.is_finite() && p.y.is_finite())
    }
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

fn joined(a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Option<(f64, f64)> {
    match (a, b) {
        (Some((l, h)), Some((m, i))) => Some((l.min(m), h.max(i))),
        (one, other) => one.or(other),
    }
}

/// How far an axis reaches over these lines; `of` picks the coordinate.
fn reach(lines: &[&Line], kind: Kind, of: impl Fn(&Point) -> f64 + Copy) -> Option<(f64, f64)> {
    let over = |reach: Reach| extent(lines.iter().filter(|l| l.reach == reach).flat_map(|l| l.reaching(reach)).map(of));
    let near = joined(over(Reach::All), over(Reach::Last));
    let Some((low, high)) = near else { return over(Reach::Tail) };
    // One far line must not flatten all others.
    let room = |low: f64, high: f64| if kind == Kind::Log && low > 0.0 { (high / low).ln() } else { high - low };
    let most = 2.2 * room(low, high).max(high.abs() * 1e-3);
    let tails = lines.iter().filter(|l| l.reach == Reach::Tail).filter_map(|l| extent(l.reaching(Reach::Tail).map(of)));
    tails.filter(|(l, h)| room(l.min(low), h.max(high)) <= most).fold(near, |range, tail| joined(range, Some(tail)))
}

impl Figure {
    /// The horizontal axis over these pixels.
    pub(crate) fn x_scale(&self, pixels: (f64, f64)) -> Scale {
        let lines: Vec<&Line> = self.panels.iter().flat_map(|p| &p.lines).collect();
        let range = self.x.range.or_else(|| match self.names {
            // In a plane both axes follow the same rule.
            Names::Inside => reach(&lines, self.x.kind, |p| p.x),
            _ => extent(lines.iter().flat_map(|l| l.reaching(Reach::All)).map(|p| p.x)),
        });
        let scale = Scale::new(self.x.kind, range.unwrap_or((0.0, 1.0)), pixels);
        if self.names == Names::Inside { scale.padded(0.07, 0.1) } else { scale }
    }
}

impl Panel {
    /// The vertical axis over these pixels (bottom first); `visible` says which horizontal places are shown.
    pub(crate) fn y_scale(&self, pixels: (f64, f64), visible: impl Fn(f64) -> bool) -> Scale {
        let seen: Vec<Line> = self
            .lines
            .iter()
            .map(|l| Line { points: l.points.iter().filter(|p| visible(p.x)).cloned().collect(), ..l.clone() })
            .collect();
        let range = self
            .y
            .range
            .or_else(|| reach(&seen.iter().collect::<Vec<_>>(), self.y.kind, |p| p.y))
            .unwrap_or((0.0, 1.0));
        let below = if range.0 == 0.0 { 0.0 } else { 0.07 };
        Scale::new(self.y.kind, range, pixels).padded(below, 0.1)
    }
}
