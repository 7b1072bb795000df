//! Every schedule at every boundary, what is refused, and continuity over random schedules.

use temper_schedule::{Convention, CooldownShape, DecayShape, Length, LrShape, LrSpec, Name, Schedule, Shape, Units};
use temper_schedule::{shape_fields, sparkline};

const UNITS: Units = Units { tokens_per_step: 4096, tokens_per_epoch: Some(409_600) };
const PEAK: f64 = 3e-4;
const MIN: f64 = 3e-5;

fn spec(warmup: Length, shape: LrShape) -> LrSpec {
    LrSpec { peak: PEAK, min: None, min_ratio: None, warmup, warmup_from: 0.0, convention: Convention::Ours, shape }
}

fn resolve(spec: &LrSpec, horizon: u64) -> Schedule {
    spec.resolve(&UNITS, horizon).unwrap_or_else(|errors| panic!("{spec:?}: {errors:?}"))
}

fn check(schedule: &Schedule, expected: &[(u64, f64)]) {
    for (n, value) in expected {
        let got = schedule.at(*n);
        assert!((got - value).abs() <= 1e-12 * value.abs() + 1e-18, "update {n}: {got:e} instead of {value:e}");
    }
}

fn bands(schedule: &Schedule, stop: u64) -> Vec<(&'static str, u64, u64)> {
    schedule.bands(stop).iter().map(|band| (band.name.as_str(), band.first, band.last)).collect()
}

fn steps(n: u64) -> Length {
    Length::Steps(n)
}

fn wsd(decay_shape: DecayShape) -> LrShape {
    LrShape::Wsd { decay: Length::Fraction(0.1), decay_shape, power: 3.0 }
}

#[test]
fn constant() {
    let schedule = resolve(&spec(steps(4), LrShape::Constant), 100);
    check(&schedule, &[(1, PEAK / 4.0), (4, PEAK), (5, PEAK), (100, PEAK), (101, PEAK)]);
    assert_eq!(bands(&schedule, 100), [("warmup", 1, 4), ("constant", 5, 100)]);
    let cold = resolve(&spec(Length::Fraction(0.0), LrShape::Constant), 100);
    check(&cold, &[(0, PEAK), (1, PEAK), (u64::MAX, PEAK)]);
    assert_eq!(bands(&cold, 100), [("constant", 1, 100)]);
}

#[test]
fn cosine_that_ends_before_the_horizon() {
    let end = Some(Length::Fraction(0.8));
    let schedule = resolve(&spec(Length::Fraction(0.01), LrShape::Cosine { decay_end: end }), 1000);
    let middle = MIN + (PEAK - MIN) / 2.0;
    check(&schedule, &[(1, PEAK / 10.0), (10, PEAK), (405, middle), (800, MIN), (801, MIN), (1000, MIN), (1001, MIN)]);
    assert!(schedule.at(11) < PEAK && schedule.at(799) > MIN);
    assert_eq!(bands(&schedule, 1000), [("warmup", 1, 10), ("decay", 11, 800), ("constant", 801, 1000)]);
    assert_eq!(bands(&schedule, 500), [("warmup", 1, 10), ("decay", 11, 500)]);
    let no_warmup = resolve(&spec(Length::ZERO, LrShape::Cosine { decay_end: None }), 4);
    let quarter = MIN + (PEAK - MIN) * 0.5 * (1.0 + 0.5_f64.sqrt());
    check(&no_warmup, &[(1, quarter), (2, middle), (4, MIN), (5, MIN)]);
}

#[test]
fn linear() {
    let schedule = resolve(&spec(steps(10), LrShape::Linear { decay_end: None }), 110);
    check(&schedule, &[(10, PEAK), (11, PEAK - 2.7e-6), (60, 1.65e-4), (109, MIN + 2.7e-6), (110, MIN), (111, MIN)]);
    let to_zero = resolve(&spec(steps(10), LrShape::LinearToZero), 110);
    check(&to_zero, &[(10, PEAK), (11, 2.97e-4), (60, 1.5e-4), (109, 3e-6), (110, 0.0), (111, 0.0)]);
}

