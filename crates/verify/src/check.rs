//! Replays a stored proof. Nothing here is shared with the search but the lines of the certificate: its own reading of ONNX and of
//! VNN-LIB, its own bounds, in plain loops. Every end, slope and line is derived here; a certificate can only say what to split. Of the
//! kernels it has the switch that compiles a loop for the processor at hand; no number goes through it, and every sum is rounded the same
//! way on all of them.

mod bounds;
mod onnx;
mod vnnlib;

use std::sync::Arc;

use rayon::prelude::*;
use temper_graph::{InputBox, LinearConstraint, Property};

use crate::cascade::Arithmetic;
use crate::proof::{self, Combination, Rows, Slopes, Step};
use bounds::{Bounder, Ends, Lines, State};
use vnnlib::{Case, Query, Row};

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

/// The property in this VNN-LIB file, of a network with so many inputs and outputs, as the checker reads it: boxes, each with the groups
/// that go with it. For tests that hold this reading against another one.
///
/// # Errors
/// What the checker does not read.
#[doc(hidden)]
pub fn reading(vnnlib: &str, inputs: usize, outputs: usize) -> Result<Vec<Property>, String> {
    let row = |row: Row| LinearConstraint::at_most(row.terms, row.bound);
    let property = |Case { input: [lower, upper], groups }: Case| {
        let groups = groups.into_iter().map(|rows| rows.into_iter().map(row).collect()).collect();
        Property::new(InputBox::exact(lower, upper), groups, outputs).map_err(|problem| problem.to_string())
    };
    vnnlib::read(vnnlib, inputs, outputs)?.cases.into_iter().map(property).collect()
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
    let Query { cases, single } = vnnlib::read(vnnlib, net.values[0].len, net.values[net.output].len)?;
    if single && claim != Arithmetic::Float32 {
        return Err(format!("it claims {}; the property is about float32", header.claim));
    }
    let groups: Vec<usize> = cases.iter().map(|case| case.groups.len()).collect();
    let (boxes, second) = branches(&steps, &groups)?;
    let replay = Replay { bounder: Bounder::new(&net, claim == Arithmetic::Float32), steps: &steps, second };
    let mut checked = Checked { arithmetic, boxes: boxes.len(), leaves: 0, bound: f64::INFINITY };
    for (at, case) in boxes.into_iter().zip(&cases).filter(|(_, case)| !case.groups.is_empty()) {
        let [lower, upper] = case.input.clone();
        let (state, left) = (replay.bounder.begin(Ends { lower, upper }), (0..case.groups.len()).collect());
        let mut open = vec![Node { at, case, state, group: None, left }];
        while !open.is_empty() {
            let some = open.split_off(open.len().saturating_sub(WIDTH));
            let ended: Vec<_> = some.into_par_iter().map(|node| replay.run(node)).collect();
            for ended in ended {
                match ended? {
                    Ended::Leaf(bound) => {
                        checked.leaves += 1;
                        checked.bound = checked.bound.min(bound);
                    }
                    Ended::Branches(branches) => open.extend(branches),
                }
            }
        }
    }
    Ok(checked)
}

/// The most nodes that may wait.
const MOST: usize = 2000;

/// Nodes that are worked on side by side.
const WIDTH: usize = 32;

/// Where boxes begin, and of every step that opens two branches where the second begins: the other half of a split, what follows a
/// group's tree, 0 if nothing is left. Everything that has to be shown of boxes with so many groups is there, and nothing else.
fn branches(steps: &[Step], groups: &[usize]) -> Result<(Vec<usize>, Vec<usize>), String> {
    let (mut boxes, mut second) = (Vec::new(), vec![0; steps.len()]);
    // What is to be closed: the step whose second branch it is, if it has not begun, and how many groups; 0 in a group's tree.
    let mut open: Vec<(Option<usize>, usize)> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let fail = |why: &str| Err(format!("line {}: {why}", i + 2));
        if let Step::Box(number) = step {
            if !open.is_empty() {
                return fail("the box before has nodes that are not closed");
            }
            if *number != boxes.len() || *number >= groups.len() {
                return fail("not the next box");
            }
            boxes.push(i + 1);
            open.extend(Some((None, groups[*number])).filter(|(_, groups)| *groups > 0));
            continue;
        }
        let Some((from, groups)) = open.last_mut() else { return fail("nothing is left to show") };
        if let Some(from) = from.take() {
            second[from] = i;
        }
        let groups = *groups;
        match step {
            Step::Split(..) | Step::Halve(..) => {
                open.pop();
                open.extend([(Some(i), groups), (None, groups)]);
            }
            Step::Group(_) if groups == 0 => return fail("a group within another"),
            Step::Group(_) => {
                open.pop();
                open.extend(Some((Some(i), groups - 1)).filter(|(_, groups)| *groups > 0));
                open.push((None, 0));
            }
            Step::Leaf(..) if groups > 0 => return fail("a leaf outside of a group"),
            Step::Leaf(..) => drop(open.pop()),
            Step::End(_) => return fail("an end before the end"),
            Step::Box(_) | Step::Bounds(_) | Step::Rows(_) | Step::Alpha(_) | Step::Clip(_) => {}
        }
        if open.len() > MOST {
            return fail("too many nodes wait to be closed");
        }
    }
    match (open.len(), boxes.len()) {
        (0, found) if found == groups.len() => Ok((boxes, second)),
        (0, found) => Err(format!("it has {found} of {} boxes", groups.len())),
        (open, _) => Err(format!("{open} nodes are not closed")),
    }
}

