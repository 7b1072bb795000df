//! `temper doctor`: is this machine fit, and what to do where it is not.

mod devices;
mod parity;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde_json::{Value, json};
use temper_base::numbers::count;
use temper_record::Env;
use temper_train::machine;

use super::selftest;
use crate::args::Doctor;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Less memory than this to be had is a problem, less than the second worth a note.
const MEMORY: [u64; 2] = [512 << 20, 2 << 30];
/// The same for room on disk.
const DISK: [u64; 2] = [256 << 20, 4 << 30];

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Fine.
    Ok,
    /// It works, but not as well as it could.
    Note,
    /// Something will fail.
    Problem,
}

/// One thing looked at.
struct Check {
    name: &'static str,
    state: State,
    found: String,
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: None }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Note, remedy: Some(remedy.into()), ..Self::ok(name, found) }
    }

    fn problem(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Problem, ..Self::note(name, found, remedy) }
    }

    /// By how much there is, against a least and a comfortable amount.
    fn amount(name: &'static str, amount: u64, [least, enough]: [u64; 2], found: String, remedy: &str) -> Self {
        match amount {
            amount if amount < least => Self::problem(name, found, remedy),
            amount if amount < enough => Self::note(name, found, remedy),
            _ => Self::ok(name, found),
        }
    }
}

/// Runs the command.
pub fn run(args: &Doctor, printer: &Printer) -> Outcome {
    if args.devices {
        return devices::run(args, printer);
    }
    if args.parity {
        return parity::run(args, printer);
    }
    args.device.require_cpu("this check of the machine (without --devices or --parity)")?;
    let mut checks = Vec::new();
    let mut numbers = serde_json::Map::new();
    machine_checks(&mut checks, &mut numbers);
    arithmetic_checks(&mut checks, &mut numbers);
    file_checks(&mut checks, &mut numbers);
    checks.push(Check::ok("terminal", terminal()));
    let problems = checks.iter().filter(|check| check.state == State::Problem).count();
    if args.json {
        printer.data(serde_json::to_string_pretty(&document(&checks, numbers)).expect("plain data has a JSON form"));
    } else {
        show(&checks, problems, printer);
    }
    Ok(u8::from(problems > 0))
}

fn show(checks: &[Check], problems: usize, printer: &Printer) {
    for check in checks {
        let word = word(check.state);
        printer.data(format_args!("{word:7}  {:12} {}", check.name, check.found));
        if let Some(remedy) = &check.remedy {
            printer.data(format_args!("{:22}hint: {remedy}", ""));
        }
    }
    match problems {
        0 => printer.say("this machine is fit"),
        1 => printer.say("there is a problem"),
        n => printer.say(format_args!("there are {n} problems")),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Note => "note",
        State::Problem => "problem",
    }
}

fn document(checks: &[Check], numbers: serde_json::Map<String, Value>) -> Value {
    let checks_json: Vec<Value> = checks
        .iter()
        .map(|c| json!({ "check": c.name, "state": word(c.state), "found": c.found, "remedy": c.remedy }))
        .collect();
    let fit = checks.iter().all(|check| check.state != State::Problem);
    json!({ "temper": env!("CARGO_PKG_VERSION"), "fit": fit, "checks": checks_json, "numbers": numbers })
}

fn machine_checks(checks: &mut Vec<Check>, numbers: &mut serde_json::Map<String, Value>) {
    let env = Env::collect(env!("CARGO_PKG_VERSION"), None, rayon::current_num_threads(), Vec::new());
    checks.push(Check::ok("temper", format!("{}, {}", env.temper, env.os)));
    let instructions = machine::instructions();
    let cpu = env.cpu.as_deref().unwrap_or("unknown processor");
    let found = match instructions.as_slice() {
        [] => format!("{cpu}, {}", std::env::consts::ARCH),
        names => format!("{cpu}, {} with {}", std::env::consts::ARCH, names.join(", ")),
    };
    checks.push(if cfg!(target_arch = "x86_64") && !temper_kernels::arch::has_avx2() {
        let remedy = "training is several times slower than on a processor with AVX2 and FMA (Intel since 2013, AMD since 2015); \
             a virtual machine may hide them: choose its processor type `host`";
        Check::note("processor", format!("{found}; not both AVX2 and FMA"), remedy)
    } else {
        Check::ok("processor", found)
    });
    let (threads, cores) = (env.threads, env.cores);
    let found = format!("{threads} of {cores} {}", if cores == 1 { "core" } else { "cores" });
    checks.push(match threads.cmp(&cores) {
        std::cmp::Ordering::Greater => {
            Check::note("threads", found, "more threads than cores are slower: leave out --threads")
        }
        _ => Check::ok("threads", found),
    });
    numbers.insert("cores".into(), cores.into());
    numbers.insert("threads".into(), threads.into());
    checks.push(match machine::memory() {
        Some(memory) => {
            numbers.insert("memory_bytes".into(), memory.total.into());
            numbers.insert("memory_available_bytes".into(), memory.available.into());
            let found = format!("{}B, {}B to be had now", count(memory.total as f64), count(memory.available as f64));
            let remedy = "end other programs, or train with a smaller batch.micro; `temper plan RECIPE` shows what a recipe needs";
            Check::amount("memory", memory.available, MEMORY, found, remedy)
        }
        None => Check::ok("memory", "unknown on this system"),
    });
}

