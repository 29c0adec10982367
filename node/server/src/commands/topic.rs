//! Topics: create, list, describe, alter, delete, add partitions, delete records.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};

use super::output::{self, line};
use super::{CommandError, Globals};

const SETTINGS: &str = "\
Settings:
  retention_ms        delete batches older than this; -1: never (default 604800000, 7 days)
  retention_bytes     delete the oldest batches of a partition over this size; -1: never (default)
  message_bytes_max   the largest record batch, in bytes (default 1048588, at most 67108864)
  durability          quorum-fsync (default) | quorum-memory | leader
  timestamp_type      create-time (default) | log-append-time
  cleanup_policy      delete
  producer_expiry_ms  forget an idempotent producer after this long (default 604800000)";

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Creates a topic
    #[command(after_long_help = SETTINGS)]
    Create(CreateArgs),
    /// Lists topics
    List {
        /// Only names that begin like this
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// Shows settings, partitions, leaders, offsets and sizes of a topic
    Describe {
        /// The topic
        topic: String,
    },
    /// Changes settings of a topic
    #[command(after_long_help = SETTINGS)]
    Alter(AlterArgs),
    /// Deletes a topic with all its records
    Delete {
        /// The topic
        topic: String,
    },
    /// Raises a topic's number of partitions; records with keys may change their partition by it
    AddPartitions {
        /// The topic
        topic: String,
        /// The new number of partitions, more than now
        #[arg(long, value_name = "NUMBER")]
        partitions: u32,
    },
    /// Deletes the oldest records of a partition
    DeleteRecords(DeleteRecordsArgs),
}

/// A new topic.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: 1 to 249 characters of a-z A-Z 0-9 . _ -
    topic: String,
    /// Its number of partitions, 1 to 4096
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    partitions: u32,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Succeed where it exists with the same number of partitions
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be created
    #[arg(long)]
    validate_only: bool,
}

/// Changes of settings.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct AlterArgs {
    /// The topic
    topic: String,
    /// A setting to change; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// A setting to put back to its default; may be repeated
    #[arg(long, value_name = "NAME")]
    reset: Vec<String>,
    /// Only check whether they could be changed
    #[arg(long)]
    validate_only: bool,
}

/// Which records to delete.
#[derive(Debug, Args)]
pub struct DeleteRecordsArgs {
    /// The topic
    topic: String,
    /// The partition
    #[arg(long, value_name = "NUMBER")]
    partition: u32,
    /// Delete the records below this offset
    #[arg(long, value_name = "OFFSET", required_unless_present = "all", conflicts_with = "all")]
    before: Option<u64>,
    /// Delete all records that are there now
    #[arg(long)]
    all: bool,
}

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Does it.
pub(super) async fn run(command: TopicCommand, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    match command {
        TopicCommand::Create(args) => create(&admin, args, json).await,
        TopicCommand::List { prefix } => list(&admin, prefix, json).await,
        TopicCommand::Describe { topic } => describe(&admin, topic, json).await,
        TopicCommand::Alter(args) => alter(&admin, args, json).await,
        TopicCommand::Delete { topic } => {
            admin.delete_topic(v1::DeleteTopicRequest { topic: topic.clone() }).await?;
            say(json, &format!("{topic} is deleted"), || json!({ "topic": topic }))
        }
        TopicCommand::AddPartitions { topic, partitions } => {
            let request = v1::AddPartitionsRequest { topic: topic.clone(), partitions };
            let partitions = admin.add_partitions(request).await?.partitions;
            let text = format!("{topic} has {partitions} partitions now");
            say(json, &text, || json!({ "topic": topic, "partitions": partitions }))
        }
        TopicCommand::DeleteRecords(args) => delete_records(&admin, args, json).await,
    }
}

pub(super) fn say(
    json: bool,
    text: &str,
    document: impl FnOnce() -> Value,
) -> Result<(), CommandError> {
    if json { output::json(&document()) } else { line(text) }
}

async fn create(admin: &Admin, args: CreateArgs, json: bool) -> Result<(), CommandError> {
    let CreateArgs { topic, partitions, set, if_not_exists, validate_only } = args;
    let request = v1::CreateTopicRequest {
        topic: topic.clone(),
        partitions,
        settings: set.into_iter().collect(),
        validate_only,
        if_not_exists,
    };
    let v1::CreateTopicResponse { topic_id, partitions } = admin.create_topic(request).await?;
    let is_there = if validate_only { "could be created" } else { "is there" };
    let text = format!("{topic} {is_there}, with {partitions} partitions");
    say(json, &text, || json!({ "topic": topic, "topic_id": topic_id, "partitions": partitions }))
}

