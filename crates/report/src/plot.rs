//! Draws one panel of a [`Figure`](crate::Figure): axes, curves, marks and arrows. Names are found room for in
//! [`crate::names`].

use std::fmt::Write;

use crate::chart::{Figure, Line, Marks, Names, Panel, Point};
use crate::labels::Room;
use crate::scale::Scale;
use crate::svg::{SMALL, dashes, faint_class};
use crate::text::{escape, tick_labels};
use crate::theme::{STYLES, marker};

/// More marks than this on one line would touch each other.
const MOST_MARKS: usize = 45;
/// More tooltips than this only make the file larger.
const MOST_TIPS: usize = 150;

/// One panel while it is drawn.
pub(crate) struct Plot<'a> {
    pub figure: &'a Figure,
    pub panel: &'a Panel,
    pub x: &'a Scale,
    pub y: &'a Scale,
    /// Left, top, right, bottom.
    pub frame: [f64; 4],
    pub number: usize,
    /// Whether numbers stand beside the vertical axis; not in the inner cells of a grid.
    pub numbered: bool,
}

impl Plot<'_> {
    pub fn draw(&self, body: &mut String) {
        let [left, top, right, bottom] = self.frame;
        for band in self.figure.bands.iter().step_by(2) {
            let (from, to) = (self.x.place(band.from).clamp(left, right), self.x.place(band.to).clamp(left, right));
            let _ = write!(
                body,
                "<rect class=\"band\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                to - from,
                bottom - top
            );
        }
        self.draw_axes(body);
        let clip = format!("{}-{}", escape(&self.figure.name), self.number);
        let _ = write!(
            body,
            "<clipPath id=\"{clip}\"><rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath><g clip-path=\"url(#{clip})\">",
            top - 1.0,
            right - left + 9.0,
            bottom - top + 9.0,
        );
        let mut room = Room { frame: self.frame, ..Room::default() };
        self.panel.lines.iter().for_each(|line| self.draw_spread(body, line));
        for line in &self.panel.lines {
            self.draw_curve(body, line, &mut room);
        }
        // Marks over all lines, so that none hides behind one.
        self.panel.lines.iter().for_each(|line| self.draw_marks(body, line));
        *body += "</g>";
        self.draw_entries(body, &mut room);
        match self.figure.names {
            Names::Margin if self.figure.narrow => {}
            Names::Margin => self.draw_margin_names(body, &mut room),
            Names::Inside => {
                self.draw_starts(body, &mut room);
                for line in
                    self.panel.lines.iter().filter(|l| !l.faint).chain(self.panel.lines.iter().filter(|l| l.faint))
                {
                    self.draw_name_inside(body, line, &mut room);
                }
            }
            Names::None => {}
        }
        for (value, name) in &self.panel.references {
            let (px, py) = (left + 2.0, self.y.place(*value));
            let (tx, ty) = room.place_near(name, SMALL, (px, py));
            let _ = write!(body, "<text class=\"soft small halo\" x=\"{tx:.1}\" y=\"{ty:.1}\">{}</text>", escape(name));
        }
    }

    pub fn place(&self, p: &Point) -> (f64, f64) {
        (self.x.place(p.x), self.y.place(p.y))
    }

    fn draw_axes(&self, body: &mut String) {
        let [left, top, right, bottom] = self.frame;
        let ticks = self.y.ticks(46.0);
        for (tick, label) in ticks.iter().zip(tick_labels(&ticks, self.panel.y.format)) {
            let at = self.y.place(*tick);
            let _ = write!(body, "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>");
            if self.numbered {
                let _ = write!(
                    body,
                    "<text class=\"soft small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    left - 9.0,
                    at + 4.2,
                    escape(&label)
                );
            }
        }
        for tick in self.x.ticks(90.0) {
            let at = self.x.place(tick);
            let _ = write!(body, "<path class=\"grid\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
        }
        if self.figure.names == Names::Margin && self.x.contains(0.0) && self.x.place(0.0) > left + 1.0 {
            let at = self.x.place(0.0);
            let _ = write!(body, "<path class=\"axis\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
        }
        for (value, _) in &self.panel.references {
            let at = self.y.place(*value);
            let _ =
                write!(body, "<path class=\"axis\" stroke-dasharray=\"1.5 3\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>");
        }
        let _ = write!(body, "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
        if self.figure.names == Names::Inside && !self.panel.y.label.is_empty() {
            let (x, y) = (16.0, (top + bottom) / 2.0);
            let _ = write!(
                body,
                "<text transform=\"translate({x} {y:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                escape(&self.panel.y.label)
            );
        }
    }

    /// The area of the spread around a line, beneath all lines.
    fn draw_spread(&self, body: &mut String, line: &Line) {
        let there: Vec<_> = line.spread.iter().filter(|(x, l, h)| [x, l, h].iter().all(|n| n.is_finite())).collect();
        if there.len() < 2 {
            return;
        }
        let upper = there.iter().map(|(x, _, high)| (*x, *high));
        let lower = there.iter().rev().map(|(x, low, _)| (*x, *low));
        let mut path = String::new();
        for (n, (x, y)) in upper.chain(lower).enumerate() {
            let step = if n == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.x.place(x), self.y.place(y));
        }
        let style = line.style % STYLES;
        let _ = write!(body, "<path class=\"f{style}\" fill-opacity=\".16\" stroke=\"none\" d=\"{path}Z\"/>");
    }

    fn draw_curve(&self, body: &mut String, line: &Line, room: &mut Room) {
        let style = line.style % STYLES;
        let mut path = String::new();
        for stretch in line.stretches() {
            let mut places: Vec<(f64, f64)> = stretch.iter().map(|p| self.place(p)).collect();
            if let [(px, py)] = places[..] {
                // A stretch of one point is a short dash.
                places = vec![(px - 2.0, py), (px + 2.0, py)];
            }
            for pair in places.windows(2) {
                let [(ax, ay), (bx, by)] = [pair[0], pair[1]];
                let pieces = ((bx - ax).hypot(by - ay) / 5.0).ceil().clamp(1.0, 400.0);
                room.ink.extend((0..=pieces as usize).map(|n| {
                    let t = n as f64 / pieces;
                    (ax + (bx - ax) * t, ay + (by - ay) * t)
                }));
            }
            for (n, (px, py)) in simplified(&places, 0.12).iter().enumerate() {
                let _ = write!(path, "{}{px:.1} {py:.1}", if n == 0 { 'M' } else { 'L' });
            }
        }
        if !path.is_empty() {
            let _ = write!(body, "<path class=\"curve{} s{style}\" {}d=\"{path}\"/>", faint_class(line), dashes(line));
        }
        if line.marks == Marks::Way {
            self.draw_arrows(body, line);
        }
    }

    /// Chevrons along the way, pointing where it goes.
    fn draw_arrows(&self, body: &mut String, line: &Line) {
        let places: Vec<(f64, f64)> =
            line.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite()).map(|p| self.place(p)).collect();
        let [left, top, right, bottom] = self.frame;
        let inside = |(x, y): (f64, f64)| x > left + 8.0 && x < right - 8.0 && y > top + 8.0 && y < bottom - 8.0;
        let lengths: Vec<f64> = places.windows(2).map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)).collect();
        let visible: f64 =
            lengths.iter().zip(places.windows(2)).filter(|(_, w)| inside(w[0]) && inside(w[1])).map(|(l, _)| l).sum();
        let every = (visible / 3.5).max(70.0);
        let mut next = every * 0.55;
        let mut gone = 0.0;
        for (length, w) in lengths.iter().zip(places.windows(2)) {
            while gone + length >= next {
                let t = (next - gone) / length.max(1e-9);
                let (x, y) = (w[0].0 + (w[1].0 - w[0].0) * t, w[0].1 + (w[1].1 - w[0].1) * t);
                let angle = (w[1].1 - w[0].1).atan2(w[1].0 - w[0].0).to_degrees();
                if inside((x, y)) {
                    let _ = write!(
                        body,
                        "<path class=\"f{}\" transform=\"translate({x:.1} {y:.1}) rotate({angle:.1})\" d=\"M8 0L-5 -5.5L-2.5 0L-5 5.5Z\"/>",
                        line.style % STYLES
                    );
                }
                next += every;
            }
            gone += length;
        }
    }

    fn draw_marks(&self, body: &mut String, line: &Line) {
        let style = line.style % STYLES;
        let shown: Vec<&Point> = line
            .points
            .iter()
            .filter(|p| p.x.is_finite() && p.y.is_finite() && self.x.contains(p.x) && self.y.contains(p.y))
            .collect();
        let last = shown.len().saturating_sub(1);
        let mark = |body: &mut String, p: &Point, class: char, r: f64| {
            let (px, py) = self.place(p);
            let _ = write!(
                body,
                "<path class=\"{class}{style}\" stroke-width=\"{}\" transform=\"translate({px:.1} {py:.1})\" d=\"{}\"/>",
                if class == 'h' { 2.2 } else { 1.0 },
                marker(line.style, r)
            );
        };
        match line.marks {
            Marks::None => {}
            Marks::Few => {
                let [left, _, right, _] = self.frame;
                let every = (right - left) / 7.0;
                let begin = shown.first().map_or(left, |p| self.x.place(p.x));
                let mut next = begin + every * (0.35 + 0.31 * style as f64).fract();
                for p in &shown {
                    let at = self.x.place(p.x);
                    if at >= next {
                        mark(body, p, 'f', 3.8);
                        next += every * ((at - next) / every).floor().max(0.0) + every;
                    }
                }
            }
            Marks::All => {
                let every = shown.len().div_ceil(MOST_MARKS).max(1);
                shown.iter().rev().step_by(every).for_each(|p| mark(body, p, 'f', if line.faint { 3.0 } else { 3.8 }));
            }
            Marks::Way => {
                let every = shown.len().div_ceil(MOST_MARKS).max(1);
                shown.iter().step_by(every).for_each(|p| mark(body, p, 'f', 2.0));
                if let (Some(first), Some(end)) = (line.points.first(), line.end()) {
                    if shown.first().is_some_and(|p| std::ptr::eq(*p, first)) {
                        mark(body, first, 'h', 5.5);
                    }
                    if shown.last().is_some_and(|p| std::ptr::eq(*p, end)) {
                        mark(body, end, 'f', 6.2);
                    }
                }
            }
        }
        if let Some(ringed) =
            line.ring.and_then(|n| line.points.get(n)).filter(|p| shown.iter().any(|s| std::ptr::eq(*s, *p)))
        {
            let (px, py) = self.place(ringed);
            let _ = write!(body, "<circle class=\"ring s{style}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"7.5\"/>");
        }
        let every = shown.len().div_ceil(MOST_TIPS).max(1);
        for (_, p) in shown.iter().enumerate().filter(|(n, _)| n % every == 0 || *n == last) {
            // Without a pointer there is nothing to rest on a point.
            if let Some(tip) = p.tip.as_ref().filter(|_| !self.figure.narrow) {
                let (px, py) = self.place(p);
                let _ = write!(
                    body,
                    "<circle class=\"hit\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"8\"><title>{}</title></circle>",
                    escape(tip)
                );
            }
        }
    }
}

