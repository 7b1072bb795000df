//! Replays a stored proof. Nothing here is shared with the search but the lines of the certificate: its own reading of ONNX and of
//! VNN-LIB, its own bounds, in plain loops. Every end, slope and line is derived here; a certificate can only say what to split.

mod bounds;
mod onnx;
mod vnnlib;

use std::rc::Rc;

use crate::cascade::Arithmetic;
use crate::proof::{self, Bounds, Combination, Slopes, Step};
use bounds::{Bounder, Ends, Given, State};
use vnnlib::Row;

/// What became of a certificate.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It proves that no input violates the property.
    Holds(Checked),
    /// It does not, and why.
    Rejected(String),
}

/// What was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The sense in which the proof holds. What was claimed in plain arithmetic is checked as `sound`.
    pub arithmetic: Arithmetic,
    /// Boxes of inputs.
    pub boxes: usize,
    /// Leaves of all trees.
    pub leaves: usize,
    /// The least bound of a leaf; infinite if there was nothing to show.
    pub bound: f64,
}

/// Whether this certificate proves that no input of the property in this VNN-LIB file violates it for the network in this ONNX file.
pub fn check(certificate: &str, onnx: &[u8], vnnlib: &str) -> Verdict {
    replay(certificate, onnx, vnnlib).map_or_else(Verdict::Rejected, Verdict::Holds)
}

fn replay(certificate: &str, onnx: &[u8], vnnlib: &str) -> Result<Checked, String> {
    let (header, steps) = proof::read(certificate)?;
    if header.format != proof::FORMAT {
        return Err(format!("its format is {}, not {}", header.format, proof::FORMAT));
    }
    if header.network != proof::sha256(onnx) || header.property != proof::sha256(vnnlib.as_bytes()) {
        return Err("it is about other files".into());
    }
    let claim = Arithmetic::from_name(&header.claim).ok_or_else(|| format!("it claims {}", header.claim))?;
    let arithmetic = if claim == Arithmetic::Float32 { claim } else { Arithmetic::Sound };
    let net = onnx::read(onnx)?;
    if claim == Arithmetic::Float32 && !net.single {
        return Err("it claims float32 of a network with numbers in double precision".into());
    }
    let cases = vnnlib::read(vnnlib, net.values[0].len, net.values[net.output].len)?;
    let bounder = Bounder::new(&net, claim == Arithmetic::Float32);
    let mut replay =
        Replay { bounder, cases, boxes: 0, groups: 0, root: None, open: Vec::new(), leaves: 0, bound: f64::INFINITY };
    for (line, step) in steps.iter().enumerate() {
        replay.step(step).map_err(|why| format!("line {}: {why}", line + 2))?;
    }
    replay.closed()?;
    if replay.boxes != replay.cases.len() {
        return Err(format!("it has {} of {} boxes", replay.boxes, replay.cases.len()));
    }
    Ok(Checked { arithmetic, boxes: replay.boxes, leaves: replay.leaves, bound: replay.bound })
}

/// The most nodes that may wait: each keeps bounds of its own.
const MOST: usize = 2000;

/// A proof up to some line.
struct Replay<'a> {
    bounder: Bounder<'a>,
    cases: Vec<vnnlib::Case>,
    /// So many boxes were begun, and so many groups of the last one.
    boxes: usize,
    groups: usize,
    /// What is known of the last box.
    root: Option<State>,
    /// Nodes of the tree that are still to be closed, the next one last.
    open: Vec<State>,
    leaves: usize,
    bound: f64,
}

