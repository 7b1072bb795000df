//! The images of a run: where they are, what is held out, that a resumed run finds the same ones, and that classes have the
//! numbers that the run gave them.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use temper_base::files::write_whole;
use temper_base::{Listener, Problem, Result};
use temper_data::builtin;
use temper_data::images::{self, Images, Match, Splits};
use temper_recipe::Recipe;
use temper_record::run::RunDir;

use crate::normalisation::{normalisation, of_known};
use crate::spec::{self, CertifySpec};

/// The images of a run.
pub struct Data {
    /// Trained on.
    pub train: Images,
    /// Held out of the training set, to choose the best checkpoint.
    pub holdout: Option<Images>,
    /// The test set.
    pub test: Images,
    /// How the classes were matched to those of a run.
    pub matched: Match,
}

/// The classes of a run, and what the run is called in messages.
#[derive(Debug, Clone, Copy)]
pub struct Classes<'a> {
    /// Their names, in the order of the labels.
    pub names: &'a [String],
    /// The run.
    pub owner: &'a str,
}

/// Opens what `data.images` names, takes only the first images if the recipe limits their number, and holds some out.
///
/// # Errors
/// A recipe without `data.images`, images that cannot be read, a part too small to be held out.
pub fn open(spec: &CertifySpec) -> Result<Data> {
    open_as(spec, None)
}

/// The same with the classes of a run: their numbers, and the order that the images had under these.
pub(crate) fn open_as(spec: &CertifySpec, classes: Option<Classes>) -> Result<Data> {
    let path = spec.images()?;
    let Splits { mut train, mut test } = splits(path).map_err(|problem| match problem.hint {
        Some(_) => problem,
        None => problem.hint("data.images names a folder of images"),
    })?;
    let mut matched = Match::Same;
    if let Some(Classes { names, owner }) = classes {
        let refused = |problem: Problem| {
            let found = spec.problem("data.images", format!("{}: {}", problem.place, problem.why));
            problem.hint.into_iter().fold(found, |found, hint| found.hint(hint))
        };
        (train, matched) = train.with_classes(names, path, owner).map_err(refused)?;
        (test, _) = test.with_classes(names, path, owner).map_err(refused)?;
    }
    let first = |images: Images, most: Option<usize>| match most {
        None => images,
        Some(count) => images.first(count),
    };
    let (train, test) = (first(train, spec.images.max_train), first(test, spec.images.max_test));
    let fraction = spec.images.holdout;
    if fraction == 0.0 {
        return Ok(Data { train, holdout: None, test, matched });
    }
    // What is held out depends on the data and the fraction alone: runs of different seeds are chosen on the same images.
    let (train, holdout) = train.hold_out(fraction, 0).map_err(|problem| {
        let found = spec.problem("data.holdout", problem.why);
        found.hint("a larger part, or 0 to choose on the test set")
    })?;
    Ok(Data { train, holdout: Some(holdout), test, matched })
}

/// What is known of a recipe's images before a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The data set.
    pub name: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Images that are trained on.
    pub train: usize,
    /// Images held out of the training set.
    pub holdout: usize,
    /// Test images.
    pub test: usize,
    /// Whether they are here; otherwise the numbers are those of the known data set that the path is called by.
    pub here: bool,
    /// How pixels are normalised, and why so.
    pub normalised: String,
    /// What lies in the folders and is not read.
    pub passed_over: Vec<String>,
}

impl Size {
    /// Images of the first `updates` updates. The last batch of an epoch may be smaller.
    pub fn images_after(&self, updates: u64, batch: u64) -> u64 {
        let train = self.train as u64;
        let epoch = train.div_ceil(batch).max(1);
        (updates / epoch).saturating_mul(train).saturating_add((updates % epoch).saturating_mul(batch).min(train))
    }
}

/// How many images a recipe has: from the data if it is here, otherwise those of the known data set of that name.
///
/// # Errors
/// As [`open`], if the images are here; otherwise a path of no known data set.
pub fn size(spec: &CertifySpec) -> Result<Size> {
    size_as(spec, None)
}

