//! A node's files, as somebody who damages or fills a disk sees them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// All files below a folder. Files that go away meanwhile are passed over.
#[must_use]
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Where these bytes stand in a file, the first time.
///
/// # Errors
/// Where the file can't be read.
pub fn position(path: &Path, bytes: &[u8]) -> io::Result<Option<u64>> {
    let all = fs::read(path)?;
    let found = all.windows(bytes.len()).position(|window| window == bytes);
    Ok(found.map(|at| at as u64))
}

/// Flips the lowest bit of one byte.
///
/// # Errors
/// Where the file can't be changed.
pub fn flip(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1;
    file.write_all_at(&byte, at)?;
    file.sync_all()
}

/// Fills the disk that a folder is on, but for about this much, with a file that is named.
///
/// # Errors
/// Where the file can't be made at all.
pub fn fill(folder: &Path, leave_bytes: u64) -> io::Result<PathBuf> {
    let path = folder.join("filler");
    let mut file = File::create(&path)?;
    let block = vec![0x5a_u8; 1 << 20];
    loop {
        let space = rustix::fs::statvfs(folder)?;
        if space.f_bavail * space.f_frsize < leave_bytes + block.len() as u64 {
            return Ok(path);
        }
        file.write_all(&block)?;
    }
}
