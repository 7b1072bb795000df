//! Hugging Face directories in and out: every form a reader meets, every fault named, and weights
//! that come out as they went in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, TensorView, serialize_to_file};
use temper_base::{Kind, Problem};
use temper_model::tensors::{self, Dtype, Outgoing};
use temper_model::{GptNeox, Parameters, hugging_face};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/gpt_neox").join(name)
}

fn load(dir: &Path) -> hugging_face::Imported {
    hugging_face::read(dir, &Device::flex()).unwrap_or_else(|problem| panic!("{problem}"))
}

fn weights(model: &GptNeox) -> BTreeMap<String, Vec<u32>> {
    let mut weights = BTreeMap::new();
    model.clone().visit(&mut |name, values| {
        weights.insert(name.to_string(), values.to_vec().into_iter().map(f32::to_bits).collect());
    });
    weights
}

/// Name, type, shape and bytes of every tensor of a file, read by the reference library.
type Raw = BTreeMap<String, (Stored, Vec<usize>, Vec<u8>)>;

fn raw(path: &Path) -> Raw {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter();
    tensors.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn write_raw(path: &Path, raw: &Raw) {
    let views =
        raw.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// Logits of the golden batch of configuration a, and the largest among the expected ones.
fn logits_of_a(model: &GptNeox) -> (Vec<f32>, Vec<f32>) {
    let numbers = raw(&golden("a/golden.safetensors"));
    let ids = numbers["input_ids"].2.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as u32);
    let inputs: Vec<u32> = ids.collect::<Vec<_>>().chunks(33).flat_map(|row| &row[..32]).copied().collect();
    let expected = numbers["logits"].2.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (model.logits(&inputs, 2, 0..64).into_data().try_into_vec().unwrap(), expected)
}

fn distance(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max)
}

#[test]
fn golden_models_are_read_as_they_are_stored() {
    for name in ["a", "b", "c", "d"] {
        let imported = load(&golden(name));
        assert_eq!((imported.dtype, &imported.tokenizer), (Dtype::F32, &None), "{name}");
        let (model, stored) = (weights(&imported.model), raw(&golden(name).join("model.safetensors")));
        assert_eq!(model.len(), stored.len(), "{name}");
        for (tensor, values) in model {
            let expected: Vec<u32> = stored[&tensor].2.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
            assert!(values == expected, "{name}: {tensor}");
        }
        let total: usize = stored.values().map(|(_, _, data)| data.len() / 4).sum();
        assert_eq!(imported.model.config.parameters(), total as u64, "{name}");
    }
}

#[test]
fn shards_and_old_buffers_change_nothing() {
    let expected = weights(&load(&golden("a")).model);
    for form in ["sharded", "old_buffers"] {
        let found = weights(&load(&golden("formats").join(form)).model);
        assert!(found == expected, "{form}");
    }
}

#[test]
fn half_precision_is_close() {
    for (form, dtype, closeness) in [("f16", Dtype::F16, 2e-3), ("bf16", Dtype::Bf16, 2e-2)] {
        let imported = load(&golden("formats").join(form));
        assert_eq!(imported.dtype, dtype);
        let (found, expected) = logits_of_a(&imported.model);
        let d = distance(&found, &expected);
        assert!(d > 0.0 && d < closeness, "{form}: logits differ by {d} of the largest");
    }
}

/// A copy of golden configuration a that a test may damage.
struct Copy {
    dir: TempDir,
    tensors: Raw,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(golden("a/config.json"), dir.path().join("config.json")).unwrap();
        let tensors = raw(&golden("a/model.safetensors"));
        let copy = Self { dir, tensors };
        copy.save();
        copy
    }

    fn sharded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in fs::read_dir(golden("formats/sharded")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        Self { dir, tensors: Raw::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn save(&self) {
        write_raw(&self.path("model.safetensors"), &self.tensors);
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(old), "{old}");
        fs::write(self.path(file), text.replace(old, new)).unwrap();
    }

    /// Reading it is an input error whose text or hint holds every one of `expected`.
    fn check(&self, expected: &[&str]) {
        let problem = hugging_face::read(self.dir.path(), &Device::flex()).err();
        check(problem.unwrap_or_else(|| panic!("read without error; expected {expected:?}")), Kind::Input, expected);
    }
}

