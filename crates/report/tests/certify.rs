//! Made-up runs of certified training in, tables, sentences and figures out.

mod common;

use std::path::Path;

use common::{Certify, four};
use temper_record::*;
use temper_report::*;

fn pair() -> Vec<RunSeries> {
    vec![Certify::vanilla("vanilla", 51.1, 20.2).series(), Certify::new("fast", 38.8, 18.1).series()]
}

fn gains() -> Extra {
    let layers: Vec<String> = (1..=6).map(|n| format!("conv{n}")).collect();
    let known = |gains: [f64; 6]| gains.iter().copied().map(Some).collect();
    let after: Vec<Option<f64>> = known([9.0, 9.0, 8.0, 12.0, 11.0, 61.0]);
    let inits = [
        InitGains { init: "default".into(), before: known([1.4, 3.0, 2.8, 4.1, 4.1, 20.0]), after: after.clone() },
        InitGains { init: "IBP".into(), before: known([2.0, 0.99, 0.92, 0.94, 0.96, 1.01]), after },
    ];
    Extra {
        heading: "Difference gain by layer".into(),
        table: gain_table(&layers, &inits),
        note: "How much wider the bounds are than those of the layer before.".into(),
    }
}

/// Writes pages to look at, in the folder that Cargo has for tests.
#[test]
fn pages_are_written() {
    let many = [Certify::new("wide-resnet", 60.0, 50.0), Certify::vanilla("resnext", 70.0, 55.0)];
    let many: Vec<RunSeries> = many
        .into_iter()
        .zip([8, 11])
        .map(|(run, layers)| {
            let layers = (1..=layers).map(|n| format!("block{}.relu{n}", n / 2)).collect();
            Certify { layers, eps: 8.0 / 255.0, epochs: 40, ramp: 20, holdout: true, ..run }.series()
        })
        .collect();
    let both: Vec<RunSeries> = four().into_iter().chain(pair()).collect();
    let one = [Certify { holdout: true, ..Certify::new("alone", 11.8, 3.6) }.series()];
    for (name, runs) in [("pair", pair()), ("one", one.to_vec()), ("both", both), ("many", many)] {
        let options = ReportOptions { title: format!("Report: {name}"), extra: vec![gains()], ..Default::default() };
        let page = report(&runs, &options).unwrap().write(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
        assert!(page.exists());
    }
}
