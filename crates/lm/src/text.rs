//! Tokenizer, token files and validation sets of a run, and the manifest it keeps of them.
//!
//! Text is tokenised once, into `data/` of the run; token files that exist are used where they are.
//! `data/manifest.json` says what the run trains on and is judged by, so that `resume`, `branch` and
//! `eval` never read text again.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use temper_base::files::{self, AtomicFile};
use temper_base::listener::Meter;
use temper_base::numbers::counted;
use temper_base::numbers::{count, duration};
use temper_base::{Listener, Problem, Problems, Result};
use temper_data::builtin;
use temper_data::{
    Documents, Identity, Input, PrepareOptions, ReadOptions, ReplaySpec, SourceSpec, StreamSpec, TokenSource,
    Tokenizer, prepare,
};
use temper_recipe::is_name;
use temper_record::checkpoint::Checkpoint;
use temper_record::run::{RunDir, RunRef};

use crate::evaluate::EvalSet;
use crate::reading;
use crate::spec::{LmSpec, Replay, Source, ValidationSet};
use crate::tokenising::Tokenising;

/// What a run trains on and is judged by. Paths inside the run are relative to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The samples.
    pub stream: StreamSpec,
    /// The validation sets.
    pub sets: Vec<SetSpec>,
}

/// A validation set of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSpec {
    /// What it is called.
    pub name: String,
    /// Its tokens.
    pub path: PathBuf,
    /// It came from the run that this one branched from: the old data.
    #[serde(default)]
    pub old: bool,
    /// What the file held when the run began; `None` if nobody has looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

impl Manifest {
    fn path(run: &RunDir) -> PathBuf {
        run.data().join("manifest.json")
    }

    /// Reads a run's manifest, with paths that can be opened from anywhere.
    ///
    /// # Errors
    /// A manifest that cannot be read, or that Temper does not write.
    pub fn read(run: &RunDir) -> Result<Self> {
        let path = Self::path(run);
        let text = fs::read_to_string(&path)
            .map_err(|cause| Problem::io("read data manifest", &path, &cause).hint("every run has one: restore it"))?;
        let mut manifest = Self::from_json(&text, &path)?;
        let root = run.path().canonicalize().map_err(|cause| Problem::io("read data manifest", run.path(), &cause))?;
        manifest.each_path(&mut |path| *path = root.join(&path));
        Ok(manifest)
    }

    /// Reads a manifest as it is in a run: paths inside the run are relative to it. `path` is where it is, for messages.
    ///
    /// # Errors
    /// A text that is no manifest, or one that Temper does not write: see [`Manifest::to_json`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let manifest: Self =
            serde_json::from_str(text).map_err(|cause| Problem::input("read data manifest", path.display(), cause))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// The text that [`Manifest::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// A run may come from a stranger: names become parts of paths, so they are those that a recipe could give, and a relative
    /// path stays inside the run. (Token files outside of the run are known by their whole path.)
    fn check(&self, manifest: &Path) -> Result<()> {
        let refused = |why: String| {
            Err(Problem::input("read data manifest", manifest.display(), why)
                .hint("Temper does not write such a manifest: do not use this run unless you know where it comes from"))
        };
        let mut names = Vec::new();
        let mut paths = Vec::new();
        let mut stream = Some(&self.stream);
        while let Some(spec) = stream {
            names.extend(spec.sources.iter().map(|source| &source.name));
            paths.extend(spec.sources.iter().map(|source| &source.path));
            stream = spec.replay.as_ref().map(|replay| &replay.stream);
        }
        names.extend(self.sets.iter().map(|set| &set.name));
        paths.extend(self.sets.iter().map(|set| &set.path));
        if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
            return refused(format!("{name:?} cannot be the name of a source or set: letters, digits, - and _ can"));
        }
        for (i, set) in self.sets.iter().enumerate() {
            if self.sets[..i].iter().any(|other| other.name == set.name) {
                return refused(format!("two validation sets are called {}", set.name));
            }
        }
        let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        match paths.into_iter().find(|path| !path.is_absolute() && !inside(path)) {
            Some(path) => refused(format!("the path {path:?} leads out of the run")),
            None => Ok(()),
        }
    }

    /// Writes it, with paths inside the run made relative.
    pub(crate) fn write(&self, run: &RunDir) -> Result<()> {
        let path = Self::path(run);
        let io = |cause: std::io::Error| Problem::io("write data manifest", &path, &cause);
        let root = run.path().canonicalize().map_err(io)?;
        let mut manifest = self.clone();
        manifest.each_path(&mut |path| {
            if let Ok(inside) = path.strip_prefix(&root) {
                *path = inside.to_owned();
            }
        });
        files::write_whole(&path, manifest.to_json().as_bytes())
    }

    fn each_path(&mut self, f: &mut dyn FnMut(&mut PathBuf)) {
        fn stream(spec: &mut StreamSpec, f: &mut dyn FnMut(&mut PathBuf)) {
            spec.sources.iter_mut().for_each(|source| f(&mut source.path));
            if let Some(replay) = &mut spec.replay {
                stream(&mut replay.stream, f);
            }
        }
        stream(&mut self.stream, f);
        self.sets.iter_mut().for_each(|set| f(&mut set.path));
    }
}

