//! Outcomes by hand.

use temper_verify::{
    Arithmetic, Attacked, Evidence, ImageVerdict, Stage, StageCount, Summary, Verdict, check_order, judge,
};

fn seen(clean_margin: f32, margin: f32) -> Attacked {
    let class = |margin: f32| if margin > 0.0 { 3 } else { 5 };
    Attacked { clean_margin, clean_class: class(clean_margin), margin, class: class(margin) }
}

/// The verdict for a clean margin, a bound and the margin of an attack.
fn verdict(clean: f32, bound: f32, attack: Option<f32>) -> ImageVerdict {
    let (clean, attacked) = (seen(clean, clean), attack.map(|margin| seen(clean, margin)));
    let bound = Some(f64::from(bound));
    judge(7, 3, &Evidence { clean, bound, arithmetic: Arithmetic::Real, attacked, refuted: false })
}

#[test]
fn outcomes() {
    use Verdict::*;
    for (clean, bound, attack, outcome) in [
        (1.0, 0.5, None, Certified),
        (1.0, 0.5, Some(0.6), Certified),
        (1.0, 1e-30, None, Certified),
        (1.0, 0.0, Some(0.6), Unknown), // strictly above 0
        (1.0, -0.5, Some(0.6), Unknown),
        (1.0, -0.5, None, Unknown),
        (1.0, -0.5, Some(-0.1), Attacked),
        (1.0, -0.5, Some(0.0), Attacked), // a tie is no certain class
        (-1.0, -2.0, None, Misclassified),
        (-1.0, -2.0, Some(-1.5), Misclassified),
        (0.0, -2.0, None, Misclassified),
        (1.0, f32::NEG_INFINITY, Some(0.5), Error),
        (1.0, f32::NAN, Some(0.5), Error),
        (1.0, f32::INFINITY, None, Error),
        (f32::NAN, 0.5, None, Error),
        (1.0, 0.5, Some(f32::NAN), Error),
        (1.0, f32::NAN, Some(-0.5), Error),
        // Bound and attack cannot both be right.
        (1.0, 0.5, Some(-0.1), Error),
        (-1.0, 0.5, None, Error),
        (-1e-4, 1e-6, None, Error),
        (1.0, 2e-5, Some(-1e-6), Error),
        // The margins of the two are computed in other orders.
        (1.0, 9e-6, Some(-9e-6), Attacked),
        (-9e-6, 9e-6, None, Misclassified),
    ] {
        let verdict = verdict(clean, bound, attack);
        assert_eq!(verdict.verdict, outcome, "clean {clean}, bound {bound}, attack {attack:?}: {verdict:?}");
        assert_eq!(verdict.reason.is_some(), outcome == Error, "{verdict:?}");
        let small = bound == 9e-6;
        assert_eq!(verdict.rounding, small, "{verdict:?}");
    }
}

#[test]
fn a_contradiction_names_image_and_margins() {
    let verdict = verdict(1.0, 0.5, Some(-0.125));
    let error = verdict.reason.unwrap();
    assert!(error.contains("image 7") && error.contains("5e-1") && error.contains("-1.25e-1"), "{error}");
}

#[test]
fn counts() {
    let verdicts = [
        verdict(1.0, 0.5, None),
        verdict(1.0, 0.5, Some(0.7)),
        verdict(1.0, -0.5, Some(0.7)),
        verdict(1.0, -0.5, Some(-0.7)),
        verdict(-1.0, -2.0, None),
        verdict(-1.0, -2.0, None),
        verdict(1.0, f32::NAN, None),
        verdict(-9e-6, 9e-6, None),
    ];
    let summary = Summary::of(&verdicts);
    let mut stages = [StageCount::default(); 5];
    stages[Stage::Attack as usize].attacked = 1;
    stages[Stage::Ibp as usize].certified = 2;
    let expected = Summary {
        images: 8,
        misclassified: 3,
        attacked: 1,
        certified: 2,
        unknown: 1,
        timeouts: 0,
        errors: 1,
        rounding: 1,
        stages,
    };
    assert_eq!(summary, expected);
    assert_eq!([summary.standard_error(), summary.robust_error(), summary.certified_error()], [37.5, 50.0, 75.0]);
    assert!(summary.check("test").unwrap_err().to_string().contains("1 of 8 images"));
    let mut clean = Summary::of(&verdicts[..6]);
    clean.check("test").unwrap();
    // A search that runs out of time leaves the image uncertified.
    clean.count(Verdict::Timeout, Some(Stage::Bab), false);
    clean.check("test").unwrap();
    assert_eq!((clean.timeouts, clean.certified_error()), (1, 500.0 / 7.0));
    clean.certified += 1;
    assert!(clean.check("test").is_err(), "an image with two outcomes");
    Summary::default().check("no image").unwrap();
}

#[test]
fn the_order_of_the_errors() {
    check_order([10.0, 10.0, 10.0], "test").unwrap();
    check_order([10.0, 20.0, 30.0], "test").unwrap();
    for wrong in [[10.0, 9.9, 30.0], [10.0, 20.0, 19.0], [10.0, f64::NAN, 30.0]] {
        check_order(wrong, "test").unwrap_err();
    }
}
