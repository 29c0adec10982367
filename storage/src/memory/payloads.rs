//! Payload segments in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Condition, Disk};
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::{PayloadLocation, PayloadStats, Payloads, SegmentInfo, SegmentPin};
use crate::pins::Pins;

/// Bytes in front of the first frame of a segment, and of each payload.
const HEADER_BYTES: u64 = 20;

/// Limits of the segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Bytes of a segment; no payload may be larger.
    pub segment_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

#[derive(Debug)]
struct Frame {
    payload: Bytes,
    crc: u32,
}

#[derive(Debug)]
struct Segment {
    sealed: bool,
    bytes: u64,
    frames: BTreeMap<u32, Frame>,
}

impl Segment {
    fn new() -> Self {
        Self { sealed: false, bytes: HEADER_BYTES, frames: BTreeMap::new() }
    }
}

/// The payloads of a disk.
#[derive(Debug, Default)]
pub(super) struct PayloadsDevice {
    pub(super) condition: Condition,
    segments: BTreeMap<SegmentId, Segment>,
    /// The last segment that was ever there.
    last: SegmentId,
    /// Calls that appended.
    appends: u64,
    /// What the calls appended that are not synced.
    unsynced: VecDeque<(u64, Vec<PayloadLocation>)>,
    appended_bytes: u64,
}

impl PayloadsDevice {
    pub(super) fn locations(&self) -> Vec<PayloadLocation> {
        let mut all = Vec::new();
        for (segment, frames) in &self.segments {
            all.extend(frames.frames.iter().map(|(offset, frame)| PayloadLocation {
                segment: *segment,
                offset: *offset,
                length: u32::try_from(frame.payload.len()).expect("a payload fits in a segment"),
                crc: frame.crc,
            }));
        }
        all
    }

    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn crash(&mut self, keep: usize) {
        self.condition.reopen();
        self.lose(keep);
    }

    fn lose(&mut self, keep: usize) {
        while self.unsynced.len() > keep {
            let (_, locations) = self.unsynced.pop_back().expect("it is longer than that");
            for at in locations.into_iter().rev() {
                let segment = self.segments.get_mut(&at.segment);
                if let Some(segment) = segment
                    && segment.frames.remove(&at.offset).is_some()
                {
                    segment.bytes = u64::from(at.offset);
                }
            }
        }
        self.unsynced.clear();
    }

    fn open(&mut self) -> u64 {
        let (epoch, lost) = self.condition.reopen();
        if lost {
            self.lose(0);
        }
        self.segments.retain(|_, segment| !segment.frames.is_empty());
        self.appended_bytes = 0;
        self.roll();
        epoch
    }

    fn roll(&mut self) {
        for segment in self.segments.values_mut() {
            segment.sealed = true;
        }
        self.last.0 += 1;
        self.segments.insert(self.last, Segment::new());
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.get_mut(&self.last).expect("the last segment isn't removed")
    }

    fn append(&mut self, payload: &Bytes, limit: u32) -> PayloadLocation {
        let size = HEADER_BYTES + payload.len() as u64;
        if self.active().bytes + size > u64::from(limit) {
            self.roll();
        }
        let id = self.last;
        self.appended_bytes += size;
        let segment = self.active();
        let location = PayloadLocation {
            segment: id,
            offset: u32::try_from(segment.bytes).expect("segments are below 4 GiB"),
            length: u32::try_from(payload.len()).expect("a payload fits in a segment"),
            crc: crc32c::crc32c(payload),
        };
        segment.bytes += size;
        let frame = Frame { payload: payload.clone(), crc: location.crc };
        segment.frames.insert(location.offset, frame);
        location
    }

    fn read(&self, at: PayloadLocation) -> Result<Bytes, Error> {
        let missing = Error::NoPayload { segment: at.segment, offset: at.offset };
        let Some(segment) = self.segments.get(&at.segment) else { return Err(missing) };
        let what = || format!("payload at {} of segment {}", at.offset, at.segment);
        let Some(frame) = segment.frames.get(&at.offset) else {
            // Beyond the end nothing was ever written, or it was lost.
            let beyond = u64::from(at.offset) >= segment.bytes;
            let corrupt = || Error::corrupt(what(), "no frame starts there");
            return Err(if beyond { missing } else { corrupt() });
        };
        if frame.payload.len() as u64 != u64::from(at.length) || frame.crc != at.crc {
            return Err(Error::corrupt(what(), "another payload is there"));
        }
        if crc32c::crc32c(&frame.payload) != at.crc {
            return Err(Error::corrupt(what(), "its CRC doesn't match"));
        }
        Ok(frame.payload.clone())
    }

