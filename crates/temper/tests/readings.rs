//! The checker of proofs reads properties by itself: what it reads is what the search reads, form by form.

use temper_formats::vnnlib::{parse, write, write_version_2};
use temper_graph::{InputBox, LinearConstraint, Property};
use temper_verify::check::reading;

/// Both readings: the same boxes in the same order, with the same rows. Where decimals are no doubles, the checker may round further
/// outward by a double or two.
fn agree(text: &str) -> usize {
    let search = parse(text, "p", 2, 3).unwrap_or_else(|problem| panic!("{problem}\n{text}")).properties;
    let checker = reading(text, 2, 3).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert_eq!(search.len(), checker.len(), "{text}");
    let outward = |inner: f64, outer: f64| outer >= inner && outer <= inner.next_up().next_up();
    for (search, checker) in search.iter().zip(&checker) {
        let (inner, outer) = (search.input(), checker.input());
        for i in 0..2 {
            assert!(outward(inner.upper[i], outer.upper[i]), "{} {}\n{text}", inner.upper[i], outer.upper[i]);
            assert!(outward(-inner.lower[i], -outer.lower[i]), "{} {}\n{text}", inner.lower[i], outer.lower[i]);
        }
        assert_eq!(search.violations().len(), checker.violations().len(), "{text}");
        for (search, checker) in search.violations().iter().zip(checker.violations()) {
            assert_eq!(search.len(), checker.len(), "{text}");
            for (search, checker) in search.iter().zip(checker) {
                assert_eq!(search.terms, checker.terms, "{text}");
                assert!(outward(search.bound, checker.bound), "{} {}\n{text}", search.bound, checker.bound);
            }
        }
    }
    checker.len()
}

const NEW: [&str; 5] = ["X[0, 0]", "X[0,1]", "out[0]", "out[ 1 ]", "out[2]"];

#[test]
fn the_checker_reads_what_the_search_reads() {
    let names = ["X_0", "X_1", "Y_0", "Y_1", "Y_2"];
    let declared: String = names.iter().map(|name| format!("(declare-const {name} Real)\n")).collect();
    let ends =
        "(assert (>= X_0 0.0)) (assert (<= X_0 1.0))\n(assert (>= X_1 -0.5)) (assert (<= X_1 0.1)) ; a comment (\n";
    let mut boxes = 0;
    for body in [
        "(assert (<= Y_0 Y_1))(assert (<= Y_0 Y_2))(assert (>= Y_2 3.5))",
        "(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0) (<= Y_2 1e-3))))",
        "(assert (or (and (<= X_0 0.25)) (and (>= X_0 0.75) (<= X_1 0.0))))(assert (or (<= Y_0 Y_1) (<= Y_0 Y_2)))",
        "(assert (or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= X_0 0.5) (>= Y_0 2))))",
        "(assert (or (and (<= X_0 0.5) (<= Y_0 1)) (and (<= X_0 0.5) (>= Y_0 2)) (and (<= X_0 0.75) (>= Y_1 2))))",
        "(assert (>= X_0 2.0))(assert (<= Y_0 0.0))",
        "(assert (< X_0 0.5)) (assert (> X_0 0.25)) (assert (<= Y_0 0.0))",
        "(assert (and (<= X_0 0.7) (>= X_0 0.7) (or (< Y_0 -0.3) (> Y_1 123456.789))))",
        "(assert (<= Y_0 0.3333333333333333333333333333333333333333333333333333333333333333))",
        "(assert (>= Y_0 -0.10000000149011611938476562500000000000000000000000000000))",
        "(assert (< (+ (* 0.5 Y_0) (- Y_1) 0.25) (* 2.0 Y_2)))",
        "(assert (== Y_0 Y_1))",
        "(assert (== X_0 0.3))(assert (<= (- Y_0 Y_1 Y_2) (- 0.1)))",
        "(assert (>= (* 0.001 1000.0 Y_0) (+ 0.1 0.2 (* -1.0 Y_1))))(assert (<= (* 3.0 X_0) 1.0))(assert (>= (* -0.7 X_1) -0.07))",
    ] {
        let old = format!("{declared}{ends}{body}");
        boxes += agree(&old);
        for element in ["real", "float32"] {
            let head = format!(
                "(vnnlib-version <2.0>)\n(declare-network f (declare-input X {element} [1, 2]) (declare-output out {element} [3]))\n"
            );
            let body = names.iter().zip(NEW).fold(format!("{ends}{body}"), |text, (old, new)| text.replace(old, new));
            boxes += agree(&(head + &body));
        }
    }
    assert!(boxes > 40, "{boxes}");
}

#[test]
fn the_checker_reads_what_is_written() {
    for (seed, scale) in [(1, 1.0), (2, 1e-3), (3, 1e3), (4, 1e-9), (5, 1e9)] {
        let draw = |i: i32| (f64::from(seed * 37 + i) * 12.9898).sin() * scale;
        let lower = vec![draw(0), draw(1)];
        let upper = vec![lower[0] + draw(2).abs(), f64::from((lower[1] + scale) as f32)];
        let row = |terms: Vec<(usize, f64)>, bound| LinearConstraint::at_most(terms, bound);
        let groups = vec![
            vec![row(vec![(0, 1.0), (2, -1.0)], 0.0), row(vec![(1, -1.0)], draw(5))],
            vec![row(vec![(1, 1.0)], f64::from(draw(6) as f32))],
        ];
        let property = Property::new(InputBox::exact(lower, upper), groups, 3).unwrap();
        assert_eq!(agree(&write(&property, "")) + agree(&write_version_2(&property, "", &[1, 2], &[3])), 2);
    }
}
