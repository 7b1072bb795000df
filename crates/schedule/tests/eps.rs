//! The radius schedule against values worked out from the formulas of auto_LiRPA's `SmoothedScheduler`.

use temper_schedule::{EpsSchedule, EpsShape};

fn smoothed(target: f64, first: u64, last: u64) -> EpsSchedule {
    EpsSchedule { shape: EpsShape::Smoothed, target, first, last }
}

/// Target, batches an epoch, start and length in epochs, radii by batch.
type Case = (f64, u64, u64, u64, &'static [(u64, f64)]);

/// The runs of arXiv 2103.17268: target, batches an epoch, start and length in epochs; then batch numbers (from 0) with
/// the radius there, to the digits that are known.
#[test]
fn the_runs_of_the_paper() {
    let cases: [Case; 4] = [
        (
            0.03137,
            391,
            2,
            80,
            &[
                (391, 0.0),
                (392, 6.45274e-19),
                (4301, 1.50817307692e-4),
                (8211, 0.00241307692308),
                (19941, 0.0168915384615),
                (31671, 0.03137),
            ],
        ),
        (
            0.03137,
            391,
            2,
            20,
            &[(391, 0.0), (392, 1.65190e-16), (1368, 1.50508967e-4), (2346, 0.00241307692308), (8211, 0.03137)],
        ),
        (
            0.4,
            235,
            1,
            20,
            &[
                (0, 0.0),
                (1, 1.61423e-14),
                (587, 0.00191653863),
                (1175, 0.0307692307692),
                (2937, 0.215332242),
                (4700, 0.4),
                (9000, 0.4),
            ],
        ),
        (
            0.00392,
            782,
            2,
            20,
            &[(782, 0.0), (783, 1.29014e-18), (2737, 1.884615e-5), (4692, 3.01538e-4), (16422, 0.00392)],
        ),
    ];
    for (target, epoch, start, length, values) in cases {
        let schedule = smoothed(target, (start - 1) * epoch, (start + length - 1) * epoch);
        for &(batch, expected) in values {
            let found = schedule.at(batch + 1);
            assert!((found - expected).abs() <= 1e-5 * expected, "{target} batch {batch}: {found}, not {expected}");
        }
    }
}

#[test]
fn it_grows_without_jumps_and_ends_exactly() {
    for (first, last) in [(0, 1), (0, 2), (3, 6), (5, 9), (10, 210), (0, 4700)] {
        for shape in [EpsShape::Smoothed, EpsShape::Linear] {
            let schedule = EpsSchedule { shape, ..smoothed(0.3, first, last) };
            let values: Vec<f64> = (1..last + 10).map(|n| schedule.at(n)).collect();
            assert!(values.is_sorted(), "{shape:?} {first} {last}");
            assert_eq!(schedule.at(first + 1), 0.0);
            assert_eq!(schedule.at(last + 1), 0.3);
            let steepest = values.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(steepest <= 0.3 * 2.0 / (last - first) as f64, "{shape:?} {first} {last}: {steepest}");
        }
    }
}

#[test]
fn the_weight_falls_from_lambda_to_nothing() {
    let schedule = smoothed(0.4, 10, 50);
    assert_eq!(schedule.weight(1, 0.5), 0.5);
    assert_eq!(schedule.weight(11, 0.5), 0.5);
    assert_eq!(schedule.weight(30, 0.5), 0.5 * (1.0 - schedule.at(30) / 0.4));
    assert!(schedule.weight(50, 0.5) > 0.0);
    assert_eq!(schedule.weight(51, 0.5), 0.0);
    let constant = EpsSchedule { shape: EpsShape::Constant, ..schedule };
    assert_eq!((constant.at(1), constant.weight(1, 0.5)), (0.4, 0.0));
}

#[test]
fn a_jump_and_the_phases() {
    let jump = smoothed(0.1, 5, 5);
    assert_eq!((jump.at(1), jump.at(5), jump.at(6), jump.at(7)), (0.0, 0.0, 0.1, 0.1));
    assert_eq!(smoothed(0.1, 0, 20).bands(100), [("ramp", 1, 20), ("robust", 21, 100)]);
    assert_eq!(smoothed(0.1, 5, 20).bands(12), [("clean", 1, 5), ("ramp", 6, 12)]);
    assert_eq!(EpsSchedule { shape: EpsShape::Constant, ..jump }.bands(9), [("robust", 1, 9)]);
}
