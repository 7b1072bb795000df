//! Lengths: what is read, what it is worth, what is refused.

use temper_schedule::{Length, LengthError, Units};

const UNITS: Units = Units { tokens_per_step: 4096, tokens_per_epoch: Some(1_000_000) };

fn length(text: &str) -> Length {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn reads_every_unit() {
    for (text, expected) in [
        ("1%", Length::Fraction(0.01)),
        ("0.5 %", Length::Fraction(0.005)),
        ("0%", Length::Fraction(0.0)),
        ("100%", Length::Fraction(1.0)),
        ("0.01", Length::Fraction(0.01)),
        ("1.0", Length::Fraction(1.0)),
        ("1e-2", Length::Fraction(0.01)),
        ("1", Length::Steps(1)),
        ("2000", Length::Steps(2000)),
        ("0", Length::Steps(0)),
        ("2000 steps", Length::Steps(2000)),
        ("1 step", Length::Steps(1)),
        ("2_000 steps", Length::Steps(2000)),
        ("2k steps", Length::Steps(2000)),
        ("1e3 steps", Length::Steps(1000)),
        ("300 Mtok", Length::Tokens(300_000_000)),
        ("297B tokens", Length::Tokens(297_000_000_000)),
        ("2.5 Gtok", Length::Tokens(2_500_000_000)),
        ("0.3 Gtok", Length::Tokens(300_000_000)),
        ("1.5 Ttok", Length::Tokens(1_500_000_000_000)),
        ("299892736000 tokens", Length::Tokens(299_892_736_000)),
        ("10 ktok", Length::Tokens(10_000)),
        ("7 tok", Length::Tokens(7)),
        ("7token", Length::Tokens(7)),
        ("3 epochs", Length::Epochs(3.0)),
        ("3epochs", Length::Epochs(3.0)),
        ("0.5 epoch", Length::Epochs(0.5)),
    ] {
        assert_eq!(length(text), expected, "{text}");
    }
}

#[test]
fn refuses_what_is_not_a_length() {
    for (text, why) in [
        ("", "does not begin with a number"),
        ("often", "does not begin with a number"),
        ("-5 steps", "not negative"),
        ("-1", "not negative"),
        ("3 weeks", "unit `weeks` is not known"),
        ("300 mtok", "unit `mtok` is not known"),
        ("2 kepochs", "unit `kepochs` is not known"),
        ("1.5", "at most 1.0"),
        ("2e3", "at most 1.0"),
        ("101%", "at most 100%"),
        ("0.5 steps", "whole number of steps"),
        ("1.2.3 %", "not a number"),
        ("1e999 steps", "too large"),
        ("1e19 tokens", "can be counted"),
        ("18446744073709551615 tokens", "can be counted"),
        ("18446744073709551615", "can be counted"),
        (".", "not a number"),
        ("nan", "does not begin with a number"),
    ] {
        let error = text.parse::<Length>().expect_err(text).to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(error.contains(&format!("`{text}`")), "{error}");
    }
}

#[test]
fn steps_round_to_nearest_and_to_at_least_one() {
    let horizon = Some(1000);
    for (text, steps) in [
        ("1%", 10),
        ("0.14%", 1),
        ("0.15%", 2),
        ("0.001%", 1),
        ("0%", 0),
        ("0.0", 0),
        ("123", 123),
        ("4096 tok", 1),
        ("6143 tok", 1),
        ("6144 tok", 2),
        ("1 tok", 1),
        ("0 tok", 0),
        ("1 epoch", 244),
        ("2 epochs", 488),
        ("0.0001 epochs", 1),
    ] {
        assert_eq!(length(text).steps(&UNITS, horizon), Ok(steps), "{text}");
    }
    // Pythia: 300 billion tokens at 1024 sequences of 2048.
    let pythia = Units { tokens_per_step: 2_097_152, tokens_per_epoch: None };
    assert_eq!(length("299892736000 tok").steps(&pythia, None), Ok(143_000));
    assert_eq!(length("297 Gtok").steps(&pythia, None), Ok(141_621));
}

#[test]
fn a_part_of_nothing_is_an_error() {
    let blind = Units { tokens_per_step: 4096, tokens_per_epoch: None };
    let images = Units { tokens_per_step: 0, tokens_per_epoch: None };
    assert_eq!(length("1%").steps(&UNITS, None), Err(LengthError::FractionOfNothing(Length::Fraction(0.01))));
    assert_eq!(length("3 epochs").steps(&blind, Some(10)), Err(LengthError::EpochsOfNothing(Length::Epochs(3.0))));
    assert!(matches!(length("3 Mtok").steps(&images, Some(10)), Err(LengthError::NoTokensPerStep(_))));
    let huge = Length::Epochs(1e30).steps(&UNITS, None);
    assert!(matches!(huge, Err(LengthError::TooLong(_))), "{huge:?}");
    assert!(length("1%").steps(&UNITS, None).unwrap_err().to_string().starts_with("1% of what?"));
}

#[test]
fn display_reads_back() {
    for (text, shown) in [
        ("0.07", "7%"),
        ("0.005", "0.5%"),
        ("1.0", "100%"),
        ("2000", "2000 steps"),
        ("1", "1 step"),
        ("300 Mtok", "300 Mtok"),
        ("1500 Mtok", "1.5 Gtok"),
        ("2097152 tok", "2097.152 ktok"),
        ("12345678 tok", "12345.678 ktok"),
        ("1234567891 tok", "1234567.891 ktok"),
        ("999 tok", "999 tok"),
        ("1 epochs", "1 epoch"),
        ("0.25 epochs", "0.25 epochs"),
    ] {
        assert_eq!(length(text).to_string(), shown);
        assert_eq!(length(shown), length(text));
    }
    let mut fraction = 0.9;
    while fraction > 1e-9 {
        let this = Length::Fraction(fraction);
        assert_eq!(length(&this.to_string()), this, "{this}");
        fraction *= 0.73;
    }
}

#[test]
fn serde_takes_text_and_numbers() {
    let read = |json: &str| serde_json::from_str::<Length>(json);
    assert_eq!(read("\"1%\"").unwrap(), Length::Fraction(0.01));
    assert_eq!(read("0.01").unwrap(), Length::Fraction(0.01));
    assert_eq!(read("1.0").unwrap(), Length::Fraction(1.0));
    assert_eq!(read("1").unwrap(), Length::Steps(1));
    assert!(read("1.5").is_err());
    assert!(read("-1").is_err());
    assert!(read("true").is_err());
    assert_eq!(serde_json::to_string(&Length::Tokens(300_000_000)).unwrap(), "\"300 Mtok\"");
}
