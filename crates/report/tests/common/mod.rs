//! Made-up runs.
#![allow(dead_code)]

use temper_record::event::Parent;
use temper_record::*;
use temper_report::Report;

/// A language-model run of 100 updates of 10 tokens, evaluated every 25, with the given losses on `web` and `law`.
pub fn run(name: &str, parent: Option<&str>, web: [f64; 5], law: [f64; 5]) -> RunSeries {
    let mut events = vec![
        Event::Start(RunInfo {
            recipe: format!("demo/{name}"),
            seed: 7,
            steps: 100,
            tokens: 1000,
            start: if parent.is_some() { "branch" } else { "fresh" }.into(),
            parent: parent.map(|p| Parent { run: format!("somewhere/{p}"), step: 100, tokens: 1000 }),
            version: "0.1.0".into(),
            ..RunInfo::default()
        }),
        Event::Phase { name: "warmup".into(), first_step: 1, last_step: 10 },
        Event::Phase { name: "decay".into(), first_step: 11, last_step: 100 },
    ];
    for step in 0..=100_u64 {
        if step > 0 {
            let values = Values::new().with("loss", 3.0).with("lr", 1e-3 * step as f64).with("grad_norm", 1.0);
            events.push(Event::Step { step, tokens: step * 10, values });
        }
        if step % 25 == 0 {
            for (set, losses) in [("web", web), ("law", law)] {
                let loss = losses[step as usize / 25];
                let values =
                    Values::new().with("loss", loss).with("perplexity", loss.exp()).with("bits_per_byte", loss / 2.0);
                events.push(Event::Eval { step, tokens: step * 10, set: set.into(), values });
            }
        }
    }
    events.push(Event::Done { step: 100, tokens: 1000, seconds: 12.0 });
    RunSeries::from_events(name, events).unwrap()
}

pub fn four() -> Vec<RunSeries> {
    vec![
        run("english", None, [9.0, 5.0, 4.0, 3.5, 3.0], [9.0, 6.0, 5.5, 5.1, 5.0]),
        run("rewarmed", Some("english"), [3.0, 4.25, 4.0, 3.75, 3.5], [5.0, 4.0, 3.5, 3.0, 2.5]),
        run("constant", Some("english"), [3.0, 3.1, 3.2, 3.3, 3.25], [5.0, 4.5, 4.0, 3.5, 3.0]),
        run("scratch", None, [9.0, 8.0, 7.5, 7.0, 7.0], [9.0, 5.0, 4.0, 3.5, 2.75]),
    ]
}

/// Parses and gives the document; anything that is not well-formed fails here.
pub fn parsed(xml: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(xml).unwrap_or_else(|e| panic!("{e}\n{xml}"))
}

pub fn texts(svg: &str) -> Vec<String> {
    let document = parsed(svg);
    let texts = document.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.map(|n| n.descendants().filter_map(|d| d.text().filter(|_| d.is_text())).collect()).collect()
}

/// The page and its figures name no address, and the page is well-formed with every id once.
pub fn loads_nothing(report: &Report) {
    for (what, text) in report.figures.iter().map(|(n, s)| (n.as_str(), s)).chain([("page", &report.html)]) {
        let rest = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for word in ["http", "//", "<script", "<link", "@import", "src=", "href", "url("] {
            let allowed = if word == "url(" { rest.replace("url(#", "") } else { rest.clone() };
            assert!(!allowed.contains(word), "{word} in {what}");
        }
    }
    // Apart from the doctype and the void elements, the page is XML too.
    let html = report.html.replace("<!doctype html>", "").replace("<meta charset=\"utf-8\">", "");
    let viewport = "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";
    let document_text = html.replace(viewport, "");
    let document = parsed(&document_text);
    let mut ids: Vec<&str> = document.descendants().filter_map(|n| n.attribute("id")).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id appears twice");
}

