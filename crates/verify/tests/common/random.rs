//! Random networks that are the same everywhere.

#![allow(dead_code)]

use temper_graph::{Affine, Computation, Node, Operation, Window};

/// Numbers that look random and are the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// In [-1, 1), a single float.
    pub fn number(&mut self) -> f64 {
        f64::from(((self.bits() >> 40) as f32 / (1u64 << 23) as f32) - 1.0)
    }

    pub fn numbers(&mut self, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| f64::from((self.number() * scale) as f32)).collect()
    }
}

/// A graph that grows at its end.
pub struct Growing {
    pub input: Vec<usize>,
    pub nodes: Vec<Node>,
}

impl Growing {
    pub fn shape(&self) -> Vec<usize> {
        self.nodes.last().map_or(self.input.clone(), |node| node.shape.clone())
    }

    pub fn push(&mut self, operation: Operation, inputs: Vec<usize>, shape: Vec<usize>) -> usize {
        self.nodes.push(Node { name: format!("n{}", self.nodes.len()), operation, inputs, shape });
        self.nodes.len()
    }

    pub fn then(&mut self, operation: Operation, shape: Vec<usize>) -> usize {
        self.push(operation, vec![self.nodes.len()], shape)
    }

    pub fn relu(&mut self) -> usize {
        let shape = self.shape();
        self.then(Operation::Relu, shape)
    }

    pub fn conv(&mut self, random: &mut Random, outputs: usize, groups: usize, window: Window) -> usize {
        let taps = window.input[0] / groups * window.kernel[0] * window.kernel[1];
        let scale = (2.0 / taps as f64).sqrt();
        let affine = Affine::exact(random.numbers(outputs * taps, scale), random.numbers(outputs, 0.2));
        let [rows, columns] = window.output().unwrap();
        self.then(Operation::Conv { window, groups, affine }, vec![outputs, rows, columns])
    }

    pub fn dense(&mut self, random: &mut Random, outputs: usize) -> usize {
        let inputs = self.shape().iter().product::<usize>();
        let affine =
            Affine::exact(random.numbers(outputs * inputs, (2.0 / inputs as f64).sqrt()), random.numbers(outputs, 0.2));
        self.then(Operation::Dense(affine), vec![outputs])
    }

    pub fn done(self) -> Computation {
        Computation::new(self.input, self.nodes).unwrap()
    }
}

/// A network of dense layers with ReLUs between them.
pub fn dense(seed: u64, sizes: &[usize]) -> Computation {
    let random = &mut Random(seed);
    let mut net = Growing { input: vec![sizes[0]], nodes: Vec::new() };
    for (i, size) in sizes[1..].iter().enumerate() {
        if i > 0 {
            net.relu();
        }
        net.dense(random, *size);
    }
    net.done()
}
