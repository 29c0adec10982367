//! The codecs of a batch's records, and the bound on what they may expand to.
//!
//! Decompression streams into one buffer and stops one byte after the limit: a batch that claims
//! or contains more is refused at the cost of the limit, whatever it claims.

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Limits};

mod snappy;
mod zstandard;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952), level 6.
    Gzip,
    /// Snappy in the framing of `snappy-java`, which every Kafka client reads; written that way,
    /// and read with or without framing.
    Snappy,
    /// LZ4 frames with independent blocks of 64 KiB (the only blocks that the Java client reads).
    Lz4,
    /// Zstandard (RFC 8878), level 3.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub(crate) fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(crate) fn from_bits(bits: i16) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|codec| codec.bits() == bits).ok_or(Error::Invalid {
            field: "compression codec",
            value: i64::from(bits),
            expected: "0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)",
        })
    }

    /// Its name in configuration files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    fn error(self, detail: impl fmt::Display) -> Error {
        Error::Codec { compression: self, detail: detail.to_string() }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compression {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
            format!("compression is '{name}', expected none, gzip, snappy, lz4 or zstd")
        })
    }
}

/// Codec state for writing, kept from batch to batch.
#[derive(Default)]
pub(crate) struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    snappy: Option<snap::raw::Encoder>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("zstd", &self.zstd.is_some()).finish()
    }
}

impl Compressor {
    /// Fills `out` with `records`, compressed.
    pub(crate) fn run(
        &mut self,
        compression: Compression,
        records: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.clear();
        match compression {
            Compression::None => {
                out.extend_from_slice(records);
                Ok(())
            }
            Compression::Gzip => gzip(records, out),
            Compression::Snappy => snappy::compress(&mut self.snappy, records, out),
            Compression::Lz4 => lz4(records, out),
            Compression::Zstd => zstandard::compress(&mut self.zstd, records, out),
        }
        .map_err(|error| compression.error(error))
    }
}

/// Codec state for reading, kept from batch to batch; costs nothing until it is needed.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd::zstd_safe::DCtx<'static>>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("zstd", &self.zstd.is_some()).finish()
    }
}

impl Decompressor {
    /// The records without compression: `records` itself if there is none.
    pub(crate) fn run(
        &mut self,
        compression: Compression,
        records: Bytes,
        limits: &Limits,
    ) -> Result<Bytes, Error> {
        let max = limits.decompressed_bytes_max as usize;
        let out = match compression {
            Compression::None => {
                bounded(records.len(), max)?;
                return Ok(records);
            }
            Compression::Gzip => {
                let mut decoder = flate2::bufread::MultiGzDecoder::new(&records[..]);
                stream(compression, &mut decoder, records.len(), max)?
            }
            Compression::Snappy => snappy::decompress(&records, max)?,
            Compression::Lz4 => {
                let mut decoder = lz4_flex::frame::FrameDecoder::new(&records[..]);
                let out = stream(compression, &mut decoder, records.len(), max)?;
                ended(decoder.get_ref())?;
                out
            }
            Compression::Zstd => zstandard::decompress(&mut self.zstd, &records, limits)?,
        };
        Ok(Bytes::from(out))
    }
}

/// Reads `decoder` to its end, or to one byte more than `max`.
fn stream(
    compression: Compression,
    decoder: &mut impl Read,
    compressed: usize,
    max: usize,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(compressed.saturating_mul(4).min(max));
    let mut bounded_decoder = decoder.take((max as u64).saturating_add(1));
    bounded_decoder.read_to_end(&mut out).map_err(|error| compression.error(error))?;
    bounded(out.len(), max)?;
    Ok(out)
}

fn bounded(bytes: usize, max: usize) -> Result<(), Error> {
    let (value, limit) = (bytes as u64, max as u64);
    crate::limits::at_most("decompressed records", value, "decompressed_bytes_max", limit)
}

fn ended(rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::Trailing { field: "compressed records", bytes: rest.len() as u64 })
}

fn gzip(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
    io::Write::write_all(&mut encoder, records)?;
    encoder.finish().map(drop)
}

fn lz4(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Independent)
        .block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
    io::Write::write_all(&mut encoder, records)?;
    encoder.finish().map(drop).map_err(io::Error::from)
}
