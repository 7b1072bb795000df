//! Draws a [`Figure`] as SVG. No scripts and no fonts of its own; colours for light and dark are in the style sheet.

use std::fmt::Write;

use temper_record::console::digits;

use crate::chart::{Figure, Line, Marks, Names, Panel, Point};
use crate::labels::{Room, apart};
use crate::scale::Scale;
use crate::text::{escape, pixels, shortened, tick_labels};
use crate::theme::{DASHES, STYLES, figure_css, marker};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 66.0;
/// Font sizes in the style sheet.
const SIZE: f64 = 13.0;
const SMALL: f64 = 12.0;
/// More marks than this on one line would touch each other.
const MOST_MARKS: usize = 45;
/// More tooltips than this only make the file larger.
const MOST_TIPS: usize = 400;

impl Figure {
    /// The figure as a file of its own, with its style sheet.
    pub fn to_svg(&self) -> String {
        let space = "xmlns=\"http://www.w3.org/2000/svg\" ";
        format!(
            "{}\n",
            self.draw(
                space,
                &format!("<style>{}</style><rect class=\"paper\" width=\"100%\" height=\"100%\"/>", figure_css())
            )
        )
    }

    /// The figure as an element of a page that has the style sheet already.
    pub fn to_inline_svg(&self) -> String {
        self.draw("", "")
    }

    fn draw(&self, space: &str, head: &str) -> String {
        let right = WIDTH - self.margin();
        let x = self.x_scale((LEFT, right));
        let mut body = String::new();
        let mut top = self.draw_legend(&mut body, right);
        for (n, panel) in self.panels.iter().enumerate() {
            if !panel.title.is_empty() {
                let _ = write!(
                    body,
                    "<text class=\"title\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
                    top + 17.0,
                    escape(&panel.title)
                );
                top += 27.0;
            }
            if n == 0 && !self.bands.is_empty() {
                self.draw_band_names(&mut body, &x, top, right);
                top += 20.0;
            }
            let bottom = top + panel.height;
            let y = panel.y_scale((bottom, top), |at| x.holds(at));
            let plot = Plot { figure: self, panel, x: &x, y: &y, frame: [LEFT, top, right, bottom], number: n };
            plot.draw(&mut body);
            top = bottom + if n + 1 == self.panels.len() { 0.0 } else { 16.0 };
        }
        let ticks = x.ticks(90.0);
        for (tick, label) in ticks.iter().zip(tick_labels(&ticks, self.x.format)) {
            let _ = write!(
                body,
                "<text class=\"soft small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x.place(*tick),
                top + 18.0,
                escape(&label)
            );
        }
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            top + 39.0,
            escape(&self.x.label)
        );
        let mut height = top + 50.0;
        if !self.remark.is_empty() {
            let _ = write!(
                body,
                "<text class=\"soft small\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
                top + 59.0,
                escape(&self.remark)
            );
            height += 18.0;
        }
        format!(
            "<svg {space}class=\"fig\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>{head}{body}</svg>",
            escape(&self.title),
            escape(&self.description),
            id = escape(&self.name),
        )
    }

    /// Room for the names at the right.
    fn margin(&self) -> f64 {
        if self.names != Names::Margin {
            return 24.0;
        }
        let widths = self.panels.iter().flat_map(|p| &p.lines).map(|line| pixels(&label_of(line), SIZE));
        (widths.fold(0.0, f64::max) + 34.0).clamp(24.0, 260.0)
    }

    /// One entry for every run, in rows. Gives the height it took.
    fn draw_legend(&self, body: &mut String, right: f64) -> f64 {
        if self.names == Names::None {
            return 8.0;
        }
        let mut seen: Vec<&Line> = Vec::new();
        for line in self.panels.iter().flat_map(|p| &p.lines) {
            if !seen.iter().any(|l| l.name == line.name) {
                seen.push(line);
            }
        }
        let (mut x, mut y) = (LEFT, 16.0);
        for line in seen {
            let name = shortened(&line.name, 40);
            let width = 46.0 + pixels(&name, SIZE) + 22.0;
            if x + width > right.max(WIDTH - 24.0) && x > LEFT {
                (x, y) = (LEFT, y + 22.0);
            }
            let style = line.style % STYLES;
            let _ =
                write!(body, "<path class=\"curve{} s{style}\" {}d=\"M{x:.1} {y:.1}h36\"/>", faint(line), dashes(line));
            if line.marks != Marks::None {
                let _ = write!(
                    body,
                    "<path class=\"f{style}\" transform=\"translate({:.1} {y:.1})\" d=\"{}\"/>",
                    x + 18.0,
                    marker(style, 4.6)
                );
            }
            let _ = write!(body, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 44.0, y + 4.5, escape(&name));
            x += width;
        }
        y + 18.0
    }

    fn draw_band_names(&self, body: &mut String, x: &Scale, top: f64, right: f64) {
        let mut free = LEFT;
        for (n, band) in self.bands.iter().enumerate() {
            let (from, to) = (x.place(band.from).clamp(LEFT, right), x.place(band.to).clamp(LEFT, right));
            if to - from < 0.5 {
                continue;
            }
            if n % 2 == 0 {
                let _ = write!(
                    body,
                    "<rect class=\"band\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"20\"/>",
                    to - from
                );
            }
            let name = shortened(&band.name, 30);
            let width = pixels(&name, SMALL);
            // A band narrower than its name: the name begins with it and runs into the next.
            let at = if to - from > width + 6.0 { (from + to - width) / 2.0 } else { from + 3.0 }.max(free);
            if at + width <= right + 8.0 {
                let _ = write!(
                    body,
                    "<text class=\"soft small\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                    top + 14.0,
                    escape(&name)
                );
                free = at + width + 10.0;
            }
        }
    }
}

