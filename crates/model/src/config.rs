//! The shape of a GPT-NeoX model: the Pythia suite as presets, any other shape, and `config.json`
//! as Hugging Face directories hold it.

use serde_json::{Map, Value, json};
use temper_base::{Problem, Result};

pub use temper_ops::Gelu;

/// Everything that decides the shape and the arithmetic of a GPT-NeoX model.
#[derive(Debug, Clone, PartialEq)]
pub struct GptNeoxConfig {
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Attention heads; divides `d_model`.
    pub heads: usize,
    /// Width of the MLP, 4 `d_model` in Pythia.
    pub d_ff: usize,
    /// Rows of the embedding tables, padding included.
    pub vocab_size: usize,
    /// Longest sequence the model was made for.
    pub max_seq: usize,
    /// Fraction of every head that rotates.
    pub rotary_pct: f64,
    /// Base of the rotary angles.
    pub rotary_base: f64,
    /// `x + attention(ln1(x)) + mlp(ln2(x))`, or one after the other.
    pub parallel_residual: bool,
    /// Exact GELU (`gelu`) or the tanh approximation (`gelu_new`, `gelu_fast`, `gelu_pytorch_tanh`).
    pub gelu: Gelu,
    /// One table for embedding and unembedding.
    pub tie_embeddings: bool,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
    /// The end-of-document token.
    pub eos_token_id: u32,
    /// The token that texts begin with, where it differs from the one that ends them.
    pub bos_token_id: Option<u32>,
}

/// One row of the Pythia suite.
pub struct Preset {
    /// Name, e.g. `pythia-410m`.
    pub name: &'static str,
    layers: usize,
    d_model: usize,
    heads: usize,
    vocab_size: usize,
    /// The maximum learning rate it was trained with (its minimum is a tenth).
    pub peak_lr: f64,
}

const fn preset(
    name: &'static str,
    layers: usize,
    d_model: usize,
    heads: usize,
    vocab_size: usize,
    peak_lr: f64,
) -> Preset {
    Preset { name, layers, d_model, heads, vocab_size, peak_lr }
}

/// The Pythia suite (Biderman et al. 2023): README and training configurations of EleutherAI/pythia.
pub const PYTHIA: [Preset; 10] = [
    preset("pythia-14m", 6, 128, 4, 50304, 1e-3),
    preset("pythia-31m", 6, 256, 8, 50304, 1e-3),
    preset("pythia-70m", 6, 512, 8, 50304, 1e-3),
    preset("pythia-160m", 12, 768, 12, 50304, 6e-4),
    preset("pythia-410m", 24, 1024, 16, 50304, 3e-4),
    preset("pythia-1b", 16, 2048, 8, 50304, 3e-4),
    preset("pythia-1.4b", 24, 2048, 16, 50304, 2e-4),
    preset("pythia-2.8b", 32, 2560, 32, 50304, 1.6e-4),
    preset("pythia-6.9b", 32, 4096, 32, 50432, 1.2e-4),
    preset("pythia-12b", 36, 5120, 40, 50688, 1.2e-4),
];

impl Preset {
    /// The preset of that name.
    pub fn find(name: &str) -> Option<&'static Preset> {
        PYTHIA.iter().find(|preset| preset.name == name)
    }

    /// The full configuration.
    pub fn config(&self) -> GptNeoxConfig {
        GptNeoxConfig {
            layers: self.layers,
            d_model: self.d_model,
            heads: self.heads,
            d_ff: 4 * self.d_model,
            vocab_size: self.vocab_size,
            max_seq: 2048,
            rotary_pct: 0.25,
            rotary_base: 10_000.0,
            parallel_residual: true,
            gelu: Gelu::Erf,
            tie_embeddings: false,
            layer_norm_eps: 1e-5,
            eos_token_id: 0,
            bos_token_id: None,
        }
    }
}