async fn list(admin: &Admin, prefix: String, json: bool) -> Result<(), CommandError> {
    let mut topics = Vec::new();
    let mut after = String::new();
    loop {
        let request = v1::ListTopicsRequest { prefix: prefix.clone(), after, limit: 0 };
        let page = admin.list_topics(request).await?;
        topics.extend(page.topics);
        match topics.last() {
            Some(last) if page.more => after = last.topic.clone(),
            Some(_) | None => break,
        }
    }
    if json {
        let topics = topics.iter().map(|topic| {
            let (name, id, partitions) = (&topic.topic, topic.topic_id, topic.partitions);
            let queue = topic.is_queue;
            json!({ "topic": name, "topic_id": id, "partitions": partitions, "is_queue": queue })
        });
        return output::json(&topics.collect());
    }
    let rows: Vec<_> = topics
        .iter()
        .map(|topic| {
            let kind = if topic.is_queue { "queue" } else { "log" };
            vec![topic.topic.clone(), topic.partitions.to_string(), kind.to_owned()]
        })
        .collect();
    output::table(&["TOPIC", "PARTITIONS", "KIND"], &rows)
}

async fn describe(admin: &Admin, topic: String, json: bool) -> Result<(), CommandError> {
    let about = admin.describe_topic(v1::DescribeTopicRequest { topic }).await?;
    if json {
        return output::json(&describe_json(&about));
    }
    line(&format!("{} (id {})\n", about.topic, about.topic_id))?;
    output::table(&["SETTING", "VALUE"], &sorted(&about.settings))?;
    line("")?;
    let rows: Vec<_> = about
        .partitions
        .iter()
        .map(|partition| {
            let info = partition.info.clone().unwrap_or_default();
            let figure = |value: u64| {
                if partition.known { value.to_string() } else { "?".to_owned() }
            };
            let leader = if info.leader == 0 { "none".to_owned() } else { info.leader.to_string() };
            vec![
                info.partition.to_string(),
                info.shard.to_string(),
                leader,
                output::list(&info.replicas),
                figure(partition.log_start_offset),
                figure(partition.high_watermark),
                figure(partition.bytes),
            ]
        })
        .collect();
    output::table(&["PARTITION", "SHARD", "LEADER", "REPLICAS", "START", "END", "BYTES"], &rows)
}

fn describe_json(about: &v1::DescribeTopicResponse) -> Value {
    let partitions = about.partitions.iter().map(|partition| {
        let info = partition.info.clone().unwrap_or_default();
        json!({
            "partition": info.partition,
            "shard": info.shard,
            "leader": info.leader,
            "leader_epoch": info.leader_epoch,
            "replicas": info.replicas,
            "known": partition.known,
            "log_start_offset": partition.log_start_offset,
            "high_watermark": partition.high_watermark,
            "bytes": partition.bytes,
        })
    });
    json!({
        "topic": about.topic,
        "topic_id": about.topic_id,
        "settings": about.settings,
        "partitions": partitions.collect::<Value>(),
    })
}

pub(super) fn sorted(settings: &HashMap<String, String>) -> Vec<Vec<String>> {
    let mut rows: Vec<_> =
        settings.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    rows.sort();
    rows
}

async fn alter(admin: &Admin, args: AlterArgs, json: bool) -> Result<(), CommandError> {
    let AlterArgs { topic, set, reset, validate_only } = args;
    if set.is_empty() && reset.is_empty() {
        return Err(CommandError::usage(
            "nothing to change: give --set NAME=VALUE or --reset NAME",
        ));
    }
    let set = set.into_iter().collect();
    let request = v1::AlterTopicRequest { topic: topic.clone(), set, reset, validate_only };
    let settings = admin.alter_topic(request).await?.settings;
    if json {
        return output::json(&json!({ "topic": topic, "settings": settings }));
    }
    output::table(&["SETTING", "VALUE"], &sorted(&settings))
}

async fn delete_records(
    admin: &Admin,
    args: DeleteRecordsArgs,
    json: bool,
) -> Result<(), CommandError> {
    let DeleteRecordsArgs { topic, partition, before, all } = args;
    let target = v1::delete_records_request::Target {
        topic: topic.clone(),
        partition,
        before_offset: before.unwrap_or(0),
        all,
    };
    let answer = admin.delete_records(v1::DeleteRecordsRequest { targets: vec![target] }).await?;
    let result = answer.results.into_iter().next();
    let result = result.ok_or_else(|| CommandError::fault("the node answered without a result"))?;
    if let Some(error) = result.error {
        return Err(kontiki_client::Error::from(error).into());
    }
    let start = result.log_start_offset;
    let text = format!("{topic}/{partition} begins at offset {start} now");
    say(
        json,
        &text,
        || json!({ "topic": topic, "partition": partition, "log_start_offset": start }),
    )
}
