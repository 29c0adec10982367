//! Reads records, and writes them to the standard output or to a file.

pub(super) mod sink;

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use kontiki_client::{Client, Consumer, ConsumerOptions, Fetched, OutOfRange, Position, v1};

use super::{CommandError, Globals};
use sink::Sink;
use v1::list_offsets_request::{Query, query::At};

/// Partitions that are asked about at once: the contract's limit.
const QUERIES_MAX: usize = 1_024;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From(Position);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected earliest, latest, an OFFSET, or @MILLISECONDS since 1970";
        Ok(Self(match text {
            "earliest" => Position::Earliest,
            "latest" => Position::Latest,
            _ => match text.strip_prefix('@') {
                Some(ms) => Position::Timestamp(ms.parse().map_err(|_| wrong())?),
                None => Position::Offset(text.parse().map_err(|_| wrong())?),
            },
        }))
    }
}

/// Records to be read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Values are written as they are, each with a newline; into a file without one. With --output json
each record is a JSON object in one line. Ctrl-C ends it.

Examples:
  kontiki consume letters --from earliest --until-end
  kontiki consume letters --partition 0 --from @1700000000000 --max-records 10 --output json
  kontiki consume letters --from earliest --until-end --output-file photo.tar")]
pub struct ConsumeArgs {
    /// The topic
    topic: String,
    /// The partitions; all by default
    #[arg(long, value_name = "NUMBER,...", value_delimiter = ',')]
    partition: Vec<u32>,
    /// Where to begin: earliest, latest, an offset, or @ and milliseconds since 1970. By default
    /// latest, with --until-end earliest
    #[arg(long, value_name = "WHERE")]
    from: Option<From>,
    /// End after this many records
    #[arg(long, value_name = "NUMBER")]
    max_records: Option<u64>,
    /// End with the last record that was there at the start, instead of waiting for more
    #[arg(long)]
    until_end: bool,
    /// Write the key too, and this between key and value
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Write the values to this file, byte for byte; it is replaced
    #[arg(long, short = 'o', value_name = "FILE", conflicts_with = "key_separator")]
    output_file: Option<PathBuf>,
}

impl ConsumeArgs {
    fn from(&self) -> Position {
        let default = if self.until_end { Position::Earliest } else { Position::Latest };
        self.from.map_or(default, |from| from.0)
    }
}

/// Does it.
pub(super) async fn run(args: ConsumeArgs, globals: &Globals) -> Result<(), CommandError> {
    let client = globals.client()?;
    let partitions = partitions(&client, &args).await?;
    let mut sink = Sink::new(&args, globals.is_json())?;
    let ends = if args.until_end {
        offsets(&client, &args.topic, &partitions, At::Latest(true)).await?
    } else {
        HashMap::new()
    };
    let mut consumer = consumer(&client, &args)?;
    let mut left = args.max_records.unwrap_or(u64::MAX);
    let mut open = 0_usize;
    for (partition, from) in starts(&client, &args, &partitions).await? {
        let is_over = ends.get(&partition).is_some_and(|end| *end <= from);
        if !is_over {
            consumer.assign(&args.topic, partition, Position::Offset(from)).await?;
            open += 1;
        }
    }
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while open > 0 && left > 0 {
        let fetched = tokio::select! {
            fetched = consumer.next() => fetched?,
            _ = &mut interrupt => break,
        };
        let end = ends.get(&fetched.partition).copied();
        write(&mut sink, &fetched, end, &mut left)?;
        if end.is_some_and(|end| fetched.next_offset >= end) {
            open -= 1;
            consumer.unassign(&args.topic, fetched.partition).await?;
        }
    }
    sink.finish()
}

fn consumer(client: &Client, args: &ConsumeArgs) -> Result<Consumer, CommandError> {
    // What was deleted since the start was looked up isn't asked for by anybody.
    let on_out_of_range = match args.from() {
        Position::Earliest => OutOfRange::Earliest,
        Position::Latest | Position::Offset(_) | Position::Timestamp(_) => OutOfRange::Error,
    };
    Ok(client.consumer(ConsumerOptions { on_out_of_range, ..ConsumerOptions::default() })?)
}

