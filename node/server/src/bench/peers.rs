//! Other brokers beside ours. All of it is in the crate kontiki-peers.

use kontiki_peers::{Ground, PeersArgs, run as compare, table};

use super::BenchArgs;

/// Prints the comparison: a table, or a JSON object for each of its rows.
pub async fn run(args: &BenchArgs, own: &PeersArgs, json: bool) -> anyhow::Result<()> {
    let ground = Ground {
        kontiki: args.binary()?,
        config: args.config.clone(),
        dir: args.dir.clone(),
        nodes: args.nodes,
        record_bytes: args.record_bytes,
        short: args.short,
        repetitions: args.repetitions(),
    };
    let rows = compare(&ground, own, &|line| eprintln!("{line}")).await?;
    if json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        print!("{}", table::table(&rows));
    }
    Ok(())
}