/// A node of a proof.
struct Node<'a> {
    /// Its next step.
    at: usize,
    case: &'a Case,
    state: State,
    /// The group that it is about; outside of all of them those that are left.
    group: Option<usize>,
    left: Vec<usize>,
}

/// How the steps of a node end.
enum Ended<'a> {
    /// A leaf, and its bound.
    Leaf(f64),
    Branches(Vec<Node<'a>>),
}

struct Replay<'a> {
    bounder: Bounder<'a>,
    steps: &'a [Step],
    /// Where second branches begin.
    second: Vec<usize>,
}

impl Replay<'_> {
    /// Takes the steps of a node until it is closed or branches.
    fn run<'a>(&self, mut node: Node<'a>) -> Result<Ended<'a>, String> {
        loop {
            let at = node.at;
            node.at += 1;
            let why = |why| format!("line {}: {why}", at + 2);
            match &self.steps[at] {
                Step::Split(..) | Step::Halve(..) => {
                    let below = Node { state: node.state.clone(), left: node.left.clone(), ..node };
                    let mut halves = vec![Node { at: self.second[at], ..node }, below];
                    for (side, half) in halves.iter_mut().enumerate() {
                        self.split(&mut half.state, &self.steps[at], side == 0).map_err(why)?;
                    }
                    return Ok(Ended::Branches(halves));
                }
                Step::Group(group) => {
                    let place = node.left.iter().position(|left| left == group);
                    node.left.remove(place.ok_or_else(|| why("not a group that is left".into()))?);
                    let tree = Node { group: Some(*group), state: node.state.clone(), left: Vec::new(), ..node };
                    let rest = (!node.left.is_empty()).then_some(Node { at: self.second[at], ..node });
                    return Ok(Ended::Branches(rest.into_iter().chain([tree]).collect()));
                }
                Step::Leaf(rows, beta) => return self.leaf(&mut node, rows, beta).map(Ended::Leaf).map_err(why),
                step => self.step(&mut node, step).map_err(why)?,
            }
        }
    }

    /// Takes one of the halves of a node.
    fn split(&self, state: &mut State, step: &Step, above: bool) -> Result<(), String> {
        self.bounder.forget(state);
        match step {
            Step::Split(relu, neuron) => {
                let value = self.neuron(*relu, *neuron, state)?;
                Arc::make_mut(&mut state.ends[value]).split(*neuron, above, 0.0);
                state.splits.push((*relu, *neuron, above));
            }
            Step::Halve(input, at) if *input < state.ends[0].lower.len() && at.is_finite() => {
                // Where a point lies outside of a box that was clipped, one half is empty.
                Arc::make_mut(&mut state.ends[0]).split(*input, above, *at);
            }
            step => return Err(format!("{step:?}")),
        }
        Ok(())
    }

    fn step(&self, node: &mut Node, step: &Step) -> Result<(), String> {
        match step {
            Step::Bounds(how) => self.bounder.bound(&mut node.state, *how),
            Step::Rows(rows) => self.rows_of(&mut node.state, rows)?,
            Step::Alpha(given) => self.slopes(&mut node.state, given)?,
            Step::Clip(rows) => {
                let line = self.line(node, rows)?;
                let least = line.least(&node.state.ends[0])[0];
                let old = node.state.ends[0].clone();
                let ends = Arc::make_mut(&mut node.state.ends[0]);
                for i in 0..old.lower.len() {
                    // A violation has a x + rest <= 0 in this input alone.
                    let (a, l, u) = (line.numbers[i][0], old.lower[i], old.upper[i]);
                    let rest = |x: f64| (least - (a * x).next_up()).next_down();
                    if a > 0.0 {
                        ends.upper[i] = u.min((-rest(l) / a).next_up());
                    } else if a < 0.0 {
                        ends.lower[i] = l.max((-rest(u) / a).next_down());
                    }
                }
            }
            step => return Err(format!("{step:?}")),
        }
        Ok(())
    }

    /// The line below a combination of rows. Clips and leaves ask for the same ones.
    fn line(&self, node: &mut Node, rows: &Combination) -> Result<Arc<Lines<1>>, String> {
        if let Some((_, line)) = node.state.lines.iter().find(|(of, _)| of == rows) {
            return Ok(Arc::clone(line));
        }
        let used = rows_in(node.case, node.group, rows)?;
        let line = Arc::new(self.bounder.line(&mut node.state, &used, &[]));
        node.state.lines.push((rows.clone(), Arc::clone(&line)));
        Ok(line)
    }

    /// The bound of a leaf.
    fn leaf(&self, node: &mut Node, rows: &Combination, beta: &[(usize, usize, f64)]) -> Result<f64, String> {
        let state = &mut node.state;
        let multiplier = |(relu, neuron, beta): &(usize, usize, f64)| {
            let split = state.splits.iter().find(|(k, i, _)| (k, i) == (relu, neuron));
            let signed = if split.ok_or("a multiplier without a split")?.2 { *beta } else { -beta };
            (*beta >= 0.0 && beta.is_finite()).then_some((*relu, *neuron, signed)).ok_or("a multiplier below 0")
        };
        let beta = beta.iter().map(multiplier).collect::<Result<Vec<_>, _>>()?;
        let used = rows_in(node.case, node.group, rows)?;
        // Where no point is left there is nothing to show.
        if self.bounder.empty(state) {
            return Ok(f64::INFINITY);
        }
        let line = match beta[..] {
            [] => self.line(node, rows)?,
            _ => Arc::new(self.bounder.line(state, &used, &beta)),
        };
        let least = line.least(&node.state.ends[0])[0];
        if least > 0.0 { Ok(least) } else { Err(format!("a leaf has the bound {least}")) }
    }

    /// The value that a ReLU reads, if it has this neuron.
    fn neuron(&self, relu: usize, neuron: usize, state: &State) -> Result<usize, String> {
        let value = self.bounder.relus.get(relu).ok_or("no such ReLU")?;
        let len = state.ends[*value].lower.len();
        if neuron < len { Ok(*value) } else { Err(format!("neuron {neuron} of {len}")) }
    }

    fn slopes(&self, state: &mut State, given: &[Slopes]) -> Result<(), String> {
        state.lines.clear();
        for (relu, neurons, values) in given {
            self.neuron(*relu, 0, state)?;
            in_range(values)?;
            if let ([], [all]) = (neurons.as_slice(), values.as_slice()) {
                Arc::make_mut(&mut state.slopes[*relu]).fill(Some(*all));
            } else if neurons.len() != values.len() {
                return Err(format!("{} slopes of {} neurons", values.len(), neurons.len()));
            }
            for (neuron, slope) in neurons.iter().zip(values) {
                self.neuron(*relu, *neuron, state)?;
                Arc::make_mut(&mut state.slopes[*relu])[*neuron] = Some(*slope);
            }
        }
        Ok(())
    }

    /// Sets slopes for bounds of a ReLU's neurons.
    fn rows_of(&self, state: &mut State, given: &Rows) -> Result<(), String> {
        let Rows(relu, ends, layers, slopes) = given;
        let below = layers.iter().flat_map(|(relu, neurons)| neurons.iter().map(move |neuron| (*relu, *neuron)));
        for (relu, neuron) in ends.iter().map(|end| (*relu, end / 2)).chain(below.clone()) {
            self.neuron(relu, neuron, state)?;
        }
        let count = below.count();
        if ends.len() != slopes.len() || slopes.iter().any(|row| row.len() != count) {
            return Err(format!("other than {count} slopes for each of {} bounds", ends.len()));
        }
        slopes.iter().try_for_each(|row| in_range(row))?;
        state.rows[*relu] = Some(Arc::new(given.clone()));
        Ok(())
    }
}

/// Slopes have to lie between 0 and 1.
fn in_range(slopes: &[f64]) -> Result<(), String> {
    let wrong = slopes.iter().find(|slope| !(0.0..=1.0).contains(*slope));
    wrong.map_or(Ok(()), |slope| Err(format!("the slope {slope}")))
}

/// Rows of a group with their weights.
fn rows_in<'a>(case: &'a Case, group: Option<usize>, rows: &Combination) -> Result<Vec<(&'a Row, f64)>, String> {
    let group = group.map(|group| &case.groups[group]).ok_or("rows outside of a group")?;
    if rows.is_empty() {
        return Err("a combination of no rows".into());
    }
    let row = |(number, weight): &(usize, f64)| {
        let row = group.get(*number).ok_or("no such row")?;
        (*weight > 0.0 && weight.is_finite()).then_some((row, *weight)).ok_or("a weight that is not above 0")
    };
    Ok(rows.iter().map(row).collect::<Result<Vec<_>, _>>()?)
}