impl GptNeoxConfig {
    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.heads
    }

    /// How many entries of a head rotate: `int(head_dim * rotary_pct)`, as in the reference code.
    pub fn rotary_dims(&self) -> usize {
        (self.head_dim() as f64 * self.rotary_pct) as usize
    }

    /// Parameters without embedding and unembedding.
    pub fn non_embedding_parameters(&self) -> u64 {
        let (d, f) = (self.d_model as u64, self.d_ff as u64);
        let layer = (3 * d * d + 3 * d) + (d * d + d) + (d * f + f) + (f * d + d) + 4 * d;
        self.layers as u64 * layer + 2 * d
    }

    /// All parameters.
    pub fn parameters(&self) -> u64 {
        let table = (self.vocab_size * self.d_model) as u64;
        self.non_embedding_parameters() + if self.tie_embeddings { table } else { 2 * table }
    }

    /// Floating-point operations of one training token (forward and backward) in sequences of `seq`
    /// tokens: 6 per weight of every matrix product, and the attention products, causal half only.
    pub fn flops_per_token(&self, seq: usize) -> f64 {
        let (d, f, v) = (self.d_model as f64, self.d_ff as f64, self.vocab_size as f64);
        let layer = 4.0 * d * d + 2.0 * d * f;
        let attention = 2.0 * d * (seq as f64 + 1.0) / 2.0;
        6.0 * (self.layers as f64 * (layer + attention) + v * d)
    }

    /// Of those, the unembedding's.
    pub fn flops_of_head(&self) -> f64 {
        6.0 * (self.vocab_size * self.d_model) as f64
    }

    /// What makes the shape impossible, all at once.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [
            ("layers", self.layers),
            ("d_model", self.d_model),
            ("heads", self.heads),
            ("d_ff", self.d_ff),
            ("vocab_size", self.vocab_size),
            ("max_seq", self.max_seq),
        ] {
            if value == 0 {
                faults.push(format!("{name} is 0"));
            } else if value > 1 << 20 {
                faults.push(format!("{name} is {value}, more than {}", 1 << 20)); // counts of parameters fit 64 bits
            }
        }
        if self.heads > 0 && !self.d_model.is_multiple_of(self.heads) {
            faults.push(format!("d_model {} is not a multiple of heads {}", self.d_model, self.heads));
        } else if self.heads > 0 && !self.rotary_dims().is_multiple_of(2) {
            faults.push(format!(
                "rotary_pct {} rotates {} of {} entries of a head, which is odd",
                self.rotary_pct,
                self.rotary_dims(),
                self.head_dim()
            ));
        }
        // Tables for all positions are made at once; a larger number than this is a mistake or a trap.
        if self.heads > 0 && (self.max_seq as u64).saturating_mul(self.rotary_dims() as u64) > 1 << 28 {
            faults.push(format!("max_seq {} needs rotary tables of more than 1 GiB", self.max_seq));
        }
        if !(0.0..=1.0).contains(&self.rotary_pct) {
            faults.push(format!("rotary_pct {} is not between 0 and 1", self.rotary_pct));
        }
        if !(self.rotary_base > 0.0 && self.rotary_base.is_finite()) {
            faults.push(format!("rotary_base {} is not positive", self.rotary_base));
        }
        if !(self.layer_norm_eps >= 0.0 && self.layer_norm_eps.is_finite()) {
            faults.push(format!("layer_norm_eps {} is negative or not finite", self.layer_norm_eps));
        }
        faults
    }

    /// Reads `config.json`; `place` names it in errors. The rotary settings may be spelled
    /// `rotary_pct` and `rotary_emb_base`, `partial_rotary_factor` and `rope_theta`, or inside
    /// `rope_parameters`. Nothing has a silent default that differs between library versions.
    ///
    /// # Errors
    /// If the text is not JSON, the model is not a GPT-NeoX, a key is missing, of the wrong kind or given twice with two values, or the
    /// settings are not supported or contradict each other.
    pub fn from_json(text: &str, place: &str) -> Result<Self> {
        let fail = |why: String| Problem::input("read model configuration", place, why);
        let value: Value = serde_json::from_str(text).map_err(|cause| fail(cause.to_string()))?;
        let object = value.as_object().ok_or_else(|| fail("is not a JSON object".into()))?;
        let kind = object.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        if kind != "gpt_neox" {
            return Err(fail(format!("model_type is {kind}, not gpt_neox"))
                .hint("Temper trains GPT-NeoX models: Pythia, or any other of that architecture"));
        }
        let whole = |key: &str| -> Result<usize> {
            let value = object.get(key).ok_or_else(|| fail(format!("{key} is missing")))?;
            value.as_u64().map(|v| v as usize).ok_or_else(|| fail(format!("{key} is {value}, not a whole number")))
        };
        let number = |object: &Map<String, Value>, key: &str| -> Result<Option<f64>> {
            match object.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => value.as_f64().map(Some).ok_or_else(|| fail(format!("{key} is {value}, not a number"))),
            }
        };
        let flag = |key: &str, default: bool| match object.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| fail(format!("{key} is {value}, not true or false"))),
        };
        if !flag("attention_bias", true)? {
            return Err(fail("attention_bias is false, which is not supported".into()));
        }
        let places: Vec<&Map<String, Value>> = ["rope_parameters", "rope_scaling"]
            .iter()
            .filter_map(|key| object.get(*key)?.as_object())
            .chain([object])
            .collect();
        for rope in &places[..places.len() - 1] {
            if let Some(kind) = rope.get("rope_type").or(rope.get("type")).filter(|kind| *kind != "default") {
                return Err(fail(format!("rope_type {kind} is not supported")).hint("only plain rotary embeddings are"));
            }
        }
        let rotary = |old: &str, new: &str| -> Result<f64> {
            let mut found = None;
            for (place, name) in places.iter().flat_map(|place| [(place, old), (place, new)]) {
                match (found, number(place, name)?) {
                    (Some(a), Some(b)) if a != b => {
                        return Err(fail(format!("{old} ({new}) is given twice, as {a} and as {b}")));
                    }
                    (_, value) => found = value.or(found),
                }
            }
            found.ok_or_else(|| fail(format!("{old} (or {new}) is missing")))
        };
        let gelu = match object.get("hidden_act").map(|value| value.as_str().unwrap_or("(not a name)")) {
            Some("gelu") | None => Gelu::Erf,
            Some("gelu_new" | "gelu_fast" | "gelu_pytorch_tanh") => Gelu::Tanh,
            Some(other) => return Err(fail(format!("hidden_act {other} is not supported")).hint("gelu or gelu_new")),
        };
        let token = |key: &str| -> Result<Option<u32>> {
            let value = object.get(key).map(|value| value.get(0).unwrap_or(value)); // one, or a list
            let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            match value.filter(|value| !value.is_null()) {
                None => Ok(None),
                Some(value) => id(value).map(Some).ok_or_else(|| fail(format!("{key} is {value}, not a token id"))),
            }
        };
        let eos_token_id = token("eos_token_id")?.unwrap_or(0); // as in every Pythia
        let config = GptNeoxConfig {
            layers: whole("num_hidden_layers")?,
            d_model: whole("hidden_size")?,
            heads: whole("num_attention_heads")?,
            d_ff: whole("intermediate_size")?,
            vocab_size: whole("vocab_size")?,
            max_seq: whole("max_position_embeddings")?,
            rotary_pct: rotary("rotary_pct", "partial_rotary_factor")?,
            rotary_base: rotary("rotary_emb_base", "rope_theta")?,
            parallel_residual: flag("use_parallel_residual", true)?,
            gelu,
            tie_embeddings: flag("tie_word_embeddings", false)?,
            layer_norm_eps: number(object, "layer_norm_eps")?.unwrap_or(1e-5),
            eos_token_id,
            bos_token_id: token("bos_token_id")?.filter(|&id| id != eos_token_id),
        };
        match config.faults() {
            faults if faults.is_empty() => Ok(config),
            faults => Err(fail(faults.join("; "))),
        }
    }

    /// `config.json` for a model whose weights are stored as `dtype` (`float32`, `float16`,
    /// `bfloat16`). Old and new spellings of the rotary settings stand side by side, so that every
    /// version of `transformers` reads them.
    pub fn to_json(&self, dtype: &str) -> String {
        let value = json!({
            "architectures": ["GPTNeoXForCausalLM"],
            "model_type": "gpt_neox",
            "attention_bias": true,
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_token_id.unwrap_or(self.eos_token_id),
            "eos_token_id": self.eos_token_id,
            "hidden_act": match self.gelu { Gelu::Erf => "gelu", Gelu::Tanh => "gelu_new" },
            "hidden_dropout": 0.0,
            "hidden_size": self.d_model,
            "initializer_range": 0.02,
            "intermediate_size": self.d_ff,
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.max_seq,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "rotary_emb_base": self.rotary_base,
            "rotary_pct": self.rotary_pct,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self.rotary_base,
                "partial_rotary_factor": self.rotary_pct,
            },
            "tie_word_embeddings": self.tie_embeddings,
            "torch_dtype": dtype,
            "use_cache": true,
            "use_parallel_residual": self.parallel_residual,
            "vocab_size": self.vocab_size,
        });
        serde_json::to_string_pretty(&value).expect("plain values") + "\n"
    }
}