/// The same with the classes of a run.
pub(crate) fn size_as(spec: &CertifySpec, classes: Option<Classes>) -> Result<Size> {
    let path = spec.images()?;
    if path.starts_with("builtin:") || Path::new(path).exists() {
        let data = open_as(spec, classes)?;
        let normalised = normalisation(spec, &data.train)?.because;
        let passed_over = data.passed_over().collect();
        let Data { train, holdout, test, .. } = data;
        return Ok(Size {
            normalised,
            passed_over,
            name: train.name.clone(),
            shape: train.shape,
            classes: train.classes(),
            train: train.len(),
            holdout: holdout.as_ref().map_or(0, Images::len),
            test: test.len(),
            here: true,
        });
    }
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(known) = images::known(&name) else {
        let hint = "with steps as lengths, schedules need no data; known data sets are planned by the name of their folder: mnist, \
            fashion-mnist, cifar-10, tiny-imagenet";
        return Err(spec.problem("data.images", format!("there is nothing at {path}")).hint(hint));
    };
    let first = |count: usize, most: Option<usize>| most.map_or(count, |most| count.min(most));
    let (train, test) = (first(known.images[0], spec.images.max_train), first(known.images[1], spec.images.max_test));
    let classes = known.class_count;
    let holdout = classes * (train as f64 / classes as f64 * spec.images.holdout).round() as usize;
    Ok(Size {
        normalised: of_known(known).because,
        name,
        shape: known.shape,
        classes,
        train: train - holdout.min(train),
        holdout,
        test,
        here: false,
        passed_over: Vec::new(),
    })
}

/// What to say of images that are not here.
///
/// # Errors
/// A recipe without `data.images`.
pub fn missing_images(spec: &CertifySpec) -> Result<Option<Problem>> {
    Ok(absent(spec.images()?, |why| spec.problem("data.images", why)))
}

/// The same of a recipe that may have its images from the base of its branch.
///
/// # Errors
/// A `data.images` that cannot be read from the recipe.
pub fn missing_images_of(recipe: &Recipe) -> Result<Option<Problem>> {
    let path = spec::images(recipe)?;
    Ok(path.and_then(|path| absent(&path, |why| recipe.problem("data.images", why))))
}

fn absent(path: &str, problem: impl Fn(String) -> Problem) -> Option<Problem> {
    if path.starts_with("builtin:") || Path::new(path).exists() {
        return None;
    }
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    Some(problem(format!("there is nothing at {path}")).hint(match images::known(&name) {
        Some(known) => format!("fetch `{}` into `{path}`", known.name),
        None => "a folder of images; paths are relative to the current directory".to_owned(),
    }))
}

/// The training and test images that a path or `builtin:NAME` names.
///
/// # Errors
/// A folder that cannot be read or holds no such images, or a built-in name that is unknown.
pub fn splits(path: &str) -> Result<Splits> {
    match path.strip_prefix("builtin:") {
        None => images::open(Path::new(path)),
        Some(name) => builtin::images(name).unwrap_or_else(|| {
            Err(Problem::input("read images", path, "there are no images of this name in the binary")
                .hint("builtin:fashion is a part of Fashion-MNIST"))
        }),
    }
}

impl Data {
    /// What is known about where the images come from.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &str> {
        let own = self.test.note.as_deref().filter(|note| self.train.note.as_deref() != Some(note));
        self.train.note.as_deref().into_iter().chain(own)
    }

    /// What lies in the folders and is not read.
    pub fn passed_over(&self) -> impl Iterator<Item = String> {
        passed_over("training", &self.train).into_iter().chain(passed_over("test", &self.test))
    }
}

/// What lies in the folders of a split and is not read, in a sentence.
pub fn passed_over(split: &str, images: &Images) -> Option<String> {
    images.passed_over().map(|listed| format!("the {split} set has files that Temper does not read: {listed}"))
}

/// What to do about files that are not read.
pub const READ: &str =
    "images are .png, .jpg or .jpeg files in the folder of their class: convert the others, or remove them";

/// The warning about classes that were matched only by their number.
pub(crate) fn by_count(images: &Images, owner: &str) -> String {
    format!(
        "the {} classes of {} are taken in the order of those of {owner}: on one side they have no names",
        images.classes(),
        images.name
    )
}