#[test]
fn wsd_with_every_decay_shape() {
    // The decay runs over updates 901 to 1000; its value after 25 of the 100, from the definition of each shape.
    for (shape, at_quarter) in [
        (DecayShape::Linear, MIN + 2.7e-4 * 0.75),
        (DecayShape::Cosine, MIN + 2.7e-4 * 0.8535533905932738),
        (DecayShape::OneMinusSqrt, MIN + 2.7e-4 * 0.5),
        (DecayShape::Exponential, PEAK * 0.5623413251903491),
        (DecayShape::HalfLife, MIN + 2.7e-4 * 0.681792830507429),
        (DecayShape::Inverse, 1.0 / (0.25 / MIN + 0.75 / PEAK)),
        (DecayShape::Sqrt, MIN + 2.7e-4 * 0.8660254037844386),
        (DecayShape::Power, MIN + 2.7e-4 * 0.421875),
    ] {
        let schedule = resolve(&spec(steps(10), wsd(shape)), 1000);
        let expected = [(9, 2.7e-4), (10, PEAK), (11, PEAK), (900, PEAK), (925, at_quarter), (1000, MIN), (1001, MIN)];
        check(&schedule, &expected);
        assert!(schedule.at(901) < PEAK && schedule.at(999) > MIN, "{shape:?}");
        assert_eq!(bands(&schedule, 1000), [("warmup", 1, 10), ("constant", 11, 900), ("decay", 901, 1000)]);
    }
}

#[test]
fn wsd_that_only_decays_and_wsd_without_decay() {
    let only = LrShape::Wsd { decay: Length::Fraction(1.0), decay_shape: DecayShape::Linear, power: 2.0 };
    let schedule = resolve(&spec(Length::ZERO, only), 100);
    check(&schedule, &[(1, 2.973e-4), (50, 1.65e-4), (100, MIN)]);
    assert_eq!(bands(&schedule, 100), [("decay", 1, 100)]);
    let none = LrShape::Wsd { decay: Length::ZERO, decay_shape: DecayShape::Linear, power: 2.0 };
    check(&resolve(&spec(steps(2), none), 100), &[(2, PEAK), (100, PEAK), (101, PEAK)]);
}

#[test]
fn wsd_s_jumps_back_to_the_maximum() {
    let shape = |cycles, ends| LrShape::WsdS {
        decay: Length::Fraction(0.1),
        decay_shape: DecayShape::Inverse,
        power: 2.0,
        cycles,
        ends,
    };
    let schedule = resolve(&spec(steps(10), shape(Some(2), vec![])), 200);
    let half = 1.0 / (0.5 / MIN + 0.5 / PEAK);
    let first = [(1, PEAK / 10.0), (10, PEAK), (11, PEAK), (90, PEAK), (95, half), (100, MIN)];
    check(&schedule, &first);
    check(&schedule, &[(101, PEAK), (190, PEAK), (195, half), (200, MIN), (201, MIN)]);
    let names = ["warmup", "constant", "decay", "constant", "decay"];
    assert_eq!(schedule.bands(200).iter().map(|band| band.name.as_str()).collect::<Vec<_>>(), names);
    // Periods of 50, 100 and 250 updates; each decay is a tenth of its own.
    let schedule = resolve(&spec(Length::ZERO, shape(None, vec![steps(50), Length::Fraction(0.375)])), 400);
    check(
        &schedule,
        &[(45, PEAK), (50, MIN), (51, PEAK), (140, PEAK), (150, MIN), (151, PEAK), (375, PEAK), (400, MIN)],
    );
    assert!(schedule.at(46) < PEAK && schedule.at(141) < PEAK && schedule.at(376) < PEAK);
}

