//! The cascade: what it says is true, whatever stage says it, and it does not depend on the threads.

#[path = "common/random.rs"]
mod random;

use random::dense;
use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, InputBox, LinearConstraint, Node, Operation, Property};
use temper_verify::cascade::{Answer, Arithmetic, Settings, Stage};
use temper_verify::verifier::Verifier;

/// No output 0 below its value at the centre less `slack`, within `eps` of the centre.
fn question(net: &Computation, seed: u64, eps: f64, slack: f64) -> Property {
    let stream = Stream::named(seed, "centre");
    let centre: Vec<f64> = (0..net.inputs()).map(|i| f64::from(stream.at(i as u64) as f32)).collect();
    let value = net.evaluate(&centre, Order::Forward)[0];
    let ends = |sign: f64| centre.iter().map(|c| c + sign * eps).collect();
    let constraint = LinearConstraint::at_most(vec![(0, 1.0)], value - slack);
    Property::new(InputBox::exact(ends(-1.0), ends(1.0)), vec![vec![constraint]], net.outputs()).unwrap()
}

/// Fails if something is known that contradicts an answer.
fn check(net: &Computation, property: &Property, answer: &Answer, seed: u64) {
    match answer {
        Answer::Sat(witness) => {
            let point: Vec<f64> = witness.input.iter().map(|x| f64::from(*x)).collect();
            assert!(property.input().contains(&point));
            assert!(property.violated_by(&net.evaluate(&point, Order::Backward)));
        }
        Answer::Unsat => {
            let stream = Stream::named(seed, "points");
            for at in 0..500u64 {
                let ends = property.input().lower.iter().zip(&property.input().upper);
                let point = ends.enumerate().map(|(i, (l, u))| {
                    let x = stream.at(at * 24 + i as u64);
                    if at % 2 == 0 {
                        l + (u - l) * x
                    } else if x < 0.5 {
                        *l
                    } else {
                        *u
                    }
                });
                let output = net.evaluate(&point.collect::<Vec<f64>>(), Order::Forward);
                assert!(!property.violated_by(&output), "seed {seed}");
            }
        }
        Answer::Unknown(_) | Answer::Timeout => {}
    }
}

#[test]
fn answers_are_true() {
    let mut seen = [0; 6];
    for seed in 0..24 {
        let net = dense(seed, &[24, 20, 16, 12, 2]);
        let verifier = Verifier::new(&net);
        for slack in [0.05, 0.2, 0.4, 0.8] {
            let property = question(&net, seed, 0.12, slack);
            let settings = Settings { max_domains: Some(3000), ..Settings::default() };
            let decision = verifier.decide(std::slice::from_ref(&property), &settings, &|| false).unwrap();
            // Stages that were not reached took nothing, and all together no more than the whole.
            let took = |stage: &Stage| decision.stages[*stage as usize];
            assert!(took(&decision.stage) > 0.0 && Stage::ALL.iter().map(took).sum::<f64>() <= decision.seconds + 1e-9);
            assert!(
                Stage::ALL.iter().filter(|stage| **stage > decision.stage.max(Stage::Alpha)).all(|s| took(s) == 0.0)
            );
            check(&net, &property, &decision.answer, seed);
            let place = [Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab];
            seen[match decision.answer {
                Answer::Sat(_) => 0,
                Answer::Unsat => 1 + place.iter().position(|stage| *stage == decision.stage).unwrap(),
                Answer::Unknown(_) | Answer::Timeout => 5,
            }] += 1;
        }
    }
    eprintln!("{seen:?}");
    // Every way to decide was taken.
    assert!(seen[0] > 3 && seen[2] > 3 && seen[4] > 3, "{seen:?}");
    assert!(seen[5] < 5, "{seen:?}");
}

