//! What decides a run: the seed, and what is given besides.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::names::{mutant_parser, profile_parser};
use super::numbers::Numbers;

/// What the runs of a batch have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Variant {
    /// Which faults happen, and how often.
    #[arg(long, default_value = "default", value_parser = profile_parser())]
    pub profile: String,
    /// How many nodes found the cluster: 3, 5 or 7. By default the seed decides.
    #[arg(long, value_parser = parse_nodes)]
    pub nodes: Option<u32>,
    /// A deliberate bug to arm.
    #[arg(long, value_name = "NAME", value_parser = mutant_parser())]
    pub mutant: Option<String>,
    /// How long faults and clients go on, in simulated milliseconds, where it is not the usual
    /// time.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_ms: Option<u64>,
}

impl Variant {
    /// One of the runs.
    #[must_use]
    pub fn scene(&self, seed: u64) -> Scene {
        Scene {
            seed,
            profile: self.profile.clone(),
            nodes: self.nodes,
            drop: Numbers::default(),
            mutant: self.mutant.clone(),
            duration_ms: self.duration_ms,
        }
    }
}

/// What decides a run: two with the same scene are the same, event for event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Scene {
    /// The seed.
    #[arg(long, value_name = "NUMBER")]
    pub seed: u64,
    /// Which faults happen, and how often.
    #[arg(long, default_value = "default", value_parser = profile_parser())]
    pub profile: String,
    /// How many nodes found the cluster: 3, 5 or 7. By default the seed decides.
    #[arg(long, value_parser = parse_nodes)]
    pub nodes: Option<u32>,
    /// Faults of the plan that are left out, by number, such as 0-3,7.
    #[arg(long, value_name = "NUMBERS", default_value = "", hide_default_value = true)]
    pub drop: Numbers,
    /// A deliberate bug to arm.
    #[arg(long, value_name = "NAME", value_parser = mutant_parser())]
    pub mutant: Option<String>,
    /// How long faults and clients go on, in simulated milliseconds, where it is not the usual
    /// time.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_ms: Option<u64>,
}

impl Scene {
    /// As it is written on a command line. What the seed decides is not written: given, it could
    /// be another run.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        add("--seed", self.seed.to_string());
        add("--profile", self.profile.clone());
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string());
        }
        if !self.drop.is_empty() {
            add("--drop", self.drop.to_string());
        }
        if let Some(mutant) = &self.mutant {
            add("--mutant", mutant.clone());
        }
        if let Some(duration_ms) = self.duration_ms {
            add("--duration-ms", duration_ms.to_string());
        }
        words
    }

    /// The command that runs it again. No word of it needs quotes.
    #[must_use]
    pub fn replay_command(&self) -> String {
        format!("kontiki sim replay {}", self.arguments().join(" "))
    }
}

fn parse_nodes(text: &str) -> Result<u32, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        "7" => Ok(7),
        _ => Err("clusters of 3, 5 and 7 nodes are simulated".to_owned()),
    }
}
