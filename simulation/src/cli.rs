//! The command line of `kontiki-sim`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runner::{
    self, BatchArgs, DeterminismArgs, MutantsArgs, OneArgs, ReplayArgs, Verdict, terminal,
};

const EXAMPLES: &str = "Examples:
  kontiki sim run --seeds 1000                       a thousand seeds, stop at the first failure
  kontiki sim run --minutes 30 --keep-going          for half an hour, whatever fails
  kontiki sim replay --seed 7 --profile swarm --timeline out.html
  kontiki sim check-determinism --seeds 20
  kontiki sim mutants                                is each deliberate bug noticed?

Exit status:
   0  every run passed
   1  a promise was broken, a run died, or a deliberate bug was not noticed
   2  the command line is wrong, or the simulation can't run at all";

/// Runs whole Kontiki clusters on a simulated clock, network and disk, and checks every promise
///
/// One number, the seed, decides everything that happens in a run: the same seed is the same run,
/// byte for byte. Each seed runs in a process of its own.
#[derive(Debug, Parser)]
#[command(name = "kontiki-sim", bin_name = "kontiki sim", version, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs many seeds, and reports what breaks a promise
    ///
    /// A seed that fails is shrunk: faults are left out as long as it still fails in the same way.
    /// What is left is reported, with one command that replays it.
    Run(BatchArgs),
    /// Runs one seed again, exactly as it was
    Replay(ReplayArgs),
    /// Runs each seed twice, in two processes, and compares everything that happened
    CheckDeterminism(DeterminismArgs),
    /// Runs with one deliberate bug after the other, until each is noticed
    Mutants(MutantsArgs),
    /// Shows the profiles, the kinds of faults, and the promises that are checked
    List,
    /// Runs one seed in this process; one line of JSON says how it ended
    #[command(hide = true)]
    One(OneArgs),
}

/// Does what the command line says.
///
/// # Errors
/// The simulation can't run at all.
pub fn run(cli: Cli) -> anyhow::Result<Verdict> {
    match cli.command {
        Command::Run(args) => runner::batch(&args),
        Command::Replay(args) => runner::replay(&args),
        Command::CheckDeterminism(args) => runner::check_determinism(&args),
        Command::Mutants(args) => runner::mutants(&args),
        Command::List => {
            terminal::say(&runner::list());
            Ok(Verdict::Passed)
        }
        Command::One(args) => runner::one(&args),
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(error) => {
            terminal::aside(&format!("kontiki-sim: {error:#}"));
            ExitCode::from(runner::UNABLE)
        }
    }
}

#[cfg(test)]
#[path = "cli_test.rs"]
mod tests;
