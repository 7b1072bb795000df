//! Labelled images against a network, of a file or of a run: a verdict each, image by image, in a folder as [`Verification`](crate::verification) leaves
//! it, and resumable like that.

use std::path::Path;

use serde_json::{Value, json};
use temper_base::hash::{Digest, Sha256, finished};
use temper_base::{Problem, Result};
use temper_data::images::Images;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, Operation};
use temper_verify::shards::Shard;
use temper_verify::store::{Kind, Names, StageSeconds, verdict_line};
use temper_verify::{
    Attacked, Certifier, Evidence, ImageVerdict, Norm, Settings, Stack, Store, Times, judge, of_pixels,
};

use crate::verification::{BOUNDS, class, names};

/// What is asked about every image.
#[derive(Debug, Clone)]
pub struct NetworkQuestion {
    /// How far changed images may be.
    pub eps: f64,
    /// In which norm.
    pub norm: Norm,
    /// What the network takes from a pixel in [0, 1] before it reads it, a channel each.
    pub mean: Vec<f64>,
    /// What it divides the rest by.
    pub std: Vec<f64>,
    /// Stages, time and sense.
    pub settings: Settings,
}

/// A verification under way.
pub struct NetworkVerification<'a> {
    certifier: Certifier,
    test: &'a Images,
    asked: NetworkQuestion,
    /// The answers so far.
    pub file: Store,
    /// What they took.
    pub times: Times,
    stack: Stack,
}

impl<'a> NetworkVerification<'a> {
    /// Begins, or goes on with, the verification of a network in this folder. Also gives the question as it is kept there.
    ///
    /// # Errors
    /// A network of other images, a folder that holds answers to another question, files that cannot be read or written.
    pub fn open(
        folder: &Path,
        computation: &Computation,
        test: &'a Images,
        asked: NetworkQuestion,
    ) -> Result<(Self, Value)> {
        let computation = of_pixels(computation, test.shape, &asked.mean, &asked.std)?;
        if computation.outputs() < test.classes().max(2) {
            let why =
                format!("it has {} outputs, and the images have {} classes", computation.outputs(), test.classes());
            return Err(Problem::input("verify", "network", why));
        }
        let settings = &asked.settings;
        let stages: Vec<&str> = settings.stages.iter().map(|stage| stage.name()).collect();
        let mut question = json!({
            "what": Kind::Verdicts.name(), "network_sha256": fingerprint(&computation), "data": test.name, "images": test.len(),
            "images_sha256": test.fingerprint(), "eps": asked.eps, "mean": asked.mean, "std": asked.std, "stages": stages,
            "arithmetic": settings.arithmetic.name(), "bounds": BOUNDS,
            "timeout": settings.timeout.map(|timeout| timeout.as_secs_f64()), "max_domains": settings.max_domains,
            "memory": settings.memory, "seed": settings.seed,
        });
        if asked.norm != Norm::default() {
            question["norm"] = asked.norm.name().into();
        }
        let file = Store::open(folder, Kind::Verdicts, &question)?;
        let stack = Stack::open(&folder.join("counterexamples.npy"), test.shape, file.counterexamples())?;
        let times = Times::open(folder, 0..file.lines.len())?;
        Ok((Self { certifier: Certifier::of(&computation), test, asked, file, times, stack }, question))
    }

    /// Answers for the next image, unless `stop` says so in the middle of it. Its counterexample and times are written before the line that
    /// names them.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn advance(&mut self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let index = Shard::WHOLE.image(self.file.lines.len());
        let (pixels, labels) = self.test.batch(&[index as u32], None);
        let NetworkQuestion { eps, norm, settings, .. } = &self.asked;
        let clean = self.clean(&pixels, labels[0]);
        let evidence = Evidence { clean, bound: None, arithmetic: settings.arithmetic, attacked: None, refuted: false };
        let mut verdict = judge(index as u64, labels[0], &evidence);
        let mut seconds = StageSeconds::default();
        let mut counterexample = None;
        if verdict.is_open() {
            let Some(found) = self.certifier.search(&pixels, (*eps, *norm), &mut verdict, settings, stop)? else {
                return Ok(());
            };
            seconds = found.seconds;
            counterexample = found.counterexample;
        }
        let row = counterexample.as_ref().map(|_| self.stack.rows);
        self.stack.append(counterexample.iter().map(|found| &found.pixels[..]))?;
        self.times.append([(index, &seconds)].into_iter())?;
        let ImageVerdict { label, predicted, index, .. } = verdict;
        let names = Names { predicted: class(self.test, predicted), ..names(self.test, label, index) };
        self.file.append(vec![verdict_line(&verdict, row, names)])
    }

    /// What the network says of the image itself.
    fn clean(&self, pixels: &[f32], label: u32) -> Attacked {
        let point: Vec<f64> = pixels.iter().map(|pixel| f64::from(*pixel)).collect();
        let logits = self.certifier.computation().evaluate(&point, Order::Forward);
        let numbered = || (0..).zip(logits.iter().copied());
        let largest = |(a, x): (u32, f64), (b, y): (u32, f64)| if y > x { (b, y) } else { (a, x) };
        let (clean_class, _) = numbered().reduce(largest).expect("outputs");
        let (rival, other) = numbered().filter(|(class, _)| *class != label).reduce(largest).expect("another class");
        let clean_margin =
            if logits.iter().all(|logit| logit.is_finite()) { logits[label as usize] - other } else { f64::NAN };
        let class = if clean_margin <= 0.0 { rival } else { clean_class };
        Attacked { clean_margin: clean_margin as f32, clean_class, margin: clean_margin as f32, class }
    }
}

/// A hash of all that the network computes: its files may be several.
fn fingerprint(computation: &Computation) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", computation.input()));
    for node in computation.nodes() {
        let numbers: Option<&Affine> = match &node.operation {
            Operation::Dense(affine) | Operation::Scale(affine) | Operation::Conv { affine, .. } => Some(affine),
            Operation::Relu
            | Operation::Curve(_)
            | Operation::Add
            | Operation::MaxPool(_)
            | Operation::Gather { .. } => None,
        };
        let what = match &node.operation {
            Operation::Dense(_) => "dense".to_owned(),
            Operation::Scale(_) => "scale".to_owned(),
            Operation::Conv { window, groups, .. } => format!("{window:?} {groups}"),
            other @ (Operation::Relu
            | Operation::Curve(_)
            | Operation::Add
            | Operation::MaxPool(_)
            | Operation::Gather { .. }) => {
                format!("{other:?}")
            }
        };
        hash.update(format!("{what} {:?} {:?}", node.inputs, node.shape));
        let numbers = numbers.into_iter().flat_map(|affine| affine.weight.iter().chain(&affine.bias));
        numbers.for_each(|number| hash.update(number.to_le_bytes()));
    }
    finished(hash)
}
