//! `mutants`: is each deliberate bug noticed?

use std::ops::ControlFlow;

use anyhow::bail;
use clap::Args;

use super::child::{ChildArgs, Children, Ended};
use super::names::{self, mutant_parser, profile_parser};
use super::one::OneArgs;
use super::parallel::{Heard, Stop, in_parallel};
use super::scene::Variant;
use super::{Verdict, terminal};
use crate::report::Finished;

/// Which deliberate bugs, and how long they may stay unnoticed.
#[derive(Debug, Clone, Args)]
pub struct MutantsArgs {
    /// In how many seeds each must be noticed.
    #[arg(long, value_name = "NUMBER", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed; the others follow.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub first_seed: u64,
    /// Which faults happen, and how often.
    #[arg(long, default_value = "nemesis", value_parser = profile_parser())]
    pub profile: String,
    /// Only this one; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = mutant_parser())]
    pub mutant: Vec<String>,
    /// Their processes.
    #[command(flatten)]
    pub children: ChildArgs,
}

/// Looks for them.
///
/// # Errors
/// The simulation can't run at all.
pub fn run(args: &MutantsArgs) -> anyhow::Result<Verdict> {
    let children = Children::new(&args.children)?;
    let mut mutants = args.mutant.clone();
    if mutants.is_empty() {
        mutants = names::mutants().into_iter().map(str::to_owned).collect();
    }
    let width = mutants.iter().map(String::len).max().unwrap_or_default();
    let mut verdict = Verdict::Passed;
    for mutant in mutants {
        let (seeds, noticed) = search(args, &children, &mutant)?;
        let how = match &noticed {
            Some(finished) => noticed_by(finished, seeds),
            None => format!("NOT NOTICED in {seeds} seeds"),
        };
        terminal::say(&format!("{mutant:width$}  {how}"));
        if noticed.is_none() {
            verdict = Verdict::Failed;
        }
    }
    Ok(verdict)
}

fn noticed_by(finished: &Finished, seeds: u64) -> String {
    let way = finished.failure().unwrap_or_default();
    format!("noticed after {seeds} seeds, by {way} (seed {})", finished.seed)
}

/// How many seeds were run, and the one that noticed.
fn search(
    args: &MutantsArgs,
    children: &Children,
    mutant: &str,
) -> anyhow::Result<(u64, Option<Finished>)> {
    let variant = Variant {
        profile: args.profile.clone(),
        mutant: Some(mutant.to_owned()),
        ..Variant::default()
    };
    let (mut seeds, mut noticed, mut unable) = (0, None, None);
    let work = |count, stop: &Stop| {
        let scene = variant.scene(args.first_seed.wrapping_add(count));
        children.run(&OneArgs { scene, ..OneArgs::default() }, stop)
    };
    in_parallel(args.children.jobs(), 0..args.seeds, work, |heard| {
        match heard {
            Heard::Done(Ended::Finished(finished)) => {
                seeds += 1;
                if finished.failure().is_some() {
                    noticed = Some(*finished);
                }
            }
            Heard::Done(Ended::Unable(why)) => unable = Some(why),
            Heard::Done(Ended::Stopped) | Heard::Tick => {}
        }
        let is_enough = noticed.is_some() || unable.is_some();
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match unable {
        Some(why) => bail!("no run can be made: {why}"),
        None => Ok((seeds, noticed)),
    }
}
