//! Proofs by splitting the input: never against a point, exact in the end, sound under rounding, the same for any number of threads.

use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, InputBox, LinearConstraint, Node, Operation, Property, Window};
use temper_verify::cascade::{Answer, Arithmetic};
use temper_verify::split_input::{Split, SplitSettings, split_input};

fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let stream = Stream::named(seed, "split test");
    (0..n).map(|i| 2.0 * f64::from(stream.at(i as u64) as f32) - 1.0).collect()
}

fn node(operation: Operation, inputs: &[usize], size: usize) -> Node {
    Node { name: "n".into(), operation, inputs: inputs.to_vec(), shape: vec![size] }
}

fn dense(seed: u64, from: usize, to: usize) -> Operation {
    Operation::Dense(Affine::exact(numbers(seed, from * to), numbers(seed + 1000, to)))
}

/// Two inputs, two hidden layers with a residual, indices and a scale, two outputs.
fn network(seed: u64) -> Computation {
    let flip: Vec<Option<u32>> = (0..6).rev().map(|i| (i != 2).then_some(i)).collect();
    let nodes = vec![
        node(Operation::Scale(Affine::exact(vec![1.5, -0.75], vec![0.25, 0.1])), &[0], 2),
        node(dense(seed, 2, 6), &[1], 6),
        node(Operation::Relu, &[2], 6),
        node(dense(seed + 1, 6, 6), &[3], 6),
        node(Operation::Gather { from: flip, fill: vec![0.5; 6] }, &[3], 6),
        node(Operation::Add, &[4, 5], 6),
        node(Operation::Relu, &[6], 6),
        node(dense(seed + 2, 6, 2), &[7], 2),
    ];
    Computation::new(vec![2], nodes).unwrap()
}

fn square(bounds: [f64; 2]) -> Property {
    // Either output 0 is small, or output 1 small and output 0 not large.
    let row = |terms: &[(usize, f64)], bound| LinearConstraint::at_most(terms.to_vec(), bound);
    let groups = vec![vec![row(&[(0, 1.0)], bounds[0])], vec![row(&[(1, 1.0)], bounds[1]), row(&[(0, 1.0)], 1e3)]];
    Property::new(InputBox::exact(vec![-1.0; 2], vec![1.0; 2]), groups, 2).unwrap()
}

fn split(net: &Computation, property: &Property, settings: &SplitSettings) -> Split {
    split_input(net, std::slice::from_ref(property), settings, &|| false).expect("a small network")
}

/// The least outputs on a grid.
fn least(net: &Computation) -> [f64; 2] {
    let mut least = [f64::INFINITY; 2];
    for i in 0..=100 {
        for j in 0..=100 {
            let y = net.evaluate(&[i as f64 / 50.0 - 1.0, j as f64 / 50.0 - 1.0], Order::Forward);
            least = [least[0].min(y[0]), least[1].min(y[1])];
        }
    }
    least
}

#[test]
fn answers_are_those_of_a_grid() {
    for seed in 0..12 {
        let net = network(10 * seed);
        let least = least(&net);
        for arithmetic in [Arithmetic::Real, Arithmetic::Sound, Arithmetic::Float32] {
            let settings = SplitSettings { arithmetic, max_domains: Some(1000), ..SplitSettings::default() };
            // A point of the grid is at most 0.01 from any other; slopes are below 60.
            let proved = split(&net, &square(least.map(|y| y - 0.6)), &settings);
            assert_eq!(proved.answer, Answer::Unsat, "seed {seed}");
            for group in 0..2 {
                let mut bounds = least.map(|y| y - 0.6);
                bounds[group] = least[group] + 1e-3;
                let property = square(bounds);
                let Answer::Sat(witness) = split(&net, &property, &settings).answer else { panic!("seed {seed}") };
                assert!(property.violated_by(&witness.output));
                // A point of the grid is a violation: no rounding may hide it but that of plain arithmetic.
                bounds[group] = least[group] + if arithmetic == Arithmetic::Real { 1e-9 } else { 0.0 };
                let answer = split(&net, &square(bounds), &settings).answer;
                assert_ne!(answer, Answer::Unsat, "seed {seed}, {arithmetic:?}");
            }
        }
    }
}