fn check(problem: Problem, kind: Kind, expected: &[&str]) {
    let text = format!("{problem}\nhint: {}", problem.hint.as_deref().unwrap_or_default());
    assert_eq!(problem.kind, kind, "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn tensors_that_do_not_fit() {
    let name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight";

    let mut copy = Copy::new();
    let removed = copy.tensors.remove(name).unwrap();
    copy.save();
    copy.check(&[name, "missing"]);

    copy.tensors.insert(name.into(), removed);
    copy.tensors.insert("gpt_neox.layers.2.extra.weight".into(), (Stored::F32, vec![2], vec![0; 8]));
    copy.save();
    copy.check(&["gpt_neox.layers.2.extra.weight", "not part of the model"]);

    let mut copy = Copy::new();
    copy.tensors.get_mut(name).unwrap().1 = vec![32, 128];
    copy.save();
    copy.check(&[name, "[32, 128]", "[128, 32]", "config.json"]);

    let mut copy = Copy::new();
    let (dtype, shape, _) = copy.tensors.get_mut(name).unwrap();
    (*dtype, *shape) = (Stored::I32, vec![128, 32]);
    copy.save();
    copy.check(&[name, "I32", "model.safetensors", "BF16"]);

    // Another model's configuration: each fault by name, but not all thirty.
    let copy = Copy::new();
    copy.replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4");
    copy.check(&["gpt_neox.layers.2.input_layernorm.weight", "more"]);

    let mut copy = Copy::new();
    copy.tensors.remove("embed_out.weight");
    copy.save();
    copy.check(&["embed_out.weight", "missing", "tie_word_embeddings"]);
}

const TIE: [&str; 2] = ["\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"];

/// What transformers 5 does where config.json ties the tables: two that differ are both kept, and the user is told; one stored twice is
/// one; one stored under the other's name is the one.
#[test]
fn tied_tables() {
    let expected = weights(&load(&golden("a")).model);
    let copy = Copy::new();
    copy.replace("config.json", TIE[0], TIE[1]);
    let imported = load(copy.dir.path());
    assert!(!imported.model.config.tie_embeddings);
    assert!(weights(&imported.model) == expected);
    let [warning] = &imported.warnings[..] else { panic!("{:?}", imported.warnings) };
    check(warning.clone(), Kind::Input, &["config.json", "embed_out.weight", "tie_word_embeddings"]);
    // The shape alone is known as well as the whole model.
    let (config, warnings) = hugging_face::read_config(copy.dir.path()).unwrap();
    assert_eq!((config, warnings), (imported.model.config.clone(), imported.warnings.clone()));
    // What is written says what it holds, and is read back as it is.
    let out = tempfile::tempdir().unwrap();
    hugging_face::write(out.path(), &imported.model, Dtype::F32, &[]).unwrap();
    let again = load(out.path());
    assert!(weights(&again.model) == expected && again.warnings.is_empty());

    let mut copy = Copy::new();
    copy.replace("config.json", TIE[0], TIE[1]);
    let table = copy.tensors["gpt_neox.embed_in.weight"].clone();
    copy.tensors.insert("embed_out.weight".into(), table.clone());
    copy.save();
    let twice = load(copy.dir.path());
    assert!(twice.model.config.tie_embeddings && twice.warnings.is_empty());
    copy.tensors.remove("gpt_neox.embed_in.weight");
    copy.save();
    let other_name = load(copy.dir.path());
    assert!(weights(&other_name.model) == weights(&twice.model));

    // A second table of another shape belongs to another model.
    copy.tensors.insert("gpt_neox.embed_in.weight".into(), table);
    copy.tensors.insert("embed_out.weight".into(), (Stored::F32, vec![32, 96], vec![0; 32 * 96 * 4]));
    copy.save();
    copy.check(&["embed_out.weight", "[32, 96]"]);
}

/// What config.json says and the files or this program do otherwise is said.
#[test]
fn configurations_that_contradict_the_tensors() {
    let copy = Copy::new();
    copy.replace("config.json", "\"float32\"", "\"bfloat16\"");
    copy.replace("config.json", "\"hidden_dropout\": 0.0", "\"hidden_dropout\": 0.1");
    let imported = load(copy.dir.path());
    assert_eq!(imported.dtype, Dtype::F32);
    let said: Vec<String> = imported.warnings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| line.contains("bfloat16") && line.contains("float32")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("hidden_dropout is 0.1")), "{said:?}");
    assert!(load(&golden("a")).warnings.is_empty());
    // Positions need tables in memory: a slip of the pen is no reason to ask for terabytes.
    let copy = Copy::new();
    copy.replace("config.json", "\"hidden_size\": 32", "\"hidden_size\": 65536");
    copy.replace("config.json", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 1000000");
    copy.check(&["config.json", "max_seq 1000000", "1 GiB"]);
}

