//! VNN-LIB files of both versions: what is read can be written and read back, and the box is then the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_formats::vnnlib::{parse, write};

fuzz_target!(|text: &str| {
    let Ok(query) = parse(text, "fuzz", 3, 2) else { return };
    for property in query.properties.iter().take(4) {
        let again = parse(&write(property, "fuzz"), "written", 3, 2).expect("what was written is read");
        let [again] = again.properties.as_slice() else { panic!("{} boxes of one", again.properties.len()) };
        let (read, first) = (again.input(), property.input());
        assert_eq!((&read.lower, &read.upper), (&first.lower, &first.upper));
    }
});
