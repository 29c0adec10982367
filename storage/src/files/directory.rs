//! The directory of the segments: names, creation, syncs, free space.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::format;
use super::transfer;
use crate::error::Error;
use crate::id::SegmentId;

const EXTENSION: &str = "segment";

/// What needs the space, in errors.
const OP: &str = "append of payloads";

/// An open directory. One process has it at a time.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    file: File,
    /// Must stay free on its disk.
    free_bytes_min: u64,
}

/// The disk has no space left, or the quota is used up.
pub fn is_full(errno: Errno) -> bool {
    errno == Errno::NOSPC || errno == Errno::DQUOT
}

impl Directory {
    /// Opens it, and creates it where it is missing.
    pub fn open(path: &Path, free_bytes_min: u64) -> Result<Self, Error> {
        let op = || format!("opening {}", path.display());
        fs::create_dir_all(path).map_err(|e| Error::io(op(), e))?;
        let file = File::open(path).map_err(|e| Error::io(op(), e))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| {
            let text = format!("locking {}; does another node use it?", path.display());
            Error::io(text, e.into())
        })?;
        Ok(Self { path: path.to_owned(), file, free_bytes_min })
    }

    /// The file of a segment.
    pub fn path(&self, segment: SegmentId) -> PathBuf {
        self.path.join(format!("{:020}.{EXTENSION}", segment.0))
    }

    /// The segments that have files, in order.
    pub fn list(&self) -> Result<Vec<SegmentId>, Error> {
        let error = |e| Error::io(format!("listing {}", self.path.display()), e);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let number = name.and_then(|name| name.parse().ok()).map(SegmentId);
            match number {
                Some(id) if self.path(id) == path => found.push(id),
                Some(_) | None => {
                    tracing::warn!(file = %path.display(), "no segment has this name; left alone");
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Makes a segment with its header, and with `bytes` of space where they are wanted. Leaves
    /// nothing behind where it fails for want of space.
    pub fn create(&self, id: SegmentId, bytes: Option<u64>) -> Result<File, Error> {
        let path = self.path(id);
        let options = OpenOptions::new().read(true).write(true).create_new(true).to_owned();
        let error = |e: io::Error| Error::io(format!("creating {}", path.display()), e);
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(e) if Errno::from_io_error(&e).is_some_and(is_full) => return Err(self.full()),
            Err(e) => return Err(error(e)),
        };
        let filled = bytes.map_or(Ok(()), |bytes| allocate(&file, bytes)).and_then(|()| {
            transfer::write(&file, &mut [io::IoSlice::new(&format::file_header(id))], 0)
        });
        match filled {
            Ok(()) => Ok(file),
            Err(errno) => {
                let removed = fs::remove_file(&path);
                if is_full(errno) {
                    removed.map_err(error)?;
                    return Err(self.full());
                }
                Err(error(errno.into()))
            }
        }
    }

    /// Removes a segment's file.
    pub fn remove(&self, id: SegmentId) -> Result<(), Error> {
        let path = self.path(id);
        fs::remove_file(&path).map_err(|e| Error::io(format!("removing {}", path.display()), e))
    }

    /// Makes names durable.
    pub fn sync(&self) -> Result<(), Error> {
        let synced = rustix::fs::fsync(&self.file);
        synced.map_err(|e| Error::io(format!("syncing {}", self.path.display()), e.into()))
    }

    /// Free bytes of the disk.
    pub fn free(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.file)
            .map_err(|e| Error::io(format!("statvfs of {}", self.path.display()), e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Refuses to use space that must stay free.
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let free = self.free()?;
        let limit = self.free_bytes_min;
        if free < limit.saturating_add(bytes) {
            return Err(Error::Full { op: OP, free, limit });
        }
        Ok(())
    }

    /// The error that says that the disk is full.
    pub fn full(&self) -> Error {
        Error::Full { op: OP, free: self.free().unwrap_or(0), limit: self.free_bytes_min }
    }
}

/// Some file systems can't: segments grow as they are written there.
fn allocate(file: &File, bytes: u64) -> Result<(), Errno> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(Errno::INTR) => allocate(file, bytes),
        done => done,
    }
}