/// Sizes far beyond the files are refused before anything of that size is allocated.
#[test]
fn a_configuration_far_larger_than_the_weights() {
    let copy = Copy::new();
    copy.replace("config.json", "\"intermediate_size\": 128", "\"intermediate_size\": 1000000");
    copy.replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000");
    copy.check(&["config.json", "31616", "parameters"]);
}

/// A table that is padded otherwise, or not at all, is the table the configuration says.
#[test]
fn rows_of_the_embedding_are_those_of_the_configuration() {
    let mut copy = Copy::new();
    for name in ["gpt_neox.embed_in.weight", "embed_out.weight"] {
        let (_, shape, data) = copy.tensors.get_mut(name).unwrap();
        shape[0] = 95;
        data.truncate(95 * 32 * 4);
    }
    copy.save();
    copy.check(&["gpt_neox.embed_in.weight", "[95, 32]", "[96, 32]"]);
    copy.replace("config.json", "\"vocab_size\": 96", "\"vocab_size\": 95");
    assert_eq!(load(copy.dir.path()).model.config.vocab_size, 95);
}

#[test]
fn damaged_files() {
    let copy = Copy::new();
    let file = copy.path("model.safetensors");
    let whole = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let with = |bytes: &[u8], expected: &[&str]| {
        fs::write(&file, bytes).unwrap();
        let place = file.display().to_string();
        copy.check(&[expected, &[&place]].concat());
    };
    let announced = format!("its header says {}", whole.len());
    with(&whole[..whole.len() - 1], &[&announced, "fetch it again"]);
    with(&whole[..header], &[&announced]);
    with(&whole[..header - 1], &["before its header does"]);
    with(&whole[..5], &["header"]);
    with(&[], &["header"]);
    with(&[&whole[..], &[0; 9]].concat(), &[&announced]);
    with(&[&u64::MAX.to_le_bytes(), &whole[8..]].concat(), &["not a safetensors file", "100 MB"]);
    with(&[&(whole.len() as u64).to_le_bytes(), &whole[8..]].concat(), &["before its header does"]);
    with(&[&whole[..8], b"x", &whole[9..]].concat(), &["no valid header"]);
    with(b"PK\x03\x04 a zip file, as torch.save writes", &["not a safetensors file"]);
    with(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", &["Git LFS", "git lfs pull"]);
    // Headers that lie: a hole, an overlap, a size that is not the shape's, a shape beyond all memory.
    let lie = |shape: &str, from: u64, to: u64| {
        let text = format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#);
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &[0; 16][..to.min(16) as usize]].concat()
    };
    with(&lie("[2]", 4, 12), &["no valid header", "offset"]);
    with(&lie("[2]", 8, 0), &["no valid header", "offset"]);
    with(&lie("[3]", 0, 8), &["no valid header", "shape"]);
    with(&lie("[4294967296,4294967296]", 0, 8), &["no valid header", "overflow"]);
    with(&lie("[1099511627776]", 0, 1 << 42), &["its header says"]);
    with(&lie("[-1]", 0, 4), &["no valid header"]);
    fs::write(&file, &whole).unwrap();
    load(copy.dir.path());
}

