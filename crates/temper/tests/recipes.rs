//! Reading recipes: what is accepted, where values come from, and every way of getting it wrong.

use temper::{SCHEMA, Trains};
use temper_base::{Kind as Fault, Problem};
use temper_certify::spec::CertifySpec;
use temper_lm::spec::LmSpec;
use temper_recipe::{Kind, Library, Origin, Recipe, Value};
use temper_schedule::{Convention, Length, LrShape, Units};
use temper_train::spec::Spec;
use temper_train::spec::clocks::Clocks;
use temper_train::spec::expectation::Expectation;
use temper_train::spec::lr;

const SMALL: &str = r#"
about = "a small model"
[model]
layers = 2
d_model = 64
heads = 2
[data]
tokenizer = "builtin:demo"
train.docs.path = "corpus/docs"
[lr]
peak = 1e-3
decay_end = "80%"
[run]
horizon = "300 steps"
[expect]
metric = "docs/loss"
mean = 3.5
tolerance = 0.1
"#;

const GERMAN: &str = r#"
extends = "rewarm/small"
base = "rewarm/small"
[data.train.de]
path = ["corpus/de", "more/*.jsonl.zst"]
weight = 3
[lr]
peak = 3e-4
"#;

const RECIPES: &[(&str, &str)] = &[
    ("rewarm/small", SMALL),
    ("rewarm/german", GERMAN),
    ("loop/a", "extends = 'loop/b'"),
    ("loop/b", "extends = 'loop/c'"),
    ("loop/c", "extends = 'loop/a'"),
];
const LIBRARY: Library<'static> = Library { schema: &SCHEMA, recipes: RECIPES };

