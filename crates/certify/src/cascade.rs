//! All stages on the first test images, as the end of a training run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use burn::tensor::Device;
use temper_base::Result;
use temper_bounds::attack::Attack;
use temper_bounds::boxes::Images as Boxed;
use temper_bounds::verdict::{Question, verify_until};
use temper_data::images::Images;
use temper_model::Classifier;
use temper_record::event::Values;
use temper_train::group::{Group, agree};
use temper_train::shards::cut;
use temper_verify::images::remaining;
use temper_verify::store::StageSeconds;
use temper_verify::{AttackCertified, Certifier, Norm, Settings, Stage, Summary, Verdict};

use crate::evaluate::EvalSettings;
use crate::verification::{RESTARTS, STEPS};

/// Whom the cascade is asked about, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtTheEnd {
    /// How many images, the first ones.
    pub images: usize,
    /// Time for the search on one of them.
    pub timeout: Duration,
}

/// What all stages prove and find of the first images of `test` at radius `eps`; as a verification of them with the same time limit. Each rank of
/// `group` takes neighbouring images. It calls `interrupted` between passes and during searches, and returns `None` once that is true, on whichever
/// rank.
///
/// # Errors
/// Weights that are not finite; errors that are not in their order, bounds and attacks that contradict each other; a rank that has failed.
#[allow(clippy::too_many_arguments)]
pub fn cascade(
    net: &Classifier,
    set: &str,
    test: &Images,
    eps: f64,
    asked: AtTheEnd,
    eval: &EvalSettings,
    group: &dyn Group,
    interrupted: &dyn Fn() -> bool,
    device: &Device,
) -> Result<Option<Values>> {
    let EvalSettings { seed, rows, .. } = *eval;
    let settings = Settings { timeout: Some(asked.timeout), seed, ..Settings::default() };
    let left = remaining(&settings, Duration::ZERO);
    let attack = Attack { steps: STEPS as usize, restarts: RESTARTS as usize, seed, ..Attack::default() };
    let question = Question { eps, settings, attack, attack_certified: AttackCertified::default() };
    let images = asked.images.min(test.len());
    let indices: Vec<u32> = cut(images, group.size(), group.rank()).map(|i| i as u32).collect();
    let verify = |certifier: &Certifier, indices: &[u32]| {
        let (pixels, labels) = test.batch(indices, None);
        let indices: Vec<u64> = indices.iter().map(|i| u64::from(*i)).collect();
        let batch = Boxed { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        let Some(decided) = verify_until(net, certifier, batch, &question, interrupted, device)? else {
            return Ok(None);
        };
        let mut seconds = decided.seconds;
        let mut told = Vec::new();
        let size = pixels.len() / labels.len();
        for (mut verdict, pixels) in decided.verdicts.into_iter().zip(pixels.chunks(size)) {
            if verdict.is_open() {
                let search = |stop: &(dyn Fn() -> bool + Sync)| {
                    certifier.search(pixels, (eps, Norm::Max), &mut verdict, &left, stop)
                };
                let Some(found) = watched(interrupted, search)? else { return Ok(None) };
                seconds.iter_mut().zip(found.seconds).for_each(|(sum, seconds)| *sum += seconds);
            }
            let stage = verdict.stage.map_or(-1.0, |stage| f64::from(stage as u8));
            told.extend([f64::from(verdict.verdict as u8), stage, f64::from(u8::from(verdict.rounding))]);
            told.extend(seconds);
            seconds = StageSeconds::default();
        }
        Ok(Some(told))
    };
    let own = Certifier::new(&net.to_network()).and_then(|certifier| {
        indices.chunks(rows).map(|indices| verify(&certifier, indices)).collect::<Result<Option<Vec<Vec<f64>>>>>()
    });
    let own = agree(group, own)?.map(|own| own.concat());
    let Some(all) = group.gather_numbers(own.as_deref())? else { return Ok(None) };
    let (mut summary, mut seconds) = (Summary::default(), StageSeconds::default());
    for told in all.chunks(3 + seconds.len()) {
        let stage = Stage::ALL.get(told[1] as usize).filter(|_| told[1] >= 0.0).copied();
        summary.count(Verdict::ALL[told[0] as usize], stage, told[2] == 1.0);
        seconds.iter_mut().zip(&told[3..]).for_each(|(sum, seconds)| *sum += seconds);
    }
    summary.check(set)?;
    let percent = |count: u64| 100.0 * count as f64 / summary.images.max(1) as f64;
    let mut values = Values::new().with("images_verified", summary.images as f64);
    values.set("verified_standard_error", summary.standard_error());
    values.set("verified_robust_error", summary.robust_error());
    values.set("verified_error", summary.certified_error());
    for stage in Stage::ALL {
        let name = stage.name();
        values.set(&format!("certified_by.{name}"), percent(summary.stages[stage as usize].certified));
        values.set(&format!("seconds_of.{name}"), seconds[stage as usize]);
    }
    Ok(Some(values))
}

/// Works in a thread of its own, and asks in this one whether to go on: what is asked here may be no business of other threads.
fn watched<T: Send>(interrupted: &dyn Fn() -> bool, work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> T + Send) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&|| stop.load(Ordering::Relaxed)));
        while !worker.is_finished() {
            if interrupted() {
                stop.store(true, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(1));
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
