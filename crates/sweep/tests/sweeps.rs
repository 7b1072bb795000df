//! Files of sweeps, their sizes, and what planted numbers say about their claims.

use temper_sweep::{Relation, Start, Sweep, Verdict, judge_claim};

const GOOD: &str = r#"
title = "How high?"
source = "a paper, figure 2"
metrics = ["new/loss"]

[all]
set.lr.min_ratio = 0.1

[[variant]]
name = "x1"

[[variant]]
name = "x2"
scale.lr.peak = 2
from = "base@7%"

[[variant]]
name = "alone"
from = "none"
set.lr.min_ratio = 0.2

[[claim]]
what = "more is better"
metric = "new/loss"
relation = "<"
left = "x2"
right = ["x1", "alone"]

[[claim]]
what = "it grows"
metric = "new/loss"
at = "rise"
relation = "increases with"
along = "the maximum"
variants = ["x1", "x2", "alone"]

[[claim]]
what = "no difference"
metric = "new/loss"
relation = "about equal"
left = "x1"
right = "x2"
within = 0.05

[size.small]
seeds = 2
base = { recipe = "rewarm/docs", set.run.horizon = "2 Mtok" }
all.recipe = "rewarm/docs-to-german"

[size.small.setting.german]
old = "docs"
new = "german"

[size.small.setting.prose]
recipe = "rewarm/docs-to-prose"
variant.x2.set.lr.peak = 3e-3
"#;

fn sweep() -> Sweep {
    Sweep::parse("good.toml", GOOD).expect("it is right")
}

#[test]
fn levels_from_general_to_special() {
    let set = ["lr.warmup=2%".to_owned()];
    let chosen = sweep().choose("small", &set, &["model.layers=2".to_owned()]).unwrap();
    let names: Vec<_> = chosen.variants.iter().map(|v| (v.setting.as_str(), v.name.as_str())).collect();
    assert_eq!(
        names,
        [("german", "x1"), ("german", "x2"), ("german", "alone"), ("prose", "x1"), ("prose", "x2"), ("prose", "alone")]
    );
    let (base, overrides) = chosen.base.unwrap();
    assert_eq!(
        (base.as_str(), overrides),
        ("rewarm/docs", vec!["run.horizon=\"2 Mtok\"".into(), "model.layers=2".into()])
    );
    let [x1, x2, alone] = [0, 1, 2].map(|n| &chosen.variants[n]);
    assert_eq!((x1.recipe.as_str(), x1.start), ("rewarm/docs-to-german", Start::Last));
    assert_eq!(x1.set, ["lr.min_ratio=0.1", "lr.warmup=2%"]);
    assert_eq!(x2.scale, [("lr.peak".to_owned(), 2.0)]);
    assert!(matches!(x2.start, Start::At(_)));
    assert_eq!((alone.start, alone.set[0].as_str()), (Start::Fresh, "lr.min_ratio=0.2"));
    let special = &chosen.variants[4];
    assert_eq!(special.recipe, "rewarm/docs-to-prose");
    assert_eq!(special.set, ["lr.min_ratio=0.1", "lr.peak=3e-3", "lr.warmup=2%"]);
}

#[test]
fn axes_are_crossed() {
    let text = r#"
title = "t"
metrics = ["test/certified_error"]
[[axis]]
key = "method.name"
values = ["fast", "vanilla-ibp"]
labels = ["fast", "vanilla"]
[[axis]]
key = "eps.length"
values = ["25%", "50%"]
[size.small.all]
recipe = "fastibp/mnist-cnn7"
"#;
    let chosen = Sweep::parse("axes.toml", text).unwrap().choose("small", &[], &[]).unwrap();
    let names: Vec<_> = chosen.variants.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["fast, 25%", "fast, 50%", "vanilla, 25%", "vanilla, 50%"]);
    assert_eq!(chosen.variants[3].set, ["method.name=\"vanilla-ibp\"", "eps.length=\"50%\""]);
}

/// Everything that is wrong, at once, each with its line and a way out.
#[test]
fn a_later_level_replaces_a_scaled_value() {
    let text = GOOD
        .replace("variant.x2.set.lr.peak = 3e-3", "variant.x2.set.lr.peak = 3e-3\nvariant.x1.set.lr.min_ratio = 0.3");
    let sweep = Sweep::parse("good.toml", &text).unwrap();
    let chosen = sweep.choose("small", &[], &[]).unwrap();
    let scale = |setting: &str| {
        let found = chosen.variants.iter().find(|variant| variant.name == "x2" && variant.setting == setting);
        found.expect("the variant").scale.clone()
    };
    assert_eq!(scale("german"), [("lr.peak".to_owned(), 2.0)]);
    assert_eq!(scale("prose"), []);
}

