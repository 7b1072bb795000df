//! The table of metrics, and what becomes of a metric that is not in it.

use std::collections::BTreeSet;

use temper_record::metric::{self, METRICS, Metric, Style};
use temper_record::*;

#[test]
fn every_name_is_there_once() {
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    assert!(METRICS.iter().all(|metric| !metric.title.is_empty() && !metric.name.contains('.')));
}

#[test]
fn a_metric_of_a_layer_is_found() {
    let by_layer = |name: &str| metric::find(name).map(|metric: &Metric| (metric.name, metric.by_layer));
    assert_eq!(by_layer("width.relu_1"), Some(("width", true)));
    assert_eq!(metric::title("width.relu_1"), "width.relu 1");
    assert_eq!((by_layer("width"), by_layer("loss.relu_1")), (None, None));
}

#[test]
fn numbers_on_lines_and_in_tables() {
    let both = |name: &str, value: f64| [metric::line(name, value), metric::cell(name, value)];
    assert_eq!(both("loss", 6.968_123), ["6.9681", "6.9681"]);
    assert_eq!(both("bits_per_byte", 2.0), ["2.0000", "2.0000"]);
    assert_eq!(both("perplexity", 1061.8), ["1062", "1062"]);
    assert_eq!(both("lr", 3e-4), ["3.00e-4", "0.0003000"]);
    assert_eq!(both("eps", 8.0 / 255.0), ["3.14e-2", "8/255"]);
    assert_eq!(both("certified_error", 5.0), ["5.00", "5.000"]);
    assert_eq!(both("grad_norm", 1.25), ["1.2500", "1.250"]);
    assert_eq!(both("tokens_per_s", 4321.0), ["4.32k", "4.32k"]);
    assert_eq!(both("seconds", 3725.0), ["1h02m", "1h02m"]);
    for metric in METRICS {
        assert_eq!(both(metric.name, f64::INFINITY), ["inf", "inf"], "{}", metric.name);
    }
}

#[test]
fn the_better_of_two() {
    assert!(metric::improves("certified_error", 1.0, 2.0) && !metric::improves("loss", 2.0, 2.0));
    assert!(metric::improves("tokens_per_s", 2.0, 1.0));
    assert!(!metric::improves("lr", 1.0, 2.0) && !metric::improves("new_score", 1.0, 2.0));
    assert!(!metric::improves("loss", f64::NAN, 2.0));
}

#[test]
fn another_metric_is_read_and_shown() {
    assert!(metric::find("new_score").is_none());
    let step = |n: u64, score: f64| {
        let line = format!(r#"{{"event":"step","step":{n},"tokens":{n},"new_score":{score},"tokens_per_s":1000}}"#);
        Event::from_line(&line).unwrap()
    };
    assert_eq!(console_line(&step(1, 0.1234567)), "step        1        1 tok  new_score   0.12346    1.00k tok/s");
    assert_eq!((metric::title("new_score").as_str(), metric::named("new_score").style), ("new score", Style::Plain));
    assert_eq!(metric::cell("new_score", 0.1234567), "0.1235");
    let series = RunSeries::from_events("run", [step(1, 1.0), step(2, 2.0)]).unwrap();
    assert_eq!(series.step_metric("new_score"), [(1, 1.0), (2, 2.0)]);
}
