//! Stored proofs: what a search found, in a form that [`check`](crate::check()) can replay without searching.
//!
//! A certificate is a text of JSON, one step a line:
//!
//! ```text
//! {"format":"temper-certificate-1","claim":"sound","network":"SHA-256 of the ONNX file","property":"SHA-256 of the VNN-LIB file"}
//! {"box":0}                              the first box of inputs; its interval bounds are the first ones
//! {"bounds":"crown"}                     linear bounds of what is unstable, with the slopes of the rule
//! {"group":0}                            from here on a tree, each node before its children
//! {"split":[2,17]}                       neuron 17 of ReLU 2; the half where it is off comes first
//! {"alpha":[[1,[4,9],[0.25,0.6]]]}       lower slopes, of this node and everything below it
//! {"leaf":[[[0,1]],[[2,17,0.03]]]}       once row 0, with a multiplier for the split
//! {"leaf":[[[0,1]],[]]}                  the other half
//! {"end":8}                              how many lines there were
//! ```
//!
//! *Boxes* are the different sets of inputs of the VNN-LIB file in the order in which they occur once it is multiplied out, *groups* the
//! conjunctions of rows over outputs that go with a box, *rows* those of a group. A violation would meet all rows of one group, so a
//! leaf shows that some sum of its rows with weights above 0 is above its bound. *ReLUs* are counted as the ONNX file lists them.
//!
//! Splits form a tree in which both halves have to come, so nothing can be left out. A node inherits boxes, bounds, slopes and splits
//! from its parent. Ends of neurons are in no certificate: whoever checks it derives them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cascade::Arithmetic;

/// The name and version of the format.
pub const FORMAT: &str = "temper-certificate-1";

/// Rows of a group with their weights.
pub type Combination = Vec<(usize, f64)>;

/// Lower slopes of one ReLU: its number, neurons, and the slope of each.
pub type Slopes = (usize, Vec<usize>, Vec<f64>);

/// One line of a proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Begins the box of this number, with interval bounds.
    Box(usize),
    /// Begins the tree of this group of the box.
    Group(usize),
    /// Tightens the bounds of neurons, in this node and below it.
    Bounds(Bounds),
    /// Sets lower slopes for the leaves and clips of this node and below it. Unstable neurons without one have that of the rule: 1 if
    /// the upper end is farther from 0 than the lower one, else 0.
    Alpha(Vec<Slopes>),
    /// Splits a neuron (ReLU, neuron) at 0. The child where it is off comes first.
    Split(usize, usize),
    /// Splits an input at a point. The child below it comes first. Clips are worked out by the checker, so a point may lie outside of a
    /// box by what the two of them round: then one half is empty, and any leaf closes it.
    Halve(usize, f64),
    /// Cuts off what cannot violate the property since this combination of rows is above its bound there.
    Clip(Combination),
    /// Closes a node: this combination of rows is above its bound, with these multipliers of splits (ReLU, neuron, beta).
    Leaf(Combination, Vec<(usize, usize, f64)>),
    /// The end, and how many lines came before it.
    End(usize),
}

/// How bounds of neurons are tightened. New ones are intersected with the old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bounds {
    /// Intervals, from the inputs on.
    Interval,
    /// The same, and at every ReLU linear bounds of all its unstable neurons, with the slopes of the rule.
    Crown,
    /// Linear bounds of these neurons of this ReLU, with these slopes.
    Rows(usize, Vec<usize>, Vec<Slopes>),
}

/// What a certificate is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The name of the [`Arithmetic`] in which the proof holds.
    pub claim: String,
    /// SHA-256 of the ONNX file, in hexadecimal digits.
    pub network: String,
    /// SHA-256 of the VNN-LIB file.
    pub property: String,
}

impl Header {
    /// Of a proof about these two files.
    pub fn new(claim: Arithmetic, onnx: &[u8], vnnlib: &[u8]) -> Self {
        Self { format: FORMAT.into(), claim: claim.name().into(), network: sha256(onnx), property: sha256(vnnlib) }
    }
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a certificate; the last line is added.
pub fn write<'a>(header: &Header, steps: impl IntoIterator<Item = &'a Step>) -> String {
    let mut text = json(header);
    let mut lines = 1;
    for step in steps {
        text += &json(step);
        lines += 1;
    }
    text + &json(&Step::End(lines))
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("plain data") + "\n"
}

/// Header and steps of a certificate, the end left out.
///
/// # Errors
/// The line that is none, and why. Whether the steps prove anything is for [`check`](crate::check()) to say.
pub fn read(text: &str) -> Result<(Header, Vec<Step>), String> {
    let why = |line: usize| move |error: serde_json::Error| format!("line {}: {error}", line + 1);
    let mut lines = text.lines().enumerate();
    let (_, first) = lines.next().ok_or("it is empty")?;
    let header: Header = serde_json::from_str(first).map_err(why(0))?;
    let mut steps = Vec::new();
    for (number, line) in lines {
        if let Some(Step::End(_)) = steps.last() {
            return Err(format!("line {}: something comes after the end", number + 1));
        }
        steps.push(serde_json::from_str(line).map_err(why(number))?);
    }
    match steps.pop() {
        Some(Step::End(lines)) if lines == steps.len() + 1 => Ok((header, steps)),
        Some(Step::End(lines)) => Err(format!("it ends after {} lines and says {lines}", steps.len() + 1)),
        _ => Err("it has no end".into()),
    }
}

/// The tree of a group while a search grows it: nodes may be split and closed in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    nodes: Vec<(Vec<Step>, Option<[usize; 2]>)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![(Vec::new(), None)] }
    }
}

impl Tree {
    /// The number of the node that all others come from.
    pub const ROOT: usize = 0;

    /// Adds a step that has no children, the closing leaf among them.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn add(&mut self, node: usize, step: Step) {
        self.nodes[node].0.push(step);
    }

    /// Splits a node by [`Step::Split`] or [`Step::Halve`]; the numbers of its children.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn split(&mut self, node: usize, step: Step) -> [usize; 2] {
        let children = [self.nodes.len(), self.nodes.len() + 1];
        self.nodes.extend([(Vec::new(), None), (Vec::new(), None)]);
        self.nodes[node].0.push(step);
        self.nodes[node].1 = Some(children);
        children
    }

    /// All steps, each node before its children.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let mut open = vec![Self::ROOT];
        std::iter::from_fn(move || {
            let (steps, children) = &self.nodes[open.pop()?];
            open.extend(children.iter().flatten().rev());
            Some(steps)
        })
        .flatten()
    }
}
