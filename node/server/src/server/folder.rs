//! The data directory: one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// A data directory that is this process's until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked; the lock goes with the process, however it ends.
    _lock: File,
}

/// Why it can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by process {holder}: stop that one, or use another \
         directory (--data-dir)",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its number, as far as it is known.
        holder: String,
    },
    /// It can't be made or written.
    #[error("the data directory {}: {source}", path.display())]
    Io {
        /// The directory or its lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Folder {
    /// Makes the directory where it is missing, and takes it.
    ///
    /// # Errors
    /// Another process has it, or it can't be written.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = path.join("kontiki.lock");
        let failed = |source| FolderError::Io { path: lock.clone(), source };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It is for the message only.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "(unknown)" } else { holder };
                return Err(FolderError::InUse {
                    path: path.to_owned(),
                    holder: holder.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // A full disk is no reason not to start: the number is for a message only.
        let written = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = written.and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!(file = %lock.display(), %error, "the process number was not written");
        }
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// Where rows are.
    #[must_use]
    pub fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// Where payloads are.
    #[must_use]
    pub fn segments(&self) -> PathBuf {
        self.path.join("segments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let scratch = tempfile::tempdir().expect("a folder can be made");
        let path = scratch.path().join("deep").join("data");
        let first = Folder::take(&path).expect("nobody has it");
        let error = Folder::take(&path).expect_err("the first has it").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        let own = format!("in use by process {}:", std::process::id());
        assert!(error.contains(&own), "{error}");
        drop(first);
        Folder::take(&path).expect("nobody has it any more");
    }

    #[test]
    fn what_is_no_directory_is_named() {
        let scratch = tempfile::tempdir().expect("a folder can be made");
        let path = scratch.path().join("file");
        fs::write(&path, "").unwrap();
        let error = Folder::take(&path).expect_err("it is a file").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
