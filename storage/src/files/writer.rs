//! Where payloads are appended.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::{self, Directory};
use super::format::{self, FILE_HEADER_BYTES};
use super::table::Table;
use super::{Options, transfer};
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::PayloadLocation;

/// The segment that is appended to.
#[derive(Debug)]
struct Active {
    id: SegmentId,
    file: Arc<File>,
    end: u64,
    /// It is sealed before it grows beyond this.
    limit: u64,
    /// It is in [`Unsynced`].
    dirty: bool,
}

/// What a sync has to make durable.
#[derive(Debug, Default)]
pub struct Unsynced {
    /// Files with payloads, oldest first.
    pub files: Vec<(SegmentId, Arc<File>)>,
    /// Files were created.
    pub directory: bool,
}

/// Appends to the newest segment and begins new ones.
#[derive(Debug)]
pub struct Writer {
    active: Option<Active>,
    /// The newest segment that there ever was.
    last: SegmentId,
    unsynced: Unsynced,
}

impl Writer {
    /// Begins after the segments that are there.
    pub fn new(last: SegmentId) -> Self {
        Self { active: None, last, unsynced: Unsynced::default() }
    }

    /// Appends go to another file from now on; returns the one before.
    #[cfg(test)]
    pub fn replace_file(&mut self, file: impl Into<Arc<File>>) -> Arc<File> {
        let active = self.active.as_mut().expect("there is one");
        active.dirty = false;
        std::mem::replace(&mut active.file, file.into())
    }

    /// What was appended, and created, since this was called before.
    pub fn take_unsynced(&mut self) -> Unsynced {
        if self.unsynced.files.is_empty() {
            return Unsynced::default();
        }
        if let Some(active) = &mut self.active {
            active.dirty = false;
        }
        std::mem::take(&mut self.unsynced)
    }

    /// Whether names have to be made durable; they count as durable afterwards.
    pub fn take_directory(&mut self) -> bool {
        std::mem::take(&mut self.unsynced.directory)
    }

    /// Begins a segment that has space for at least `frame` bytes, and seals the one before.
    pub fn begin(
        &mut self,
        directory: &Directory,
        table: &Table,
        options: &Options,
        frame: u64,
    ) -> Result<(), Error> {
        let limit = options.segment_bytes.max(FILE_HEADER_BYTES as u64 + frame);
        let space = options.preallocate.then_some(limit);
        directory.reserve(space.unwrap_or(frame))?;
        self.last.0 += 1;
        let id = self.last;
        let file = Arc::new(directory.create(id, space)?);
        self.unsynced.directory = true;
        let end = FILE_HEADER_BYTES as u64;
        table.insert(id, file.clone(), end, space.unwrap_or(end));
        let next = Active { id, file, end, limit, dirty: false };
        if let Some(before) = self.active.replace(next) {
            rustix::fs::ftruncate(&before.file, before.end).map_err(|e| {
                Error::io(format!("sealing {}", directory.path(before.id).display()), e.into())
            })?;
            table.sealed(before.id);
        }
        Ok(())
    }

    /// Appends payloads whose CRCs are known.
    pub fn append(
        &mut self,
        directory: &Directory,
        table: &Table,
        options: &Options,
        shard: ShardId,
        payloads: &[(Bytes, u32)],
    ) -> Result<Vec<PayloadLocation>, Error> {
        if !options.preallocate {
            let bytes = payloads.iter().map(|(p, _)| format::frame_bytes(p.len())).sum();
            directory.reserve(bytes)?;
        }
        let mut locations = Vec::with_capacity(payloads.len());
        let mut rest = payloads;
        while let Some((first, _)) = rest.first() {
            let frame = format::frame_bytes(first.len());
            if self.active.as_ref().is_none_or(|active| active.end + frame > active.limit) {
                self.begin(directory, table, options, frame)?;
            }
            let active = self.active.as_mut().expect("one has just been begun");
            if !active.dirty {
                active.dirty = true;
                self.unsynced.files.push((active.id, active.file.clone()));
            }
            let before = locations.len();
            active.append(directory, shard, rest, &mut locations)?;
            table.grown(active.id, active.end);
            rest = &rest[locations.len() - before..];
        }
        assert_eq!(locations.len(), payloads.len(), "every payload has its place");
        Ok(locations)
    }
}

impl Active {
    /// Appends as many payloads as there is space for, at least one, with one write.
    fn append(
        &mut self,
        directory: &Directory,
        shard: ShardId,
        payloads: &[(Bytes, u32)],
        locations: &mut Vec<PayloadLocation>,
    ) -> Result<(), Error> {
        let mut end = self.end;
        let mut frames = Vec::with_capacity(payloads.len());
        for (payload, crc) in payloads {
            let next = end + format::frame_bytes(payload.len());
            if next > self.limit {
                break;
            }
            let at = PayloadLocation {
                segment: self.id,
                offset: u32::try_from(end).expect("frames begin below 1 GiB"),
                length: u32::try_from(payload.len()).expect("longer ones were refused"),
                crc: *crc,
            };
            frames.push((at, format::frame_header(&at, shard), payload));
            end = next;
        }
        let mut buffers: Vec<IoSlice<'_>> = frames
            .iter()
            .flat_map(|(_, header, payload)| [IoSlice::new(header), IoSlice::new(payload)])
            .collect();
        match transfer::write(&self.file, &mut buffers, self.end) {
            Ok(()) => {}
            // What was written before the space ran out is written over by the next append.
            Err(errno) if directory::is_full(errno) => return Err(directory.full()),
            Err(errno) => {
                let path = directory.path(self.id);
                return Err(Error::io(format!("appending to {}", path.display()), errno.into()));
            }
        }
        self.end = end;
        locations.extend(frames.iter().map(|(at, ..)| *at));
        Ok(())
    }
}
