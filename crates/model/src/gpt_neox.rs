//! GPT-NeoX (Black et al. 2022), the architecture of Pythia, top to bottom.
//!
//! Fields carry the names of the checkpoint's tensors. Shapes: B sequences of T tokens are N = B·T
//! rows; D `d_model`, F `d_ff`, V vocabulary, H heads.

use burn::tensor::{Device, Tensor, TensorData};
use temper_ops::{self as ops, Gelu, Rotary, Shape};

use crate::config::GptNeoxConfig;
use crate::init::{Init, normal};
use crate::parameter::{Parameter, Parameters, Visitor};

/// The language model. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct GptNeox {
    /// Its shape.
    pub config: GptNeoxConfig,
    rotary: Rotary,
    embed_in: Tensor<2>, // [V, D]
    /// The transformer blocks.
    pub layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    embed_out: Option<Tensor<2>>, // [V, D]; none when tied to embed_in
}

/// One transformer block.
#[derive(Debug, Clone)]
pub struct Layer {
    input_layernorm: LayerNorm,
    post_attention_layernorm: LayerNorm,
    attention: Attention,
    mlp: Mlp,
    eps: f32,
    gelu: Gelu,
    parallel_residual: bool,
}

#[derive(Debug, Clone)]
struct Attention {
    query_key_value: Linear, // [3D, D], rows per head: q, k, v
    dense: Linear,           // [D, D]
}

#[derive(Debug, Clone)]
struct Mlp {
    dense_h_to_4h: Linear, // [F, D]
    dense_4h_to_h: Linear, // [D, F]
}

#[derive(Debug, Clone)]
struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

#[derive(Debug, Clone)]
struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
}

impl Parameters for GptNeox {
    fn visit(&mut self, f: &mut Visitor) {
        f("gpt_neox.embed_in.weight", Parameter::Matrix(&mut self.embed_in));
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.visit(&format!("gpt_neox.layers.{i}"), f);
        }
        self.final_layer_norm.visit("gpt_neox.final_layer_norm", f);
        if let Some(embed_out) = &mut self.embed_out {
            f("embed_out.weight", Parameter::Matrix(embed_out));
        }
    }
}

impl GptNeox {
    /// A fresh model; equal seeds give equal weights.
    pub fn new(config: GptNeoxConfig, init: Init, seed: u64, device: &Device) -> Self {
        let mut model = Self::zeros(config, device);
        let config = model.config.clone();
        model.visit(&mut |name, mut parameter| match parameter {
            Parameter::Matrix(_) | Parameter::Kernel(_) => {
                let values = normal(seed, name, init.std(name, &config), parameter.len());
                parameter.set(values, device);
            }
            Parameter::Vector(_) if name.ends_with("norm.weight") => parameter.set(vec![1.0; parameter.len()], device),
            Parameter::Vector(_) => {}
        });
        model
    }

    /// A model of the given shape with every parameter zero.
    pub fn zeros(config: GptNeoxConfig, device: &Device) -> Self {
        let (d, f, v) = (config.d_model, config.d_ff, config.vocab_size);
        let vector = |n: usize| Tensor::<1>::from_data(TensorData::new(vec![0.0f32; n], [n]), device);
        let matrix = |o: usize, i: usize| Tensor::<2>::from_data(TensorData::new(vec![0.0f32; o * i], [o, i]), device);
        let linear = |o: usize, i: usize| Linear { weight: matrix(o, i), bias: vector(o) };
        let norm = || LayerNorm { weight: vector(d), bias: vector(d) };
        let layers = (0..config.layers).map(|_| Layer {
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
            attention: Attention { query_key_value: linear(3 * d, d), dense: linear(d, d) },
            mlp: Mlp { dense_h_to_4h: linear(f, d), dense_4h_to_h: linear(d, f) },
            eps: config.layer_norm_eps as f32,
            gelu: config.gelu,
            parallel_residual: config.parallel_residual,
        });
        Self {
            rotary: Rotary::new(config.rotary_dims(), config.rotary_base, config.max_seq),
            embed_in: matrix(v, d),
            layers: layers.collect(),
            final_layer_norm: norm(),
            embed_out: (!config.tie_embeddings).then(|| matrix(v, d)),
            config,
        }
    }

    /// The same model for sequences of up to `max_seq` tokens: rotary positions have no parameters.
    pub fn with_positions(mut self, max_seq: usize) -> Self {
        self.rotary = Rotary::new(self.config.rotary_dims(), self.config.rotary_base, max_seq);
        self.config.max_seq = max_seq;
        self
    }

    /// The sum of `-log p(target)` over all rows times `scale`, on the tape if the parameters are.
    /// `ids` and `targets` hold `batch` sequences of equal length.
    pub fn loss(&self, ids: &[u32], targets: &[u32], batch: usize, scale: f32) -> Tensor<1> {
        self.head_loss(self.hidden(ids, batch), targets, scale)
    }

    /// `-log p(target)` of every row in nats; the parameters are off the tape.
    pub fn token_nll(&self, ids: &[u32], targets: &[u32], batch: usize) -> Vec<f32> {
        let x = self.final_layer_norm.forward(self.hidden(ids, batch), self.config.layer_norm_eps as f32);
        ops::token_nll(x, self.unembedding(), targets)
    }

