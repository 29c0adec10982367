//! Whole reads and writes at a place of a file.

use std::fs::File;
use std::io::IoSlice;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// Buffers that the system takes at once.
const BUFFERS_MAX: usize = 1024;

/// Writes all buffers one after the other.
pub fn write(file: &File, mut buffers: &mut [IoSlice<'_>], mut offset: u64) -> Result<(), Errno> {
    while !buffers.is_empty() {
        let some = buffers.len().min(BUFFERS_MAX);
        match rustix::io::pwritev(file, &buffers[..some], offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut buffers, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads bytes; fewer where the file ends.
pub fn read(file: &File, length: usize, offset: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The capacity may be more than was asked for.
    bytes.truncate(length);
    Ok(bytes)
}
