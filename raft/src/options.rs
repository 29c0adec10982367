//! Limits and times of the consensus layer. Every queue, buffer and wait has its limit here.

use std::time::Duration;

use kontiki_storage::id::ShardId;
use serde::{Deserialize, Serialize};

/// Settings of one node's Raft. Milliseconds and bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How often a leader says that it is there.
    pub heartbeat_ms: u64,
    /// A heartbeat waits this long, but no more than a third of `heartbeat_ms`, for those of other
    /// shards to the same node, to share a message with them; 0: it doesn't.
    pub heartbeat_gather_ms: u64,
    /// Followers are told what is committed together with the next entries, or after so long. Those
    /// of the catalog, which acts on every node, are told at once. 0: all are.
    pub commit_gather_ms: u64,
    /// A follower that hears nothing for the leader's lease and at least this long stands for
    /// election.
    pub election_timeout_ms_min: u64,
    /// ... and at most this long. Also the length of the leader's lease: for so long after they
    /// have heard of it, followers elect nobody else. Where the connection to the leader's node is
    /// lost as well, they stand for election when it is over.
    pub election_timeout_ms_max: u64,
    /// Payloads below this size are stored inside the log and state rows, larger ones once, in
    /// segments.
    pub inline_bytes_max: usize,
    /// Commands are gathered into one entry up to this many bytes (a larger one goes alone).
    pub entry_bytes_max: usize,
    /// Commands in one entry.
    pub entry_commands_max: usize,
    /// Entries of one shard that are proposed and not applied; later commands are gathered.
    pub entries_in_flight_max: usize,
    /// Bytes of all commands of this node that wait or are in flight; over it: overloaded.
    pub proposals_bytes_max: usize,
    /// Bytes of recent entries kept in memory for followers and for apply, over all shards.
    pub tail_bytes_max: usize,
    /// Bytes of entries in one message to a follower (one entry at least).
    pub append_bytes_max: usize,
    /// Messages to one follower of one shard without an answer.
    pub append_window: usize,
    /// A follower that doesn't answer for so long is taken for unreachable.
    pub append_timeout_ms: u64,
    /// Frames that wait for one peer's connection.
    pub link_frames_max: usize,
    /// The largest message between nodes.
    pub link_message_bytes_max: usize,
    /// Entries that a shard's log keeps after they are applied, for followers that lag.
    pub log_entries_keep: u64,
    /// Bytes of entries that a shard's log keeps after they are applied.
    pub log_bytes_keep: u64,
    /// Log operations that wait for the disk.
    pub committer_queue_max: usize,
    /// Bytes written before one sync; more wait for the next one.
    pub commit_bytes_max: usize,
    /// Bytes of rows and payloads in one part of a snapshot.
    pub snapshot_part_bytes: usize,
    /// Below this much free disk, commands that carry records are refused; those that delete some
    /// are refused below `free_bytes_append_min` only.
    pub free_bytes_propose_min: u64,
    /// Below this much free disk, entries of a leader are refused as well.
    pub free_bytes_append_min: u64,
    /// When live payloads are moved out of segments that are mostly dead.
    pub compaction: kontiki_storage::compaction::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat_ms: 160,
            heartbeat_gather_ms: 40,
            commit_gather_ms: 20,
            election_timeout_ms_min: 300,
            election_timeout_ms_max: 340,
            inline_bytes_max: 4 << 10,
            entry_bytes_max: 1 << 20,
            entry_commands_max: 4096,
            entries_in_flight_max: 4,
            proposals_bytes_max: 128 << 20,
            tail_bytes_max: 64 << 20,
            append_bytes_max: 1 << 20,
            append_window: 32,
            append_timeout_ms: 5_000,
            link_frames_max: 4096,
            link_message_bytes_max: 80 << 20,
            log_entries_keep: 50_000,
            log_bytes_keep: 512 << 20,
            committer_queue_max: 65_536,
            commit_bytes_max: 16 << 20,
            snapshot_part_bytes: 1 << 20,
            free_bytes_propose_min: 512 << 20,
            free_bytes_append_min: 256 << 20,
            compaction: kontiki_storage::compaction::Options::default(),
        }
    }
}

