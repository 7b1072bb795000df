//! The checker of proofs, by the first byte: steps of a certificate, an ONNX file, a VNN-LIB file. The property is wrong, so whatever the
//! steps are they prove nothing; of a changed network or property only that checking ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_fuzz::selected;
use temper_verify::cascade::Arithmetic;
use temper_verify::proof::{Header, Step, read, write};
use temper_verify::{ProofVerdict, check};

const NETWORK: &[u8] = include_bytes!("../../golden/certificates/0.onnx");
const PROPERTY: &str = include_str!("../../golden/certificates/0.vnnlib");

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    // Outputs are above the bound of the file, and not above this one.
    let (known, _) = PROPERTY.split_once("(assert (or").expect("rows behind the box");
    let wrong = format!("{known}(assert (<= Y_0 1000))");
    let steps = [Step::Box(0), Step::Group(0), Step::Leaf(vec![(0, 1.0)], vec![])];
    match form % 3 {
        0 => {
            let header = write(&Header::new(Arithmetic::Sound, NETWORK, wrong.as_bytes()), &[]);
            let first = header.lines().next().expect("a header");
            let Ok(text) = std::str::from_utf8(data) else { return };
            let text = format!("{first}\n{text}");
            assert!(!matches!(check(&text, NETWORK, &wrong), ProofVerdict::Holds(_)), "a proof of what is wrong");
            if let Ok((header, steps)) = read(&text) {
                assert_eq!(read(&write(&header, &steps)).expect("what was written is read").1, steps);
            }
        }
        1 => drop(check(&write(&Header::new(Arithmetic::Sound, data, wrong.as_bytes()), &steps), data, &wrong)),
        _ => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            drop(check(&write(&Header::new(Arithmetic::Sound, NETWORK, text.as_bytes()), &steps), NETWORK, text));
        }
    }
});