    /// As [`token_nll`](Self::token_nll); `None` if `interrupted` returned true before a block.
    pub fn token_nll_until(
        &self,
        ids: &[u32],
        targets: &[u32],
        batch: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Option<Vec<f32>> {
        let x = self.hidden_until(ids, batch, interrupted)?;
        let x = self.final_layer_norm.forward(x, self.config.layer_norm_eps as f32);
        Some(ops::token_nll(x, self.unembedding(), targets))
    }

    /// Logits of the rows `rows` of the batch, `[rows, V]`.
    pub fn logits(&self, ids: &[u32], batch: usize, rows: std::ops::Range<usize>) -> Tensor<2> {
        let x = self.final_layer_norm.forward(self.hidden(ids, batch), self.config.layer_norm_eps as f32);
        x.slice([rows, 0..self.config.d_model]).matmul(self.unembedding().transpose())
    }

    /// The residual stream after the last block, `[N, D]`.
    pub fn hidden(&self, ids: &[u32], batch: usize) -> Tensor<2> {
        let shape = self.shape(ids.len(), batch);
        self.layers.iter().fold(self.embed(ids), |x, layer| layer.forward(x, &self.rotary, shape))
    }

    /// As [`hidden`](Self::hidden); `None` if `interrupted` returned true before a block.
    pub fn hidden_until(&self, ids: &[u32], batch: usize, interrupted: &dyn Fn() -> bool) -> Option<Tensor<2>> {
        let blocks = 0..self.layers.len();
        blocks.into_iter().try_fold(self.embed(ids), |x, i| (!interrupted()).then(|| self.block(i, x, batch)))
    }

    /// The embedding of `ids`, `[N, D]`: the first segment of [`Self::loss`].
    pub fn embed(&self, ids: &[u32]) -> Tensor<2> {
        ops::embedding(self.embed_in.clone(), ids)
    }

    /// Block `i` on the residual stream of `batch` sequences.
    pub fn block(&self, i: usize, x: Tensor<2>, batch: usize) -> Tensor<2> {
        let shape = self.shape(x.dims()[0], batch);
        self.layers[i].forward(x, &self.rotary, shape)
    }

    /// Final norm, unembedding and loss: the last segment of [`Self::loss`].
    pub fn head_loss(&self, x: Tensor<2>, targets: &[u32], scale: f32) -> Tensor<1> {
        let x = self.final_layer_norm.forward(x, self.config.layer_norm_eps as f32);
        ops::cross_entropy(x, self.unembedding(), targets, scale)
    }

    fn unembedding(&self) -> Tensor<2> {
        self.embed_out.as_ref().unwrap_or(&self.embed_in).clone()
    }

    fn shape(&self, rows: usize, batch: usize) -> Shape {
        assert!(rows.is_multiple_of(batch), "{rows} rows are not {batch} sequences of equal length");
        Shape { batch, seq: rows / batch, heads: self.config.heads, head_dim: self.config.head_dim() }
    }
}

impl Layer {
    fn forward(&self, x: Tensor<2>, rotary: &Rotary, shape: Shape) -> Tensor<2> {
        let attended = self.attention.forward(self.input_layernorm.forward(x.clone(), self.eps), rotary, shape);
        if self.parallel_residual {
            let fed = self.mlp.forward(self.post_attention_layernorm.forward(x.clone(), self.eps), self.gelu);
            fed + attended + x
        } else {
            let x = x + attended;
            self.mlp.forward(self.post_attention_layernorm.forward(x.clone(), self.eps), self.gelu) + x
        }
    }

    fn visit(&mut self, prefix: &str, f: &mut Visitor) {
        self.input_layernorm.visit(&format!("{prefix}.input_layernorm"), f);
        self.post_attention_layernorm.visit(&format!("{prefix}.post_attention_layernorm"), f);
        self.attention.query_key_value.visit(&format!("{prefix}.attention.query_key_value"), f);
        self.attention.dense.visit(&format!("{prefix}.attention.dense"), f);
        self.mlp.dense_h_to_4h.visit(&format!("{prefix}.mlp.dense_h_to_4h"), f);
        self.mlp.dense_4h_to_h.visit(&format!("{prefix}.mlp.dense_4h_to_h"), f);
    }
}

impl Attention {
    fn forward(&self, x: Tensor<2>, rotary: &Rotary, shape: Shape) -> Tensor<2> {
        let qkv = self.query_key_value.forward(x); // [N, 3D]
        self.dense.forward(ops::causal_attention(qkv, rotary, shape))
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<2>, gelu: Gelu) -> Tensor<2> {
        let parts = |linear: &Linear| (linear.weight.clone(), linear.bias.clone());
        ops::mlp(x, parts(&self.dense_h_to_4h), parts(&self.dense_4h_to_h), gelu) // [N, D] -> [N, F] -> [N, D]
    }
}

impl Linear {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::linear(x, self.weight.clone(), self.bias.clone())
    }

    fn visit(&mut self, prefix: &str, f: &mut Visitor) {
        f(&format!("{prefix}.weight"), Parameter::Matrix(&mut self.weight));
        f(&format!("{prefix}.bias"), Parameter::Vector(&mut self.bias));
    }
}

impl LayerNorm {
    fn forward(&self, x: Tensor<2>, eps: f32) -> Tensor<2> {
        ops::layer_norm(x, self.weight.clone(), self.bias.clone(), eps)
    }

    fn visit(&mut self, prefix: &str, f: &mut Visitor) {
        f(&format!("{prefix}.weight"), Parameter::Vector(&mut self.weight));
        f(&format!("{prefix}.bias"), Parameter::Vector(&mut self.bias));
    }
}