#[test]
fn repeated_rewarming() {
    let shape = |rewarm, rewarm_from| LrShape::RewarmCosine { cycles: Some(3), ends: vec![], rewarm, rewarm_from };
    let schedule = resolve(&spec(Length::Fraction(0.1), shape(None, None)), 300);
    let middle = MIN + (PEAK - MIN) / 2.0;
    check(&schedule, &[(1, PEAK / 10.0), (10, PEAK), (55, middle), (100, MIN)]);
    check(
        &schedule,
        &[(101, MIN + 2.7e-5), (110, PEAK), (155, middle), (200, MIN), (210, PEAK), (300, MIN), (301, MIN)],
    );
    let from_zero = resolve(&spec(Length::Fraction(0.1), shape(Some(Length::Fraction(0.2)), Some(0.0))), 300);
    check(&from_zero, &[(10, PEAK), (100, MIN), (101, PEAK / 20.0), (120, PEAK), (200, MIN), (201, PEAK / 20.0)]);
    let no_rewarm = resolve(&spec(Length::Fraction(0.1), shape(Some(Length::ZERO), None)), 300);
    check(&no_rewarm, &[(100, MIN), (145, MIN + 2.7e-4 * 0.5 * (1.0 + (std::f64::consts::PI * 0.45).cos()))]);
}

#[test]
fn infinite() {
    let shape = |cooldown_shape, alpha, constant_lr| LrShape::Infinite {
        cooldown: Length::Fraction(0.6),
        cooldown_shape,
        alpha,
        constant: Length::Fraction(0.25),
        constant_lr,
    };
    // w 10, cooldown 11..=610, constant 611..=860, anneal 861..=1000 (140 updates).
    let cosine = resolve(&spec(steps(10), shape(CooldownShape::Cosine, 1.0, Some(1.65e-4))), 1000);
    let anneal = |v: f64| 1.65e-4 * (3e-5_f64 / 1.65e-4).powf(v / 140.0);
    check(&cosine, &[(10, PEAK), (310, 2.325e-4), (610, 1.65e-4), (611, 1.65e-4), (860, 1.65e-4)]);
    check(&cosine, &[(861, anneal(1.0)), (930, anneal(70.0)), (999, anneal(139.0)), (1000, MIN), (1001, MIN)]);
    let names = [("warmup", 1, 10), ("cooldown", 11, 610), ("constant", 611, 860), ("anneal", 861, 1000)];
    assert_eq!(bands(&cosine, 1000), names);
    // The default of the constant is the middle, which is the paper's value here.
    assert_eq!(resolve(&spec(steps(10), shape(CooldownShape::Cosine, 1.0, None)), 1000).at(700), 1.65e-4);
    let alpha = 10.0;
    let slow = resolve(&spec(steps(10), shape(CooldownShape::InverseSqrt, alpha, None)), 1000);
    let h = |x: f64| 1.0 / (1.0 + alpha * x).sqrt() - 1.0;
    let at = |u: f64| PEAK + (1.65e-4 - PEAK) * h(u / 600.0) / h(1.0);
    check(&slow, &[(10, PEAK), (11, at(1.0)), (310, at(300.0)), (609, at(599.0)), (610, 1.65e-4), (611, 1.65e-4)]);
    // GPT-NeoX counting: warmup up to and with i = w, so everything is one update later.
    let mut neox = spec(steps(10), shape(CooldownShape::Cosine, 1.0, Some(1.65e-4)));
    neox.convention = Convention::Neox;
    let neox = resolve(&neox, 1000);
    check(&neox, &[(1, PEAK / 10.0), (2, PEAK / 10.0), (11, PEAK), (311, 2.325e-4), (611, 1.65e-4), (861, 1.65e-4)]);
    check(&neox, &[(862, anneal(1.0)), (1000, anneal(139.0)), (1001, MIN)]);
    // Without room for an anneal the constant lasts.
    let endless = LrShape::Infinite {
        cooldown: Length::Fraction(0.5),
        cooldown_shape: CooldownShape::Cosine,
        alpha: 1.0,
        constant: Length::Fraction(0.5),
        constant_lr: None,
    };
    check(&resolve(&spec(Length::ZERO, endless), 100), &[(50, 1.65e-4), (100, 1.65e-4), (1000, 1.65e-4)]);
}

#[test]
fn multi_step() {
    let shape = LrShape::MultiStep { milestones: vec![steps(50), Length::Fraction(0.75)], gamma: 0.2 };
    let schedule = resolve(&spec(steps(10), shape.clone()), 100);
    check(&schedule, &[(10, PEAK), (50, PEAK), (51, 6e-5), (75, 6e-5), (76, 1.2e-5), (100, 1.2e-5), (101, 1.2e-5)]);
    let mut neox = spec(steps(10), shape);
    neox.convention = Convention::Neox;
    check(&resolve(&neox, 100), &[(11, PEAK), (50, PEAK), (51, 6e-5), (75, 6e-5), (76, 1.2e-5)]);
}

