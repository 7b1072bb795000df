//! What plans of all tasks have in common.

use crate::lengths::Lengths;
use crate::shards::{cut, gradients_at_once, heights};

/// What a user should know before starting, each with the remedy.
pub type Warnings = Vec<(String, String)>;

/// How often a run writes a checkpoint: before the first update, at regular distances, where the recipe says, and at the end.
pub fn checkpoints(lengths: &Lengths) -> u64 {
    let every = if lengths.checkpoint_every == 0 { 1 } else { lengths.stop.div_ceil(lengths.checkpoint_every) };
    let apart = |step: &&u64| lengths.checkpoint_every == 0 || !step.is_multiple_of(lengths.checkpoint_every);
    1 + every + lengths.keep_at.iter().filter(apart).count() as u64
}

/// Seconds to write a checkpoint of that many bytes: a few megabytes are written and synced, which is repeated by hashing.
pub fn checkpoint_seconds(bytes: u64) -> f64 {
    const PART: usize = 1 << 22;
    let begun = std::time::Instant::now();
    let written = tempfile::tempfile().and_then(|mut file| {
        std::io::Write::write_all(&mut file, &vec![1; PART])?;
        file.sync_all()
    });
    // A folder for temporary files that is full says nothing about the run's own.
    if written.is_err() { 0.0 } else { 2.0 * begun.elapsed().as_secs_f64() * bytes as f64 / PART as f64 }
}

/// What to know about a run that trains after its schedule has ended, with the remedy.
pub fn past_schedule(lengths: &Lengths) -> Option<(String, &'static str)> {
    let past = lengths.stop.checked_sub(lengths.horizon).filter(|past| *past > 0)?;
    let what = format!("the run trains for {past} updates after its schedule has ended");
    Some((what, "run.stop is where training ends, run.horizon how long the schedule is"))
}

/// What one of several ranks holds and sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many ranks there are.
    pub ranks: usize,
    /// Shards of a batch.
    pub shards: usize,
    /// Bytes of gradients that are in memory at once: those of its shards, or the sum and what comes from the others.
    pub gradients: u64,
    /// Bytes that the rank with most to send sends for the gradients of an update.
    pub sent: u64,
}

impl Share {
    /// Of a model with so many parameters.
    pub fn of(parameters: u64, shards: usize, ranks: usize) -> Self {
        let parts = |all: usize, rank: usize| cut(all, ranks, rank);
        let sent = |rank: usize| {
            // Its branches of the tree to all others, and the sum over its range to each of them.
            let (own, branches) =
                (parts(parameters as usize, rank).len() as u64, heights(parts(shards, rank)).len() as u64);
            branches * (parameters - own) + own * (ranks as u64 - 1)
        };
        let most = (0..ranks).map(|rank| parts(shards, rank).len()).max().unwrap_or(1);
        Self {
            ranks,
            shards,
            gradients: (4 * parameters).saturating_mul(gradients_at_once(most).max(2)),
            sent: 4 * (0..ranks).map(sent).max().unwrap_or(0),
        }
    }

    /// Seconds that sending takes over a network of so many bits a second, if nothing else uses it.
    pub fn seconds(&self, bits: f64) -> f64 {
        8.0 * self.sent as f64 / bits
    }
}
