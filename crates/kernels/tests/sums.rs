//! Sums over lists of terms, against plain loops.

use temper_kernels::arch::{InstructionSet, pretend_at_most};
use temper_kernels::sums::{Float, Term, sums};

fn number(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

/// Small integers, whose sums are exact in any order.
fn check<T: Float + PartialEq + std::fmt::Debug>(of: fn(f64) -> T) {
    let mut seed = 7;
    for rows in (1..20).chain([31, 32, 33, 47, 48, 49, 64, 65, 100]) {
        let (runs, outputs, width) = (9, 1 + number(&mut seed) % 24, 30);
        let weights: Vec<f64> = (0..runs * width).map(|_| (number(&mut seed) % 17) as f64 - 8.0).collect();
        let from: Vec<f64> = (0..runs * rows).map(|_| (number(&mut seed) % 17) as f64 - 8.0).collect();
        let terms: Vec<Term> =
            (0..runs as u32).filter(|_| number(&mut seed) % 3 != 1).map(|i| [i * width as u32, i]).collect();
        let places: Vec<Term> = (0..outputs as u32).map(|o| [o % 7 * 2, (o * 5) % 25]).collect();
        let mut want = vec![99.0; 25 * rows];
        for [w, o] in &places {
            for r in 0..rows {
                let term = |[k, i]: &Term| weights[(w + k) as usize] * from[*i as usize * rows + r];
                want[*o as usize * rows + r] = terms.iter().map(term).sum();
            }
        }
        let [weights, from, want] =
            [weights, from, want].map(|numbers| numbers.into_iter().map(of).collect::<Vec<T>>());
        let mut to = vec![of(99.0); 25 * rows];
        sums(rows, &weights, &places, &terms, &from, &mut to);
        assert_eq!(to, want, "{rows} rows, {outputs} sums");
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
    let call = |sum: Term, term: Term| {
        std::panic::catch_unwind(|| sums(2, &[1.0f32; 4], &[sum], &[term], &[1.0; 6], &mut [0.0; 6])).is_err()
    };
    assert!(!call([1, 2], [2, 2]));
    assert!(call([1, 3], [2, 2]) && call([2, 2], [2, 2]) && call([1, 2], [2, 3]));
}
