//! Bounds against networks small enough to be known by hand, against points, against each other and against finite differences.

#![allow(clippy::needless_range_loop)]

#[path = "common/random.rs"]
mod random;

use random::{Growing, Random, dense};
use temper_graph::computation::{Number, Order};
use temper_graph::{Affine, Computation, Operation, Window};
use temper_verify::cascade::Arithmetic::{self, Float32, Real as Plain, Sound};
use temper_verify::engine::*;

fn window(
    input: &[usize],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
) -> Window {
    Window { input: [input[0], input[1], input[2]], kernel, stride, padding, dilation }
}

/// A network of every operation: a scale, convolutions of all kinds, a residual block, a pool, a gather, dense layers.
fn network(seed: u64) -> Computation {
    let random = &mut Random(seed);
    let mut net = Growing { input: vec![2, 6 + random.below(2), 7], nodes: Vec::new() };
    let n = net.shape().iter().product::<usize>();
    let shape = net.shape();
    net.then(Operation::Scale(Affine::exact(random.numbers(n, 1.5), random.numbers(n, 0.1))), shape);
    let shape = net.shape();
    net.conv(random, 4, 1, window(&shape, [3, 3], [1, 1], [1; 4], [1, 1]));
    let block = net.relu();
    let shape = net.shape();
    net.conv(random, 4, 2, window(&shape, [2, 3], [1, 1], [1, 1, 0, 1], [1, 1]));
    net.relu();
    net.conv(random, 4, 1, window(&shape, [3, 3], [1, 1], [2, 2, 2, 2], [2, 2]));
    let end = net.nodes.len();
    net.push(Operation::Add, vec![end, block], shape.clone());
    net.relu();
    if random.below(2) == 0 {
        let pool = window(&shape, [2, 3], [2, 2], [0, 1, 1, 0], [1, 1]);
        let [rows, columns] = pool.output().unwrap();
        net.then(Operation::MaxPool(pool), vec![4, rows, columns]);
    }
    let shape = net.shape();
    net.conv(random, 3, 1, window(&shape, [3, 2], [2, 2], [1, 0, 0, 1], [1, 1]));
    net.relu();
    let n = net.shape().iter().product::<usize>();
    let from: Vec<Option<u32>> = (0..n + 2).map(|i| (i % 7 != 3).then_some(((i * 5) % n) as u32)).collect();
    let fill = random.numbers(n + 2, 0.5);
    net.then(Operation::Gather { from, fill }, vec![n + 2]);
    net.dense(random, 8);
    net.relu();
    net.dense(random, 3);
    net.done()
}

fn input(net: &Computation, seed: u64, radius: f64) -> Ends<f64> {
    let random = &mut Random(seed ^ 0xabcd);
    let centre = random.numbers(net.inputs(), 1.0);
    let radii: Vec<f64> =
        (0..net.inputs()).map(|_| f64::from((radius * (0.5 + 0.5 * random.number().abs())) as f32)).collect();
    let ends = |sign: f64| centre.iter().zip(&radii).map(|(c, r)| f64::from((c + sign * r) as f32)).collect();
    Ends { lower: ends(-1.0), upper: ends(1.0) }
}

/// A point of the box: a corner, or anything, in single floats.
fn point(random: &mut Random, ends: &Ends<f64>) -> Vec<f64> {
    let corners = random.below(2) == 0;
    let one = |(l, u): (&f64, &f64)| {
        let t = random.number() * 0.5 + 0.5;
        let t = if corners { t.round() } else { t };
        f64::from((l + t * (u - l)) as f32).clamp(*l, *u)
    };
    ends.lower.iter().zip(&ends.upper).map(one).collect()
}

fn never() -> impl Fn() -> bool + Sync {
    || false
}

fn identity(n: usize) -> Vec<(u32, bool)> {
    (0..n as u32).flat_map(|i| [(i, false), (i, true)]).collect()
}

fn values<T: Number + Into<f64>>(net: &Computation, x: &[f64], order: Order) -> Vec<Vec<f64>> {
    let x: Vec<T> = x.iter().map(|x| T::nearest(*x)).collect();
    net.values(&x, order).into_iter().map(|value| value.into_iter().map(Into::into).collect()).collect()
}

fn holds(ends: &Ends<f64>, value: &[f64], slack: f64, what: &str) {
    for (i, x) in value.iter().enumerate() {
        let (l, u) = (ends.lower[i], ends.upper[i]);
        assert!(l - slack <= *x && *x <= u + slack, "{what}: {x} of number {i} is outside [{l}, {u}]");
    }
}

