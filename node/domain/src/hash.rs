//! One number for the whole state of a shard, the same on every replica that has applied the same
//! commands. To compare replicas in tests and in simulation; not a checksum against damage.
//!
//! Where a payload is (inside the row, or in which segment) differs between nodes, so its length
//! and CRC32C stand for it. What the Raft layer notes about itself is left out.

use kontiki_storage::engine::{Order, ScanLimit};
use kontiki_storage::id::SegmentId;
use kontiki_storage::key::{self, Space};
use kontiki_storage::payload::{PayloadLocation, PayloadRef};
use kontiki_storage::row::BatchRow;
use kontiki_storage::{Error, Family, View};

/// Rows read in one step, and the most bytes of them.
const STEP: ScanLimit = ScanLimit { rows: 1_024, bytes: 4 << 20 };

/// The hash of all rows of a state.
///
/// # Errors
/// Of storage.
pub fn state_hash(view: &dyn View, space: Space) -> Result<u64, Error> {
    let applied = key::applied(space);
    let mut hash = Fnv::default();
    for mut range in key::snapshot_ranges(space) {
        loop {
            let rows = view.scan(Family::State, range.clone(), Order::Forward, STEP)?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (row_key, value) in &rows {
                if *row_key == applied {
                    continue;
                }
                hash.field(key::strip_space(row_key));
                if key::owns_payload(row_key) {
                    hash.field(&placeless(BatchRow::decode(value)?).encode());
                } else {
                    hash.field(value);
                }
            }
        }
    }
    Ok(hash.0)
}

/// The row without the place of its payload.
fn placeless(row: BatchRow) -> BatchRow {
    let (length, crc) = match &row.payload {
        PayloadRef::Inline(bytes) => {
            let length = u32::try_from(bytes.len()).expect("inline payloads are small");
            (length, crc32c::crc32c(bytes))
        }
        PayloadRef::Stored(location) => (location.length, location.crc),
    };
    let nowhere = PayloadLocation { segment: SegmentId(0), offset: 0, length, crc };
    BatchRow { payload: PayloadRef::Stored(nowhere), ..row }
}

/// FNV-1a of 64 bits, over fields with their lengths.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn field(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).expect("a length in memory fits 64 bits");
        for byte in length.to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
