//! A verification that can be stopped and resumed: a question about a classifier, and the answers to it in a folder, image by image.
//!
//! Clean pass, interval bounds and attack take a batch at a time. What they leave open is searched image by image. Answers go to a CSV file,
//! and are durable before the next search begins: whoever is killed loses at most the image in work, and opening the same folder with
//! the same question resumes. Beside it, `verdicts-question.json` (or `radii-question.json`) says what was asked, so that answers to two
//! different questions never end up in one file, `counterexamples.npy` holds the images that were found, and `times.csv` what it took.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use serde_json::{Value, json};
use temper_base::Result;
use temper_bounds::boxes::Images as Boxed;
use temper_bounds::verdict::{Question, verify_until};
use temper_data::images::Images;
use temper_verify::images::remaining;
use temper_verify::shards::Shard;
use temper_verify::store::{Kind, Names, StageSeconds, radius_line, verdict_line};
use temper_verify::{Certifier, Counterexample, ImageVerdict, Norm, Settings, Stack, Stage, Store, Times};

use crate::open::Opened;

/// The version of the attack: another version asks another question.
const ATTACK: &str = "autopgd and squares, 2";

/// The version of bounds and search.
pub(crate) const BOUNDS: &str = "interval bounds in f64, 1";

/// Steps of the attack, unless something else is asked for.
pub const STEPS: u64 = 200;
/// Its starts.
pub const RESTARTS: u64 = 10;
/// The time for the search on an image.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of every image.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A verdict.
    Verdicts(Question),
    /// The largest radius up to `eps` at which it is certified, by so many halvings.
    Radii {
        /// The largest radius that is tried.
        eps: f64,
        /// The stages that certify, and in which sense.
        settings: Settings,
        /// How often the interval is halved.
        halvings: usize,
    },
}

impl Asked {
    fn kind(&self) -> Kind {
        match self {
            Asked::Verdicts(_) => Kind::Verdicts,
            Asked::Radii { .. } => Kind::Radii,
        }
    }

    fn settings(&self) -> &Settings {
        match self {
            Asked::Verdicts(question) => &question.settings,
            Asked::Radii { settings, .. } => settings,
        }
    }

    /// The question as it is kept beside the answers. What decides the one file does not bear on the other, and what a stage that is not
    /// tried would need is left out.
    fn json(&self, opened: &Opened, test: &Images, shard: &Shard) -> Value {
        let settings = self.settings();
        let has = |stage: Stage| settings.stages.contains(&stage);
        let (eps, more) = match self {
            Asked::Radii { eps, halvings, .. } => (eps, json!({ "halvings": halvings })),
            Asked::Verdicts(Question { eps, attack, attack_certified, .. }) if has(Stage::Attack) => {
                let more = json!({
                    "attack": attack_certified.name(), "steps": attack.steps, "restarts": attack.restarts,
                    "method": ATTACK,
                });
                (eps, more)
            }
            Asked::Verdicts(question) => (&question.eps, json!({})),
        };
        let searches = settings.stages.iter().any(|stage| *stage >= Stage::Crown);
        let verdicts = self.kind() == Kind::Verdicts;
        let stages: Vec<&str> = settings.stages.iter().map(|stage| stage.name()).collect();
        let mut asked = json!({
            "what": self.kind().name(), "step": opened.step, "model_sha256": opened.sha256, "data": test.name,
            "images": test.len(), "images_sha256": test.fingerprint(), "eps": eps, "stages": stages,
            "arithmetic": settings.arithmetic.name(), "bounds": BOUNDS,
            "timeout": settings.timeout.filter(|_| searches && verdicts).map(|timeout| timeout.as_secs_f64()),
            "max_domains": settings.max_domains.filter(|_| has(Stage::Bab)),
            "memory": has(Stage::Bab).then_some(settings.memory),
            "seed": (verdicts && (searches || has(Stage::Attack))).then_some(settings.seed),
        });
        shard.put(&mut asked);
        asked.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        asked
    }
}

/// An image that attack and interval bounds have seen.
struct Seen {
    verdict: ImageVerdict,
    counterexample: Option<Counterexample>,
    seconds: StageSeconds,
}

/// A verification under way.
pub struct Verification<'a> {
    opened: &'a Opened,
    certifier: Certifier,
    test: &'a Images,
    asked: Asked,
    shard: Shard,
    /// The answers so far.
    pub file: Store,
    /// What they took; radii have none.
    pub times: Option<Times>,
    stack: Option<Stack>,
    /// The rest of a batch, next image first.
    seen: VecDeque<Seen>,
}

impl<'a> Verification<'a> {
    /// Begins, or goes on with, the verification of this part of the images in this folder. Also gives the question as it is kept there.
    ///
    /// # Errors
    /// A folder that holds answers to another question, files that cannot be read or written, weights that are not finite.
    pub fn open(
        folder: &Path,
        opened: &'a Opened,
        test: &'a Images,
        asked: Asked,
        shard: Shard,
    ) -> Result<(Self, Value)> {
        let certifier = Certifier::new(&opened.net.to_network())?;
        let question = asked.json(opened, test, &shard);
        let file = Store::open(folder, asked.kind(), &question)?;
        let (stack, times) = match asked {
            Asked::Radii { .. } => (None, None),
            Asked::Verdicts(_) => {
                let path = folder.join("counterexamples.npy");
                let stack = Stack::open(&path, opened.net.config.input, file.counterexamples())?;
                (Some(stack), Some(Times::open(folder, (0..file.lines.len()).map(|place| shard.image(place)))?))
            }
        };
        let seen = VecDeque::new();
        Ok((Self { opened, certifier, test, asked, shard, file, times, stack, seen }, question))
    }