const ONE_RELU: [f64; 2] = [1.0, 1.0];

/// `relu(x0 + x1)` over a box where the sum lies in [l, u].
fn one_relu(l: f64, u: f64) -> (Computation, Ends<f64>) {
    let mut net = Growing { input: vec![2], nodes: Vec::new() };
    net.then(Operation::Dense(Affine::exact(ONE_RELU.to_vec(), vec![0.0])), vec![1]);
    net.relu();
    net.then(Operation::Scale(Affine::exact(vec![1.0], vec![0.0])), vec![1]);
    (net.done(), Ends { lower: vec![l / 2.0; 2], upper: vec![u / 2.0; 2] })
}

#[test]
fn one_relu_by_hand() {
    let check = |l: f64, u: f64, rule: Lower, lower: f64, upper: f64| {
        let (net, ends) = one_relu(l, u);
        let net = Prepared::<f64>::new(&net);
        let bounds = interval(&net, ends, Plain);
        let rows = [(0, false), (0, true)];
        let job = Job { lower: rule, ..Job::new(&bounds, 3, Rows::Units(&rows)) };
        let bound = &backward(&net, &[job], Keep::default())[0].bound;
        assert_eq!((bound[0], -bound[1]), (lower, upper), "[{l}, {u}] by {rule:?}");
    };
    // Below: slope 0, 1 or s; above: the line through (l, 0) and (u, u).
    check(-1.0, 3.0, Lower::Adaptive, -1.0, 3.0);
    check(-3.0, 1.0, Lower::Adaptive, 0.0, 1.0);
    check(-1.0, 3.0, Lower::Zero, 0.0, 3.0);
    check(-1.0, 3.0, Lower::One, -1.0, 3.0);
    check(-1.0, 3.0, Lower::Same, -0.75, 3.0);
    // A tie gives 0; an end at 0 is no relaxation.
    check(-2.0, 2.0, Lower::Adaptive, 0.0, 2.0);
    check(0.0, 2.0, Lower::Zero, 0.0, 2.0);
    check(-2.0, 0.0, Lower::One, 0.0, 0.0);
    check(1.5, 1.5, Lower::Zero, 1.5, 1.5);
    check(0.0, 0.0, Lower::One, 0.0, 0.0);
}

#[test]
fn two_layers_by_hand() {
    // z = (x0 + x1, x0 - x1) over [-1, 1]^2, y = relu(z0) - 2 relu(z1) + 1.
    let mut net = Growing { input: vec![2], nodes: Vec::new() };
    net.then(Operation::Dense(Affine::exact(vec![1.0, 1.0, 1.0, -1.0], vec![0.0, 0.0])), vec![2]);
    net.relu();
    net.then(Operation::Dense(Affine::exact(vec![1.0, -2.0], vec![1.0])), vec![1]);
    let net = Prepared::<f64>::new(&net.done());
    let ends = Ends { lower: vec![-1.0; 2], upper: vec![1.0; 2] };
    let bounds = interval(&net, ends, Plain);
    assert_eq!((bounds.ends(3).lower[0], bounds.ends(3).upper[0]), (-3.0, 3.0));
    let rows = [(0, false)];
    let keep = Keep { line: true, lambda: true };
    let job = Job::new(&bounds, 3, Rows::Units(&rows));
    let pushed = &backward(&net, std::slice::from_ref(&job), keep)[0];
    // relu(z0) >= 0 z0 by the tie, relu(z1) <= z1 / 2 + 1: y >= -(x0 - x1) - 2 + 1.
    assert_eq!((pushed.line.as_slice(), pushed.constant[0], pushed.bound[0]), (&[-1.0, 1.0][..], -1.0, -3.0));
    assert_eq!(pushed.lambda[1], [1.0, -2.0]);
    // With slope 1 below: y >= x0 + x1 - x0 + x1 - 1 = 2 x1 - 1.
    let pushed = &backward(&net, &[Job { lower: Lower::One, ..job }], keep)[0];
    assert_eq!((pushed.line.as_slice(), pushed.bound[0]), (&[0.0, 2.0][..], -3.0));
}

