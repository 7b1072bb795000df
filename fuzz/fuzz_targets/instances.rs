//! What verifiers exchange besides, by the first byte: lists of instances, counterexamples, lists of answers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_formats::{instances, witness};
use temper_fuzz::selected;

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    match form % 3 {
        0 => {
            let Ok(list) = instances::parse(text, "fuzz") else { return };
            assert_eq!(instances::parse(&instances::write(&list), "written").expect("what was written is read"), list);
        }
        1 => {
            let Ok(found) = witness::parse(text, "fuzz") else { return };
            assert!(found.input.len() + found.output.len() <= data.len(), "a number for every word");
        }
        _ => drop(instances::parse_results(text, "fuzz")),
    }
});