/// The same curve with fewer points: none is further than `tolerance` pixels from it (Ramer, Douglas and Peucker). Very long
/// ones are first reduced to the first, lowest, highest and last point of every pixel column.
fn simplified(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let mut points = points.to_vec();
    if points.len() > 4000 {
        let mut kept = Vec::new();
        for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
            let extreme =
                |sign: f64| (0..column.len()).max_by(|a, b| (sign * column[*a].1).total_cmp(&(sign * column[*b].1)));
            let mut picks = vec![0, extreme(1.0).unwrap_or(0), extreme(-1.0).unwrap_or(0), column.len() - 1];
            picks.sort_unstable();
            picks.dedup();
            kept.extend(picks.into_iter().map(|n| column[n]));
        }
        points = kept;
    }
    let mut keep = vec![false; points.len()];
    let mut spans: Vec<(usize, usize)> = points.len().checked_sub(1).map(|last| (0, last)).into_iter().collect();
    while let Some((a, b)) = spans.pop() {
        (keep[a], keep[b]) = (true, true);
        if b <= a + 1 {
            continue;
        }
        let ((ax, ay), (bx, by)) = (points[a], points[b]);
        let length = (bx - ax).hypot(by - ay).max(1e-9);
        let off = |n: usize| ((bx - ax) * (points[n].1 - ay) - (by - ay) * (points[n].0 - ax)).abs() / length;
        if let Some(far) = (a + 1..b).max_by(|m, n| off(*m).total_cmp(&off(*n))).filter(|n| off(*n) > tolerance) {
            spans.extend([(a, far), (far, b)]);
        }
    }
    points.iter().zip(keep).filter(|(_, k)| *k).map(|(p, _)| *p).collect()
}
