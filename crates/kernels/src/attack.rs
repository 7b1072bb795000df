//! What an attack on images does beside passes of the network: margins and what it climbs, from the logits; steps along the sign of a
//! gradient, squares, rows that are kept.
//!
//! Images are rows, `[images, pixels]`. Sums and products are rounded one by one, never fused: an attack takes the same way with every
//! instruction set.

use crate::arch::dispatch;
use crate::output::{self, make_output};
use rayon::prelude::*;

/// Numbers that a task works on, or a row where that is longer.
const CHUNK: usize = 1 << 13;

/// `[2, images]`: the margin `z_y - max z_j` of every row of `logits[images, classes]`, NaN where a logit is not finite, then its
/// class: the label where the margin is above 0, the largest other one where it is not.
///
/// # Panics
/// If the rows are not as many as the labels, or a label is not among at least two classes; so does every function of logits here.
pub fn margins(logits: &[f32], labels: &[u32]) -> Vec<f32> {
    let images = labels.len();
    make_output(2 * images, |out| {
        let (margins, classes) = out.split_at_mut(images);
        for ((row, &label), (margin, class)) in rows(logits, labels).zip(margins.iter_mut().zip(classes)) {
            let rival = rival(row, label as usize);
            let difference = row[label as usize] - row[rival];
            let finite = row.iter().all(|logit| logit.is_finite());
            margin.write(if finite { difference } else { f32::NAN });
            class.write(if difference > 0.0 { label as f32 } else { rival as f32 });
        }
        // SAFETY: there is a row for every label, and each wrote its number in both halves.
        unsafe { out.assume_init_mut() }
    })
}

/// The gradient of the logits for the gradient `g[images]` of the margins.
///
/// # Panics
/// As [`margins`].
pub fn margins_backward(g: &[f32], logits: &[f32], labels: &[u32]) -> Vec<f32> {
    make_output(logits.len(), |out| {
        let out = output::fill(out, 0.0);
        let gradients = out.chunks_exact_mut(logits.len() / labels.len().max(1)).zip(g);
        for ((row, &label), (out, &g)) in rows(logits, labels).zip(gradients) {
            out[label as usize] += g;
            out[rival(row, label as usize)] -= g;
        }
        out
    })
}

/// What is climbed at every image.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// The class of each.
    pub labels: &'a [u32],
    /// The class that each is to get; where there are none, the largest other one.
    pub goals: Option<&'a [u32]>,
    /// The difference of logits over the largest less the mean of third and fourth, where there are four classes.
    pub over_spread: bool,
}

/// How high every image is: the logit of its goal less that of its label, over the spread of the logits if that is asked for.
///
/// # Panics
/// As [`margins`].
pub fn heights(logits: &[f32], aim: Aim) -> Vec<f32> {
    aim.parts(logits).map(|part| part.spread.map_or(part.rise, |(spread, _)| part.rise / spread)).collect()
}

/// The gradient of the logits for the gradient `g[images]` of the heights.
///
/// # Panics
/// As [`margins`].
pub fn heights_backward(g: &[f32], logits: &[f32], aim: Aim) -> Vec<f32> {
    make_output(logits.len(), |out| {
        let out = output::fill(out, 0.0);
        let gradients = out.chunks_exact_mut(logits.len() / aim.labels.len().max(1)).zip(g);
        for (part, (out, &g)) in aim.parts(logits).zip(gradients) {
            let Part { label, goal, rise, spread } = part;
            let for_rise = spread.map_or(g, |(spread, _)| g * (1.0 / spread));
            out[goal] += for_rise;
            out[label] -= for_rise;
            if let Some((spread, [first, third, fourth])) = spread {
                let for_spread = g * (-rise / (spread * spread));
                out[first] += for_spread;
                out[third] -= for_spread * 0.5;
                out[fourth] -= for_spread * 0.5;
            }
        }
        out
    })
}

/// The height of one image.
struct Part {
    label: usize,
    goal: usize,
    rise: f32,
    /// The spread, and the classes that it is made of.
    spread: Option<(f32, [usize; 3])>,
}

impl<'a> Aim<'a> {
    fn parts(self, logits: &'a [f32]) -> impl Iterator<Item = Part> {
        rows(logits, self.labels).enumerate().map(move |(image, (row, &label))| {
            let (label, [first, second, third, fourth]) = (label as usize, largest(row));
            let other = if first == label { second } else { first };
            let goal = self.goals.map_or(other, |goals| goals[image] as usize);
            let spread = (self.over_spread && row.len() >= 4).then(|| {
                let spread = row[first] - (row[third] + row[fourth]) * 0.5;
                (spread + 1e-12, [first, third, fourth])
            });
            Part { label, goal, rise: row[goal] - row[label], spread }
        })
    }
}

fn rows<'a>(logits: &'a [f32], labels: &'a [u32]) -> impl Iterator<Item = (&'a [f32], &'a u32)> {
    let classes = logits.len() / labels.len().max(1);
    assert!(labels.is_empty() || (classes > 1 && logits.len().is_multiple_of(labels.len())), "attack: logits");
    logits.chunks_exact(classes.max(1)).zip(labels)
}

