//! The `temper` binary: the command line, one file a command. What the commands do is in the library `temper` and below; what a
//! person sees of a run is in [`run`] and [`console`].

mod args;
mod commands;
mod console;
mod device;
mod printer;
mod problems;
mod ranks;
mod reading;
mod remedies;
mod run;
mod scratch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use printer::Printer;
use temper_base::Problem;
use temper_train::group::EXCHANGE;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(words) => return usage(&words),
    };
    std::panic::set_hook(Box::new(printer::report_panic));
    let printer = Printer::new(cli.quiet);
    let begun = ranks::join(&printer).and_then(|(ranks, sharing)| {
        start_threads(cli.threads, sharing, &printer)?;
        Ok(ranks)
    });
    let ranks = match begun {
        Ok(ranks) => ranks,
        Err(problem) => {
            printer.problems(std::slice::from_ref(&problem));
            return ExitCode::from(problem.kind.exit_code());
        }
    };
    let printer = if ranks.leads() { printer } else { Printer::silent() };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match cli.command {
        command if ranks::is_for_rank_0(&command, &ranks) => ranks::follow(&command, &ranks, &printer),
        Command::Demo(args) => commands::demo::run(&args, &printer),
        Command::Train(args) => commands::train::run(&args, &ranks, &printer),
        Command::Resume(args) => commands::resume::run(&args, &ranks, &printer),
        Command::Branch(args) => commands::branch::run(&args, &ranks, &printer),
        Command::Eval(args) => commands::eval::run(&args, &ranks, &printer),
        Command::Verify(args) => commands::verify::run(&args, &ranks, &printer),
        Command::Inspect(args) => commands::inspect::run(&args, &printer),
        Command::Sample(args) => commands::sample::run(&args, &printer),
        Command::Plan(args) => commands::plan::run(&args, &printer),
        Command::Schedule(args) => commands::schedule::run(&args, &printer),
        Command::Sweep(args) => commands::sweep::run(&args, &ranks, &printer),
        Command::Recipe(args) => commands::recipe::run(&args, &printer),
        Command::Report(args) => commands::report::run(&args, &printer),
        Command::Data(args) => commands::data::run(&args, &printer),
        Command::Export(args) => commands::export::run(&args, &printer),
        Command::Bench(args) => commands::bench::run(&args, &printer),
        Command::Doctor(args) => commands::doctor::run(&args, &printer),
        Command::Completions(args) => commands::completions::run(&args, &printer),
    }));
    console::wait_if_ending();
    match result {
        Ok(Ok(code)) => {
            ranks.end(None);
            ExitCode::from(code)
        }
        Ok(Err(problems)) => {
            // What all ranks have failed with, rank 0 says.
            let loud = problems.0.iter().any(|problem| problem.what == EXCHANGE);
            if loud {
                Printer::new(false).problems(&problems.0)
            } else {
                printer.problems(&problems.0)
            }
            ranks.end(problems.0.first());
            ExitCode::from(problems.exit_code())
        }
        Err(payload) => match payload.downcast::<temper_ops::DeviceFailed>() {
            Ok(failed) => {
                let hint = "checkpoints are intact: resume with a smaller batch.micro, or on another device";
                let problem = Problem::machine("compute on device", "device", failed.0).hint(hint);
                Printer::new(false).problems(std::slice::from_ref(&problem));
                ranks.abandon();
                ExitCode::from(problem.kind.exit_code())
            }
            // The hook has said what happened.
            Err(_) => {
                ranks.abandon();
                ExitCode::from(4)
            }
        },
    }
}

/// Prints the help or the version that was asked for, or what is wrong with the command line.
fn usage(words: &clap::Error) -> ExitCode {
    use std::io::Write;
    let written = words.print().and_then(|()| std::io::stdout().flush());
    match written {
        // As for all results: a reader that has gone away is not an error, output that cannot be written is one.
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe && !words.use_stderr() => {
            let problem = printer::lost_output(&cause);
            Printer::new(false).problems(std::slice::from_ref(&problem));
            ExitCode::from(problem.kind.exit_code())
        }
        _ => ExitCode::from(words.exit_code() as u8),
    }
}

/// Starts the threads of computation; `sharing` processes have equal parts of the processors. Temper alone decides their number: RAYON_NUM_THREADS, a variable of the library, has no effect.
fn start_threads(asked: Option<u16>, sharing: usize, printer: &Printer) -> Result<(), Problem> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = 4 * processors;
    let asked = asked.map_or((processors / sharing).max(1), usize::from);
    if asked > most {
        let why = format!("--threads {asked}: this machine has {processors} processors; Temper starts {most} threads");
        printer.warn(why, Some("more threads than processors are slower, and results do not depend on their number"));
    }
    let threads = asked.min(most);
    // The first use of the pool decides its size: nothing has run yet.
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    built.map_err(|cause| Problem::no_threads(threads, cause))
}