/// The tokenizer called `name`: `builtin:demo` or the path of a `tokenizer.json`. `eod` ends a document, if it is given.
///
/// # Errors
/// A file that cannot be read or is no tokenizer, an unknown built-in name, an `eod` that is not one of its tokens.
pub fn tokenizer(name: &str, eod: Option<&str>) -> Result<Tokenizer> {
    match name.strip_prefix("builtin:") {
        None => Tokenizer::from_file(Path::new(name), eod)
            .map_err(|p| if p.hint.is_some() { p } else { p.hint("a Hugging Face tokenizer.json, or builtin:demo") }),
        Some(builtin) => match builtin::tokenizer(builtin) {
            Some(bytes) => Tokenizer::from_bytes(bytes, name, eod),
            None => Err(Problem::input("read tokenizer", name, "there is no built-in tokenizer of that name")
                .hint("builtin:demo")),
        },
    }
}

/// Text or tokens, as a path of the recipe or the command line names them.
pub enum Named {
    /// Token files: for training, and for validation if there is one.
    Tokens(PathBuf, Option<PathBuf>),
    /// Text to be tokenised.
    Text(Vec<Input>),
}

/// The warning about a set of which only the beginning of the first document is evaluated.
pub fn cut_words(name: &str, tokens: u64) -> String {
    format!(
        "{name}: the first document is longer than the limit, so its first {} are evaluated; how many bytes these are is not \
         known, so there are no bits per byte",
        counted(tokens, "token")
    )
}

/// Looks at what `paths` name.
///
/// # Errors
/// A token file that is not there, or a built-in text of an unknown name. Paths of text are not looked at.
pub fn find_data(paths: &[String]) -> Result<Named> {
    if let [path] = paths {
        let path = Path::new(path);
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let whole = |path: &Path| path.canonicalize().map_err(|cause| Problem::io("find data", path, &cause));
        if matches!(extension, "tokens" | "bin" | "idx") {
            return Ok(Named::Tokens(whole(path)?, None));
        }
        if path.join("train.tokens").is_file() {
            let validation = path.join("validation.tokens");
            let validation = validation.is_file().then(|| whole(&validation)).transpose()?;
            return Ok(Named::Tokens(whole(&path.join("train.tokens"))?, validation));
        }
    }
    let input = |path: &String| match path.strip_prefix("builtin:") {
        None => Ok(Input::from(path)),
        Some(name) => builtin::text(name).ok_or_else(|| {
            Problem::input("find data", path, "there is no built-in text of that name")
                .hint("builtin:web (World English Bible) and builtin:law (German federal law)")
        }),
    };
    Ok(Named::Text(paths.iter().map(input).collect::<Result<_>>()?))
}

/// Tokenises text of a recipe, telling the listener.
///
/// # Errors
/// Text that cannot be read, lines that `options` refuse, tokens that cannot be written.
pub fn tokenise(
    name: &str,
    inputs: &[Input],
    tokenizer: &Tokenizer,
    out: &Path,
    options: &PrepareOptions,
    listener: &dyn Listener,
) -> Result<(PathBuf, Option<PathBuf>)> {
    tokenise_with(name, inputs, tokenizer, out, options, reading::IN_RECIPES, listener)
}

/// Tokenises text, telling the listener; `option` is how bad lines become errors here.
///
/// # Errors
/// As [`tokenise`].
pub fn tokenise_with(
    name: &str,
    inputs: &[Input],
    tokenizer: &Tokenizer,
    out: &Path,
    options: &PrepareOptions,
    option: &str,
    listener: &dyn Listener,
) -> Result<(PathBuf, Option<PathBuf>)> {
    let shown = Tokenising(Meter::begin(listener, "tokenising", Documents::open(inputs, &options.read)?.total_bytes()));
    let prepared = prepare(inputs, tokenizer, out, options, &shown)?;
    let seconds = shown.0.seconds();
    drop(shown);
    let held_out = prepared
        .validation
        .as_ref()
        .map_or(String::new(), |info| format!(", {} more held out in {}", count(info.tokens as f64), info.documents));
    listener.say(&format_args!(
        "{name}: {} tokens in {} documents{held_out} ({})",
        count(prepared.train.tokens as f64),
        prepared.train.documents,
        duration(seconds),
    ));
    reading::tell_prepared(&prepared, name, option, listener);
    if prepared.cut_document {
        listener.warn(
            &format_args!("{name} is a single document: it was cut in two for validation"),
            Some("write one document on each line as JSON lines, or name a separate validation set (data.validation.NAME.path)"),
        );
    }
    Ok((prepared.train.path, prepared.validation.map(|info| info.path)))
}

