//! `mutants`: is each deliberate bug noticed? A seed that fails in the same way without the bug has
//! noticed something else, and doesn't count.

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

/// What a seed says of a deliberate bug.
enum Trial {
    /// It fails because of it.
    Noticed(Box<Finished>),
    /// It passes, or fails in the same way without it.
    Silent,
    /// It was ended because nobody wants to know any more.
    Stopped,
    /// It can't be run.
    Unable(String),
}

impl Trial {
    /// Of a run that failed with the bug, and the same one without it.
    fn of(with: Box<Finished>, without: Ended) -> Self {
        match without {
            Ended::Finished(without) if without.failure() == with.failure() => Self::Silent,
            Ended::Finished(_) => Self::Noticed(with),
            Ended::Stopped => Self::Stopped,
            Ended::Unable(why) => Self::Unable(why),
        }
    }
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
    let without = Variant { mutant: None, ..variant.clone() };
    let work = |count, stop: &Stop| {
        let seed = args.first_seed.wrapping_add(count);
        let run = |variant: &Variant| {
            let scene = variant.scene(seed);
            children.run(&OneArgs { scene, ..OneArgs::default() }, stop)
        };
        match run(&variant) {
            Ended::Finished(with) if with.failure().is_some() => Trial::of(with, run(&without)),
            Ended::Finished(_) => Trial::Silent,
            Ended::Stopped => Trial::Stopped,
            Ended::Unable(why) => Trial::Unable(why),
        }
    };
    in_parallel(args.children.jobs(), 0..args.seeds, work, |heard| {
        match heard {
            Heard::Done(Trial::Noticed(finished)) => {
                seeds += 1;
                noticed = Some(*finished);
            }
            Heard::Done(Trial::Silent) => seeds += 1,
            Heard::Done(Trial::Unable(why)) => unable = Some(why),
            Heard::Done(Trial::Stopped) | Heard::Tick => {}
        }
        let is_enough = noticed.is_some() || unable.is_some();
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match unable {
        Some(why) => bail!("no run can be made: {why}"),
        None => Ok((seeds, noticed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(died: Option<&str>) -> Box<Finished> {
        let died = died.map(str::to_owned);
        Box::new(Finished { died, ..Finished::default() })
    }

    #[test]
    fn what_fails_anyway_has_not_noticed_the_bug() {
        let with = || ended(Some("exit status: 101"));
        let same = Trial::of(with(), Ended::Finished(with()));
        assert!(matches!(same, Trial::Silent));
        let sound = Trial::of(with(), Ended::Finished(ended(None)));
        assert!(matches!(sound, Trial::Noticed(_)));
        assert!(matches!(Trial::of(with(), Ended::Stopped), Trial::Stopped));
    }
}