#[test]
fn directories_that_are_not_models() {
    let copy = Copy::new();
    fs::remove_file(copy.path("config.json")).unwrap();
    copy.check(&["config.json", "model directory"]);

    let copy = Copy::new();
    fs::remove_file(copy.path("model.safetensors")).unwrap();
    copy.check(&["model.safetensors"]);
    fs::write(copy.path("pytorch_model.bin"), "").unwrap();
    copy.check(&["pytorch_model.bin", "save_pretrained"]);

    let copy = Copy::new();
    fs::write(copy.path("config.json"), [0xff, 0xfe, 0]).unwrap();
    copy.check(&["config.json"]);

    let problem = hugging_face::read(Path::new("no/such/model"), &Device::flex()).unwrap_err();
    check(problem, Kind::Input, &["no/such/model/config.json"]);
}

#[test]
fn damaged_shards() {
    const INDEX: &str = "model.safetensors.index.json";
    const FIRST: &str = "model-00001-of-00003.safetensors";
    const SECOND: &str = "model-00002-of-00003.safetensors";

    let copy = Copy::sharded();
    fs::remove_file(copy.path(SECOND)).unwrap();
    copy.check(&[INDEX, SECOND, "does not hold"]);

    let copy = Copy::sharded();
    copy.replace(INDEX, SECOND, "../other/model.safetensors");
    copy.check(&[INDEX, "outside the directory"]);

    let copy = Copy::sharded();
    copy.replace(INDEX, SECOND, "model-00003-of-00003.safetensors");
    copy.check(&["gpt_neox.layers.0.post_attention_layernorm.bias", "missing"]);

    for outside in ["/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "C:x"] {
        let copy = Copy::sharded();
        copy.replace(INDEX, SECOND, outside);
        copy.check(&[INDEX, "outside the directory"]);
    }

    let copy = Copy::sharded();
    copy.replace(INDEX, &format!("\"{SECOND}\""), "7");
    copy.check(&[INDEX, "weight_map sends tensor", "7"]);

    // One tensor in two shards and in no line of the index: whichever came last would win.
    let copy = Copy::sharded();
    let mut second = raw(&copy.path(SECOND));
    let first = raw(&copy.path(FIRST));
    let name = "gpt_neox.final_layer_norm.bias";
    second.insert(name.into(), first[name].clone());
    write_raw(&copy.path(SECOND), &second);
    copy.replace(
        INDEX,
        &format!("\"{name}\": \"{FIRST}\""),
        "\"gpt_neox.rotary_emb.inv_freq\": \"model-00003-of-00003.safetensors\"",
    );
    copy.check(&[name, SECOND, FIRST, "fetch it again"]);

    for text in ["", "{}", r#"{"weight_map": []}"#] {
        let copy = Copy::sharded();
        fs::write(copy.path(INDEX), text).unwrap();
        copy.check(&[INDEX]);
    }
}

/// A file beside the shards that the index sends tensors to: transformers reads them from there, whatever the shards still hold, and the
/// user is told what is not read.
#[test]
fn the_index_decides_where_copies_are_read() {
    const INDEX: &str = "model.safetensors.index.json";
    const FIRST: &str = "model-00001-of-00003.safetensors";
    let name = "gpt_neox.final_layer_norm.bias";
    let copy = Copy::sharded();
    let (dtype, shape, mut data) = raw(&copy.path(FIRST)).remove(name).unwrap();
    data.fill(0x3f);
    let patched = data.clone();
    write_raw(&copy.path("a-patch.safetensors"), &Raw::from([(name.to_string(), (dtype, shape, data))]));
    copy.replace(INDEX, &format!("\"{name}\": \"{FIRST}\""), &format!("\"{name}\": \"a-patch.safetensors\""));
    let imported = load(copy.dir.path());
    let expected: Vec<u32> = patched.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    assert_eq!(weights(&imported.model)[name], expected);
    let [warning] = &imported.warnings[..] else { panic!("{:?}", imported.warnings) };
    check(warning.clone(), Kind::Input, &[INDEX, name, "a-patch.safetensors", FIRST]);

    // A file that does not hold what it is to hold: the one that does is read.
    let copy = Copy::sharded();
    let second = "model-00002-of-00003.safetensors";
    copy.replace(INDEX, &format!("\"{name}\": \"{FIRST}\""), &format!("\"{name}\": \"{second}\""));
    let imported = load(copy.dir.path());
    assert!(weights(&imported.model) == weights(&load(&golden("a")).model));
    check(imported.warnings[0].clone(), Kind::Input, &[name, FIRST, second]);

    // One file beside shards is the model, as for transformers.
    let copy = Copy::sharded();
    write_raw(&copy.path("model.safetensors"), &raw(&golden("a/model.safetensors")));
    check(load(copy.dir.path()).warnings[0].clone(), Kind::Input, &[INDEX, "not read"]);
}

