//! Publishes messages to an exchange: one, or each line of the standard input.

use std::io::BufRead as _;

use clap::Args;
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};

use super::output::{self, line};
use super::topic::setting;
use super::{CommandError, Globals};

/// Messages in one call.
const AT_ONCE: usize = 500;
/// Bytes of them, about.
const AT_ONCE_BYTES: usize = 1 << 20;

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
    /// Higher is delivered first
    #[arg(long, default_value_t = 0)]
    priority: u32,
    /// Their FIFO group
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
}

/// Does it.
pub(super) async fn run(mut args: PublishArgs, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    if let Some(body) = args.body.take() {
        return publish(&admin, &args, vec![body.into_bytes()], json).await;
    }
    let mut bodies = Vec::new();
    let mut bytes = 0;
    for body in std::io::stdin().lock().split(b'\n') {
        let body = body?;
        bytes += body.len();
        bodies.push(body);
        if bodies.len() == AT_ONCE || bytes >= AT_ONCE_BYTES {
            publish(&admin, &args, std::mem::take(&mut bodies), json).await?;
            bytes = 0;
        }
    }
    if bodies.is_empty() {
        return Ok(());
    }
    publish(&admin, &args, bodies, json).await
}

/// Publishes, and ends with the first message that failed.
async fn publish(
    admin: &Admin,
    args: &PublishArgs,
    bodies: Vec<Vec<u8>>,
    json: bool,
) -> Result<(), CommandError> {
    let headers: Vec<v1::Header> = args
        .header
        .iter()
        .map(|(name, value)| {
            let value = Some(value.clone().into());
            v1::Header { name: name.clone(), value }
        })
        .collect();
    let messages = bodies.into_iter().map(|body| {
        let message = v1::OutgoingMessage {
            body: body.into(),
            headers: headers.clone(),
            delay_ms: args.delay_ms,
            priority: args.priority,
            group: args.group.clone(),
            ..Default::default()
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
    let request = v1::PublishRequest { exchange: args.exchange.clone(), messages, timeout_ms: 0 };
    let results = admin.publish(request).await?.results;
    if json {
        let results = results.iter().map(|result| {
            let error = result.error.as_ref().map(|error| error.message.clone());
            json!({ "queues": result.queues, "message_ids": result.message_ids, "error": error })
        });
        output::json(&results.collect::<Value>())?;
    } else {
        for result in results.iter().filter(|result| result.error.is_none()) {
            match result.queues {
                0 => line("dropped: no queue gets it")?,
                queues => line(&format!("published to {queues} queues"))?,
            }
        }
    }
    let failed = results.into_iter().find_map(|result| result.error);
    failed.map_or(Ok(()), |error| Err(kontiki_client::Error::from(error).into()))
}
