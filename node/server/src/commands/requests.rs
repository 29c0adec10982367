//! Requests and replies.

use clap::Args;
use kontiki_client::v1;
use serde_json::{Map, Value, json};

use super::output::{self, line};
use super::queue::{body, headers, headers_json};
use super::topic::{say, setting};
use super::{CommandError, Globals};

/// Something to be done and answered.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// The queue of those who do it
    queue: String,
    /// The request's body; without it, the standard input
    #[arg(allow_hyphen_values = true)]
    body: Option<String>,
    /// Its key
    #[arg(long)]
    key: Option<String>,
    /// A header; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    header: Vec<(String, String)>,
    /// How long to wait for the reply, at most 300000
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    timeout_ms: u32,
    /// Higher is delivered first
    #[arg(long, default_value_t = 0)]
    priority: u32,
    /// Its FIFO group
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
}

/// A reply.
#[derive(Debug, Args)]
pub struct ReplyArgs {
    /// What the request's header kontiki.reply-to says, or queue:NAME
    reply_to: String,
    /// The reply's body; without it, the standard input
    #[arg(allow_hyphen_values = true)]
    body: Option<String>,
    /// A header; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    header: Vec<(String, String)>,
    /// It could not be done: why
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// What the request's header kontiki.correlation-id says; only needed for a queue
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    correlation_id: String,
}

/// Asks, and shows the reply.
pub(super) async fn request(args: RequestArgs, globals: &Globals) -> Result<(), CommandError> {
    let request = v1::RequestRequest {
        queue: args.queue,
        body: body(args.body)?.into(),
        key: args.key.map(Into::into),
        headers: headers(args.header),
        timeout_ms: args.timeout_ms,
        priority: args.priority,
        group: args.group,
    };
    let answer = globals.client()?.request(request).await?;
    if globals.is_json() {
        let mut object = Map::new();
        output::put_bytes(&mut object, "body", Some(&answer.body));
        object.insert("headers".to_owned(), headers_json(&answer.headers));
        object.insert("error".to_owned(), json!(answer.error));
        object.insert("correlation_id".to_owned(), Value::from(answer.correlation_id));
        output::json(&Value::from(object))?;
    } else if answer.error.is_none() || !answer.body.is_empty() {
        line(&String::from_utf8_lossy(&answer.body))?;
    }
    match answer.error {
        None => Ok(()),
        Some(why) => Err(CommandError::fault(format!("the reply says that it failed: {why}"))),
    }
}

/// Replies.
pub(super) async fn reply(args: ReplyArgs, globals: &Globals) -> Result<(), CommandError> {
    let reply = v1::ReplyRequest {
        reply_to: args.reply_to.clone(),
        body: body(args.body)?.into(),
        headers: headers(args.header),
        error: args.error,
        correlation_id: args.correlation_id,
    };
    globals.client()?.reply(reply).await?;
    let text = format!("{} has the reply", args.reply_to);
    say(globals.is_json(), &text, || json!({ "reply_to": args.reply_to }))
}