fn arithmetic_checks(checks: &mut Vec<Check>, numbers: &mut serde_json::Map<String, Value>) {
    let wrong = "the memory or the processor is faulty, or this build is not for it: build Temper on this machine, and report it if that does not help";
    let tests = [("product", selftest::matrix_product as fn() -> _), ("attention", selftest::causal_attention)];
    for (name, test) in tests {
        checks.push(match test() {
            Ok(error) => Check::ok(name, format!("agrees with double precision to {error:.1e}")),
            Err(why) => Check::problem(name, why, wrong),
        });
    }
    let threads = rayon::current_num_threads();
    let mut counts = vec![2, 3, threads];
    counts.retain(|n| *n > 1);
    counts.sort_unstable();
    counts.dedup();
    let listed = |counts: &[usize]| counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    checks.push(match selftest::unequal_threads(&counts) {
        Some(unequal) if unequal.is_empty() => Check::ok("same bits", format!("with 1, {} threads", listed(&counts))),
        Some(unequal) => Check::problem("same bits", format!("not with 1 and {} threads", listed(&unequal)), wrong),
        None => {
            Check::problem("same bits", "no threads could be started", "raise the limit on processes (`ulimit -u`)")
        }
    });
    let (one, all) = (selftest::gflops(1), selftest::gflops(threads));
    if let (Some(one), Some(all)) = (one, all) {
        numbers.insert("gflops_1_thread".into(), json!(one));
        numbers.insert("gflops".into(), json!(all));
        let found = match threads {
            1 => format!("{all:.0} GFLOP/s on 1 thread"),
            _ => format!("{all:.0} GFLOP/s on {threads} threads, {one:.0} on 1"),
        };
        checks.push(Check::ok("speed", found));
    }
}

fn file_checks(checks: &mut Vec<Check>, numbers: &mut serde_json::Map<String, Value>) {
    let here = std::env::current_dir().map_or_else(|_| ".".into(), |path| path.display().to_string());
    checks.push(match machine::free_disk(Path::new(".")) {
        Some(free) => {
            numbers.insert("disk_free_bytes".into(), free.into());
            let remedy =
                "make room, or choose an --out on another disk; `temper plan RECIPE` shows how large checkpoints are";
            Check::amount("disk", free, DISK, format!("{}B free in {here}", count(free as f64)), remedy)
        }
        None => Check::ok("disk", "free space is unknown on this system"),
    });
    checks.push(match writable(Path::new(".")) {
        Ok(()) => Check::ok("this folder", format!("{here} can be written to")),
        Err(cause) => Check::problem(
            "this folder",
            format!("{here}: {cause}"),
            "change to a folder that you can write to, or choose an --out in one",
        ),
    });
    let temporary = std::env::temp_dir();
    checks.push(match writable(&temporary) {
        Ok(()) => Check::ok("temporary", format!("{} can be written to", temporary.display())),
        Err(cause) => Check::problem(
            "temporary",
            format!("{}: {cause}", temporary.display()),
            "set TMPDIR to a folder that can be written to",
        ),
    });
}

/// Writes a small file into the folder and removes it.
fn writable(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".temper-doctor-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
    let removed = fs::remove_file(&path);
    written.and(removed)
}

fn terminal() -> String {
    let kind = |is: bool| if is { "a terminal" } else { "not a terminal" };
    let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
    let colour = match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        true => "no colour (NO_COLOR is set)",
        false if err => "colour",
        false => "no colour",
    };
    format!("standard output is {}, standard error {}: {colour}", kind(out), kind(err))
}
