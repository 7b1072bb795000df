//! The files of a run that belong to what it trains, by the first byte: `data/manifest.json` of texts and of images, `state.json` of a
//! checkpoint, the three files beside a tokenizer. What is read is written and read again the same.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use temper_data::{Tokenizer, builtin};
use temper_fuzz::selected;
use temper_lm::checkpoint::State;
use temper_lm::{beside, text};
use temper_model::GptNeoxConfig;

fn model() -> &'static (Tokenizer, GptNeoxConfig) {
    static MODEL: OnceLock<(Tokenizer, GptNeoxConfig)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let json = builtin::tokenizer("demo").expect("it is built in");
        let tokenizer = Tokenizer::from_bytes(json, "tokenizer.json", None).expect("it is whole");
        let config = temper_model::config::Preset::find("pythia-70m").expect("a preset").config();
        (tokenizer, config)
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    let place = Path::new("manifest.json");
    match form % 6 {
        0 => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            let Ok(manifest) = text::Manifest::from_json(text, place) else { return };
            let again = text::Manifest::from_json(&manifest.to_json(), place).expect("what was written is read");
            assert_eq!(again.to_json(), manifest.to_json());
        }
        1 => {
            let Ok(manifest) = temper_certify::images::Manifest::from_json(data, place) else { return };
            let written = manifest.to_json();
            let again = temper_certify::images::Manifest::from_json(written.as_bytes(), place);
            assert_eq!(again.expect("what was written is read"), manifest);
        }
        2 => {
            let Ok(state) = State::from_json(data, place) else { return };
            let again = State::from_json(state.to_json().as_bytes(), place).expect("what was written is read");
            assert_eq!(again, state);
        }
        form => {
            let (tokenizer, config) = model();
            let name = ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"][usize::from(form) - 3];
            let files = beside::Files::from_iter([(name.to_owned(), data.to_vec())]);
            let Ok((files, _)) = beside::complete_files(files, tokenizer, config) else { return };
            let (again, _) = beside::complete_files(files.clone(), tokenizer, config).expect("what was written is read");
            assert_eq!(again, files, "a second time changes nothing");
        }
    }
});
