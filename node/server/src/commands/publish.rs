//! Publishes messages to an exchange: one, or each line of the standard input.

use std::io;
use std::time::Duration;

use clap::Args;
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::lines::read_lines;
use super::output::{self, line};
use super::topic::setting;
use super::{CommandError, Globals};

/// Messages in one call.
const AT_ONCE: usize = 500;
/// Bytes of them, about.
const AT_ONCE_BYTES: usize = 1 << 20;
/// How long a line waits for the next one.
const PATIENCE: Duration = Duration::from_millis(20);

/// Messages to be published.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The exchange; "" is the default one, which leads to the queue that the key names
    exchange: String,
    /// The body; without it, each line of the standard input is a message
    #[arg(allow_hyphen_values = true)]
    body: Option<String>,
    /// The routing key
    #[arg(long, default_value = "", hide_default_value = true)]
    key: String,
    /// A further routing key, which receivers see; may be repeated
    #[arg(long, value_name = "KEY")]
    cc: Vec<String>,
    /// A further routing key that nobody sees; may be repeated
    #[arg(long, value_name = "KEY")]
    bcc: Vec<String>,
    /// A header; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    header: Vec<(String, String)>,
    /// A failure where no queue gets a message
    #[arg(long)]
    mandatory: bool,
    /// Not to be delivered for so many milliseconds
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// Not to be delivered before, in milliseconds since 1970; wins over the delay
    #[arg(long, value_name = "MS")]
    deliver_at_ms: Option<i64>,
    /// Not to be delivered after so many milliseconds
    #[arg(long, value_name = "MS")]
    time_to_live_ms: Option<u64>,
    /// Higher is delivered first
    #[arg(long, default_value_t = 0)]
    priority: u32,
    /// Their FIFO group
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
    /// Its deduplication id: published again, it is stored once. Lines of the standard input have
    /// ID/1, ID/2 and so on
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    deduplication_id: String,
}

/// Does it.
pub(super) async fn run(mut args: PublishArgs, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    if let Some(body) = args.body.take() {
        let published = publish(&admin, &args, vec![(args.deduplication_id.clone(), body.into())]);
        let results = published.await?;
        if json {
            output::json(&results.iter().map(shown).collect::<Value>())?;
        }
        return end(results, json);
    }
    let mut lines = read_lines();
    let mut number = 0_u64;
    while let Some(bodies) = gather(&mut lines).await? {
        let messages = bodies.into_iter().map(|body| {
            number += 1;
            let id = match args.deduplication_id.as_str() {
                "" => String::new(),
                id => format!("{id}/{number}"),
            };
            (id, body)
        });
        let results = publish(&admin, &args, messages.collect()).await?;
        if json {
            // One document for each line, so that they can be told apart however many calls it was.
            results.iter().try_for_each(|result| line(&shown(result).to_string()))?;
        }
        end(results, json)?;
    }
    Ok(())
}

/// The next lines, as many as are there; `None` at the end.
async fn gather(
    lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
) -> Result<Option<Vec<Vec<u8>>>, CommandError> {
    let Some(first) = lines.recv().await else { return Ok(None) };
    let mut gathered = vec![first?];
    let mut bytes = gathered[0].len();
    while gathered.len() < AT_ONCE && bytes < AT_ONCE_BYTES {
        let Ok(Some(next)) = tokio::time::timeout(PATIENCE, lines.recv()).await else { break };
        let next = next?;
        bytes += next.len();
        gathered.push(next);
    }
    Ok(Some(gathered))
}

fn shown(result: &v1::publish_response::Result) -> Value {
    let error = result.error.as_ref().map(|error| error.message.clone());
    json!({ "queues": result.queues, "message_ids": result.message_ids, "error": error })
}

/// Tells what became of messages; a failure is that of the first one that failed.
fn end(results: Vec<v1::publish_response::Result>, json: bool) -> Result<(), CommandError> {
    for result in results.iter().filter(|result| !json && result.error.is_none()) {
        match result.queues {
            0 => line("dropped: no queue gets it")?,
            queues => line(&format!("published to {queues} queues"))?,
        }
    }
    let failed = results.into_iter().find_map(|result| result.error);
    failed.map_or(Ok(()), |error| Err(kontiki_client::Error::from(error).into()))
}

/// Publishes bodies, each with its deduplication id.
async fn publish(
    admin: &Admin,
    args: &PublishArgs,
    bodies: Vec<(String, Vec<u8>)>,
) -> Result<Vec<v1::publish_response::Result>, CommandError> {
    let headers: Vec<v1::Header> = args
        .header
        .iter()
        .map(|(name, value)| {
            let value = Some(value.clone().into());
            v1::Header { name: name.clone(), value }
        })
        .collect();
    let messages = bodies.into_iter().map(|(deduplication_id, body)| {
        let message = v1::OutgoingMessage {
            body: body.into(),
            headers: headers.clone(),
            delay_ms: args.delay_ms,
            priority: args.priority,
            group: args.group.clone(),
            deduplication_id,
            deliver_at_ms: args.deliver_at_ms,
            time_to_live_ms: args.time_to_live_ms,
            key: None,
        };
        v1::Publication {
            routing_key: args.key.clone(),
            mandatory: args.mandatory,
            message: Some(message),
            cc: args.cc.clone(),
            bcc: args.bcc.clone(),
        }
    });
    let messages = messages.collect();
    let exchange = args.exchange.clone();
    let request = v1::PublishRequest { exchange, messages, timeout_ms: 0, correlation_id: 0 };
    Ok(admin.publish(request).await?.results)
}