fn set(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn load(name: &str, overrides: &[&str]) -> Recipe {
    Recipe::load(name, &set(overrides), &LIBRARY).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What a recipe says, wherever it says so.
fn values(recipe: &Recipe) -> Vec<(String, Value)> {
    recipe.entries().into_iter().map(|(key, entry)| (key.to_owned(), entry.value.clone())).collect()
}

/// The problems of `text` with overrides, as `place: why | hint`.
fn wrong(text: &str, overrides: &[&str]) -> Vec<String> {
    let problems = Recipe::from_text("my.toml", text, &set(overrides), &LIBRARY).expect_err("it should be refused");
    let line = |problem: &Problem| {
        assert_eq!(problem.kind, Fault::Input);
        format!("{}: {} | {}", problem.place, problem.why, problem.hint.as_deref().unwrap_or(""))
    };
    problems.iter().map(line).collect()
}

/// A recipe that is right, with more lines at its end.
fn with(more: &str) -> String {
    format!("extends = 'rewarm/small'\n{more}")
}

/// A recipe of certified training that is right.
const CERTIFY: &str = "task = 'certify'
[model]
name = 'cnn7'
[data]
images = 'data/mnist'
[eps]
target = '8/255'
[lr]
shape = 'multi-step'
peak = 5e-4
milestones = ['50 epochs', '60 epochs']
[run]
horizon = '70 epochs'
";

/// Tasks have keys of their own and some defaults of their own.
#[test]
fn tasks_have_their_own_keys() {
    let recipe = Recipe::from_text("c", CERTIFY, &[], &LIBRARY).unwrap();
    assert_eq!(Trains::of(&recipe), Trains::Classifier);
    assert_eq!(recipe.radius("eps.target").unwrap(), 8.0 / 255.0);
    assert_eq!((recipe.f64("optimizer.beta2").unwrap(), recipe.f64("optimizer.clip").unwrap()), (0.999, 10.0));
    assert!(!recipe.is_set("data.seq_len") && !recipe.is_set("model.preset"));
    assert_eq!(load("rewarm/small", &[]).f64("optimizer.clip").unwrap(), 1.0);
    assert!(!load("rewarm/small", &[]).is_set("batch.images"));

    let certify = |more: &str| {
        let problems = Recipe::from_text("c.toml", &format!("{CERTIFY}{more}"), &[], &LIBRARY).unwrap_err();
        problems.iter().map(|p| format!("{}: {} ({})", p.place, p.why, p.hint.as_deref().unwrap_or(""))).collect()
    };
    let problems: Vec<String> = certify("data.seq_len = 128");
    only(&problems, &["run.data.seq_len"]); // still inside [run]
    for (given, parts) in [
        ("[batch]\nsequences = 4", ["batch.sequences", "a key of language models"]),
        ("[method]\nname = 'fest'", ["method.name", "did you mean \"fast\""]),
        ("[batch]\nstatistics = 'batch'", ["batch.statistics", "its own statistics anyway"]),
    ] {
        only(&certify(given), &parts);
    }
    only(&wrong(&with("eps.target = 0.1"), &[]), &["eps.target", "a key of certified training"]);
    for radius in ["0", "-0.1", "1.5", "'9/8'", "'8/0'", "'x'"] {
        let text = CERTIFY.replace("'8/255'", radius);
        let problems = Recipe::from_text("c", &text, &[], &LIBRARY).unwrap_err();
        assert!(problems[0].why.contains("a radius above 0 and at most 1"), "{radius}: {problems:?}");
    }
    // The reference code's rounded literals have names.
    let literal = CERTIFY.replace("8/255", "reference-8/255");
    assert_eq!(Recipe::from_text("c", &literal, &[], &LIBRARY).unwrap().radius("eps.target").unwrap(), 0.03137);
    // Several things missing are named at once.
    let problems = Recipe::from_text("c", "task = 'certify'", &[], &LIBRARY).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|p| p.place.rsplit(' ').next().unwrap()).collect();
    assert_eq!(places, ["lr.peak", "run.horizon", "data.images", "eps.target"]);
}

/// What the base's method decided is decided anew in a branch; what its recipe said is taken over.
#[test]
fn a_branch_decides_its_method_anew() {
    let mut base = Recipe::from_text("c", &format!("{CERTIFY}[method]\nlambda = 0.2"), &[], &LIBRARY).unwrap();
    base.fill("method.tightness", Value::Bool(true), Origin::Preset("fast".into()));
    let mut branch = Recipe::from_text("b", CERTIFY, &["method.name=vanilla-ibp".into()], &LIBRARY).unwrap();
    branch.inherit(&base, "method", "runs/base");
    assert!(!branch.is_set("method.tightness"));
    assert_eq!(branch.f64("method.lambda").unwrap(), 0.2);
    assert_eq!(branch.text("method.name").unwrap(), "vanilla-ibp");
}

/// A list of layers given later replaces the name of a network, and what belonged to that network.
#[test]
fn layers_replace_a_name() {
    let text = CERTIFY.replace("name = 'cnn7'", "name = 'cnn7'\nwidth = 8\nbatch_norm = 'none'");
    let load = |overrides: &[&str]| Recipe::from_text("c", &text, &set(overrides), &LIBRARY);
    let graph = load(&["model.graph=['flatten']"]).unwrap();
    assert!(graph.is_set("model.graph") && !graph.is_set("model.name") && !graph.is_set("model.width"));
    assert_eq!((graph.shown("model.batch_norm"), graph.origin("model.batch_norm")), ("full".into(), Origin::Default));
    // What is given beside it counts.
    let beside = load(&["model.graph=['flatten']", "model.batch_norm=conv"]).unwrap();
    assert_eq!(beside.text("model.batch_norm").unwrap(), "conv");
    let before = load(&["model.batch_norm=conv", "model.graph=['flatten']"]).unwrap();
    assert_eq!(before.text("model.batch_norm").unwrap(), "conv");
    let problems = load(&["model.graph=['flatten']", "model.name=cnn7"]).unwrap_err();
    assert!(problems[0].why.contains("given together with model.graph"), "{problems:?}");
}

/// A key is found by the name that it had in earlier versions, and kept under today's.
#[test]
fn earlier_names_are_read() {
    let recipe = load("rewarm/small", &["data.invalid_utf8=error"]);
    assert_eq!(recipe.text("data.bad_lines").unwrap(), "error");
    assert!(!recipe.is_set("data.invalid_utf8"));
}

/// The ramp in updates, and one that does not fit.
#[test]
fn the_ramp_of_a_recipe() {
    let units = Units { tokens_per_step: 128, tokens_per_epoch: Some(128 * 391) };
    let text =
        format!("{CERTIFY}[eps]\n").replace("[eps]\ntarget", "[eps]\nstart = '1 epoch'\nlength = '20 epochs'\ntarget");
    let text = text.trim_end().strip_suffix("[eps]").unwrap().to_owned();
    let recipe = Recipe::from_text("c", &text, &[], &LIBRARY).unwrap();
    let spec = CertifySpec::read(&recipe).unwrap();
    let eps = spec.eps_schedule(&units, 70 * 391).unwrap();
    assert_eq!((eps.first, eps.last, eps.target), (391, 8211, 8.0 / 255.0));
    let problems = spec.eps_schedule(&units, 10 * 391).unwrap_err().0;
    assert!(problems[0].place.contains("eps.length") && problems[0].why.contains("8211"), "{problems:?}");
}

fn only(problems: &[String], parts: &[&str]) {
    assert_eq!(problems.len(), 1, "{problems:#?}");
    for part in parts {
        assert!(problems[0].contains(part), "{part} is not in {}", problems[0]);
    }
}

#[test]
fn the_table_is_sound() {
    for key in SCHEMA.keys() {
        assert!(key.doc.len() > 5 && !key.doc.ends_with('.') && key.doc.len() <= 120, "{}: {}", key.path, key.doc);
        assert!(std::ptr::eq(SCHEMA.find(key.path).unwrap(), key), "{} is shadowed", key.path);
        // What a key says of others, it says of keys that exist.
        for other in key.resets.iter().chain(&key.instead_of) {
            assert!(SCHEMA.keys().any(|key| key.path == *other), "{} names {other}", key.path);
        }
        let twice = |name: &str| SCHEMA.keys().any(|key| key.path == name);
        assert!(!key.formerly.is_some_and(twice), "the earlier name of {} is a key", key.path);
        assert!(SCHEMA.sections.contains(&key.section()), "{} is in no section that is shown", key.path);
        assert!(key.task.is_none_or(|task| SCHEMA.task(task).is_some()), "{} is of no task", key.path);
        assert!(key.needed.is_none() || key.path.contains(".*."), "nothing stands for a * in {}", key.path);
    }
    assert_eq!(SCHEMA.keys().count(), SCHEMA.keys.iter().copied().flatten().map(|keys| keys.len()).sum::<usize>());
    // The defaults of a task are of keys that all have.
    for (path, _) in SCHEMA.tasks.iter().flat_map(|task| task.defaults) {
        assert!(SCHEMA.find(path).is_some_and(|key| key.task.is_none() && key.default.is_some()), "{path}");
    }
    // Every default is a value of its kind: all of them are there in a recipe that says nothing about them.
    let recipe = load("rewarm/german", &["lr.shape=wsd-s", "lr.cycles=2", "clocks.data=reset"]);
    let infinite = load("rewarm/small", &["lr.shape=infinite"]);
    let steps = load("rewarm/small", &["lr.shape=multi-step", "lr.milestones=['50%']"]);
    let certify = Recipe::from_text("c", CERTIFY, &[], &LIBRARY).unwrap();
    for key in SCHEMA.keys().filter(|key| key.default.is_some()) {
        let path = key.path.replace('*', "docs");
        let everywhere = [&recipe, &infinite, &steps, &certify].into_iter().find(|recipe| recipe.is_set(&path));
        assert!(everywhere.is_some(), "the default of {} cannot be read", key.path);
    }
    // The keys of lr are those of the schedules.
    for shape in LrShape::NAMES {
        for field in temper_schedule::shape_fields(shape).unwrap().concat() {
            assert!(SCHEMA.find(&format!("lr.{field}")).is_some(), "{field} of {shape} has no key");
        }
    }
}

#[test]
fn values_and_origins() {
    let recipe =
        load("rewarm/german", &["lr.warmup=2%", "model.tie_embeddings=true", "data.tokenizer=a/tokenizer.json"]);
    assert_eq!(recipe.name(), "rewarm/german");
    assert_eq!(recipe.f64("lr.peak").unwrap(), 3e-4);
    assert_eq!(recipe.origin("lr.peak"), Origin::Recipe("rewarm/german".into()));
    assert_eq!(recipe.usize("model.layers").unwrap(), 2);
    assert_eq!(recipe.origin("model.layers"), Origin::Recipe("rewarm/small".into()));
    assert_eq!(recipe.length("lr.warmup").unwrap(), Length::Fraction(0.02));
    assert_eq!(recipe.origin("lr.warmup"), Origin::Set);
    assert!(recipe.bool("model.tie_embeddings").unwrap());
    assert_eq!(recipe.text("data.tokenizer").unwrap(), "a/tokenizer.json");
    assert_eq!(recipe.u64("data.seq_len").unwrap(), 512);
    assert_eq!(recipe.origin("data.seq_len"), Origin::Default);
    assert_eq!(recipe.names("data.train"), ["de", "docs"]);
    assert_eq!(recipe.names("data.validation"), [""; 0]);
    assert_eq!(recipe.texts("data.train.de.path").unwrap(), ["corpus/de", "more/*.jsonl.zst"]);
    assert_eq!(recipe.texts("data.train.docs.path").unwrap(), ["corpus/docs"]);
    assert_eq!(recipe.f64("data.train.de.weight").unwrap(), 3.0);
    assert_eq!(recipe.f64("data.train.docs.weight").unwrap(), 1.0);
    assert_eq!(recipe.usize_or_auto("model.vocab_size").unwrap(), None);
    assert_eq!(recipe.overridden(), ["model.tie_embeddings", "data.tokenizer", "lr.warmup"]);
    assert_eq!(recipe.opt("batch.micro", Recipe::u64).unwrap(), None);
    assert_eq!(recipe.opt("batch.sequences", Recipe::u64).unwrap(), Some(8));
    assert!(!recipe.is_set("batch.micro"));
    let unset = recipe.u64("batch.micro").unwrap_err();
    assert!(unset.to_string().contains("batch.micro: it is not set") && unset.hint.is_some());
    assert!(recipe.u64("lr.peak").is_err() && recipe.text("no.such.key").is_err());
}

#[test]
fn files_extend_files_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("parent.toml", "extends = 'rewarm/small'\nseed = 7\n");
    write("child.toml", "extends = 'parent.toml'\n[batch]\nsequences = 16\n");
    write("noending", "extends = 'rewarm/small'\n");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let recipe = load(&path("child.toml"), &[]);
    assert_eq!((recipe.u64("seed").unwrap(), recipe.u64("batch.sequences").unwrap()), (7, 16));
    assert_eq!(recipe.origin("batch.sequences"), Origin::File(path("child.toml")));
    assert_eq!(recipe.origin("seed"), Origin::File(path("parent.toml")));
    assert_eq!(load(&path("noending"), &[]).u64("model.layers").unwrap(), 2);

    let problem = |name: &str| Recipe::load(name, &[], &LIBRARY).unwrap_err().remove(0);
    let missing = problem(&path("missing.toml"));
    assert!(missing.place.ends_with("missing.toml") && missing.kind == Fault::Input, "{missing:?}");
    write("latin1.toml", "");
    std::fs::write(dir.path().join("latin1.toml"), b"seed = 1\nabout = \"\xe4\"\n").unwrap();
    assert!(problem(&path("latin1.toml")).to_string().contains("latin1.toml:2: it is not UTF-8"));
    write("orphan.toml", "\nextends = 'gone.toml'\n");
    let orphan = problem(&path("orphan.toml"));
    assert!(orphan.place.contains("gone.toml (extended at") && orphan.place.contains("orphan.toml:2"), "{orphan:?}");
    write("self.toml", "extends = './self.toml'\n");
    assert!(problem(&path("self.toml")).why.contains("extends itself"));
    let misspelled = problem("rewarm/smal");
    assert!(misspelled.hint.unwrap().contains("`rewarm/small`"));
    assert!(problem("quite/different").hint.unwrap().contains("a path ends in .toml"));
    assert!(problem("loop/a").why.contains("loop/a -> loop/b -> loop/c -> loop/a"));
}

