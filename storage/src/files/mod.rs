//! Payload segments on disk.
//!
//! A directory of append-only [files](format). Appends of all shards go to the newest one, with one
//! vectored write for each call; when it is full it is sealed, and stays as it is until it is
//! removed. Reads open files as they need them and check what they read.
//!
//! After a failed write or sync nothing more is written until the directory is opened anew: the
//! kernel may have dropped what it could not write, and would report success the next time.

mod directory;
mod format;
mod options;
mod recovery;
mod table;
mod transfer;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::options::{InvalidOption, Options};

use self::directory::Directory;
use self::format::FRAME_HEADER_BYTES;
use self::table::Table;
use self::writer::Writer;
use crate::error::Error;
use crate::id::{SegmentId, ShardId};
use crate::payload::{PayloadLocation, PayloadStats, Payloads, SegmentInfo, SegmentPin};
use crate::pins::Pins;

/// The segments of one directory.
#[derive(Debug)]
pub struct Files {
    directory: Directory,
    options: Options,
    table: Table,
    pins: Arc<Pins>,
    writer: Mutex<Writer>,
    /// Held by the one sync that runs: what it has taken is durable when it is let go.
    syncing: Mutex<()>,
    poison: OnceLock<String>,
    appended_bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Files {
    /// Opens the segments of a directory; creates it where it is missing. What is found is sealed,
    /// and a new segment is begun, later if the disk is full.
    ///
    /// # Errors
    /// I/O, also where the directory is open already, and for invalid options. A damaged segment
    /// is no error: reads from it are.
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        let invalid = |e| std::io::Error::new(std::io::ErrorKind::InvalidInput, e);
        options.validate().map_err(|e| Error::io("checking the options", invalid(e)))?;
        let directory = Directory::open(directory, options.free_bytes_min)?;
        let ids = directory.list()?;
        let last = ids.last().copied().unwrap_or_default();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(recovery::recover(&directory, id)?);
        }
        let table = Table::new(found, options.open_files_max);
        let mut writer = Writer::new(last);
        match writer.begin(&directory, &table, &options, 0) {
            Ok(()) => {
                directory.sync()?;
                writer.take_directory();
            }
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "no segment is begun for now");
            }
            Err(error) => return Err(error),
        }
        Ok(Self {
            directory,
            options,
            table,
            pins: Arc::default(),
            writer: Mutex::new(writer),
            syncing: Mutex::new(()),
            poison: OnceLock::new(),
            appended_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("no code panics while it appends")
    }

    fn healthy(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    fn poisoned_by(&self, error: Error) -> Error {
        if !error.is_full() {
            // Only the first reason is kept.
            let _ = self.poison.set(error.to_string());
        }
        error
    }

    fn sync_now(&self) -> Result<(), Error> {
        let _turn = self.syncing.lock().expect("no code panics while it syncs");
        self.healthy()?;
        let unsynced = self.writer().take_unsynced();
        if unsynced.files.is_empty() {
            return Ok(());
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        for (id, file) in &unsynced.files {
            rustix::fs::fdatasync(file).map_err(|e| {
                let op = format!("syncing {}", self.directory.path(*id).display());
                self.poisoned_by(Error::io(op, e.into()))
            })?;
        }
        if unsynced.directory {
            self.directory.sync().map_err(|error| self.poisoned_by(error))?;
        }
        Ok(())
    }

    fn remove_now(&self, id: SegmentId) -> Result<bool, Error> {
        self.healthy()?;
        let Some(segment) = self.table.take(id) else { return Ok(false) };
        // First the name of the newest: numbers are not used again after a crash.
        let removed = if self.writer().take_directory() {
            self.directory.sync().map_err(|error| self.poisoned_by(error))
        } else {
            Ok(())
        };
        if let Err(error) = removed.and_then(|()| self.directory.remove(id)) {
            self.table.put_back(id, segment);
            return Err(error);
        }
        Ok(true)
    }
}

impl Payloads for Files {
    fn append(&self, shard: ShardId, payloads: &[Bytes]) -> Result<Vec<PayloadLocation>, Error> {
        // Frames begin below this, and end below 4 GiB.
        let limit = u64::from(u32::MAX) - (1 << 30);
        if let Some(large) = payloads.iter().find(|payload| payload.len() as u64 > limit) {
            return Err(Error::TooLarge { what: "a payload", size: large.len() as u64, limit });
        }
        let payloads: Vec<_> =
            payloads.iter().map(|payload| (payload.clone(), crc32c::crc32c(payload))).collect();
        let bytes = payloads.iter().map(|(payload, _)| format::frame_bytes(payload.len())).sum();
        let mut writer = self.writer();
        self.healthy()?;
        let appended = writer.append(&self.directory, &self.table, &self.options, shard, &payloads);
        let locations = appended.map_err(|error| self.poisoned_by(error))?;
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(locations)
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.sync_now() })
    }

    fn read(&self, at: PayloadLocation) -> Result<Bytes, Error> {
        let path = self.directory.path(at.segment);
        let what = || format!("payload at {} of {}", at.offset, path.display());
        let length = FRAME_HEADER_BYTES + at.length as usize;
        let end = u64::from(at.offset) + length as u64;
        let file = self.table.file(&at, end, || File::open(&path), what)?;
        let frame = transfer::read(&file, length, u64::from(at.offset))
            .map_err(|e| Error::io(format!("reading the {}", what()), e.into()))?;
        if frame.len() < length {
            return Err(Error::corrupt(what(), "the file ends within it"));
        }
        format::check_frame(&frame, &at).map_err(|why| Error::corrupt(what(), why))?;
        Ok(Bytes::from(frame).slice(FRAME_HEADER_BYTES..))
    }

    fn pin(&self) -> SegmentPin {
        self.pins.pin(|| self.table.newest())
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        self.table.infos()
    }

    fn remove(&self, segment: SegmentId) -> Result<bool, Error> {
        self.pins.unless_pinned(segment, || self.remove_now(segment)).unwrap_or(Ok(false))
    }

    fn stats(&self) -> PayloadStats {
        let (segments, disk_bytes) = self.table.size();
        PayloadStats {
            segments,
            disk_bytes,
            appended_bytes: self.appended_bytes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            // Unknown is not zero: nobody should act on a failed question.
            free_bytes: self.directory.free().unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod files_test;
