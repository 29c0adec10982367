//! Snapshots: a range copy of a shard's rows at one view of the engine, with their payloads,
//! streamed in bounded parts into a new generation of the receiver's state.
//!
//! While a snapshot comes in, the old generation goes on to serve. The switch is one row. Parts
//! carry a checksum over everything so far.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kontiki_proto::node::snapshot_part::Row;
use kontiki_storage::engine::{Engine, KeyRange, Order, ScanLimit};
use kontiki_storage::id::ShardId;
use kontiki_storage::key::{self, Space};
use kontiki_storage::payload::{PayloadRef, Payloads, SegmentPin};
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Accounting, Error, Family, View, WriteBatch};

use crate::committer::CommitQueue;
use crate::mutant::{self, Mutant};

/// What a snapshot consists of, on either side.
pub(crate) enum SnapshotData {
    /// The sender's: a view, and the segments that it refers to kept from removal.
    Live(Live),
    /// The receiver's: rows in a generation that is not current yet.
    Staged(Staged),
}

/// A shard's state at one moment.
pub(crate) struct Live {
    pub(crate) view: Arc<dyn View>,
    pub(crate) space: Space,
    _pins: [SegmentPin; 2],
}

/// A received state. Until it is installed or dropped, no other one of its shard can come in: that
/// would be written to the same generation.
pub(crate) struct Staged {
    space: Space,
    _coming: Coming,
}

impl Staged {
    pub(crate) fn space(&self) -> Space {
        self.space
    }
}

type Shards = Arc<Mutex<BTreeSet<ShardId>>>;

/// A state of a shard is coming in, or waits to be installed, while this lives.
struct Coming {
    shard: ShardId,
    all: Shards,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.lock().expect("nothing panics under this lock").remove(&self.shard);
    }
}

/// The shard's current generation.
pub(crate) fn current_space(view: &dyn View, shard: ShardId) -> Result<Space, Error> {
    let row = view.get(Family::State, &key::generation(shard))?;
    let generation = match row {
        None => key::FIRST_GENERATION,
        Some(row) => key::decode_generation(&row)?,
    };
    Ok(Space { shard, generation })
}

/// Reads rows of a live snapshot, part by part.
pub(crate) struct Rows {
    live: Live,
    payloads: Arc<dyn Payloads>,
    ranges: std::vec::IntoIter<KeyRange>,
    current: Option<KeyRange>,
    part_bytes: usize,
}

impl Rows {
    pub(crate) fn new(live: Live, payloads: Arc<dyn Payloads>, part_bytes: usize) -> Self {
        let mut ranges = key::snapshot_ranges(live.space).into_iter();
        let current = ranges.next();
        Self { live, payloads, ranges, current, part_bytes }
    }

    /// The next rows; empty at the end.
    pub(crate) fn next_part(&mut self) -> Result<Vec<Row>, Error> {
        let mut part = Vec::new();
        let mut bytes = 0;
        while bytes < self.part_bytes {
            let Some(range) = self.current.clone() else { break };
            let limit = ScanLimit { rows: 64, bytes: self.part_bytes };
            let rows = self.live.view.scan(Family::State, range.clone(), Order::Forward, limit)?;
            let Some((last, _)) = rows.last() else {
                self.current = self.ranges.next();
                continue;
            };
            self.current = Some(range.after(last));
            for (row_key, value) in rows {
                if mutant::is(Mutant::ForgetProducersInSnapshot) && key::is_of_a_producer(&row_key)
                {
                    continue;
                }
                let row = self.row(&row_key, value)?;
                bytes +=
                    row.key.len() + row.value.len() + row.payload.as_ref().map_or(0, Bytes::len);
                part.push(row);
            }
        }
        Ok(part)
    }

    fn row(&self, row_key: &[u8], value: Bytes) -> Result<Row, Error> {
        let payload = if key::owns_payload(row_key) {
            match BatchRow::decode(&value)?.payload {
                PayloadRef::Stored(location) => Some(self.payloads.read(location)?),
                PayloadRef::Inline(_) => None,
            }
        } else {
            None
        };
        let key = Bytes::copy_from_slice(key::strip_space(row_key));
        Ok(Row { key, value, payload })
    }
}

/// Adds rows to the checksum that a part carries.
pub(crate) fn checksum(seed: u32, rows: &[Row]) -> u32 {
    rows.iter().fold(seed, |crc, row| {
        let crc = crc32c::crc32c_append(crc, &row.key);
        let crc = crc32c::crc32c_append(crc, &row.value);
        row.payload.as_ref().map_or(crc, |payload| crc32c::crc32c_append(crc, payload))
    })
}