#[test]
fn numbers_and_names_that_cannot_be_meant() {
    let axes = "title = \"t\"\nsource = \"s\"\nmetrics = [\"new/loss\"]\n[[axis]]\nkey = \"eps.length\"\nvalues = [\"25%\", \"50%\"]\n\
                labels = [\"a\", \"a\"]\n[size.small]\nall.recipe = \"r\"\n";
    let cases = [
        (GOOD.replace("seeds = 2", "seeds = inf"), "small.seeds: expected a finite number"),
        (GOOD.replace("seeds = 2", "seeds = 2.5"), "it is a whole number from 1 to 1000"),
        (GOOD.replace("seeds = 2", "seeds = 1e12"), "it is a whole number from 1 to 1000"),
        (GOOD.replace("within = 0.05", "within = nan"), "within: expected a finite number"),
        (GOOD.replace("scale.lr.peak = 2", "scale.lr.peak = inf"), "inf is not a number"),
        (GOOD.replace("setting.german", "setting.\"en/de\""), "\"en/de\" cannot be part of a file's name"),
        (axes.to_owned(), "two variants are called \"a\""),
        (axes.replace("values = [\"25%\", \"50%\"]", "values = \"25%\""), "axis.values: expected a list"),
        (format!("{axes}[[axis]]\nkey = \"eps.length\"\nvalues = [1, 2]\n"), "another axis sets eps.length already"),
    ];
    for (text, words) in cases {
        let problems = Sweep::parse("bad.toml", &text).expect_err(words);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(words)), "`{words}` is not in {said:?}");
    }
    let sweep = Sweep::parse("hex.toml", &GOOD.replace("seeds = 2", "seeds = 0x10")).unwrap();
    assert_eq!(sweep.sizes[0].seeds, Some(16));
}

#[test]
fn all_problems_at_once() {
    let text = r#"
titel = "misspelt"
title = "t"
metrics = ["loss"]
[[variant]]
name = "a"
[[variant]]
name = "a"
from = "yesterday"
[[claim]]
what = "w"
metric = "new/loss"
relation = "<"
left = "a"
right = "b"
[[claim]]
what = "w"
metric = "new/loss"
at = "noon"
relation = "about equal"
left = "a"
right = "a"
[size.small]
base = { run = "x", recipe = "y" }
variant.c.set.lr.peak = 1.0
"#;
    let problems = Sweep::parse("bad.toml", text).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let all = said.join("\n");
    for words in [
        "bad.toml:2: titel: there is no such key",
        "metrics: `loss` names no metric",
        "bad.toml:7: variant.name: there is already a variant \"a\", at bad.toml:5",
        "`yesterday` is not a place to start from",
        "there is no variant \"b\"",
        "`noon` is no time of a run",
        "\"about equal\" needs it",
        "\"a\" is compared with itself",
        "it needs either a recipe or a run",
        "there is no variant \"c\"",
    ] {
        assert!(all.contains(words), "`{words}` is not in\n{all}");
    }
    assert_eq!(problems.len(), 10, "{all}");
    assert!(problems.iter().all(|problem| problem.hint.is_some() || problem.why.contains("already")));
    let problem = &Sweep::parse("no.toml", "title = ").unwrap_err()[0];
    assert!(problem.to_string().contains("no.toml:1"), "{problem}");
    let no_base = GOOD.replace("base = {", "unbase = {").replace("unbase", "seeds2");
    assert!(Sweep::parse("x", &no_base).unwrap_err()[0].hint.as_ref().unwrap().contains("seeds"));
}

#[test]
fn sizes_that_do_not_fit() {
    let problem = &sweep().choose("huge", &[], &[]).unwrap_err()[0];
    assert!(problem.hint.as_ref().unwrap().contains("small"), "{problem}");
    let without = GOOD.replace("base = { recipe = \"rewarm/docs\", set.run.horizon = \"2 Mtok\" }\n", "");
    let problems = Sweep::parse("x", &without).unwrap().choose("small", &[], &["seed=2".into()]).unwrap_err();
    let all: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    assert!(all.contains("this size has none") && all.contains("set_base"), "{all}");
}

/// Numbers by variant: `x1` at 3.0, `x2` lower by `gap`, each seed's difference off by `noise` to both sides.
fn planted(gap: f64, noise: f64) -> impl Fn(&str, u64) -> Option<f64> {
    move |variant, seed| {
        // What a seed does to all variants alike is large, and cancels.
        let common = 10.0 * seed as f64;
        let own = noise * [0.0, -1.0, 1.0][seed as usize % 3];
        Some(match variant {
            "x2" => 3.0 + common - gap + own,
            _ => 3.0 + common,
        })
    }
}

