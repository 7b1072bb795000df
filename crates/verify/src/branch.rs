//! Branch and bound by splitting ReLUs (beta-CROWN, Wang et al. 2021): a domain is the set of inputs on which some neurons have a known
//! sign. Its bound has a multiplier for every split; a domain that stays open is split at one more neuron, chosen by kFSB.
//!
//! Work is done in rounds of a fixed number of domains, depth first with the worst bound first. So what is found depends neither on the
//! number of threads nor on the clock; only where the time ends does. The search runs in single precision. A domain counts as closed
//! once its bound was computed again in double precision, with rounding charged, from the slopes and multipliers that were found.

pub mod score;

pub use crate::steps::Leaf;

use std::sync::Arc;
use std::time::Instant;

use temper_graph::Computation;

use crate::cascade::Arithmetic;
use crate::engine::{Alpha, Ascent, Beta, Bounds, Ends, Job, Keep, Prepared, Real, Region, Rows, Split};
use crate::engine::{backward, optimise, output_intervals};
use crate::steps::{leaf, short, short_multipliers};
use score::{Neuron, Score, biases, candidates, score, worth};

/// What the search may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When it has to end.
    pub deadline: Option<Instant>,
    /// Domains that may be bounded.
    pub max_domains: Option<u64>,
    /// Bytes that open domains may take.
    pub memory: u64,
}

/// How the search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every domain is closed.
    Closed,
    /// Whoever was asked about points found a counterexample among them.
    Found,
    /// Open domains are left, and why.
    Open(String),
    /// Time is up.
    Timeout,
}

/// Rows over the outputs, of which one at least has to be positive everywhere in a box.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The network.
    pub computation: &'a Computation,
    /// It in single precision, for the search.
    pub net: &'a Prepared<f32>,
    /// It in double precision, for what counts.
    pub exact: &'a Prepared<f64>,
    /// Bounds of the whole box, rounded outwards.
    pub bounds: &'a Bounds<f32>,
    /// The same in double precision.
    pub exact_bounds: &'a Bounds<f64>,
    /// `[rows, outputs]`.
    pub rows: &'a [f64],
    /// What is added to each row.
    pub constants: &'a [f64],
    /// The slopes to begin with, a set for each row.
    pub alpha: &'a Alpha<f32>,
    /// Signs that are assumed from the start; the bounds say so too.
    pub splits: &'a [Split],
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// How it ended.
    pub end: End,
    /// Domains that were bounded.
    pub domains: u64,
    /// The closed domains, if they were asked for.
    pub leaves: Vec<Leaf>,
    /// The least bound of an open domain; if none is left, of a closed one.
    pub bound: f64,
}

/// Candidates from either list of kFSB.
const CANDIDATES: usize = 3;
/// The steps of a new domain.
const STEPS: Ascent = Ascent { iterations: 6, alpha_rate: 0.1, beta_rate: 0.2, decay: 0.98, threshold: 0.0, any: true };
/// Steps for a domain in which no neuron is left to split: its bound is exact once the multipliers are the best ones.
const LAST: Ascent = Ascent { iterations: 200, ..STEPS };

struct Domain {
    alpha: Alpha<f32>,
    beta: Beta<f32>,
    /// The best row's bound: at least that of the domain it was split from.
    bound: f64,
    /// Where its linear form is least.
    point: Vec<f32>,
}

impl Domain {
    /// About what it keeps.
    fn bytes(&self) -> u64 {
        (4 * (self.alpha.values.len() + self.beta.values.len() + self.point.len()) + 16 * self.beta.splits.len() + 256)
            as u64
    }
}

