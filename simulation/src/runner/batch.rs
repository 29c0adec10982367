//! `run`: many seeds.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::child::{ChildArgs, Children, Ended};
use super::failed::{Aftermath, ShrinkArgs};
use super::one::OneArgs;
use super::parallel::{Heard, in_parallel};
use super::progress::{Amount, Progress};
use super::scene::Variant;
use super::{Verdict, clock, names, terminal};
use crate::report::{Failure, Finished, Totals};

/// What form results have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text.
    Human,
    /// One JSON object.
    Json,
}

/// Seeds, where neither their number nor a time is given.
const SEEDS: u64 = 100;
/// Fewer seeds than that need not have seen everything.
const SEEDS_TO_SEE_ALL: u64 = 50;

/// Many seeds.
#[derive(Debug, Clone, Args)]
pub struct BatchArgs {
    /// How many seeds. By default 100.
    #[arg(long, value_name = "NUMBER", conflicts_with = "minutes")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Begins new seeds for so long instead.
    #[arg(long, value_parser = parse_minutes)]
    pub minutes: Option<f64>,
    /// The first seed; the others follow. By default fresh ones that the time decides, and that are
    /// shown.
    #[arg(long, value_name = "NUMBER")]
    pub first_seed: Option<u64>,
    /// What the runs have in common.
    #[command(flatten)]
    pub variant: Variant,
    /// Their processes.
    #[command(flatten)]
    pub children: ChildArgs,
    /// Doesn't stop at the first failure.
    #[arg(long)]
    pub keep_going: bool,
    /// Reports the first failure as it is, without leaving faults out.
    #[arg(long)]
    pub no_shrink: bool,
    /// How many runs may be made to find out which faults a failure needs.
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    pub shrink_runs: usize,
    /// The form of the results.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// The folder for what is known of failures. It is made where one happens.
    #[arg(long, value_name = "FOLDER", default_value = "sim-failures")]
    pub failures: PathBuf,
}

/// Runs them.
///
/// # Errors
/// The simulation can't run at all, or what is known of a failure can't be written.
pub fn run(args: &BatchArgs) -> anyhow::Result<Verdict> {
    let children = Children::new(&args.children)?;
    let first_seed = args.first_seed.unwrap_or_else(clock::fresh_seed);
    terminal::aside(&format!(
        "profile {}, seeds from {first_seed}, {} at a time",
        args.variant.profile,
        args.children.jobs()
    ));
    let (totals, failed, wall) = run_all(args, &children, first_seed)?;
    let shrink = ShrinkArgs {
        runs: if args.no_shrink { 0 } else { args.shrink_runs },
        at_a_time: args.children.jobs(),
        folder: args.failures.clone(),
    };
    let mut aftermath = Aftermath::new(&children, shrink);
    for finished in failed {
        let failure = aftermath.examine(args.variant.scene(finished.seed), finished)?;
        if args.output == Output::Human {
            terminal::say(&format!("{failure}\n"));
        }
    }
    let unseen = unseen(args, &totals);
    tell(args.output, first_seed, &totals, wall, &aftermath.failures, &unseen);
    Ok(if totals.failed == 0 { Verdict::Passed } else { Verdict::Failed })
}

fn run_all(
    args: &BatchArgs,
    children: &Children,
    first_seed: u64,
) -> anyhow::Result<(Totals, Vec<Finished>, Duration)> {
    let amount = match args.minutes {
        Some(minutes) => Amount::Time(Duration::from_secs_f64(minutes * 60.0)),
        None => Amount::Seeds(args.seeds.unwrap_or(SEEDS)),
    };
    let watch = clock::Stopwatch::start();
    let seeds = (0_u64..).map_while(|count| {
        let more = match amount {
            Amount::Seeds(all) => count < all,
            Amount::Time(limit) => watch.elapsed() < limit,
        };
        more.then(|| first_seed.wrapping_add(count))
    });
    let mut progress = Progress::new(amount);
    let (mut totals, mut failed, mut unable) = (Totals::default(), Vec::new(), None);
    let work = |seed, stop: &_| {
        let scene = args.variant.scene(seed);
        children.run(&OneArgs { scene, ..OneArgs::default() }, stop)
    };
    in_parallel(args.children.jobs(), seeds, work, |heard| {
        if let Heard::Done(ended) = heard {
            match ended {
                Ended::Finished(finished) => {
                    totals.add(&finished);
                    if finished.failure().is_some() {
                        failed.push(*finished);
                    }
                }
                Ended::Unable(why) => unable = Some(why),
                Ended::Stopped => {}
            }
        }
        progress.show(&totals);
        let is_enough = unable.is_some() || !failed.is_empty() && !args.keep_going;
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    match unable {
        Some(why) => Err(anyhow::anyhow!("no run can be made: {why}")),
        None => Ok((totals, failed, progress.elapsed())),
    }
}

/// What should have been seen and wasn't.
fn unseen(args: &BatchArgs, totals: &Totals) -> Vec<&'static str> {
    if totals.seeds < SEEDS_TO_SEE_ALL || args.variant.profile == "calm" {
        return Vec::new();
    }
    let states = names::required_states().iter().copied();
    states.filter(|state| !totals.seen.contains_key(*state)).collect()
}

fn tell(
    output: Output,
    first_seed: u64,
    totals: &Totals,
    wall: Duration,
    failures: &[Failure],
    unseen: &[&str],
) {
    match output {
        Output::Human => {
            terminal::say(&totals.summary(wall));
            for state in unseen {
                terminal::say(&format!("warning: never seen in any run: {state}"));
            }
        }
        Output::Json => {
            let json = serde_json::json!({
                "first_seed": first_seed,
                "totals": totals,
                "wall_ms": u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
                "never_seen": unseen,
                "failures": failures,
            });
            terminal::say(&json.to_string());
        }
    }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    /// A year.
    const MAX: f64 = 60.0 * 24.0 * 365.0;
    let minutes = text.parse::<f64>().ok();
    let minutes = minutes.filter(|minutes| *minutes > 0.0 && *minutes <= MAX);
    minutes.ok_or_else(|| "a number of minutes, such as 0.5 or 30".to_owned())
}
