//! Embedding lookup and its gradient. Bound by memory: one row is copied or added a token.

use crate::norm;
use rayon::prelude::*;

/// `out[i] = w[ids[i]]`, rows of `width`.
pub fn forward(w: &[f32], ids: &[u32], width: usize, out: &mut [f32]) {
    assert_eq!(out.len(), ids.len() * width, "embedding: out");
    if width > 0 {
        out.par_chunks_mut(width).with_min_len(64).zip(ids).for_each(|(out, &id)| {
            out.copy_from_slice(&w[id as usize * width..][..width]);
        });
    }
}

/// `dw[r] = sum of g[i] over all i with ids[i] == r`, in the order of i; rows that do not occur become zero.
///
/// Each task owns a range of rows and reads all ids, so no two tasks write the same row.
pub fn backward(g: &[f32], ids: &[u32], width: usize, dw: &mut [f32]) {
    assert_eq!(g.len(), ids.len() * width, "embedding: g");
    if width == 0 {
        return;
    }
    let rows = dw.len() / width;
    assert!(ids.iter().all(|&id| (id as usize) < rows), "embedding: id outside the vocabulary");
    let per_task = rows.div_ceil(64).max(1);
    dw.par_chunks_mut(per_task * width).enumerate().for_each(|(task, dw)| {
        dw.fill(0.0);
        let first = task * per_task;
        let owned = first..first + dw.len() / width;
        for (i, &id) in ids.iter().enumerate() {
            if owned.contains(&(id as usize)) {
                norm::add(&g[i * width..][..width], &mut dw[(id as usize - first) * width..][..width]);
            }
        }
    });
}
