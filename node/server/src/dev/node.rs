//! One node of the cluster: how it is started, and how all are stopped.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{Stream, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Longer than a node takes at most to stop in order (`server.stop_timeout_ms` and what follows).
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A node that may be started.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number.
    pub id: u16,
    /// For clients; the next two are for nodes and for pages.
    pub port: u16,
    /// This program.
    pub binary: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A node that was started.
#[derive(Debug)]
pub struct Running {
    /// Its number.
    pub id: u16,
    /// Its process.
    pub pid: u32,
    /// For clients.
    pub port: u16,
    /// Where its output goes.
    pub log: PathBuf,
    child: Child,
}

impl Node {
    /// Starts it; it ends when this process does.
    pub fn start(&self) -> anyhow::Result<Running> {
        let folder = self.log.parent().unwrap_or(&self.log);
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let child = Command::new(&self.binary)
            .args(&self.arguments)
            .arg(format!("--parent-pid={}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("a descriptor can't be copied")?)
            .stderr(log)
            // Ctrl-C of the terminal is for this process, which stops the nodes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("node {} can't be started", self.id))?;
        let pid = child.id().context("the node has ended at once")?;
        Ok(Running { id: self.id, pid, port: self.port, log: self.log.clone(), child })
    }

    /// Where its pages are.
    pub fn pages(&self) -> (u16, u16) {
        (self.id, self.port + 2)
    }

    /// What a shell starts it with.
    pub fn command_line(&self) -> String {
        let binary = self.binary.display().to_string();
        let words = std::iter::once(&binary).chain(&self.arguments);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Running {
    /// Resolves when it has ended.
    pub async fn ended(mut self) -> (u16, ExitStatus) {
        let status = self.child.wait().await;
        (self.id, status.expect("a child of this process can be waited for"))
    }
}

/// Stops nodes in order; those that don't end in time are killed when their futures are dropped.
pub async fn stop_all(
    pids: &[(u16, u32)],
    ends: &mut (impl Stream<Item = (u16, ExitStatus)> + Unpin),
) {
    for (_, pid) in pids {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
        // It may have ended by itself in this moment; until it is waited for, its number is its.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    }
    let all = async { while ends.next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
        eprintln!("some nodes don't stop: they are killed");
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("--set=raft.heartbeat_ms=1"), "--set=raft.heartbeat_ms=1");
        assert_eq!(quoted("my data"), "'my data'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
