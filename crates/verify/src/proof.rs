//! Stored proofs: what a search found, in a form that [`check`](crate::check()) can replay without searching.
//!
//! A certificate is a text of JSON, one step a line:
//!
//! ```text
//! {"format":"temper-certificate-2","claim":"sound","network":"SHA-256 of the ONNX file","property":"SHA-256 of the VNN-LIB file"}
//! {"box":0}                              the first box of inputs: a node, whose bounds are intervals
//! {"bounds":"crown"}                     linear bounds of what is unstable, with the slopes of the rule
//! {"group":1}                            a tree of its own that shows one of the groups in this node
//! {"leaf":[[[0,1]],[]]}                  a tree of one leaf: once row 0
//! {"rows":[2,[8,9],[[0,[3]]],[[0],[1]]]} slopes for the bounds of neuron 4 of ReLU 2, lower and upper
//! {"bounds":"crown"}                     bounds again, now with these
//! {"split":[2,17]}                       neuron 17 of ReLU 2; the half where it is off comes first. Both have the groups that are left
//! {"group":0}
//! {"alpha":[[1,[4,9],[0.25,0.6]]]}       lower slopes, of this node and everything below it
//! {"leaf":[[[0,1]],[[2,17,0.03]]]}       with a multiplier for the split
//! {"group":0}                            the other half
//! {"leaf":[[[0,1]],[]]}
//! {"end":14}                             how many lines there were
//! ```
//!
//! *Boxes* are the different sets of inputs of the VNN-LIB file in the order in which they occur once it is multiplied out, *groups* the
//! conjunctions of rows over outputs that go with a box, *rows* those of a group. A violation would meet all rows of one group, so a
//! leaf shows that some sum of its rows with weights above 0 is above its bound. *ReLUs* are counted as the ONNX file lists them; a max
//! pool is a tree of them over each window, `max(a, b) = b + relu(a - b)`.
//!
//! Splits form a tree in which both halves have to come, and every node has to show all groups or to be split, so nothing can be left
//! out. A node inherits bounds, slopes and splits from its parent. Ends of neurons are in no certificate: whoever checks it derives them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cascade::Arithmetic;

/// The name and version of the format.
pub const FORMAT: &str = "temper-certificate-2";

/// Rows of a group with their weights.
pub type Combination = Vec<(usize, f64)>;

/// Lower slopes of one ReLU: its number, neurons, and the slope of each. Without neurons, one slope for all of them.
pub type Slopes = (usize, Vec<usize>, Vec<f64>);

/// One line of a proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Begins the box of this number, with interval bounds and all groups to be shown.
    Box(usize),
    /// Begins the tree of this group in a node; what follows the tree is about the node again.
    Group(usize),
    /// Bounds neurons anew, for this node and below it.
    Bounds(Bounds),
    /// Sets slopes for bounds to come.
    Rows(Rows),
    /// Sets lower slopes for the leaves and clips of this node and below it. Unstable neurons without one have that of the rule: 1 if
    /// `upper / (upper - lower)` is above 0.500001, else 0. So rounding does not decide where the ends are as far from 0.
    Alpha(Vec<Slopes>),
    /// Splits a neuron (ReLU, neuron) at 0. The child where it is off comes first.
    Split(usize, usize),
    /// Splits an input at a point. The child below it comes first. Clips are worked out by the checker, so a point may lie outside of a
    /// box by what the two of them round: then one half is empty, and any leaf closes it.
    Halve(usize, f64),
    /// Cuts off what cannot violate the group since this combination of rows is above its bound there.
    Clip(Combination),
    /// Closes a node of a group's tree: this combination of rows is above its bound, with these multipliers of splits (ReLU, neuron,
    /// beta).
    Leaf(Combination, Vec<(usize, usize, f64)>),
    /// The end, and how many lines came before it.
    End(usize),
}

/// How neurons are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bounds {
    /// Intervals, from the inputs on, intersected with the bounds before.
    Interval,
    /// The same, and at every ReLU linear bounds: those of its [`Rows`] that are unstable, without any those of all its unstable neurons
    /// with the slopes of the rule.
    Crown,
    /// As `Crown`, without regard to the bounds before. The rule may do worse with bounds that are tighter.
    Fresh,
}

/// Slopes of the linear bounds of neurons of a ReLU: its number; twice each neuron, one more for its upper end; ReLUs before it with
/// neurons that have slopes; the slopes of each bound, those of all these neurons in one list. Others have that of the rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows(pub usize, pub Vec<usize>, pub Vec<(usize, Vec<usize>)>, pub Vec<Vec<f64>>);

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
    // Most slopes are 0 or 1.
    serde_json::to_string(line).expect("plain data").replace(".0,", ",").replace(".0]", "]") + "\n"
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
