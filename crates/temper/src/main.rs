//! The `temper` binary: the command line, recipes turned into runs, one file a command.
//!
//! What every run has is in [`run`], [`lengths`] and [`console`]; what depends on the task in [`lm`] and [`certify`].

mod args;
mod builtin;
mod certify;
mod commands;
mod console;
mod lengths;
mod lm;
mod printer;
mod problems;
mod progress;
mod run;
mod scratch;
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use printer::Printer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    std::panic::set_hook(Box::new(printer::panicked));
    let printer = Printer::new(cli.quiet);
    if let Some(threads) = cli.threads {
        // The first use of the pool decides its size: nothing has run yet.
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global().expect("nothing uses the pool yet");
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match cli.command {
        Command::Demo(args) => commands::demo::run(&args, &printer),
        Command::Train(args) => commands::train::run(&args, &printer),
        Command::Resume(args) => commands::resume::run(&args, &printer),
        Command::Branch(args) => commands::branch::run(&args, &printer),
        Command::Eval(args) => commands::eval::run(&args, &printer),
        Command::Verify(args) => commands::verify::run(&args, &printer),
        Command::Inspect(args) => commands::inspect::run(&args, &printer),
        Command::Sample(args) => commands::sample::run(&args, &printer),
        Command::Plan(args) => commands::plan::run(&args, &printer),
        Command::Schedule(args) => commands::schedule::run(&args, &printer),
        Command::Sweep(args) => commands::sweep::run(&args, &printer),
        Command::Recipe(args) => commands::recipe::run(&args, &printer),
        Command::Report(args) => commands::report::run(&args, &printer),
        Command::Data(args) => commands::data::run(&args, &printer),
        Command::Export(args) => commands::export::run(&args, &printer),
        Command::Bench(args) => commands::bench::run(&args, &printer),
        Command::Doctor(args) => commands::doctor::run(&args, &printer),
        Command::Completions(args) => commands::completions::run(&args, &printer),
    }));
    match result {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(problems)) => {
            printer.problems(&problems.0);
            ExitCode::from(problems.exit_code())
        }
        // The hook has said what happened.
        Err(_) => ExitCode::from(4),
    }
}
