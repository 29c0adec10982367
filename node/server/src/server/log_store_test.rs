//! The log store on what a node has in production: RocksDB and segment files.

use std::sync::Arc;

use kontiki_storage::engine::Engine;
use kontiki_storage::files::Files;
use kontiki_storage::payload::Payloads;
use kontiki_storage_rocks::RocksEngine;

#[tokio::test(start_paused = true)]
async fn openrafts_suite_passes_on_files() {
    let place = || {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let rows = RocksEngine::open(&folder.path().join("rows"), Default::default());
        let engine: Arc<dyn Engine> = rows.expect("an empty folder can be opened");
        let options = kontiki_storage::files::Options::default();
        let files = Files::open(&folder.path().join("segments"), options);
        let payloads: Arc<dyn Payloads> = Arc::new(files.expect("an empty folder can be opened"));
        (engine, payloads, folder)
    };
    let done = kontiki_raft::conformance::log_store(kontiki_raft::Options::default(), place).await;
    assert_eq!(done, Ok(()));
}