/// Weights in another form are named, with the way out.
#[test]
fn weights_in_other_forms() {
    for (name, says) in [
        ("pytorch_model-00001-of-00002.bin", "save_pretrained"),
        ("consolidated.00.pth", "save_pretrained"),
        ("model-q4.gguf", "safetensors files"),
        ("adapter_model.safetensors", "merge"),
        ("weights.safetensors", "called model.safetensors"),
    ] {
        let copy = Copy::new();
        fs::remove_file(copy.path("model.safetensors")).unwrap();
        fs::write(copy.path(name), "").unwrap();
        copy.check(&[name, says]);
    }
}

/// Weights that are not finite are read as they are: it is training that refuses them.
#[test]
fn nan_is_read() {
    let mut copy = Copy::new();
    let name = "gpt_neox.final_layer_norm.bias";
    copy.tensors.get_mut(name).unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    copy.save();
    assert_eq!(weights(&load(copy.dir.path()).model)[name][0], f32::NAN.to_bits());
}

/// Untouched weights, exported in the type they came in, are the same bytes in the same shapes.
#[test]
fn untouched_weights_come_out_as_they_went_in() {
    for form in ["a", "b", "c", "d", "formats/f16", "formats/bf16", "formats/sharded", "formats/old_buffers"] {
        let imported = load(&golden(form));
        let out = tempfile::tempdir().unwrap();
        let dir = out.path().join("new/folder");
        hugging_face::write(&dir, &imported.model, imported.dtype, &[]).unwrap();
        let written = raw(&dir.join("model.safetensors"));
        let source = if form.contains("sharded") || form.contains("old") { "a" } else { form };
        assert!(written == raw(&golden(source).join("model.safetensors")), "{form}");
        assert_eq!(written.contains_key("embed_out.weight"), form != "b", "{form}");
        let again = load(&dir);
        assert_eq!((again.dtype, &again.model.config), (imported.dtype, &imported.model.config), "{form}");
        assert!(weights(&again.model) == weights(&imported.model), "{form}");
        assert!(!dir.join("tokenizer.json").exists());
    }
}

#[test]
fn exports_are_rounded_to_nearest() {
    let model = load(&golden("a")).model;
    for (dtype, form) in [(Dtype::F16, "f16"), (Dtype::Bf16, "bf16")] {
        let out = tempfile::tempdir().unwrap();
        hugging_face::write(out.path(), &model, dtype, &[("tokenizer.json".into(), b"{}".to_vec())]).unwrap();
        // torch rounded the same weights for these files.
        let expected = raw(&golden("formats").join(form).join("model.safetensors"));
        assert!(raw(&out.path().join("model.safetensors")) == expected, "{form}");
        let imported = load(out.path());
        assert_eq!((imported.dtype, imported.tokenizer), (dtype, Some(out.path().join("tokenizer.json"))));
        assert_eq!(fs::read_to_string(out.path().join("tokenizer.json")).unwrap(), "{}");
    }
}

/// Every half-precision value, subnormal, infinite and signed zero included, survives the way in and
/// out; NaN stays NaN.
#[test]
fn every_half_survives() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("x.safetensors");
    for (stored, dtype) in [(Stored::F16, Dtype::F16), (Stored::BF16, Dtype::Bf16)] {
        let is_nan =
            |b: u16| if dtype == Dtype::F16 { f16::from_bits(b).is_nan() } else { bf16::from_bits(b).is_nan() };
        let halves: Vec<u16> = (0..=u16::MAX).filter(|b| !is_nan(*b)).collect();
        let data: Vec<u8> = halves.iter().flat_map(|b| b.to_le_bytes()).collect();
        let original = Raw::from([("w".to_string(), (stored, vec![halves.len()], data))]);
        write_raw(&path, &original);
        let (_, read) = tensors::read(&path, &|_| true).unwrap().remove(0);
        let exact = |b: u16| if dtype == Dtype::F16 { f16::from_bits(b).to_f64() } else { bf16::from_bits(b).to_f64() };
        assert!(
            read.values.iter().zip(&halves).all(|(v, b)| f64::from(*v).to_bits() == exact(*b).to_bits()),
            "{stored}"
        );
        let values = Box::new(move || read.values.clone());
        tensors::write(&path, vec![("w".into(), Outgoing { shape: read.shape, values, dtype })]).unwrap();
        assert!(raw(&path) == original, "{stored}");
    }
}

