//! Moves live payloads out of segments that are mostly dead. (API agreed; the body is to be written.)

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::engine::Engine;
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::Payloads;

/// When and how fast payloads are moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A sealed segment with a smaller live share than this is emptied. 0 to 1.
    pub live_share_min: f64,
    /// Bytes moved in one step.
    pub bytes_per_step: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { live_share_min: 0.5, bytes_per_step: 8 << 20 }
    }
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of payloads moved.
    pub moved_bytes: u64,
    /// Segments removed.
    pub removed_segments: u64,
    /// Shards with a payload that can't be read.
    pub damaged: Vec<ShardId>,
}

/// Empties and removes segments.
pub struct Compactor {
    engine: Arc<dyn Engine>,
    payloads: Arc<dyn Payloads>,
    accounting: Arc<Accounting>,
    options: Options,
}

impl Compactor {
    /// Over one node's storage.
    pub fn new(
        engine: Arc<dyn Engine>,
        payloads: Arc<dyn Payloads>,
        accounting: Arc<Accounting>,
        options: Options,
    ) -> Self {
        Self { engine, payloads, accounting, options }
    }

    /// One bounded step over the segments below `floor` (the first that a log may refer to).
    ///
    /// # Errors
    /// Storage errors.
    pub async fn step(
        &self,
        floor: Option<SegmentId>,
        with_shard_lock: &(dyn Fn(ShardId, &mut dyn FnMut()) + Send + Sync),
    ) -> Result<Progress, Error> {
        let _ = (&self.engine, &self.payloads, &self.accounting, &self.options);
        let _ = (floor, with_shard_lock);
        Ok(Progress::default())
    }
}
