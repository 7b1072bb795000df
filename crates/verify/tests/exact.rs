//! The engine's sound bounds, held against arithmetic that does not round, on networks built to fool it and on random ones.

#[path = "common/adversarial.rs"]
mod adversarial;
#[path = "common/exact.rs"]
#[allow(dead_code)]
mod exact;

use std::cmp::Ordering;

use adversarial::all;
use exact::{Exact, intervals};
use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, Node, Operation, Property, Window};
use temper_verify::cascade::Arithmetic;
use temper_verify::engine::{Bounds, Ends, Job, Keep, Prepared, Rows, backward, intermediate, interval, zonotope};

/// The least bound of the first row of every group.
fn least(net: &Prepared<f64>, bounds: &Bounds<f64>, property: &Property) -> f64 {
    let groups = property.violations().iter().map(|group| {
        let mut row = vec![0.0; net.outputs()];
        group[0].terms.iter().for_each(|(i, coefficient)| row[*i] = *coefficient);
        let constants = [-group[0].bound];
        let job = Job { constants: &constants, ..Job::new(bounds, net.output(), Rows::Dense(&row)) };
        backward(net, &[job], Keep::default())[0].bound[0]
    });
    groups.fold(f64::INFINITY, f64::min)
}

#[test]
fn no_network_built_for_it_is_verified() {
    for case in all() {
        let net = Prepared::<f64>::new(&case.computation);
        let input = || Ends::outward(&case.property.input().lower, &case.property.input().upper);
        for claim in [Arithmetic::Sound, Arithmetic::Float32] {
            let expected = case.real && (claim != Arithmetic::Float32 || case.float32);
            let bounds = intermediate(&net, input(), claim, None, &|| false);
            assert_eq!(least(&net, &bounds, &case.property) > 0.0, expected, "{} {}", case.name, claim.name());
            let bounds = interval(&net, input(), claim);
            assert!(expected || least(&net, &bounds, &case.property) <= 0.0, "{} {}", case.name, claim.name());
        }
    }
}

struct Random(Stream, u64);

impl Random {
    fn draw(&mut self) -> f64 {
        self.1 += 1;
        self.0.at(self.1)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.draw() * n as f64) as usize
    }

    /// Numbers of sizes that are far apart, now and then.
    fn numbers(&mut self, n: usize, spread: f64) -> Vec<f64> {
        (0..n)
            .map(|_| {
                let size = if self.draw() < 0.3 { (self.draw() - 0.5) * spread } else { 0.0 };
                (self.draw() - 0.5) * size.exp2()
            })
            .collect()
    }
}

/// A small network with a convolution, a residual, a scale, indices and dense layers.
fn network(random: &mut Random, single: bool) -> Computation {
    let spread = [0.0, 20.0, 80.0][random.below(3)];
    let mut affine = |weights: usize, biases: usize| {
        let mut numbers = [random.numbers(weights, spread), random.numbers(biases, spread)];
        if single {
            numbers.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32));
        }
        let [weight, bias] = numbers;
        Affine::exact(weight, bias)
    };
    let window = Window { input: [2, 2, 3], kernel: [2, 1], stride: [1, 1], padding: [1, 0, 0, 0], dilation: [1, 1] };
    let operations = [
        (Operation::Conv { window, groups: 2, affine: affine(4, 2) }, vec![0], vec![2, 2, 3]),
        (Operation::Relu, vec![1], vec![2, 2, 3]),
        (Operation::Scale(affine(12, 12)), vec![2], vec![2, 2, 3]),
        (Operation::Add, vec![3, 1], vec![2, 2, 3]),
        (Operation::Gather { from: (0..10).rev().map(Some).collect(), fill: vec![] }, vec![4], vec![10]),
        (Operation::Dense(affine(40, 4)), vec![5], vec![4]),
        (Operation::Relu, vec![6], vec![4]),
        (Operation::Dense(affine(8, 2)), vec![7], vec![2]),
    ];
    let node = |(i, (operation, inputs, shape))| Node { name: format!("{i}"), operation, inputs, shape };
    Computation::new(vec![2, 2, 3], operations.into_iter().enumerate().map(node).collect()).unwrap()
}