#[test]
fn inverse_sqrt_does_not_depend_on_the_horizon() {
    let shape = LrShape::InverseSqrt { timescale: None };
    for horizon in [400, 1000] {
        let schedule = resolve(&spec(steps(100), shape.clone()), horizon);
        check(&schedule, &[(50, PEAK / 2.0), (100, PEAK), (101, PEAK * (100.0_f64 / 101.0).sqrt()), (400, PEAK / 2.0)]);
    }
    let schedule = resolve(&spec(Length::ZERO, LrShape::InverseSqrt { timescale: Some(steps(30)) }), 300);
    check(&schedule, &[(90, PEAK / 2.0), (300, PEAK / 11.0_f64.sqrt()), (301, PEAK / 11.0_f64.sqrt())]);
}

#[test]
fn warmup_may_start_above_zero_and_lengths_may_be_tokens_or_epochs() {
    let mut spec = spec("40960 tok".parse().unwrap(), LrShape::Linear { decay_end: Some(Length::Epochs(1.0)) });
    spec.warmup_from = 1e-4;
    check(&resolve(&spec, 200), &[(1, 1.2e-4), (5, 2e-4), (10, PEAK), (55, 1.65e-4), (100, MIN), (200, MIN)]);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let fields = |spec: &LrSpec, horizon: u64| -> Vec<&'static str> {
        spec.resolve(&UNITS, horizon).expect_err("a bad spec").iter().map(|error| error.field).collect()
    };
    let cosine = LrShape::Cosine { decay_end: None };
    let mut bad = spec(steps(100), cosine.clone());
    (bad.peak, bad.min_ratio) = (-1.0, Some(2.0));
    assert_eq!(fields(&bad, 100), ["peak", "min_ratio", "warmup_from", "warmup"]);
    let mut both = spec(steps(1), cosine.clone());
    (both.min, both.min_ratio) = (Some(1e-5), Some(0.1));
    assert_eq!(fields(&both, 100), ["min"]);
    assert_eq!(fields(&spec(steps(1), cosine.clone()), 0), ["horizon", "warmup"]);
    assert_eq!(fields(&spec(steps(101), LrShape::Constant), 100), ["warmup"]);
    let too_late = LrShape::Cosine { decay_end: Some(steps(101)) };
    assert_eq!(fields(&spec(steps(1), too_late), 100), ["decay_end"]);
    let long = |decay| LrShape::Wsd { decay, decay_shape: DecayShape::Exponential, power: 0.0 };
    assert_eq!(fields(&spec(steps(20), long(Length::Fraction(0.9))), 100), ["decay"]);
    let mut zero = spec(steps(1), long(Length::Fraction(0.1)));
    zero.min = Some(0.0);
    assert_eq!(fields(&zero, 100), ["decay_shape"]);
    let steps_back = LrShape::MultiStep { milestones: vec![steps(50), steps(50)], gamma: 0.0 };
    assert_eq!(fields(&spec(steps(1), steps_back), 100), ["gamma", "milestones"]);
    let rewarm = |cycles, ends| LrShape::RewarmCosine { cycles, ends, rewarm: None, rewarm_from: None };
    assert_eq!(fields(&spec(steps(1), rewarm(None, vec![])), 100), ["cycles"]);
    assert_eq!(fields(&spec(steps(1), rewarm(Some(0), vec![])), 100), ["cycles"]);
    assert_eq!(fields(&spec(steps(1), rewarm(Some(2), vec![steps(5)])), 100), ["cycles"]);
    assert_eq!(fields(&spec(steps(1), rewarm(None, vec![steps(200)])), 100), ["ends"]);
    assert_eq!(fields(&spec(steps(50), rewarm(Some(2), vec![])), 100), ["warmup"]);
    assert_eq!(fields(&spec(steps(0), LrShape::InverseSqrt { timescale: None }), 100), ["timescale"]);
    let mut nan = spec(steps(1), cosine);
    nan.peak = f64::NAN;
    assert_eq!(fields(&nan, 100)[0], "peak");
}