/// A setting that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("raft.{field} = {value}: {why}")]
pub struct InvalidOption {
    /// Name of the setting.
    pub field: &'static str,
    /// What it is set to.
    pub value: u64,
    /// What it must be.
    pub why: &'static str,
}

impl Options {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that can't work, with the rule that it breaks.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        let rule = |ok: bool, field, value, why| {
            if ok { Ok(()) } else { Err(InvalidOption { field, value, why }) }
        };
        rule(self.heartbeat_ms >= 10, "heartbeat_ms", self.heartbeat_ms, "at least 10")?;
        rule(
            self.commit_gather_ms <= 1_000,
            "commit_gather_ms",
            self.commit_gather_ms,
            "at most 1,000: what isn't known to be committed isn't applied, and is kept in memory",
        )?;
        rule(
            self.election_timeout_ms_min * 2 >= self.heartbeat_ms * 3,
            "election_timeout_ms_min",
            self.election_timeout_ms_min,
            "at least one and a half times heartbeat_ms: with the lease before it, that is three \
             heartbeats, and fewer would depose healthy leaders",
        )?;
        rule(
            self.election_timeout_ms_max > self.election_timeout_ms_min,
            "election_timeout_ms_max",
            self.election_timeout_ms_max,
            "more than election_timeout_ms_min",
        )?;
        let counts = [
            ("entry_bytes_max", self.entry_bytes_max, 4096),
            ("entry_commands_max", self.entry_commands_max, 1),
            ("entries_in_flight_max", self.entries_in_flight_max, 1),
            ("proposals_bytes_max", self.proposals_bytes_max, 1 << 20),
            ("tail_bytes_max", self.tail_bytes_max, 1 << 20),
            ("append_bytes_max", self.append_bytes_max, 4096),
            ("append_window", self.append_window, 1),
            ("link_frames_max", self.link_frames_max, 64),
            ("link_message_bytes_max", self.link_message_bytes_max, 4 << 20),
            ("committer_queue_max", self.committer_queue_max, 64),
            ("commit_bytes_max", self.commit_bytes_max, 4096),
            ("snapshot_part_bytes", self.snapshot_part_bytes, 4096),
        ];
        for (field, value, least) in counts {
            rule(value >= least, field, value as u64, "too small to work")?;
        }
        rule(
            self.free_bytes_propose_min >= self.free_bytes_append_min,
            "free_bytes_propose_min",
            self.free_bytes_propose_min,
            "not less than free_bytes_append_min",
        )
    }

    /// How long after a quorum's answer a leader may rely on it: less than the shortest election
    /// timeout, for clocks that run a little faster.
    pub(crate) fn lease_ms(&self) -> u64 {
        self.election_timeout_ms_min * 9 / 10
    }

    /// How long commits of a shard wait for entries to travel with.
    pub(crate) fn commit_gather(&self, shard: ShardId) -> Duration {
        let at_once = shard == ShardId::CATALOG;
        Duration::from_millis(if at_once { 0 } else { self.commit_gather_ms })
    }

    /// openraft's own settings that follow from these.
    pub(crate) fn raft(&self, shard: ShardId) -> openraft::Config {
        openraft::Config {
            cluster_name: format!("shard-{shard}"),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_timeout_ms_min,
            election_timeout_max: self.election_timeout_ms_max,
            max_payload_entries: 1024,
            // A snapshot is a view of the engine and costs nothing to take; what is purged is
            // decided by `upkeep`, which knows the followers.
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(4096),
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: self.log_entries_keep.max(1),
            install_snapshot_timeout: 600_000,
            api_channel_size: Some(4096),
            notification_channel_size: Some(4096),
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            // A leader sends entries while it writes them. One that restarts may have lost what a
            // follower has: if it led on in the same term, it would write others in their place.
            enable_leader_restore: Some(false),
            backoff: "100ms".to_owned(),
            ..openraft::Config::default()
        }
    }
}