#[test]
fn inputs_of_a_large_network_are_split_where_few_vary() {
    let net = dense(3, &[4, 4000, 40, 30, 2]);
    let verifier = Verifier::new(&net);
    // Without the search for counterexamples before it, splits have to find them too.
    let stages = vec![Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab];
    let settings = Settings { max_domains: Some(200), stages, ..Settings::default() };
    let mut seen = [0; 3];
    for slack in [0.01, 0.3] {
        let property = question(&net, 3, 0.15, slack);
        let decided = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let decision = pool.install(|| verifier.decide(std::slice::from_ref(&property), &settings, &|| false));
            let decision = decision.unwrap();
            (decision.answer, decision.stage, decision.domains)
        });
        assert_eq!(decided[0], decided[1]);
        check(&net, &property, &decided[0].0, 3);
        seen[0] += u32::from(matches!(decided[0].0, Answer::Sat(_)));
        seen[1] += u32::from(decided[0].0 == Answer::Unsat);
        seen[2] += u32::from(decided[0].0 == Answer::Unsat && decided[0].2 > 1);
    }
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

#[test]
fn a_deep_network_is_decided_alike_by_any_number_of_threads() {
    let net = dense(5, &[24, 20, 20, 20, 16, 2]);
    let verifier = Verifier::new(&net);
    let settings = Settings { max_domains: Some(2000), ..Settings::default() };
    let mut split = 0;
    for slack in [0.2, 0.3, 0.45] {
        let property = question(&net, 5, 0.2, slack);
        let decided = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let decision = pool.install(|| verifier.decide(std::slice::from_ref(&property), &settings, &|| false));
            let decision = decision.unwrap();
            (decision.answer, decision.stage, decision.bound, decision.domains)
        });
        assert_eq!(decided[0], decided[1]);
        split += u32::from(decided[0].3 > 0);
    }
    assert!(split > 0, "some question has to be hard");
}

/// Merged, these layers are the identity; layer by layer, floats lose the input. What no execution shows is no counterexample.
#[test]
fn a_counterexample_is_one_of_the_layers_as_they_are() {
    let shift = |name: &str, by: f64, from| Node {
        name: name.into(),
        operation: Operation::Scale(Affine::exact(vec![1.0], vec![by])),
        inputs: vec![from],
        shape: vec![1],
    };
    let net = Computation::new(vec![1], vec![shift("there", 1e20, 0), shift("back", -1e20, 1)]).unwrap();
    let above = LinearConstraint::at_most(vec![(0, -1.0)], -0.25);
    let property = Property::new(InputBox::exact(vec![0.0], vec![1.0]), vec![vec![above]], 1).unwrap();
    let settings = Settings { max_domains: Some(200), ..Settings::default() };
    let decision = Verifier::new(&net).decide(&[property], &settings, &|| false).unwrap();
    assert!(!matches!(decision.answer, Answer::Sat(_) | Answer::Unsat), "{:?}", decision.answer);
}

/// `1e-30 relu(1e20 relu(1e20 x))` is at most 2e10 over the reals, and infinite in single precision.
#[test]
fn sums_that_overflow_in_single_precision_are_not_certified_for_it() {
    let mut nodes = Vec::new();
    for (weight, relu) in [(1e20, true), (1e20, true), (1e-30, false)] {
        let mut push = |operation| {
            let (name, inputs) = (format!("n{}", nodes.len()), vec![nodes.len()]);
            nodes.push(Node { name, operation, inputs, shape: vec![1] });
        };
        push(Operation::Dense(Affine::exact(vec![weight], vec![0.0])));
        if relu {
            push(Operation::Relu);
        }
    }
    let net = Computation::new(vec![1], nodes).unwrap();
    let verifier = Verifier::new(&net);
    let above = LinearConstraint::at_most(vec![(0, -1.0)], -1e12);
    let property = Property::new(InputBox::exact(vec![1.0], vec![2.0]), vec![vec![above]], 1).unwrap();
    for stages in [vec![Stage::Ibp], vec![Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab], Stage::ALL.to_vec()] {
        let answer = |arithmetic| {
            let settings =
                Settings { arithmetic, stages: stages.clone(), max_domains: Some(50), ..Settings::default() };
            verifier.decide(std::slice::from_ref(&property), &settings, &|| false).unwrap().answer
        };
        assert_eq!(answer(Arithmetic::Sound), Answer::Unsat, "{stages:?}");
        assert!(!matches!(answer(Arithmetic::Float32), Answer::Unsat), "{stages:?}");
    }
}
