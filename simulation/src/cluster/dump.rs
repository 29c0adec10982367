//! What the replicas have on their disks, for the checks that compare them.

use kontiki_raft::inspect;
use kontiki_storage::Error;

use super::Cluster;
use crate::check::{LogEntry, Replica};

impl Cluster {
    /// All replicas of the nodes that run; with or without their logs. A node whose disk was
    /// damaged on purpose is left out: what can't be read can't be compared.
    #[must_use]
    pub fn replicas(&self, with_logs: bool) -> Vec<Replica> {
        let mut all = Vec::new();
        let sound = |node: &u32| !self.damaged.contains(node) && !self.flipped.contains(node);
        for node in self.up().filter(sound) {
            // A replica that can't be read is damaged, and the liveness check hears of it.
            let _ = self.replicas_of(node, with_logs, &mut all);
        }
        all
    }

    fn replicas_of(&self, node: u32, with_logs: bool, all: &mut Vec<Replica>) -> Result<(), Error> {
        let disk = self.nodes[&node].disk();
        let view = disk.look();
        for (shard, replica) in inspect::replicas(&view)? {
            let state = inspect::state(&view, shard)?;
            let mut log = Vec::new();
            if with_logs {
                let entries = inspect::log(&view, shard)?;
                let row = |entry: inspect::LogEntry| LogEntry {
                    index: entry.index,
                    term: entry.term,
                    digest: entry.digest,
                };
                log = entries.into_iter().map(row).collect();
            }
            all.push(Replica {
                at: self.now(),
                node,
                shard: shard.0,
                replica: replica.0,
                applied: state.applied,
                state: state.digest,
                log,
            });
        }
        Ok(())
    }
}
