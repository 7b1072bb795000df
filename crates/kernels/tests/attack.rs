//! What an attack does beside passes of the network: equal logits, numbers that are not finite, gradients, and any number of threads.
mod common;
use common::*;
use temper_kernels::attack::{self, Aim};
use temper_kernels::boxes;

#[test]
fn equal_logits_and_not_a_number() {
    let logits = [[2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [0.0, f32::NAN, 1.0], [0.0, f32::NEG_INFINITY, 1.0]].concat();
    let seen = attack::margins(&logits, &[0, 0, 2, 0]);
    assert_eq!(seen[..2], [0.0, -2.0]);
    assert!(seen[2].is_nan() && seen[3].is_nan());
    // Of equal rivals the first; at a margin of 0, the rival.
    assert_eq!(seen[4..6], [1.0, 1.0]);
    let aim = Aim { labels: &[0, 1, 0, 0], goals: None, over_spread: false };
    let gradient = attack::heights_backward(&[1.0, 1.0, 0.0, 0.0], &logits, aim);
    assert_eq!(gradient[..6], [-1.0, 1.0, 0.0, 0.0, -1.0, 1.0]);
}

/// Against differences of heights in double precision.
#[test]
fn gradients_of_heights() {
    let (images, classes) = (6, 5);
    let (logits, g) = (numbers(1, images * classes), numbers(2, images));
    let (labels, goals) = (indices(3, images, 2), [2, 3, 4, 2, 3, 4]);
    for aim in [(None, true), (Some(goals.as_slice()), true), (Some(&goals), false)] {
        let aim = Aim { labels: &labels, goals: aim.0, over_spread: aim.1 };
        let height = |image: usize, row: &[f64]| {
            let label = labels[image] as usize;
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let goal = aim.goals.map_or(order[usize::from(order[0] == label)], |goals| goals[image] as usize);
            let spread = row[order[0]] - 0.5 * (row[order[2]] + row[order[3]]);
            (row[goal] - row[label]) / if aim.over_spread { spread } else { 1.0 }
        };
        let rows: Vec<Vec<f64>> = logits.chunks(classes).map(wide).collect();
        let heights: Vec<f64> = rows.iter().enumerate().map(|(image, row)| height(image, row)).collect();
        close("heights", &attack::heights(&logits, aim), &heights, 1e-6);
        let mut slopes = Vec::new();
        for (image, row) in rows.iter().enumerate() {
            for class in 0..classes {
                let at = |by: f64| {
                    let mut row = row.clone();
                    row[class] += by;
                    height(image, &row)
                };
                slopes.push(f64::from(g[image]) * (at(1e-7) - at(-1e-7)) / 2e-7);
            }
        }
        close("gradient", &attack::heights_backward(&g, &logits, aim), &slopes, 1e-5);
    }
}

#[test]
fn threads_do_not_matter() {
    let (images, width) = (30, 3 * 31 * 17);
    same_for_all_pools("attack", || {
        let all = |seed: u64, by: f32| numbers(seed, images * width).iter().map(|v| 0.2 * v + by).collect::<Vec<_>>();
        let (mut x, mut before, lower, upper) = (all(1, 0.0), all(2, 0.0), all(3, -0.1), all(4, 0.1));
        let (gradient, ends) = (all(5, 0.0), [lower.as_slice(), upper.as_slice()]);
        attack::climb(&mut before, &x, &gradient, ends, &numbers(6, images), 0.75);
        attack::step(&mut x, &gradient, ends, 0.1);
        let eps: Vec<f64> = (0..images).map(|image| 0.01 * image as f64).collect();
        let (mean, std) = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]);
        vec![boxes::clean(&x, images, &mean, &std), boxes::boxes(&x, &eps, &mean, &std), x, before]
    });
}
