//! The attack of verdicts and evaluations: several ways down to the smallest margin, and a search without gradients.
//!
//! A way is that of AutoPGD (Croce and Hein 2020, arXiv 2003.01690): sign steps with momentum that begin at 2 eps and are halved, back
//! at the best point, where they bring nothing. The first start climbs the margin from the clean image and the difference of
//! logits ratio (DLR) from a random point; later ones go for one class each, the nearest rival first, by both losses. The
//! last starts are a random search that changes squares (Andriushchenko et al. 2020, arXiv 1912.00049): it needs no gradient, so that
//! a network whose gradients mislead is not thereby robust. Logits are made by plain sums.

use burn::tensor::{Device, Tensor};
use temper_base::Result;
use temper_model::image::Classifier;
use temper_model::init;

use crate::attack::{Attack, Attacked, Goal, Target, constant, inside, margins, nearest_rivals, one_a_row};
use crate::boxes::Images;
use crate::floats;

/// Called between the steps of an attack: true abandons it.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// Results, and the image at the smallest margin of each, `[N, C, H, W]`; `None` if `stop` said so.
pub(crate) type Found = Option<(Vec<Attacked>, Vec<f32>)>;

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
    let n = images.check(net.config.input, net.config.classes)?[0];
    if n == 0 {
        return Ok(Some((Vec::new(), Vec::new())));
    }
    let net = &constant(net);
    let target = Target { net, device, plain: true };
    let logits = target.classify(images.pixels, n);
    let result = |(margin, class)| Attacked { clean_margin: margin, clean_class: class, margin, class };
    let results = margins(&logits, images.labels).into_iter().map(result).collect();
    let (lower, upper) = inside(images.pixels, eps);
    let len = images.pixels.len() / n;
    let best = images.pixels.to_vec();
    let mut search = Search { target, images, eps, attack, goal, stop, len, lower, upper, results, best, logits };
    let squares = without_gradients(attack.restarts);
    for (start, steps) in starts(attack, attack.restarts - squares, net.config.classes) {
        if search.start(start, steps).is_none() {
            return Ok(None);
        }
    }
    if squares > 0 && search.squares((squares * PASSES * attack.steps).min(MOST_QUERIES)).is_none() {
        return Ok(None);
    }
    Ok(Some((search.results, search.best)))
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
    images: Images<'a>,
    eps: f64,
    attack: &'a Attack,
    goal: Goal,
    stop: Stop<'a>,
    /// Pixels of an image.
    len: usize,
    /// The ends of the boxes.
    lower: Vec<f32>,
    upper: Vec<f32>,
    results: Vec<Attacked>,
    /// The images at the smallest margins.
    best: Vec<f32>,
    /// Of the clean images.
    logits: Vec<f32>,
}

/// An image on its way.
struct Climber {
    place: usize,
    x: Vec<f32>,
    before: Vec<f32>,
    gradient: Vec<f32>,
    height: f64,
    top: Vec<f32>,
    top_gradient: Vec<f32>,
    top_height: f64,
    step: f64,
    /// Steps that went up since the last look.
    rises: usize,
    /// Step and height of the top at the last look.
    seen: (f64, f64),
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

    /// The images that something may still be found of.
    fn open(&self) -> Vec<usize> {
        (0..self.results.len()).filter(|place| !self.done(*place)).collect()
    }

    fn done(&self, place: usize) -> bool {
        let result = &self.results[place];
        result.margin.is_nan() || (self.goal == Goal::Misclassify && result.found())
    }

    fn ends(&self, place: usize) -> (&[f32], &[f32]) {
        let part = place * self.len..(place + 1) * self.len;
        (&self.lower[part.clone()], &self.upper[part])
    }

    /// Uniform numbers from 0 to 1: a function of seed, number of the image, and what they are for.
    fn random(&self, place: usize, purpose: &str, len: usize) -> Vec<f32> {
        let name = format!("attack.{}.{purpose}", self.images.indices[place]);
        init::uniform(self.attack.seed, &name, 0.5, len).into_iter().map(|at| at + 0.5).collect()
    }

    /// Keeps what is better than everything before.
    fn see(&mut self, place: usize, x: &[f32], (margin, class): (f32, u32)) {
        let result = &mut self.results[place];
        if margin < result.margin || margin.is_nan() {
            (result.margin, result.class) = (margin, class);
            self.best[place * self.len..][..self.len].copy_from_slice(x);
        }
    }

