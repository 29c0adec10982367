//! Snappy, in the framing of `snappy-java`: a magic, two versions, then blocks with their length.

use std::io;

use super::{Compression, bounded};
use crate::{Error, wire::Reader};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSION: i32 = 1;
const VERSION_READABLE_BY: i32 = 1;
/// Bytes per block. The codec's own window: larger blocks would not compress better.
const BLOCK_BYTES: usize = 64 << 10;
/// The shortest code of the format yields 64 bytes from 3; a block that claims more per byte lies.
const EXPANSION_MAX: usize = 64;

pub(super) fn compress(
    encoder: &mut Option<snap::raw::Encoder>,
    records: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let encoder = encoder.get_or_insert_with(snap::raw::Encoder::new);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION_READABLE_BY.to_be_bytes());
    for block in records.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let data_at = length_at.saturating_add(size_of::<i32>());
        out.resize(data_at.saturating_add(snap::raw::max_compress_len(block.len())), 0);
        let room = out.get_mut(data_at..).unwrap_or_default();
        let used = encoder.compress(block, room).map_err(io::Error::other)?;
        let length = i32::try_from(used).map_err(io::Error::other)?;
        if let Some(place) = out.get_mut(length_at..data_at) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        out.truncate(data_at.saturating_add(used));
    }
    Ok(())
}

pub(super) fn decompress(records: &[u8], max: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let Some(framed) = records.strip_prefix(&MAGIC) else {
        append(records, max, &mut out)?;
        return Ok(out);
    };
    let mut reader = Reader::new(framed);
    reader.i32("snappy version")?;
    let readable_by = reader.i32("snappy compatible version")?;
    if readable_by > VERSION {
        return Err(Error::Invalid {
            field: "snappy compatible version",
            value: i64::from(readable_by),
            expected: "1 or less",
        });
    }
    while !reader.rest().is_empty() {
        let length = reader.i32("snappy block length")?;
        let length = usize::try_from(length).map_err(|_| Error::Invalid {
            field: "snappy block length",
            value: i64::from(length),
            expected: "0 or more",
        })?;
        append(reader.take("snappy block", length)?, max, &mut out)?;
    }
    Ok(out)
}

/// Appends one block, decompressed.
fn append(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let refused = |error: snap::Error| Compression::Snappy.error(error);
    let claimed = snap::raw::decompress_len(block).map_err(refused)?;
    let start = out.len();
    let end = start.saturating_add(claimed);
    bounded(end, max)?;
    if claimed > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Compression::Snappy.error(format_args!(
            "a block of {} bytes claims to expand to {claimed}",
            block.len()
        )));
    }
    out.resize(end, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, room).map_err(refused)?;
    out.truncate(start.saturating_add(written));
    Ok(())
}
