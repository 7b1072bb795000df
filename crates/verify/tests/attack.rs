//! The search for counterexamples: values, gradients, what counts as one, and what is found.

use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, InputBox, LinearConstraint, Node, Operation, Property, Window};
use temper_verify::Settings;
use temper_verify::attack::{AttackSettings, Forward, Thin, attack, confirm};
use temper_verify::cascade::{Answer, decide_properties};

fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let stream = Stream::named(seed, "attack test");
    (0..n).map(|i| f64::from(stream.at(i as u64) as f32 - 0.5)).collect()
}

fn node(operation: Operation, inputs: &[usize], shape: &[usize]) -> Node {
    Node { name: "n".into(), operation, inputs: inputs.to_vec(), shape: shape.to_vec() }
}

/// Both kinds of convolution, groups, a pool, a residual, indices.
fn network() -> Computation {
    let affine = |seed, w, b| Affine::exact(numbers(seed, w), numbers(seed + 100, b));
    let window = |input, kernel, stride, padding| Window { input, kernel, stride, padding, dilation: [1, 1] };
    let even = window([2, 6, 5], [3, 3], [1, 1], [1, 1, 1, 1]);
    let uneven = window([4, 6, 5], [2, 3], [2, 1], [0, 1, 1, 0]);
    let pool = window([4, 3, 4], [2, 2], [1, 2], [0, 0, 0, 0]);
    let flip: Vec<Option<u32>> = (0..48).rev().map(|i| (i != 7).then_some(i)).collect();
    let nodes = vec![
        node(Operation::Conv { window: even, groups: 1, affine: affine(1, 4 * 18, 4) }, &[0], &[4, 6, 5]),
        node(Operation::Relu, &[1], &[4, 6, 5]),
        node(Operation::Conv { window: uneven, groups: 2, affine: affine(2, 4 * 12, 4) }, &[2], &[4, 3, 4]),
        node(Operation::Scale(affine(3, 48, 48)), &[3], &[48]),
        node(Operation::Gather { from: flip, fill: vec![0.25; 48] }, &[4], &[48]),
        node(Operation::Add, &[3, 5], &[4, 3, 4]),
        node(Operation::MaxPool(pool), &[6], &[4, 2, 2]),
        node(Operation::Dense(affine(4, 48, 3)), &[7], &[3]),
    ];
    Computation::new(vec![2, 6, 5], nodes).unwrap()
}

