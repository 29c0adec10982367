//! All systems by turns, and what came of it.

use std::path::Path;

use anyhow::Context as _;

use crate::args::{Ground, PeersArgs, Who};
use crate::figures::Figures;
use crate::system::{Nats, Ours, RabbitMq, System};
use crate::table::{Found, Row, rows};
use crate::workload::Task;

/// A system that is there.
#[derive(Debug)]
enum Side {
    Ours,
    RabbitMq(std::path::PathBuf),
    Nats { server: std::path::PathBuf, sync_always: bool },
}

/// Runs everything that is asked for, and returns the table's rows, ours first. What it does at the
/// moment is told on standard error; so is a peer that isn't installed, with what to install, and a
/// run that fails: it goes on with the others. It may be interrupted: all processes end with it.
///
/// # Errors
/// It is interrupted, or ours has no run that succeeded.
pub async fn run(ground: &Ground, args: &PeersArgs) -> anyhow::Result<Vec<Row>> {
    anyhow::ensure!(ground.record_bytes >= 8, "a record has 8 bytes at least: its time");
    tokio::select! {
        rows = all(ground, args) => rows,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
}

async fn all(ground: &Ground, args: &PeersArgs) -> anyhow::Result<Vec<Row>> {
    let sides = sides(args);
    let tasks = Task::all(args);
    let mut found = Vec::new();
    for side in &sides {
        found.push(side.found().await?);
    }
    for repetition in 0..args.repetitions.max(1) {
        for (side, found) in sides.iter().zip(&mut found) {
            let told = format!("{} of {}: {}", repetition + 1, args.repetitions, found.peer);
            let mut note = |task: Task, figures: Figures| {
                let runs = found.runs.entry(task.name(args)).or_default();
                runs.insert(repetition, figures);
            };
            // What has failed may have left anything behind; the next side has its own cluster.
            if let Err(error) = side.run(ground, args, &tasks, &told, &mut note).await {
                eprintln!("{told} has failed: {error:#}");
            }
        }
    }
    anyhow::ensure!(!found[0].runs.is_empty(), "ours has failed, so there is nothing to compare");
    let names: Vec<String> = tasks.iter().map(|task| task.name(args)).collect();
    Ok(rows(&names, &found))
}

/// Ours, and the peers that are installed.
fn sides(args: &PeersArgs) -> Vec<Side> {
    let mut sides = vec![Side::Ours];
    for who in &args.peers {
        let side = match who {
            Who::Rabbitmq => args.rabbitmq().map(Side::RabbitMq),
            Who::NatsSync => args.nats().map(|server| Side::Nats { server, sync_always: true }),
            Who::Nats => args.nats().map(|server| Side::Nats { server, sync_always: false }),
        };
        match side {
            Ok(side) => sides.push(side),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    sides
}

impl Side {
    async fn found(&self) -> anyhow::Result<Found> {
        let (peer, durability) = match self {
            Self::Ours => ("kontiki".to_owned(), "quorum, fsync"),
            Self::RabbitMq(server) => {
                let version = version(&server.with_file_name("rabbitmqctl"), "version").await?;
                (format!("RabbitMQ {version}"), "quorum, fsync")
            }
            Self::Nats { server, sync_always } => {
                let version = version(server, "--version").await?;
                let durability =
                    if *sync_always { "quorum, fsync" } else { "quorum, fsync every 2 min" };
                (format!("NATS {version}"), durability)
            }
        };
        Ok(Found { peer, durability, ..Found::default() })
    }

    async fn run(
        &self,
        ground: &Ground,
        args: &PeersArgs,
        tasks: &[Task],
        told: &str,
        note: &mut impl FnMut(Task, Figures),
    ) -> anyhow::Result<()> {
        eprintln!("{told}: starts");
        match self {
            Self::Ours => {
                let mut system = Ours::start(ground).await?;
                work(&mut system, ground, args, tasks, told, note).await
            }
            Self::RabbitMq(server) => {
                let mut system = RabbitMq::start(ground, server).await?;
                work(&mut system, ground, args, tasks, told, note).await
            }
            Self::Nats { server, sync_always } => {
                let mut system = Nats::start(ground, server, *sync_always).await?;
                work(&mut system, ground, args, tasks, told, note).await
            }
        }
    }
}

async fn work<S: System>(
    system: &mut S,
    ground: &Ground,
    args: &PeersArgs,
    tasks: &[Task],
    told: &str,
    note: &mut impl FnMut(Task, Figures),
) -> anyhow::Result<()> {
    for task in tasks {
        let name = task.name(args);
        eprintln!("{told}: {name}");
        let figures = task.run(system, ground, args).await.with_context(|| name.clone())?;
        note(*task, figures);
    }
    Ok(())
}

/// The last word of what a program says about itself.
async fn version(program: &Path, argument: &str) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(program).arg(argument).output().await;
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = text.split_whitespace().next_back().unwrap_or("of unknown version");
    Ok(word.trim_start_matches('v').to_owned())
}
