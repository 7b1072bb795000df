//! The cascade: what it says is true, whatever stage says it, and it does not depend on the threads.

#[path = "common/random.rs"]
mod random;

use random::dense;
use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Computation, InputBox, LinearConstraint, Property};
use temper_verify::cascade::{Answer, Settings, Stage};
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
            match decision.answer {
                Answer::Sat(witness) => {
                    let point: Vec<f64> = witness.input.iter().map(|x| f64::from(*x)).collect();
                    assert!(property.input().contains(&point));
                    assert!(property.violated_by(&net.evaluate(&point, Order::Backward)));
                    seen[0] += 1;
                }
                Answer::Unsat => {
                    // Nothing that a search finds may contradict it.
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
                        assert!(!property.violated_by(&output), "seed {seed}, slack {slack}");
                    }
                    let place = [Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab];
                    seen[1 + place.iter().position(|stage| *stage == decision.stage).unwrap()] += 1;
                }
                Answer::Unknown(_) | Answer::Timeout => seen[5] += 1,
            }
        }
    }
    eprintln!("{seen:?}");
    // Every way to decide was taken.
    assert!(seen[0] > 3 && seen[2] > 3 && seen[4] > 3, "{seen:?}");
    assert!(seen[5] < 5, "{seen:?}");
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
