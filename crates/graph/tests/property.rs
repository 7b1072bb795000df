//! What violates a property, and what none can be.

use temper_graph::{BatchNorm, InputBox, LinearConstraint, Network, Property, Weights, by_name};

fn unit(n: usize) -> InputBox {
    InputBox::exact(vec![0.0; n], vec![1.0; n])
}

#[test]
fn another_class_violates_robustness() {
    let property = Property::robust(unit(4), 1, 3).unwrap();
    assert_eq!(property.violations().len(), 2);
    for (outputs, violated) in [
        ([0.0, 1.0, 0.5], false),
        ([0.0, 1.0, 1.5], true),
        ([1.0, 1.0, 0.5], true), // a tie is no certain class
        ([f64::NAN, 1.0, 0.5], false),
        ([f64::NAN, 1.0, 1.5], true),
    ] {
        assert_eq!(property.violated_by(&outputs), violated, "{outputs:?}");
    }
}

#[test]
fn every_constraint_of_a_group_counts() {
    let constraint = |output: usize, bound: f64| LinearConstraint::at_most(vec![(output, 2.0)], bound);
    let groups = vec![vec![constraint(0, 1.0), constraint(1, 1.0)], vec![constraint(1, -4.0)]];
    let property = Property::new(unit(1), groups, 2).unwrap();
    for (outputs, violated) in
        [([0.5, 0.5], true), ([0.5, 0.6], false), ([0.6, 0.5], false), ([9.0, -2.0], true), ([9.0, -1.9], false)]
    {
        assert_eq!(property.violated_by(&outputs), violated, "{outputs:?}");
    }
}

#[test]
fn what_is_no_property() {
    let wrong = |input: InputBox, output: usize| {
        let group = vec![LinearConstraint::at_most(vec![(output, 1.0)], 0.0)];
        Property::new(input, vec![group], 2).unwrap_err().to_string()
    };
    assert!(wrong(InputBox::exact(vec![0.0, 0.5], vec![1.0, 0.4]), 0).contains("input 1 lies between 0.5 and 0.4"));
    assert!(wrong(InputBox::exact(vec![f64::NAN], vec![1.0]), 0).contains("input 0"));
    assert!(wrong(InputBox::exact(vec![0.0], vec![]), 0).contains("1 lower ends and 0 upper ends"));
    assert!(wrong(unit(1), 2).contains("output 2 of a network with 2 outputs"));
    assert!(Property::robust(unit(1), 3, 3).is_err());
    for (coefficient, bound) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (1.0, f64::NAN)] {
        let group = vec![LinearConstraint::at_most(vec![(0, coefficient)], bound)];
        assert!(Property::new(unit(1), vec![group], 2).is_err(), "{coefficient} {bound}");
    }
}

#[test]
fn arrays_of_another_network() {
    let config = by_name("small", Some(2), BatchNorm::None, [1, 8, 8], 3).unwrap();
    let none = vec![Weights::None; config.nodes.len()];
    let problem = Network::new(config.clone(), vec![0.0], vec![1.0], none).unwrap_err().to_string();
    assert!(problem.contains("conv1") && problem.contains("[2, 1, 4, 4]"), "{problem}");
    let problem = Network::new(config, vec![0.0; 3], vec![1.0; 3], vec![]).unwrap_err().to_string();
    assert!(problem.contains("3 means") && problem.contains("1 channels"), "{problem}");
}
