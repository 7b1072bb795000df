//! Embedding lookup and its gradient. Bound by memory: it copies or adds one row for each token.

use crate::norm;
use crate::output::{self, make_output};
use rayon::prelude::*;

/// `out[i] = w[ids[i]]`, rows of `width`.
///
/// # Panics
/// If an id is not below the rows of `w`.
pub fn forward(w: &[f32], ids: &[u32], width: usize) -> Vec<f32> {
    make_output(ids.len() * width, |out| {
        if width > 0 {
            out.par_chunks_mut(width).with_min_len(64).zip(ids).for_each(|(out, &id)| {
                out.write_copy_of_slice(&w[id as usize * width..][..width]);
            });
        }
        // SAFETY: there are as many ids as rows, and every row was copied whole.
        unsafe { out.assume_init_mut() }
    })
}

/// `dw[r] = sum of g[i] over all i with ids[i] == r`, in the order of i, for the `rows` rows of the table; rows that do not
/// occur become zero.
///
/// Each task owns a range of rows and reads all ids, so no two tasks write the same row.
///
/// # Panics
/// If `g` does not have a row of `width` for each id, or an id is not below `rows`.
pub fn backward(g: &[f32], ids: &[u32], width: usize, rows: usize) -> Vec<f32> {
    assert_eq!(g.len(), ids.len() * width, "embedding: g");
    assert!(ids.iter().all(|&id| (id as usize) < rows), "embedding: id outside the vocabulary");
    if width == 0 {
        return Vec::new();
    }
    let per_task = rows.div_ceil(64).max(1);
    make_output(rows * width, |dw| {
        dw.par_chunks_mut(per_task * width).enumerate().for_each(|(task, dw)| {
            let dw = output::fill(dw, 0.0);
            let first = task * per_task;
            let owned = first..first + dw.len() / width;
            for (i, &id) in ids.iter().enumerate() {
                if owned.contains(&(id as usize)) {
                    norm::add_to(&g[i * width..][..width], &mut dw[(id as usize - first) * width..][..width]);
                }
            }
        });
        // SAFETY: every task began by writing zeros into all of its part.
        unsafe { dw.assume_init_mut() }
    })
}
