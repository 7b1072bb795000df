//! The demo in its short form: four runs, one table, one page, in any empty folder.

mod common;

use common::{Folder, says_all};

#[test]
fn demo_works_in_an_empty_folder() {
    let folder = Folder::empty();
    let done = folder.temper(&["demo", "--max-steps", "2"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.out, &["english", "rewarmed", "constant", "scratch", "perplexity", "bits per byte", "report: "]);
    let page = String::from_utf8(folder.read("temper-demo/report.html")).unwrap();
    says_all(&page, &["<svg", "rewarmed", "scratch"]);
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(outside), "the page fetches something: {outside}");
    }
    // Both texts, before the first update and after the last, for every run.
    for run in ["english", "rewarmed", "constant", "scratch"] {
        let evals = folder.events_of(&format!("temper-demo/{run}"), "eval");
        let at = |set: &str| evals.iter().filter(|e| e["set"] == set).map(|e| e["step"].as_u64()).collect::<Vec<_>>();
        assert_eq!(at("english"), [Some(0), Some(2)], "{run}");
        assert_eq!(at("german"), [Some(0), Some(2)], "{run}");
    }
    // The branches begin with the base's weights: the same loss, to the bit.
    let loss = |run: &str, step: usize| folder.events_of(&format!("temper-demo/{run}"), "eval")[step]["loss"].clone();
    let after = folder.last_eval("temper-demo/english", "english")["loss"].clone();
    assert_eq!(loss("rewarmed", 0), after);
    assert_eq!(loss("constant", 0), after);
    assert_ne!(loss("scratch", 0), after);
    folder.fails(&["demo", "--out", "temper-demo", "--max-steps", "1"], 2, &["temper-demo", "hint: "]);
}
