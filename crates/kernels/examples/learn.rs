//! A classifier of two layers learns the parity of three bits, by kernels alone:
//! `cargo run --release -p temper-kernels --example learn`.

use temper_kernels::adamw::{self, AdamW};
use temper_kernels::cross_entropy::{self, HeadDims};
use temper_kernels::gelu::{self, Gelu};
use temper_kernels::linear::{self, Dims};

/// Numbers between -1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (1..=n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn main() {
    const KIND: Gelu = Gelu::Tanh;
    let first = Dims { rows: 8, inputs: 3, outputs: 16 };
    let head = HeadDims { rows: first.rows, dim: first.outputs, vocab: 2 };
    let x: Vec<f32> = (0..24).map(|i| if ((i / 3) >> (i % 3)) & 1 == 1 { 1.0 } else { -1.0 }).collect();
    let targets: Vec<u32> = (0..8_u32).map(|row| row.count_ones() % 2).collect();

    // Weight and bias of the first layer, weight of the second; for each two moments.
    let mut parameters = [numbers(16 * 3), vec![0.0; 16], numbers(2 * 16)];
    let mut moments = parameters.each_ref().map(|p| [vec![0.0; p.len()], vec![0.0; p.len()]]);
    for step in 1..=200 {
        let [w1, b1, w2] = &parameters;
        let [pre, hidden] = linear::forward_gelu(&x, w1, Some(b1), KIND, first);
        // The gradient of the mean loss comes with it.
        let [loss, mut g, dw2] = cross_entropy::forward_backward(&hidden, w2, &targets, 1.0 / 8.0, head);
        gelu::backward(KIND, &pre, &mut g);
        let gradients = [linear::backward_weight(&g, &x, first), linear::backward_bias(&g, first), dw2];

        let settings = AdamW { lr: 0.02, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0, step, grad_scale: 1.0 };
        for ((p, g), [m, v]) in parameters.iter_mut().zip(&gradients).zip(&mut moments) {
            adamw::update(p, g, m, v, &settings);
        }
        if step % 50 == 0 {
            println!("update {step:>3}: loss {:.4} nats", loss.iter().sum::<f32>() / 8.0);
        }
    }
}