/// What a made-up run of certified training is like.
#[derive(Debug, Clone)]
pub struct Certify {
    pub name: &'static str,
    pub eps: f64,
    /// Certified and standard error at the end, in per cent.
    pub certified: f64,
    pub standard: f64,
    /// With the regularisers of the warmup.
    pub regularised: bool,
    /// How much the bounds widen from layer to layer at first.
    pub gain: f64,
    pub layers: Vec<String>,
    /// Images held out of the training set are a set of their own.
    pub holdout: bool,
    /// Evaluations, one an epoch, after the one before the first update.
    pub epochs: u64,
    /// The first epochs with radius 0, and those of the ramp.
    pub clean: u64,
    pub ramp: u64,
    pub images: f64,
    pub seed: u64,
}

impl Certify {
    pub fn new(name: &'static str, certified: f64, standard: f64) -> Self {
        Self {
            name,
            eps: 0.3,
            certified,
            standard,
            regularised: true,
            gain: 1.1,
            layers: (1..=6).map(|n| format!("relu{n}")).collect(),
            holdout: false,
            epochs: 16,
            clean: 1,
            ramp: 6,
            images: 10_000.0,
            seed: 1,
        }
    }

    /// The way paper and plain IBP differ: bounds that widen more, no regularisers.
    pub fn vanilla(name: &'static str, certified: f64, standard: f64) -> Self {
        Self { regularised: false, gain: 3.2, seed: 2, ..Self::new(name, certified, standard) }
    }

