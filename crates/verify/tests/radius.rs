//! Certified radii: bisection by hand, and how the radii of a set are spread.

use std::cell::Cell;

use temper_verify::{CertifiedRadius, RadiusSummary, bisect};

#[test]
fn bisection_ends_beside_the_radius() {
    let limits = [0.3, -1.0, 2.0, 0.0];
    let certified = |eps: &[f64]| Ok(eps.iter().zip(limits).map(|(eps, limit)| *eps <= limit).collect());
    let found = bisect(4, 1.0, 4, &certified, &|| false).unwrap().unwrap();
    let radius = |certified, uncertified| CertifiedRadius { certified, uncertified };
    let expected = [
        radius(Some(0.25), Some(0.3125)),
        radius(None, Some(0.0)), // not even at 0
        radius(Some(1.0), None), // at the largest asked for
        radius(Some(0.0), Some(0.0625)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn bisection_stops_between_passes() {
    let passes = Cell::new(0);
    let certified = |eps: &[f64]| {
        passes.set(passes.get() + 1);
        Ok(vec![true; eps.len()])
    };
    assert_eq!(bisect(2, 1.0, 12, &certified, &|| passes.get() == 5).unwrap(), None);
    assert_eq!(passes.get(), 5);
}

#[test]
fn spread_of_the_radii() {
    let summary = RadiusSummary::of(vec![0.5, 0.0, 0.25, 1.0]);
    let expected = RadiusSummary { images: 4, mean: 0.4375, median: 0.5, quartiles: [0.25, 0.5], none: 1 };
    assert_eq!(summary, expected);
    let none = RadiusSummary { images: 0, mean: 0.0, median: 0.0, quartiles: [0.0, 0.0], none: 0 };
    assert_eq!(RadiusSummary::of(Vec::new()), none);
}