/// Splits until every domain is closed. `found` is asked about points that the bounds point at, and says whether one of them is a
/// counterexample.
pub fn search(
    question: &Question,
    limits: Limits,
    keep_leaves: bool,
    found: &mut dyn FnMut(&[&[f32]]) -> bool,
    stop: &(dyn Fn() -> bool + Sync),
) -> Searched {
    let mut search = Search::new(question, keep_leaves);
    let rows = question.constants.len();
    let root = Domain {
        alpha: question.alpha.clone(),
        beta: Beta::new(question.splits.to_vec(), rows),
        bound: f64::NEG_INFINITY,
        point: Vec::new(),
    };
    let (mut open, mut leaves) = (vec![root], Vec::new());
    let timed = || limits.deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let halt = || stop() || timed();
    let end = loop {
        if open.is_empty() {
            break End::Closed;
        }
        if timed() {
            break End::Timeout;
        }
        if stop() {
            break End::Open("it was told to stop".into());
        }
        if limits.max_domains.is_some_and(|most| search.domains >= most) {
            break End::Open(format!("{} domains were bounded, and {} are open", search.domains, open.len()));
        }
        if open.iter().map(Domain::bytes).sum::<u64>() > limits.memory {
            break End::Open(format!("{} open domains take more memory than they may", open.len()));
        }
        let batch = open.split_off(open.len().saturating_sub(search.width));
        let before = batch.len();
        let (children, stuck) = search.split(batch);
        let (closed, mut left) = search.bound(children, &STEPS, &halt);
        let (last, stuck) = search.bound(stuck, &LAST, &halt);
        debug_assert!(closed.len() + left.len() + last.len() + stuck.len() <= 2 * before);
        if keep_leaves {
            leaves.extend(closed.into_iter().chain(last));
        }
        if halt() {
            // The round is not complete: what it left open is open.
            open.extend(left);
            open.extend(stuck);
            continue;
        }
        // The worst is taken first.
        left.sort_by(|a, b| b.bound.total_cmp(&a.bound));
        let points: Vec<&[f32]> =
            left.iter().rev().take(4).chain(&stuck).map(|domain| domain.point.as_slice()).collect();
        if found(&search.promising(points)) {
            break End::Found;
        }
        if let Some(domain) = stuck.first() {
            let bound = domain.bound;
            open.extend(left);
            open.extend(stuck);
            break End::Open(format!("a domain in which no neuron is left to split has a bound of {bound:e}"));
        }
        open.extend(left);
    };
    let least = if open.is_empty() { search.least } else { f64::INFINITY };
    let bound = open.iter().map(|domain| domain.bound).fold(least, f64::min);
    Searched { end, domains: search.domains, leaves, bound }
}

struct Search<'a> {
    question: &'a Question<'a>,
    /// Of every value, the constant of its affine node.
    biases: Vec<Vec<f32>>,
    /// The rows in single precision.
    rows: Vec<f32>,
    /// Domains of a round.
    width: usize,
    domains: u64,
    /// The least bound of a closed domain.
    least: f64,
    /// Whether what closes domains is kept.
    keep: bool,
}

impl<'a> Search<'a> {
    fn new(question: &'a Question<'a>, keep: bool) -> Self {
        let net = question.net;
        let largest = (0..=net.output()).map(|value| net.len(value)).max().unwrap_or(1);
        // Rows of a round, with candidates and children, whose coefficients are some ten megabytes.
        let width = ((1 << 18) / largest.max(1)).clamp(8, 256);
        let rows = question.rows.iter().map(|c| *c as f32).collect();
        Self { question, biases: biases(question.computation), rows, width, domains: 0, least: f64::INFINITY, keep }
    }