    /// One way of every open image, from the clean image or from the random point of this number.
    fn way(&mut self, climb: Climb, random: Option<usize>, steps: usize) -> Option<()> {
        let begin = |place: usize| {
            let clean = &self.images.pixels[place * self.len..][..self.len];
            let x = match random {
                None => clean.to_vec(),
                Some(number) => {
                    let (lower, upper) = self.ends(place);
                    let at = self.random(place, &format!("way.{number}"), self.len);
                    let ends = lower.iter().zip(upper);
                    at.iter().zip(ends).map(|(at, (l, u))| (l + (u - l) * at).clamp(*l, *u)).collect()
                }
            };
            Climber::new(place, x, 2.0 * self.eps)
        };
        let mut climbers: Vec<Climber> = self.open().into_iter().map(begin).collect();
        let share = |part: f64| ((part * steps as f64) as usize).max(1);
        let (mut period, mut since) = (share(0.22), 0);
        for step in 0..steps {
            if climbers.is_empty() {
                return Some(());
            }
            if (self.stop)() {
                return None;
            }
            self.look(climb, &mut climbers, step == 0);
            climbers.retain(|climber| !self.done(climber.place));
            since += 1;
            if since == period {
                climbers.iter_mut().for_each(|climber| climber.judge(period));
                since = 0;
                period = period.saturating_sub(share(0.03)).max(share(0.06));
            }
            for climber in &mut climbers {
                let (lower, upper) = self.ends(climber.place);
                climber.advance(lower, upper, step == 0);
            }
        }
        let x: Vec<f32> = climbers.iter().flat_map(|climber| &climber.x).copied().collect();
        self.pass(&climbers.iter().map(|climber| climber.place).collect::<Vec<_>>(), &x);
        Some(())
    }

    /// The margins of `x`, one image for each of the places.
    fn pass(&mut self, places: &[usize], x: &[f32]) -> Vec<f32> {
        if places.is_empty() {
            return Vec::new();
        }
        let labels: Vec<u32> = places.iter().map(|place| self.images.labels[*place]).collect();
        let seen = margins(&self.target.classify(x, places.len()), &labels);
        for ((place, seen), x) in places.iter().zip(&seen).zip(x.chunks(self.len)) {
            self.see(*place, x, *seen);
        }
        seen.into_iter().map(|(margin, _)| margin).collect()
    }

    /// Height and gradient of every climber where it is.
    fn look(&mut self, climb: Climb, climbers: &mut [Climber], first: bool) {
        let x: Vec<f32> = climbers.iter().flat_map(|climber| &climber.x).copied().collect();
        let labels: Vec<u32> = climbers.iter().map(|climber| self.images.labels[climber.place]).collect();
        let goals: Option<Vec<u32>> = match climb {
            Climb::Margin | Climb::Dlr => None,
            Climb::Towards(rank) | Climb::DlrTowards(rank) => {
                let all = nearest_rivals(&self.logits, self.images.labels, rank);
                Some(climbers.iter().map(|climber| all[climber.place]).collect())
            }
        };
        let over_spread = matches!(climb, Climb::Dlr | Climb::DlrTowards(_));
        let (values, heights, gradient) = climbed(&self.target, &x, &labels, goals.as_deref(), over_spread);
        let seen = margins(&values, &labels);
        let rows = climbers.iter_mut().zip(heights).zip(gradient.chunks(self.len));
        for ((climber, height), gradient) in rows {
            climber.arrive(height, gradient, first);
        }
        for (climber, seen) in climbers.iter().zip(seen) {
            self.see(climber.place, &climber.x, seen);
        }
    }

    /// The random search: every query changes one square of every open image to the ends of its box, and what does not
    /// make the margin smaller is taken back.
    fn squares(&mut self, queries: usize) -> Option<()> {
        let [c, h, w] = self.images.shape;
        let numbers = 2 + c;
        let mut places = self.open();
        let draws: Vec<Vec<f32>> = (0..self.results.len())
            .map(|place| {
                if places.contains(&place) {
                    self.random(place, "squares", c * w + queries * numbers)
                } else {
                    Vec::new()
                }
            })
            .collect();
        // Vertical stripes to begin with.
        let stripes = |place: &usize| {
            let (lower, upper) = self.ends(*place);
            let at = |i: usize| draws[*place][i / (h * w) * w + i % w];
            (0..self.len).map(|i| if at(i) < 0.5 { lower[i] } else { upper[i] }).collect::<Vec<f32>>()
        };
        let mut x: Vec<Vec<f32>> = places.iter().map(stripes).collect();
        let mut heights = self.pass(&places, &x.concat());
        for query in 0..queries {
            let keep: Vec<bool> = places.iter().map(|place| !self.done(*place)).collect();
            let mut kept = keep.iter();
            places.retain(|_| *kept.next().expect("one each"));
            let mut kept = keep.iter();
            x.retain(|_| *kept.next().expect("one each"));
            let mut kept = keep.iter();
            heights.retain(|_| *kept.next().expect("one each"));
            if places.is_empty() {
                break;
            }
            if (self.stop)() {
                return None;
            }
            let side = ((share_of_pixels(query, queries) * (h * w) as f64).sqrt().round() as usize).clamp(1, h.min(w));
            let tried: Vec<Vec<f32>> = places
                .iter()
                .zip(&x)
                .map(|(place, x)| {
                    let draw = &draws[*place][c * w + query * numbers..][..numbers];
                    let at = |draw: f32, size: usize| ((draw * (size - side + 1) as f32) as usize).min(size - side);
                    let (top, left) = (at(draw[0], h), at(draw[1], w));
                    let (lower, upper) = self.ends(*place);
                    let mut x = x.clone();
                    for (channel, draw) in draw[2..].iter().enumerate() {
                        let ends = if *draw < 0.5 { lower } else { upper };
                        for row in top..top + side {
                            let begin = (channel * h + row) * w + left;
                            x[begin..begin + side].copy_from_slice(&ends[begin..begin + side]);
                        }
                    }
                    x
                })
                .collect();
            let margins = self.pass(&places, &tried.concat());
            for (i, (tried, margin)) in tried.into_iter().zip(margins).enumerate() {
                if margin < heights[i] {
                    (x[i], heights[i]) = (tried, margin);
                }
            }
        }
        Some(())
    }
}

