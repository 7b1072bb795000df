//! What plans of all tasks have in common.

use crate::lengths::Lengths;

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