fn write(
    sink: &mut Sink,
    fetched: &Fetched,
    end: Option<u64>,
    left: &mut u64,
) -> Result<(), CommandError> {
    for record in &fetched.records {
        if *left == 0 || end.is_some_and(|end| record.offset >= end) {
            break;
        }
        sink.write(&fetched.topic, fetched.partition, record)?;
        *left -= 1;
    }
    sink.flush()
}

/// The partitions that are asked for, or all.
async fn partitions(client: &Client, args: &ConsumeArgs) -> Result<Vec<u32>, CommandError> {
    let answer = client.metadata(&[&args.topic]).await?;
    let about = answer.topics.into_iter().next();
    let about =
        about.ok_or_else(|| CommandError::fault("the node didn't answer about the topic"))?;
    if let Some(error) = about.error {
        return Err(kontiki_client::Error::from(error).into());
    }
    let all: Vec<u32> = about.partitions.iter().map(|its| its.partition).collect();
    if let Some(unknown) = args.partition.iter().find(|asked| !all.contains(asked)) {
        let (topic, count) = (&args.topic, all.len());
        return Err(CommandError::usage(format!(
            "{topic} has no partition {unknown}: it has {count}, from 0"
        )));
    }
    if args.partition.is_empty() {
        return Ok(all);
    }
    let mut asked = args.partition.clone();
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}

/// With which offset each partition begins.
async fn starts(
    client: &Client,
    args: &ConsumeArgs,
    partitions: &[u32],
) -> Result<Vec<(u32, u64)>, CommandError> {
    let at = match args.from() {
        Position::Offset(offset) => {
            return Ok(partitions.iter().map(|partition| (*partition, offset)).collect());
        }
        Position::Earliest => At::Earliest(true),
        Position::Latest => At::Latest(true),
        Position::Timestamp(ms) => At::TimestampMs(ms),
    };
    let mut found = offsets(client, &args.topic, partitions, at).await?;
    let missing: Vec<u32> =
        partitions.iter().filter(|its| !found.contains_key(its)).copied().collect();
    if !missing.is_empty() {
        // Nothing is as young as the time asked for.
        found.extend(offsets(client, &args.topic, &missing, At::Latest(true)).await?);
    }
    let mut starts: Vec<(u32, u64)> = found.into_iter().collect();
    starts.sort_unstable();
    Ok(starts)
}

/// The offsets of all partitions where there is one.
async fn offsets(
    client: &Client,
    topic: &str,
    partitions: &[u32],
    at: At,
) -> Result<HashMap<u32, u64>, CommandError> {
    let mut offsets = HashMap::new();
    for some in partitions.chunks(QUERIES_MAX) {
        let queries = some.iter().map(|partition| Query {
            topic: topic.to_owned(),
            partition: *partition,
            at: Some(at),
        });
        let request = v1::ListOffsetsRequest { queries: queries.collect(), routing: 0 };
        for result in client.admin().list_offsets(request).await?.results {
            if let Some(error) = result.error {
                let error = CommandError::from(kontiki_client::Error::from(error));
                return Err(error.context(format!("{topic}/{}", result.partition)));
            }
            if result.found {
                offsets.insert(result.partition, result.offset);
            }
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_an_offset_or_a_time() {
        let parsed = |text: &str| text.parse::<From>().map(|from| from.0);
        assert_eq!(parsed("earliest"), Ok(Position::Earliest));
        assert_eq!(parsed("latest"), Ok(Position::Latest));
        assert_eq!(parsed("17"), Ok(Position::Offset(17)));
        assert_eq!(parsed("@-5"), Ok(Position::Timestamp(-5)));
        for wrong in ["", "first", "-1", "@", "@x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
