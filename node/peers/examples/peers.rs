//! `kontiki bench peers` by itself: without the server's crate, with the path of a binary of it.
//!
//! ```sh
//! cargo run --release -p kontiki-peers --features clients --example peers -- \
//!     --kontiki ./kontiki --short --dir /var/tmp
//! ```

use std::path::PathBuf;

use clap::Parser;
use kontiki_peers::{Ground, PeersArgs, run, table};

/// The same work on ours and on other brokers.
#[derive(Debug, Parser)]
struct Args {
    /// The binary that is measured.
    #[arg(long)]
    kontiki: PathBuf,
    /// A configuration file for our nodes.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the clusters' data goes.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Runs that take seconds.
    #[arg(long)]
    short: bool,
    /// One JSON object for each row.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peers: PeersArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let ground = Ground {
        kontiki: args.kontiki,
        config: args.config,
        dir: args.dir,
        nodes: 3,
        record_bytes: args.record_bytes,
        short: args.short,
    };
    let rows = run(&ground, &args.peers, &|line| eprintln!("{line}")).await?;
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        print!("{}", table::table(&rows));
    }
    Ok(())
}
