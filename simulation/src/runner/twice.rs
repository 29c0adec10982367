//! `check-determinism`: each seed twice, in two processes; everything that happens must be the
//! same.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::child::{ChildArgs, Children, Ended};
use super::one::OneArgs;
use super::parallel::{Heard, Stop, in_parallel};
use super::scene::{Scene, Variant};
use super::scratch::Scratch;
use super::{Verdict, clock, terminal};
use crate::report::Finished;

/// Which seeds.
#[derive(Debug, Clone, Args)]
pub struct DeterminismArgs {
    /// How many seeds.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed; the others follow. By default fresh ones.
    #[arg(long, value_name = "NUMBER")]
    pub first_seed: Option<u64>,
    /// What the runs have in common.
    #[command(flatten)]
    pub variant: Variant,
    /// Their processes.
    #[command(flatten)]
    pub children: ChildArgs,
}

/// How often both are run again to find the place where they differ.
const TRIES: usize = 3;
/// Letters of a line that are shown.
const LETTERS: usize = 300;

/// Compares them.
///
/// # Errors
/// The simulation can't run at all.
pub fn run(args: &DeterminismArgs) -> anyhow::Result<Verdict> {
    let children = Children::new(&args.children)?;
    let first = args.first_seed.unwrap_or_else(clock::fresh_seed);
    terminal::aside(&format!(
        "profile {}, {} seeds from {first}",
        args.variant.profile, args.seeds
    ));
    let seeds = (0..args.seeds).map(|count| first.wrapping_add(count));
    let (mut same, mut events, mut different, mut unable) = (0_u64, 0_u64, None, None);
    let work = |seed, stop: &Stop| {
        let args = OneArgs { scene: args.variant.scene(seed), ..OneArgs::default() };
        (args.scene.clone(), children.run(&args, stop), children.run(&args, stop))
    };
    in_parallel(args.children.jobs(), seeds, work, |heard| {
        match heard {
            Heard::Done((scene, Ended::Finished(one), Ended::Finished(other))) => {
                if what_decides(&one) != what_decides(&other) {
                    different = Some(scene);
                    return ControlFlow::Break(());
                }
                same += 1;
                events += one.events;
            }
            Heard::Done((_, Ended::Unable(why), _) | (_, _, Ended::Unable(why))) => {
                unable = Some(why);
                return ControlFlow::Break(());
            }
            Heard::Done((_, Ended::Stopped, _) | (_, _, Ended::Stopped)) | Heard::Tick => {}
        }
        ControlFlow::Continue(())
    });
    if let Some(why) = unable {
        bail!("no run can be made: {why}");
    }
    let Some(scene) = different else {
        terminal::say(&format!("{same} seeds, each run twice: the same {events} events"));
        return Ok(Verdict::Passed);
    };
    terminal::say(&format!("seed {} is not the same twice", scene.seed));
    terminal::say(&where_they_differ(&children, &scene)?);
    Ok(Verdict::Failed)
}

/// What must be equal. The words of a process that died may hold addresses of memory.
fn what_decides(finished: &Finished) -> (u64, u64, u64, &Option<crate::check::Violation>, bool) {
    let Finished { hash, events, simulated_ms, violation, died, .. } = finished;
    (*hash, *events, *simulated_ms, violation, died.is_some())
}

fn where_they_differ(children: &Children, scene: &Scene) -> anyhow::Result<String> {
    let scratch = Scratch::new()?;
    let files: [PathBuf; 2] = ["one.jsonl", "other.jsonl"].map(|name| scratch.file(name));
    for _ in 0..TRIES {
        for file in &files {
            let trace = Some(file.clone());
            let args = OneArgs { scene: scene.clone(), trace, ..OneArgs::default() };
            let _how = children.run(&args, &Stop::default());
        }
        if let Some((number, one, other)) = first_difference(&files[0], &files[1])? {
            return Ok(format!("line {number} of their traces:\n  {one}\n  {other}"));
        }
    }
    Ok(format!("run {TRIES} times again with traces, it is the same each time"))
}

/// The first line in which two files differ, from 1, with both.
fn first_difference(one: &Path, other: &Path) -> anyhow::Result<Option<(u64, String, String)>> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("no trace {}", path.display()))?;
        anyhow::Ok(BufReader::new(file).lines())
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let next = |lines: &mut Lines<BufReader<File>>| lines.next().transpose();
    for number in 1.. {
        let lines = (next(&mut one)?, next(&mut other)?);
        if lines == (None, None) {
            return Ok(None);
        }
        if lines.0 != lines.1 {
            let shown = |line: Option<String>| -> String {
                let line = line.unwrap_or_else(|| "(it has ended)".to_owned());
                line.chars().take(LETTERS).collect()
            };
            return Ok(Some((number, shown(lines.0), shown(lines.1))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(one: &str, other: &str) -> Option<(u64, String, String)> {
        let scratch = Scratch::new().expect("there is room");
        let (a, b) = (scratch.file("a"), scratch.file("b"));
        std::fs::write(&a, one).expect("there is room");
        std::fs::write(&b, other).expect("there is room");
        first_difference(&a, &b).expect("both are there")
    }

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let found = difference("a\nb\nc\n", "a\nx\nc\n").expect("they differ");
        assert_eq!(found, (2, "b".to_owned(), "x".to_owned()));
        let found = difference("a\n", "a\nb\n").expect("they differ");
        assert_eq!(found, (2, "(it has ended)".to_owned(), "b".to_owned()));
    }

    #[test]
    fn a_run_is_the_same_only_with_the_same_events_and_the_same_end() {
        let one = Finished { hash: 1, events: 2, real_ms: 3, ..Finished::default() };
        assert_eq!(what_decides(&one), what_decides(&Finished { real_ms: 9, ..one.clone() }));
        let others = [
            Finished { hash: 9, ..one.clone() },
            Finished { events: 9, ..one.clone() },
            Finished { died: Some("so".to_owned()), ..one.clone() },
        ];
        for other in &others {
            assert_ne!(what_decides(&one), what_decides(other));
        }
    }
}
