//! What each stage of a verification decides: a bar of shares for every verification, and one of seconds below.

use std::fmt::Write;

use temper_base::numbers::digits;
use temper_record::metric::{
    CERTIFIED_BY, IMAGES_VERIFIED, SECONDS_OF, VERIFIED_ERROR, VERIFIED_ROBUST_ERROR, VERIFIED_STANDARD_ERROR,
};

use crate::options::Placed;
use crate::svg::{Drawing, LEFT, SIZE, SMALL, WIDTH};
use crate::text::{escape, pixels, shortened};

/// Height of a row in pixels.
const ROW: f64 = 30.0;

/// The stages that a bar can show, with their colours; those of later versions share the last one.
const STAGES: [(&str, &str); 5] = [("attack", "f2"), ("ibp", "f1"), ("crown", "f6"), ("alpha", "f3"), ("bab", "f4")];

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verified {
    /// What its row is called.
    pub name: String,
    /// How many images it was of.
    pub images: f64,
    /// Of every stage that was tried, in their order: its name, the images that it certified in per cent, its seconds.
    pub stages: Vec<(String, f64, f64)>,
    /// Images that are misclassified, in per cent.
    pub misclassified: f64,
    /// Images that an attack turned, in per cent.
    pub attacked: f64,
    /// All others, in per cent.
    pub open: f64,
}

impl Verified {
    /// Of the verification at the end of a run, if it had one.
    pub(crate) fn at_the_end(p: &Placed, set: &str) -> Option<Self> {
        let values = &p.run.evals(set).last()?.values;
        let [error, robust, standard, images] =
            [VERIFIED_ERROR, VERIFIED_ROBUST_ERROR, VERIFIED_STANDARD_ERROR, IMAGES_VERIFIED]
                .map(|metric| values.get(metric));
        let (error, robust, standard) = (error?, robust?, standard?);
        let stage = |name: &str| {
            let value = |metric: &str| values.get(&format!("{metric}.{name}"));
            Some((name.to_owned(), value(CERTIFIED_BY)?, value(SECONDS_OF)?))
        };
        Some(Self {
            name: format!("{}, at the end", p.name),
            images: images?,
            stages: STAGES.iter().filter_map(|(name, _)| stage(name)).collect(),
            misclassified: standard,
            attacked: robust - standard,
            open: error - robust,
        })
    }

    /// Name, colour and share of every part of its bar, certified ones first.
    fn shares(&self) -> Vec<(String, &'static str, f64)> {
        let stages = self.stages.iter().filter(|(name, ..)| name != "attack");
        let certified = stages.map(|(name, share, _)| (format!("certified by {name}"), colour(name), *share));
        let rest = [("open", "area a2", self.open), ("attacked", "f2", self.attacked)];
        let rest = rest.into_iter().chain([("misclassified", "f0", self.misclassified)]);
        certified.chain(rest.map(|(name, colour, share)| (name.to_owned(), colour, share))).collect()
    }

    /// The same of its seconds.
    fn seconds(&self) -> Vec<(String, &'static str, f64)> {
        self.stages.iter().map(|(name, _, seconds)| (name.clone(), colour(name), *seconds)).collect()
    }
}

fn colour(stage: &str) -> &'static str {
    STAGES.iter().find(|(name, _)| *name == stage).map_or("f5", |(_, colour)| colour)
}

/// A figure of such bars.
pub(crate) struct Bars<'a>(pub &'a [Verified]);

impl Drawing for Bars<'_> {
    fn names(&self) -> [&str; 3] {
        [
            "verdicts",
            "What each stage of a verification decides",
            "Of every verification, the images that each stage certifies, those that are open, attacked or misclassified, and the seconds that \
             each stage took.",
        ]
    }

    fn draw(&self) -> (String, f64) {
        let mut body = String::new();
        let of_images = self.0.iter().map(|verified| {
            let images = format!("{} images", digits(verified.images, 6));
            (verified, verified.shares(), 100.0, images)
        });
        let top = draw_panel(&mut body, "verdicts, % of the images", 0.0, of_images.collect(), " %");
        let most =
            self.0.iter().map(|verified| verified.stages.iter().map(|(.., s)| s).sum::<f64>()).fold(0.0, f64::max);
        let of_seconds = self.0.iter().map(|verified| {
            let total: f64 = verified.stages.iter().map(|(.., seconds)| seconds).sum();
            (verified, verified.seconds(), most, format!("{} s", digits(total, 3)))
        });
        let top = draw_panel(&mut body, "seconds by stage", top + 12.0, of_seconds.collect(), " s");
        (body, top)
    }
}

/// Name of the row, parts of its bar, what the whole width stands for, and a note behind it.
type Bar<'a> = (&'a Verified, Vec<(String, &'static str, f64)>, f64, String);

/// Bars below each other with the names of their parts. Returns where they end.
fn draw_panel(body: &mut String, title: &str, top: f64, bars: Vec<Bar>, unit: &str) -> f64 {
    let _ = write!(body, "<text class=\"title\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top + 16.0, escape(title));
    let mut legend: Vec<(&str, &str)> = Vec::new();
    for (name, colour, _) in bars.iter().flat_map(|(_, parts, ..)| parts).filter(|(.., value)| *value > 0.0) {
        if !legend.contains(&(name.as_str(), *colour)) {
            legend.push((name, colour));
        }
    }
    let (mut x, mut y) = (LEFT, top + 34.0);
    for (name, colour) in legend {
        let width = 26.0 + pixels(name, SIZE) + 18.0;
        if x + width > WIDTH - 24.0 && x > LEFT {
            (x, y) = (LEFT, y + 20.0);
        }
        let _ = write!(
            body,
            "<rect class=\"{colour}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"18\" height=\"12\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y - 6.0,
            x + 25.0,
            y + 4.5,
            escape(name)
        );
        x += width;
    }
    y += 18.0;
    let right = WIDTH - 130.0;
    for (verified, parts, whole, note) in bars {
        let name = escape(&shortened(&verified.name, 100));
        let _ = write!(body, "<text class=\"soft small\" x=\"{LEFT}\" y=\"{:.1}\">{name}</text>", y + 10.0);
        let mut from = LEFT;
        for (part, colour, value) in parts.into_iter().filter(|(.., value)| value.is_finite() && *value > 0.0) {
            let width = (value / whole).clamp(0.0, 1.0) * (right - LEFT);
            let tip = format!("{}\n{part}: {}{unit}", verified.name, digits(value, 4));
            let _ = write!(
                body,
                "<rect class=\"{colour}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\"><title>{}</title></rect>",
                y + 15.0,
                escape(&tip)
            );
            from += width;
        }
        let _ = write!(
            body,
            "<text class=\"small\" font-size=\"{SMALL}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            right + 10.0,
            y + 26.0,
            escape(&note)
        );
        y += ROW + 6.0;
    }
    y
}