    /// A number in 0..1 that depends on what it is for only.
    fn noise(&self, step: u64, what: u64) -> f64 {
        let mut x =
            self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (what << 17);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    const EPOCH: u64 = 47;
    const BATCH: u64 = 128;

    fn radius(&self, step: u64) -> f64 {
        let at = (step as f64 / Self::EPOCH as f64 - self.clean as f64) / self.ramp as f64;
        let grown = if at < 0.25 { 0.55 * at.max(0.0).powi(4) / 0.25_f64.powi(3) } else { 0.1375 + (at - 0.25) * 1.15 };
        self.eps * grown.min(1.0)
    }

    pub fn events(&self) -> Vec<Event> {
        let steps = self.epochs * Self::EPOCH;
        let tokens = |step: u64| step * Self::BATCH;
        let mut events = vec![Event::Start(RunInfo {
            task: CERTIFY.into(),
            recipe: format!("fastibp/{}", self.name),
            seed: self.seed,
            steps,
            tokens: tokens(steps),
            parameters: 166_000,
            start: "fresh".into(),
            version: "0.1.0".into(),
            time: 1_753_000_000,
            ..RunInfo::default()
        })];
        let ends = [self.clean, self.clean + self.ramp, self.epochs].map(|epoch| epoch * Self::EPOCH);
        let mut first_step = 1;
        for (name, last_step) in ["clean", "ramp", "robust"].iter().zip(ends) {
            events.push(Event::Phase { name: (*name).into(), first_step, last_step });
            first_step = last_step + 1;
        }
        for step in 0..=steps {
            if step > 0 {
                events.push(Event::Step { step, tokens: tokens(step), values: self.step(step, steps) });
            }
            if step % Self::EPOCH == 0 {
                let sets: &[&str] = if self.holdout { &["validation", "test"] } else { &["test"] };
                for (n, set) in sets.iter().enumerate() {
                    let values = self.evaluation(step, steps, n as u64);
                    events.push(Event::Eval { step, tokens: tokens(step), set: (*set).into(), values });
                }
            }
        }
        events.push(Event::Done { step: steps, tokens: tokens(steps), seconds: steps as f64 * 0.37 });
        events
    }

    pub fn series(&self) -> RunSeries {
        RunSeries::from_events(self.name, self.events()).unwrap()
    }

    fn step(&self, step: u64, steps: u64) -> Values {
        let at = step as f64 / steps as f64;
        let eps = self.radius(step);
        let wobble = |what, size: f64| 1.0 + size * (self.noise(step, what) - 0.5);
        let clean = (0.08 + 2.2 * (-at * 30.0).exp() + 0.3 * eps / self.eps * (1.3 - at)) * wobble(1, 0.3);
        let robust = (clean + 0.25 + self.gain * 0.6 * (eps / self.eps) * (1.4 - at)) * wobble(2, 0.2);
        let weight = 0.5 * (1.0 - eps / self.eps);
        let ramping = step > self.clean * Self::EPOCH && weight > 0.0;
        let mut values = Values::new().with("loss", if eps > 0.0 { robust } else { clean });
        values.set(
            "lr",
            if at < 0.7 {
                5e-4
            } else if at < 0.85 {
                1e-4
            } else {
                2e-5
            },
        );
        values.set("eps", eps);
        values.set("grad_norm", 2.0 * wobble(3, 1.0) * (1.0 + 4.0 * (-at * 20.0).exp()));
        values.set("clean_loss", clean);
        if eps > 0.0 {
            values.set("robust_loss", robust);
        }
        if self.regularised && ramping {
            values.set("tightness", 0.8 * (-at * 6.0).exp() * wobble(4, 0.2));
            values.set("relu_balance", 1.1 * (-at * 4.0).exp() * wobble(5, 0.2));
            values.set("weight", weight);
        }
        values.with("images_per_s", 345.0 * wobble(6, 0.1)).with("seconds", step as f64 * 0.36)
    }

    fn evaluation(&self, step: u64, steps: u64, set: u64) -> Values {
        let at = step as f64 / steps as f64;
        let eps = self.radius(step);
        let wobble = |what: u64, size: f64| 1.0 + (1.0 - at) * size * (self.noise(step, 20 + what + 10 * set) - 0.5);
        let grown = eps / self.eps;
        let begun = (-at * 40.0).exp();
        let standard = (self.standard * (0.45 + 0.55 * grown) * wobble(1, 0.2) * (1.15 - 0.15 * at)).max(0.1);
        let standard = standard + (90.0 - standard) * begun;
        let trained = grown.powf(0.35) * (0.55 + 0.45 * at.powf(0.3));
        let certified = self.certified + (100.0 - self.certified) * (1.0 - trained) * wobble(2, 0.1);
        let certified = if grown < 0.5 { 100.0 } else { certified.clamp(standard, 100.0) };
        let current =
            if eps > 0.0 { standard + (certified.min(2.5 * self.certified) - standard) * grown } else { standard };
        let mut values = Values::new().with("standard_error", standard);
        values.set("pgd_error", standard + (certified - standard) * 0.45);
        values.set("pgd_images", 1000.0);
        values.set("certified_error", certified);
        values.set("pgd_error_current", standard + (current - standard) * 0.45);
        values.set("certified_error_current", current);
        values.set("clean_loss", standard / 40.0);
        values.set("robust_loss", certified / 30.0);
        values.set("eps", self.eps);
        values.set("eps_current", eps);
        values.set("images", if set == 0 && self.holdout { 3000.0 } else { self.images });
        for (n, layer) in self.layers.iter().enumerate() {
            let depth = n as f64;
            let spread = 1.0 - (-(0.2 + 0.25 * depth) * self.gain * (1.15 - at)).exp();
            let unstable = (spread * (1.0 - 0.75 * grown * at.sqrt())).clamp(0.0, 1.0);
            let active = (1.0 - unstable) * (0.55 - 0.06 * depth - 0.2 * grown * (self.gain / 4.0)).max(0.03);
            values.set(&format!("active.{layer}"), active);
            values.set(&format!("unstable.{layer}"), unstable);
            values.set(&format!("inactive.{layer}"), 1.0 - active - unstable);
            let width =
                2.0 * self.eps * (1.0 + (self.gain - 1.0) * (1.3 - grown)).powf(depth * (1.0 - 0.3 * grown * at));
            values.set(&format!("width.{layer}"), width * wobble(7 + n as u64, 0.2));
        }
        values
    }
}
