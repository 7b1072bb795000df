//! The small files beside data, by the first byte: TinyImageNet's `wnids.txt` and `val_annotations.txt`; `config.json` and
//! `tokenizer_config.json` beside a tokenizer, which say what ends a document.

#![no_main]

use libfuzzer_sys::fuzz_target;
use temper_data::{Tokenizer, images};
use temper_fuzz::{file, folder, selected};

const PICTURE: &[u8] = include_bytes!("../../crates/data/tests/pictures/grey.jpg");

const TOKENIZER: &[u8] =
    br#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":0,"content":"<|endoftext|>",
"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,
"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
"model":{"type":"WordLevel","vocab":{"<|endoftext|>":0,"the":1,"[UNK]":2},"unk_token":"[UNK]"}}"#;

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = selected(data) else { return };
    match form % 4 {
        form @ (0 | 1) => {
            for class in ["n01", "n02"] {
                file(&format!("tiny/train/{class}/images/0.jpg"), PICTURE);
            }
            file("tiny/val/images/val_0.jpg", PICTURE);
            file("tiny/val/images/val_1.jpg", PICTURE);
            file("tiny/wnids.txt", if form == 0 { data } else { b"n01\nn02\n" });
            file(
                "tiny/val/val_annotations.txt",
                if form == 1 { data } else { b"val_0.jpg\tn01\t0\t0\t1\t1\nval_1.jpg\tn01\t0\t0\t1\t1\n" },
            );
            let Ok(splits) = images::open(&folder().join("tiny")) else { return };
            let lines = std::str::from_utf8(data).expect("other text is refused").lines();
            if form == 1 {
                assert_eq!(splits.test.len(), lines.filter(|line| !line.trim().is_empty()).count(), "an image a line");
            }
            assert!(splits.train.len() + splits.test.len() > 0);
        }
        form => {
            let names = ["config.json", "tokenizer_config.json"];
            let [ours, other] = if form == 2 { names } else { [names[1], names[0]] };
            let tokenizer = file("words/tokenizer.json", TOKENIZER);
            file(&format!("words/{ours}"), data);
            file(&format!("words/{other}"), b"{}");
            let Ok(tokenizer) = Tokenizer::from_file(&tokenizer, None) else { return };
            assert!(u64::from(tokenizer.eod()) < tokenizer.vocab_size(), "the end of a document is a token");
        }
    }
});