/// xorshift64*, enough to vary a schedule.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

fn random_spec(rng: &mut Rng, horizon: u64) -> LrSpec {
    let part = |rng: &mut Rng, most: u64| steps(1 + rng.below(most));
    let tenth = horizon / 10;
    let shapes = [
        DecayShape::Linear,
        DecayShape::Cosine,
        DecayShape::OneMinusSqrt,
        DecayShape::Exponential,
        DecayShape::HalfLife,
        DecayShape::Inverse,
        DecayShape::Sqrt,
        DecayShape::Power,
    ];
    let decay_shape = shapes[rng.below(8) as usize];
    let power = 0.5 + 3.0 * rng.unit();
    let shape = match rng.below(8) {
        0 => LrShape::Cosine { decay_end: Some(steps(horizon / 2 + rng.below(horizon / 2))) },
        1 => LrShape::Linear { decay_end: None },
        2 => LrShape::LinearToZero,
        3 => LrShape::Constant,
        4 => LrShape::InverseSqrt { timescale: Some(part(rng, horizon)) },
        5 => LrShape::Wsd { decay: part(rng, horizon / 2), decay_shape, power },
        6 => LrShape::RewarmCosine {
            cycles: Some(1 + rng.below(3)),
            ends: vec![],
            rewarm: Some(part(rng, tenth)),
            rewarm_from: None,
        },
        _ => LrShape::Infinite {
            cooldown: part(rng, 5 * tenth),
            cooldown_shape: if rng.below(2) == 0 { CooldownShape::Cosine } else { CooldownShape::InverseSqrt },
            alpha: 0.1 + 10.0 * rng.unit(),
            constant: part(rng, 3 * tenth),
            constant_lr: None,
        },
    };
    let conventions = [Convention::Ours, Convention::Neox, Convention::NanoGpt, Convention::LlmC, Convention::Hf];
    LrSpec {
        peak: 1e-4 + 1e-3 * rng.unit(),
        min: None,
        min_ratio: Some(0.01 + 0.9 * rng.unit()),
        warmup: part(rng, tenth),
        warmup_from: 0.0,
        convention: conventions[rng.below(5) as usize],
        shape,
    }
}

/// The most a curve can change in one update, as a part of the distance between its ends.
fn steepest(shape: Shape, from: f64, to: f64, span: f64) -> f64 {
    match shape {
        Shape::Hold => 0.0,
        Shape::Linear => 1.0 / span,
        Shape::Cosine => std::f64::consts::FRAC_PI_2 / span,
        Shape::OneMinusSqrt => 1.0 / span.sqrt(),
        Shape::HalfLife => 2.0 * std::f64::consts::LN_2 / span,
        Shape::Power(p) => {
            if p >= 1.0 {
                p / span
            } else {
                span.powf(-p)
            }
        }
        Shape::InvSqrt(alpha) => alpha / 2.0 / span / (1.0 - 1.0 / (1.0 + alpha).sqrt()),
        Shape::Exponential => (from / to).ln() / (1.0 - to / from) / span,
        Shape::Inverse => from / to / span,
    }
}

