//! Proofs for networks with few inputs: their box is split until linear bounds decide every part. Boxes are bounded in double precision
//! with every rounding charged, so that no second pass has to certify them.
//!
//! Rounds of boxes, those with the lowest bounds first, are bounded in parallel; a round's size does not depend on the threads, so neither
//! do answers. What an output row's line excludes is cut off a box before it is split (relaxed clipping of Clip-and-Verify,
//! arXiv 2512.11087).

mod bound;
mod net;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use temper_graph::{Computation, Property};

use crate::attack::{Thin, confirm};
use crate::cascade::{Answer, Arithmetic};
use crate::proof::{Bounds, Step};
use bound::{Bounded, Line, Rows, minimum};
use net::Compact;

/// What a proof by splitting may use.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitSettings {
    /// The sense in which it has to hold.
    pub arithmetic: Arithmetic,
    /// Inputs that vary, at most; with more the search is not begun.
    pub inputs: usize,
    /// Boxes that may be bounded.
    pub max_domains: Option<u64>,
    /// Bytes that the boxes left may take.
    pub memory: u64,
    /// When to end.
    pub deadline: Option<Instant>,
    /// Whether the boxes that prove it are kept.
    pub leaves: bool,
    /// Whether the steps of a proof are kept, for [`proof::write`](crate::proof::write).
    pub proof: bool,
    /// What sides without a number in single precision stand for in a counterexample.
    pub thin: Thin,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self {
            arithmetic: Arithmetic::Sound,
            inputs: 20,
            max_domains: None,
            memory: 4 << 30,
            deadline: None,
            leaves: false,
            proof: false,
            thin: Thin::Nothing,
        }
    }
}

/// A box of which linear bounds, with all intermediate ones recomputed over it, show that no output meets one group of constraints. The
/// leaves of a group cover the property's box.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Number of the property.
    pub property: usize,
    /// Number of its group.
    pub group: usize,
    /// The constraint of the group that no output of the box meets.
    pub row: usize,
    /// How far they are from it at least: above 0.
    pub bound: f64,
    /// The lower ends of the box.
    pub lower: Vec<f64>,
    /// The upper ends of the box.
    pub upper: Vec<f64>,
}

/// What splitting came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The answer.
    pub answer: Answer,
    /// Boxes that were bounded.
    pub domains: u64,
    /// The least bound of the boxes that were left open.
    pub bound: Option<f64>,
    /// The boxes that prove it, if they were asked for.
    pub leaves: Vec<Leaf>,
    /// The steps of the proof, if they were asked for and everything is decided. Box `p` is property `p`.
    pub proof: Vec<Step>,
}

/// Boxes of a round.
const ROUND: usize = 256;

/// A box that is not decided yet.
#[derive(Debug, Clone)]
struct Domain {
    property: usize,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// Groups that are not excluded yet.
    open: Arc<[usize]>,
    /// The bound of the box that it was cut from.
    bound: f64,
    /// Order of making.
    number: u64,
}

impl Ord for Domain {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the largest first: that is the lowest bound, and of several the oldest.
        other.bound.total_cmp(&self.bound).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Domain {}

/// What a proof needs of a box that was bounded for one group.
#[derive(Debug, Default, Clone)]
struct Trace {
    /// The row that closed it, and whether what other rows cut off is needed.
    closed: Option<(usize, bool)>,
    /// The input that was split, where, the numbers of both halves, and whether something was cut off before.
    halved: Option<(usize, f64, [usize; 2], bool)>,
}

/// What became of a box.
#[derive(Default)]
struct Outcome {
    trace: Trace,
    children: Vec<Domain>,
    leaves: Vec<Leaf>,
    candidate: Option<Vec<f64>>,
    /// Why it can be neither decided nor split.
    stuck: Option<&'static str>,
}

/// Decides whether an input of one of the properties violates it. `None` if this is not the way: too many inputs vary, or the computation
/// is not small or not made of affine layers and ReLUs. `stop` is asked between rounds.
pub fn split_input(
    computation: &Computation,
    properties: &[Property],
    settings: &SplitSettings,
    stop: &(dyn Fn() -> bool + Sync),
) -> Option<Split> {
    let fits = |property: &Property| {
        let input = property.input();
        // Between neighbours lies one number that is no double.
        let varies = input.lower.iter().zip(&input.upper).filter(|(l, u)| l.next_up() < **u).count();
        let finite = input.lower.iter().chain(&input.upper).all(|x| x.is_finite());
        let sizes = input.lower.len() == computation.inputs() && property.outputs() == computation.outputs();
        varies <= settings.inputs && finite && sizes
    };
    if !properties.iter().all(fits) {
        return None;
    }
    let net = Compact::new(&computation.merged(), settings.arithmetic)?;
    let search = Search { computation, properties, settings, net };
    Some(search.run(stop))
}

struct Search<'a> {
    computation: &'a Computation,
    properties: &'a [Property],
    settings: &'a SplitSettings,
    net: Compact,
}

