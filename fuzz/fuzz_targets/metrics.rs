//! `metrics.jsonl` of a run, as series; every event that is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::{file, folder};
use temper_record::csv::{Columns, CsvSink, Written};
use temper_record::series::read_events;
use temper_record::{Event, RunDir, RunSeries, console_line};

fuzz_target!(|data: &[u8]| {
    let path = file("run/metrics.jsonl", data);
    let run = RunDir::open(folder().join("run")).expect("it holds metrics.jsonl");
    if let Ok(series) = RunSeries::read(&run) {
        let _ = (series.last_step(), series.last_tokens(), series.is_certify());
    }
    let Ok(events) = read_events(&path) else { return };
    for event in &events {
        let line = event.to_line();
        let again = Event::from_line(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(again.to_line(), line);
        let _ = console_line(event);
    }
    let mut columns = Columns::default();
    events.iter().for_each(|event| columns.add(event));
    let mut tables = CsvSink::create(&run, columns).expect("tables");
    for event in &events {
        assert_eq!(tables.write(event).expect("a row"), Written::Yes);
    }
});
