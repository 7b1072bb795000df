//! Sums over spans of runs, against plain loops.

use temper_kernels::arch::{InstructionSet, pretend_at_most};
use temper_kernels::sums::{Float, LANES, Offsets, Span, sums};

fn number(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

/// Small integers, whose sums are exact in any order.
fn check<T: Float + PartialEq + std::fmt::Debug>(of: fn(f64) -> T) {
    let mut seed = 7;
    for rows in (1..10).map(|vectors| vectors * LANES) {
        for outputs in 1..25 {
            let (runs, width) = (9, 30);
            let mut numbers =
                |n: usize| -> Vec<f64> { (0..n).map(|_| (number(&mut seed) % 17) as f64 - 8.0).collect() };
            let (weights, from) = (numbers((runs + 2) * width), numbers(runs * rows));
            let offsets: Vec<u32> = (0..runs as u32).map(|run| run * width as u32).collect();
            let spans = [[0, 2, 3], [5, 5, 0], [6, 9, -150], [2, 3, 27]].map(|[first, end, base]| Span {
                first: first as u32,
                end: end as u32,
                base,
            });
            let places: Vec<u32> = (0..outputs).map(|o| o % 7 * 2).collect();
            let mut want = vec![0.0; outputs as usize * rows];
            for (o, place) in places.iter().enumerate() {
                for r in 0..rows {
                    for (span, run) in spans.iter().flat_map(|span| (span.first..span.end).map(move |run| (span, run)))
                    {
                        let weight = (span.base + i64::from(offsets[run as usize] + place)) as usize;
                        want[o * rows + r] += weights[weight] * from[run as usize * rows + r];
                    }
                }
            }
            let [weights, from, want] =
                [weights, from, want].map(|numbers| numbers.into_iter().map(of).collect::<Vec<T>>());
            let mut to = vec![of(99.0); want.len()];
            sums(rows, &weights, &places, &Offsets::new(offsets), &spans, &from, &mut to);
            assert_eq!(to, want, "{rows} rows, {outputs} sums");
        }
    }
}

#[test]
fn every_size_and_instruction_set_sums_what_is_listed() {
    for set in [InstructionSet::Portable, InstructionSet::Avx2, InstructionSet::Avx512] {
        pretend_at_most(set);
        check::<f32>(|x| x as f32);
        check::<f64>(|x| x);
    }
}

#[test]
fn places_outside_of_their_slices_are_refused() {
    let call = |places: &[u32], offsets: &[u32], span: [i64; 3], runs: usize| {
        let [first, end, base] = span;
        let span = Span { first: first as u32, end: end as u32, base };
        let (from, mut to) = (vec![1.0f32; runs * LANES], vec![0.0; 2 * LANES]);
        let call = || sums(LANES, &[1.0; 6], places, &Offsets::new(offsets.to_vec()), &[span], &from, &mut to);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
    };
    assert!(!call(&[0, 3], &[0, 2], [0, 2, 0], 2));
    assert!(!call(&[0, 3], &[2, 4], [0, 2, -2], 2));
    assert!(call(&[0, 4], &[0, 2], [0, 2, 0], 2), "a weight behind the last");
    assert!(call(&[0, 3], &[0, 2], [0, 2, -1], 2), "a weight before the first");
    assert!(call(&[0, 3], &[2, 0], [0, 2, 0], 2), "places in another order");
    assert!(call(&[0, 3], &[0, 2], [0, 3, 0], 2), "a run without a place");
    assert!(call(&[0, 3], &[0, 2], [0, 2, 0], 1), "a run that is not there");
    assert!(call(&[0], &[0, 2], [0, 2, 0], 2), "sums for other runs");
}
