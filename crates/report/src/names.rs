//! Writes the names of lines into a panel: in the margin beside their ends, or inside where there is room.

use std::fmt::Write;

use temper_base::numbers::digits;

use crate::chart::{Line, Marks, Names, Point};
use crate::labels::{Room, push_apart};
use crate::plot::Plot;
use crate::svg::{SIZE, SMALL, label_of};
use crate::text::{escape, pixels, shortened};
use crate::theme::{STYLES, marker};

impl Plot<'_> {
    /// Where a line comes in from above: a note with the value it begins at.
    pub fn draw_entries(&self, body: &mut String, room: &mut Room) {
        if self.figure.names != Names::Margin {
            return;
        }
        for line in self.panel.lines.iter().filter(|l| !l.faint) {
            let Some(first) = line.stretches().next().and_then(|s| s.first()) else { continue };
            let enters = line.points.iter().find(|p| self.x.contains(p.x) && self.y.contains(p.y));
            if let Some(enters) = enters.filter(|_| first.y > self.y.high()) {
                let text = format!("{} from {}", shortened(&line.name, 22), digits(first.y, 3));
                let (x, y) = room.place_near(&text, SMALL, (self.x.place(enters.x), self.frame[1] + 10.0));
                let _ =
                    write!(body, "<text class=\"soft small halo\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(&text));
            }
        }
    }

    /// Names beside the ends of the lines that reach the right edge, and beside those of several lines that end together; the
    /// others get theirs inside.
    pub fn draw_margin_names(&self, body: &mut String, room: &mut Room) {
        let [_, _, right, _] = self.frame;
        let end = |line: &Line| line.end().map(|p| self.x.place(p.x));
        let named = |line: &&Line| !label_of(line).is_empty();
        let (edge, mut rest): (Vec<&Line>, Vec<&Line>) =
            self.panel.lines.iter().partition(|line| end(line).is_some_and(|end| end > right - 24.0));
        self.draw_names_beside(body, &edge.into_iter().filter(named).collect::<Vec<_>>(), right, room);
        let mut inside = Vec::new();
        while let Some(first) = rest.first().copied() {
            let with_first = |line: &&Line| {
                std::ptr::eq(*line, first) || end(line).zip(end(first)).is_some_and(|(a, b)| (a - b).abs() < 24.0)
            };
            let (together, others): (Vec<&Line>, Vec<&Line>) = rest.into_iter().partition(with_first);
            let (subjects, context): (Vec<&Line>, Vec<&Line>) =
                together.into_iter().partition(|line| named(line) && !line.faint);
            match end(first).filter(|_| subjects.len() > 2) {
                Some(x) => self.draw_names_beside(body, &subjects, x, room),
                None => inside.extend(subjects),
            }
            inside.extend(context);
            rest = others;
        }
        for line in inside {
            self.draw_name_inside(body, line, room);
        }
    }

    /// Names of lines that end at about `right`, one below the other to the right of it.
    fn draw_names_beside(&self, body: &mut String, edge: &[&Line], right: f64, room: &mut Room) {
        let [_, top, _, bottom] = self.frame;
        let wanted: Vec<f64> =
            edge.iter().filter_map(|l| l.end()).map(|p| self.y.place(p.y).clamp(top, bottom)).collect();
        let places = push_apart(&wanted, 17.0, (top + 4.0, bottom - 2.0));
        for ((line, at), from) in edge.iter().zip(places).zip(wanted) {
            let style = line.style % STYLES;
            let end = line.end().map_or(right, |p| self.x.place(p.x));
            let above = line.end().is_some_and(|p| p.y > self.y.high());
            if (at - from).abs() > 2.0 {
                let _ = write!(
                    body,
                    "<path class=\"lead s{style}\" d=\"M{:.1} {from:.1}L{:.1} {at:.1}\"/>",
                    end + 5.0,
                    right + 14.0
                );
            }
            let arrow = if above { "↑ " } else { "" };
            let _ = write!(
                body,
                "<path class=\"f{style}\" transform=\"translate({:.1} {at:.1})\" d=\"{}\"/><text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\">{}{arrow}<tspan class=\"small\">{}</tspan></text>",
                right + 18.0,
                marker(line.style, 3.4),
                right + 26.0,
                at + 4.5,
                escape(&format!("{} ", shortened(&line.name, 22))),
                escape(&line.value)
            );
            room.taken.push([right + 14.0, at - 8.0, right + 26.0 + pixels(&label_of(line), SIZE), at + 8.0]);
        }
    }

    /// The name of a way that ends beyond the frame, with the number that is too large or too small.
    fn draw_name_at_frame(&self, body: &mut String, line: &Line, end: &Point, room: &mut Room) {
        let [left, top, right, bottom] = self.frame;
        let (x, y) = self.place(end);
        let (arrow, value) = match () {
            _ if x > right => ("→", end.x),
            _ if x < left => ("←", end.x),
            _ if y < top => ("↑", end.y),
            _ => ("↓", end.y),
        };
        let text = format!("{} {arrow} {}", shortened(&line.name, 22), digits(value, 3));
        let at = (x.clamp(left + 4.0, right - 4.0), y.clamp(top + 14.0, bottom - 14.0));
        let (tx, ty) = room.place_near(&format!("mm{text}"), SIZE, at);
        let tx = tx + pixels("mm", SIZE);
        let mark = marker(line.style, 4.0);
        let style = line.style % STYLES;
        let _ = write!(
            body,
            "<path class=\"f{style}\" transform=\"translate({:.1} {:.1})\" d=\"{mark}\"/><text class=\"halo\" x=\"{tx:.1}\" y=\"{ty:.1}\">{}</text>",
            tx - 9.0,
            ty - 4.5,
            escape(&text)
        );
    }

    /// Writes where ways begin; ways that begin together share the word.
    pub fn draw_starts(&self, body: &mut String, room: &mut Room) {
        let mut seen: Vec<(f64, f64)> = Vec::new();
        for line in self.panel.lines.iter().filter(|l| l.marks == Marks::Way) {
            let Some(first) = line.points.first().filter(|p| self.x.contains(p.x) && self.y.contains(p.y)) else {
                continue;
            };
            let at = self.place(first);
            if seen.iter().all(|s| (s.0 - at.0).hypot(s.1 - at.1) > 12.0) {
                seen.push(at);
                let (x, y) = room.place_near("start", SMALL, at);
                let _ = write!(body, "<text class=\"soft small halo\" x=\"{x:.1}\" y=\"{y:.1}\">start</text>");
            }
        }
    }

    pub fn draw_name_inside(&self, body: &mut String, line: &Line, room: &mut Room) {
        let shown = |p: &&Point| p.x.is_finite() && p.y.is_finite() && self.x.contains(p.x) && self.y.contains(p.y);
        let visible: Vec<&Point> = line.points.iter().filter(shown).collect();
        if let Some(end) = line.end().filter(|p| self.figure.names == Names::Inside && !line.faint && !shown(p)) {
            return self.draw_name_at_frame(body, line, end, room);
        }
        // Context is named in its middle, a subject at its end.
        let Some(p) = (if line.faint { visible.get(visible.len() / 2) } else { visible.last() }) else { return };
        let text = if line.faint { shortened(&line.name, 22) } else { label_of(line) };
        let (x, y) = room.place_near(&text, SIZE, self.place(p));
        let class = if line.faint { "soft halo" } else { "halo" };
        let _ = write!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(&text));
    }
}
