//! Free space of the disk, asked for now and then.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use kontiki_storage::Error;
use tokio::time::Instant;

/// An answer is used for this long,
const FRESH: Duration = Duration::from_secs(1);
/// or for this many bytes of writes.
const WRITTEN: u64 = 8 << 20;

/// The disk under a directory.
#[derive(Debug)]
pub struct Space {
    dir: PathBuf,
    limit: u64,
    last: Mutex<Option<Answer>>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    at: Instant,
    free: u64,
    written: u64,
}

impl Space {
    pub fn new(dir: &Path, limit: u64) -> Self {
        Self { dir: dir.to_owned(), limit, last: Mutex::new(None) }
    }

    /// Free bytes, now.
    pub fn free(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.dir)
            .map_err(|e| Error::io(format!("statvfs of {}", self.dir.display()), e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Makes sure that the disk has space for a write of some bytes.
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut answer = match *last {
            Some(a) if a.at.elapsed() < FRESH && a.written < WRITTEN && a.free > self.limit => a,
            Some(_) | None => Answer { at: Instant::now(), free: self.free()?, written: 0 },
        };
        let free = answer.free.saturating_sub(answer.written);
        if free < self.limit.saturating_add(bytes) {
            *last = None;
            return Err(Error::Full { op: "write", free, limit: self.limit });
        }
        answer.written += bytes;
        *last = Some(answer);
        Ok(())
    }
}