/// Weights in several types have no type they came in; f32 holds them all.
#[test]
fn mixed_types_are_exported_as_f32() {
    let mut copy = Copy::new();
    let (dtype, _, data) = copy.tensors.get_mut("embed_out.weight").unwrap();
    *dtype = Stored::F16;
    *data = data.as_chunks().0.iter().flat_map(|b| f16::from_f32(f32::from_le_bytes(*b)).to_le_bytes()).collect();
    copy.save();
    assert_eq!(load(copy.dir.path()).dtype, Dtype::F32);
}

/// Tensors longer than the pieces in which files are read and written, of several types, scalars and
/// empty ones among them; `wanted` alone is read.
#[test]
fn large_small_and_unwanted_tensors() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("x.safetensors");
    let values = |n: usize| (0..n).map(|i| (i % 2039) as f32 - 1000.0).collect::<Vec<_>>(); // whole: exact in f16
    let outgoing = |n: usize, shape: &[usize], dtype| Outgoing {
        shape: shape.to_vec(),
        values: Box::new(move || values(n)),
        dtype,
    };
    let list = vec![
        ("half".to_string(), outgoing(600_001, &[600_001], Dtype::F16)),
        ("full".to_string(), outgoing(700_002, &[2, 350_001], Dtype::F32)),
        ("scalar".to_string(), outgoing(1, &[], Dtype::F32)),
        ("empty".to_string(), outgoing(0, &[0, 3], Dtype::Bf16)),
    ];
    tensors::write(&path, list).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt", "transformers asks for it");
    let read: BTreeMap<_, _> = tensors::read(&path, &|name| name != "full").unwrap().into_iter().collect();
    assert_eq!(read.keys().collect::<Vec<_>>(), ["empty", "half", "scalar"]);
    assert_eq!((read["scalar"].shape.len(), &read["scalar"].values), (0, &vec![-1000.0]));
    assert_eq!((&read["empty"].shape, read["empty"].values.len()), (&vec![0, 3], 0));
    assert!(read["half"].values == values(600_001));
    let full = tensors::read(&path, &|name| name == "full").unwrap().remove(0).1;
    assert!(full.shape == [2, 350_001] && full.values == values(700_002));
}

#[test]
fn nothing_is_overwritten() {
    let model = load(&golden("a")).model;
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("notes.txt"), "mine").unwrap();
    let problem = hugging_face::write(out.path(), &model, Dtype::F32, &[]).unwrap_err();
    check(problem, Kind::Input, &["not empty", "another directory"]);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    let problem = hugging_face::write(&out.path().join("notes.txt"), &model, Dtype::F32, &[]).unwrap_err();
    check(problem, Kind::Input, &["notes.txt"]);
}

/// A full disk is the machine's fault.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let model = load(&golden("a")).model;
    let problem = tensors::write(Path::new("/dev/full"), hugging_face::outgoing(&model, Dtype::F32)).unwrap_err();
    check(problem, Kind::Machine, &["/dev/full"]);
}

/// Others may read an export, as any file that a program writes (a temporary file's mode would stay).
#[cfg(unix)]
#[test]
fn an_export_has_the_usual_mode() {
    use std::os::unix::fs::PermissionsExt;
    let out = tempfile::tempdir().unwrap();
    hugging_face::write(&out.path().join("x"), &load(&golden("a")).model, Dtype::F32, &[]).unwrap();
    let mode = |name: &str| fs::metadata(out.path().join("x").join(name)).unwrap().permissions().mode();
    assert_eq!(mode("model.safetensors"), mode("config.json"));
}