/// The training sources and validation sets of the recipe, tokenised into `run` where they are text.
pub(crate) fn sources_and_sets(
    spec: &LmSpec,
    tokenizer: &Tokenizer,
    run: &RunDir,
    listener: &dyn Listener,
) -> Result<(Vec<SourceSpec>, Vec<SetSpec>), Problems> {
    let (mut sources, mut sets) = (Vec::new(), Vec::new());
    let mut trained = HashSet::new();
    for source in &spec.texts.sources {
        let Source { name, paths, weight } = source;
        if *weight > 0.0 {
            trained.extend(files_of(paths, true)?);
        }
        let (path, validation) = match find_data(paths)? {
            Named::Tokens(train, validation) => {
                reading::tell_of_tokens(name, std::iter::once(&train).chain(&validation), listener)?;
                (train, validation)
            }
            Named::Text(inputs) => {
                let options = spec.texts.prepare(spec.texts.held_out_of(source));
                tokenise(name, &inputs, tokenizer, &run.data().join(name), &options, listener)?
            }
        };
        // A source of weight 0 is left out, but still judged by.
        if *weight > 0.0 {
            sources.push(SourceSpec { name: name.clone(), path: whole(&path)?, weight: *weight, identity: None });
        }
        if let Some(path) = validation.filter(|_| !spec.texts.has_own_set(name)) {
            sets.push(SetSpec { name: name.clone(), path: whole(&path)?, old: false, identity: None });
        }
    }
    for ValidationSet { name, paths } in &spec.texts.validation {
        if let Some(file) = files_of(paths, false)?.iter().find(|file| trained.contains(*file)) {
            listener.warn(
                &format_args!("{name}: this validation set is trained on too: {}", file.display()),
                Some("its loss says how well the model has learnt this text, and nothing about other texts"),
            );
        }
        let path = match find_data(paths)? {
            Named::Tokens(train, validation) => {
                let path = validation.unwrap_or(train);
                reading::tell_of_tokens(name, [&path], listener)?;
                path
            }
            Named::Text(inputs) => judged_by(name, &inputs, tokenizer, run, &spec.texts.prepare(0.0), listener)?,
        };
        sets.push(SetSpec { name: name.clone(), path: whole(&path)?, old: false, identity: None });
    }
    Ok((sources, sets))
}

/// The files that are read for these paths, as training data or to be judged by.
fn files_of(paths: &[String], training: bool) -> Result<Vec<PathBuf>> {
    match find_data(paths)? {
        Named::Tokens(train, validation) => Ok(vec![validation.filter(|_| !training).unwrap_or(train)]),
        Named::Text(inputs) => Documents::open(&inputs, &ReadOptions::default())?.files().map(whole).collect(),
    }
}

/// Tokenises the text of a validation set that a recipe names by path into `data/NAME/validation.tokens`: beside `train.tokens` of
/// the training source of that name, if there is one.
fn judged_by(
    name: &str,
    inputs: &[Input],
    tokenizer: &Tokenizer,
    run: &RunDir,
    options: &PrepareOptions,
    listener: &dyn Listener,
) -> Result<PathBuf> {
    let folder = run.data().join(name);
    // `prepare` calls what it does not hold out `train.tokens`.
    let making = folder.join("validation");
    let (made, _) = tokenise(name, inputs, tokenizer, &making, options, listener)?;
    let path = folder.join("validation.tokens");
    let io = |cause: std::io::Error| Problem::io("keep validation set", &path, &cause);
    fs::rename(&made, &path).map_err(io)?;
    fs::remove_dir_all(&making).map_err(io)?;
    files::sync_folder(&folder);
    Ok(path)
}

fn whole(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|cause| Problem::io("find data", path, &cause))
}

