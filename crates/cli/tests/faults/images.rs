//! Images and their classes.

use std::fs;

use crate::common::{Folder, says_all};

/// A classifier of images of 8 x 8 in `pets`, ten updates.
const PETS: &str = r#"
task = "certify"
model = { name = "small", width = 2 }
data = { images = "pets", holdout = 0 }
batch.images = 10
eps = { target = 0.01, length = "5 steps" }
lr = { shape = "constant", peak = 5e-3 }
run.horizon = "10 steps"
"#;

/// A grey PNG of 8 x 8 pixels of one value.
fn png(value: u8) -> Vec<u8> {
    png_of(&[value], 0)
}

/// A PNG of 8 x 8 equal pixels of a colour type, its content stored and not compressed.
fn png_of(pixel: &[u8], colour: u8) -> Vec<u8> {
    let raw: Vec<u8> = [&[0][..], &pixel.repeat(8)].concat().repeat(8);
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in &raw {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    let size = (raw.len() as u16).to_le_bytes();
    let other = (!(raw.len() as u16)).to_le_bytes();
    let data = [&[0x78, 1, 1][..], &size, &other, &raw, &(b << 16 | a).to_be_bytes()].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in
        [(b"IHDR", [0, 0, 0, 8, 0, 0, 0, 8, 8, colour, 0, 0, 0].to_vec()), (b"IDAT", data), (b"IEND", vec![])]
    {
        let body = [&kind[..], &content].concat();
        let crc = body.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        });
        file.extend((content.len() as u32).to_be_bytes());
        file.extend(body);
        file.extend((!crc).to_be_bytes());
    }
    file
}

/// A tree with ten training and four test images a class; every class has a brightness.
fn tree(folder: &Folder, name: &str, classes: &[(&str, u8)]) {
    for (class, value) in classes {
        for (split, images) in [("train", 10), ("test", 4)] {
            fs::create_dir_all(folder.path(&format!("{name}/{split}/{class}"))).expect("a folder");
            for image in 0..images {
                folder.write(&format!("{name}/{split}/{class}/{image}.png"), png(value + image % 5));
            }
        }
    }
}

fn pets() -> Folder {
    let folder = Folder::empty();
    tree(&folder, "pets", &[("cat", 20), ("dog", 230)]);
    folder.write("pets.toml", PETS);
    folder
}

const VERIFY: [&str; 6] = ["--steps", "2", "--restarts", "1", "--stages", "attack,ibp"];

fn verify<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["verify", run], more, &VERIFY].concat()
}

#[test]
fn classes_of_another_set_are_matched_by_name() {
    let folder = pets();
    folder.ok(&["train", "pets.toml", "--out", "run"]);
    tree(&folder, "new", &[("dog", 230), ("fox", 120)]);
    tree(&folder, "dogs", &[("dog", 230)]);
    let unseen = ["no class fox", "cat, dog", "dog, fox", "hint: "];
    folder.fails(&verify("run", &["--data", "new"]), 2, &unseen);
    folder.write("next.toml", PETS.replace("pets", "new").replace("eps =", "base = \"pets.toml\"\neps ="));
    folder.fails(&["branch", "run", "next.toml", "--out", "branch"], 2, &unseen);
    let weights = Folder::checkpoint("run", 10, "model.safetensors");
    folder.write("from.toml", format!("{}init.from = \"{weights}\"\n", PETS.replace("pets", "new")));
    folder.fails(&["train", "from.toml", "--out", "from"], 2, &unseen);
    assert!(!folder.path("branch").exists() && !folder.path("from").exists());
    // Dogs alone are class 1, as in the run.
    folder.ok(&verify("run", &["--data", "dogs", "--out", "v"]));
    let verdicts = String::from_utf8(folder.read("v/verdicts.csv")).expect("UTF-8");
    let mut lines = verdicts.lines();
    let label = lines.next().and_then(|line| line.split(',').position(|column| column == "label")).expect("labels");
    let labels: Vec<&str> = lines.filter_map(|line| line.split(',').nth(label)).collect();
    assert_eq!(labels, ["1"; 4]);
    // A branch on some of the classes keeps the numbers of all.
    folder.write("dogs.toml", PETS.replace("pets", "dogs"));
    folder.ok(&["branch", "run", "dogs.toml", "--out", "dogs-run"]);
    assert_eq!(folder.json("dogs-run/data/manifest.json")["class_names"], serde_json::json!(["cat", "dog"]));
}

#[test]
fn a_run_is_judged_on_its_own_images() {
    let folder = pets();
    folder.ok(&["train", "pets.toml", "--out", "run"]);
    folder.write("pets/test/cat/0.png", png(99));
    let says = ["data.images", "no longer those that the run began with", "hint: "];
    folder.fails(&verify("run", &[]), 2, &says);
    folder.fails(&["inspect", "run"], 2, &says);
}

#[test]
fn files_that_are_not_read_are_counted() {
    let folder = pets();
    for image in 0..4 {
        let name = |ending: &str| folder.path(&format!("pets/train/cat/{image}.{ending}"));
        fs::rename(name("png"), name("bmp")).expect("a file");
    }
    folder.write("pets/test/dog/a.webp", "x");
    folder.write("pets/test/dog/.DS_Store", "x");
    let says = [
        "training set has files that Temper does not read: 4 .bmp",
        "test set has files that Temper does not read: 1 .webp",
    ];
    for args in [
        &["train", "pets.toml", "--out", "run"][..],
        &["data", "info", "pets"],
        &["plan", "pets.toml", "--no-calibration"],
    ] {
        let done = folder.temper(args);
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &says);
    }
    let done = folder.temper(&verify("run", &[]));
    says_all(&done.err, &says[1..]);
}

