//! The one value whose layout storage itself must know: a record batch's row, because moving a
//! payload rewrites its location.
//!
//! ```text
//! [version u8 = 1][payload tag u8]
//!   tag 0: [length u32][bytes]                         inline
//!   tag 1: [segment u64][offset u32][length u32][crc u32]
//! [last_offset_delta u32][record_count u32][max_timestamp i64][running_max_timestamp i64]
//! [leader_epoch u64][append_time i64][producer tag u8]
//!   tag 1: [id u64][epoch i16][base_sequence i32]
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::Error;
use crate::id::{ProducerId, SegmentId};
use crate::payload::{PayloadLocation, PayloadRef};

/// Of the layout of rows.
pub const VERSION: u8 = 1;

/// Which idempotent producer wrote a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence of the first record.
    pub base_sequence: i32,
}

/// The row of a record batch. Its key has the partition and the first offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// The batch as it was produced.
    pub payload: PayloadRef,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: u32,
    /// Records in it.
    pub record_count: u32,
    /// The newest timestamp in it, milliseconds since 1970; -1 = none.
    pub max_timestamp: i64,
    /// The newest timestamp in it and in all batches before it.
    pub running_max_timestamp: i64,
    /// Raft term in which it was appended.
    pub leader_epoch: u64,
    /// The leader's time when it was appended, milliseconds since 1970.
    pub append_time: i64,
    /// Who wrote it, if its producer is idempotent.
    pub producer: Option<RowProducer>,
}

const INLINE: u8 = 0;
const STORED: u8 = 1;

impl BatchRow {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let inline = match &self.payload {
            PayloadRef::Inline(bytes) => bytes.len(),
            PayloadRef::Stored(_) => 16,
        };
        let mut out = BytesMut::with_capacity(64 + inline);
        out.put_u8(VERSION);
        match &self.payload {
            PayloadRef::Inline(bytes) => {
                out.put_u8(INLINE);
                let length = u32::try_from(bytes.len()).expect("inline payloads are small");
                out.put_u32(length);
                out.put_slice(bytes);
            }
            PayloadRef::Stored(location) => {
                out.put_u8(STORED);
                out.put_u64(location.segment.0);
                out.put_u32(location.offset);
                out.put_u32(location.length);
                out.put_u32(location.crc);
            }
        }
        out.put_u32(self.last_offset_delta);
        out.put_u32(self.record_count);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.running_max_timestamp);
        out.put_u64(self.leader_epoch);
        out.put_i64(self.append_time);
        match &self.producer {
            None => out.put_u8(0),
            Some(producer) => {
                out.put_u8(1);
                out.put_u64(producer.id.0);
                out.put_i16(producer.epoch);
                out.put_i32(producer.base_sequence);
            }
        }
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote; an inline payload shares the row's memory.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn decode(row: &Bytes) -> Result<Self, Error> {
        Self::read(&mut row.clone()).ok_or_else(|| {
            Error::corrupt("a batch row", format!("{} bytes don't decode", row.len()))
        })
    }

    fn read(row: &mut Bytes) -> Option<Self> {
        if row.try_get_u8().ok()? != VERSION {
            return None;
        }
        let payload = match row.try_get_u8().ok()? {
            INLINE => {
                let length = row.try_get_u32().ok()? as usize;
                (length <= row.len()).then(|| PayloadRef::Inline(row.split_to(length)))?
            }
            STORED => PayloadRef::Stored(PayloadLocation {
                segment: SegmentId(row.try_get_u64().ok()?),
                offset: row.try_get_u32().ok()?,
                length: row.try_get_u32().ok()?,
                crc: row.try_get_u32().ok()?,
            }),
            _ => return None,
        };
        let read = Self {
            payload,
            last_offset_delta: row.try_get_u32().ok()?,
            record_count: row.try_get_u32().ok()?,
            max_timestamp: row.try_get_i64().ok()?,
            running_max_timestamp: row.try_get_i64().ok()?,
            leader_epoch: row.try_get_u64().ok()?,
            append_time: row.try_get_i64().ok()?,
            producer: match row.try_get_u8().ok()? {
                0 => None,
                1 => Some(RowProducer {
                    id: ProducerId(row.try_get_u64().ok()?),
                    epoch: row.try_get_i16().ok()?,
                    base_sequence: row.try_get_i32().ok()?,
                }),
                _ => return None,
            },
        };
        row.is_empty().then_some(read)
    }
}