#[test]
fn verdicts_on_planted_numbers() {
    let (sweep, seeds) = (sweep(), [1, 2, 3]);
    let [less, _, equal] = [0, 1, 2].map(|n| &sweep.claims[n]);
    assert_eq!(less.relation, Relation::Less);
    // 0.1 of noise to both sides: the confidence interval of three seeds reaches 0.25 to both sides.
    assert_eq!(judge_claim(less, &seeds, planted(0.3, 0.1)).verdict, Verdict::Holds);
    assert_eq!(judge_claim(less, &seeds, planted(-0.3, 0.1)).verdict, Verdict::DoesNotHold);
    let found = judge_claim(less, &seeds, planted(0.2, 0.1));
    assert_eq!(found.verdict, Verdict::Undecided);
    let pair = &found.comparisons[0];
    assert_eq!((pair.left.as_str(), pair.right.as_str(), pair.difference.n), ("x2", "x1", 3));
    assert!((pair.difference.mean + 0.2).abs() < 1e-9 && (pair.spread.unwrap() - 0.2484).abs() < 1e-3);
    assert!(pair.why.contains("spread is larger"));
    assert_eq!(judge_claim(less, &seeds, planted(-0.2, 0.1)).verdict, Verdict::Undecided);
    assert_eq!(judge_claim(equal, &seeds, planted(0.01, 0.01)).verdict, Verdict::Holds);
    assert_eq!(judge_claim(equal, &seeds, planted(0.3, 0.01)).verdict, Verdict::DoesNotHold);
    assert_eq!(judge_claim(equal, &seeds, planted(0.05, 0.01)).verdict, Verdict::Undecided);
}

#[test]
fn one_seed_decides_nothing_and_missing_numbers_are_left_out() {
    let sweep = sweep();
    let claim = &sweep.claims[0];
    let found = judge_claim(claim, &[1], planted(5.0, 0.0));
    assert_eq!(found.verdict, Verdict::Undecided);
    assert!(found.comparisons[0].why.contains("one seed"));
    // Without the variant `alone`, its pair has no numbers, and the claim of both pairs is undecided.
    let found =
        judge_claim(claim, &[1, 2, 3], |variant, seed| planted(5.0, 0.1)(variant, seed).filter(|_| variant != "alone"));
    assert_eq!(
        found.comparisons.iter().map(|pair| pair.verdict).collect::<Vec<_>>(),
        [Verdict::Holds, Verdict::Undecided]
    );
    assert_eq!(found.verdict, Verdict::Undecided);
    assert!(found.comparisons[1].why.contains("no seed"));
}

#[test]
fn a_row_holds_if_every_step_of_it_does() {
    let sweep = sweep();
    let row = &sweep.claims[1];
    let by = |numbers: [f64; 3]| {
        judge_claim(row, &[1, 2, 3], move |variant, seed| {
            let base = match variant {
                "x1" => numbers[0],
                "x2" => numbers[1],
                _ => numbers[2],
            };
            Some(base + 0.001 * seed as f64 * base)
        })
        .verdict
    };
    assert_eq!(by([1.0, 2.0, 3.0]), Verdict::Holds);
    assert_eq!(by([1.0, 2.0, 1.5]), Verdict::DoesNotHold);
    assert_eq!(by([1.0, 2.0, 2.0]), Verdict::Undecided);
}

/// FORMAT.md: its example is a sweep, and its axes make the variants that it says.
#[test]
fn the_documented_format() {
    let text = include_str!("../FORMAT.md");
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("an end")).collect();
    let [example, axes] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let sweep = Sweep::parse("example.toml", example).expect("the example");
    assert_eq!(sweep.choose("small", &[], &[]).expect("a size").variants.len(), 2);
    let head = "title = \"axes\"\nmetrics = [\"test/certified_error\"]\n";
    let sweep =
        Sweep::parse("axes.toml", &format!("{head}{axes}[size.small]\nall.recipe = \"demo/fast\"\n")).expect("axes");
    let names: Vec<&String> = sweep.variants.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["fast, 25%", "fast, 50%", "vanilla, 25%", "vanilla, 50%"]);
    for key in ["title", "source", "about", "metrics", "measure", "recipe", "from", "seeds", "base", "what", "settings"]
    {
        assert!(text.contains(&format!("| `{key}")), "{key}");
    }
}
