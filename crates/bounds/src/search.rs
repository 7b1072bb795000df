//! The attack of verdicts and evaluations: several ways down to the smallest margin, and a search without gradients.
//!
//! A way is that of AutoPGD (Croce and Hein 2020, arXiv 2003.01690): sign steps with momentum that begin at 2 eps and are halved, back
//! at the best point, where they bring nothing. The first start climbs the margin from the clean image and the difference of
//! logits ratio (DLR) from a random point; later ones go for one class each, the nearest rival first, by both losses. The
//! last starts are a random search that changes squares (Andriushchenko et al. 2020, arXiv 1912.00049): it needs no gradient, so that
//! a network whose gradients mislead is not thereby robust. Logits are made by plain sums.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use temper_base::Result;
use temper_model::image::Classifier;
use temper_ops::attack as ops;

use crate::attack::{Attack, Attacked, Batch, Goal, Target, Walk, constant, margin, nearest_rivals, numbers, random};
use crate::boxes::Images;

/// Called between the steps of an attack: true abandons it.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// Results, and the image at the smallest margin of each, `[N, D]`; `None` if `stop` said so.
pub(crate) type Found = Option<(Vec<Attacked>, Tensor<2>)>;

/// How many of the starts give their steps to the search without gradients.
fn without_gradients(starts: usize) -> usize {
    match starts {
        0 | 1 => 0,
        2..6 => 1,
        _ => 2,
    }
}

/// Forward passes that take about as long as a step along a gradient.
const PASSES: usize = 3;
/// Queries of the search without gradients: the paper's, however many steps there are.
const MOST_QUERIES: usize = 10_000;
/// Ways that have fewer steps than this are not split in two.
const SHORTEST: usize = 40;

pub(crate) fn search(
    net: &Classifier,
    images: Images,
    eps: f64,
    attack: &Attack,
    goal: Goal,
    stop: Stop,
    device: &Device,
) -> Result<Found> {
    if images.check(net.config.input, net.config.classes)?[0] == 0 {
        return Ok(Some((Vec::new(), Tensor::zeros([0, 0], device))));
    }
    let target = Target { net: &constant(net), plain: true };
    let batch = Batch::new(&target, images, eps, goal, device);
    let mut search = Search { target, batch, eps, attack, stop };
    let squares = without_gradients(attack.restarts);
    for (start, steps) in starts(attack, attack.restarts - squares, net.config.classes) {
        if search.start(start, steps).is_none() {
            return Ok(None);
        }
    }
    if squares > 0 && search.squares((squares * PASSES * attack.steps).min(MOST_QUERIES)).is_none() {
        return Ok(None);
    }
    Ok(Some((search.batch.results, search.batch.best)))
}

/// The starts along gradients, and the steps of each: `along` times those of the attack. Every class that there is a start
/// for gets one, those of the search without gradients counted: a class far from the clean image may be the one that is reached.
fn starts(attack: &Attack, along: usize, classes: usize) -> Vec<(usize, usize)> {
    let towards = along.saturating_sub(1);
    let rivals = (attack.restarts.saturating_sub(1)).min(classes - 1);
    let others = match towards {
        0 => (0, 0),
        _ if towards < rivals => (rivals, (towards * attack.steps / rivals).max(1)),
        _ => (towards, attack.steps),
    };
    let first = (along > 0).then_some((0, attack.steps));
    first.into_iter().chain((1..=others.0).map(|start| (start, others.1))).collect()
}

/// What a way climbs.
#[derive(Clone, Copy)]
enum Climb {
    /// The margin of the largest other logit.
    Margin,
    /// The same over the spread of the logits.
    Dlr,
    /// The margin of the class that was so near to the clean image.
    Towards(usize),
    /// The same over the spread of the logits.
    DlrTowards(usize),
}

struct Search<'a> {
    target: Target<'a>,
    batch: Batch<'a>,
    eps: f64,
    attack: &'a Attack,
    stop: Stop<'a>,
}

/// Images on their way up; one number a row, `[N]`, where no other shape is said.
struct Climbers {
    walk: Walk,
    /// The classes that they are to get, if each has one of its own.
    goals: Option<Vec<u32>>,
    /// Where they came from, `[N, D]`.
    before: Tensor<2>,
    height: Tensor<1>,
    /// `[N, D]`.
    gradient: Tensor<2>,
    /// The highest that they were, with the gradient there: `[N, D]` and `[N, D]`.
    top: Tensor<2>,
    top_gradient: Tensor<2>,
    top_height: Tensor<1>,
    step: Tensor<1>,
    /// Steps that went up since the last look.
    rises: Tensor<1>,
    /// Step and height of the top at the last look.
    seen_step: Tensor<1>,
    seen_height: Tensor<1>,
}

