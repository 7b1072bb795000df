//! The polynomials against `f64`, and their behaviour at the ends.
use temper_kernels::arch::dispatch;
use temper_kernels::math::{exp, exp2, max, normal, normal_slope, sigmoid, sum_by};

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
fn exp2_is_within_its_stated_error() {
    let mut worst = 0.0_f64;
    for i in -1_260_000..=1_270_000 {
        let y = i as f32 * 1e-4;
        let truth = f64::from(y).exp2();
        worst = worst.max((f64::from(map(exp2, y)) - truth).abs() / truth);
    }
    assert!(worst < 1e-7, "{worst:e}");
    assert_eq!(map(exp2, 0.0), 1.0);
    assert_eq!(map(exp2, -1000.0), 2.0_f32.powi(-126));
    assert_eq!(map(exp2, f32::NEG_INFINITY), 2.0_f32.powi(-126));
    for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7fc0_0001), f32::from_bits(0xffff_ffff), f32::INFINITY] {
        assert!(map(exp2, nan).is_nan());
    }
}

#[test]
fn normal_and_its_slope_are_within_their_stated_errors() {
    let (mut worst, mut worst_slope) = (0.0_f64, 0.0_f64);
    for i in -800_000..=800_000 {
        let x = i as f32 * 1e-5;
        let v = f64::from(x);
        let truth = 0.5 * libm::erfc(-v / 2.0_f64.sqrt());
        let density = (-0.5 * v * v).exp() / (2.0 * std::f64::consts::PI).sqrt();
        worst = worst.max((f64::from(map(normal, x)) - truth).abs());
        worst_slope = worst_slope.max((f64::from(map(normal_slope, x)) - truth - v * density).abs());
    }
    assert!(worst < 1.5e-7, "{worst:e}");
    assert!(worst_slope < 5e-7, "{worst_slope:e}");
    assert_eq!((map(normal, -9.0), map(normal, 0.0), map(normal, 9.0)), (0.0, 0.5, 1.0));
    assert!(map(normal, f32::NAN).is_nan() && map(normal_slope, f32::NAN).is_nan());
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
        assert_eq!(sum_by([&x], |[x]| x), x.iter().sum::<f32>(), "sum of {n}");
        assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "max of {n}");
    }
}