impl Search<'_> {
    fn late(&self) -> bool {
        self.settings.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn run(&self, stop: &(dyn Fn() -> bool + Sync)) -> Split {
        let (mut queue, mut made) = (BinaryHeap::new(), 0);
        for (property, of) in self.properties.iter().enumerate() {
            let (lower, upper) = (of.input().lower.clone(), of.input().upper.clone());
            // In a proof every group has boxes of its own: what is cut off them is what the group's rows exclude.
            let together = if self.settings.proof { 1 } else { of.violations().len().max(1) };
            for open in (0..of.violations().len()).collect::<Vec<_>>().chunks(together) {
                let (lower, upper, open) = (lower.clone(), upper.clone(), open.into());
                queue.push(Domain { property, lower, upper, open, bound: f64::NEG_INFINITY, number: made });
                made += 1;
            }
        }
        let mut traces: Vec<Trace> = Vec::new();
        let size = 16 * self.net.sizes[0] as u64 + 128;
        let (mut domains, mut leaves, mut stuck) = (0, Vec::new(), None);
        let end = |answer, domains, leaves, queue: &BinaryHeap<Domain>| Split {
            answer,
            domains,
            bound: queue.peek().map(|domain| domain.bound),
            leaves,
            proof: Vec::new(),
        };
        while !queue.is_empty() {
            let left = self.settings.max_domains.map_or(u64::MAX, |most| most.saturating_sub(domains));
            if left == 0 {
                let why = format!("{domains} boxes were bounded and {} are left", queue.len());
                return end(Answer::Unknown(why), domains, leaves, &queue);
            }
            if queue.len() as u64 * size > self.settings.memory {
                let why = format!("the {} boxes left take more than {} bytes", queue.len(), self.settings.memory);
                return end(Answer::Unknown(why), domains, leaves, &queue);
            }
            if stop() || self.late() {
                return end(Answer::Timeout, domains, leaves, &queue);
            }
            let many = (left.min(ROUND as u64) as usize).min(queue.len());
            let round: Vec<Domain> = (0..many).filter_map(|_| queue.pop()).collect();
            let outcomes: Vec<Option<Outcome>> = round.par_iter().map(|domain| self.visit(domain, stop)).collect();
            if outcomes.iter().any(Option::is_none) {
                queue.extend(round);
                return end(Answer::Timeout, domains, leaves, &queue);
            }
            domains += many as u64;
            for (domain, mut outcome) in round.iter().zip(outcomes.into_iter().flatten()) {
                let property = &self.properties[domain.property];
                let witness =
                    outcome.candidate.and_then(|point| confirm(self.computation, property, &point, self.settings.thin));
                if let Some(witness) = witness {
                    return end(Answer::Sat(witness), domains, Vec::new(), &queue);
                }
                leaves.extend(outcome.leaves);
                stuck = stuck.or(outcome.stuck);
                if self.settings.proof {
                    if let Some((_, _, children, _)) = &mut outcome.trace.halved {
                        *children = [made as usize, made as usize + 1];
                    }
                    let number = domain.number as usize;
                    traces.resize_with(traces.len().max(number + 1), Trace::default);
                    traces[number] = outcome.trace;
                }
                for child in outcome.children {
                    queue.push(Domain { number: made, ..child });
                    made += 1;
                }
            }
        }
        let answer = stuck.map_or(Answer::Unsat, |why| Answer::Unknown(why.into()));
        let proof = if self.settings.proof && answer == Answer::Unsat { self.steps(&traces) } else { Vec::new() };
        Split { proof, ..end(answer, domains, leaves, &queue) }
    }

    /// The proof: of every group of every property the tree of boxes, each with bounds of its own.
    fn steps(&self, traces: &[Trace]) -> Vec<Step> {
        let (mut steps, mut root) = (Vec::new(), 0);
        for (number, property) in self.properties.iter().enumerate() {
            steps.push(Step::Box(number));
            for (group, rows) in property.violations().iter().enumerate() {
                steps.push(Step::Group(group));
                let mut open = vec![root];
                root += 1;
                while let Some(trace) = open.pop().map(|node| &traces[node]) {
                    let clipped =
                        trace.closed.map_or(trace.halved.is_some_and(|halved| halved.3), |(_, clipped)| clipped);
                    if trace.closed.is_some() || clipped {
                        steps.push(Step::Bounds(Bounds::Fresh));
                    }
                    if clipped {
                        // As often as the search does; one row alone gains nothing from a second time.
                        let clips = (0..rows.len()).map(|row| Step::Clip(vec![(row, 1.0)]));
                        (0..rows.len().min(2)).for_each(|_| steps.extend(clips.clone()));
                    }
                    match (trace.closed, trace.halved) {
                        (Some((row, _)), _) => steps.push(Step::Leaf(vec![(row, 1.0)], Vec::new())),
                        (None, Some((input, at, [below, above], _))) => {
                            steps.push(Step::Halve(input, at));
                            open.extend([above, below]);
                        }
                        (None, None) => unreachable!("a box that was decided is closed or split"),
                    }
                }
            }
        }
        steps
    }

    /// Bounds a box, and cuts and splits it where that does not decide. `None` if time ran out.
    fn visit(&self, domain: &Domain, stop: &(dyn Fn() -> bool + Sync)) -> Option<Outcome> {
        if self.late() || stop() {
            return None;
        }
        let property = &self.properties[domain.property];
        let rows = self.rows(property, &domain.open);
        let mut outcome = Outcome::default();
        let Some(Bounded { lines, promise }) = self.net.bound(&domain.lower, &domain.upper, &rows, true) else {
            outcome.stuck = Some("numbers leave the range of doubles");
            return Some(outcome);
        };
        // Of every open group, its first row and the one that is nearest to a proof.
        let (mut open, mut first) = (Vec::new(), 0);
        for &group in domain.open.iter() {
            let count = property.violations()[group].len();
            let nearest = (first..first + count).max_by(|a, b| lines[*a].bound.total_cmp(&lines[*b].bound));
            match nearest {
                // Written so that a NaN proves nothing.
                Some(row) if lines[row].bound > 0.0 => {
                    outcome.trace.closed = Some((row - first, false));
                    if self.settings.leaves {
                        outcome.leaves.push(Leaf {
                            property: domain.property,
                            group,
                            row: row - first,
                            bound: lines[row].bound,
                            lower: domain.lower.clone(),
                            upper: domain.upper.clone(),
                        });
                    }
                }
                nearest => open.push((group, first..first + count, nearest)),
            }
            first += count;
        }
        let Some(worst) =
            open.iter().map(|(_, _, row)| row.map_or(f64::NEG_INFINITY, |row| lines[row].bound)).reduce(f64::min)
        else {
            return Some(outcome);
        };
        outcome.candidate =
            self.candidate(property, domain, &open.iter().map(|open| open.2).collect::<Vec<_>>(), &lines);
        // What the lines of a group leave of the box; of several groups the box around it.
        let mut kept: Option<(Vec<f64>, Vec<f64>)> = None;
        let mut still = Vec::new();
        for (group, rows, _) in &open {
            let (mut lower, mut upper) = (domain.lower.clone(), domain.upper.clone());
            let cut = if self.settings.leaves {
                None
            } else {
                clip(&lines[rows.clone()], &mut lower, &mut upper, self.net.sound)
            };
            if let Some(row) = cut {
                outcome.trace.closed = Some((row, true));
            } else {
                still.push(*group);
                kept = Some(match kept.take() {
                    None => (lower, upper),
                    Some((l, u)) => (
                        l.iter().zip(lower).map(|(a, b)| a.min(b)).collect(),
                        u.iter().zip(upper).map(|(a, b)| a.max(b)).collect(),
                    ),
                });
            }
        }
        let Some((lower, upper)) = kept else { return Some(outcome) };
        let inputs = lower.len();
        let mut score = vec![0.0; inputs];
        for row in open.iter().filter(|open| still.contains(&open.0)).filter_map(|open| open.2) {
            let scale = 1.0 / (lines[row].bound.abs() + 1e-30);
            for i in 0..inputs {
                let width = upper[i] - lower[i];
                let shrunk = width / (domain.upper[i] - domain.lower[i]).max(f64::MIN_POSITIVE);
                // A little for the line itself and for wide sides: promises are made at one point only.
                let line = 0.05 * lines[row].slope[i].abs() * width;
                let whole = (property.input().upper[i] - property.input().lower[i]).max(f64::MIN_POSITIVE);
                score[i] += scale * (promise[row][i] * shrunk + line) + 0.1 * width / whole;
            }
        }
        let middle = |i: usize| 0.5 * lower[i] + 0.5 * upper[i];
        let splits = |i: &usize| lower[*i] < middle(*i) && middle(*i) < upper[*i];
        let best = (0..inputs).filter(splits).max_by(|a, b| score[*a].total_cmp(&score[*b]).then(b.cmp(a)));
        let Some(best) = best else {
            outcome.stuck = Some("a box as thin as doubles allow is not decided");
            return Some(outcome);
        };
        let open: Arc<[usize]> = still.into();
        let at = middle(best);
        outcome.trace.halved = Some((best, at, [0; 2], lower != domain.lower || upper != domain.upper));
        for side in 0..2 {
            let (mut lower, mut upper) = (lower.clone(), upper.clone());
            let end = if side == 0 { &mut upper } else { &mut lower };
            end[best] = at;
            let (property, open) = (domain.property, Arc::clone(&open));
            outcome.children.push(Domain { property, lower, upper, open, bound: worst, number: 0 });
        }
        Some(outcome)
    }

    /// The rows of these groups: a sum minus its bound, which is above 0 where the constraint is not met.
    fn rows(&self, property: &Property, open: &[usize]) -> Rows {
        let length = net::padded(property.outputs());
        let (mut coefficients, mut constants) = (Vec::new(), Vec::new());
        for constraint in open.iter().flat_map(|group| &property.violations()[*group]) {
            let mut row = vec![0.0; length];
            constraint.terms.iter().for_each(|(output, c)| row[*output] = *c);
            coefficients.extend(row);
            constants.push(-constraint.bound);
        }
        Rows { coefficients, constants }
    }

    /// A point of the box that violates the property in double precision: where a line is least, or the centre.
    fn candidate(
        &self,
        property: &Property,
        domain: &Domain,
        rows: &[Option<usize>],
        lines: &[Line],
    ) -> Option<Vec<f64>> {
        let ends = || domain.lower.iter().zip(&domain.upper);
        let centre: Vec<f64> = ends().map(|(l, u)| 0.5 * l + 0.5 * u).collect();
        let least = |line: &Line| -> Vec<f64> {
            ends().zip(&line.slope).map(|((l, u), a)| if *a >= 0.0 { *l } else { *u }).collect()
        };
        let lowest = rows.iter().flatten().min_by(|a, b| lines[**a].bound.total_cmp(&lines[**b].bound));
        let points = std::iter::once(centre).chain(lowest.map(|row| least(&lines[*row])));
        points.into_iter().find(|point| property.violated_by(&self.net.evaluate(point)))
    }
}

/// Cuts off the box what some line shows to be no violation: there it is above 0. The line that leaves nothing, if one does.
fn clip(lines: &[Line], lower: &mut [f64], upper: &mut [f64], sound: bool) -> Option<usize> {
    for _ in 0..2 {
        for (number, line) in lines.iter().enumerate() {
            let least = minimum(&line.slope, line.constant, lower, upper, sound);
            if least > 0.0 {
                return Some(number);
            }
            if !least.is_finite() {
                continue;
            }
            for (i, slope) in line.slope.iter().enumerate().filter(|(_, slope)| slope.abs() > 1e-200) {
                // Up, then up: at most what a violation can lie away from the end at which the line is least.
                let reach = (-least / slope.abs()).next_up();
                if *slope > 0.0 {
                    upper[i] = upper[i].min((lower[i] + reach).next_up());
                } else {
                    lower[i] = lower[i].max((upper[i] - reach).next_down());
                }
            }
        }
    }
    None
}
