//! An image classifier to look at: that of a run's checkpoint.

use burn::tensor::Device;
use temper_base::{Problem, Problems, Result};
use temper_data::images::Images;
use temper_model::Classifier;
use temper_recipe::Schema;
use temper_record::run::{RunDir, RunRef};
use temper_train::run::resolved_recipe;
use temper_train::spec::Spec;

use crate::checkpoint;
use crate::spec::{self, CertifySpec};

/// A classifier with what belongs to it.
pub struct Opened {
    /// The network.
    pub net: Classifier,
    /// Its run.
    pub run: RunDir,
    /// The run's recipe.
    pub spec: CertifySpec,
    /// Updates made before the checkpoint.
    pub step: u64,
    /// sha256 of the checkpoint's weights.
    pub sha256: String,
}

/// Opens `DIR`, `DIR@STEP` or `DIR@best`.
///
/// # Errors
/// A name of no run, a run of a language model, a checkpoint that is missing or damaged.
pub fn open(name: &str, schema: &'static Schema, device: &Device) -> Result<Opened, Problems> {
    let named = RunRef::parse(name)?;
    let run = named.open()?;
    let recipe = resolved_recipe(&run, schema)?;
    if *recipe.task() != spec::TASK {
        let problem = Problem::input("open run", name, "it is a language model, not an image classifier");
        return Err(problem.hint("it can be evaluated and sampled from").into());
    }
    let found = named.checkpoint()?;
    let net = checkpoint::read_net(&found, device)?;
    let sha256 = found.sha256("model.safetensors")?;
    let spec = CertifySpec::read(&recipe)?;
    Ok(Opened { net, run, spec, step: found.step(), sha256 })
}

/// An error unless the images are of the network's size and classes.
///
/// # Errors
/// Images of another size or another number of classes.
pub fn require_fit(net: &Classifier, images: &Images, place: &str) -> Result<()> {
    if (net.config.input, net.config.classes) == (images.shape, images.classes()) {
        return Ok(());
    }
    let ([c, h, w], [i, j, k]) = (images.shape, net.config.input);
    let why = format!(
        "images of {c}x{h}x{w} in {} classes do not fit the network, which is for {i}x{j}x{k} and {}",
        images.classes(),
        net.config.classes
    );
    Err(Problem::input("read images", place, why).hint("give the data set that the run was trained on"))
}
