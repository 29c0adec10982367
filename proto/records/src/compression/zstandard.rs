//! Zstandard. A single frame that tells its size is decompressed at once, anything else as a
//! stream.

use std::io;

use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use super::{Compression, bounded};
use crate::{Error, Limits};

const LEVEL: i32 = 3;
/// First and smallest growth of a buffer whose final size is unknown.
const STEP_BYTES: usize = 16 << 10;

pub(super) fn compress(
    context: &mut Option<zstd::bulk::Compressor<'static>>,
    records: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let context = match context {
        Some(context) => context,
        None => context.insert(zstd::bulk::Compressor::new(LEVEL)?),
    };
    out.reserve(zstd_safe::compress_bound(records.len()));
    context.compress_to_buffer(records, out).map(drop)
}

pub(super) fn decompress(
    context: &mut Option<DCtx<'static>>,
    records: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let max = limits.decompressed_bytes_max as usize;
    let context = match context {
        Some(context) => context,
        None => context
            .insert(DCtx::try_create().ok_or_else(|| Compression::Zstd.error("out of memory"))?),
    };
    let alone = zstd_safe::find_frame_compressed_size(records) == Ok(records.len());
    match zstd_safe::get_frame_content_size(records) {
        Ok(Some(size)) if alone => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            bounded(size, max)?;
            let mut out = Vec::with_capacity(size);
            context.decompress(&mut out, records).map_err(refused)?;
            Ok(out)
        }
        _ => stream(context, records, limits),
    }
}

fn stream(context: &mut DCtx<'static>, records: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let max = limits.decompressed_bytes_max as usize;
    let mut out = Vec::new();
    let mut input = InBuffer::around(records);
    context.reset(zstd_safe::ResetDirective::SessionAndParameters).map_err(refused)?;
    context.set_parameter(DParameter::WindowLogMax(limits.zstd_window_log_max)).map_err(refused)?;
    loop {
        let length = out.len();
        bounded(length, max)?;
        // One byte of room more than the limit tells a batch that is too large from one that fits.
        let room_max = max.saturating_add(1).saturating_sub(length);
        out.reserve(length.max(STEP_BYTES).min(room_max));
        let before = input.pos();
        let mut output = OutBuffer::around_pos(&mut out, length);
        let hint = context.decompress_stream(&mut output, &mut input).map_err(refused)?;
        let consumed_all = input.pos() == records.len();
        if hint == 0 && consumed_all {
            bounded(out.len(), max)?;
            return Ok(out);
        }
        if input.pos() == before && out.len() == length {
            return Err(Compression::Zstd.error("the frame is cut off"));
        }
    }
}

fn refused(code: zstd_safe::ErrorCode) -> Error {
    Compression::Zstd.error(zstd_safe::get_error_name(code))
}
