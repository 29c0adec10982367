//! Control records: the markers that end a transaction. They occupy an offset and are never shown
//! to an application.

use crate::{Error, RecordRef, wire::Reader};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlMarker {
    /// True if it was committed, false if it was aborted.
    pub committed: bool,
    /// Epoch of the transaction coordinator that decided.
    pub coordinator_epoch: i32,
}

impl ControlMarker {
    /// Key and value of the marker's record.
    #[must_use]
    pub fn encode(&self) -> ([u8; 4], [u8; 6]) {
        let kind = if self.committed { COMMIT } else { ABORT };
        let [v0, v1] = KEY_VERSION.to_be_bytes();
        let [k0, k1] = kind.to_be_bytes();
        let [w0, w1] = VALUE_VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        ([v0, v1, k0, k1], [w0, w1, e0, e1, e2, e3])
    }

    /// Reads the record of a control batch.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a kind that is neither commit nor abort.
    pub fn decode(record: &RecordRef<'_>) -> Result<Self, Error> {
        let mut key = Reader::new(record.key.unwrap_or_default());
        key.i16("control key version")?;
        let committed = match key.i16("control type")? {
            ABORT => false,
            COMMIT => true,
            other => {
                return Err(Error::Invalid {
                    field: "control type",
                    value: i64::from(other),
                    expected: "0 (abort) or 1 (commit)",
                });
            }
        };
        let mut value = Reader::new(record.value.unwrap_or_default());
        value.i16("control value version")?;
        Ok(Self { committed, coordinator_epoch: value.i32("coordinator_epoch")? })
    }
}