#[test]
fn points_lie_inside_at_every_node() {
    let mut gain = 0.0;
    for seed in 0..16 {
        let computation = network(seed);
        let ends = input(&computation, seed, 0.15);
        let net = Prepared::<f64>::new(&computation);
        let random = &mut Random(seed ^ 77);
        for claim in [Plain, Sound, Float32] {
            let ibp = interval(&net, ends.clone(), claim);
            let tight = intermediate(&net, ends.clone(), claim, Some(&ibp), &never());
            let forms = zonotope(&net, ibp.clone());
            let rows = identity(net.outputs());
            let job = Job::new(&tight, net.output(), Rows::Units(&rows));
            let bound = &backward(&net, &[job], Keep::default())[0].bound;
            let slack = if claim == Plain { 1e-9 } else { 0.0 };
            for _ in 0..30 {
                let x = point(random, &ends);
                let mut all = vec![values::<f64>(&computation, &x, Order::Forward)];
                if claim == Float32 {
                    all =
                        [Order::Forward, Order::Backward].map(|order| values::<f32>(&computation, &x, order)).to_vec();
                }
                for values in all {
                    for (value, numbers) in values.iter().enumerate() {
                        holds(ibp.ends(value), numbers, slack, &format!("{claim:?} interval {seed} value {value}"));
                        holds(tight.ends(value), numbers, slack, &format!("{claim:?} linear {seed} value {value}"));
                        holds(forms.ends(value), numbers, slack, &format!("{claim:?} forms {seed} value {value}"));
                    }
                    for (i, y) in values[net.output()].iter().enumerate() {
                        assert!(bound[2 * i] <= y + slack && *y <= slack - bound[2 * i + 1], "{claim:?} output {i}");
                    }
                }
            }
            for value in 0..=net.output() {
                let (a, b) = (ibp.ends(value), tight.ends(value));
                let inside = (0..net.len(value)).all(|i| a.lower[i] <= b.lower[i] && b.upper[i] <= a.upper[i]);
                assert!(inside, "{claim:?} value {value}: looser than intervals");
            }
            let widths = |bounds: &Bounds<f64>| -> f64 {
                let ends = bounds.ends(net.output());
                ends.upper.iter().zip(&ends.lower).map(|(u, l)| u - l).sum()
            };
            assert!(widths(&forms) <= widths(&ibp));
            gain += 1.0 - widths(&forms) / widths(&ibp);
        }
    }
    assert!(gain > 4.0, "forms gain {gain}");
}

#[test]
fn bounds_are_renewed_behind_a_split_as_everywhere() {
    for seed in 0..12 {
        let computation = network(seed);
        let net = Prepared::<f64>::new(&computation);
        let ends = input(&computation, seed, 0.15);
        let whole = intermediate(&net, ends.clone(), Sound, None, &never());
        for value in net.relus().map(|node| net.reads(node)) {
            let Some(neuron) = whole.ends(value).unstable().next() else { continue };
            for active in [true, false] {
                let half = whole.split(value, neuron, active);
                let all = tightened(&net, ends.clone(), Sound, Some(&half), &[], &never());
                assert_eq!(renewed(&net, &half, value, &[], &never()), all, "seed {seed} value {value}");
            }
        }
    }
}

#[test]
fn claims_are_ordered_and_close() {
    for seed in 0..20 {
        let net = Prepared::<f64>::new(&network(seed));
        let ends = input(&network(seed), seed, 0.1);
        let rows = identity(net.outputs());
        let bound = |claim: Arithmetic| {
            let bounds = intermediate(&net, ends.clone(), claim, None, &never());
            backward(&net, &[Job::new(&bounds, net.output(), Rows::Units(&rows))], Keep::default())[0].bound.clone()
        };
        let [plain, sound, float] = [Plain, Sound, Float32].map(bound);
        for i in 0..plain.len() {
            assert!(sound[i] <= plain[i] + 1e-12 && plain[i] - sound[i] < 1e-10, "{} {}", plain[i], sound[i]);
            assert!(float[i] < sound[i] && sound[i] - float[i] < 1e-3, "{} {}", sound[i], float[i]);
        }
    }
}

#[test]
fn single_and_double_agree() {
    for seed in 0..20 {
        let computation = network(seed);
        let (single, double) = (Prepared::<f32>::new(&computation), Prepared::<f64>::new(&computation));
        let ends = input(&computation, seed, 0.1);
        let a = intermediate(&single, ends.to::<f32>(), Plain, None, &never());
        let b = intermediate(&double, ends, Plain, None, &never());
        for value in 0..=double.output() {
            for i in 0..double.len(value) {
                assert!((f64::from(a.ends(value).lower[i]) - b.ends(value).lower[i]).abs() < 1e-4);
                assert!((f64::from(a.ends(value).upper[i]) - b.ends(value).upper[i]).abs() < 1e-4);
            }
        }
    }
}