impl Replay<'_> {
    /// Everything that was begun is shown.
    fn closed(&self) -> Result<(), String> {
        let groups = self.boxes.checked_sub(1).map_or(0, |last| self.cases[last].groups.len());
        match (self.open.len(), self.groups) {
            (0, done) if done == groups => Ok(()),
            (0, done) => Err(format!("{done} of {groups} groups are shown")),
            (open, _) => Err(format!("{open} nodes are not closed")),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if self.open.len() > MOST {
            return Err(format!("more than {MOST} nodes wait to be closed"));
        }
        match step {
            Step::Box(number) => {
                self.closed()?;
                let case = self.cases.get(*number).filter(|_| *number == self.boxes).ok_or("not the next box")?;
                let [lower, upper] = case.input.clone();
                self.root = Some(self.bounder.begin(Ends { lower, upper }));
                (self.boxes, self.groups) = (self.boxes + 1, 0);
            }
            Step::Group(number) => {
                let root = self.root.as_ref().filter(|_| self.open.is_empty()).ok_or("a group within another")?;
                if *number != self.groups || *number >= self.cases[self.boxes - 1].groups.len() {
                    return Err("not the next group".into());
                }
                self.open.push(root.clone());
                self.groups += 1;
            }
            Step::Bounds(how) => {
                let none = self.node()?.slopes.iter().map(|slopes| Rc::new(vec![None; slopes.len()])).collect();
                let slopes = match how {
                    Bounds::Interval | Bounds::Crown => none,
                    Bounds::Rows(relu, neurons, given) => {
                        neurons.iter().try_for_each(|neuron| self.neuron(*relu, *neuron).map(drop))?;
                        self.slopes(none, given)?
                    }
                };
                let node = self.open.last_mut().or(self.root.as_mut()).expect("a node");
                self.bounder.tighten(node, how, &slopes);
            }
            Step::Alpha(given) => {
                let slopes = self.slopes(self.node()?.slopes.clone(), given)?;
                self.open.last_mut().or(self.root.as_mut()).expect("a node").slopes = slopes;
            }
            Step::Split(relu, neuron) => {
                let value = self.neuron(*relu, *neuron)?;
                let mut off = self.open.pop().ok_or("a split outside of a tree")?;
                let mut on = off.clone();
                let (below, above) = (Rc::make_mut(&mut off.ends[value]), Rc::make_mut(&mut on.ends[value]));
                below.upper[*neuron] = below.upper[*neuron].min(0.0);
                above.lower[*neuron] = above.lower[*neuron].max(0.0);
                off.splits.push((*relu, *neuron, false));
                on.splits.push((*relu, *neuron, true));
                self.open.extend([on, off]);
            }
            Step::Halve(input, at) => {
                let mut below = self.open.pop().ok_or("a split outside of a tree")?;
                let mut above = below.clone();
                let (low, high) = (Rc::make_mut(&mut below.ends[0]), Rc::make_mut(&mut above.ends[0]));
                if *input >= low.lower.len() || !at.is_finite() {
                    return Err(format!("input {input} at {at}"));
                }
                // Where a point lies outside of a box that was clipped, one half is empty.
                low.upper[*input] = low.upper[*input].min(*at);
                high.lower[*input] = high.lower[*input].max(*at);
                self.open.extend([above, below]);
            }
            Step::Clip(rows) => {
                let state = self.open.last().ok_or("a clip outside of a tree")?;
                let line = self.bounder.line(state, &self.rows(rows)?, &[]);
                let least = line.least(&state.ends[0])[0];
                let old = state.ends[0].clone();
                let ends = Rc::make_mut(&mut self.open.last_mut().expect("a node").ends[0]);
                for i in 0..old.lower.len() {
                    // A violation has a x + rest <= 0 in this input alone.
                    let (a, l, u) = (line.coefficient(i), old.lower[i], old.upper[i]);
                    let rest = |x: f64| (least - (a * x).next_up()).next_down();
                    if a > 0.0 {
                        ends.upper[i] = u.min((-rest(l) / a).next_up());
                    } else if a < 0.0 {
                        ends.lower[i] = l.max((-rest(u) / a).next_down());
                    }
                }
            }
            Step::Leaf(rows, beta) => {
                let state = self.open.pop().ok_or("a leaf outside of a tree")?;
                let multiplier = |(relu, neuron, beta): &(usize, usize, f64)| {
                    let split = state
                        .splits
                        .iter()
                        .find(|(k, i, _)| (k, i) == (relu, neuron))
                        .ok_or("a multiplier without a split")?;
                    let signed = if split.2 { *beta } else { -beta };
                    (*beta >= 0.0 && beta.is_finite()).then_some((*relu, *neuron, signed)).ok_or("a multiplier below 0")
                };
                let beta = beta.iter().map(multiplier).collect::<Result<Vec<_>, _>>()?;
                let rows = self.rows(rows)?;
                // Where no point is left there is nothing to show.
                let empty = self.bounder.empty(&state);
                let least = if empty {
                    f64::INFINITY
                } else {
                    self.bounder.line(&state, &rows, &beta).least(&state.ends[0])[0]
                };
                if least.is_nan() || least <= 0.0 {
                    return Err(format!("a leaf has the bound {least}"));
                }
                self.bound = self.bound.min(least);
                self.leaves += 1;
            }
            Step::End(_) => return Err("an end before the end".into()),
        }
        Ok(())
    }

    /// The node that the next step is about.
    fn node(&self) -> Result<&State, String> {
        self.open.last().or(self.root.as_ref()).ok_or_else(|| "a step before the first box".into())
    }

    /// The value that a ReLU reads, if it has this neuron.
    fn neuron(&self, relu: usize, neuron: usize) -> Result<usize, String> {
        let value = self.bounder.relus.get(relu).ok_or("no such ReLU")?;
        let len = self.node()?.ends[*value].lower.len();
        if neuron < len { Ok(*value) } else { Err(format!("neuron {neuron} of {len}")) }
    }

    fn slopes(&self, mut slopes: Given, given: &[Slopes]) -> Result<Given, String> {
        for (relu, neurons, values) in given {
            if neurons.len() != values.len() {
                return Err(format!("{} slopes of {} neurons", values.len(), neurons.len()));
            }
            for (neuron, slope) in neurons.iter().zip(values) {
                self.neuron(*relu, *neuron)?;
                if !(0.0..=1.0).contains(slope) {
                    return Err(format!("the slope {slope}"));
                }
                Rc::make_mut(&mut slopes[*relu])[*neuron] = Some(*slope);
            }
        }
        Ok(slopes)
    }

    /// Terms, bound and weight of the rows of a combination.
    fn rows(&self, rows: &Combination) -> Result<Vec<(&Row, f64)>, String> {
        let group =
            self.groups.checked_sub(1).map(|group| &self.cases[self.boxes - 1].groups[group]).ok_or("no group")?;
        if rows.is_empty() {
            return Err("a combination of no rows".into());
        }
        let row = |(number, weight): &(usize, f64)| {
            let row = group.get(*number).ok_or("no such row")?;
            (*weight > 0.0 && weight.is_finite()).then_some((row, *weight)).ok_or("a weight that is not above 0")
        };
        Ok(rows.iter().map(row).collect::<Result<Vec<_>, _>>()?)
    }
}