/// The share of an image that a square takes: 0.8 to begin with, halved at the paper's marks.
fn share_of_pixels(query: usize, queries: usize) -> f64 {
    const MARKS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
    let at = query * 10_000 / queries.max(1);
    0.8 / f64::from(1 << MARKS.iter().filter(|mark| at > **mark).count())
}

impl Climber {
    fn new(place: usize, x: Vec<f32>, step: f64) -> Self {
        let none = f64::NEG_INFINITY;
        let (before, top) = (x.clone(), x.clone());
        let (gradient, top_gradient) = (Vec::new(), Vec::new());
        let (rises, seen) = (0, (step, none));
        Self { place, x, before, gradient, height: none, top, top_gradient, top_height: none, step, rises, seen }
    }

    fn arrive(&mut self, height: f64, gradient: &[f32], first: bool) {
        self.rises += usize::from(!first && height > self.height);
        self.height = height;
        self.gradient = gradient.to_vec();
        if height > self.top_height {
            self.top_height = height;
            (self.top, self.top_gradient) = (self.x.clone(), self.gradient.clone());
        }
    }

    /// Halves the step and returns to the best point where the last `period` steps gained nothing.
    fn judge(&mut self, period: usize) {
        let stuck = self.seen.0 == self.step && self.seen.1 >= self.top_height;
        self.seen = (self.step, self.top_height);
        if (self.rises as f64) < 0.75 * period as f64 || stuck {
            self.step /= 2.0;
            self.height = self.top_height;
            (self.x, self.gradient) = (self.top.clone(), self.top_gradient.clone());
            self.before = self.x.clone();
        }
        self.rises = 0;
    }

    fn advance(&mut self, lower: &[f32], upper: &[f32], first: bool) {
        let (step, keep) = (self.step as f32, if first { 1.0 } else { 0.75 });
        let from = self.x.clone();
        for (i, x) in self.x.iter_mut().enumerate() {
            let g = self.gradient[i];
            let sign = f32::from(g > 0.0) - f32::from(g < 0.0);
            let there = (from[i] + step * sign).clamp(lower[i], upper[i]);
            let moved = from[i] + keep * (there - from[i]) + (1.0 - keep) * (from[i] - self.before[i]);
            *x = moved.clamp(lower[i], upper[i]);
        }
        self.before = from;
    }
}

/// Logits `[N, K]` of images, the height of each in what is climbed, and its gradient for the pixels: the logit of the goal (of the
/// largest other class, where there is none) less that of the label, over the spread of the logits if `over_spread`.
fn climbed(
    target: &Target,
    pixels: &[f32],
    labels: &[u32],
    goals: Option<&[u32]>,
    over_spread: bool,
) -> (Vec<f32>, Vec<f64>, Vec<f32>) {
    let x = target.images(pixels, labels.len()).autodiff().require_grad();
    let logits = target.logits(x.clone());
    let values = floats(logits.clone());
    let classes = target.net.config.classes;
    // The classes of every row from the largest logit down.
    let order: Vec<Vec<u32>> = values
        .chunks(classes)
        .map(|row| {
            let mut order: Vec<u32> = (0..classes as u32).collect();
            order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            order
        })
        .collect();
    let ranked = |rank: usize| order.iter().map(|order| order[rank]).collect::<Vec<u32>>();
    let goals = goals.map_or_else(
        || order.iter().zip(labels).map(|(order, label)| order[usize::from(order[0] == *label)]).collect::<Vec<u32>>(),
        <[u32]>::to_vec,
    );
    let pick = |classes: &[u32]| one_a_row(logits.clone(), classes);
    let mut height: Tensor<1> = pick(&goals) - pick(labels);
    if over_spread && classes >= 4 {
        let spread = pick(&ranked(0)) - (pick(&ranked(2)) + pick(&ranked(3))) * 0.5;
        height = height / (spread + 1e-12);
    }
    let heights = floats(height.clone()).into_iter().map(f64::from).collect();
    let mut tape = height.sum().backward();
    let gradient = x.grad_remove(&mut tape).expect("the logits depend on the image");
    (values, heights, floats(gradient))
}