impl Search<'_> {
    /// All of one start; `None` once it is to stop.
    fn start(&mut self, start: usize, steps: usize) -> Option<()> {
        let classes = self.target.net.config.classes;
        let rank = start.saturating_sub(1) % (classes - 1).max(1);
        let ways = match start {
            0 => [(Climb::Margin, false), (Climb::Dlr, true)],
            _ => [(Climb::DlrTowards(rank), true), (Climb::Towards(rank), start.is_multiple_of(2))],
        };
        if steps < SHORTEST {
            let (climb, random) = ways[usize::from(start % 4 == 2)];
            return self.way(climb, random.then_some(2 * start), steps);
        }
        for (i, (climb, random)) in ways.into_iter().enumerate() {
            let steps = if i == 0 { steps.div_ceil(2) } else { steps / 2 };
            self.way(climb, random.then_some(2 * start + i), steps)?;
        }
        Some(())
    }

    /// One way of every open image, from the clean image or from the random point of this number.
    fn way(&mut self, climb: Climb, from: Option<usize>, steps: usize) -> Option<()> {
        let mut walk = self.batch.walk();
        if walk.places.is_empty() {
            return Some(());
        }
        if let Some(number) = from {
            walk.scatter(&self.batch, self.attack.seed, &format!("way.{number}"));
        }
        let goals = match climb {
            Climb::Margin | Climb::Dlr => None,
            Climb::Towards(rank) | Climb::DlrTowards(rank) => {
                let all = nearest_rivals(&self.batch.logits, self.batch.images.labels, rank);
                Some(walk.places.iter().map(|place| all[*place]).collect())
            }
        };
        let over_spread = matches!(climb, Climb::Dlr | Climb::DlrTowards(_));
        let mut climbers = Climbers::new(walk, goals, 2.0 * self.eps);
        let share = |part: f64| ((part * steps as f64) as usize).max(1);
        let (mut period, mut since) = (share(0.22), 0);
        for step in 0..steps {
            if (self.stop)() {
                return None;
            }
            climbers = climbers.look(&self.target, &mut self.batch, over_spread);
            if !climbers.drop_done(&mut self.batch) {
                return Some(());
            }
            since += 1;
            if since == period {
                climbers = climbers.judge(period);
                since = 0;
                period = period.saturating_sub(share(0.03)).max(share(0.06));
            }
            climbers = climbers.advance(step == 0);
        }
        climbers.walk.end(&self.target, &mut self.batch);
        Some(())
    }

    /// The random search: every query changes one square of every open image to the ends of its box, and what does not
    /// make the margin smaller is taken back.
    fn squares(&mut self, queries: usize) -> Option<()> {
        let shape = self.batch.images.shape;
        let [c, h, w] = shape;
        let draws_a_query = 2 + c;
        let mut walk = self.batch.walk();
        if walk.places.is_empty() {
            return Some(());
        }
        let draws = |place: &usize| {
            random(self.attack.seed, self.batch.images.indices[*place], "squares", c * w + queries * draws_a_query)
        };
        let mut draws: Vec<Vec<f32>> = walk.places.iter().map(draws).collect();
        // Vertical stripes to begin with.
        let stripes: Vec<f32> = draws.iter().flat_map(|draws| &draws[..c * w]).copied().collect();
        let (n, device) = (walk.places.len(), walk.x.device());
        let down = Tensor::<4>::from_data(TensorData::new(stripes, [n, c, 1, w]), &device).lower_elem(0.5);
        let down = down.expand([n, c, h, w]).reshape([n, c * h * w]);
        walk.x = walk.ends.upper.clone().mask_where(down, walk.ends.lower.clone());
        let pass = |walk: &Walk, x: Tensor<2>| ops::margins(self.target.classify(x), &walk.labels);
        let (x, seen) = (walk.x.clone(), pass(&walk, walk.x.clone()));
        let mut heights = margin(&seen);
        walk = walk.see(&mut self.batch, x, seen);
        for query in 0..queries {
            if let Some(rows) = walk.drop_done(&mut self.batch) {
                heights = heights.select(0, numbers(&rows, &device));
                draws = rows.iter().map(|row| std::mem::take(&mut draws[*row])).collect();
            }
            if walk.places.is_empty() {
                return Some(());
            }
            if (self.stop)() {
                return None;
            }
            let side = ((share_of_pixels(query, queries) * (h * w) as f64).sqrt().round() as usize).clamp(1, h.min(w));
            let begin = c * w + query * draws_a_query;
            let of_query: Vec<f32> =
                draws.iter().flat_map(|draws| &draws[begin..begin + draws_a_query]).copied().collect();
            let tried = ops::square(walk.x.clone(), &walk.ends, &of_query, side, shape);
            let seen = pass(&walk, tried.clone());
            let lower: Tensor<1, Bool> = margin(&seen).lower(heights.clone());
            heights = heights.mask_where(lower.clone(), margin(&seen));
            walk.x = ops::replace(walk.x, &tried, &lower);
            walk = walk.see(&mut self.batch, tried, seen);
        }
        walk.close(&mut self.batch);
        Some(())
    }
}

