//! `one`: a run in the process of its own. Not for people: `replay` is.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::scene::Scene;
use super::{Verdict, orphan, terminal};
use crate::report::Plan;

/// What a process is to run, and what it writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct OneArgs {
    /// What decides the run.
    #[command(flatten)]
    pub scene: Scene,
    /// Everything that happens goes there, one JSON object on each line.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// What the checks are given goes there, as JSON.
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
    /// What a report needs of the events goes there, as JSON.
    #[arg(long, value_name = "FILE")]
    pub details: Option<PathBuf>,
}

impl OneArgs {
    /// As it is written on a command line.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut words = self.scene.arguments();
        for (flag, file) in
            [("--trace", &self.trace), ("--evidence", &self.evidence), ("--details", &self.details)]
        {
            if let Some(file) = file {
                words.extend([flag.to_owned(), file.display().to_string()]);
            }
        }
        words
    }
}

/// What a run says before it begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Announced {
    /// What the seed has decided.
    pub plan: Plan,
}

/// Says what the seed has decided, before it happens: whoever waits then knows which faults there
/// are, even if this process dies of them.
pub fn announce(plan: &Plan) {
    let line = serde_json::to_string(&Announced { plan: plan.clone() });
    terminal::say(&line.expect("a plan is plain data"));
}

/// Runs it here. The outcome is in what is printed: a broken promise is a success of this process.
///
/// # Errors
/// The run can't be made, or a file can't be written.
pub fn run(args: &OneArgs) -> anyhow::Result<Verdict> {
    orphan::end_with_parent();
    let (finished, details) = crate::run::one(args)?;
    if let Some(path) = &args.details {
        let write = || -> anyhow::Result<()> {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer(&mut file, &details)?;
            Ok(file.flush()?)
        };
        write().with_context(|| format!("{} can't be written", path.display()))?;
    }
    terminal::say(&serde_json::to_string(&finished).context("the outcome is no JSON")?);
    Ok(Verdict::Passed)
}