/// The class with the largest logit but the label's, the first of several.
fn rival(row: &[f32], label: usize) -> usize {
    let others = (0..row.len()).filter(|class| *class != label);
    others.reduce(|a, b| if row[b] > row[a] { b } else { a }).expect("two classes")
}

/// The classes of the four largest logits, from the largest down; of equal ones, the first comes first.
fn largest(row: &[f32]) -> [usize; 4] {
    const NONE: usize = usize::MAX;
    let mut top = [NONE; 4];
    for (class, logit) in row.iter().enumerate() {
        let below = |other: &usize| *other == NONE || logit.total_cmp(&row[*other]).is_gt();
        if let Some(place) = top.iter().position(below) {
            top[place..].rotate_right(1);
            top[place] = class;
        }
    }
    top
}

/// Moves `x` by `step` along the sign of the gradient, and back into the box. The sign of 0 is 0, and so is that of a NaN, which the margin
/// of its image has told.
///
/// # Panics
/// If lengths differ; so does every function of images here.
pub fn step(x: &mut [f32], gradient: &[f32], [lower, upper]: [&[f32]; 2], step: f32) {
    assert!([gradient, lower, upper].iter().all(|other| other.len() == x.len()), "attack: lengths");
    let chunks = x.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
    chunks.zip(lower.par_chunks(CHUNK).zip(upper.par_chunks(CHUNK))).for_each(|((x, gradient), (lower, upper))| {
        dispatch(
            #[inline(always)]
            |_| {
                for (((x, &g), &lower), &upper) in x.iter_mut().zip(gradient).zip(lower).zip(upper) {
                    *x = within(*x + step * sign(g), lower, upper);
                }
            },
        );
    });
}

/// A step of AutoPGD (Croce and Hein 2020) of every image from `x`, where it came to from `before`: by its own length of `steps` along
/// the sign of the gradient, of which a share `keep` is gone, and the rest as before. `before` becomes where it is then.
///
/// # Panics
/// As [`step`].
pub fn climb(before: &mut [f32], x: &[f32], gradient: &[f32], [lower, upper]: [&[f32]; 2], steps: &[f32], keep: f32) {
    let width = x.len() / steps.len().max(1);
    assert!(steps.len() * width == x.len(), "attack: steps");
    assert!([before, gradient, lower, upper].iter().all(|other| other.len() == x.len()), "attack: lengths");
    if width == 0 {
        return;
    }
    let images = before.par_chunks_mut(width).zip(x.par_chunks(width)).zip(gradient.par_chunks(width));
    let ends = lower.par_chunks(width).zip(upper.par_chunks(width));
    images.zip(ends.zip(steps)).with_min_len(CHUNK.div_ceil(width)).for_each(
        |(((before, x), gradient), ((lower, upper), &step))| {
            dispatch(
                #[inline(always)]
                |_| {
                    let ends = lower.iter().zip(upper);
                    for (((before, &x), &g), (&lower, &upper)) in before.iter_mut().zip(x).zip(gradient).zip(ends) {
                        let there = within(x + step * sign(g), lower, upper);
                        let moved = x + keep * (there - x) + (1.0 - keep) * (x - *before);
                        *before = within(moved, lower, upper);
                    }
                },
            );
        },
    );
}

/// Changes a square of every image of `x[images, channels, height, width]`: to its lower ends in some channels, to the upper ones in the
/// others. `draws[images, 2 + channels]` from 0 to 1 say where it is, and below 0.5 that a channel gets its lower ends.
///
/// # Panics
/// As [`step`], and if a side is longer than an image.
pub fn square(x: &mut [f32], [lower, upper]: [&[f32]; 2], draws: &[f32], side: usize, [c, h, w]: [usize; 3]) {
    assert!(side <= h.min(w) && lower.len() == x.len() && upper.len() == x.len(), "attack: lengths");
    assert!(draws.len() * c * h * w == x.len() * (2 + c), "attack: draws");
    for (image, draws) in draws.chunks_exact(2 + c).enumerate() {
        let at = |draw: f32, size: usize| ((draw * (size - side + 1) as f32) as usize).min(size - side);
        let (top, left) = (at(draws[0], h), at(draws[1], w));
        for (channel, draw) in draws[2..].iter().enumerate() {
            let ends = if *draw < 0.5 { lower } else { upper };
            for row in top..top + side {
                let begin = ((image * c + channel) * h + row) * w + left;
                x[begin..begin + side].copy_from_slice(&ends[begin..begin + side]);
            }
        }
    }
}

/// Replaces the rows of `to` whose number in `which` is not 0 by those of `from`.
///
/// # Panics
/// As [`step`].
pub fn replace(to: &mut [f32], from: &[f32], which: &[u8]) {
    let width = to.len() / which.len().max(1);
    assert!(to.len() == from.len() && which.len() * width == to.len(), "attack: rows");
    for (row, _) in which.iter().enumerate().filter(|(_, which)| **which != 0) {
        let part = row * width..(row + 1) * width;
        to[part.clone()].copy_from_slice(&from[part]);
    }
}

#[inline(always)]
fn sign(g: f32) -> f32 {
    f32::from(g > 0.0) - f32::from(g < 0.0)
}

/// Comparisons that keep a NaN.
#[inline(always)]
fn within(x: f32, lower: f32, upper: f32) -> f32 {
    let x = if x < lower { lower } else { x };
    if x > upper { upper } else { x }
}