#[test]
fn every_schedule_is_continuous_where_it_should_be() {
    let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
    for round in 0..400 {
        let horizon = 200 + rng.below(2000);
        let spec = random_spec(&mut rng, horizon);
        let schedule = resolve(&spec, horizon);
        let phases = schedule.phases();
        assert_eq!((phases[0].first, phases[phases.len() - 1].last), (1, u64::MAX));
        for (index, phase) in phases.iter().enumerate() {
            let reach = (phase.from - phase.to).abs();
            // One more than the ideal: a convention may skip the first point of a curve, so two steps lie between neighbours.
            let bound = 2.0 * reach * steepest(phase.shape, phase.from, phase.to, phase.span.max(1) as f64);
            let before = index.checked_sub(1).map(|i| {
                let p = &phases[i];
                2.0 * (p.from - p.to).abs() * steepest(p.shape, p.from, p.to, p.span.max(1) as f64)
            });
            for n in phase.first.max(2)..=phase.last.min(horizon + 5) {
                let change = (schedule.at(n) - schedule.at(n - 1)).abs();
                let allowed = if n == phase.first { bound + before.unwrap_or(0.0) } else { bound };
                assert!(
                    change <= allowed * (1.0 + 1e-9) + 1e-15,
                    "round {round}, update {n}: {change:e} > {allowed:e}\n{spec:?}"
                );
            }
        }
        let minimum = spec.minimum();
        for n in 1..=horizon + 5 {
            let value = schedule.at(n);
            assert!((0.0..=spec.peak * (1.0 + 1e-12)).contains(&value), "round {round} update {n}: {value}\n{spec:?}");
            let warm = phases.iter().take_while(|p| p.name == Name::Warmup).last().map_or(0, |p| p.last);
            assert!(n <= warm || value >= minimum * (1.0 - 1e-12), "round {round} update {n}: {value}\n{spec:?}");
        }
        assert_eq!(schedule.at(horizon + 1), schedule.at(u64::MAX), "round {round}\n{spec:?}");
    }
}

#[test]
fn the_stop_does_not_bend_the_curve() {
    let spec = spec(Length::Fraction(0.01), LrShape::Cosine { decay_end: None });
    let schedule = resolve(&spec, 1000);
    // Cut at 300: the bands are shorter, the values are those of the whole.
    let cut = schedule.bands(300);
    assert_eq!(cut.last().map(|band| (band.last, band.end)), Some((300, schedule.at(300))));
    assert!(schedule.at(300) > 2e-4);
}

#[test]
fn a_spec_survives_serde() {
    let mut rng = Rng(7);
    for _ in 0..50 {
        let spec = random_spec(&mut rng, 1000);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<LrSpec>(&text).unwrap(), spec, "{text}");
    }
    let text =
        r#"{"shape": "wsd-s", "peak": 1e-3, "decay": "10%", "cycles": 3, "warmup": 0.01, "convention": "llm.c"}"#;
    let spec: LrSpec = serde_json::from_str(text).unwrap();
    assert_eq!((spec.shape.name(), spec.warmup), ("wsd-s", Length::Fraction(0.01)));
}

/// The list of fields a recipe checks against is the one serde uses.
#[test]
fn fields_of_shapes_are_those_of_the_types() {
    let mut rng = Rng(3);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let spec = random_spec(&mut rng, 1000);
        let [always, own] = shape_fields(spec.shape.name()).expect("a listed shape");
        let json = serde_json::to_value(&spec).unwrap();
        for field in json.as_object().unwrap().keys().filter(|field| *field != "min_ratio") {
            assert!(
                always.contains(&field.as_str()) || own.contains(&field.as_str()),
                "{field} of {}",
                spec.shape.name()
            );
        }
        seen.insert(spec.shape.name());
    }
    assert_eq!(seen.len(), 8);
    for name in LrShape::NAMES {
        assert!(shape_fields(name).is_some(), "{name}");
    }
    assert!(shape_fields("cosines").is_none());
}

#[test]
fn drawing() {
    let wsd = resolve(&spec(Length::Fraction(0.25), wsd(DecayShape::Linear)), 40);
    let text = sparkline(&wsd, None, 40, 2);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "3e-4 |     ▂▃▅▆████████████████████████████▄▁");
    assert_eq!(lines[1], "     |▂▃▅▆███████████████████████████████████▅");
    assert_eq!(lines[2], "   0 +----------------------------------------");
    assert_eq!(lines[3], "      1                  20                 40");
    assert_eq!(lines[4], "      warmup 1-10 (3e-5 to 3e-4), constant 11-36 (3e-4), decay 37-40 (2.32e-4 to 3e-5)");
    assert_eq!(lines.len(), 5);
    // No size, however odd, panics, and no line is wider than asked for.
    for (stop, width, rows) in [(Some(0), 0, 0), (Some(1), 10, 1), (Some(3), 12, 3), (Some(u64::MAX), 500, 100)] {
        let text = sparkline(&wsd, stop, width, rows);
        let widest = text.lines().rev().skip(1).map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width.clamp(10, 400) + 8, "{text}");
    }
}