    /// Those of some points that may violate the question, judged by one pass in single precision.
    fn promising<'p>(&self, points: Vec<&'p [f32]>) -> Vec<&'p [f32]> {
        let Question { net, constants, .. } = *self.question;
        let points: Vec<&[f32]> = points.into_iter().filter(|point| point.len() == net.inputs()).collect();
        let ends = |point: &&[f32]| Region::new(Ends { lower: point.to_vec(), upper: point.to_vec() });
        let outputs = output_intervals(net, points.iter().map(ends).collect(), Arithmetic::Real);
        let near = |outputs: &Ends<f32>| {
            self.rows.chunks(net.outputs()).zip(constants).all(|(row, constant)| {
                let terms = || row.iter().zip(&outputs.lower).map(|(c, y)| f64::from(c * y));
                let size = constant.abs() + terms().map(f64::abs).sum::<f64>();
                terms().sum::<f64>() + constant <= 1e-3 * size
            })
        };
        points.into_iter().zip(outputs).filter(|(_, outputs)| near(outputs)).map(|(point, _)| point).collect()
    }

    fn job<'b>(&'b self, bounds: &'b Bounds<f32>, domain: &'b Domain) -> Job<'b, f32> {
        Job {
            constants: self.question.constants,
            alpha: Some(&domain.alpha),
            beta: Some(&domain.beta),
            ..Job::new(bounds, self.question.net.output(), Rows::Dense(&self.rows))
        }
    }

    /// Splits every domain at its best neuron: the halves, and the domains in which no neuron has both signs.
    fn split(&self, batch: Vec<Domain>) -> (Vec<Domain>, Vec<Domain>) {
        let net = self.question.net;
        let bounds: Vec<Bounds<f32>> =
            batch.iter().map(|domain| cut(net, self.question.bounds, &domain.beta.splits)).collect();
        let jobs: Vec<Job<f32>> = batch.iter().zip(&bounds).map(|(domain, bounds)| self.job(bounds, domain)).collect();
        let pushed = backward(net, &jobs, Keep { line: false, lambda: true });
        let lists: Vec<Vec<Neuron>> =
            bounds.iter().zip(&pushed).map(|(bounds, pushed)| self.candidates(bounds, &pushed.lambda)).collect();
        // Both halves of every candidate, by one pass with the slopes and multipliers of the whole.
        let halves: Vec<(usize, Bounds<f32>)> = lists
            .iter()
            .enumerate()
            .filter(|(_, list)| list.len() > 1)
            .flat_map(|(i, list)| list.iter().flat_map(move |neuron| [true, false].map(|active| (i, *neuron, active))))
            .map(|(i, neuron, active)| (i, bounds[i].split(net.reads(neuron.node), neuron.at, active)))
            .collect();
        let tried: Vec<Job<f32>> = halves.iter().map(|(i, bounds)| self.job(bounds, &batch[*i])).collect();
        let tried = backward(net, &tried, Keep::default());
        let best = |bounds: &[f64]| bounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut values = tried.iter().map(|pushed| best(&pushed.bound));
        let chosen: Vec<Option<Neuron>> = lists
            .iter()
            .map(|list| {
                if list.len() < 2 {
                    return list.first().copied();
                }
                let mut half = || values.next().expect("two values a candidate");
                let valued: Vec<(f64, Neuron)> = list.iter().map(|neuron| (worth([half(), half()]), *neuron)).collect();
                // The first of equals: the better by its score.
                valued.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|(_, neuron)| neuron)
            })
            .collect();
        let (mut children, mut stuck) = (Vec::new(), Vec::new());
        for (domain, neuron) in batch.into_iter().zip(chosen) {
            let Some(neuron) = neuron else {
                stuck.push(domain);
                continue;
            };
            for active in [true, false] {
                let split = Split { node: neuron.node, neuron: neuron.at as u32, active };
                children.push(Domain {
                    alpha: domain.alpha.clone(),
                    beta: domain.beta.and(split, self.question.constants.len()),
                    bound: domain.bound,
                    point: domain.point.clone(),
                });
            }
        }
        (children, stuck)
    }

    /// The neurons that are tried; the widest if no score singles one out.
    fn candidates(&self, bounds: &Bounds<f32>, lambda: &[Vec<f32>]) -> Vec<Neuron> {
        let net = self.question.net;
        let mut scores: Vec<(Neuron, Score)> = Vec::new();
        let mut widest: Option<(f32, Neuron)> = None;
        for node in net.relus() {
            let value = net.reads(node);
            let (ends, rows) = (bounds.ends(value), &lambda[node]);
            let size = ends.lower.len();
            for at in ends.unstable() {
                let (l, u) = (ends.lower[at], ends.upper[at]);
                let neuron = Neuron { node, at };
                let of = rows.chunks(size).map(|row| row[at]);
                scores.push((neuron, score(l, u, self.biases[value][at], of)));
                let width = (-l).min(u);
                if widest.is_none_or(|(most, _)| width > most) {
                    widest = Some((width, neuron));
                }
            }
        }
        let chosen = candidates(&scores, CANDIDATES);
        if chosen.is_empty() { widest.map(|(_, neuron)| neuron).into_iter().collect() } else { chosen }
    }

    /// Bounds domains, and closes those whose bound holds in the sense that was asked for.
    fn bound(
        &mut self,
        domains: Vec<Domain>,
        steps: &Ascent,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> (Vec<Leaf>, Vec<Domain>) {
        let net = self.question.net;
        let bounds: Vec<Bounds<f32>> =
            domains.iter().map(|domain| cut(net, self.question.bounds, &domain.beta.splits)).collect();
        let jobs: Vec<Job<f32>> =
            domains.iter().zip(&bounds).map(|(domain, bounds)| self.job(bounds, domain)).collect();
        let optimised = optimise(net, &jobs, steps, stop);
        self.domains += domains.len() as u64;
        let inputs = net.inputs();
        let (mut closed, mut left) = (Vec::new(), Vec::new());
        for (before, best) in domains.iter().zip(optimised) {
            let bound = best.bound.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let row = best.bound.iter().position(|of| *of == bound).unwrap_or(0);
            let point = best.point.get(row * inputs..(row + 1) * inputs).unwrap_or_default().to_vec();
            let domain = Domain { alpha: best.alpha, beta: best.beta, bound: bound.max(before.bound), point };
            if bound > 0.0 { &mut closed } else { &mut left }.push(domain);
        }
        let (leaves, open) = self.close(closed);
        left.extend(open);
        (leaves, left)
    }

    /// The domains that are closed in double precision too, and those that are not.
    fn close(&mut self, domains: Vec<Domain>) -> (Vec<Leaf>, Vec<Domain>) {
        let Question { exact, exact_bounds, rows, constants, .. } = *self.question;
        if exact_bounds.claim() == Arithmetic::Real {
            self.least = domains.iter().map(|domain| domain.bound).fold(self.least, f64::min);
            let leaf = |domain: Domain| Leaf { splits: domain.beta.splits, steps: Vec::new() };
            return (domains.into_iter().map(leaf).collect(), Vec::new());
        }
        let held: Vec<_> = domains
            .iter()
            .map(|domain| {
                let (alpha, beta) = (domain.alpha.to::<f64>(), domain.beta.to::<f64>());
                let (alpha, beta) = if self.keep { (short(alpha), short_multipliers(beta)) } else { (alpha, beta) };
                (cut(exact, exact_bounds, &domain.beta.splits), alpha, beta)
            })
            .collect();
        let job = |(bounds, alpha, beta)| Job {
            constants,
            alpha: Some(alpha),
            beta: Some(beta),
            ..Job::new(bounds, exact.output(), Rows::Dense(rows))
        };
        let jobs: Vec<Job<f64>> = held.iter().map(|(bounds, alpha, beta)| job((bounds, alpha, beta))).collect();
        let pushed = backward(exact, &jobs, Keep::default());
        let (mut closed, mut open) = (Vec::new(), Vec::new());
        for ((mut domain, pushed), (bounds, alpha, beta)) in domains.into_iter().zip(pushed).zip(&held) {
            let bound = pushed.bound.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if bound > 0.0 {
                self.least = self.least.min(bound);
                let row = pushed.bound.iter().position(|of| *of == bound).unwrap_or(0);
                let steps = if self.keep { leaf(exact, bounds, row, alpha, Some(beta)) } else { Vec::new() };
                closed.push(Leaf { splits: domain.beta.splits, steps });
            } else {
                domain.bound = domain.bound.min(bound);
                open.push(domain);
            }
        }
        (closed, open)
    }
}

/// The bounds of a domain: those of the whole box, cut at its splits.
fn cut<T: Real>(net: &Prepared<T>, whole: &Bounds<T>, splits: &Arc<Vec<Split>>) -> Bounds<T> {
    let mut bounds = whole.clone();
    splits.iter().for_each(|split| bounds.cut(net.reads(split.node), split.neuron as usize, split.active));
    bounds
}
