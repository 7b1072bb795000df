//! Other devices than the processor: what a build without them says, and in a build with them (`scripts/check_devices`) the same commands
//! there and on the processor. A machine without a driver skips the latter, and says so.

mod common;

use common::{Folder, says_all};
use serde_json::Value;

/// The first device that this build reaches here.
fn device(folder: &Folder) -> Option<String> {
    let listed = folder.temper(&["doctor", "--devices", "--json"]).out;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let device = listed["devices"].as_array().expect("a list").last()?;
    // Only what can be opened has types.
    device["types"].as_array().filter(|types| types.contains(&"f32".into()))?;
    device["device"].as_str().map(str::to_owned)
}

/// The device, or a word about why nothing is tested.
fn or_skip(folder: &Folder) -> Option<String> {
    let device = device(folder);
    if device.is_none() {
        eprintln!("skipped: this build reaches no device besides the processor on this machine");
    }
    device
}

#[test]
fn what_is_not_there_is_an_error() {
    let folder = Folder::new();
    for (device, word) in [("vulkan:99", "vulkan:99"), ("cuda:99", "cuda:99"), ("wgpu:99", "wgpu:99")] {
        let train = folder.temper(&["train", "tiny.toml", "--out", "run", "--device", device]);
        assert_eq!(train.code, 2, "{train:?}");
        says_all(&train.err, &["error: open device", word, "hint: "]);
        assert!(!folder.path("run").exists());
    }
    for wrong in ["gpu", "cpu:0", "vulkan:x"] {
        let train = folder.temper(&["train", "tiny.toml", "--out", "run", "--device", wrong]);
        assert_eq!(train.code, 2, "{train:?}");
        says_all(&train.err, &["--device", wrong]);
    }
    let network = folder.temper(&["verify", "net.onnx", "property.vnnlib", "--device", "vulkan"]);
    assert_eq!(network.code, 2, "{network:?}");
    says_all(&network.err, &["on the processor alone", "leave --device out"]);
}

#[test]
fn updates_agree_and_are_read_seldom() {
    let folder = Folder::empty();
    let Some(device) = or_skip(&folder) else { return };
    let parity = folder.temper(&["doctor", "--parity", "--device", &device, "--json"]).out;
    let parity: Value = serde_json::from_str(&parity).expect("JSON");
    let halves = parity["halves"].as_array().expect("two halves");
    for (half, most) in halves.iter().zip([1.0, 2.0]) {
        let name = &half["half"];
        assert!(half["relative_difference"].as_f64().expect("a number") <= 1e-4, "{half}");
        assert_eq!(half["losses_device"].as_array().map(Vec::len), Some(12), "{name}");
        assert!(half["readbacks_per_update"].as_f64().expect("a number") <= most, "{half}");
    }
    assert_eq!(halves.len(), 2);
}

fn close(what: &str, there: &[Value], here: &[Value], key: &str) {
    assert_eq!(there.len(), here.len(), "{what}");
    for (there, here) in there.iter().zip(here) {
        let [a, b] =
            [there, here].map(|event| event[key].as_f64().unwrap_or_else(|| panic!("{what}: {key} of {event}")));
        assert!((a - b).abs() <= 1e-4 * b.abs(), "{what}: {key} is {a} on the device, {b} on the processor: {here}");
    }
}

/// Checkpoints, accumulation, activations computed again, resumption, branch, evaluation and samples.
#[test]
fn a_language_model_from_start_to_end() {
    let folder = Folder::new();
    let Some(device) = or_skip(&folder) else { return };
    let on = |args: &[&str], there: bool| {
        let done = folder.temper(&if there { [args, &["--device", &device]].concat() } else { args.to_vec() });
        assert!([0, 75].contains(&done.code), "{args:?}: {done:?}");
        done.out
    };
    let short = ["--set", "run.horizon=12 steps", "--set", "eval.every=6 steps"];
    let pieces = ["--set", "batch.micro=2", "--set", "memory.activation_checkpointing=true"];
    for (run, there) in [("there", true), ("here", false)] {
        on(&[&["train", "tiny.toml", "--out", run, "--max-steps", "7"][..], &short, &pieces].concat(), there);
        on(&["resume", run, "--until", "12"], there);
        let branch = format!("{run}-branch");
        on(&["branch", run, "next.toml", "--out", &branch, "--max-steps", "2"], there);
    }
    for (there, here) in [("there", "here"), ("there-branch", "here-branch")] {
        for event in ["step", "eval"] {
            close(event, &folder.events_of(there, event), &folder.events_of(here, event), "loss");
        }
    }
    let env: Value = serde_json::from_slice(&folder.read("there/env.json")).expect("JSON");
    assert!(env["device"].as_str().is_some_and(|name| !name.is_empty()), "{env}");
    let env: Value = serde_json::from_slice(&folder.read("here/env.json")).expect("JSON");
    assert!(env["device"].is_null(), "{env}");

    let [there, here] = [true, false].map(|there| {
        let told: Value = serde_json::from_str(&on(&["eval", "there", "--json"], there)).expect("JSON");
        [told["sets"]["old"].clone()]
    });
    close("evaluation", &there, &here, "loss");
    let sample = on(&["sample", "there", "--prompt", "the", "--tokens", "4"], true);
    assert!(!sample.is_empty());
}

/// Training with bounds and an attack, resumption, and verdicts.
#[test]
fn a_classifier_from_start_to_end() {
    let folder = Folder::empty();
    let Some(device) = or_skip(&folder) else { return };
    folder.write(
        "tiny.toml",
        r#"
            task = "certify"
            model = { name = "small", width = 2 }
            data = { images = "builtin:fashion", max_train = 120, max_test = 20 }
            batch.images = 40
            eps = { target = 0.1, length = "6 steps" }
            lr.peak = 1e-4
            run.horizon = "6 steps"
            eval = { every = "3 steps", attack_images = 5, attack_steps = 2 }
            checkpoint.every = "3 steps"
            log.every = "1 steps"
        "#,
    );
    let on = |args: &[&str], there: bool| {
        let done = folder.temper(&if there { [args, &["--device", &device]].concat() } else { args.to_vec() });
        assert!([0, 75].contains(&done.code), "{args:?}: {done:?}");
        done.out
    };
    for (run, there) in [("there", true), ("here", false)] {
        on(&["train", "tiny.toml", "--out", run, "--max-steps", "4"], there);
        on(&["resume", run, "--until", "6"], there);
    }
    close("step", &folder.events_of("there", "step"), &folder.events_of("here", "step"), "loss");
    let verify = ["verify", "there", "--eps", "0.001", "--steps", "3", "--restarts", "2", "--stages", "attack,ibp"];
    let counted = [true, false].map(|there| {
        let out = if there { "verdicts-there" } else { "verdicts-here" };
        on(&[&verify[..], &["--out", out]].concat(), there);
        // Which image got which verdict.
        let verdicts = String::from_utf8(folder.read(&format!("{out}/verdicts.csv"))).expect("UTF-8");
        let of_line = |line: &str| line.split(',').take(4).map(str::to_owned).collect::<Vec<_>>();
        verdicts.lines().map(of_line).collect::<Vec<_>>()
    });
    assert_eq!(counted[0], counted[1]);
}
