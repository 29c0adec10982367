//! What is in this crate, held to the suites.

use std::sync::Arc;

use super::{OpenEngine, OpenPayloads};
use crate::files::{self, Files};
use crate::memory::{self, Disk, Keep, MemoryEngine, MemoryPayloads};

#[test]
fn the_engine_in_memory_conforms() {
    super::engine(&|| -> OpenEngine {
        let disk = Disk::new();
        Box::new(move || {
            disk.faults().crash(Keep::SYNCED);
            MemoryEngine::open(&disk)
        })
    });
}

#[test]
fn payloads_in_memory_conform() {
    super::payloads(&|| -> OpenPayloads {
        let disk = Disk::new();
        let options = memory::Options { segment_bytes: 8 << 10 };
        Box::new(move || {
            disk.faults().crash(Keep::SYNCED);
            MemoryPayloads::open(&disk, options.clone())
        })
    });
}

#[test]
fn payloads_in_files_conform() {
    for preallocate in [true, false] {
        super::payloads(&|| -> OpenPayloads {
            let dir = tempfile::tempdir().expect("there is space");
            let options = files::Options {
                segment_bytes: 8 << 10,
                free_bytes_min: 0,
                preallocate,
                open_files_max: 3,
            };
            Box::new(move || Arc::new(Files::open(dir.path(), options.clone()).expect("it opens")))
        });
    }
}