fn faint(line: &Line) -> &'static str {
    if line.faint { " faint" } else { "" }
}

fn dashes(line: &Line) -> String {
    match DASHES[line.style % STYLES] {
        "" => String::new(),
        pattern => format!("stroke-dasharray=\"{pattern}\" "),
    }
}

fn label_of(line: &Line) -> String {
    format!("{} {}", shortened(&line.name, 22), line.value).trim_end().to_owned()
}

/// One panel while it is drawn.
struct Plot<'a> {
    figure: &'a Figure,
    panel: &'a Panel,
    x: &'a Scale,
    y: &'a Scale,
    /// Left, top, right, bottom.
    frame: [f64; 4],
    number: usize,
}

impl Plot<'_> {
    fn draw(&self, body: &mut String) {
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
            right - left + 7.0,
            bottom - top + 7.0,
        );
        let mut room = Room { frame: self.frame, ..Room::default() };
        for line in &self.panel.lines {
            self.draw_curve(body, line, &mut room);
        }
        // Marks over all lines, so that none hides behind one.
        self.panel.lines.iter().for_each(|line| self.draw_marks(body, line));
        *body += "</g>";
        self.draw_entries(body, &mut room);
        match self.figure.names {
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
            let (tx, ty) = room.near(name, SMALL, (px, py));
            let _ = write!(body, "<text class=\"soft small halo\" x=\"{tx:.1}\" y=\"{ty:.1}\">{}</text>", escape(name));
        }
    }

    fn place(&self, p: &Point) -> (f64, f64) {
        (self.x.place(p.x), self.y.place(p.y))
    }

    fn draw_axes(&self, body: &mut String) {
        let [left, top, right, bottom] = self.frame;
        let ticks = self.y.ticks(46.0);
        for (tick, label) in ticks.iter().zip(tick_labels(&ticks, self.panel.y.format)) {
            let at = self.y.place(*tick);
            let _ = write!(
                body,
                "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/><text class=\"soft small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 9.0,
                at + 4.2,
                escape(&label)
            );
        }
        for tick in self.x.ticks(90.0) {
            let at = self.x.place(tick);
            let _ = write!(body, "<path class=\"grid\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
        }
        if self.figure.names == Names::Margin && self.x.holds(0.0) && self.x.place(0.0) > left + 1.0 {
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
            let _ = write!(body, "<path class=\"curve{} s{style}\" {}d=\"{path}\"/>", faint(line), dashes(line));
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
            .filter(|p| p.x.is_finite() && p.y.is_finite() && self.x.holds(p.x) && self.y.holds(p.y))
            .collect();
        let last = shown.len().saturating_sub(1);
        let mark = |body: &mut String, p: &Point, class: char, r: f64| {
            let (px, py) = self.place(p);
            let _ = write!(
                body,
                "<path class=\"{class}{style}\" stroke-width=\"{}\" transform=\"translate({px:.1} {py:.1})\" d=\"{}\"/>",
                if class == 'h' { 2.2 } else { 1.0 },
                marker(style, r)
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
        let every = shown.len().div_ceil(MOST_TIPS).max(1);
        for (_, p) in shown.iter().enumerate().filter(|(n, _)| n % every == 0 || *n == last) {
            if let Some(tip) = &p.tip {
                let (px, py) = self.place(p);
                let _ = write!(
                    body,
                    "<circle class=\"hit\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"8\"><title>{}</title></circle>",
                    escape(tip)
                );
            }
        }
    }

    /// Where a line comes in from above: a note with the value it begins at.
    fn draw_entries(&self, body: &mut String, room: &mut Room) {
        if self.figure.names != Names::Margin {
            return;
        }
        for line in self.panel.lines.iter().filter(|l| !l.faint) {
            let Some(first) = line.stretches().next().and_then(|s| s.first()) else { continue };
            let enters = line.points.iter().find(|p| self.x.holds(p.x) && self.y.holds(p.y));
            if let Some(enters) = enters.filter(|_| first.y > self.y.high()) {
                let text = format!("{} from {}", shortened(&line.name, 22), digits(first.y, 3));
                let (x, y) = room.near(&text, SMALL, (self.x.place(enters.x), self.frame[1] + 10.0));
                let _ =
                    write!(body, "<text class=\"soft small halo\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(&text));
            }
        }
    }

    /// Names beside the ends of the lines that reach the right edge; the others get theirs inside.
    fn draw_margin_names(&self, body: &mut String, room: &mut Room) {
        let [_, top, right, bottom] = self.frame;
        let at_edge = |line: &&Line| line.end().is_some_and(|p| self.x.place(p.x) > right - 24.0);
        let edge: Vec<&Line> = self.panel.lines.iter().filter(at_edge).collect();
        let wanted: Vec<f64> =
            edge.iter().filter_map(|l| l.end()).map(|p| self.y.place(p.y).clamp(top, bottom)).collect();
        let places = apart(&wanted, 17.0, (top + 4.0, bottom - 2.0));
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
                "<path class=\"f{style}\" transform=\"translate({:.1} {at:.1})\" d=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}{arrow}<tspan class=\"small\">{}</tspan></text>",
                right + 18.0,
                marker(style, 3.4),
                right + 26.0,
                at + 4.5,
                escape(&format!("{} ", shortened(&line.name, 22))),
                escape(&line.value)
            );
        }
        for line in self.panel.lines.iter().filter(|l| !at_edge(l)) {
            self.draw_name_inside(body, line, room);
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
        let (tx, ty) = room.near(&format!("mm{text}"), SIZE, at);
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

    /// Says where ways begin; ways that begin together share the word.
    fn draw_starts(&self, body: &mut String, room: &mut Room) {
        let mut seen: Vec<(f64, f64)> = Vec::new();
        for line in self.panel.lines.iter().filter(|l| l.marks == Marks::Way) {
            let Some(first) = line.points.first().filter(|p| self.x.holds(p.x) && self.y.holds(p.y)) else { continue };
            let at = self.place(first);
            if seen.iter().all(|s| (s.0 - at.0).hypot(s.1 - at.1) > 12.0) {
                seen.push(at);
                let (x, y) = room.near("start", SMALL, at);
                let _ = write!(body, "<text class=\"soft small halo\" x=\"{x:.1}\" y=\"{y:.1}\">start</text>");
            }
        }
    }

    fn draw_name_inside(&self, body: &mut String, line: &Line, room: &mut Room) {
        let shown = |p: &&Point| p.x.is_finite() && p.y.is_finite() && self.x.holds(p.x) && self.y.holds(p.y);
        let visible: Vec<&Point> = line.points.iter().filter(shown).collect();
        if let Some(end) = line.end().filter(|p| self.figure.names == Names::Inside && !line.faint && !shown(p)) {
            return self.draw_name_at_frame(body, line, end, room);
        }
        // Context is named in its middle, a subject at its end.
        let Some(p) = (if line.faint { visible.get(visible.len() / 2) } else { visible.last() }) else { return };
        let text = if line.faint { shortened(&line.name, 22) } else { label_of(line) };
        let (x, y) = room.near(&text, SIZE, self.place(p));
        let class = if line.faint { "soft halo" } else { "halo" };
        let _ = write!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(&text));
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
