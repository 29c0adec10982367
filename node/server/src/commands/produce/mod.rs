//! Writes records: lines or JSON objects of the standard input, or a file in chunks.

mod file;
mod input;
mod progress;
mod sender;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kontiki_client::{Acks, Compression, Header, ProducerOptions};

use super::{CommandError, Globals};
use sender::Sender;

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AcksArg {
    /// At once; failures are not noticed.
    None,
    /// When the leader has it, not yet durably.
    Leader,
    /// When a quorum has it on disk.
    Quorum,
}

/// How record batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What the standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputArg {
    /// Each line is a record's value.
    Lines,
    /// Each line is a JSON object, as `kontiki consume --output json` writes it: key, value,
    /// headers, partition, timestamp_ms; key_base64 and value_base64 for what is not text.
    Json,
}

/// Records to be written.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  echo 'hello, raft' | kontiki produce letters
  printf 'alice:hi\\nbob:ho\\n' | kontiki produce letters --key-separator :
  kontiki produce letters --file photo.tar
  kontiki consume letters --until-end --output json | kontiki produce copies --input json")]
pub struct ProduceArgs {
    /// The topic; it has to exist
    topic: String,
    /// The partition; by default the key decides, and records without a key go to all in turn.
    /// With --file: 0
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// What ends the key in each line; by default lines have no key
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    key_separator: Option<String>,
    /// A header for every record; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// What the standard input is
    #[arg(long, value_enum, default_value = "lines", conflicts_with = "file")]
    input: InputArg,
    /// Write this file, byte for byte, in chunks, to one partition; - is the standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Bytes of each record that a file is cut into
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256 << 10,
        value_parser = clap::value_parser!(u32).range(1..=32 << 20),
        requires = "file"
    )]
    chunk_bytes: u32,
    /// When a record counts as written
    #[arg(long, value_enum, default_value = "quorum")]
    acks: AcksArg,
    /// How record batches are compressed
    #[arg(long, value_enum, default_value = "none")]
    compression: CompressionArg,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ProduceArgs {
    fn options(&self, globals: &Globals) -> ProducerOptions {
        let acks = match self.acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::Quorum => Acks::Quorum,
        };
        let compression = match self.compression {
            CompressionArg::None => Compression::None,
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Snappy => Compression::Snappy,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        };
        ProducerOptions {
            acks,
            compression,
            idempotent: acks == Acks::Quorum,
            delivery_timeout_ms: globals.timeout_ms,
            ..ProducerOptions::default()
        }
    }

    fn headers(&self) -> Vec<Header> {
        let headers = self.header.iter().cloned();
        headers
            .map(|(name, value)| Header { name: name.into(), value: Some(value.into()) })
            .collect()
    }
}

/// Does it. Ctrl-C ends it after what was read is written.
pub(super) async fn run(args: ProduceArgs, globals: &Globals) -> Result<(), CommandError> {
    let client = globals.client()?;
    let producer = client.producer(args.options(globals)).await?;
    let mut sender = Sender::new(producer, args.topic.clone(), args.file.is_some());
    match &args.file {
        Some(path) => file::send(path, &args, &mut sender).await?,
        None => input::send(&args, &mut sender).await?,
    }
    sender.finish(globals.is_json()).await
}