/// The replay that the recipe asks for, if it does. `base` is the run that is being branched.
pub(crate) fn replay_spec(
    spec: &LmSpec,
    base: Option<(&RunDir, &Checkpoint)>,
) -> Result<Option<Box<ReplaySpec>>, Problems> {
    let Replay { fraction, ref from, seen_only, order } = spec.replay;
    if fraction == 0.0 {
        return Ok(None);
    }
    let (run, checkpoint) = match (from, base) {
        (Some(name), _) => {
            let name = RunRef::parse(name)?;
            (name.open()?, name.checkpoint()?)
        }
        (None, Some((run, checkpoint))) => (run.clone(), checkpoint.clone()),
        (None, None) => {
            return Err(spec
                .problem("data.replay.fraction", "there is no earlier run whose data could be replayed")
                .hint("branch from a run, or name one: data.replay.from = \"runs/base\"")
                .into());
        }
    };
    let seen = if seen_only {
        let samples = crate::checkpoint::read_state(&checkpoint)?.samples;
        if samples == 0 {
            return Err(spec
                .problem("data.replay.seen_only", format!("{} has not seen a single sample", run.path().display()))
                .hint("data.replay.seen_only = false replays all of its data")
                .into());
        }
        Some(samples)
    } else {
        None
    };
    let stream = Manifest::read(&run)?.stream;
    Ok(Some(Box::new(ReplaySpec { fraction, order, seen, offset: 0, stream })))
}

/// The base run's validation sets as old sets of `run`: linked or copied, so that the run can be
/// judged by them when the base is gone. A new set of the same name must hold the same tokens, and
/// then is the old one.
pub(crate) fn join_sets(base: &RunDir, run: &RunDir, new: Vec<SetSpec>) -> Result<Vec<SetSpec>, Problems> {
    let old = Manifest::read(base)?.sets;
    let mut sets = Vec::new();
    let mut problems = Vec::new();
    for set in &old {
        let twin = new.iter().find(|other| other.name == set.name);
        if let Some(twin) = twin
            && !same_tokens(&twin.path, &set.path)?
        {
            problems.push(
                Problem::input(
                    "branch",
                    format!("validation set {}", set.name),
                    "names other text than in the base run",
                )
                .hint("give the new source another name"),
            );
        }
        let path = keep(&set.path, &set.name, run)?;
        sets.push(SetSpec { path, old: true, ..set.clone() });
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    sets.extend(new.into_iter().filter(|set| old.iter().all(|other| other.name != set.name)));
    Ok(sets)
}

/// Links or copies a token file of the base as `data/NAME/base.tokens`: a name that no text of this run is tokenised to.
fn keep(path: &Path, name: &str, run: &RunDir) -> Result<PathBuf> {
    // A Megatron pair stays where it is: two files, usually large.
    if path.extension().is_none_or(|e| e != "tokens") {
        return Ok(path.to_owned());
    }
    let target = run.data().join(name).join("base.tokens");
    let io = |cause: std::io::Error| Problem::io("keep validation set", path, &cause);
    // What is linked is the file, not a link to it.
    let path = &whole(path)?;
    fs::create_dir_all(run.data().join(name)).map_err(io)?;
    if fs::hard_link(path, &target).is_err() {
        let mut from = fs::File::open(path).map_err(io)?;
        let mut copy = AtomicFile::create(&target)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match from.read(&mut buffer).map_err(io)? {
                0 => break,
                n => copy.write(&buffer[..n])?,
            }
        }
        copy.finish_new()?;
    }
    whole(&target)
}

fn same_tokens(a: &Path, b: &Path) -> Result<bool> {
    Ok(match (TokenSource::open(a)?, TokenSource::open(b)?) {
        (TokenSource::Shard(a), TokenSource::Shard(b)) => a.info().hash == b.info().hash,
        (x, y) => a.canonicalize().ok() == b.canonicalize().ok() || x.identity()? == y.identity()?,
    })
}

/// Reads all of the validation sets' files and compares them with what is known of them; what is not known yet is recorded.
pub(crate) fn identify_sets(sets: &mut [SetSpec], opened: &[EvalSet]) -> Result<()> {
    for (set, opened) in sets.iter_mut().zip(opened) {
        set.identity = Some(opened.source.verify_as(set.identity.as_ref())?);
    }
    Ok(())
}

/// Opens the validation sets, which must have the vocabulary of `tokenizer` and be those that the run began with.
pub(crate) fn open_sets(sets: &[SetSpec], tokenizer: &Tokenizer) -> Result<Vec<EvalSet>, Problems> {
    let mut opened = Vec::new();
    for set in sets {
        let mut source = TokenSource::open(&set.path)?;
        set.identity.as_ref().map_or(Ok(()), |known| source.resembles(known))?;
        source.require(tokenizer.vocabulary())?;
        opened.push(EvalSet { name: set.name.clone(), source });
    }
    Ok(opened)
}
