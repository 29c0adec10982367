//! The bytes of a segment file. Numbers are big-endian.
//!
//! ```text
//! file    [magic 8 = "KONTISEG"][version u32 = 1][segment u64][zero 8][crc u32 of what precedes]
//! frame   [magic u32][length u32][shard u32][payload crc u32][header crc u32][payload]
//! ```
//!
//! All CRCs are CRC32C. That of a frame's header also covers the segment and the offset, so that a
//! frame which is at the wrong place, or left from another file, is noticed. Frames follow each
//! other without gaps. The file may go on with zeros: space that isn't used yet.
//!
//! A change of this needs a new version, and code that still reads the old one.

use crate::id::{SegmentId, ShardId};
use crate::payload::PayloadLocation;

/// Bytes in front of the first frame.
pub const FILE_HEADER_BYTES: usize = 32;
/// Bytes in front of each payload.
pub const FRAME_HEADER_BYTES: usize = 20;

const FILE_MAGIC: &[u8; 8] = b"KONTISEG";
const VERSION: u32 = 1;
const FRAME_MAGIC: u32 = 0x6b66_7231;

/// The header of a segment's file.
pub fn file_header(segment: SegmentId) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    header[12..20].copy_from_slice(&segment.0.to_be_bytes());
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_be_bytes());
    header
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What is wrong with a file's header, if anything.
pub fn check_file_header(header: &[u8], segment: SegmentId) -> Result<(), String> {
    if header.len() < FILE_HEADER_BYTES {
        return Err(format!("{} bytes are no header", header.len()));
    }
    let header = &header[..FILE_HEADER_BYTES];
    if &header[..8] != FILE_MAGIC {
        return Err("it is not a segment".to_owned());
    }
    let version = number(header, 8);
    if version != VERSION {
        return Err(format!("its version is {version}; this release knows {VERSION}"));
    }
    if header != file_header(segment) {
        return Err("its header is damaged, or that of another segment".to_owned());
    }
    Ok(())
}

/// The header of a frame.
pub fn frame_header(at: &PayloadLocation, shard: ShardId) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..4].copy_from_slice(&FRAME_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&at.length.to_be_bytes());
    header[8..12].copy_from_slice(&shard.0.to_be_bytes());
    header[12..16].copy_from_slice(&at.crc.to_be_bytes());
    let crc = header_crc(&header, at.segment, at.offset);
    header[16..].copy_from_slice(&crc.to_be_bytes());
    header
}

fn header_crc(header: &[u8], segment: SegmentId, offset: u32) -> u32 {
    let crc = crc32c::crc32c(&header[..16]);
    let crc = crc32c::crc32c_append(crc, &segment.0.to_be_bytes());
    crc32c::crc32c_append(crc, &offset.to_be_bytes())
}

/// Bytes of a frame with a payload of this length.
pub fn frame_bytes(length: usize) -> u64 {
    (FRAME_HEADER_BYTES + length) as u64
}

/// The payload that a frame's header announces, and whose it is; `None`: it is no header, or not
/// one of this place.
pub fn frame_at(
    header: &[u8],
    segment: SegmentId,
    offset: u32,
) -> Option<(PayloadLocation, ShardId)> {
    let header = header.get(..FRAME_HEADER_BYTES)?;
    let good = number(header, 0) == FRAME_MAGIC
        && number(header, 16) == header_crc(header, segment, offset);
    let at =
        PayloadLocation { segment, offset, length: number(header, 4), crc: number(header, 12) };
    good.then_some((at, ShardId(number(header, 8))))
}

/// What is wrong with a frame that was read from a location, if anything.
pub fn check_frame(frame: &[u8], at: &PayloadLocation) -> Result<(), &'static str> {
    let Some((found, _)) = frame_at(frame, at.segment, at.offset) else {
        return Err("the frame's header is damaged, or no frame starts there");
    };
    if found != *at {
        return Err("another payload is there");
    }
    if crc32c::crc32c(&frame[FRAME_HEADER_BYTES..]) != at.crc {
        return Err("its CRC doesn't match");
    }
    Ok(())
}
