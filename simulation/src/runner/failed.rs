//! What is done about a failure: faults that it doesn't need are left out, it is written down, and
//! a report is made of it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::child::{Children, Ended};
use super::one::OneArgs;
use super::parallel::{Heard, Stop, in_parallel};
use super::scene::Scene;
use super::scratch::Scratch;
use super::shrink::{Shrunk, shrink};
use super::{names, terminal};
use crate::report::{Details, Failure, Finished, timeline};

/// How faults are left out, and where what is known goes.
#[derive(Debug, Clone)]
pub struct ShrinkArgs {
    /// How many runs may be made; 0: none is left out.
    pub runs: usize,
    /// How many at a time.
    pub at_a_time: usize,
    /// The folder for what is known.
    pub folder: PathBuf,
}

/// Whoever looks at failures, one after the other.
pub struct Aftermath<'a> {
    children: &'a Children,
    args: ShrinkArgs,
    /// Ways of failing that one failure has been looked at closely for.
    known: BTreeSet<String>,
    /// What has been found out.
    pub failures: Vec<Failure>,
}

impl<'a> Aftermath<'a> {
    /// None has failed yet.
    #[must_use]
    pub fn new(children: &'a Children, args: ShrinkArgs) -> Self {
        Self { children, args, known: BTreeSet::new(), failures: Vec::new() }
    }

    /// Looks at a failure. Only the first one of its way of failing is looked at closely.
    ///
    /// # Errors
    /// What is known can't be written down.
    pub fn examine(&mut self, scene: Scene, finished: Finished) -> anyhow::Result<&Failure> {
        let way = finished.failure().context("this run has not failed")?;
        let is_new = self.known.insert(way.clone());
        let found = finished.plan.faults.len();
        let mut failure = Failure {
            promise: promise(&finished),
            replay: scene.replay_command(),
            found_faults: found,
            is_repetition: !is_new,
            finished,
            ..Failure::default()
        };
        if is_new {
            let (scene, shrunk) = self.shrunk(scene, &failure.finished, &way);
            failure.replay = scene.replay_command();
            failure.trials = shrunk.as_ref().map_or(0, |shrunk| shrunk.trials);
            failure.is_minimal = shrunk.is_some_and(|shrunk| shrunk.is_minimal);
            self.run_again(&scene, &way, &mut failure)?;
            write(&self.args.folder, &mut failure)?;
        }
        self.failures.push(failure);
        Ok(self.failures.last().expect("it was just put there"))
    }

    /// The scene without the faults that it fails without.
    fn shrunk(&self, scene: Scene, finished: &Finished, way: &str) -> (Scene, Option<Shrunk>) {
        let faults = &finished.plan.faults;
        if faults.is_empty() || self.args.runs == 0 {
            return (scene, None);
        }
        terminal::aside(&format!(
            "seed {} fails: {way}; trying which of {} faults it needs, at most {} runs",
            scene.seed,
            faults.len(),
            self.args.runs
        ));
        let all: Vec<usize> = faults.iter().map(|fault| fault.number).collect();
        let mut guesses = vec![Vec::new()];
        if let Some(at) = finished.violation.as_ref().and_then(|violation| violation.at) {
            let before = faults.iter().filter(|fault| fault.at <= at);
            guesses.push(before.map(|fault| fault.number).collect());
        }
        let without = |kept: &[usize]| Scene {
            drop: scene.drop.with(all.iter().copied().filter(|n| !kept.contains(n))),
            ..scene.clone()
        };
        let fails = |lists: &[Vec<usize>]| {
            let scenes: Vec<Scene> = lists.iter().map(|list| without(list)).collect();
            self.fail_in_this_way(&scenes, way)
        };
        let shrunk = shrink(&all, guesses, self.args.at_a_time, self.args.runs, fails);
        (without(&shrunk.kept), Some(shrunk))
    }

    fn fail_in_this_way(&self, scenes: &[Scene], way: &str) -> Vec<bool> {
        let mut fail = vec![false; scenes.len()];
        let work = |(place, scene): (usize, &Scene), stop: &Stop| {
            let args = OneArgs { scene: scene.clone(), ..OneArgs::default() };
            match self.children.run(&args, stop) {
                Ended::Finished(finished) => (place, finished.failure().as_deref() == Some(way)),
                Ended::Stopped | Ended::Unable(_) => (place, false),
            }
        };
        in_parallel(self.args.at_a_time, scenes.iter().enumerate(), work, |heard| {
            if let Heard::Done((place, fails)) = heard {
                fail[place] = fails;
            }
            ControlFlow::Continue(())
        });
        fail
    }

    /// Once more, for the events.
    fn run_again(&self, scene: &Scene, way: &str, failure: &mut Failure) -> anyhow::Result<()> {
        match watched(self.children, scene.clone(), None)? {
            (Ended::Finished(again), details) if again.failure().as_deref() == Some(way) => {
                failure.finished = *again;
                failure.details = details;
            }
            (Ended::Finished(_) | Ended::Stopped | Ended::Unable(_), _) => {
                failure.is_unsteady = true;
            }
        }
        Ok(())
    }
}

/// The sentence that a failure is about.
#[must_use]
pub fn promise(finished: &Finished) -> String {
    match &finished.violation {
        Some(violation) => names::promise(&violation.check).unwrap_or_default().to_owned(),
        None => "No node ever panics, and no run hangs.".to_owned(),
    }
}

/// Runs a scene, and brings its events. They may be missing where the process died.
///
/// # Errors
/// There is no room for files.
pub fn watched(
    children: &Children,
    scene: Scene,
    trace: Option<PathBuf>,
) -> anyhow::Result<(Ended, Option<Details>)> {
    let scratch = Scratch::new()?;
    let file = scratch.file("details.json");
    let args = OneArgs { scene, trace, evidence: None, details: Some(file.clone()) };
    let ended = children.run(&args, &Stop::default());
    let details = match fs::read(&file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).context("the events are no JSON")?),
        Err(_) => None,
    };
    Ok((ended, details))
}

/// Writes what is known of a failure into the folder.
fn write(folder: &Path, failure: &mut Failure) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let mut name = format!("seed-{}-{}", failure.finished.seed, failure.finished.profile);
    if let Some(mutant) = &failure.finished.mutant {
        name = format!("{name}-{mutant}");
    }
    let (json, html) = (folder.join(name.clone() + ".json"), folder.join(name + ".html"));
    let shown = failure.details.as_ref().map_or(&[][..], |details| &details.shown);
    let page = timeline::page(&failure.finished, shown, &failure.replay);
    failure.written = vec![json.clone(), html.clone()];
    let text = serde_json::to_string_pretty(&failure).context("a failure is plain data")?;
    for (path, text) in [(json, text), (html, page)] {
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
#[path = "failed_test.rs"]
mod tests;
