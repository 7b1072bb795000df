//! What the tests share: numbers, comparison with a tolerance, and the check that threads do not matter.
#![allow(dead_code)]

/// Deterministic numbers in -1..1 (SplitMix64).
pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    (0..n).map(|_| (next(&mut state) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Deterministic integers below `bound`.
pub fn indices(seed: u64, n: usize, bound: usize) -> Vec<u32> {
    let mut state = seed;
    (0..n).map(|_| (next(&mut state) % bound as u64) as u32).collect()
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// Every element within `tolerance` times the largest expected magnitude (at least 1e-3).
#[track_caller]
pub fn close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let size = expected.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(g) - e).abs() / size;
        assert!(error <= tolerance, "{what}[{i}]: got {g}, expected {e}, error {error:.2e} of the largest");
    }
}

/// Runs `work` in pools of 1, 2 and 3 threads and asserts that every result has the same bits.
#[track_caller]
pub fn same_for_all_pools(what: &str, work: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let results = pool.install(&work);
        results.into_iter().map(|r| r.into_iter().map(f32::to_bits).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let one = bits(1);
    assert!(one == bits(2), "{what}: 1 and 2 threads differ");
    assert!(one == bits(3), "{what}: 1 and 3 threads differ");
}

/// `c[m, n] = a[m, k] b[k, n]` in `f64`, from accessors.
pub fn product(
    m: usize,
    n: usize,
    k: usize,
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for p in 0..k {
            let v = a(i, p);
            for j in 0..n {
                c[i * n + j] += v * b(p, j);
            }
        }
    }
    c
}