/// Where snapshots come in.
#[derive(Clone)]
pub(crate) struct Staging {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) payloads: Arc<dyn Payloads>,
    pub(crate) accounting: Arc<Accounting>,
    pub(crate) queue: CommitQueue,
    coming: Shards,
}

impl Staging {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        payloads: Arc<dyn Payloads>,
        accounting: Arc<Accounting>,
        queue: CommitQueue,
    ) -> Self {
        Self { engine, payloads, accounting, queue, coming: Shards::default() }
    }

    /// The state of a shard as it is now. What the view refers to stays: a pin before it keeps what
    /// is there, and one after it the segments that were begun in between.
    pub(crate) fn live(&self, shard: ShardId) -> Result<Live, Error> {
        let before = self.payloads.pin();
        let view = self.engine.snapshot();
        let after = self.payloads.pin();
        let space = current_space(view.as_ref(), shard)?;
        Ok(Live { view, space, _pins: [before, after] })
    }

    /// Begins to receive a state: the generation after the current one, cleared of what an
    /// interrupted transfer has left there. `None`: another one is coming in, or waits to be
    /// installed.
    pub(crate) fn begin(&self, shard: ShardId) -> Result<Option<Incoming>, Error> {
        let all = Arc::clone(&self.coming);
        if !all.lock().expect("nothing panics under this lock").insert(shard) {
            return Ok(None);
        }
        let coming = Coming { shard, all };
        let current = current_space(self.engine.as_ref(), shard)?;
        let space = Space { shard, generation: current.generation + 1 };
        self.clear(space)?;
        Ok(Some(Incoming { staging: self.clone(), space, coming, crc: 0, rows: 0 }))
    }

    fn clear(&self, space: Space) -> Result<(), Error> {
        self.accounting.delete_space(self.engine.as_ref(), space)
    }

    /// Makes a received state the current one, durably, and removes the old one.
    pub(crate) async fn switch(&self, old: Space, staged: Staged) -> io::Result<()> {
        let new = staged.space;
        assert!(new.generation > old.generation, "a generation takes the place of an older one");
        let mut rows = WriteBatch::new();
        rows.put(Family::State, key::generation(new.shard), key::encode_generation(new.generation));
        // Payloads and rows of the new generation become durable no later than the switch.
        self.queue.write(rows, true).await.map_err(io::Error::other)?;
        self.clear(old).map_err(crate::error::io)
    }
}

/// A snapshot that comes in.
pub(crate) struct Incoming {
    staging: Staging,
    space: Space,
    coming: Coming,
    crc: u32,
    rows: u64,
}

/// Why a snapshot was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("checksum of the rows so far is {computed:#010x}, the sender says {stated:#010x}")]
    Checksum { computed: u32, stated: u32 },
    #[error("{received} rows arrived, the sender says {stated}")]
    Count { received: u64, stated: u64 },
    #[error(transparent)]
    Storage(#[from] Error),
}

impl Incoming {
    /// Stores one part's rows; their payloads go into this node's segments.
    pub(crate) fn part(&mut self, rows: Vec<Row>, stated: u32) -> Result<(), ReceiveError> {
        self.crc = checksum(self.crc, &rows);
        if self.crc != stated {
            return Err(ReceiveError::Checksum { computed: self.crc, stated });
        }
        self.rows += rows.len() as u64;
        let payloads: Vec<Bytes> = rows.iter().filter_map(|row| row.payload.clone()).collect();
        let stored = self.staging.payloads.append(self.space.shard, &payloads)?;
        // Nothing refers to them until the rows are written.
        let _pin = self.staging.payloads.pin();
        let mut stored = stored.into_iter();
        let mut batch = WriteBatch::new();
        for row in rows {
            let full_key = key::with_space(self.space, &row.key);
            let value = match row.payload {
                None => row.value,
                Some(_) => {
                    let location = stored.next().expect("every payload has got its location");
                    let mut moved = BatchRow::decode(&row.value)?;
                    moved.payload = PayloadRef::Stored(location);
                    batch.acquire(location, full_key.clone());
                    moved.encode()
                }
            };
            batch.put(Family::State, full_key, value);
        }
        self.staging.accounting.write(self.staging.engine.as_ref(), self.space, batch)?;
        Ok(())
    }

    /// All parts have come.
    pub(crate) fn finish(self, stated: u64) -> Result<SnapshotData, ReceiveError> {
        if self.rows != stated {
            return Err(ReceiveError::Count { received: self.rows, stated });
        }
        Ok(SnapshotData::Staged(Staged { space: self.space, _coming: self.coming }))
    }
}
