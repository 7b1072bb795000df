//! VNN-LIB: every form that occurs is compiled into what it means; everything else is one clear error.

use temper_formats::vnnlib::{Element, Variable, parse, write, write_version_2};
use temper_formats::{instances, witness};
use temper_graph::{InputBox, LinearConstraint, Property};

fn declared(inputs: usize, outputs: usize) -> String {
    let names = (0..inputs).map(|i| format!("X_{i}")).chain((0..outputs).map(|i| format!("Y_{i}")));
    names.map(|name| format!("(declare-const {name} Real)\n")).collect()
}

const BOX: &str =
    "(assert (>= X_0 0.0)) (assert (<= X_0 1.0))\n(assert (>= X_1 -0.5)) (assert (<= X_1 0.1)) ; a comment (\n";

fn read(body: &str) -> temper_formats::vnnlib::Query {
    parse(&(declared(2, 3) + BOX + body), "p", 2, 3).unwrap_or_else(|problem| panic!("{problem}"))
}

fn fault(body: &str) -> String {
    parse(&(declared(2, 3) + BOX + body), "p", 2, 3).unwrap_err().to_string()
}

#[test]
fn forms_of_version_1() {
    // Top-level assertions are one group.
    let query = read("(assert (<= Y_0 Y_1))(assert (<= Y_0 Y_2))(assert (>= Y_2 3.5))");
    let [property] = &query.properties[..] else { panic!("one box") };
    assert_eq!(property.violations().len(), 1);
    assert!(
        property.violated_by(&[0.0, 0.0, 3.5])
            && !property.violated_by(&[0.0, 0.0, 3.4])
            && !property.violated_by(&[1.0, 0.5, 4.0])
    );
    assert_eq!((property.input().lower[1], property.input().upper[0]), (-0.5, 1.0));
    // 0.1 is no double: a proof covers the one above, a counterexample stays below.
    assert!(property.input().upper[1] >= 0.1 && property.input().certain()[1][1] <= 0.1);
    assert_eq!(property.input().upper[1], property.input().certain()[1][1].next_up());
    // Alternatives over outputs are groups.
    let query = read("(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0) (<= Y_2 1e-3))))");
    assert_eq!(query.properties[0].violations().iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    // Alternatives over inputs are boxes, and those over outputs belong to each.
    let boxes = "(assert (or (and (<= X_0 0.25)) (and (>= X_0 0.75) (<= X_1 0.0))))";
    let query = read(&format!("{boxes}(assert (or (<= Y_0 Y_1) (<= Y_0 Y_2)))"));
    let ends: Vec<_> =
        query.properties.iter().map(|p| (p.input().lower[0], p.input().upper[0], p.violations().len())).collect();
    assert_eq!(ends, [(0.0, 0.25, 2), (0.75, 1.0, 2)]);
    // Inputs and outputs in one clause.
    let query = read("(assert (or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= X_0 0.5) (>= Y_0 2))))");
    assert_eq!(query.properties.len(), 2);
    // A box that contradicts itself holds nothing.
    let query = read("(assert (>= X_0 2.0))(assert (<= Y_0 0.0))");
    assert_eq!((query.properties.len(), query.empty), (0, 1));
}

#[test]
fn version_2() {
    let head = "(vnnlib-version <2.0>)\n(declare-network f (declare-input X float32 [1, 2]) (declare-output out float32 [3]))\n";
    let ends = "(assert (and (>= X[0, 0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))";
    let query = |body: &str| parse(&format!("{head}{ends}{body}"), "p", 2, 3);
    let found = query("(assert (< (+ (* 0.5 out[0]) (- out[1]) 0.25) (* 2.0 out[2])))").unwrap();
    let [constraint] = &found.properties[0].violations()[0][..] else { panic!("one row") };
    // 0.5 y0 - y1 - 2 y2 < -0.25, times ten: coefficients are whole numbers, and so exact.
    assert_eq!(constraint.terms, [(0, 5.0), (1, -10.0), (2, -20.0)]);
    assert!(constraint.strict && constraint.bound == -2.5 && !constraint.met_by(&[0.0, 0.25, 0.0]));
    assert_eq!(found.variables.unwrap().map(|v| v.element), [Element::Float32; 2]);
    let found = query("(assert (== out[0] out[1]))").unwrap();
    assert_eq!(found.properties[0].violations()[0].len(), 2);
    for (body, why) in [
        ("(assert (!= out[0] 1.0))", "!="),
        ("(assert (<= (* out[0] out[1]) 1.0))", "a product of variables"),
        ("(assert (<= out[3] 1.0))", "out[3]"),
        ("(assert (<= X[0,0] out[0]))", "inputs with outputs"),
        ("(assert (<= (+ X[0,0] X[0,1]) 1.0))", "several inputs"),
        ("(declare-network g (declare-input Z real [1]))", "a second network"),
    ] {
        let problem = query(body).unwrap_err().to_string();
        assert!(problem.contains(why), "{body}: {problem}");
    }
}

#[test]
fn ends_are_rounded_to_the_safe_side() {
    // An end that does not belong to the set is covered by a proof, and no counterexample.
    let query = read("(assert (< X_0 0.5)) (assert (> X_0 0.25)) (assert (<= Y_0 0.0))");
    let input = query.properties[0].input();
    assert_eq!((input.lower[0], input.upper[0]), (0.25, 0.5));
    assert!(input.contains(&[0.3, 0.0]) && !input.contains(&[0.25, 0.0]) && !input.contains(&[0.5, 0.0]));
    // A third is no double, and neither is 0.07 / 0.7 by doubles what it is by decimals.
    let head = "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [2]) (declare-output Y real [1]))\n";
    let text =
        "(assert (and (<= (* 3.0 X[0]) 1.0) (>= (* -0.7 X[0]) -0.07) (>= X[0] 0.0) (<= X[1] 0.1) (>= X[1] 0.1)))";
    let read = |head: &str| parse(&format!("{head}{text}(assert (<= Y[0] 0.1))"), "p", 2, 1).unwrap();
    let query = read(head);
    let input = query.properties[0].input();
    assert!(input.upper[0] > 0.1 && input.upper[0] < 0.1 + 1e-15 && input.certain()[1][0] < 0.1);
    // Next to a variable in single precision a number may stand for the float that it is nearest to.
    let near = f64::from(0.1f32);
    assert!(input.upper[1] < near && query.properties[0].violations()[0][0].bound < near);
    let query = read(&head.replace("real", "float32"));
    let input = query.properties[0].input();
    assert!(input.upper[1] == near && input.lower[1] < 0.1 && query.properties[0].violations()[0][0].bound == near);
}

#[test]
fn properties_that_nothing_or_everything_violates() {
    let input = InputBox::exact(vec![0.0, 0.5], vec![1.0, 0.5]);
    let row = LinearConstraint::at_most(vec![(0, 1.0)], 5.0);
    for (violations, violated) in [(vec![], false), (vec![vec![]], true), (vec![vec![row], vec![]], true)] {
        let property = Property::new(input.clone(), violations, 1).unwrap();
        for text in [write(&property, ""), write_version_2(&property, "", &[2], &[1])] {
            let again = parse(&text, "again", 2, 1).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
            let by = |y: f64| again.properties.iter().any(|property| property.violated_by(&[y]));
            assert!([-9.0, 0.0, 9.0].iter().all(|y| by(*y) == violated), "{text}");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let query = read("(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0) (<= Y_2 0.125))))");
    let property = &query.properties[0];
    for text in [write(property, "two\nlines"), write_version_2(property, "", &[1, 2], &[3])] {
        let again = parse(&text, "again", 2, 3).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        let again = &again.properties[0];
        assert_eq!(again.violations(), property.violations(), "{text}");
        // The ends are doubles, written to the last digit.
        assert_eq!((&again.input().lower, &again.input().upper[0]), (&property.input().lower, &1.0), "{text}");
        let upper = again.input().upper[1];
        assert!(upper == property.input().upper[1] || text.contains("float32") && upper == f64::from(0.1f32), "{text}");
    }
}

#[test]
fn one_clear_error() {
    let whole = declared(2, 3) + BOX + "(assert (or (and (>= Y_1 Y_0)) (<= Y_2 1.0)))";
    // Cut anywhere, it is refused or something else that is whole; never a panic.
    for end in 0..whole.len() {
        let _ = parse(&whole[..end], "cut", 2, 3);
    }
    for (body, why) in [
        ("(assert (<= X_7 1.0))", "X_7 of a network with 2 inputs"),
        ("(assert (<= Y_0 nan))", "\"nan\" is no variable"),
        ("(assert (<= Y_0 1.2.3))", "no number"),
        ("(assert (<= Y_0 1.0)", "the file ends"),
        ("(assert (=> Y_0 1.0))", "\"=>\""),
        ("(check-sat)", "\"check-sat\""),
        ("(assert (or))", "an empty \"or\""),
        ("Y_0", "outside of parentheses"),
        ("(assert (<= 0.0 1.0))", "a comparison of constants"),
    ] {
        let problem = fault(body);
        assert!(problem.contains(why) && problem.contains("line "), "{body}: {problem}");
    }
    let open = parse(&(declared(2, 1) + "(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= X_1 1))"), "p", 2, 1);
    assert!(open.unwrap_err().to_string().contains("X_1 has no lower bound"));
    let missing = parse(&declared(2, 1), "p", 3, 1).unwrap_err().to_string();
    assert!(missing.contains("X_2 is not declared"), "{missing}");
    assert!(parse(&"(assert (and ".repeat(5000), "deep", 2, 1).is_err());
}

#[test]
fn counterexamples_and_lists() {
    // Floats are written as the doubles that they are, and without exponents.
    let text = witness::write(&[0.5, -1e-8, 0.1], &[2.0, 1e-9]);
    assert!(
        text.starts_with("((X_0 0.5)\n(X_1 -0.0000000099") && text.ends_with("(Y_0 2.0)\n(Y_1 0.000000001))\n"),
        "{text}"
    );
    let read = witness::parse(&text, "w").unwrap();
    assert_eq!((read.input, read.output), ([0.5, -1e-8f32, 0.1].map(f64::from).to_vec(), vec![2.0, 1e-9]));
    let variables = [("X", vec![1, 2]), ("out", vec![1])].map(|(name, shape)| Variable {
        name: name.into(),
        element: Element::Float32,
        shape,
    });
    let text = witness::write_version_2(&variables, &[0.1, 3.0], &[-0.25]);
    assert_eq!(text, "X float32 [1, 2]\n0.10000000149011612\n3.0\nout float32 [1]\n-0.25\n");
    let read = witness::parse_version_2(&format!("sat\n{text}"), &variables, "w").unwrap();
    assert_eq!((read.input, read.output), (vec![f64::from(0.1f32), 3.0], vec![-0.25]));
    for wrong in ["", "X float32 [1, 2]\n0.1\nout float32 [1]\n1", "Z real []\n1\n", &(text + "1\n")] {
        assert!(witness::parse_version_2(wrong, &variables, "w").is_err(), "{wrong}");
    }
    assert!(witness::parse("sat\n((X_0  1) (X_2 1))", "w").unwrap_err().to_string().contains("X_2"));
    let list = instances::parse("./a.onnx, b.vnnlib ,116\nc.onnx,d.vnnlib,30.5\n", "i").unwrap();
    assert_eq!((list.len(), list[1].timeout, list[0].property.as_str()), (2, 30.5, "b.vnnlib"));
    assert_eq!(instances::parse("onnx,vnnlib,timeout\n\na.onnx,b.vnnlib,1\n", "i").unwrap().len(), 1);
    for wrong in
        ["", "a,b", "a,b,-1\n", "a,b,0\na,b,1", "a.onnx,b,x\na.onnx,b,1", "a,b,1\na,b,x", "\"[('f','a')]\",b,1"]
    {
        assert!(instances::parse(wrong, "i").is_err(), "{wrong}");
    }
}

#[test]
fn an_answer_counts_once() {
    use instances::{Claim, parse_results};
    let twice = "c,n,a,0,timeout,1\nc,n,a,0,unsat,1\nc,n,a,0,unsat,1\nc,n,b,0,sat,1\nc,n,b,0,unknown,1\n";
    let answers = vec![("a".to_string(), Claim::Unsat), ("b".to_string(), Claim::Sat)];
    assert_eq!(parse_results(twice, "r").unwrap(), answers);
    let problem = parse_results("c,n,a,0,unsat,1\nc,n,a,0,sat,1\n", "r").unwrap_err();
    assert!(problem.place.contains("line 2") && problem.why.contains("opposite"), "{problem:?}");
}
