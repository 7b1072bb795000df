//! Ends of intervals as centres and radii, and back.

use temper_kernels::arch::{InstructionSet, pretend_at_most};
use temper_kernels::ends::End;

const INSTRUCTIONS: [InstructionSet; 3] = [InstructionSet::Portable, InstructionSet::Avx2, InstructionSet::Avx512];

fn cycle<T: Copy, const N: usize>(numbers: [T; N]) -> Vec<T> {
    numbers.into_iter().cycle().take(48).collect()
}

#[test]
fn middles_are_as_far_from_both_ends_as_the_radius_says() {
    let large = f32::MAX;
    for set in INSTRUCTIONS {
        pretend_at_most(set);
        let (l, u) = (cycle([0.0, -1.0, 1.0, -large, 1e38]), cycle([0.0, 3.0, 1.0, large, 3e38]));
        let (mut m, mut r) = (vec![0.0f32; 48], vec![0.0f32; 48]);
        f32::middles(&l, &u, &mut m, &mut r);
        assert_eq!(m, cycle([0.0, 1.0, 1.0, 0.0, 0.5 * 1e38 + 0.5 * 3e38]));
        assert_eq!(r, cycle([0.0, 2.0, 0.0, large, 3e38 - m[4]]));
    }
}

#[test]
fn an_interval_that_is_not_known_has_no_end() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    for set in INSTRUCTIONS {
        pretend_at_most(set);
        for least in [-infinity, 0.0] {
            let (mut m, mut r) = (cycle([1.0, nan, infinity, 0.0, -4.0]), cycle([2.0, 1.0, 1.0, nan, 1.0]));
            f64::meet(&mut m, &mut r, 0.5, least);
            assert_eq!(m, cycle([-0.5, -infinity, -infinity, -infinity, -4.5].map(|lower: f64| lower.max(least))));
            assert_eq!(r, cycle([3.5, infinity, infinity, infinity, (-2.5f64).max(least)]));
        }
    }
}