    pub(super) fn corrupt(&mut self, at: PayloadLocation) -> bool {
        let segment = self.segments.get_mut(&at.segment);
        let Some(frame) = segment.and_then(|segment| segment.frames.get_mut(&at.offset)) else {
            return false;
        };
        let mut damaged = frame.payload.to_vec();
        let middle = damaged.len() / 2;
        let Some(byte) = damaged.get_mut(middle) else { return false };
        *byte ^= 1;
        frame.payload = damaged.into();
        true
    }
}

/// Payload segments in memory.
#[derive(Debug)]
pub struct MemoryPayloads {
    disk: Disk,
    epoch: u64,
    options: Options,
    pins: Arc<Pins>,
}

impl MemoryPayloads {
    /// Opens the payloads of a disk and starts a new segment; stores that were opened on it
    /// before are stale.
    #[must_use]
    pub fn open(disk: &Disk, options: Options) -> Arc<Self> {
        let epoch = disk.payloads().open();
        Arc::new(Self { disk: disk.clone(), epoch, options, pins: Arc::default() })
    }
}

impl Payloads for MemoryPayloads {
    fn append(&self, shard: ShardId, payloads: &[Bytes]) -> Result<Vec<PayloadLocation>, Error> {
        let _ = shard;
        let mut device = self.disk.payloads();
        device.condition.writable(self.epoch)?;
        let limit = u64::from(self.options.segment_bytes).saturating_sub(2 * HEADER_BYTES);
        if let Some(large) = payloads.iter().find(|payload| payload.len() as u64 > limit) {
            return Err(Error::TooLarge { what: "a payload", size: large.len() as u64, limit });
        }
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        device.condition.space("append of payloads")?;
        let segment_bytes = self.options.segment_bytes;
        let locations: Vec<_> =
            payloads.iter().map(|payload| device.append(payload, segment_bytes)).collect();
        device.appends += 1;
        let append = (device.appends, locations.clone());
        device.unsynced.push_back(append);
        Ok(locations)
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        // Before the future is polled: a sync covers what was appended before the call.
        let (appends, delay) = {
            let device = self.disk.payloads();
            (device.appends, device.condition.switches.delay)
        };
        Box::pin(async move {
            self.disk.payloads().condition.writable(self.epoch)?;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let mut device = self.disk.payloads();
            if device.condition.synced(self.epoch, "payloads")? {
                while device.unsynced.front().is_some_and(|(append, _)| *append <= appends) {
                    device.unsynced.pop_front();
                }
            }
            Ok(())
        })
    }

    fn read(&self, location: PayloadLocation) -> Result<Bytes, Error> {
        let device = self.disk.payloads();
        device.condition.alive(self.epoch)?;
        device.read(location)
    }

    fn pin(&self) -> SegmentPin {
        self.pins.pin(|| self.disk.payloads().last)
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let device = self.disk.payloads();
        let info = |(id, segment): (&SegmentId, &Segment)| SegmentInfo {
            id: *id,
            sealed: segment.sealed,
            bytes: segment.bytes,
        };
        device.segments.iter().map(info).collect()
    }

    fn remove(&self, segment: SegmentId) -> Result<bool, Error> {
        let removed = self.pins.unless_pinned(segment, || {
            let mut device = self.disk.payloads();
            device.condition.writable(self.epoch)?;
            if device.segments.get(&segment).is_some_and(|found| found.sealed) {
                device.segments.remove(&segment);
                return Ok(true);
            }
            Ok(false)
        });
        removed.unwrap_or(Ok(false))
    }

    fn stats(&self) -> PayloadStats {
        let device = self.disk.payloads();
        PayloadStats {
            segments: device.segments.len() as u64,
            disk_bytes: device.segments.values().map(|segment| segment.bytes).sum(),
            appended_bytes: device.appended_bytes,
            syncs: device.condition.syncs,
            free_bytes: device.condition.free_bytes(),
        }
    }
}
