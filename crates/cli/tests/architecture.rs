//! The rules of ARCHITECTURE.md that can be read off the sources: which crate may depend on which, who
//! may know Burn, where `unsafe` may stand, who may look at the world outside. And that the documents name
//! what exists, and link to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from bottom to top, each with those it may depend on. ARCHITECTURE.md has the same table.
const CRATES: [(&str, &[&str]); 19] = [
    ("base", &[]),
    ("schedule", &[]),
    ("record", &["base"]),
    ("kernels", &[]),
    ("recipe", &["base", "schedule"]),
    ("data", &["base"]),
    ("report", &["base", "record"]),
    ("ops", &["kernels"]),
    ("graph", &["base"]),
    ("model", &["base", "graph", "ops"]),
    ("formats", &["base", "graph"]),
    ("verify", &["base", "record", "graph", "kernels"]),
    ("bounds", &["base", "graph", "ops", "model", "verify"]),
    ("train", &["base", "schedule", "record", "recipe", "ops", "model"]),
    ("lm", &["base", "schedule", "record", "recipe", "data", "ops", "model", "train"]),
    (
        "certify",
        &["base", "schedule", "record", "recipe", "data", "graph", "ops", "model", "verify", "bounds", "train"],
    ),
    (
        "temper",
        &[
            "base", "schedule", "record", "recipe", "data", "graph", "formats", "ops", "verify", "train", "lm",
            "certify",
        ],
    ),
    ("sweep", &["base", "schedule", "record", "recipe", "data", "report", "model", "train", "lm", "certify", "temper"]),
    (
        "cli",
        &[
            "base", "schedule", "record", "kernels", "recipe", "data", "report", "graph", "formats", "ops", "model",
            "verify", "bounds", "train", "lm", "certify", "temper", "sweep",
        ],
    ),
];

/// These build and test without a tensor library.
const WITHOUT_BURN: [&str; 10] =
    ["graph", "formats", "base", "schedule", "record", "recipe", "kernels", "data", "report", "verify"];

/// Parts of Burn that name a backend. Everything above `ops` speaks of tensors and devices only.
const BACKENDS: [&str; 2] = ["burn-autodiff", "burn-flex"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in every dependency table of a manifest: those of tests, of builds and of single platforms too.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let is_table = |header: &str| header.rsplit('.').next().is_some_and(|last| last.ends_with("dependencies"));
    let (mut names, mut inside) = (BTreeSet::new(), false);
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or(header);
            inside = is_table(header);
            if let Some((table, name)) = header.rsplit_once('.').filter(|(table, _)| is_table(table)) {
                assert!(!table.is_empty());
                names.insert(name.to_owned());
            }
        } else if inside && let Some((key, _)) = line.split_once('=') {
            names.insert(key.trim().split('.').next().unwrap_or(key).trim_matches('"').to_owned());
        }
    }
    names
}

