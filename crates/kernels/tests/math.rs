//! The polynomials against `f64`, and their behaviour at the ends.
use temper_kernels::arch::dispatch;
use temper_kernels::math::{erf, exp, max, sigmoid, sum_by};

fn map(f: impl Fn(temper_kernels::arch::Isa, f32) -> f32, x: f32) -> f32 {
    dispatch(
        #[inline(always)]
        |isa| f(isa, x),
    )
}

#[test]
fn exp_is_within_its_stated_error() {
    let mut worst = 0.0_f64;
    for i in -870_000..=880_000 {
        let x = i as f32 * 1e-4;
        let truth = f64::from(x).exp();
        worst = worst.max((f64::from(map(exp, x)) - truth).abs() / truth);
    }
    assert!(worst < 2e-7, "{worst:e}");
}

#[test]
fn exp_at_the_ends() {
    assert_eq!(map(exp, 0.0), 1.0);
    assert_eq!(map(exp, -0.0), 1.0);
    assert_eq!(map(exp, -88.0), 0.0);
    assert_eq!(map(exp, f32::NEG_INFINITY), 0.0);
    assert_eq!(map(exp, f32::INFINITY), f32::INFINITY);
    assert_eq!(map(exp, 100.0), f32::INFINITY);
    assert!(map(exp, f32::NAN).is_nan());
}

#[test]
fn erf_is_within_its_stated_error() {
    let mut worst = 0.0_f64;
    for i in -600_000..=600_000 {
        let x = i as f32 * 1e-5;
        worst = worst.max((f64::from(map(erf, x)) - libm::erf(f64::from(x))).abs());
    }
    assert!(worst < 5e-7, "{worst:e}");
    assert!(map(erf, f32::NAN).is_nan());
}

#[test]
fn sigmoid_is_within_its_stated_error() {
    let mut worst = 0.0_f64;
    for i in -870_000..=870_000 {
        let x = i as f32 * 1e-4;
        let truth = 1.0 / (1.0 + (-f64::from(x)).exp());
        worst = worst.max((f64::from(map(sigmoid, x)) - truth).abs() / truth);
    }
    assert!(worst < 3e-7, "{worst:e}");
    assert_eq!(map(sigmoid, -1000.0), 0.0);
    assert_eq!(map(sigmoid, 1000.0), 1.0);
    assert!(map(sigmoid, f32::NAN).is_nan());
}

#[test]
fn sums_and_maxima_of_any_length() {
    for n in 0..100 {
        let x: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        assert_eq!(sum_by(n, |i| x[i]), x.iter().sum::<f32>(), "sum of {n}");
        assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "max of {n}");
    }
}
