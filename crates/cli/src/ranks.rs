//! The processes that a launcher such as `mpirun` started together with this one.

use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use temper::{Limits, Ranks, Session, Silent};
use temper_base::{Problem, Result};

use crate::args::Command;
use crate::console::cannot_listen;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Whether this rank does not lead, and only follows in such a command: those that all ranks run side by side are few.
pub fn is_for_rank_0(command: &Command, ranks: &Ranks) -> bool {
    !ranks.leads() && !matches!(command, Command::Eval(_) | Command::Verify(_) | Command::Sweep(_))
}

/// The part of a rank that does not lead, in whatever rank 0 does.
pub fn follow(command: &Command, ranks: &Ranks, printer: &Printer) -> Outcome {
    // Launchers pass signals on to all ranks. What comes of them is for rank 0 to say.
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::default()).map_err(cannot_listen)?;
    }
    let device = match command {
        Command::Train(args) => args.device.open(printer),
        Command::Resume(args) => args.device.open(printer),
        Command::Branch(args) => args.device.open(printer),
        _ => Ok(temper::device()),
    };
    // Rank 0 may have one.
    let device = device.inspect_err(|problem| {
        Printer::new(false).problems(std::slice::from_ref(problem));
        ranks.abandon();
    })?;
    let session = Session { limits: Limits::default(), device: &device, listener: &Silent, ranks };
    temper::follow(session)?;
    Ok(0)
}

/// What launchers tell how many processes they start: Open MPI, MPICH and Intel MPI.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// What Temper was doing.
const JOIN: &str = "join the other ranks";

/// How many processes a launcher started; 1 without one.
fn started() -> usize {
    let told = SIZES.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    // Slurm tells nobody but those who ask its library.
    let asked = std::env::var_os("PMIX_RANK").is_some() || std::env::var_os("PMI_RANK").is_some();
    told.unwrap_or(if asked { 2 } else { 1 })
}

/// All of them, and how many share the processors of this one.
#[cfg(not(feature = "mpi"))]
pub fn join(_: &Printer) -> Result<(Ranks, usize)> {
    if started() > 1 {
        let why =
            "several processes were started, and this program was built without MPI: each would do the whole work";
        let hint = "build it with: cargo install --path crates/cli --features mpi";
        return Err(Problem::input(JOIN, "mpirun", why).hint(hint));
    }
    Ok((Ranks::alone(), 1))
}

#[cfg(feature = "mpi")]
pub use with_mpi::join;

#[cfg(feature = "mpi")]
mod with_mpi {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use temper_base::listener::{Caller, Listener};
    use temper_kernels::arch::{InstructionSet, instruction_set, pretend_at_most};
    use temper_train::group::Group;
    use temper_train::group::mpi::World;

    use super::{JOIN, Printer, Problem, Ranks, Result, started};

    /// All of them, and how many share the processors of this one.
    pub fn join(printer: &Printer) -> Result<(Ranks, usize)> {
        if started() == 1 {
            return Ok((Ranks::alone(), 1));
        }
        let world = World::join(|problem| {
            Printer::new(false).problems(std::slice::from_ref(problem));
            end_launcher_soon();
        })?;
        if let Err(problem) = require_same(&world, printer) {
            // All ranks know it. Rank 0 says it, before another one's end ends all.
            if world.rank() == 0 {
                Printer::new(false).problems(std::slice::from_ref(&problem));
            }
            world.barrier()?;
            drop(world);
            std::process::exit(problem.kind.exit_code().into());
        }
        share_instructions(&world, printer)?;
        let sharing = sharing(&world)?;
        Ok((Ranks::of(world), sharing))
    }

    /// How many ranks have the very processors that this one may use: a launcher gives each its own, or all the same.
    fn sharing(world: &World) -> Result<usize> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let allowed =
            read("/proc/self/status").lines().find(|line| line.starts_with("Cpus_allowed_list")).map(str::to_owned);
        let own = format!("{} {}", read("/proc/sys/kernel/hostname"), allowed.unwrap_or_default());
        let all = world.gather(own.as_bytes())?;
        Ok(all.iter().filter(|other| **other == own.as_bytes()).count())
    }

    /// What starts ranks on a machine, by its name there.
    const LAUNCHERS: [&str; 7] = ["mpirun", "mpiexec", "orterun", "prterun", "orted", "prted", "hydra_pmi_proxy"];

    /// Ends the launcher if it does not end by itself in ten seconds. One that no longer reaches another machine waits for its answer for ever,
    /// after its own ranks have ended.
    fn end_launcher_soon() {
        let parent = std::os::unix::process::parent_id();
        let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
        let Some(name) = LAUNCHERS.iter().find(|launcher| **launcher == name.trim()) else { return };
        let script = format!("sleep 10; [ \"$(cat /proc/{parent}/comm)\" = {name} ] && kill -9 {parent}");
        let mut shell = Command::new("sh");
        // In a group of its own: launchers end the whole group of a rank.
        shell.args(["-c", &script]).process_group(0);
        _ = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }

    /// Ranks that run other programs or commands would part sooner or later.
    fn require_same(world: &World, printer: &Printer) -> Result<()> {
        let size = std::env::current_exe().and_then(|program| program.metadata()).map_or(0, |program| program.len());
        let Caller { commit, command } = printer.caller();
        let program = (env!("CARGO_PKG_VERSION"), commit, size);
        let own = [format!("{program:?}"), format!("{:?}", command.get(1..))];
        let all = world.gather(own.join("\n").as_bytes())?;
        let of = |rank: usize| String::from_utf8_lossy(&all[rank]).into_owned();
        let leader = of(0);
        let differs = |what: usize| (1..all.len()).find(|rank| of(*rank).lines().nth(what) != leader.lines().nth(what));
        let fail =
            |rank: usize, why: &str, hint: &str| Err(Problem::input(JOIN, format!("rank {rank}"), why).hint(hint));
        match (differs(0), differs(1)) {
            (Some(rank), _) => {
                fail(rank, "it runs another build of Temper than rank 0", "start the same program on every machine")
            }
            (_, Some(rank)) => {
                fail(rank, "it was given another command than rank 0", "start all ranks with the same words")
            }
            _ => Ok(()),
        }
    }

    /// Bits depend on the instruction set, so all ranks use that of the least of them.
    fn share_instructions(world: &World, printer: &Printer) -> Result<()> {
        let own = instruction_set();
        let all = world.gather(&[own as u8])?;
        let (rank, least) = all
            .iter()
            .map(|set| set.first().copied().unwrap_or(0))
            .enumerate()
            .min_by_key(|(_, set)| *set)
            .expect("a rank");
        if all.iter().any(|set| set.first() != Some(&least)) {
            let least = InstructionSet::ALL.get(usize::from(least)).copied().unwrap_or(InstructionSet::Portable);
            pretend_at_most(least);
            if world.rank() == 0 {
                printer.warn(
                    format!(
                        "the processor of rank {rank} has no more than {}: all ranks compute as it does",
                        least.name()
                    ),
                    None,
                );
            }
        }
        Ok(())
    }
}
