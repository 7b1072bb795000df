//! The images of a run: where they are, what is held out, and that a resumed run finds the same ones.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use temper_data::images::{self, Images, Splits};
use temper_recipe::Recipe;
use temper_record::files::write_whole;
use temper_record::run::RunDir;
use temper_record::{Problem, Result};

use crate::builtin;

/// The images of a run.
pub struct Data {
    /// Trained on.
    pub train: Images,
    /// Held out of the training set, to choose the best checkpoint.
    pub holdout: Option<Images>,
    /// The test set.
    pub test: Images,
}

/// Opens what `data.images` names, takes the first so many images if that is asked for, and holds some out.
pub fn open(recipe: &Recipe) -> Result<Data> {
    let path = recipe.text("data.images")?;
    let Splits { train, test } = splits(&path).map_err(|problem| match problem.hint {
        Some(_) => problem,
        None => problem.hint("data.images names a folder of images"),
    })?;
    let first = |images: Images, key: &str| -> Result<Images> {
        Ok(match recipe.usize(key)? {
            0 => images,
            count => images.first(count),
        })
    };
    let (train, test) = (first(train, "data.max_train")?, first(test, "data.max_test")?);
    let fraction = recipe.f64("data.holdout")?;
    if fraction == 0.0 {
        return Ok(Data { train, holdout: None, test });
    }
    // What is held out depends on the data and the fraction alone: runs of different seeds are chosen on the same images.
    let (train, holdout) = train.hold_out(fraction, 0).map_err(|problem| {
        let found = recipe.problem("data.holdout", problem.why);
        found.hint("a larger part, or 0 to choose on the test set")
    })?;
    Ok(Data { train, holdout: Some(holdout), test })
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
pub fn size(recipe: &Recipe) -> Result<Size> {
    let path = recipe.text("data.images")?;
    if path.starts_with("builtin:") || Path::new(&path).exists() {
        let Data { train, holdout, test } = open(recipe)?;
        return Ok(Size {
            name: train.name.clone(),
            shape: train.shape,
            classes: train.classes(),
            train: train.len(),
            holdout: holdout.as_ref().map_or(0, Images::len),
            test: test.len(),
            here: true,
        });
    }
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(known) = images::known(&name) else {
        let hint = "with steps as lengths, schedules need no data; known data sets are planned by the name of their folder: mnist, \
            fashion-mnist, cifar-10, tiny-imagenet";
        return Err(recipe.problem("data.images", format!("there is nothing at {path}")).hint(hint));
    };
    let first = |count: usize, key: &str| {
        Ok(match recipe.usize(key)? {
            0 => count,
            most => count.min(most),
        })
    };
    let (train, test) = (first(known.images[0], "data.max_train")?, first(known.images[1], "data.max_test")?);
    let classes = known.class_count;
    let holdout = classes * (train as f64 / classes as f64 * recipe.f64("data.holdout")?).round() as usize;
    Ok(Size { name, shape: known.shape, classes, train: train - holdout.min(train), holdout, test, here: false })
}

/// What to say of images that are not here.
pub fn missing(recipe: &Recipe) -> Result<Option<Problem>> {
    let path = recipe.text("data.images")?;
    if path.starts_with("builtin:") || Path::new(&path).exists() {
        return Ok(None);
    }
    let name = Path::new(&path).file_name().unwrap_or_default().to_string_lossy();
    let problem = recipe.problem("data.images", format!("there is nothing at {path}"));
    Ok(Some(problem.hint(match images::known(&name) {
        Some(known) => format!("`temper data fetch {} --out {path}`", known.name),
        None => "a folder of images; paths are relative to the current directory".to_owned(),
    })))
}

/// The training and test images that a path or `builtin:NAME` names.
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
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let own = self.test.note.as_deref().filter(|note| self.train.note.as_deref() != Some(note));
        self.train.note.as_deref().into_iter().chain(own)
    }
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
    pub fn of(data: &Data) -> Self {
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
    pub fn write(&self, run: &RunDir) -> Result<()> {
        let path = run.path().join("data").join("manifest.json");
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        write_whole(&path, text.as_bytes())
    }

    /// Reads that of a run.
    pub fn read(run: &RunDir) -> Result<Self> {
        let path = run.path().join("data").join("manifest.json");
        let bytes = fs::read(&path).map_err(|cause| Problem::io("read run", &path, &cause))?;
        serde_json::from_slice(&bytes).map_err(|cause| Problem::input("read run", path.display(), cause))
    }

    /// An error unless these are the images of the run.
    pub fn require(&self, data: &Data, recipe: &Recipe) -> Result<()> {
        if *self == Self::of(data) {
            return Ok(());
        }
        let why = format!(
            "the images there are no longer those that the run began with ({}, {} and {} of them)",
            self.name, self.train_images, self.test_images
        );
        Err(recipe
            .problem("data.images", why)
            .hint("put the original files back; `temper data fetch` gets the known data sets"))
    }
}
