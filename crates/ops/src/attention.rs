//! Causal self-attention with rotary position embedding, GPT-NeoX layout.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;
use temper_kernels::attention as kernel;
pub use temper_kernels::attention::Shape;

use crate::composed;
use crate::fused::{Fused, Input, apply, on_cpu, tensor, values};

/// Rotary settings and their tables, computed once per model and shared.
#[derive(Clone)]
pub struct Rotary {
    /// How many of the first entries of every head rotate (even).
    pub dims: usize,
    /// The base of the angles, 10000 in Pythia.
    pub base: f64,
    tables: Arc<kernel::Rotary>,
    /// For the composed body, of the lengths last asked for.
    on_device: Arc<Mutex<Vec<composed::Tables>>>,
}

/// Lengths whose tables are kept: those of training, of evaluation, and of a last short batch of either.
const LENGTHS: usize = 4;

impl Rotary {
    /// Tables for positions `0..max_seq`.
    pub fn new(dims: usize, base: f64, max_seq: usize) -> Self {
        Self { dims, base, tables: Arc::new(kernel::Rotary::new(dims, base, max_seq)), on_device: Arc::default() }
    }

    /// Tables on a device for sequences of one length and tiles of so many rows.
    pub(crate) fn on_device(&self, device: &Device, seq: usize, rows: usize) -> composed::Tables {
        let mut kept = self.on_device.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tables) = kept.iter().find(|tables| tables.fit(device, seq, rows)) {
            return tables.clone();
        }
        let tables = composed::Tables::new(self.dims, self.base, seq, rows, device);
        if kept.len() == LENGTHS {
            kept.remove(0);
        }
        kept.push(tables.clone());
        tables
    }
}

impl std::fmt::Debug for Rotary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rotary {{ dims: {}, base: {} }}", self.dims, self.base)
    }
}

/// `softmax(q kᵀ / sqrt(head_dim)) v` over the keys at or before each query, after rotating q and k.
///
/// `qkv` is `[batch * seq, heads * 3 * head_dim]`, each head's q, k and v next to each other; the
/// result is `[batch * seq, heads * head_dim]`.
pub fn causal_attention(qkv: Tensor<2>, rotary: &Rotary, shape: Shape) -> Tensor<2> {
    if !on_cpu(&qkv) {
        return composed::causal_attention(qkv, rotary, shape);
    }
    apply(Attention { rotary: rotary.clone(), shape }, [Input::new(qkv)])
}

#[derive(Debug, Clone)]
struct Attention {
    rotary: Rotary,
    shape: Shape,
}

#[derive(Debug, Clone)]
struct Saved {
    qkv: FlexTensor,
    out: FlexTensor,
    /// Log-sum-exp of every row of scores, `[batch, heads, seq]`.
    lse: Vec<f32>,
}

impl Fused<1> for Attention {
    type Saved = Saved;

    fn forward(&self, [qkv]: [FlexTensor; 1], _: bool) -> (FlexTensor, Saved) {
        let Shape { batch, seq, heads, head_dim } = self.shape;
        let [out, lse] = kernel::forward(values(&qkv), &self.rotary.tables, self.shape);
        let out = tensor(out, [batch * seq, heads * head_dim]);
        (out.clone(), Saved { qkv, out, lse })
    }

    fn backward(&self, saved: Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Shape { batch, seq, heads, head_dim } = self.shape;
        let (qkv, out, g) = (values(&saved.qkv), values(&saved.out), values(&gradient));
        let dqkv = kernel::backward(qkv, &self.rotary.tables, self.shape, out, &saved.lse, g);
        [Some(tensor(dqkv, [batch * seq, heads * 3 * head_dim]))]
    }
}
