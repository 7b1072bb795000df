//! The report of one or two runs, from their `metrics.jsonl`: the parts are divided by a line `---`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_record::{Event, RunSeries};
use temper_report::{ReportOptions, report};

fuzz_target!(|text: &str| {
    let mut runs = Vec::new();
    for (i, part) in text.split("---\n").take(2).enumerate() {
        let events: Vec<Event> = part.lines().filter_map(|line| Event::from_line(line).ok()).collect();
        match RunSeries::from_events(["base", "branch"][i], events) {
            Ok(run) => runs.push(run),
            Err(_) => return,
        }
    }
    let _ = report(&runs, &ReportOptions::default());
});