#[test]
fn leaves_cover_the_box_and_hold() {
    for seed in 50..54 {
        let net = network(10 * seed);
        let property = square(least(&net).map(|y| y - 0.6));
        let settings = SplitSettings { leaves: true, ..SplitSettings::default() };
        let found = split(&net, &property, &settings);
        assert_eq!(found.answer, Answer::Unsat);
        for group in 0..2 {
            let leaves: Vec<_> = found.leaves.iter().filter(|leaf| leaf.group == group).collect();
            let area: f64 =
                leaves.iter().map(|leaf| (leaf.upper[0] - leaf.lower[0]) * (leaf.upper[1] - leaf.lower[1])).sum();
            assert_eq!(area, 4.0);
            for (k, leaf) in leaves.iter().enumerate() {
                assert!(leaf.bound > 0.0);
                let row = &property.violations()[group][leaf.row];
                for at in numbers(k as u64, 40).chunks(2) {
                    let place = |i: usize| leaf.lower[i] + (leaf.upper[i] - leaf.lower[i]) * (at[i] + 1.0) / 2.0;
                    let y = net.evaluate(&[place(0), place(1)], Order::Forward);
                    let value = row.terms.iter().map(|(o, c)| c * y[*o]).sum::<f64>() - row.bound;
                    assert!(value >= leaf.bound - 1e-12, "{value} {}", leaf.bound);
                }
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let net = network(3);
    let property = square(least(&net).map(|y| y - 0.01));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| split(&net, &property, &SplitSettings { leaves: true, ..SplitSettings::default() }))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn numbers_that_cancel_fool_plain_arithmetic_only() {
    // y = 0.5 - (1e17 x + x - 1e17 x) is at most -0.5 for x in [1, 2], but the 1 is lost beside 1e17.
    let copies = Operation::Dense(Affine::exact(vec![1.0; 3], vec![0.0; 3]));
    let sum = Operation::Dense(Affine::exact(vec![-1e17, -1.0, 1e17], vec![0.5]));
    let nodes = vec![node(copies, &[0], 3), node(Operation::Relu, &[1], 3), node(sum, &[2], 1)];
    let net = Computation::new(vec![1], nodes).unwrap();
    let row = LinearConstraint::at_most(vec![(0, 1.0)], 0.0);
    let property = Property::new(InputBox::exact(vec![1.0], vec![2.0]), vec![vec![row]], 1).unwrap();
    let answer = |arithmetic| {
        split(&net, &property, &SplitSettings { arithmetic, max_domains: Some(50), ..SplitSettings::default() }).answer
    };
    assert_eq!(answer(Arithmetic::Real), Answer::Unsat);
    assert!(matches!(answer(Arithmetic::Sound), Answer::Unknown(_)));
    assert!(matches!(answer(Arithmetic::Float32), Answer::Unknown(_)));
}

#[test]
fn single_precision_is_charged_where_it_is_asked_for() {
    // Two logits of 1e4 x, one of them 1e-4 larger: true of real numbers, not of single precision.
    let nodes = vec![node(Operation::Dense(Affine::exact(vec![1e4; 2], vec![1e-4, 0.0])), &[0], 2)];
    let net = Computation::new(vec![1], nodes).unwrap();
    let property = Property::robust(InputBox::exact(vec![0.5], vec![1.0]), 0, 2).unwrap();
    let answer = |arithmetic| {
        split(&net, &property, &SplitSettings { arithmetic, max_domains: Some(50), ..SplitSettings::default() }).answer
    };
    assert_eq!(answer(Arithmetic::Sound), Answer::Unsat);
    assert!(matches!(answer(Arithmetic::Float32), Answer::Unknown(_)));
}

#[test]
fn limits_end_the_search_and_say_so() {
    let net = network(3);
    let property = square(least(&net).map(|y| y - 1e-4));
    let why = |settings: SplitSettings| match split(&net, &property, &settings).answer {
        Answer::Unknown(why) => why,
        answer => panic!("{answer:?}"),
    };
    assert!(why(SplitSettings { max_domains: Some(3), ..SplitSettings::default() }).contains("3 boxes were bounded"));
    assert!(why(SplitSettings { memory: 10, ..SplitSettings::default() }).contains("more than 10 bytes"));
    let stopped = split_input(&net, std::slice::from_ref(&property), &SplitSettings::default(), &|| true);
    assert_eq!(stopped.unwrap().answer, Answer::Timeout);
}

#[test]
fn properties_without_a_search() {
    let net = network(3);
    let nothing = Property::new(InputBox::exact(vec![-1.0; 2], vec![1.0; 2]), vec![], 2).unwrap();
    assert_eq!(split(&net, &nothing, &SplitSettings::default()).answer, Answer::Unsat);
    let anything = Property::new(InputBox::exact(vec![-1.0; 2], vec![1.0; 2]), vec![vec![]], 2).unwrap();
    assert!(matches!(split(&net, &anything, &SplitSettings::default()).answer, Answer::Sat(_)));
    // A point; ends that are infinite, too many inputs, and a pool, are for others.
    let point = Property::new(InputBox::exact(vec![0.5; 2], vec![0.5; 2]), vec![vec![]], 2).unwrap();
    assert!(matches!(split(&net, &point, &SplitSettings::default()).answer, Answer::Sat(_)));
    let endless = Property::new(InputBox::exact(vec![-1.0; 2], vec![f64::INFINITY; 2]), vec![vec![]], 2).unwrap();
    assert_eq!(split_input(&net, &[endless], &SplitSettings::default(), &|| false), None);
    let few = SplitSettings { inputs: 1, ..SplitSettings::default() };
    assert_eq!(split_input(&net, &[nothing], &few, &|| false), None);
    let window = Window { input: [1, 1, 2], kernel: [1, 2], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
    let pool = Computation::new(vec![1, 1, 2], vec![node(Operation::MaxPool(window), &[0], 1)]).unwrap();
    let row = LinearConstraint::at_most(vec![(0, 1.0)], -2.0);
    let property = Property::new(InputBox::exact(vec![-1.0; 2], vec![1.0; 2]), vec![vec![row]], 1).unwrap();
    assert_eq!(split_input(&pool, &[property], &SplitSettings::default(), &|| false), None);
}