/// The dependencies of every crate there is.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let crates = fs::read_dir(root().join("crates")).expect("the crates");
    let manifest = |folder: PathBuf| {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        (name, dependencies(&read(&folder.join("Cargo.toml"))))
    };
    crates.map(|entry| manifest(entry.expect("a crate").path())).collect()
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            rust_files(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// Places of the form `record/src/run.rs:12` where code, not a comment, holds one of these.
fn found(needles: &[String], part: &str) -> Vec<String> {
    let mut places = Vec::new();
    for (name, _) in CRATES {
        let folder = root().join("crates").join(name);
        let mut files = Vec::new();
        rust_files(&folder.join(part), &mut files);
        for file in files {
            let inside = file.strip_prefix(&folder).expect("inside").display().to_string();
            for (number, line) in read(&file).lines().enumerate() {
                let code = line.split("//").next().unwrap_or(line);
                if needles.iter().any(|needle| code.contains(needle.as_str())) {
                    places.push(format!("{name}/{inside}:{}", number + 1));
                }
            }
        }
    }
    places.sort();
    places
}

#[test]
fn manifests_are_understood() {
    let text = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.workspace = true\n# c = \"1\"\n[dev-dependencies]\n\
        d = { version = \"1\" }\n[lints]\nworkspace = true\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
        [dependencies.f]\nversion = \"1\"\n[build-dependencies]\n\"g\" = \"1\"\n[features]\nh = []\n";
    let names: Vec<String> = dependencies(text).into_iter().collect();
    assert_eq!(names, ["a", "b", "d", "e", "f", "g"]);
}

#[test]
fn arrows_go_down() {
    let manifests = manifests();
    let known: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(manifests.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "a crate is not in the table");
    for (height, (name, allowed)) in CRATES.iter().enumerate() {
        for below in *allowed {
            assert!(CRATES[..height].iter().any(|(other, _)| other == below), "{name} -> {below} does not go down");
        }
        let ours = manifests[*name].iter().filter_map(|dependency| match dependency.as_str() {
            "temper" => Some("temper"),
            other => other.strip_prefix("temper-"),
        });
        for dependency in ours {
            assert!(allowed.contains(&dependency), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn burn_stays_above_the_plain_crates() {
    let manifests = manifests();
    let burn = |name: &str| manifests[name].iter().any(|other| other == "burn" || other.starts_with("burn-"));
    assert!(burn("ops") && burn("model"), "the manifests are read wrongly");
    for (name, allowed) in CRATES {
        if WITHOUT_BURN.contains(&name) {
            assert!(!burn(name), "{name} depends on Burn");
            assert!(allowed.iter().all(|below| WITHOUT_BURN.contains(below)), "{name} may reach Burn");
        }
        let backend = manifests[name].iter().any(|other| BACKENDS.contains(&other.as_str()));
        assert!(!backend || name == "ops", "{name} depends on a backend by name");
    }
}

/// Who reads a command line, draws bars or answers signals is a front door; a library does none of it.
#[test]
fn only_the_binary_knows_a_terminal() {
    let front = ["clap", "clap_complete", "console", "indicatif", "signal-hook"];
    for (name, dependencies) in manifests() {
        let known: Vec<&str> = front.into_iter().filter(|other| dependencies.contains(*other)).collect();
        assert!(if name == "cli" { known.len() == front.len() } else { known.is_empty() }, "{name}: {known:?}");
    }
}

/// The compiler refuses `unsafe` wherever the workspace's lints hold and nobody lifts them.
#[test]
fn only_kernels_and_one_block_are_unsafe() {
    let lint = concat!("unsafe", "_code");
    assert!(read(&root().join("Cargo.toml")).contains(&format!("{lint} = \"deny\"")));
    for (name, _) in CRATES {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not have the workspace's lints");
    }
    let outside = |needle: String| {
        let places = found(&[needle], "");
        places.into_iter().filter(|place| !place.starts_with("kernels/")).collect::<Vec<_>>()
    };
    let lifted = outside(format!("allow({lint})"));
    assert_eq!(lifted.len(), 1, "{lifted:?}");
    assert!(lifted[0].starts_with("data/src/files.rs:"), "{lifted:?}");
    let blocks = outside(format!("{} {{", concat!("un", "safe")));
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert!(blocks[0].starts_with("data/src/files.rs:"), "{blocks:?}");
}

/// No network anywhere; environment variables and the process's arguments in the binary only.
#[test]
fn nothing_below_the_binary_looks_around() {
    let network = ["std::net", "TcpStream", "UdpSocket"].map(str::to_owned);
    assert_eq!(found(&network, "src"), Vec::<String>::new());
    let surroundings = ["env::var", "env::args", "env::set_current_dir", "static mut "].map(str::to_owned);
    let places = found(&surroundings, "src");
    assert!(places.iter().any(|place| place.starts_with("cli/")), "the sources are read wrongly");
    let below: Vec<_> = places.iter().filter(|place| !place.starts_with("cli/")).collect();
    assert!(below.is_empty(), "{below:?}");
}

/// Whoever computes is handed the device; one function chooses it.
#[test]
fn one_place_chooses_the_device() {
    let constructors = ["flex", "cpu", "cuda", "wgpu", "vulkan", "default"].map(|name| format!("Device::{name}("));
    let places = found(&constructors, "src");
    let above: Vec<_> = places.iter().filter(|place| !place.starts_with("ops/")).collect();
    assert!(above.len() == 1 && above[0].starts_with("temper/src/device.rs:"), "{above:?}");
}

/// A read waits for the device, so reads are counted, and to be counted they are made in one place.
#[test]
fn numbers_are_read_in_one_place() {
    let readers = ["data", "data_as", "scalar"].into_iter();
    let readers = readers.flat_map(|what| ["to", "into", "try_into"].map(|how| format!(".{how}_{what}(")));
    let places = found(&readers.collect::<Vec<_>>(), "src");
    assert!(places.iter().all(|place| place.starts_with("ops/src/read.rs:")) && !places.is_empty(), "{places:?}");
}

/// A build without features has no crate of a GPU's: features of manifests are additions only.
#[test]
fn the_usual_build_has_no_gpu() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--workspace", "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names of crates");
    // Burn itself takes some plain things from CubeCL (`cubecl-common` and the like), but no runtime and no compiler.
    let gpu = [
        "cubecl ",
        "cubecl-core",
        "cubecl-runtime",
        "wgpu",
        "naga",
        "ash ",
        "cudarc",
        "burn-wgpu",
        "burn-cuda",
        "burn-cubecl",
    ];
    let found: Vec<_> = tree.lines().filter(|line| gpu.iter().any(|name| line.starts_with(name))).collect();
    assert!(tree.contains("burn-flex"), "the tree is read wrongly");
    assert!(found.is_empty(), "{found:?}");
}

/// Where recipes are read: the keys stand there too, and everyone else has typed values.
const SPECS: [&str; 10] = [
    "recipe/src/",
    "train/src/spec.rs",
    "train/src/spec/",
    "lm/src/spec.rs",
    "lm/src/shape.rs",
    "certify/src/spec.rs",
    "certify/src/network.rs",
    "certify/src/method.rs",
    "certify/src/methods/",
    "certify/src/radius.rs",
];

/// A key is looked up by its name where recipes become specs and nowhere else.
#[test]
fn keys_are_read_in_the_specs_alone() {
    let getters = [
        "text",
        "texts",
        "f64",
        "u64",
        "usize",
        "usize_or_auto",
        "bool",
        "radius",
        "length",
        "lengths",
        "choice",
        "opt",
        "shown",
        "is_set",
        "get",
    ];
    let places = |key: &str| {
        let lookups: Vec<String> = getters.iter().map(|getter| format!(".{getter}(\"{key}")).collect();
        found(&lookups, "src")
    };
    let sections = [
        "task",
        "model.",
        "init.",
        "method.",
        "eps.",
        "data.",
        "batch.",
        "optimizer.",
        "lr.",
        "run.",
        "eval.",
        "checkpoint.",
        "log.",
        "memory.",
        "clocks.",
        "expect.",
        "base",
        "seed",
        "about",
    ];
    let all: Vec<String> = sections.iter().flat_map(|section| places(section)).collect();
    assert!(all.len() > 60, "the look-ups are not found");
    let elsewhere: Vec<_> = all.iter().filter(|place| !SPECS.iter().any(|spec| place.starts_with(spec))).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// A word of a recipe that nobody knows is an error and not silently something else.
#[test]
fn no_choice_of_a_recipe_is_a_fallback() {
    let fallbacks = found(&["_ =>".to_owned()], "src");
    let in_specs = |place: &&String| SPECS[1..].iter().any(|spec| place.starts_with(spec));
    let silent = |place: &&String| {
        let (file, line) = place.rsplit_once(':').expect("a line");
        let line: usize = line.parse().expect("its number");
        let (name, rest) = file.split_once('/').expect("a crate");
        let text = read(&root().join("crates").join(name).join(rest));
        let arm = text.lines().nth(line - 1).expect("the line").trim();
        !["_ => None,", "_ => return None,"].contains(&arm)
    };
    let known: Vec<_> = fallbacks.iter().filter(in_specs).collect();
    assert!(!known.is_empty(), "the arms are not found");
    let silent: Vec<_> = known.into_iter().filter(silent).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

/// The drawing of ARCHITECTURE.md: every arrow is allowed, and every allowed dependency is an arrow or follows from some.
#[test]
fn the_drawing_shows_the_crates() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let drawing = text.split_once("```mermaid\n").and_then(|(_, rest)| rest.split_once("```")).expect("a drawing").0;
    let arrows: BTreeSet<(&str, &str)> = drawing.lines().filter_map(|line| line.trim().split_once(" --> ")).collect();
    let mut reached = arrows.clone();
    loop {
        let further = reached.iter().flat_map(|(from, via)| {
            let next = arrows.iter().filter(move |(start, _)| start == via);
            next.map(move |(_, to)| (*from, *to))
        });
        let more: BTreeSet<(&str, &str)> = further.filter(|pair| !reached.contains(pair)).collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more);
    }
    let allowed: BTreeSet<(&str, &str)> =
        CRATES.iter().flat_map(|(name, below)| below.iter().map(move |below| (*name, *below))).collect();
    assert!(arrows.is_subset(&allowed), "not allowed: {:?}", arrows.difference(&allowed).collect::<Vec<_>>());
    assert!(allowed.is_subset(&reached), "not drawn: {:?}", allowed.difference(&reached).collect::<Vec<_>>());
}

/// README.md, ARCHITECTURE.md and the like, and the pages of `docs`.
fn documents() -> Vec<String> {
    let fixed = [
        "README.md",
        "ARCHITECTURE.md",
        "LOG.md",
        "EVIDENCE.md",
        "bench/README.md",
        "fuzz/README.md",
        "golden/README.md",
        "crates/sweep/FORMAT.md",
    ];
    let pages = fs::read_dir(root().join("docs")).expect("docs").map(|page| page.expect("a page").file_name());
    let pages = pages.map(|name| format!("docs/{}", name.to_string_lossy())).filter(|name| name.ends_with(".md"));
    fixed.map(str::to_owned).into_iter().chain(pages).collect()
}

/// The anchors of a document's headings, as Markdown makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let headings = text.lines().filter(|line| {
        inside ^= line.starts_with("```");
        !inside && line.starts_with('#')
    });
    let plain = |c: &char| c.is_alphanumeric() || ['-', '_'].contains(c);
    let anchor = |line: &str| {
        let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        heading.chars().filter(plain).collect()
    };
    headings.map(anchor).collect()
}

/// Every link from a document to a file or a heading leads somewhere.
#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let path = root().join(&document);
        let text = read(&path);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let pictures = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for target in linked.chain(pictures).filter(|target| !target.contains("://")) {
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(file.exists(), "{document}: {target} leads nowhere");
            let there = anchor.is_empty() || anchors(&read(&file)).contains(anchor);
            assert!(there, "{document}: there is no heading for {target}");
        }
    }
    assert!(links > 100, "the links are not found");
}