/// The test images that a run is judged on: those of the data set `other`, or its own, which must be what they were. Their
/// classes have the numbers that the run gave them.
///
/// # Errors
/// Images that cannot be read, that are of other classes, or, if they are the run's own, that have changed.
pub fn judged_images(run: &RunDir, spec: &CertifySpec, other: Option<&str>, listener: &dyn Listener) -> Result<Images> {
    let manifest = Manifest::read(run)?;
    let owner = run.path().display().to_string();
    let classes = manifest.classes(&owner);
    let (test, matched) = match other {
        Some(path) => splits(path)?.test.with_classes(classes.names, path, classes.owner)?,
        None => {
            let Data { test, matched, .. } = open_as(spec, Some(classes))?;
            manifest.require_test(&test, spec)?;
            (test, matched)
        }
    };
    if matched == Match::ByCount {
        listener
            .warn(&by_count(&test, &owner), Some("name the folders of the classes alike to have them matched by name"));
    }
    if let Some(what) = passed_over("test", &test) {
        listener.warn(&what, Some(READ));
    }
    Ok(test)
}

/// The classes of the run that a file of weights lies in, if it lies in one: `RUN/checkpoints/step-N/model.safetensors`.
pub(crate) fn classes_of_weights(path: &Path) -> Result<Option<(Vec<String>, String)>> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some(run) = path.ancestors().nth(3) else { return Ok(None) };
    if path.parent().and_then(Path::parent).and_then(Path::file_name) != Some("checkpoints".as_ref())
        || !run.join("data").join("manifest.json").is_file()
    {
        return Ok(None);
    }
    let manifest = Manifest::read(&RunDir::open(run)?)?;
    Ok(Some((manifest.class_names, run.display().to_string())))
}

/// `data/manifest.json` of a run: what it was trained and judged on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    name: String,
    shape: [usize; 3],
    class_names: Vec<String>,
    train_images: usize,
    test_images: usize,
    /// sha256 of shape, classes, labels and pixels.
    train_sha256: String,
    test_sha256: String,
}

impl Manifest {
    /// That of these images.
    pub(crate) fn of(data: &Data) -> Self {
        Self {
            name: data.train.name.clone(),
            shape: data.train.shape,
            class_names: data.train.class_names.clone(),
            train_images: data.train.len(),
            test_images: data.test.len(),
            train_sha256: data.train.fingerprint(),
            test_sha256: data.test.fingerprint(),
        }
    }

    /// Writes it into a run.
    pub(crate) fn write(&self, run: &RunDir) -> Result<()> {
        let path = run.path().join("data").join("manifest.json");
        write_whole(&path, self.to_json().as_bytes())
    }

    /// Reads a manifest. `path` is where it is, for messages.
    ///
    /// # Errors
    /// A text that is no manifest.
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(text).map_err(|cause| Problem::input("read run", path.display(), cause))
    }

    /// The text that [`Manifest::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// Reads that of a run.
    pub(crate) fn read(run: &RunDir) -> Result<Self> {
        let path = run.path().join("data").join("manifest.json");
        let bytes = fs::read(&path).map_err(|cause| Problem::io("read run", &path, &cause))?;
        Self::from_json(&bytes, &path)
    }

    /// The classes of the run.
    pub(crate) fn classes<'a>(&'a self, owner: &'a str) -> Classes<'a> {
        Classes { names: &self.class_names, owner }
    }

    /// An error unless these are the images of the run.
    pub(crate) fn require(&self, data: &Data, spec: &CertifySpec) -> Result<()> {
        if self.has_train(data) && self.has_test(&data.test) { Ok(()) } else { Err(self.images_changed(spec)) }
    }

    /// An error unless these are the test images of the run.
    pub(crate) fn require_test(&self, test: &Images, spec: &CertifySpec) -> Result<()> {
        if self.has_test(test) { Ok(()) } else { Err(self.images_changed(spec)) }
    }

    /// Whether these are the images that the run is trained on. The name does not count: a folder can be renamed.
    pub(crate) fn has_train(&self, data: &Data) -> bool {
        let train = &data.train;
        (&self.class_names, self.shape, self.train_images) == (&train.class_names, train.shape, train.len())
            && self.train_sha256 == train.fingerprint()
    }

    fn has_test(&self, test: &Images) -> bool {
        (&self.class_names, self.test_images) == (&test.class_names, test.len())
            && self.test_sha256 == test.fingerprint()
    }

    /// That the images are others now.
    pub(crate) fn images_changed(&self, spec: &CertifySpec) -> Problem {
        let why = format!(
            "the images there are no longer those that the run began with ({}, {} and {} of them)",
            self.name, self.train_images, self.test_images
        );
        spec.problem("data.images", why)
            .hint("put the original files back; the known data sets can be fetched; a verification can judge on others")
    }
}
