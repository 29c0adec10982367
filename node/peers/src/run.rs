//! All systems by turns, and what came of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::args::{Ground, PeersArgs, Who};
use crate::figures::Figures;
use crate::system::{Nats, Ours, RabbitMq, System};
use crate::table::{Found, Row, rows};
use crate::workload::Task;

/// How long one workload of one repetition may take.
const TASK_MAX: Duration = Duration::from_secs(900);

/// A system that is there.
#[derive(Debug)]
enum Side {
    Ours,
    RabbitMq(PathBuf),
    Nats { server: PathBuf, sync_always: bool },
}

/// Runs everything that is asked for, and returns the table's rows, ours first. What it does at the
/// moment is told to `tell`; so is a peer that isn't installed, with what to install, and a run
/// that fails: it goes on with the others. It may be interrupted: all processes end with it.
///
/// # Errors
/// It is interrupted, or ours has no run that succeeded.
pub async fn run(
    ground: &Ground,
    args: &PeersArgs,
    tell: &dyn Fn(&str),
) -> anyhow::Result<Vec<Row>> {
    anyhow::ensure!(ground.record_bytes >= 8, "a record has 8 bytes at least: its time");
    tokio::select! {
        rows = all(ground, args, tell) => rows,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
}

async fn all(ground: &Ground, args: &PeersArgs, tell: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let (sides, mut found) = sides(args, tell).await.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let tasks = Task::all(args);
    for repetition in 0..ground.repetitions.max(1) {
        for (side, found) in sides.iter().zip(&mut found) {
            let whose = format!("{}, {}", found.peer, found.durability);
            let whose = format!("{} of {}: {whose}", repetition + 1, ground.repetitions);
            let told = |what: &str| tell(&format!("{whose}: {what}"));
            let mut note = |task: Task, figures: Figures| {
                let runs = found.runs.entry(task.name(args)).or_default();
                runs.insert(repetition, figures);
            };
            // What has failed may have left anything behind; the next side has its own cluster.
            if let Err(error) = side.run(ground, args, &tasks, &told, &mut note).await {
                told(&format!("failed: {error:#}"));
            }
        }
    }
    anyhow::ensure!(!found[0].runs.is_empty(), "ours has failed, so there is nothing to compare");
    let names: Vec<String> = tasks.iter().map(|task| task.name(args)).collect();
    Ok(rows(&names, &found))
}

/// Ours, and the peers that are installed, with nothing found yet.
async fn sides(args: &PeersArgs, tell: &dyn Fn(&str)) -> Vec<(Side, Found)> {
    let ours =
        Found { peer: "kontiki".to_owned(), durability: "quorum, fsync", ..Found::default() };
    let mut sides = vec![(Side::Ours, ours)];
    for who in &args.peers {
        match peer(args, *who).await {
            Ok(side) => sides.push(side),
            Err(error) => tell(&format!("left out: {error:#}")),
        }
    }
    sides
}

async fn peer(args: &PeersArgs, who: Who) -> anyhow::Result<(Side, Found)> {
    let (side, peer, durability) = match who {
        Who::Rabbitmq => {
            let server = args.rabbitmq()?;
            let peer = format!("RabbitMQ{}", rabbitmq_version(&server));
            (Side::RabbitMq(server), peer, "quorum, fsync")
        }
        Who::NatsSync | Who::Nats => {
            let (server, sync_always) = (args.nats()?, who == Who::NatsSync);
            let peer = format!("NATS {}", nats_version(&server).await?);
            let durability =
                if sync_always { "quorum, fsync" } else { "quorum, fsync every 2 min" };
            (Side::Nats { server, sync_always }, peer, durability)
        }
    };
    Ok((side, Found { peer, durability, ..Found::default() }))
}

impl Side {
    async fn run(
        &self,
        ground: &Ground,
        args: &PeersArgs,
        tasks: &[Task],
        told: &dyn Fn(&str),
        note: &mut impl FnMut(Task, Figures),
    ) -> anyhow::Result<()> {
        told("starts");
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
    told: &dyn Fn(&str),
    note: &mut impl FnMut(Task, Figures),
) -> anyhow::Result<()> {
    for task in tasks {
        let name = task.name(args);
        told(&name);
        let figures = tokio::time::timeout(TASK_MAX, task.run(system, ground, args)).await;
        let figures = figures.map_err(|_| anyhow::anyhow!("it takes more than {TASK_MAX:?}"));
        let figures = figures.flatten().with_context(|| name.clone())?;
        note(*task, figures);
    }
    Ok(())
}

/// From the folder that its script is really in: asking it would leave a daemon of Erlang's behind.
fn rabbitmq_version(server: &Path) -> String {
    let real = server.canonicalize().unwrap_or_default();
    let mut folders = real.components().filter_map(|folder| folder.as_os_str().to_str());
    let version = folders.find_map(|folder| folder.strip_prefix("rabbitmq_server-"));
    version.map_or_else(String::new, |version| format!(" {version}"))
}

/// The last word of what it says about itself.
async fn nats_version(server: &Path) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(server).arg("--version").output().await;
    let output = output.with_context(|| format!("starting {}", server.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = text.split_whitespace().next_back().unwrap_or("of unknown version");
    Ok(word.trim_start_matches('v').to_owned())
}
