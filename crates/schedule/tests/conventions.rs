//! The first and last updates of every named convention, against numbers computed elsewhere from the original sources.

use temper_schedule::{Convention, Length, LrShape, LrSpec, Schedule, Units};

const UNITS: Units = Units { tokens_per_step: 4096, tokens_per_epoch: None };

fn cosine(convention: Convention, warmup: Length, min: f64, horizon: u64) -> Schedule {
    let spec = LrSpec {
        peak: 1e-3,
        min: Some(min),
        min_ratio: None,
        warmup,
        warmup_from: 0.0,
        convention,
        shape: LrShape::Cosine { decay_end: None },
    };
    spec.resolve(&UNITS, horizon).expect("a valid schedule")
}

fn check(name: &str, schedule: &Schedule, n: u64, expected: f64) {
    let value = schedule.at(n);
    assert!((value - expected).abs() <= 1e-9 * expected, "{name}, update {n}: {value:e} instead of {expected:e}");
}

/// Maximum 1e-3, minimum 1e-4, warmup 10, horizon 1000; doubles rounded to ten digits.
#[rustfmt::skip]
const TABLE: [(&str, [f64; 9]); 7] = [
    ("neox",      [1.000000000e-4, 1.000000000e-4, 9.000000000e-4, 1.000000000e-3, 9.999977343e-4, 5.585674623e-4, 1.884768778e-4, 1.000090630e-4, 1.000022657e-4]),
    ("neox-2023", [0.0,            1.000000000e-4, 9.000000000e-4, 1.000000000e-3, 9.999975326e-4, 5.172753207e-4, 1.058871940e-4, 1.000000000e-4, 1.000000000e-4]),
    ("nanogpt",   [9.090909091e-5, 1.818181818e-4, 9.090909091e-4, 1.000000000e-3, 9.999977343e-4, 5.585674623e-4, 1.884768778e-4, 1.000090630e-4, 1.000022657e-4]),
    ("llm.c",     [1.000000000e-4, 2.000000000e-4, 1.000000000e-3, 1.000000000e-3, 9.999977343e-4, 5.585674623e-4, 1.884768778e-4, 1.000090630e-4, 1.000022657e-4]),
    ("hf",        [0.0,            1.000000000e-4, 9.000000000e-4, 1.000000000e-3, 9.999977343e-4, 5.585674623e-4, 1.884768778e-4, 1.000090630e-4, 1.000022657e-4]),
    ("olmo-core", [1.000000000e-4, 2.000000000e-4, 1.000000000e-3, 9.999977343e-4, 9.999909370e-4, 5.571396837e-4, 1.876283841e-4, 1.000022657e-4, 1.000000000e-4]),
    ("ours",      [1.000000000e-4, 2.000000000e-4, 1.000000000e-3, 9.999977343e-4, 9.999909370e-4, 5.571396837e-4, 1.876283841e-4, 1.000022657e-4, 1.000000000e-4]),
];
const COLUMNS: [u64; 9] = [1, 2, 10, 11, 12, 500, 800, 999, 1000];

#[test]
fn table() {
    assert_eq!(TABLE.len(), Convention::NAMES.len());
    for (name, values) in TABLE {
        let convention = Convention::from_name(name).expect(name);
        let schedule = cosine(convention, Length::Fraction(0.01), 1e-4, 1000);
        for (n, expected) in COLUMNS.into_iter().zip(values) {
            check(name, &schedule, n, expected);
        }
        for n in [1001, 1002, 5000, u64::MAX] {
            check(name, &schedule, n, 1e-4);
        }
    }
}

/// The code each name stands for, transcribed, at every update of several schedules.
#[test]
fn every_update_against_the_formulas() {
    let half_cosine = |x: f64| 0.5 * (1.0 + (std::f64::consts::PI * x).cos());
    let (max, min) = (1e-3, 1e-4);
    for (w, t) in [(0u64, 7u64), (1, 9), (10, 100), (30, 100), (50, 100)] {
        let (wf, tf) = (w as f64, t as f64);
        for name in Convention::NAMES {
            let schedule = cosine(Convention::from_name(name).unwrap(), Length::Steps(w), min, t);
            for n in 1..=t + 3 {
                let (nf, i, i_f) = (n as f64, n - 1, (n - 1) as f64);
                let late = min + (max - min) * half_cosine(((i_f - wf) / (tf - wf)).clamp(0.0, 1.0));
                let expected = match *name {
                    "neox" if w > 0 && i <= w => max * i_f.max(1.0) / wf,
                    "neox-2023" => {
                        let j = i_f.min(tf - wf);
                        if w > 0 && i <= w { max * j / wf } else { (max * half_cosine((j - wf) / tf)).max(min) }
                    }
                    "nanogpt" if i < w => max * (i_f + 1.0) / (wf + 1.0),
                    "llm.c" if i < w => max * (i_f + 1.0) / wf,
                    "hf" if i < w => max * i_f / wf,
                    "ours" | "olmo-core" if n < w => max * nf / wf,
                    "ours" | "olmo-core" => min + (max - min) * half_cosine(((nf - wf) / (tf - wf)).min(1.0)),
                    _ => late,
                };
                let value = schedule.at(n);
                assert!((value - expected).abs() < 1e-12, "{name} w {w} T {t} n {n}: {value:e} {expected:e}");
            }
        }
    }
}

/// The paper's run: horizon 297 G tokens, flat at 0.1 of the maximum from about 240 G on, a phase of its own.
#[test]
fn neox_2023_reaches_the_minimum_at_240_of_297() {
    let schedule = cosine(Convention::Neox2023, Length::Fraction(0.01), 1e-4, 297_000);
    let constant = schedule.phases().last().unwrap();
    let reached = constant.first as f64 / 297_000.0 * 297.0;
    assert!((reached - 239.1).abs() < 0.2, "{reached}");
    assert!(schedule.at(constant.first - 2) > 1e-4);
    assert_eq!(schedule.at(constant.first), 1e-4);
}

/// GPT-NeoX's linear decay aims at zero and is clamped at the minimum (`megatron/learning_rates.py` of 2026-05).
#[test]
fn neox_linear_aims_at_zero() {
    let (max, t) = (1e-3, 100);
    for (w, min) in [(0, 1e-4), (10, 1e-4), (10, 0.0), (30, 9e-4), (10, 1e-3)] {
        let spec = LrSpec {
            peak: max,
            min: Some(min),
            min_ratio: None,
            warmup: Length::Steps(w),
            warmup_from: 0.0,
            convention: Convention::Neox,
            shape: LrShape::Linear { decay_end: None },
        };
        let schedule = spec.resolve(&UNITS, t).expect("a valid schedule");
        for n in 1..=t {
            // GPT-NeoX counts from 0.
            let i = n - 1;
            let warm = max * i.max(1) as f64 / w as f64;
            let decay = (max * (t - w - (i.max(w) - w)) as f64 / (t - w) as f64).max(min);
            let expected = if w > 0 && i <= w { warm } else { decay };
            let value = schedule.at(n);
            assert!(
                (value - expected).abs() <= 1e-12,
                "warmup {w}, minimum {min}, update {n}: {value:e}, not {expected:e}"
            );
        }
    }
}

#[test]
fn neox_2023_is_a_cosine_only() {
    let spec = LrSpec {
        peak: 1e-3,
        min: None,
        min_ratio: None,
        warmup: Length::ZERO,
        warmup_from: 0.0,
        convention: Convention::Neox2023,
        shape: LrShape::Linear { decay_end: None },
    };
    let errors = spec.resolve(&UNITS, 100).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "convention");
}
