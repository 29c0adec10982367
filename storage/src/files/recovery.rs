//! What was there when the segments were opened.
//!
//! After a crash the newest segments may end with unused space or with a torn frame. Everything
//! that is found is sealed, and the next append begins a new segment. Only space that was never
//! written is given back: a frame may be damaged and those behind it may still be referred to.

use std::fs::File;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::directory::Directory;
use super::format::{self, FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use super::transfer;
use crate::error::Error;
use crate::id::SegmentId;

/// Bytes looked at at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A segment that was found.
#[derive(Debug)]
pub struct Found {
    /// Its number.
    pub id: SegmentId,
    /// Bytes of its file.
    pub bytes: u64,
    /// Why nothing can be read from it.
    pub damaged: Option<String>,
}

/// Looks at a segment; `None`: nothing was ever written to it, and it is gone.
pub fn recover(directory: &Directory, id: SegmentId) -> Result<Option<Found>, Error> {
    let path = directory.path(id);
    let error = |e| Error::io(format!("looking at {}", path.display()), e);
    let file = File::options().read(true).write(true).open(&path).map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    let written = written_end(&file, length).map_err(|e| error(e.into()))?;
    if written == 0 {
        directory.remove(id)?;
        return Ok(None);
    }
    let header = transfer::read(&file, FILE_HEADER_BYTES, 0);
    let checked = match header {
        Ok(header) => format::check_file_header(&header, id),
        Err(errno) => Err(errno.to_string()),
    };
    if let Err(why) = checked {
        tracing::error!(file = %path.display(), why, "a segment can't be read");
        return Ok(Some(Found { id, bytes: length, damaged: Some(why) }));
    }
    let used = match used_end(&file, id, written, length) {
        Ok(used) => used,
        Err(errno) => {
            tracing::error!(file = %path.display(), %errno, "a segment can't be read to its end");
            return Ok(Some(Found { id, bytes: length, damaged: None }));
        }
    };
    if used == FILE_HEADER_BYTES as u64 {
        directory.remove(id)?;
        return Ok(None);
    }
    if used < length {
        rustix::fs::ftruncate(&file, used).map_err(|e| error(e.into()))?;
    }
    Ok(Some(Found { id, bytes: used, damaged: None }))
}

/// Where the last written part of the file ends, as far as the file system knows.
fn written_end(file: &File, length: u64) -> Result<u64, Errno> {
    let mut end = 0;
    loop {
        let data = match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(end),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(length),
            Err(errno) => return Err(errno),
        };
        end = rustix::fs::seek(file, SeekFrom::Hole(data))?;
        if end >= length {
            return Ok(length);
        }
    }
}

/// Where the last frame ends; where there is more than zeros behind it, the end of that.
fn used_end(file: &File, id: SegmentId, written: u64, length: u64) -> Result<u64, Errno> {
    if written == length {
        // It was sealed, or space isn't taken in advance.
        return Ok(length);
    }
    let last = frames_end(file, id, length)?;
    let mut at = last;
    while at < written {
        let chunk = transfer::read(file, CHUNK_BYTES, at)?;
        if chunk.is_empty() {
            break;
        }
        if chunk.iter().any(|byte| *byte != 0) {
            return Ok(written);
        }
        at += chunk.len() as u64;
    }
    Ok(last)
}

/// Goes from header to header as long as they are good.
fn frames_end(file: &File, segment: SegmentId, length: u64) -> Result<u64, Errno> {
    let mut end = FILE_HEADER_BYTES as u64;
    while let Ok(offset) = u32::try_from(end) {
        let header = transfer::read(file, FRAME_HEADER_BYTES, end)?;
        let Some((at, _)) = format::frame_at(&header, segment, offset) else { break };
        let next = end + format::frame_bytes(at.length as usize);
        if next > length {
            break;
        }
        end = next;
    }
    Ok(end)
}