#[test]
fn intervals_contain_exact_intervals_and_linear_bounds_are_below_exact_values() {
    for seed in 0..1000 {
        let mut random = Random(Stream::named(seed, "exact"), 0);
        let single = seed % 2 == 0;
        let computation = network(&mut random, single);
        let net = Prepared::<f64>::new(&computation);
        let width = [0.0, 1e-9, 0.1, 1.0][random.below(4)];
        let lower: Vec<f64> = (0..12).map(|_| f64::from((random.draw() - 0.5) as f32)).collect();
        let upper: Vec<f64> = lower.iter().map(|l| f64::from((l + width * random.draw()) as f32).max(*l)).collect();
        let exact = intervals(&computation, &lower, &upper);
        let points: Vec<Vec<f64>> = (0..3)
            .map(|_| lower.iter().zip(&upper).map(|(l, u)| if random.draw() < 0.5 { *l } else { *u }).collect())
            .collect();
        let at: Vec<_> = points.iter().map(|x| intervals(&computation, x, x)).collect();
        let claims = if single { [Arithmetic::Sound, Arithmetic::Float32] } else { [Arithmetic::Sound; 2] };
        for claim in claims {
            let bounds = interval(&net, Ends::outward(&lower, &upper), claim);
            for (value, exact) in exact.iter().enumerate() {
                let ends = bounds.ends(value);
                for (i, [l, u]) in exact.iter().enumerate() {
                    let (low, high) = (ends.lower[i], ends.upper[i]);
                    let contained = |end: f64, order: Ordering, other: &Exact| {
                        end.is_infinite() || Exact::of(end).order(other) != order
                    };
                    assert!(contained(low, Ordering::Greater, l), "seed {seed} value {value} number {i}: {low}");
                    assert!(contained(high, Ordering::Less, u), "seed {seed} value {value} number {i}: {high}");
                }
            }
            let bounds = intermediate(&net, Ends::outward(&lower, &upper), claim, None, &|| false);
            let row = [1.0, -0.75, -1.0, 0.5];
            let pushed = backward(&net, &[Job::new(&bounds, net.output(), Rows::Dense(&row))], Keep::default());
            for (point, values) in points.iter().zip(&at) {
                for (r, bound) in pushed[0].bound.iter().enumerate() {
                    let y = values.last().unwrap();
                    let sum = |y: [Exact; 2]| {
                        Exact::of(row[2 * r]).times(&y[0]).plus(&Exact::of(row[2 * r + 1]).times(&y[1]))
                    };
                    let value = sum([y[0][0].clone(), y[1][0].clone()]);
                    let right = bound.is_infinite() || Exact::of(*bound).order(&value) != Ordering::Greater;
                    assert!(right, "seed {seed} row {r}: {bound}");
                    if claim == Arithmetic::Float32 {
                        let single: Vec<f32> = point.iter().map(|x| *x as f32).collect();
                        for order in [Order::Forward, Order::Backward] {
                            let y = computation.evaluate(&single, order);
                            let value = sum([Exact::of(f64::from(y[0])), Exact::of(f64::from(y[1]))]);
                            let right = bound.is_infinite() || Exact::of(*bound).order(&value) != Ordering::Greater;
                            assert!(right, "seed {seed} row {r} in single precision: {bound}");
                        }
                    }
                }
            }
            let forms = zonotope(&net, interval(&net, Ends::outward(&lower, &upper), claim));
            for (bounds, values) in
                [&bounds, &forms].into_iter().flat_map(|bounds| at.iter().map(move |at| (bounds, at)))
            {
                for (value, ends) in values.iter().enumerate() {
                    let bounds = bounds.ends(value);
                    for (i, [exact, _]) in ends.iter().enumerate() {
                        let (low, high) = (bounds.lower[i], bounds.upper[i]);
                        let right = |end: f64, order| end.is_infinite() || Exact::of(end).order(exact) != order;
                        let right = right(low, Ordering::Greater) && right(high, Ordering::Less);
                        assert!(right, "seed {seed} value {value}");
                    }
                }
            }
        }
    }
}