/// The share of an image that a square takes: 0.8 to begin with, halved at the paper's marks.
fn share_of_pixels(query: usize, queries: usize) -> f64 {
    const MARKS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
    let at = query * 10_000 / queries.max(1);
    0.8 / f64::from(1 << MARKS.iter().filter(|mark| at > **mark).count())
}

impl Climbers {
    fn new(walk: Walk, goals: Option<Vec<u32>>, step: f64) -> Self {
        let (n, x, device) = (walk.places.len(), walk.x.clone(), walk.x.device());
        let all = |value: f64| Tensor::<1>::full([n], value, &device);
        let none = x.zeros_like();
        Self {
            walk,
            goals,
            before: x.clone(),
            // The first height is no rise.
            height: all(f64::INFINITY),
            gradient: none.clone(),
            top: x,
            top_gradient: none,
            top_height: all(f64::NEG_INFINITY),
            step: all(step),
            rises: all(0.0),
            seen_step: all(step),
            seen_height: all(f64::NEG_INFINITY),
        }
    }

    /// Height and gradient of every climber where it is.
    fn look(mut self, target: &Target, batch: &mut Batch, over_spread: bool) -> Self {
        let (x, labels) = (self.walk.x.clone(), &self.walk.labels);
        let climbed = |logits| ops::heights(logits, labels, self.goals.as_deref(), over_spread);
        let (logits, height, gradient) = target.climbed(x.clone(), climbed);
        let seen = ops::margins(logits, labels);
        self.rises = self.rises + height.clone().greater(self.height).float();
        let higher = height.clone().greater(self.top_height.clone());
        self.top_height = self.top_height.mask_where(higher.clone(), height.clone());
        self.top = ops::replace(self.top, &x, &higher);
        self.top_gradient = ops::replace(self.top_gradient, &gradient, &higher);
        (self.height, self.gradient) = (height, gradient);
        self.walk = self.walk.see(batch, x, seen);
        self
    }

    /// Drops those that are done; false if none is left.
    fn drop_done(&mut self, batch: &mut Batch) -> bool {
        if let Some(rows) = self.walk.drop_done(batch) {
            self.goals = self.goals.take().map(|goals| rows.iter().map(|row| goals[*row]).collect());
            let rows = numbers(&rows, &self.before.device());
            for images in [&mut self.before, &mut self.gradient, &mut self.top, &mut self.top_gradient] {
                *images = images.clone().select(0, rows.clone());
            }
            let Self { height, top_height, step, rises, seen_step, seen_height, .. } = self;
            for numbers in [height, top_height, step, rises, seen_step, seen_height] {
                *numbers = numbers.clone().select(0, rows.clone());
            }
        }
        !self.walk.places.is_empty()
    }

    /// Halves the step and returns to the best point where the last `period` steps gained nothing.
    fn judge(mut self, period: usize) -> Self {
        let stuck = self.seen_step.equal(self.step.clone());
        let stuck = stuck.bool_and(self.seen_height.greater_equal(self.top_height.clone()));
        let back = self.rises.clone().lower_elem(0.75 * period as f64).bool_or(stuck);
        (self.seen_step, self.seen_height) = (self.step.clone(), self.top_height.clone());
        self.step = self.step.clone().mask_where(back.clone(), self.step * 0.5);
        self.height = self.height.mask_where(back.clone(), self.top_height.clone());
        self.walk.x = ops::replace(self.walk.x, &self.top, &back);
        self.gradient = ops::replace(self.gradient, &self.top_gradient, &back);
        self.before = ops::replace(self.before, &self.top, &back);
        self.rises = self.rises.zeros_like();
        self
    }

    fn advance(mut self, first: bool) -> Self {
        let (x, keep) = (self.walk.x, if first { 1.0 } else { 0.75 });
        self.walk.x =
            ops::climb(x.clone(), self.before, self.gradient.clone(), &self.walk.ends, self.step.clone(), keep);
        self.before = x;
        self
    }
}