#[test]
fn the_name_of_a_folder_decides_no_normalisation() {
    let folder = pets();
    folder.write("pets.toml", PETS.replace("images = \"pets\"", "images = \"fashion-mnist\", normalise = \"own\""));
    fs::rename(folder.path("pets"), folder.path("fashion-mnist")).expect("a folder");
    let done = folder.temper(&["train", "pets.toml", "--out", "run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["pixels      mean 0.4", "those of the training images"]);
    let plan = ["plan", "pets.toml", "--no-calibration", "--set", "data.normalise=auto"];
    says_all(&folder.ok(&plan), &["pixels       pixels from 0 to 1 as they are: the images are of no known data set"]);
    folder.fails(&["plan", "pets.toml", "--set", "data.normalise=cifar-10"], 2, &["CIFAR-10 has 3 channels"]);
}

/// At c4163c3 images in a folder called `cifar-10` trained differently from the same images elsewhere.
#[test]
fn a_folder_called_cifar_10_is_not_cifar_10() {
    let folder = pets();
    for (class, value) in [("cat", 20), ("dog", 230)] {
        for (split, images) in [("train", 10), ("test", 4)] {
            for image in 0..images {
                let pixel = [value, value / 2, value + image % 5];
                folder.write(&format!("pets/{split}/{class}/{image}.png"), png_of(&pixel, 2));
            }
        }
    }
    folder.ok(&["train", "pets.toml", "--out", "plain"]);
    fs::rename(folder.path("pets"), folder.path("cifar-10")).expect("a folder");
    folder.write("pets.toml", PETS.replace("images = \"pets\"", "images = \"cifar-10\""));
    folder.ok(&["train", "pets.toml", "--out", "named"]);
    assert_eq!(folder.losses("named"), folder.losses("plain"));
}

#[test]
fn batch_norm_is_recorded_as_it_is() {
    let folder = pets();
    let with = |model: &str| folder.write("pets.toml", PETS.replace("model = { name = \"small\", width = 2 }", model));
    let recorded = |run: &str, says: &str| {
        let resolved = String::from_utf8(folder.read(&format!("{run}/resolved.toml"))).expect("UTF-8");
        says_all(&resolved, &[says]);
    };
    const PLAIN: &str = r#"graph = ["flatten", "linear 4", "relu", "linear 2"]"#;
    const NORMED: &str = r#"graph = ["flatten", "linear 4", "bn", "relu", "linear 2"]"#;
    for (run, model) in [("run0", format!("{{ {PLAIN} }}")), ("run1", format!("{{ {PLAIN}, batch_norm = \"none\" }}"))]
    {
        with(&format!("model = {model}"));
        folder.ok(&["train", "pets.toml", "--out", run]);
        recorded(run, "batch_norm = \"none\"");
    }
    // A recipe that asks for what its network has not is an error of every command that reads it.
    let cases = [
        (format!("{{ {PLAIN}, batch_norm = \"full\" }}"), ["it is \"full\"", "by model.graph it is \"none\""]),
        (format!("{{ {NORMED}, batch_norm = \"none\" }}"), ["it is \"none\"", "by model.graph it is \"full\""]),
        (
            "{ name = \"small-nobn\", width = 2, batch_norm = \"full\" }".to_owned(),
            ["it is \"full\"", "by model.name it is \"none\""],
        ),
        (format!("{{ {PLAIN}, width = 4 }}"), ["model.width", "a list of layers has its own widths"]),
    ];
    for (model, says) in cases {
        with(&format!("model = {model}"));
        for command in [&["plan", "pets.toml", "--no-calibration"][..], &["train", "pets.toml", "--out", "no"]] {
            folder.fails(command, 2, &[&says[..], &["hint: "]].concat());
        }
        assert!(!folder.path("no").exists());
    }
    // What the network of a run decided is decided anew by the network of its branch.
    with(&format!("model = {{ {NORMED} }}\nclocks.weights = \"reset\""));
    folder.ok(&["branch", "run0", "pets.toml", "--out", "branch"]);
    recorded("branch", "batch_norm = \"full\"");
}

#[test]
fn the_layers_of_a_graph_are_documented() {
    let printed = Folder::empty().ok(&["recipe", "layers"]);
    says_all(&printed, &["conv CHANNELS KERNEL [stride N] [padding N] [groups N]", "add NAME", "[model]\ngraph = ["]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/layers.md");
    let page = fs::read_to_string(page).expect("docs/layers.md");
    assert!(page.contains(printed.trim_end()), "docs/layers.md shows what `temper recipe layers` prints:\n{printed}");
    let folder = pets();
    folder.fails(
        &["train", "pets.toml", "--out", "run", "--set", "model.graph=[\"conv 3\"]"],
        2,
        &["kernel is missing", "`temper recipe layers`"],
    );
    folder.fails(
        &["train", "pets.toml", "--out", "run", "--set", "model.graph=[\"dense 3\"]"],
        2,
        &["`temper recipe layers`"],
    );
}

/// A class is one word of a line, and no terminal obeys it.
#[cfg(unix)]
#[test]
fn names_of_classes_are_shown() {
    let folder = Folder::empty();
    tree(&folder, "pets", &[("a\u{1b}[2J", 20), ("b\nc", 230)]);
    let told = folder.ok(&["data", "info", "pets"]);
    assert!(told.contains("2: a\\u{1b}[2J, b\\nc\n"), "{told:?}");
}
