//! Which segments there are, and their open files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::recovery::Found;
use crate::error::Error;
use crate::id::SegmentId;
use crate::payload::{PayloadLocation, SegmentInfo};

/// What is known of a segment.
#[derive(Debug)]
pub struct Segment {
    /// Nothing is appended any more.
    pub sealed: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Why nothing can be read.
    damaged: Option<String>,
    /// Its file, where it is open for reads.
    file: Option<Arc<File>>,
    /// When it was read last, in reads.
    used: u64,
}

#[derive(Debug, Default)]
struct Inner {
    segments: BTreeMap<SegmentId, Segment>,
    open: usize,
    reads: u64,
}

/// All segments, with a bounded number of open files.
#[derive(Debug)]
pub struct Table {
    inner: Mutex<Inner>,
    open_files_max: usize,
}

impl Inner {
    /// Keeps a file open, and closes the one that was not used for longest.
    fn keep_open(&mut self, id: SegmentId, file: Arc<File>, max: usize) {
        let reads = self.reads;
        let Some(segment) = self.segments.get_mut(&id) else { return };
        segment.used = reads;
        if segment.file.replace(file).is_some() {
            return;
        }
        self.open += 1;
        while self.open > max {
            let open = self.segments.iter_mut().filter(|(of, s)| **of != id && s.file.is_some());
            let Some((_, oldest)) = open.min_by_key(|(_, segment)| segment.used) else { return };
            oldest.file = None;
            self.open -= 1;
        }
    }
}

impl Table {
    /// Those that were found.
    pub fn new(found: Vec<Found>, open_files_max: usize) -> Self {
        let segment = |found: Found| Segment {
            sealed: true,
            bytes: found.bytes,
            file_bytes: found.bytes,
            damaged: found.damaged,
            file: None,
            used: 0,
        };
        let segments = found.into_iter().map(|found| (found.id, segment(found))).collect();
        let inner = Mutex::new(Inner { segments, open: 0, reads: 0 });
        Self { inner, open_files_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the table")
    }

    /// A new one, that is appended to.
    pub fn insert(&self, id: SegmentId, file: Arc<File>, bytes: u64, file_bytes: u64) {
        let segment =
            Segment { sealed: false, bytes, file_bytes, damaged: None, file: None, used: 0 };
        let mut inner = self.lock();
        inner.segments.insert(id, segment);
        inner.reads += 1;
        inner.keep_open(id, file, self.open_files_max);
    }

    /// More was appended.
    pub fn grown(&self, id: SegmentId, bytes: u64) {
        if let Some(segment) = self.lock().segments.get_mut(&id) {
            segment.bytes = bytes;
            segment.file_bytes = segment.file_bytes.max(bytes);
        }
    }

    /// Nothing is appended any more; unused space was given back.
    pub fn sealed(&self, id: SegmentId) {
        if let Some(segment) = self.lock().segments.get_mut(&id) {
            segment.sealed = true;
            segment.file_bytes = segment.bytes;
        }
    }

    /// Takes a sealed one out, and lets go of its file. Returns whether it was there.
    pub fn take(&self, id: SegmentId) -> Option<Segment> {
        let mut inner = self.lock();
        if !inner.segments.get(&id)?.sealed {
            return None;
        }
        let mut segment = inner.segments.remove(&id)?;
        if segment.file.take().is_some() {
            inner.open -= 1;
        }
        Some(segment)
    }

    /// Puts one back that could not be removed.
    pub fn put_back(&self, id: SegmentId, segment: Segment) {
        self.lock().segments.insert(id, segment);
    }

    /// The newest one.
    pub fn newest(&self) -> SegmentId {
        self.lock().segments.last_key_value().map_or(SegmentId(0), |(id, _)| *id)
    }

    /// All of them.
    pub fn infos(&self) -> Vec<SegmentInfo> {
        let info = |(id, segment): (&SegmentId, &Segment)| SegmentInfo {
            id: *id,
            sealed: segment.sealed,
            bytes: segment.bytes,
        };
        self.lock().segments.iter().map(info).collect()
    }

    /// How many there are, and the bytes of their files.
    pub fn size(&self) -> (u64, u64) {
        let inner = self.lock();
        let bytes = inner.segments.values().map(|segment| segment.file_bytes).sum();
        (inner.segments.len() as u64, bytes)
    }

    /// The file that has a payload, opened if it isn't.
    pub fn file(
        &self,
        at: &PayloadLocation,
        end: u64,
        open: impl FnOnce() -> io::Result<File>,
        what: impl Fn() -> String,
    ) -> Result<Arc<File>, Error> {
        let missing = Error::NoPayload { segment: at.segment, offset: at.offset };
        {
            let mut inner = self.lock();
            inner.reads += 1;
            let reads = inner.reads;
            let Some(segment) = inner.segments.get_mut(&at.segment) else { return Err(missing) };
            if let Some(why) = &segment.damaged {
                return Err(Error::corrupt(what(), why.as_str()));
            }
            if end > segment.bytes {
                return Err(missing);
            }
            if let Some(file) = &segment.file {
                segment.used = reads;
                return Ok(file.clone());
            }
        }
        match open() {
            Ok(file) => {
                let file = Arc::new(file);
                // Not for one that was removed meanwhile: its space would not be given back.
                self.lock().keep_open(at.segment, file.clone(), self.open_files_max);
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing),
            Err(error) => Err(Error::io(format!("opening {}", what()), error)),
        }
    }
}