#[test]
fn values_and_gradients_are_those_of_the_computation() {
    let computation = network();
    let forward = Forward::new(&computation);
    let points: Vec<f32> = numbers(9, 3 * 60).iter().map(|x| *x as f32).collect();
    let values = forward.values(points.clone());
    let weights: Vec<f64> = numbers(10, 9);
    let gradient = forward.gradient(&values, weights.iter().map(|w| *w as f32).collect());
    for (p, point) in points.chunks(60).enumerate() {
        let exact: Vec<f64> = point.iter().map(|x| f64::from(*x)).collect();
        let answer = |point: &[f64]| computation.evaluate(point, Order::Forward);
        for (y, expected) in values[8][p * 3..].iter().zip(answer(&exact)) {
            assert!((f64::from(*y) - expected).abs() < 1e-5, "{y} {expected}");
        }
        let objective = |point: &[f64]| answer(point).iter().zip(&weights[p * 3..]).map(|(y, w)| y * w).sum::<f64>();
        for i in 0..60 {
            let moved = |by: f64| {
                let mut point = exact.clone();
                point[i] += by;
                objective(&point)
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let found = f64::from(gradient[p * 60 + i]);
            assert!((slope - found).abs() < 1e-4, "point {p}, input {i}: {slope} {found}");
        }
    }
}

/// `y = w x + b` of one input.
fn line(w: f64, b: f64) -> Computation {
    Computation::new(vec![1], vec![node(Operation::Dense(Affine::exact(vec![w], vec![b])), &[0], &[1])]).unwrap()
}

fn below(bound: f64, lower: f64, upper: f64) -> Property {
    let row = LinearConstraint::at_most(vec![(0, 1.0)], bound);
    Property::new(InputBox::exact(vec![lower], vec![upper]), vec![vec![row]], 1).unwrap()
}

#[test]
fn only_strict_violations_inside_the_box_are_confirmed() {
    let net = line(1.0, 0.0);
    let witness = confirm(&net, &below(0.5, 0.0, 1.0), &[0.25], Thin::Nothing).unwrap();
    assert_eq!((witness.input, witness.output), (vec![0.25], vec![0.25]));
    // Equality, a point that is none, and one outside, which is moved in.
    assert_eq!(confirm(&net, &below(0.5, 0.5, 1.0), &[0.5], Thin::Nothing), None);
    assert_eq!(confirm(&net, &below(0.5, 0.0, 1.0), &[f64::NAN], Thin::Nothing), None);
    assert_eq!(
        confirm(&net, &below(0.5, 0.1, 1.0), &[-3.0], Thin::Nothing).unwrap().input,
        [0.1f32.next_up().min(0.1)]
    );
    // No number in single precision lies in the box.
    let third = 1.0 / 3.0;
    assert_eq!(confirm(&net, &below(0.5, third, f64::next_up(third)), &[third], Thin::Nothing), None);
    let near = confirm(&net, &below(0.5, third, f64::next_up(third)), &[0.0], Thin::Nearest).unwrap();
    assert_eq!(near.input, [third as f32]);
    // The sum is below 0 in double precision only: in single precision the 1 is lost.
    let lost = Computation::new(
        vec![1],
        vec![node(Operation::Dense(Affine::exact(vec![1.0, 1.0], vec![1e9, 1e9 - 1.0])), &[0], &[2])],
    );
    let row = LinearConstraint::at_most(vec![(1, 1.0), (0, -1.0)], -0.5);
    let property = Property::new(InputBox::exact(vec![0.0], vec![1.0]), vec![vec![row]], 2).unwrap();
    assert_eq!(confirm(&lost.unwrap(), &property, &[0.5], Thin::Nothing), None);
    // An overflow is no answer.
    let far = line(f64::from(f32::MAX), 0.0);
    assert_eq!(confirm(&far, &below(0.0, -4.0, -2.0), &[-3.0], Thin::Nothing), None);
}

/// A ReLU that is off is 0 whatever is rounded, so that `y <= 0` is met; a number that happens to be 0 may be rounded to another.
#[test]
fn equality_counts_where_no_rounding_undoes_it() {
    let nodes = vec![
        node(Operation::Dense(Affine::exact(vec![1.0], vec![-0.5])), &[0], &[1]),
        node(Operation::Relu, &[1], &[1]),
    ];
    let net = Computation::new(vec![1], nodes).unwrap();
    let property = below(0.0, 0.0, 1.0);
    assert_eq!(confirm(&net, &property, &[0.25], Thin::Nothing).unwrap().output, [0.0]);
    for point in [0.5, 0.75] {
        assert_eq!(confirm(&net, &property, &[point], Thin::Nothing), None);
    }
    let strict = LinearConstraint { strict: true, ..LinearConstraint::at_most(vec![(0, 1.0)], 0.0) };
    let strict = Property::new(InputBox::exact(vec![0.0], vec![1.0]), vec![vec![strict]], 1).unwrap();
    assert_eq!(confirm(&net, &strict, &[0.25], Thin::Nothing), None);
    let decided = decide_properties(&net, &[property], &Settings::default(), &|| false).unwrap();
    assert!(matches!(decided.answer, Answer::Sat(_)), "{decided:?}");
}

#[test]
fn a_rare_violation_is_found_the_same_by_any_number_of_threads() {
    // A tent of width 0.002 at 0.7 in each of two inputs; all of an AND have to be met.
    let tent = Affine::exact(vec![1e3, 0.0, -1e3, 0.0, 0.0, 1e3, 0.0, -1e3], vec![-699.0, 701.0, -699.0, 701.0]);
    let top = Affine::exact(vec![-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0], vec![0.0; 2]);
    let net = Computation::new(
        vec![2],
        vec![
            node(Operation::Dense(tent), &[0], &[4]),
            node(Operation::Relu, &[1], &[4]),
            node(Operation::Dense(top), &[2], &[2]),
        ],
    )
    .unwrap();
    let row = |output| LinearConstraint::at_most(vec![(output, -1.0)], 2.1);
    let property = Property::new(InputBox::exact(vec![0.0; 2], vec![1.0; 2]), vec![vec![row(0), row(1)]], 2).unwrap();
    let search = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| attack(&net, &property, &AttackSettings::default(), &|| false))
    };
    let found = search(1).expect("a counterexample");
    assert!(property.violated_by(&found.output));
    assert_eq!(Some(found), search(3));
    assert_eq!(attack(&net, &property, &AttackSettings::default(), &|| true), None);
}

#[test]
fn inputs_that_are_fixed_stay() {
    let computation = network();
    let centre = numbers(20, 60);
    let fixed = |i: usize| i.is_multiple_of(3);
    let ends = |by: f64| (0..60).map(|i| centre[i] + if fixed(i) { 0.0 } else { by }).collect();
    let logits = computation.evaluate(&centre, Order::Forward);
    let label = (0..3).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    let property = Property::robust(InputBox::exact(ends(-0.5), ends(0.5)), label, 3).unwrap();
    let found = attack(&computation, &property, &AttackSettings::default(), &|| false).expect("a counterexample");
    assert!((0..60).filter(|i| fixed(*i)).all(|i| f64::from(found.input[i]) == centre[i]));
    assert!(property.violated_by(&found.output));
}
