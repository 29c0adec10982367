//! What replicas have on a disk, read without them: for checks that compare replicas.

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::{ReplicaId, ShardId};
use kontiki_storage::key;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Error, Family, View};

use crate::codec;
use crate::digest::{self, Digest};
use crate::snapshot::current_space;

/// An entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Of what it says, payloads included.
    pub digest: u64,
}

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The last entry that was applied to it; 0: none.
    pub applied: u64,
    /// Of all its rows, payloads included; where they are kept doesn't matter.
    pub digest: u64,
}

const ALL: ScanLimit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };

/// The replicas of a disk.
///
/// # Errors
/// Storage, and rows that don't decode.
pub fn replicas(view: &dyn View) -> Result<Vec<(ShardId, ReplicaId)>, Error> {
    let rows = view.scan(Family::State, key::replicas(), Order::Forward, ALL)?;
    let decode = |(row_key, value): (bytes::Bytes, bytes::Bytes)| {
        let replica = <[u8; 8]>::try_from(value.as_ref()).map(u64::from_be_bytes);
        match (key::replica_shard(&row_key), replica) {
            (Some(shard), Ok(replica)) => Ok((shard, ReplicaId(replica))),
            (_, _) => Err(Error::corrupt("a replica row", "it doesn't decode")),
        }
    };
    rows.into_iter().map(decode).collect()
}

/// The log of a shard, from the first entry that is there.
///
/// # Errors
/// Storage, and rows that don't decode.
pub fn log(view: &dyn View, shard: ShardId) -> Result<Vec<LogEntry>, Error> {
    let range = key::raft_entries(shard, 0, u64::MAX);
    let rows = view.scan(Family::Log, range, Order::Forward, ALL)?;
    let decode = |(_, row)| {
        let entry = codec::decode_row(row)
            .map_err(|error| Error::corrupt("a log row", error.to_string()))?;
        let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
        Ok(LogEntry { index, term, digest: digest::entry(&entry) })
    };
    rows.into_iter().map(decode).collect()
}

/// The state of a shard.
///
/// # Errors
/// Storage, and rows that don't decode.
pub fn state(view: &dyn View, shard: ShardId) -> Result<State, Error> {
    let space = current_space(view, shard)?;
    let applied = view.get(Family::State, &key::applied(space))?.map(codec::decode_applied);
    let applied = applied
        .transpose()
        .map_err(|error| Error::corrupt("an applied row", error.to_string()))?
        .and_then(|applied| applied.log_id)
        .map_or(0, |id| id.index);
    let mut digest = Digest::new();
    for range in key::snapshot_ranges(space) {
        for (row_key, value) in view.scan(Family::State, range, Order::Forward, ALL)? {
            digest.add(key::strip_space(&row_key));
            if !key::owns_payload(&row_key) {
                digest.add(&value);
                continue;
            }
            let mut row = BatchRow::decode(&value)?;
            let (length, crc) = match &row.payload {
                PayloadRef::Stored(location) => (u64::from(location.length), location.crc),
                PayloadRef::Inline(bytes) => (bytes.len() as u64, crc32c::crc32c(bytes)),
            };
            row.payload = PayloadRef::Inline(bytes::Bytes::new());
            digest.add(&row.encode());
            digest.word(length);
            digest.word(crc.into());
        }
    }
    Ok(State { applied, digest: digest.finish() })
}

/// Whether a row belongs to a replica, which can be rebuilt from others; and not to the node.
#[must_use]
pub fn is_of_a_replica(row_key: &[u8]) -> bool {
    let shard = row_key.get(..4).and_then(|shard| shard.try_into().ok()).map(u32::from_be_bytes);
    shard.is_some_and(|shard| shard != ShardId::NODE.0)
}
