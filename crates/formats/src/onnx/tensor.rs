//! What moves numbers without changing them, for constants and for the places of values alike.

use super::model::{Data, Tensor};
use super::wire::Result;

/// Row-major steps of a shape.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

/// The indices along every dimension of place `i`.
pub(super) fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        at[d] = i % shape[d];
        i /= shape[d];
    }
    at
}

pub(super) fn count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1_usize, |product, d| product.checked_mul(*d));
    count.ok_or_else(|| format!("a shape of {shape:?} is too large"))
}

/// A rearrangement: the new shape, and of each new place the old one (`None`: a constant stands there).
#[derive(Debug, Clone)]
pub(super) struct Moves {
    pub(super) shape: Vec<usize>,
    pub(super) from: Vec<Option<u32>>,
}

impl Moves {
    /// From a function of the new indices to the old ones.
    pub(super) fn new(old: &[usize], shape: Vec<usize>, place: impl Fn(&[usize]) -> Option<Vec<usize>>) -> Self {
        let steps = strides(old);
        let total = shape.iter().product();
        let from = (0..total).map(|i| {
            place(&unravel(i, &shape)).map(|at| at.iter().zip(&steps).map(|(i, step)| i * step).sum::<usize>() as u32)
        });
        let from = from.collect();
        Self { shape, from }
    }

    pub(super) fn transpose(old: &[usize], order: &[usize]) -> Self {
        Self::new(old, order.iter().map(|d| old[*d]).collect(), |at| {
            let mut place = vec![0; at.len()];
            order.iter().zip(at).for_each(|(d, i)| place[*d] = *i);
            Some(place)
        })
    }

    pub(super) fn broadcast(old: &[usize], shape: &[usize]) -> Self {
        let skip = shape.len() - old.len();
        Self::new(old, shape.to_vec(), |at| {
            Some(old.iter().zip(&at[skip..]).map(|(size, i)| if *size == 1 { 0 } else { *i }).collect())
        })
    }

    /// Whether nothing moves.
    pub(super) fn nothing(&self, numbers: usize) -> bool {
        self.from.len() == numbers && self.from.iter().enumerate().all(|(i, from)| *from == Some(i as u32))
    }

    /// The rearranged constant.
    pub(super) fn constant(&self, tensor: &Tensor, fill: f64) -> Tensor {
        let data = match &tensor.data {
            Data::Float(data) => {
                Data::Float(self.from.iter().map(|from| from.map_or(fill, |i| data[i as usize])).collect())
            }
            Data::Int(data) => {
                Data::Int(self.from.iter().map(|from| from.map_or(fill as i64, |i| data[i as usize])).collect())
            }
        };
        Tensor { shape: self.shape.clone(), data, ..*tensor }
    }
}

/// The shape that two of them have together.
pub(super) fn together(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d]);
    let both = (0..rank).map(|d| match (size(a, d), size(b, d)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("shapes {a:?} and {b:?} do not go together")),
    });
    both.collect()
}

impl Tensor {
    pub(super) fn ints(&self) -> Result<&[i64]> {
        match &self.data {
            Data::Int(data) => Ok(data),
            Data::Float(_) => Err("floats where integers belong".into()),
        }
    }

    pub(super) fn floats(&self) -> Result<&[f64]> {
        match &self.data {
            Data::Float(data) => Ok(data),
            Data::Int(_) => Err("integers where floats belong".into()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Int(data) => data.len(),
        }
    }

    pub(super) fn of_ints(data: Vec<i64>) -> Self {
        Self { shape: vec![data.len()], data: Data::Int(data), merged: 0, double: false }
    }
}
