//! Whole-vector operations: sum of squares for the gradient norm, search for non-finite values.
//!
//! Both are bound by memory: 4 bytes an element for one or two operations.

use crate::arch::dispatch;
use rayon::prelude::*;

/// Elements a task works on.
const CHUNK: usize = 1 << 15;

/// Sum of `x[i]^2` in `f64`: chunks of 32768 elements, added up in order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let partial: Vec<f64> = x
        .par_chunks(CHUNK)
        .map(|chunk| {
            dispatch(
                #[inline(always)]
                |_| {
                    let mut lanes = [0.0_f64; 16];
                    let (whole, rest) = chunk.as_chunks::<16>();
                    for part in whole {
                        for (lane, &v) in lanes.iter_mut().zip(part) {
                            *lane += f64::from(v) * f64::from(v);
                        }
                    }
                    for (lane, &v) in lanes.iter_mut().zip(rest) {
                        *lane += f64::from(v) * f64::from(v);
                    }
                    lanes.iter().sum::<f64>()
                },
            )
        })
        .collect();
    partial.iter().sum()
}

/// Index of the first infinite or NaN element.
pub fn first_non_finite(x: &[f32]) -> Option<usize> {
    x.par_chunks(CHUNK).enumerate().find_map_first(|(c, chunk)| {
        let clean = dispatch(
            #[inline(always)]
            |_| chunk.iter().fold(true, |clean, v| clean & v.is_finite()),
        );
        if clean { None } else { chunk.iter().position(|v| !v.is_finite()).map(|i| c * CHUNK + i) }
    })
}

/// `y += x` on the calling thread.
pub(crate) fn add_to(x: &[f32], y: &mut [f32]) {
    dispatch(
        #[inline(always)]
        |_| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y += x;
            }
        },
    )
}

/// The rows of `partial[_, width]` added up in order, each column in `f64`.
pub(crate) fn sum_rows(partial: &[f32], width: usize) -> Vec<f32> {
    const BLOCK: usize = 64;
    let mut sum = vec![0.0; width];
    sum.par_chunks_mut(BLOCK).enumerate().for_each(|(b, sum)| {
        dispatch(
            #[inline(always)]
            |_| {
                let mut total = [0.0_f64; BLOCK];
                for row in partial.chunks_exact(width) {
                    for (t, &v) in total.iter_mut().zip(&row[b * BLOCK..][..sum.len()]) {
                        *t += f64::from(v);
                    }
                }
                for (s, t) in sum.iter_mut().zip(total) {
                    *s = t as f32;
                }
            },
        )
    });
    sum
}