/// The best bound of every output that a gradient method would see.
fn bounds_of(net: &Prepared<f64>, job: &Job<'_, f64>) -> Vec<f64> {
    backward(net, std::slice::from_ref(job), Keep::default())[0].bound.clone()
}

/// A job with random slopes and multipliers, and splits of its first unstable neurons.
fn prepared_job(net: &Prepared<f64>, ends: Ends<f64>, seed: u64) -> (Bounds<f64>, Alpha<f64>, Beta<f64>, Vec<f64>) {
    let random = &mut Random(seed ^ 0x55);
    let mut bounds = interval(net, ends, Plain);
    let mut splits = Vec::new();
    for node in net.relus() {
        let value = net.reads(node);
        let second = bounds.ends(value).unstable().nth(1);
        if let Some(neuron) = second {
            let active = random.below(2) == 0;
            bounds = bounds.split(value, neuron, active);
            splits.push(Split { node, neuron: neuron as u32, active });
        }
    }
    let rows = 4;
    let mut alpha = Alpha::new(net, &bounds, net.output(), rows, Lower::Adaptive);
    alpha.values.iter_mut().for_each(|a| *a = 0.5 + 0.4 * random.number());
    let mut beta = Beta::new(splits, rows);
    beta.values.iter_mut().for_each(|b| *b = 0.05 + 0.04 * random.number());
    let coefficients = random.numbers(rows * net.outputs(), 1.0);
    (bounds, alpha, beta, coefficients)
}

