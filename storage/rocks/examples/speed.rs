//! Rows of 1 KiB, a sync for every 64, against bare fdatasync; and what it takes in memory.

use std::io::Write;

use futures_util::FutureExt;
use kontiki_storage::{Engine, Family, WriteBatch};
use kontiki_storage_rocks::{Options, RocksEngine};
use tokio::time::Instant;

const SYNCS: u64 = 300;

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status.lines().find(|l| l.starts_with("VmRSS")).expect("it is there").to_owned()
}

fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).expect("a directory"));
    let mut file = std::fs::File::create(dir.join("bare")).expect("a file");
    let start = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[7; 64 << 10]).expect("space");
        file.sync_data().expect("a sync");
    }
    println!("bare: {:.0} rows/s", (SYNCS * 64) as f64 / start.elapsed().as_secs_f64());
    println!("before: {}", resident());
    let engine = RocksEngine::open(&dir.join("rows"), Options::default()).expect("it opens");
    println!("open: {}", resident());
    let start = Instant::now();
    for n in 0..SYNCS * 64 {
        let mut batch = WriteBatch::new();
        batch.put(Family::Log, n.to_be_bytes().to_vec(), vec![n as u8; 1024]);
        engine.write(batch).expect("a write");
        if n % 64 == 63 {
            engine.sync().now_or_never().expect("it blocks").expect("a sync");
        }
    }
    println!("engine: {:.0} rows/s", (SYNCS * 64) as f64 / start.elapsed().as_secs_f64());
    println!("after: {}\n{:?}", resident(), engine.stats());
}