/// How many positions the tables hold changes nothing for those that are used.
#[test]
fn positions_are_not_weights() {
    let model = load(&golden("a")).model;
    let (expected, _) = logits_of_a(&model);
    for max_seq in [32, 100] {
        let other = model.clone().with_positions(max_seq);
        assert_eq!(other.config.max_seq, max_seq);
        assert!(logits_of_a(&other).0 == expected, "{max_seq}");
    }
}

/// A model with one weight of another value.
fn with_weight(name: &str, value: f32) -> GptNeox {
    let mut model = load(&golden("a")).model;
    model.visit(&mut |own, mut parameter| {
        if own == name {
            let mut values = parameter.to_vec();
            values[3..5].fill(value);
            parameter.set(values, &Device::flex());
        }
    });
    model
}

/// A weight that the type would make infinite is an error before anything is written; the largest that it holds is none.
#[test]
fn weights_beyond_the_range_of_a_type() {
    let name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight";
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("x");
    for (dtype, value, says) in
        [(Dtype::F16, 70000.0, "float16 ends at 65504"), (Dtype::Bf16, f32::MAX, "bfloat16 ends at")]
    {
        let problem = hugging_face::write(&dir, &with_weight(name, value), dtype, &[]).unwrap_err();
        check(problem, Kind::Input, &[name, "entry 3", &value.to_string(), says, "2 of 4096", "float32 loses nothing"]);
        assert!(!dir.exists(), "nothing is left of it");
    }
    // 65519 rounds to 65504, and f32 holds everything.
    for (dtype, value) in [(Dtype::F16, 65519.0), (Dtype::Bf16, 3.3e38), (Dtype::F32, f32::MAX)] {
        let dir = out.path().join(dtype.name());
        hugging_face::write(&dir, &with_weight(name, value), dtype, &[]).unwrap();
        assert!(weights(&load(&dir).model)[name].iter().all(|bits| f32::from_bits(*bits).is_finite()));
    }
    // What was infinite before is no loss of this type.
    hugging_face::write(&dir, &with_weight(name, f32::INFINITY), Dtype::F16, &[]).unwrap();
}

#[test]
fn weights_too_small_for_a_type_are_counted() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("x.safetensors");
    let values = [1e-8, -1e-8, 1e-6, 6.2e-5, 0.0, 1.0];
    let outgoing =
        |dtype| vec![("w".to_string(), Outgoing { shape: vec![6], values: Box::new(move || values.to_vec()), dtype })];
    let losses = tensors::write(&path, outgoing(Dtype::F16)).unwrap();
    assert_eq!((losses.values, losses.zeros, losses.subnormal), (6, 2, 1));
    let losses = tensors::write(&path, outgoing(Dtype::Bf16)).unwrap();
    assert_eq!((losses.values, losses.zeros, losses.subnormal), (6, 0, 0));
}

/// Weights without config.json are no model to any reader: that is what an ended export can leave, and the next one says so.
#[test]
fn half_an_export_is_none() {
    let model = load(&golden("a")).model;
    let out = tempfile::tempdir().unwrap();
    hugging_face::write(out.path(), &model, Dtype::F32, &[("tokenizer.json".into(), b"{}".to_vec())]).unwrap();
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(out.path()), ["config.json", "model.safetensors", "tokenizer.json"], "and nothing unfinished");
    fs::remove_file(out.path().join("config.json")).unwrap();
    let problem = hugging_face::write(out.path(), &model, Dtype::F32, &[]).unwrap_err();
    check(problem, Kind::Input, &["not empty", "no config.json", "ended"]);
    // Of a writer that was killed, its mark is left: what it has written is replaced, and nothing else.
    for name in [hugging_face::MARK, ".tokenizer.json.abc.unfinished", "notes.md"] {
        fs::write(out.path().join(name), "").unwrap();
    }
    let problem = hugging_face::write(out.path(), &model, Dtype::F32, &[("tokenizer.json".into(), b"{}".to_vec())]);
    check(problem.unwrap_err(), Kind::Input, &["not empty"]);
    fs::remove_file(out.path().join("notes.md")).unwrap();
    hugging_face::write(out.path(), &model, Dtype::F32, &[("tokenizer.json".into(), b"{}".to_vec())]).unwrap();
    assert_eq!(names(out.path()), ["config.json", "model.safetensors", "tokenizer.json"], "and nothing unfinished");
}