#[test]
fn the_forward_pass_reproduces_the_bound_and_gives_its_gradients() {
    for seed in 0..12 {
        let computation = network(seed);
        let net = Prepared::<f64>::new(&computation);
        let (bounds, alpha, beta, rows) = prepared_job(&net, input(&computation, seed, 0.1), seed);
        let job = Job { alpha: Some(&alpha), beta: Some(&beta), ..Job::new(&bounds, net.output(), Rows::Dense(&rows)) };
        let weights = [vec![1.0, -0.5, 2.0, 0.3]];
        let (pushed, gradients) = gradients(&net, std::slice::from_ref(&job), Some(&weights)).pop().unwrap();
        let n = net.outputs();
        for row in 0..4 {
            let product: f64 = (0..n).map(|i| rows[row * n + i] * gradients.output[row * n + i]).sum();
            let width = beta.splits.len();
            let splits: f64 = (0..width).map(|i| beta.values[row * width + i] * gradients.beta[row * width + i]).sum();
            let identity = product + splits;
            assert!((identity - pushed.bound[row]).abs() < 1e-10, "{identity} {}", pushed.bound[row]);
        }
        let step = 1e-6;
        let near = |found: f64, change: f64, what: &str| {
            let slope = change / step;
            assert!((found - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{what} of net {seed}: {found} and {slope}");
        };
        let mut changed = alpha.clone();
        for i in (0..alpha.values.len()).step_by(7) {
            changed.values[i] += step;
            let after = bounds_of(&net, &Job { alpha: Some(&changed), ..job.clone() });
            changed.values[i] = alpha.values[i];
            let row = i / alpha.width();
            near(gradients.alpha[i], after[row] - pushed.bound[row], "slope");
        }
        let mut changed = beta.clone();
        for i in 0..beta.values.len() {
            changed.values[i] += step;
            let after = bounds_of(&net, &Job { beta: Some(&changed), ..job.clone() });
            changed.values[i] = beta.values[i];
            let row = i / beta.splits.len();
            near(gradients.beta[i], after[row] - pushed.bound[row], "multiplier");
        }
        for node in net.relus() {
            let value = net.reads(node);
            for i in bounds.ends(value).unstable().step_by(5) {
                for side in [0, 1] {
                    let mut ends = bounds.ends(value).clone();
                    // Inwards, since bounds are intersected.
                    if side == 0 {
                        ends.lower[i] += step
                    } else {
                        ends.upper[i] -= step
                    }
                    let narrower = bounds.with(value, &ends);
                    let after = bounds_of(&net, &Job { bounds: &narrower, ..job.clone() });
                    let change: f64 = (0..4).map(|row| weights[0][row] * (after[row] - pushed.bound[row])).sum();
                    let sign = if side == 0 { 1.0 } else { -1.0 };
                    near(sign * gradients.ends[node][side][i], change, "end");
                }
            }
        }
    }
}

#[test]
fn any_slopes_and_multipliers_are_valid_and_optimised_ones_are_better() {
    let mut gains = 0;
    for seed in 0..10 {
        let computation = network(seed);
        let ends = input(&computation, seed, 0.12);
        let net = Prepared::<f64>::new(&computation);
        let (bounds, alpha, beta, rows) = prepared_job(&net, ends.clone(), seed);
        let job = Job { alpha: Some(&alpha), beta: Some(&beta), ..Job::new(&bounds, net.output(), Rows::Dense(&rows)) };
        let bound = bounds_of(&net, &job);
        let best =
            optimise(&net, std::slice::from_ref(&job), &Ascent { threshold: 1e9, ..Ascent::default() }, &never())
                .pop()
                .unwrap();
        let random = &mut Random(seed);
        // Points that meet the splits.
        let points = (0..200).map(|_| point(random, &ends)).map(|x| computation.values(&x, Order::Forward));
        let meets = |values: &Vec<Vec<f64>>| {
            beta.splits
                .iter()
                .all(|split| (values[net.reads(split.node)][split.neuron as usize] >= 0.0) == split.active)
        };
        for values in points.filter(meets) {
            for row in 0..4 {
                let y = &values[net.output()];
                let value: f64 = y.iter().zip(&rows[row * y.len()..]).map(|(y, c)| y * c).sum();
                assert!(bound[row] <= value + 1e-9 && best.bound[row] <= value + 1e-9);
            }
        }
        for row in 0..4 {
            assert!(best.bound[row] >= bound[row]);
            gains += usize::from(best.bound[row] > bound[row] + 1e-3);
        }
        // What is returned gives what it says.
        let again = bounds_of(&net, &Job { alpha: Some(&best.alpha), beta: Some(&best.beta), ..job });
        assert!(again.iter().zip(&best.bound).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    assert!(gains > 30, "only {gains} of 40 rows gained");
}

#[test]
fn slopes_of_all_layers_are_optimised() {
    let mut gains = 0.0;
    for seed in 0..8 {
        let computation = if seed % 2 == 0 { network(seed) } else { dense(seed, &[5, 12, 12, 12, 3]) };
        let ends = input(&computation, seed, 0.25);
        let net = Prepared::<f64>::new(&computation);
        let root = intermediate(&net, ends.clone(), Plain, None, &never());
        let rows = identity(net.outputs());
        let job = Job::new(&root, net.output(), Rows::Units(&rows));
        let settings = Ascent { threshold: 1e9, ..Ascent::default() };
        let margins = optimise(&net, std::slice::from_ref(&job), &settings, &never()).pop().unwrap();
        let (bounds, layers) = optimise_layers(&net, &job, &Ascent { alpha_rate: 0.25, ..settings }, &never());
        let tight = Job { bounds: &bounds, ..job.clone() };
        let best = optimise(&net, std::slice::from_ref(&tight), &settings, &never()).pop().unwrap();
        // The same again in sound arithmetic, from the slopes that were found.
        let start = intermediate(&net, ends.clone(), Sound, None, &never());
        let sound = tightened(&net, ends.clone(), Sound, Some(&start), &layers, &never());
        let again = bounds_of(&net, &Job { bounds: &sound, alpha: Some(&best.alpha), ..job.clone() });
        for row in 0..rows.len() {
            assert!(best.bound[row] >= margins.bound[row] - 1e-3, "net {seed}: {:?} {:?}", best.bound, margins.bound);
            assert!(again[row] >= best.bound[row] - 1e-2, "{} {}", again[row], best.bound[row]);
            gains += best.bound[row] - margins.bound[row];
        }
        let random = &mut Random(seed);
        for _ in 0..200 {
            let x = point(random, &ends);
            let values = computation.values(&x, Order::Forward);
            for (value, numbers) in values.iter().enumerate() {
                holds(bounds.ends(value), numbers, 1e-9, "layers");
                holds(sound.ends(value), numbers, 0.0, "sound");
            }
            for (i, y) in values[net.output()].iter().enumerate() {
                assert!(again[2 * i] <= *y && *y <= -again[2 * i + 1]);
                assert!(best.bound[2 * i] <= y + 1e-9 && *y <= 1e-9 - best.bound[2 * i + 1]);
            }
        }
    }
    assert!(gains > 0.5, "{gains}");
}

#[test]
fn rules_are_slopes() {
    let computation = network(3);
    let net = Prepared::<f64>::new(&computation);
    let bounds = interval(&net, input(&computation, 3, 0.1), Plain);
    let rows = identity(net.outputs());
    for rule in [Lower::Adaptive, Lower::Zero, Lower::One, Lower::Same] {
        let job = Job { lower: rule, ..Job::new(&bounds, net.output(), Rows::Units(&rows)) };
        let alpha = Alpha::new(&net, &bounds, net.output(), rows.len(), rule);
        assert_eq!(bounds_of(&net, &job), bounds_of(&net, &Job { alpha: Some(&alpha), ..job.clone() }), "{rule:?}");
    }
}

/// Rows of single neurons of a convolution go back in windows; the same rows with all coefficients do not.
#[test]
fn windows_give_what_whole_rows_give() {
    for seed in 0..20 {
        let computation = network(seed);
        let net = Prepared::<f64>::new(&computation);
        let (bounds, alpha, ..) = prepared_job(&net, input(&computation, seed, 0.1), seed);
        for target in net.relus().map(|node| net.reads(node)).filter(|target| *target > 3) {
            let n = net.len(target);
            let units: Vec<(u32, bool)> = (0..n as u32).step_by(3).map(|i| (i, i % 2 == 0)).collect();
            let mut dense = vec![0.0; units.len() * n];
            units.iter().enumerate().for_each(|(row, (i, negative))| {
                dense[row * n + *i as usize] = if *negative { -1.0 } else { 1.0 };
            });
            let values = (0..units.len()).flat_map(|row| alpha.row(row % 4).to_vec()).collect();
            let alpha = Alpha { values, ..alpha.clone() };
            let weights = [(0..units.len()).map(|i| 1.0 - i as f64).collect::<Vec<_>>()];
            let run = |rows| {
                let job = Job { alpha: Some(&alpha), ..Job::new(&bounds, target, rows) };
                gradients(&net, &[job], Some(&weights)).pop().unwrap()
            };
            let (a, b) = (run(Rows::Units(&units)), run(Rows::Dense(&dense)));
            let near = |a: &[f64], b: &[f64], what: &str| {
                assert_eq!(a.len(), b.len(), "{what}");
                for (a, b) in a.iter().zip(b) {
                    assert!((a - b).abs() < 1e-9, "{what} of value {target} of net {seed}: {a} and {b}");
                }
            };
            near(&a.0.line, &b.0.line, "line");
            near(&a.1.alpha, &b.1.alpha, "slopes");
            for (a, b) in a.1.ends.iter().flatten().zip(b.1.ends.iter().flatten()) {
                near(a, b, "ends");
            }
            near(&a.0.bound, &b.0.bound, "bound");
        }
    }
}

#[test]
fn jobs_do_not_touch_each_other() {
    let computation = network(5);
    let net = Prepared::<f32>::new(&computation);
    let inputs: Vec<Ends<f32>> = (0..5).map(|i| input(&computation, i, 0.1).to()).collect();
    let one = |ends: &Ends<f32>| intermediate(&net, ends.clone(), Plain, None, &never());
    let alone: Vec<Bounds<f32>> = inputs.iter().map(one).collect();
    let together = intermediates(&net, inputs.iter().cloned().map(Region::new).collect(), Plain, None, &never());
    for (a, b) in alone.iter().zip(&together) {
        for value in 0..=net.output() {
            assert_eq!(a.ends(value), b.ends(value), "value {value}");
        }
    }
    let rows = identity(net.outputs());
    let jobs: Vec<Job<'_, f32>> = alone.iter().map(|b| Job::new(b, net.output(), Rows::Units(&rows))).collect();
    let pushed = backward(&net, &jobs, Keep { line: true, lambda: true });
    for (job, pushed) in jobs.iter().zip(&pushed) {
        assert_eq!(&backward(&net, std::slice::from_ref(job), Keep { line: true, lambda: true })[0], pushed);
    }
}

/// With splits in a tile, multipliers come between a ReLU and the bias below: no other row may see that.
#[test]
fn splits_do_not_touch_other_rows() {
    for seed in 0..6 {
        let computation = network(seed);
        let net = Prepared::<f32>::new(&computation);
        let bounds = intermediate(&net, input(&computation, seed, 0.1).to::<f32>(), Plain, None, &never());
        let rows = identity(net.outputs());
        let plain = Job::new(&bounds, net.output(), Rows::Units(&rows));
        let alone = backward(&net, std::slice::from_ref(&plain), Keep::default());
        for node in net.relus() {
            let Some(neuron) = bounds.ends(net.reads(node)).unstable().next() else { continue };
            let split = Split { node, neuron: neuron as u32, active: seed % 2 == 0 };
            let beta = Beta { values: vec![0.5; rows.len()], ..Beta::new(vec![split], rows.len()) };
            let narrowed = bounds.split(net.reads(node), neuron, split.active);
            let other = Job { bounds: &narrowed, beta: Some(&beta), ..plain.clone() };
            let together = backward(&net, &[plain.clone(), other.clone()], Keep::default());
            assert_eq!(together[0], alone[0], "node {node} of net {seed}");
            assert_eq!(together[1], backward(&net, &[other], Keep::default())[0], "node {node} of net {seed}");
        }
    }
}

/// Many inputs are bounded together, the ReLU with the layer before it where nothing else reads that.
#[test]
fn inputs_that_are_bounded_together_do_not_touch_each_other() {
    fn check<T: Real>(claim: Arithmetic) {
        for seed in 0..4 {
            let computation = network(seed);
            let net = Prepared::<T>::new(&computation);
            let region = |i: u64| Region::new(input(&computation, 100 * seed + i, 0.2).to::<T>());
            let regions: Vec<Region<T>> = (0..37).map(region).collect();
            let together = intervals(&net, regions.clone(), claim);
            let outputs = output_intervals(&net, regions.clone(), claim);
            for ((region, together), output) in regions.into_iter().zip(&together).zip(&outputs) {
                assert_eq!(together.ends(net.output()), output);
                assert_eq!(&interval(&net, region, claim), together);
            }
        }
    }
    check::<f32>(Plain);
    for claim in [Plain, Sound, Float32] {
        check::<f64>(claim);
    }
}

#[test]
fn threads_do_not_matter() {
    let computation = network(8);
    let ends = input(&computation, 8, 0.1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let net = Prepared::<f32>::new(&computation);
            let bounds = intermediate(&net, ends.to::<f32>(), Plain, None, &never());
            let rows = identity(net.outputs());
            let job = Job::new(&bounds, net.output(), Rows::Units(&rows));
            optimise(&net, &[job], &Ascent { threshold: 1e9, ..Ascent::default() }, &never()).pop().unwrap()
        })
    };
    let one = run(1);
    assert!([2, 3].iter().all(|threads| run(*threads) == one));
}

#[test]
fn a_ball_is_bounded_by_the_euclidean_norm() {
    for seed in 0..10 {
        let computation = dense(seed, &[6, 10, 10, 3]);
        let net = Prepared::<f64>::new(&computation);
        let random = &mut Random(seed);
        let centre = random.numbers(6, 1.0);
        let region = Region::ball(centre.clone(), 0.3);
        for claim in [Plain, Sound] {
            let bounds = intermediate(&net, region.clone(), claim, None, &never());
            let boxed = intermediate(&net, region.ends.clone(), claim, None, &never());
            let rows = identity(3);
            let bound = bounds_of(&net, &Job::new(&bounds, net.output(), Rows::Units(&rows)));
            let looser = bounds_of(&net, &Job::new(&boxed, net.output(), Rows::Units(&rows)));
            for _ in 0..200 {
                let step = random.numbers(6, 1.0);
                let norm = step.iter().map(|s| s * s).sum::<f64>().sqrt();
                let x: Vec<f64> = centre.iter().zip(&step).map(|(c, s)| c + 0.2999 * s / norm).collect();
                let y = computation.evaluate(&x, Order::Forward);
                assert!((0..3).all(|i| bound[2 * i] <= y[i] && y[i] <= -bound[2 * i + 1]));
            }
            assert!((0..6).all(|i| bound[i] > looser[i]));
        }
    }
}

/// Big weights that cancel: the margin is 1e-4 whatever the input, and single precision gets it wrong.
#[test]
fn a_network_built_to_fool_single_precision() {
    let mut net = Growing { input: vec![1], nodes: Vec::new() };
    let small = f64::from(1e-4f32);
    net.then(Operation::Dense(Affine::exact(vec![10_000.0, 10_000.0], vec![small, 0.0])), vec![2]);
    let net = Prepared::<f64>::new(&net.done());
    let ends = Ends { lower: vec![0.25], upper: vec![0.75] };
    let bound = |claim| {
        let bounds = interval(&net, ends.clone(), claim);
        bounds_of(&net, &Job::new(&bounds, net.output(), Rows::Dense(&[1.0, -1.0])))[0]
    };
    assert!(bound(Plain) > 0.0 && bound(Sound) > 0.0 && bound(Float32) < 0.0);
}

/// A sum of 32,768 positive terms, which single precision gets wrong by almost 1e-3 of it.
#[test]
fn a_long_sum_in_single_precision() {
    let n = 32_768;
    let weights = vec![f64::from(0.1f32); n];
    let mut net = Growing { input: vec![n], nodes: Vec::new() };
    net.then(Operation::Dense(Affine::exact(weights, vec![0.0])), vec![1]);
    let computation = net.done();
    let net = Prepared::<f64>::new(&computation);
    let x = vec![f64::from(0.7f32); n];
    let ends = Ends { lower: x.clone(), upper: x.clone() };
    let bounds = interval(&net, ends, Float32);
    let bound = bounds_of(&net, &Job::new(&bounds, 1, Rows::Units(&identity(1))));
    let exact = computation.evaluate(&x, Order::Forward)[0];
    for order in [Order::Forward, Order::Backward] {
        let y = values::<f32>(&computation, &x, order)[1][0];
        assert!((y - exact).abs() > 1e-5 * exact, "the sum is exact");
        assert!(bound[0] <= y && y <= -bound[1] && bounds.ends(1).lower[0] <= y && y <= bounds.ends(1).upper[0]);
    }
}

/// A sum of two ReLUs that are never positive has no coefficients below, but its interval, rounded outwards, has both signs.
#[test]
fn a_relu_may_read_a_sum_of_nothing() {
    let mut net = Growing { input: vec![1], nodes: Vec::new() };
    net.then(Operation::Dense(Affine::exact(vec![1.0, 1.0], vec![-9.0, 2.0])), vec![2]);
    let one = net.relu();
    net.push(Operation::Add, vec![one, one], vec![2]);
    net.relu();
    let computation = net.done();
    let net = Prepared::<f64>::new(&computation);
    let bounds = interval(&net, Ends { lower: vec![-1.0], upper: vec![1.0] }, Sound);
    assert!(bounds.ends(3).is_unstable(0));
    let rows = [(0, false), (0, true), (1, false), (1, true)];
    let alpha = Alpha::new(&net, &bounds, net.output(), rows.len(), Lower::Adaptive);
    let job = Job { alpha: Some(&alpha), ..Job::new(&bounds, net.output(), Rows::Units(&rows)) };
    let (pushed, _) = gradients(&net, &[job], None).pop().unwrap();
    for (bound, exact) in pushed.bound.iter().zip([0.0, 0.0, 2.0, -6.0]) {
        assert!(*bound <= exact && *bound > exact - 1e-9, "{bound} for {exact}");
    }
}

/// What a ReLU reads is a rearranged sum, as after a transposition or a slice.
#[test]
fn a_relu_may_read_a_gather() {
    for seed in 0..8 {
        let random = &mut Random(seed);
        let mut net = Growing { input: vec![4], nodes: Vec::new() };
        net.dense(random, 5);
        let skip = net.relu();
        net.dense(random, 5);
        let end = net.nodes.len();
        net.push(Operation::Add, vec![end, skip], vec![5]);
        net.then(Operation::Gather { from: [4, 0, 2, 0].map(Some).to_vec(), fill: Vec::new() }, vec![4]);
        net.relu();
        net.dense(random, 2);
        let computation = net.done();
        let ends = input(&computation, seed, 0.5);
        let net = Prepared::<f64>::new(&computation);
        for claim in [Plain, Sound, Float32] {
            let tight = intermediate(&net, ends.clone(), claim, None, &never());
            let slack = if claim == Plain { 1e-9 } else { 0.0 };
            for _ in 0..30 {
                let values = values::<f64>(&computation, &point(random, &ends), Order::Forward);
                for (value, numbers) in values.iter().enumerate() {
                    holds(tight.ends(value), numbers, slack, &format!("{claim:?} {seed} value {value}"));
                }
            }
        }
    }
}

#[test]
fn nothing_is_known_from_what_is_not_finite() {
    let computation = dense(0, &[2, 3, 1]);
    let net = Prepared::<f64>::new(&computation);
    for claim in [Plain, Sound, Float32] {
        for upper in [f64::INFINITY, f64::MAX] {
            let bounds = interval(&net, Ends { lower: vec![-upper; 2], upper: vec![upper; 2] }, claim);
            let bound = bounds_of(&net, &Job::new(&bounds, net.output(), Rows::Units(&identity(1))));
            assert!(bound.iter().all(|bound| *bound < 0.0), "{bound:?}");
        }
    }
}