#[test]
fn unknown_keys_name_the_nearest() {
    only(&wrong(&with("[optimiser]\nbeta1 = 0.8"), &[]), &["my.toml:3: optimiser.beta1", "`optimizer.beta1`"]);
    only(&wrong(&with("[lr]\npaek = 1"), &[]), &["my.toml:3: lr.paek", "did you mean `lr.peak`?"]);
    only(&wrong(&with("peak = 1"), &[]), &["my.toml:2: peak", "`lr.peak`"]);
    only(
        &wrong(&with("[data.train.de]\npaht = 'x'\npath = 'y'"), &[]),
        &["data.train.de.paht", "`data.train.de.path`"],
    );
    only(&wrong(&with("[trian.de]\nfoo = 'x'"), &[]), &["trian.de.foo", "the table of keys lists all"]);
    only(&wrong(&with("[nonsense]"), &[]), &["my.toml:2: nonsense: there is no such key"]);
    only(&wrong(&with(""), &["lr.paek=1"]), &["--set lr.paek: there is no such key", "`lr.peak`"]);
    only(&wrong(&with("lr = 5"), &[]), &["lr: this is a table", "lr.peak"]);
    only(&wrong(&with("data.train = 'corpus'"), &[]), &["data.train: this is a table", "data.train.*.path"]);
}