/// What stands between backticks, or between the marks of a code block.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A path of the repository between backticks is there, and `FILE.rs::NAME` names a function of that file.
#[test]
fn documents_name_what_exists() {
    let tops = ["crates/", "golden/", "scripts/", "recipes/", "sweeps/", "bench/", "assets/", "docs/", ".ci/"];
    let mut tests = 0;
    for document in documents() {
        for name in quoted(&read(&root().join(&document))) {
            if !tops.iter().any(|top| name.starts_with(top)) || name.contains(char::is_whitespace) {
                continue;
            }
            let (file, function) = name.split_once("::").map_or((name, None), |(file, name)| (file, Some(name)));
            assert!(root().join(file).exists(), "{document}: there is no {file}");
            if let Some(function) = function {
                tests += 1;
                let there = read(&root().join(file)).contains(&format!("fn {function}("));
                assert!(there, "{document}: {file} has no {function}");
            }
        }
    }
    assert!(tests > 10, "the tests that hold the invariants are not found in ARCHITECTURE.md");
}

/// fuzz/README.md: a row for every fuzz target, which has its source and seeds, and a row for every source file that reads.
#[test]
fn every_reader_has_a_fuzz_target() {
    let fuzz = root().join("fuzz");
    let manifest = read(&fuzz.join("Cargo.toml"));
    let bins: BTreeSet<&str> = (manifest.split("[[bin]]").skip(1))
        .filter_map(|bin| bin.split("name = \"").nth(1)?.split('"').next())
        .collect();
    let readme = read(&fuzz.join("README.md"));
    let (targets, sources) = readme.split_once("| source | targets |").expect("the second table");
    let rows = |text: &str| -> Vec<(String, String)> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| `").map(|row| format!("`{row}")));
        cells.filter_map(|row| row.split_once(" | ").map(|(a, b)| (a.to_owned(), b.to_owned()))).collect()
    };
    let described = rows(targets);
    let described: BTreeSet<&str> = described.iter().flat_map(|(names, _)| quoted(names)).collect();
    assert_eq!(described, bins, "fuzz/README.md and fuzz/Cargo.toml name other targets");
    for target in &bins {
        assert!(fuzz.join(format!("fuzz_targets/{target}.rs")).is_file(), "{target} has no source");
        let seeds = fs::read_dir(fuzz.join("seeds").join(target)).unwrap_or_else(|e| panic!("seeds of {target}: {e}"));
        assert!(seeds.count() > 0, "{target} has no seeds");
    }

    let sources = rows(sources);
    for (source, covering) in &sources {
        let unknown = quoted(covering).find(|target| !bins.contains(target));
        assert_eq!(unknown, None, "{source}: no such target");
        assert!(
            quoted(covering).next().is_some() || (covering.starts_with("- (") && !covering.contains("()")),
            "{source}: no target and no reason"
        );
    }
    let listed: BTreeSet<String> = sources.iter().map(|(source, _)| source.trim_matches('`').to_owned()).collect();
    let needles = [
        "serde_json::from_",
        "Deserializer::from_",
        "toml::from_",
        "fs::read(",
        "fs::read_to_string(",
        "File::open(",
        ".read_to_end(",
        ".read_to_string(",
        ".read_exact(",
    ];
    let reading = found(&needles.map(str::to_owned), "src");
    let reading: BTreeSet<String> =
        (reading.iter().filter_map(|place| place.rsplit_once(':'))).map(|(file, _)| format!("crates/{file}")).collect();
    assert_eq!(reading.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "no row in fuzz/README.md");
    assert_eq!(
        listed.difference(&reading).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "a row too many: it reads nothing"
    );
}
