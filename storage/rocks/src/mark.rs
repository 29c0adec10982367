//! The mark: up to which sequence all writes were durable once.
//!
//! A file of two slots that are written in turn, each with a checksum, so that a torn write
//! leaves the other. It is not synced: a mark that gets lost leaves an older one, which is true
//! as well.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kontiki_storage::Error;

/// The file, in the directory of the engine.
pub const FILE: &str = "durable.mark";

const MAGIC: &[u8; 4] = b"kmk1";
/// Slots are blocks apart, so that one torn block harms one of them.
const STRIDE: u64 = 4096;
const SLOT: usize = 16;

/// The open file.
#[derive(Debug)]
pub struct Mark {
    file: File,
    sequence: u64,
    slot: u64,
}

impl Mark {
    /// Opens the mark of a directory; creates it where the store is new.
    ///
    /// # Errors
    /// I/O; [`Error::Corrupt`] where a store has no mark, or none that can be read.
    pub fn open(dir: &Path, store_exists: bool) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let io = |e| Error::io(format!("opening {}", path.display()), e);
        if !path.exists() {
            if store_exists {
                return Err(Error::corrupt(path.display().to_string(), "the file is missing"));
            }
            return Self::create(dir).map_err(io);
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
        let slots = [read(&file, 0).map_err(io)?, read(&file, 1).map_err(io)?];
        let newest = (0u64..).zip(slots).filter_map(|(n, s)| Some((s?, n))).max();
        match newest {
            Some((sequence, slot)) => Ok(Self { file, sequence, slot }),
            None if !store_exists => Self::create(dir).map_err(io),
            None => Err(Error::corrupt(path.display().to_string(), "no slot can be read")),
        }
    }

    fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(STRIDE + SLOT as u64)?;
        let mut mark = Self { file, sequence: 0, slot: 1 };
        mark.put(0)?;
        mark.file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(mark)
    }

    /// The newest mark.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Raises the mark to a sequence that is durable. Lower ones change nothing.
    ///
    /// # Errors
    /// I/O. The older mark is in place then.
    pub fn raise(&mut self, sequence: u64) -> io::Result<()> {
        if sequence <= self.sequence { Ok(()) } else { self.put(sequence) }
    }

    fn put(&mut self, sequence: u64) -> io::Result<()> {
        let slot = 1 - self.slot;
        self.file.write_all_at(&encode(sequence), slot * STRIDE)?;
        self.sequence = sequence;
        self.slot = slot;
        Ok(())
    }
}

fn encode(sequence: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..12].copy_from_slice(&sequence.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn read(file: &File, slot: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; SLOT];
    match file.read_exact_at(&mut bytes, slot * STRIDE) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let sequence = u64::from_le_bytes(bytes[4..12].try_into().expect("eight bytes"));
    Ok((bytes == encode(sequence)).then_some(sequence))
}
