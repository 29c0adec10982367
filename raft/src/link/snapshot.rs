//! Sends one snapshot of one shard, on a connection of its own.

use futures_util::stream;
use kontiki_proto::node::SnapshotPart;
use kontiki_proto::node::raft_client::RaftClient;
use kontiki_proto::node::snapshot_part::Head;
use kontiki_storage::id::{NodeId, ReplicaId};

use super::NetworkFactory;
use crate::codec;
use crate::snapshot::{Rows, SnapshotData, checksum};
use crate::types::{Snapshot, Vote};

/// Why a snapshot was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("node {0} has no known address")]
    NoAddress(NodeId),
    #[error("only a snapshot of this node's own state can be sent")]
    NotLive,
    #[error("node {node} refused it: {why}")]
    Refused { node: NodeId, why: String },
    #[error("the answer of node {node} doesn't decode: {source}")]
    Answer { node: NodeId, source: codec::DecodeError },
    #[error("it can't be read: {0}")]
    Read(kontiki_storage::Error),
}

/// Parts of the snapshot, with the checksum so far. A read error ends the stream early and is kept
/// for the sender.
struct Parts {
    rows: Rows,
    head: Option<Head>,
    crc: u32,
    total: u64,
    done: bool,
    failed: std::sync::Arc<std::sync::Mutex<Option<kontiki_storage::Error>>>,
}

impl Parts {
    fn next(&mut self) -> Option<SnapshotPart> {
        if self.done {
            return None;
        }
        if self.head.is_some() {
            return Some(SnapshotPart { head: self.head.take(), ..SnapshotPart::default() });
        }
        match self.rows.next_part() {
            Ok(rows) => {
                self.done = rows.is_empty();
                self.crc = checksum(self.crc, &rows);
                self.total += rows.len() as u64;
                let (crc, rows_total, last) = (self.crc, self.total, self.done);
                Some(SnapshotPart { head: None, rows, crc, last, rows_total })
            }
            Err(error) => {
                *self.failed.lock().expect("nothing panics under this lock") = Some(error);
                self.done = true;
                None
            }
        }
    }
}

/// Sends a snapshot and returns the receiver's vote.
pub(crate) async fn send(
    factory: &NetworkFactory,
    target: ReplicaId,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<Vote, SendError> {
    let node = target.node();
    let link = factory.links.get(node).ok_or(SendError::NoAddress(node))?;
    let SnapshotData::Live(live) = snapshot.snapshot else { return Err(SendError::NotLive) };
    let head = Head {
        version: super::VERSION,
        cluster_id: factory.links.cluster(),
        shard: factory.shard.0,
        from: factory.own.0,
        to: target.0,
        vote: codec::encode_vote(&vote),
        meta: codec::encode_meta(&snapshot.meta),
    };
    let failed = std::sync::Arc::default();
    let parts = Parts {
        rows: Rows::new(live, factory.payloads.clone(), factory.snapshot_part_bytes),
        head: Some(head),
        crc: 0,
        total: 0,
        done: false,
        failed: std::sync::Arc::clone(&failed),
    };
    let parts = stream::unfold(parts, |mut parts| async move {
        let part = parts.next()?;
        Some((part, parts))
    });
    let mut client = RaftClient::new(factory.links.dialer().dial(&link.address()))
        .max_encoding_message_size(link.message_bytes_max)
        .max_decoding_message_size(link.message_bytes_max);
    tracing::info!(shard = %factory.shard, to = %target, at = ?snapshot.meta.last_log_id,
        "sending a snapshot");
    let sent = client.snapshot(parts).await;
    if let Some(error) = failed.lock().expect("nothing panics under this lock").take() {
        if error.is_corrupt() {
            factory.progress.unreadable.notify_one();
        }
        return Err(SendError::Read(error));
    }
    let done = sent
        .map_err(|status| SendError::Refused { node, why: status.message().to_owned() })?
        .into_inner();
    codec::decode_vote(done.reply).map_err(|source| SendError::Answer { node, source })
}