    /// How many images have answers.
    pub fn done(&self) -> usize {
        self.file.lines.len()
    }

    /// How many images there are in this part.
    pub fn images(&self) -> usize {
        self.shard.images(self.test.len())
    }

    /// Goes on until there are more answers: those of `rows` images (of the next batch), or of fewer where one of them has to be searched.
    /// Unless `stop` says so in the middle of it: the batch, or the image, is then abandoned.
    ///
    /// # Errors
    /// Images that do not fit the network, or files that cannot be written.
    pub fn advance(&mut self, rows: usize, stop: &(dyn Fn() -> bool + Sync), device: &Device) -> Result<()> {
        match self.asked.clone() {
            Asked::Radii { eps, settings, halvings } => self.radii(rows, eps, halvings, &settings, stop),
            Asked::Verdicts(question) => self.verdicts(rows, &question, stop, device),
        }
    }

    /// Pixels, labels and numbers of the images at these places.
    fn batch(&self, places: std::ops::Range<usize>) -> (Vec<f32>, Vec<u32>, Vec<u64>) {
        let indices: Vec<u32> = places.map(|place| self.shard.image(place) as u32).collect();
        let (pixels, labels) = self.test.batch(&indices, None);
        (pixels, labels, indices.into_iter().map(u64::from).collect())
    }

    fn radii(
        &mut self,
        rows: usize,
        eps: f64,
        halvings: usize,
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        let (pixels, labels, indices) = self.batch(self.done()..self.images().min(self.done() + rows));
        let Some(found) = self.certifier.radii(&pixels, &labels, eps, halvings, settings, stop)? else { return Ok(()) };
        let line = |(radius, (index, label)): (_, (&u64, &u32))| {
            radius_line(*index, *label, radius, names(self.test, *label, *index))
        };
        let lines = found.iter().zip(indices.iter().zip(&labels)).map(line).collect();
        self.file.append(lines)
    }

    fn verdicts(
        &mut self,
        rows: usize,
        question: &Question,
        stop: &(dyn Fn() -> bool + Sync),
        device: &Device,
    ) -> Result<()> {
        if self.seen.is_empty() && !self.see(rows, question, stop, device)? {
            return Ok(());
        }
        let settings = remaining(&question.settings, Duration::ZERO);
        let open = |seen: &Seen| seen.verdict.is_open() && !settings.stages.is_empty();
        let mut ready: Vec<Seen> = Vec::new();
        while let Some(seen) = self.seen.pop_front_if(|seen| !open(seen)) {
            ready.push(seen);
        }
        if ready.is_empty()
            && let Some(mut seen) = self.seen.pop_front()
        {
            let (pixels, ..) = self.batch(self.done()..self.done() + 1);
            let gone = Duration::from_secs_f64(seen.seconds.iter().sum());
            let left = remaining(&question.settings, gone);
            let Some(found) =
                self.certifier.search(&pixels, (question.eps, Norm::Max), &mut seen.verdict, &left, stop)?
            else {
                self.seen.push_front(seen);
                return Ok(());
            };
            seen.counterexample = found.counterexample;
            seen.seconds.iter_mut().zip(found.seconds).for_each(|(sum, seconds)| *sum += seconds);
            ready.push(seen);
        }
        self.append(&ready)
    }

    /// Clean pass, interval bounds and attack of the batch that the next image is in, those of its images left out that have answers
    /// already: what an attack finds depends, in its last bits, on the whole batch. False if it was stopped.
    fn see(
        &mut self,
        rows: usize,
        question: &Question,
        stop: &(dyn Fn() -> bool + Sync),
        device: &Device,
    ) -> Result<bool> {
        let first = self.done() / rows * rows;
        let (pixels, labels, indices) = self.batch(first..self.images().min(first + rows));
        let net = &self.opened.net;
        let batch = Boxed { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        let Some(decided) = verify_until(net, &self.certifier, batch, question, stop, device)? else {
            return Ok(false);
        };
        let seconds = decided.seconds.map(|seconds| seconds / labels.len() as f64);
        let mut counterexamples = decided.counterexamples.into_iter().peekable();
        let seen = decided.verdicts.into_iter().map(|verdict| {
            let counterexample = counterexamples.next_if(|found| found.index == verdict.index);
            Seen { verdict, counterexample, seconds }
        });
        self.seen = seen.skip(self.file.lines.len() - first).collect();
        Ok(true)
    }

    /// Counterexamples and times before the lines that name them.
    fn append(&mut self, ready: &[Seen]) -> Result<()> {
        let (Some(stack), Some(times)) = (&mut self.stack, &mut self.times) else {
            unreachable!("verdicts have a stack and times")
        };
        let mut row = stack.rows;
        stack.append(ready.iter().filter_map(|seen| seen.counterexample.as_ref()).map(|found| &found.pixels[..]))?;
        times.append(ready.iter().map(|seen| (seen.verdict.index as usize, &seen.seconds)))?;
        let line = |seen: &Seen| {
            let counterexample = seen.counterexample.as_ref().map(|_| {
                row += 1;
                row - 1
            });
            let ImageVerdict { label, predicted, index, .. } = seen.verdict;
            let names = Names { predicted: class(self.test, predicted), ..names(self.test, label, index) };
            verdict_line(&seen.verdict, counterexample, names)
        };
        self.file.append(ready.iter().map(line).collect())
    }
}

/// The names of an image; its file's is empty for sets that are one file.
pub(crate) fn names(test: &Images, label: u32, index: u64) -> Names<'_> {
    Names { class: class(test, label), predicted: "", file: test.file_name(index as usize).unwrap_or_default() }
}

pub(crate) fn class(test: &Images, label: u32) -> &str {
    test.class_names.get(label as usize).map_or("", String::as_str)
}
