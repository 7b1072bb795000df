//! Draws a [`Figure`] as SVG. It carries no scripts and no fonts; colours for light and dark are in the style sheet.

use std::fmt::Write;

use crate::chart::{Figure, Line, Marks, Names};
use crate::plot::Plot;
use crate::scale::Scale;
use crate::text::{escape, lines, pixels, shortened, shortened_heading, tick_labels};
use crate::theme::{self, STYLES, figure_css, marker};

pub(crate) const WIDTH: f64 = 1000.0;
/// Of a drawing for a narrow screen.
pub(crate) const NARROW: f64 = 420.0;
pub(crate) const LEFT: f64 = 66.0;
/// Font sizes in the style sheet.
pub(crate) const SIZE: f64 = 13.0;
/// Of the titles of panels.
const TITLE: f64 = 14.0;
pub(crate) const SMALL: f64 = 12.0;

/// Something that is drawn as SVG.
pub trait Drawing {
    /// Its name (that of its file), title and description.
    fn names(&self) -> [&str; 3];

    /// Its content, and how high that is.
    fn draw(&self) -> (String, f64);

    /// How wide it is.
    fn width(&self) -> f64 {
        WIDTH
    }

    /// The same for a screen of the width of a hand, if there is such a drawing.
    fn narrowed(&self) -> Option<String> {
        None
    }

    /// The drawing as a separate file, with its style sheet.
    fn to_svg(&self) -> String {
        let (body, height) = self.draw();
        let paper = "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>";
        let body = format!("<style>{}</style>{paper}{body}", figure_css());
        element("xmlns=\"http://www.w3.org/2000/svg\" ", "", self.names(), &body, [WIDTH, height]) + "\n"
    }

    /// The drawing as an element of a page that has the style sheet already, and beside it that for narrow screens: the style
    /// sheet shows one of them.
    fn to_inline_svg(&self) -> String {
        let (body, height) = self.draw();
        let class = |narrow: &Option<String>| if narrow.is_some() { " broad" } else { "" };
        let narrow = self.narrowed();
        element("", class(&narrow), self.names(), &body, [self.width(), height]) + &narrow.unwrap_or_default()
    }
}

/// A drawing as an element of this width and height; its name, title and description.
pub(crate) fn element(
    space: &str,
    class: &str,
    [name, title, description]: [&str; 3],
    body: &str,
    [width, height]: [f64; 2],
) -> String {
    format!(
        "<svg {space}class=\"fig{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
         aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>{body}</svg>",
        escape(title),
        escape(description),
        id = escape(name),
    )
}

impl Drawing for Figure {
    fn names(&self) -> [&str; 3] {
        [&self.name, &self.title, &self.description]
    }

    fn width(&self) -> f64 {
        if self.narrow { NARROW } else { WIDTH }
    }

    fn narrowed(&self) -> Option<String> {
        // Names that no other drawing on the page uses, for what is referred to inside.
        let narrow = Self { narrow: true, name: format!("{}-narrow", self.name), ..self.clone() };
        let (body, height) = narrow.draw();
        Some(element("", " narrow", narrow.names(), &body, [NARROW, height]))
    }

    fn draw(&self) -> (String, f64) {
        let right = self.width() - self.margin();
        let x = self.x_scale((LEFT, right));
        let mut body = String::new();
        let mut top = self.draw_legend(&mut body, right);
        for (n, panel) in self.panels.iter().enumerate() {
            if !panel.title.is_empty() {
                let (left, titles) = if self.narrow {
                    // Bold letters are wider.
                    (2.0, lines(&panel.title, NARROW / 1.15, TITLE))
                } else {
                    (LEFT, vec![panel.title.clone()])
                };
                for title in titles {
                    let title = escape(title.trim_end());
                    let _ =
                        write!(body, "<text class=\"title\" x=\"{left:.0}\" y=\"{:.1}\">{title}</text>", top + 17.0);
                    top += 18.0;
                }
                top += 9.0;
            }
            if n == 0 && !self.bands.is_empty() {
                self.draw_band_names(&mut body, &x, top, right);
                top += 20.0;
            }
            let bottom = top + panel.height;
            let y = panel.y_scale((bottom, top), |at| x.contains(at));
            let plot = Plot {
                figure: self,
                panel,
                x: &x,
                y: &y,
                frame: [LEFT, top, right, bottom],
                number: n,
                numbered: true,
            };
            plot.draw(&mut body);
            top = bottom + if n + 1 == self.panels.len() { 0.0 } else { 16.0 };
        }
        let ticks = x.ticks(if self.narrow { 70.0 } else { 90.0 });
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
                escape(&shortened_heading(&self.remark, self.width() - LEFT))
            );
            height += 18.0;
        }
        (body, height)
    }
}

impl Figure {
    /// Room for the names at the right.
    fn margin(&self) -> f64 {
        if self.names != Names::Margin || self.narrow {
            return 24.0;
        }
        let widths = self.panels.iter().flat_map(|p| &p.lines).map(|line| pixels(&label_of(line), SIZE));
        (widths.fold(0.0, f64::max) + 34.0).clamp(24.0, 260.0)
    }

    /// One entry for every run, in rows. Returns its height.
    fn draw_legend(&self, body: &mut String, right: f64) -> f64 {
        // The page writes the names above a narrow one.
        if self.names == Names::None || self.narrow {
            return 8.0;
        }
        draw_entries(body, self.panels.iter().flat_map(|p| &p.lines), (LEFT, 16.0), right.max(WIDTH - 24.0)) + 18.0
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

/// Draws an entry for every name among the lines, in rows from `(x, y)` on. Returns the place of the last row.
pub(crate) fn draw_entries<'a>(
    body: &mut String,
    lines: impl Iterator<Item = &'a Line>,
    (mut x, mut y): (f64, f64),
    right: f64,
) -> f64 {
    let mut seen: Vec<&Line> = Vec::new();
    for line in lines.filter(|line| !line.name.is_empty()) {
        if !seen.iter().any(|l| l.name == line.name) {
            seen.push(line);
        }
    }
    for line in seen {
        let name = shortened(&line.name, 40);
        let width = 46.0 + pixels(&name, SIZE) + 22.0;
        if x + width > right && x > LEFT {
            (x, y) = (LEFT, y + 22.0);
        }
        let style = line.style % STYLES;
        let _ = write!(
            body,
            "<path class=\"curve{} s{style}\" {}d=\"M{x:.1} {y:.1}h36\"/>",
            faint_class(line),
            dashes(line)
        );
        if line.marks != Marks::None {
            let _ = write!(
                body,
                "<path class=\"f{style}\" transform=\"translate({:.1} {y:.1})\" d=\"{}\"/>",
                x + 18.0,
                marker(line.style, 4.6)
            );
        }
        let _ = write!(body, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 44.0, y + 4.5, escape(&name));
        x += width;
    }
    y
}

pub(crate) fn faint_class(line: &Line) -> &'static str {
    if line.faint { " faint" } else { "" }
}

pub(crate) fn dashes(line: &Line) -> String {
    match theme::dashes(line.style) {
        "" => String::new(),
        pattern => format!("stroke-dasharray=\"{pattern}\" "),
    }
}

pub(crate) fn label_of(line: &Line) -> String {
    format!("{} {}", shortened(&line.name, 22), line.value).trim_end().to_owned()
}
