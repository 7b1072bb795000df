//! The gradients of an update: summed over pieces, checked, measured.

use std::ops::Add;

use burn::tensor::Tensor;
use temper_model::{Parameter, Parameters};
use temper_ops as ops;

/// Gradients of all parameters, flat, in the model's order.
#[derive(Debug)]
pub struct Gradients(pub(crate) Vec<Option<Tensor<1>>>);

/// The names and shapes a model has, in order.
pub(crate) fn shapes(model: &impl Parameters) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    model.clone().visit(&mut |name, parameter| shapes.push((name.to_string(), parameter.shape())));
    shapes
}

impl Gradients {
    /// No gradient yet for any parameter of `model`.
    pub fn none(model: &impl Parameters) -> Self {
        Self(shapes(model).iter().map(|_| None).collect())
    }

    /// Adds what the tape holds for the leaves of `leaves`.
    pub fn collect(&mut self, leaves: &mut impl Parameters, tape: &mut burn::tensor::Gradients) {
        let mut slots = self.0.iter_mut();
        leaves.visit(&mut |_, parameter| {
            let slot = slots.next().expect("one slot a parameter");
            let found = match parameter {
                Parameter::Vector(leaf) => leaf.grad_remove(tape),
                Parameter::Matrix(leaf) => leaf.grad_remove(tape).map(|g| g.flatten(0, 1)),
                Parameter::Kernel(leaf) => leaf.grad_remove(tape).map(|g| g.flatten(0, 3)),
            };
            *slot = match (slot.take(), found) {
                (Some(sum), Some(found)) => Some(sum + found),
                (sum, found) => sum.or(found),
            };
        });
    }

    /// The gradients with the names of `model`'s parameters; those that have one.
    pub fn with_names(&self, model: &impl Parameters) -> Vec<(String, Vec<f32>)> {
        let names = shapes(model).into_iter().map(|(name, _)| name);
        let values = |g: &Tensor<1>| ops::read(g.clone());
        names.zip(&self.0).filter_map(|(name, g)| Some((name, values(g.as_ref()?)))).collect()
    }

    /// The global Euclidean norm, summed in double precision in the model's order.
    pub fn norm(&self) -> f64 {
        self.squares_and(Vec::new()).0.sqrt()
    }

    /// The square of the norm, and the values of tensors of one number each, all read at once.
    pub(crate) fn squares_and(&self, numbers: Vec<Tensor<1>>) -> (f64, Vec<f64>) {
        let gradients: Vec<_> = self.0.iter().flatten().collect();
        let (squares, numbers) = ops::sums_of_squares(&gradients, numbers);
        (squares.into_iter().sum(), numbers)
    }

    /// The name of the first parameter of `model` whose gradient has a NaN or an infinity.
    pub fn first_non_finite(&self, model: &impl Parameters) -> Option<String> {
        let bad = self.0.iter().position(|g| g.as_ref().is_some_and(|g| ops::first_non_finite(g).is_some()))?;
        Some(shapes(model).swap_remove(bad).0)
    }
}

/// The sum of both, which are those of one model.
impl Add for Gradients {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sums = self.0.into_iter().zip(other.0).map(|pair| match pair {
            (Some(left), Some(right)) => Some(left + right),
            (left, right) => left.or(right),
        });
        Self(sums.collect())
    }
}
