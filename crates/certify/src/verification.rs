//! A verification that can be stopped and resumed: a question about a classifier, and the answers to it in a folder, batch by batch.
//!
//! Answers go to a CSV file, each batch made durable before the next begins: whoever is killed loses at most one batch, and opening the
//! same folder with the same question resumes. Beside it, `verdicts-question.json` (or `radii-question.json`) says what was asked, so that
//! answers to two different questions never end up in one file, and `counterexamples.npy` holds the images that the attack found.

use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use temper_base::Result;
use temper_bounds::boxes::Images as Boxed;
use temper_bounds::ibp::Bound;
use temper_bounds::radius::radii_until;
use temper_bounds::search::Stop;
use temper_bounds::verdict::{Question, verify_until};
use temper_data::images::Images;
use temper_verify::store::{Kind, Names, radius_line, verdict_line};
use temper_verify::{ImageVerdict, Stack, Store, Verdict};

use crate::open::Opened;

/// The version of the attack: another version asks another question.
const ATTACK: &str = "autopgd and squares, 2";

/// What is asked of every image.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// A verdict.
    Verdicts(Question),
    /// The largest radius up to `eps` at which it is certified, by so many halvings.
    Radii {
        /// The largest radius that is tried.
        eps: f64,
        /// The bound that certifies.
        bound: Bound,
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

    /// The question as it is kept beside the answers. What decides the one file does not bear on the other.
    fn json(&self, opened: &Opened, test: &Images) -> Value {
        let (eps, bound, more) = match self {
            Asked::Radii { eps, bound, halvings } => (eps, bound, json!({ "halvings": halvings })),
            Asked::Verdicts(Question { eps, bound, attack, attack_certified }) => {
                let more = json!({
                    "attack": attack_certified.name(), "steps": attack.steps, "restarts": attack.restarts,
                    "seed": attack.seed, "method": ATTACK,
                });
                (eps, bound, more)
            }
        };
        let mut asked = json!({
            "what": self.kind().name(), "step": opened.step, "model_sha256": opened.sha256, "data": test.name,
            "images": test.len(), "images_sha256": test.fingerprint(), "eps": eps, "bound": bound.name(),
        });
        asked.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        asked
    }
}

/// A verification under way.
pub struct Verification<'a> {
    opened: &'a Opened,
    test: &'a Images,
    asked: Asked,
    /// The answers so far.
    pub file: Store,
    stack: Option<Stack>,
}

impl<'a> Verification<'a> {
    /// Begins, or goes on with, the verification in this folder. Also gives the question as it is kept there.
    ///
    /// # Errors
    /// A folder that holds answers to another question, or files that cannot be read or written.
    pub fn open(folder: &Path, opened: &'a Opened, test: &'a Images, asked: Asked) -> Result<(Self, Value)> {
        let question = asked.json(opened, test);
        let file = Store::open(folder, asked.kind(), &question)?;
        let stack = match asked {
            Asked::Radii { .. } => None,
            Asked::Verdicts(_) => {
                let path = folder.join("counterexamples.npy");
                Some(Stack::open(&path, opened.net.config.input, file.counterexamples())?)
            }
        };
        Ok((Self { opened, test, asked, file, stack }, question))
    }

    /// How many images have answers.
    pub fn done(&self) -> usize {
        self.file.lines.len()
    }

    /// Answers the next `rows` images, unless `stop` says so in the middle of it: the batch is then abandoned.
    ///
    /// # Errors
    /// Images that do not fit the network, or files that cannot be written.
    pub fn next_batch(&mut self, rows: usize, stop: Stop, device: &Device) -> Result<()> {
        let (net, test) = (&self.opened.net, self.test);
        let indices: Vec<u32> = (self.done()..test.len().min(self.done() + rows)).map(|i| i as u32).collect();
        let (pixels, labels) = test.batch(&indices, None);
        let indices: Vec<u64> = indices.into_iter().map(u64::from).collect();
        let batch = Boxed { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        let lines: Option<Vec<String>> = match (self.asked, &mut self.stack) {
            (Asked::Verdicts(question), Some(stack)) => verify_until(net, batch, &question, stop, device)?
                .map(|decided| {
                    let first = stack.rows;
                    stack.append(decided.counterexamples.iter().map(|image| image.pixels.as_slice()))?;
                    Ok::<_, temper_base::Problem>(verdict_lines(&decided.verdicts, test, first))
                })
                .transpose()?,
            (Asked::Radii { eps, bound, halvings }, _) => radii_until(net, batch, eps, halvings, bound, stop, device)?
                .map(|found| {
                    let rows = found.iter().zip(indices.iter().zip(&labels));
                    rows.map(|(radius, (index, label))| {
                        radius_line(*index, *label, radius, names(test, *label, *index))
                    })
                    .collect()
                }),
            (Asked::Verdicts(_), None) => unreachable!("verdicts have a stack"),
        };
        lines.map_or(Ok(()), |lines| self.file.append(lines))
    }
}

/// The lines of a batch, of which the first counterexample is row `row` of the stack.
fn verdict_lines(verdicts: &[ImageVerdict], test: &Images, mut row: usize) -> Vec<String> {
    let line = |verdict: &ImageVerdict| {
        let counterexample = (verdict.verdict == Verdict::Attacked).then(|| {
            row += 1;
            row - 1
        });
        let names = Names { predicted: class(test, verdict.predicted), ..names(test, verdict.label, verdict.index) };
        verdict_line(verdict, counterexample, names)
    };
    verdicts.iter().map(line).collect()
}

/// The names of an image; its file's is empty for sets that are one file.
fn names(test: &Images, label: u32, index: u64) -> Names<'_> {
    Names { class: class(test, label), predicted: "", file: test.file_name(index as usize).unwrap_or_default() }
}

fn class(test: &Images, label: u32) -> &str {
    test.class_names.get(label as usize).map_or("", String::as_str)
}
