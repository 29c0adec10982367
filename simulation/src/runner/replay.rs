//! `replay`: one seed again, exactly as it was.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::child::{ChildArgs, Children, Ended};
use super::failed::{promise, watched};
use super::scene::Scene;
use super::{Verdict, terminal};
use crate::report::{Details, Failure, Finished, timeline};

/// One seed.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// What decides the run.
    #[command(flatten)]
    pub scene: Scene,
    /// Everything that happens goes there, one JSON object on each line.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// A page that shows the run goes there: nodes, leaders, faults, clients. For a browser.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Real seconds after which the run is ended, and has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seed_timeout: u64,
}

/// Runs it.
///
/// # Errors
/// The simulation can't run at all, or a file can't be written.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let seed_timeout = args.seed_timeout;
    let children = Children::new(&ChildArgs { jobs: None, seed_timeout })?;
    let (finished, details) = match watched(&children, args.scene.clone(), args.trace.clone())? {
        (Ended::Finished(finished), details) => (*finished, details),
        (Ended::Unable(why), _) => bail!("the run can't be made: {why}"),
        (Ended::Stopped, _) => bail!("the run was stopped"),
    };
    let replay = args.scene.replay_command();
    if let Some(path) = &args.timeline {
        let shown = details.as_ref().map_or(&[][..], |details| &details.shown);
        fs::write(path, timeline::page(&finished, shown, &replay))
            .with_context(|| format!("{} can't be written", path.display()))?;
    }
    tell(args, finished, details, replay)
}

fn tell(
    args: &ReplayArgs,
    finished: Finished,
    details: Option<Details>,
    replay: String,
) -> anyhow::Result<Verdict> {
    let how = format!(
        "{} events, hash {:016x}, {:.1} simulated s in {:.1} s",
        finished.events,
        finished.hash,
        seconds(finished.simulated_ms),
        seconds(finished.real_ms)
    );
    let written: Vec<PathBuf> = args.trace.iter().chain(&args.timeline).cloned().collect();
    if finished.failure().is_none() {
        terminal::say(&format!("passed: seed {}, {how}", finished.seed));
        for path in written {
            terminal::say(&format!("written: {}", path.display()));
        }
        return Ok(Verdict::Passed);
    }
    let failure = Failure {
        promise: promise(&finished),
        found_faults: finished.plan.faults.len(),
        finished,
        details,
        replay,
        written,
        ..Failure::default()
    };
    terminal::say(&format!("{failure}\n{how}"));
    Ok(Verdict::Failed)
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