/// What a recipe extends is read before it; an override comes too late to say so.
#[test]
fn overrides_extend_nothing() {
    only(&wrong(&with(""), &["extends=rewarm/german"]), &["--set extends", "a recipe says itself what it extends"]);
}

#[test]
fn all_problems_at_once() {
    let text = "sed = 3\n[model]\nlayers = 'six'\nheads = 0\n[lr]\npeak = 1e-3\nwarmup = '3 weeks'\nmin_ratio = 1.5\n[eval]\nevery = true";
    let problems = wrong(text, &["batch.sequences=many", "nonsense"]);
    let expected = [
        "--set nonsense: expected key=value",
        "my.toml:1: sed: there is no such key | did you mean `seed`?",
        "my.toml:3: model.layers: expected a whole number of at least 1, found \"six\"",
        "my.toml:4: model.heads: expected a whole number of at least 1, found 0",
        "my.toml:7: lr.warmup: `3 weeks` is not a length: the unit `weeks` is not known",
        "my.toml:8: lr.min_ratio: expected a number from 0 to 1, found 1.5",
        "my.toml:10: eval.every: expected a length such as",
        "--set batch.sequences: expected a whole number of at least 1, found \"many\"",
        "my.toml: run.horizon: it is not set | run.horizon is how long",
        "my.toml: data.train: there is nothing to train on",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn wrong_types_and_values() {
    for (line, parts) in [
        ("seed = -1", &["a whole number of at least 0", "-1"][..]),
        ("seed = 1.5", &["whole number", "1.5"]),
        ("about = 3", &["expected text, found 3"]),
        ("model.rotary_pct = 2.0", &["from 0 to 1"]),
        ("model.rotary_base = inf", &["above 0", "inf"]),
        ("model.parallel_residual = 1", &["true or false"]),
        ("model.activation = 'gleu'", &["\"gelu\", \"gelu_tanh\"", "did you mean \"gelu\"?"]),
        ("model.vocab_size = 'all'", &["\"auto\" or a whole number"]),
        ("model.layers = {a = 1}", &["found a table"]),
        ("data.train.de.path = [1]", &["text or a list of texts"]),
        ("data.train.'d.e'.path = 'x'", &["cannot be a name"]),
        ("data.train.'d e'.path = 'x'", &["cannot be a name"]),
        ("data.train.de.weight = 2.0", &["data.train.de.path: the source has no path"]),
        ("run.horizon = '50%'", &["50% of what?", "give steps, tokens or epochs"]),
        ("run.horizon = 0", &["longer than nothing"]),
        ("log.every = 0", &["my.toml:2: log.every: must be at least one step"]),
        ("lr.warmup = 1.5", &["`1.5` is not a length", "1.5 steps"]),
        ("lr.shape = 'cosin'", &["did you mean \"cosine\"?"]),
        ("lr.warmup = '-1%'", &["not negative"]),
        ("extends = 3", &["expected text"]),
        ("expect.mean = 1.0", &["needs expect.metric and expect.tolerance too"]),
        ("data.train.never = false", &["nothing of this name"]),
    ] {
        let text = if line.starts_with("extends") { format!("{line}\n{SMALL}") } else { with(line) };
        only(&wrong(&text, &[]), parts);
    }
    only(&wrong("seed = 1\n[model\nlayers = 2", &[]), &["my.toml:2", "not valid TOML"]);
    only(&wrong("seed = 1\nseed = 2", &[]), &["my.toml:2", "duplicate"]);
    only(&wrong(&with("lr.warmup = 1%"), &[]), &["my.toml:2", "in quotes"]);
}

#[test]
fn numbers_may_be_written_as_people_do() {
    let recipe =
        Recipe::from_text("x", &with("eval.max_tokens = 1e6\nlr.min = 0\nlr.warmup = 0"), &[], &LIBRARY).unwrap();
    assert_eq!(recipe.u64("eval.max_tokens").unwrap(), 1_000_000);
    assert_eq!(recipe.f64("lr.min").unwrap(), 0.0);
    assert_eq!(recipe.length("lr.warmup").unwrap(), Length::Steps(0));
    let about = load("rewarm/small", &["about=5", "lr.warmup=\"3 steps\"", "data.train.docs.path=7"]);
    assert_eq!(about.text("about").unwrap(), "5");
    assert_eq!(about.length("lr.warmup").unwrap(), Length::Steps(3));
    assert_eq!(about.texts("data.train.docs.path").unwrap(), ["7"]);
}

#[test]
fn lr_keys_belong_to_their_shape() {
    // Given with the shape or after it: an error. Inherited by a new shape: dropped, and said so.
    let problems = wrong(&with("lr.shape = 'cosine'\nlr.decay = '10%'"), &[]);
    only(&problems, &["my.toml:3: lr.decay", "lr.shape = \"cosine\" has no such key", "wsd, wsd-s"]);
    only(&wrong(&with(""), &["lr.gamma=0.5"]), &["--set lr.gamma", "multi-step"]);
    let wsd = load("rewarm/small", &["lr.shape=wsd"]);
    assert_eq!(wsd.dropped(), ["lr.decay_end"]);
    assert!(!wsd.is_set("lr.decay_end") && wsd.is_set("lr.decay") && !load("rewarm/small", &[]).is_set("lr.decay"));
    let constant = load("rewarm/small", &["lr.shape=constant"]);
    assert!(!constant.is_set("lr.min_ratio"));
    // The later of min and min_ratio counts, both at once are an error.
    assert!(load("rewarm/small", &[]).is_set("lr.min_ratio"));
    let min = Recipe::from_text("x", &with("lr.min_ratio = 0.5"), &set(&["lr.min=1e-5"]), &LIBRARY).unwrap();
    assert!(!min.is_set("lr.min_ratio") && min.is_set("lr.min"));
    only(&wrong(&with("lr.min = 0.0\nlr.min_ratio = 0.5"), &[]), &["given together with lr.min"]);
}

#[test]
fn the_schedule_is_checked_where_it_is_written() {
    only(&wrong(&with("lr.min = 1.0"), &[]), &["my.toml:2: lr.min: must be between 0 and the maximum (0.001), not 1"]);
    only(&wrong(&with("lr.warmup = '90%'"), &[]), &["my.toml:2: lr.warmup", "leave nothing"]);
    only(&wrong(&with("lr.shape = 'rewarm-cosine'"), &[]), &["lr.cycles", "needs cycles or ends"]);
    only(&wrong(&with("lr.shape = 'multi-step'"), &[]), &["lr.milestones", "it is not set"]);
    only(&wrong(&with(""), &["lr.convention=neox-2023", "lr.shape=wsd"]), &["--set lr.convention", "is a cosine"]);
}

#[test]
fn the_spec_is_what_was_written() {
    let pythia = Recipe::from_text(
        "x",
        &with("lr = {convention = 'neox-2023', peak = 3e-4, min = 3e-5, warmup = '1%', decay_end = '100%'}\nrun.horizon = '297 Gtok'\nbatch.sequences = 1024\ndata.seq_len = 2048"),
        &[],
        &LIBRARY,
    )
    .unwrap();
    let spec = lr::read(&pythia).unwrap();
    assert_eq!((spec.convention, spec.min, spec.min_ratio), (Convention::Neox2023, Some(3e-5), None));
    let units = Units { tokens_per_step: 1024 * 2048, tokens_per_epoch: None };
    let horizon = pythia.length("run.horizon").unwrap().steps(&units, None).unwrap();
    let schedule = lr::schedule(&pythia, &spec, &units, horizon).unwrap();
    assert_eq!((schedule.at(1), schedule.at(1 + 1416), schedule.at(horizon)), (0.0, 3e-4, 3e-5));

    let of = |overrides: &[&str]| lr::read(&load("rewarm/small", overrides)).unwrap().shape;
    assert!(matches!(of(&[]), LrShape::Cosine { decay_end: Some(Length::Fraction(0.8)) }));
    assert_eq!(of(&["lr.shape=constant"]), LrShape::Constant);
    assert_eq!(of(&["lr.shape=linear-to-zero"]), LrShape::LinearToZero);
    assert!(matches!(
        of(&["lr.shape=linear", "lr.decay_end=200"]),
        LrShape::Linear { decay_end: Some(Length::Steps(200)) }
    ));
    assert!(matches!(of(&["lr.shape=wsd", "lr.decay=20%"]), LrShape::Wsd { decay: Length::Fraction(0.2), .. }));
    let ends = of(&["lr.shape=wsd-s", "lr.ends=['10%', 100]", "lr.decay_shape=inverse"]);
    assert!(
        matches!(ends, LrShape::WsdS { cycles: None, ends, .. } if ends == [Length::Fraction(0.1), Length::Steps(100)])
    );
    assert!(matches!(of(&["lr.shape=infinite"]), LrShape::Infinite { cooldown: Length::Fraction(0.6), .. }));
    let steps = of(&["lr.shape=multi-step", "lr.milestones=['50%']", "lr.gamma=0.2"]);
    assert!(matches!(steps, LrShape::MultiStep { gamma: 0.2, .. }));
    assert!(matches!(of(&["lr.shape=inverse-sqrt"]), LrShape::InverseSqrt { timescale: None }));
    let rewarm = of(&["lr.shape=rewarm-cosine", "lr.cycles=2", "lr.rewarm_from=0"]);
    assert!(matches!(rewarm, LrShape::RewarmCosine { cycles: Some(2), rewarm_from: Some(0.0), .. }));
}

#[test]
fn inherited_names_presets_and_expectations() {
    let text = with("[data.train]\ndocs = false\n[data.train.new]\npath = 'new'");
    let recipe = Recipe::from_text("x", &text, &[], &LIBRARY).unwrap();
    assert_eq!(recipe.names("data.train"), ["new"]);
    // A preset chosen later decides the shape anew; keys next to it still count.
    let preset = load("rewarm/small", &["model.preset=pythia-70m", "model.heads=4"]);
    assert!(!preset.is_set("model.layers") && !preset.is_set("model.d_model"));
    assert_eq!(preset.usize("model.heads").unwrap(), 4);
    // Expectations are those of the recipe itself, of the numbers it has.
    let check = Expectation::Check { metric: "docs/loss".into(), mean: 3.5, tolerance: 0.1 };
    assert_eq!(Expectation::read(&load("rewarm/small", &[])), check);
    assert_eq!(Expectation::read(&load("rewarm/small", &["log.every=1", "checkpoint.every=50"])), check);
    assert_eq!(Expectation::read(&load("rewarm/german", &[])), Expectation::None);
    let off = Expectation::read(&load("rewarm/small", &["seed=2", "lr.peak=1e-4", "log.every=1"]));
    assert_eq!(off, Expectation::Off("not checked, since overrides changed seed, lr.peak".into()));
}

#[test]
fn filling_leaves_what_the_user_gave() {
    let mut recipe = load("rewarm/german", &["data.seq_len=128"]);
    let base = load("rewarm/small", &["model.tie_embeddings=true", "data.seq_len=64", "model.d_model=96"]);
    recipe.inherit(&base, "model", "runs/a");
    recipe.inherit(&base, "data.seq_len", "runs/a");
    assert!(recipe.bool("model.tie_embeddings").unwrap());
    assert_eq!(recipe.origin("model.tie_embeddings"), Origin::Base("runs/a".into()));
    assert_eq!(recipe.u64("data.seq_len").unwrap(), 128);
    assert_eq!(recipe.u64("model.d_model").unwrap(), 64);
    assert_eq!(recipe.origin("model.rotary_pct"), Origin::Default);
    assert!(recipe.fill("model.d_ff", Value::Int(999), Origin::Preset("p".into())));
    assert!(!recipe.fill("model.d_model", Value::Int(999), Origin::Preset("p".into())));
    assert_eq!(recipe.origin("model.d_ff").to_string(), "preset p");
}

#[test]
fn what_is_kept_of_a_base_need_not_be_given() {
    let keep = "[clocks]\nschedule = 'keep'\ndata = 'keep'\nmoments = 'keep'\nrng = 'keep'\n";
    let recipe = Recipe::from_text("x", keep, &[], &LIBRARY).unwrap();
    assert!(!recipe.is_set("lr.peak"));
    assert_eq!(wrong("[clocks]\nmoments = 'keep'\n", &[]).len(), 3);
}

#[test]
fn the_resolved_form_reads_back() {
    let shapes: [&[&str]; 5] = [
        &["about=\"a \\\"quoted\\\" # line\\nand another \\\\ ä\"", "seed=3"],
        &["lr.shape=wsd-s", "lr.ends=['10%', '1.5 Mtok', 500]", "lr.min=1e-5", "run.horizon=4 Mtok"],
        &["lr.shape=infinite", "lr.peak=0.00030000000000000003", "run.horizon=3 epochs", "eval.every=0.0123456789"],
        &["lr.shape=multi-step", "lr.milestones=[]", "model.preset=pythia-14m", "data.train.de.path=[]"],
        &[
            "clocks.moments=keep",
            "data.replay.fraction=0.05",
            "data.validation.x-1.path='a b.txt'",
            "init.from='C:\\x'",
        ],
    ];
    for overrides in shapes {
        let mut recipe = load("rewarm/german", overrides);
        recipe.fill("model.d_ff", Value::Int(256), Origin::Preset("pythia-14m".into()));
        recipe.fill("model.init_std", Value::Float(0.01), Origin::Base("runs/a b".into()));
        let text = recipe.to_toml();
        let back = Recipe::from_resolved(&text, "resolved.toml", &SCHEMA).unwrap_or_else(|p| panic!("{p:#?}\n{text}"));
        assert_eq!(values(&recipe), values(&back), "{text}");
        for (path, entry) in recipe.entries().into_iter() {
            assert_eq!(back.origin(path), entry.origin, "{path}\n{text}");
        }
        assert_eq!((back.name(), back.to_toml()), (recipe.name(), text.clone()));
        // As an ordinary recipe it has the same values, too.
        let again = Recipe::from_text("again", &text, &[], &LIBRARY).unwrap();
        assert_eq!(values(&back), values(&again));
    }
}

#[test]
fn the_resolved_form_is_readable() {
    let text = load("rewarm/german", &["lr.peak=6e-4"]).to_toml();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "# Resolved from rewarm/german; after each value, where it comes from.");
    let has = |line: &str| lines.iter().any(|l| l.split_whitespace().eq(line.split_whitespace()));
    assert!(has("peak = 0.0006 # --set"), "{text}");
    assert!(has("d_model = 64 # recipe rewarm/small"), "{text}");
    assert!(has("seq_len = 512 # default"), "{text}");
    assert!(has("[data.train.de]") && has("[lr]") && !text.contains("extends"), "{text}");
}

/// The clocks of a recipe mean something in a branch alone: what contradicts itself there is nothing to a run that is none.
#[test]
fn clocks_are_a_branch_s() {
    let recipe = load("rewarm/small", &["clocks.moments=keep", "clocks.weights=reset"]);
    LmSpec::read(&recipe).unwrap();
    let problem = Clocks::of_branch(&recipe).unwrap_err();
    assert!(problem.place.contains("clocks.moments") && problem.why.contains("fresh ones"), "{problem:?}");
    // What decides the schedule is asked for where it is needed.
    let text = "clocks.schedule = 'keep'\ndata.train.new.path = 'new'";
    let spec = LmSpec::read(&Recipe::from_text("kept.toml", text, &[], &LIBRARY).unwrap()).unwrap();
    let problems = spec.lengths(None, None).unwrap_err().0;
    assert!(problems.len() == 2 && problems[0].place.contains("run.horizon"), "{problems:?}");
    assert!(problems[1].hint.as_ref().unwrap().contains("that of the run it branches from"), "{problems:?}");
}

/// No text, however broken, makes the reader panic.
#[test]
fn broken_texts_are_problems() {
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..3000 {
        let mut bytes = GERMAN.as_bytes().to_vec();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % bytes.len().max(1);
            match state % 3 {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = b"=.[]\"'#%-\n0e"[(state >> 40) as usize % 12],
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if let Err(problems) = Recipe::from_text("broken", &text, &[], &LIBRARY) {
            assert!(!problems.is_empty());
        }
    }
}

#[test]
fn kinds_explain_themselves() {
    assert_eq!(Kind::Choice(&["a", "b"]).to_string(), "one of \"a\", \"b\"");
    assert_eq!(SCHEMA.find("data.train.de.weight").unwrap().path, "data.train.*.weight");
    assert!(SCHEMA.find("data.train.weight").is_none() && SCHEMA.find("lr").is_none());
}
