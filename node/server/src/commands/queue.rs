//! Queues: create, list, describe, alter, delete, purge; messages: send, receive, settle, peek.

mod redrive;

use std::io::Read as _;

use clap::{Args, Subcommand};
use kontiki_client::{Admin, v1};
use serde_json::{Map, Value, json};

use super::output::{self, line};
use super::topic::{say, setting, sorted};
use super::{CommandError, Globals};

const SETTINGS: &str = "\
Settings (times in milliseconds):
  lease_ms            how long a message is leased (default 30000)
  delay_ms            how long a message waits before its first delivery (default 0)
  time_to_live_ms     messages older than this are not delivered; -1: never (default)
  retention_ms        messages older than this are dropped, never dead-lettered; -1: never (default)
  length_max          unsettled messages that there may be; -1: any number (default)
  bytes_max           bytes of stored messages that there may be; -1: any number (default)
  overflow            reject (default) | drop-head | dead-letter-head
  priority_max        the highest priority of a message, up to 255 (default 0)
  priority_order      strict (default) | weighted: priority p has p + 1 shares of the deliveries
  fair_groups         true: messages of the group with the fewest in flight come first (default
                      false); not with fifo
  fifo                true: one message of a group after the other (default false)
  deduplication       explicit (default) | content
  deduplication_window_ms
                      how long ids are remembered (default 300000)
  attempts_max        attempts before a message is moved to dead_letter; 0: any number (default)
  attempts_counted    deliveries (default) | failures
  backoff_base_ms, backoff_factor, backoff_first_exponent, backoff_max_ms, backoff_jitter
                      how long a message waits after a failure (default: not at all)
  backoff.class.NAME  the same for failures of a class: base=1000,factor=2,max=60000 (and
                      first_exponent=, jitter=) | reject | no-retry; up to 16 classes
  dead_letter         the queue that takes what can't be delivered
  dead_letter_exchange, dead_letter_routing_key
                      or the exchange that leads it on, and with which key (default: its own)
  single_active_consumer
                      true: one consumer at a time gets messages, the others wait (default false)
  consumer_timeout_ms a consumer that is silent and holds nothing has gone (default 30000)
  exclusive           true: the first consumer's own, and deleted when that has gone (default false)
  auto_delete         true: deleted when its last consumer has gone (default false)
  expires_ms          deleted when nobody used it for so long; -1: never (default)
  breaker_failure_rate, breaker_window_ms, breaker_min_attempts, breaker_open_ms,
  breaker_half_open_probes
                      when delivery pauses because too much of it fails (default: never)
  in_flight_max       messages that may be leased at a time (default 100000)
  message_bytes_max, durability
                      as those of topics";

/// What to do with queues and their messages.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Creates a queue
    #[command(after_long_help = SETTINGS)]
    Create(CreateArgs),
    /// Lists queues
    List {
        /// Only names that begin like this
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// Shows settings of a queue, and how many messages are where
    Describe {
        /// The queue
        queue: String,
    },
    /// Changes settings of a queue
    #[command(after_long_help = SETTINGS)]
    Alter(AlterArgs),
    /// Deletes a queue with all its messages
    Delete {
        /// The queue
        queue: String,
    },
    /// Removes all messages that wait in a queue; those that consumers have stay
    Purge {
        /// The queue
        queue: String,
    },
    /// Moves messages that wait in a queue to another one, or back to where they came from
    ///
    /// A queue has one redrive at a time. Interrupting the command ends it, unless it was begun
    /// with --detach.
    Redrive(redrive::RedriveArgs),
    /// Shows the last redrives of a queue, the newest first
    Redrives {
        /// The queue
        queue: String,
    },
    /// Ends a redrive; what was moved by then stays moved
    RedriveCancel {
        /// The queue
        queue: String,
        /// The number of the redrive
        #[arg(value_name = "ID")]
        redrive: u64,
    },
    /// Sends a message
    Send(SendArgs),
    /// Receives messages; each is leased, and comes again unless it is settled in time
    Receive(ReceiveArgs),
    /// Acknowledges messages: they are done
    Ack(AckArgs),
    /// Gives messages back: they are delivered again
    Release(ReleaseArgs),
    /// Rejects messages: they go to the dead-letter queue, or are dropped where there is none
    Reject(RejectArgs),
    /// Keeps messages leased for longer
    Extend(ExtendArgs),
    /// Looks at messages without leasing them, oldest first
    Peek {
        /// The queue
        queue: String,
        /// How many at most
        #[arg(long, default_value_t = 10, value_name = "NUMBER")]
        max: u32,
        /// Where to begin: "next" of the page before
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        from: u64,
    },
}

/// A new queue.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: 1 to 249 characters of a-z A-Z 0-9 . _ -; without it, the node makes one
    #[arg(default_value = "", hide_default_value = true)]
    queue: String,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Succeed where it exists with the same settings
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
    /// The queue
    queue: String,
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

/// A message to be sent.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The queue
    queue: String,
    /// Its body; without it, the standard input
    #[arg(allow_hyphen_values = true)]
    body: Option<String>,
    /// Its key
    #[arg(long)]
    key: Option<String>,
    /// A header; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    header: Vec<(String, String)>,
    /// Not to be delivered for so many milliseconds
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// Not to be delivered before this time, in milliseconds since 1970
    #[arg(long, value_name = "MS", conflicts_with = "delay_ms")]
    deliver_at_ms: Option<i64>,
    /// Not to be delivered after so many milliseconds
    #[arg(long, value_name = "MS")]
    time_to_live_ms: Option<u64>,
    /// Higher is delivered first
    #[arg(long, default_value_t = 0)]
    priority: u32,
    /// Its group, in a FIFO queue or one with fair groups
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
    /// Its deduplication id
    #[arg(long, default_value = "", hide_default_value = true)]
    deduplication_id: String,
}

/// A wish for messages.
#[derive(Debug, Args)]
pub struct ReceiveArgs {
    /// The queue
    queue: String,
    /// How many at most
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    max: u32,
    /// How long to wait for the first one, at most 60000
    #[arg(long, default_value_t = 0, value_name = "MS")]
    wait_ms: u32,
    /// How long to lease them; 0: as long as the queue says
    #[arg(long, default_value_t = 0, value_name = "MS")]
    lease_ms: u64,
    /// Who receives, where the queue wants to know
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    consumer: String,
    /// Consumers of a higher priority are served first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "NUMBER")]
    priority: i32,
    /// Acknowledge them at once
    #[arg(long)]
    ack: bool,
}

/// Messages to be settled.
#[derive(Debug, Args)]
pub struct SettleArgs {
    /// The queue
    queue: String,
    /// What `receive` has shown
    #[arg(required = true)]
    receipts: Vec<String>,
}

/// Messages that are done.
#[derive(Debug, Args)]
pub struct AckArgs {
    #[command(flatten)]
    which: SettleArgs,
    /// Also where a lease has ended, and the message waits again or is leased to another consumer;
    /// not in a FIFO queue
    #[arg(long)]
    even_if_ended: bool,
}

/// Messages to be given back.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    which: SettleArgs,
    /// To be delivered after so many milliseconds
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// The delivery counts as a failure
    #[arg(long)]
    failed: bool,
    /// The class of the error, for which the queue may have a backoff of its own
    #[arg(long, default_value = "", hide_default_value = true, requires = "failed")]
    error_class: String,
    /// Why; a dead-lettered message has it in a header
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    #[arg(requires = "failed")]
    error: String,
}

/// Messages to be rejected.
#[derive(Debug, Args)]
pub struct RejectArgs {
    #[command(flatten)]
    which: SettleArgs,
    /// Why; a dead-lettered message has it in a header
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    error: String,
    /// The class of the error
    #[arg(long, default_value = "", hide_default_value = true)]
    error_class: String,
}

/// Messages to be kept for longer.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    #[command(flatten)]
    which: SettleArgs,
    /// For so many milliseconds from now on
    #[arg(long, value_name = "MS")]
    lease_ms: u64,
}

/// Does it.
pub(super) async fn run(command: QueueCommand, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    match command {
        QueueCommand::Create(args) => create(&admin, args, json).await,
        QueueCommand::List { prefix } => list(&admin, prefix, json).await,
        QueueCommand::Describe { queue } => describe(&admin, queue, json).await,
        QueueCommand::Alter(args) => alter(&admin, args, json).await,
        QueueCommand::Delete { queue } => {
            admin.delete_queue(v1::DeleteQueueRequest { queue: queue.clone() }).await?;
            say(json, &format!("{queue} is deleted"), || json!({ "queue": queue }))
        }
        QueueCommand::Purge { queue } => {
            let request = v1::PurgeQueueRequest { queue: queue.clone() };
            let removed = admin.purge_queue(request).await?.removed;
            let text = format!("{removed} messages of {queue} are removed");
            say(json, &text, || json!({ "queue": queue, "removed": removed }))
        }
        QueueCommand::Redrive(args) => redrive::run(&admin, args, json).await,
        QueueCommand::Redrives { queue } => redrive::list(&admin, queue, json).await,
        QueueCommand::RedriveCancel { queue, redrive } => {
            redrive::cancel(&admin, queue, redrive, json).await
        }
        QueueCommand::Send(args) => send(&admin, args, json).await,
        QueueCommand::Receive(args) => receive(&admin, args, json).await,
        QueueCommand::Ack(AckArgs { which, even_if_ended }) => {
            let SettleArgs { queue, receipts } = which;
            let request = v1::AcknowledgeRequest { queue, receipts, even_if_ended };
            settled(admin.acknowledge(request).await?, json)
        }
        QueueCommand::Release(ReleaseArgs { which, delay_ms, failed, error_class, error }) => {
            let SettleArgs { queue, receipts } = which;
            let request =
                v1::ReleaseRequest { queue, receipts, delay_ms, failed, error_class, error };
            settled(admin.release(request).await?, json)
        }
        QueueCommand::Reject(RejectArgs { which, error, error_class }) => {
            let SettleArgs { queue, receipts } = which;
            let request = v1::RejectRequest { queue, receipts, error, error_class };
            settled(admin.reject(request).await?, json)
        }
        QueueCommand::Extend(ExtendArgs { which, lease_ms }) => {
            let SettleArgs { queue, receipts } = which;
            settled(admin.extend(v1::ExtendRequest { queue, receipts, lease_ms }).await?, json)
        }
        QueueCommand::Peek { queue, max, from } => {
            let request = v1::PeekRequest { queue, from, max_messages: max };
            peeked(&admin.peek(request).await?, json)
        }
    }
}

async fn create(admin: &Admin, args: CreateArgs, json: bool) -> Result<(), CommandError> {
    let CreateArgs { queue, set, if_not_exists, validate_only } = args;
    let settings = set.into_iter().collect();
    let request = v1::CreateQueueRequest { queue, settings, validate_only, if_not_exists };
    let v1::CreateQueueResponse { queue_id, queue } = admin.create_queue(request).await?;
    let is_there = if validate_only { "could be created" } else { "is there" };
    let text = format!("queue {queue} {is_there}");
    say(json, &text, || json!({ "queue": queue, "queue_id": queue_id }))
}

async fn list(admin: &Admin, prefix: String, json: bool) -> Result<(), CommandError> {
    let mut queues = Vec::new();
    let mut after = String::new();
    loop {
        let request = v1::ListQueuesRequest { prefix: prefix.clone(), after, limit: 0 };
        let page = admin.list_queues(request).await?;
        queues.extend(page.queues);
        match queues.last() {
            Some(last) if page.more => after = last.queue.clone(),
            Some(_) | None => break,
        }
    }
    if json {
        let queues = queues.iter();
        let queues = queues.map(|one| json!({ "queue": one.queue, "queue_id": one.queue_id }));
        return output::json(&queues.collect());
    }
    let rows: Vec<_> = queues.iter().map(|one| vec![one.queue.clone()]).collect();
    output::table(&["QUEUE"], &rows)
}

async fn describe(admin: &Admin, queue: String, json: bool) -> Result<(), CommandError> {
    let about = admin.describe_queue(v1::DescribeQueueRequest { queue }).await?;
    let figures = [
        ("available", about.available),
        ("leased", about.leased),
        ("scheduled", about.scheduled),
        ("moving", about.moving),
        ("bytes", about.bytes),
        ("sent_total", about.sent_total),
        ("delivered_total", about.delivered_total),
        ("acknowledged_total", about.acknowledged_total),
        ("leases_ended_total", about.leases_ended_total),
        ("dropped_total", about.dropped_total),
        ("moved_total", about.moved_total),
        ("purged_total", about.purged_total),
        ("duplicates_total", about.duplicates_total),
        ("consumers", about.consumers.into()),
    ];
    let breaker = match about.breaker() {
        v1::BreakerState::Unspecified => "none",
        v1::BreakerState::Closed => "closed",
        v1::BreakerState::Open => "open",
        v1::BreakerState::HalfOpen => "half-open",
    };
    if json {
        let mut document = json!({
            "queue": about.queue,
            "queue_id": about.queue_id,
            "settings": about.settings,
            "settings_version": about.settings_version,
            "created_ms": about.created_ms,
            "oldest_ms": (about.oldest_ms > 0).then_some(about.oldest_ms),
            "active_consumer": about.active_consumer,
            "breaker": breaker,
        });
        for (name, value) in figures {
            document[name] = Value::from(value);
        }
        return output::json(&document);
    }
    line(&format!("{} (id {})\n", about.queue, about.queue_id))?;
    output::table(&["SETTING", "VALUE"], &sorted(&about.settings))?;
    line("")?;
    let mut rows: Vec<_> =
        figures.iter().map(|(name, value)| vec![(*name).to_owned(), value.to_string()]).collect();
    if about.oldest_ms > 0 {
        rows.push(vec!["oldest_ms".to_owned(), about.oldest_ms.to_string()]);
    }
    if !about.active_consumer.is_empty() {
        rows.push(vec!["active_consumer".to_owned(), about.active_consumer.clone()]);
    }
    if about.breaker() != v1::BreakerState::Unspecified {
        rows.push(vec!["breaker".to_owned(), breaker.to_owned()]);
    }
    output::table(&["MESSAGES", "NUMBER"], &rows)
}

async fn alter(admin: &Admin, args: AlterArgs, json: bool) -> Result<(), CommandError> {
    let AlterArgs { queue, set, reset, validate_only } = args;
    if set.is_empty() && reset.is_empty() {
        return Err(CommandError::usage(
            "nothing to change: give --set NAME=VALUE or --reset NAME",
        ));
    }
    let set = set.into_iter().collect();
    let request = v1::AlterQueueRequest { queue: queue.clone(), set, reset, validate_only };
    let settings = admin.alter_queue(request).await?.settings;
    if json {
        return output::json(&json!({ "queue": queue, "settings": settings }));
    }
    output::table(&["SETTING", "VALUE"], &sorted(&settings))
}

async fn send(admin: &Admin, args: SendArgs, json: bool) -> Result<(), CommandError> {
    let message = v1::OutgoingMessage {
        key: args.key.map(Into::into),
        body: body(args.body)?.into(),
        headers: headers(args.header),
        delay_ms: args.delay_ms,
        deliver_at_ms: args.deliver_at_ms,
        time_to_live_ms: args.time_to_live_ms,
        priority: args.priority,
        group: args.group,
        deduplication_id: args.deduplication_id,
    };
    let request =
        v1::SendRequest { queue: args.queue, messages: vec![message], ..Default::default() };
    let sent = admin.send(request).await?.results.into_iter().next();
    let sent = sent.ok_or_else(|| CommandError::fault("the node answered without a result"))?;
    let (id, duplicate) = (sent.message_id, sent.duplicate);
    let text = if duplicate { format!("{id} was sent before") } else { format!("{id} is sent") };
    say(json, &text, || json!({ "message_id": id, "duplicate": duplicate }))
}

/// What was said, or else the standard input.
pub(super) fn body(said: Option<String>) -> Result<Vec<u8>, CommandError> {
    if let Some(said) = said {
        return Ok(said.into_bytes());
    }
    let mut body = Vec::new();
    std::io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

pub(super) fn headers(said: Vec<(String, String)>) -> Vec<v1::Header> {
    let header = |(name, value): (String, String)| v1::Header { name, value: Some(value.into()) };
    said.into_iter().map(header).collect()
}

pub(super) fn headers_json(headers: &[v1::Header]) -> Value {
    let headers = headers.iter().map(|header| {
        let mut one = Map::new();
        one.insert("name".to_owned(), Value::from(header.name.clone()));
        output::put_bytes(&mut one, "value", header.value.as_deref());
        Value::from(one)
    });
    headers.collect()
}

async fn receive(admin: &Admin, args: ReceiveArgs, json: bool) -> Result<(), CommandError> {
    let ReceiveArgs { queue, max, wait_ms, lease_ms, consumer, priority, ack } = args;
    let request = v1::ReceiveRequest {
        queue: queue.clone(),
        max_messages: max,
        lease_ms,
        wait_ms,
        consumer,
        priority,
    };
    let messages = admin.receive(request).await?.messages;
    if json {
        output::json(&messages.iter().map(message_json).collect())?;
    } else {
        for message in &messages {
            show(message)?;
        }
    }
    if ack && !messages.is_empty() {
        let receipts = messages.into_iter().map(|message| message.receipt).collect();
        let answer = admin
            .acknowledge(v1::AcknowledgeRequest { queue, receipts, even_if_ended: false })
            .await?;
        if let Some(error) = answer.results.into_iter().find_map(|result| result.error) {
            return Err(kontiki_client::Error::from(error).into());
        }
    }
    Ok(())
}

fn show(message: &v1::IncomingMessage) -> Result<(), CommandError> {
    if message.receipt.is_empty() {
        line(&message.message_id)?;
    } else {
        line(&format!("{}  receipt {}", message.message_id, message.receipt))?;
    }
    let v1::IncomingMessage { deliveries, failures, sent_ms, .. } = message;
    line(&format!("  sent_ms {sent_ms}, deliveries {deliveries}, failures {failures}"))?;
    for header in &message.headers {
        let value = header.value.as_deref().unwrap_or_default();
        line(&format!("  {}: {}", header.name, String::from_utf8_lossy(value)))?;
    }
    line(&format!("  {}", String::from_utf8_lossy(&message.body)))
}

fn message_json(message: &v1::IncomingMessage) -> Value {
    let mut object = Map::new();
    object.insert("message_id".to_owned(), Value::from(message.message_id.clone()));
    if !message.receipt.is_empty() {
        object.insert("receipt".to_owned(), Value::from(message.receipt.clone()));
    }
    output::put_bytes(&mut object, "key", message.key.as_deref());
    output::put_bytes(&mut object, "body", Some(&message.body));
    object.insert("headers".to_owned(), headers_json(&message.headers));
    for (name, value) in [
        ("sent_ms", Value::from(message.sent_ms)),
        ("deliveries", Value::from(message.deliveries)),
        ("failures", Value::from(message.failures)),
        ("until_ms", Value::from(message.until_ms)),
        ("group", Value::from(message.group.clone())),
        ("priority", Value::from(message.priority)),
    ] {
        object.insert(name.to_owned(), value);
    }
    Value::from(object)
}

fn settled(answer: v1::SettleResponse, json: bool) -> Result<(), CommandError> {
    let mut failed = None;
    let mut rows = Vec::new();
    for result in answer.results {
        let outcome = result.error.as_ref().map_or("done", |error| error.message.as_str());
        rows.push((result.receipt, outcome.to_owned()));
        failed = failed.or(result.error);
    }
    if json {
        let rows =
            rows.iter().map(|(receipt, outcome)| json!({ "receipt": receipt, "outcome": outcome }));
        output::json(&rows.collect())?;
    } else {
        for (receipt, outcome) in rows {
            line(&format!("{receipt}  {outcome}"))?;
        }
    }
    failed.map_or(Ok(()), |error| Err(kontiki_client::Error::from(error).into()))
}

fn peeked(answer: &v1::PeekResponse, json: bool) -> Result<(), CommandError> {
    if json {
        let messages = answer.messages.iter().map(|peeked| {
            let mut document = peeked.message.as_ref().map_or(Value::Null, message_json);
            document["standing"] = Value::from(standing(peeked));
            document
        });
        let next = answer.more.then_some(answer.next);
        return output::json(&json!({ "messages": messages.collect::<Value>(), "next": next }));
    }
    for peeked in &answer.messages {
        if let Some(message) = &peeked.message {
            show(message)?;
            line(&format!("  {}", standing(peeked)))?;
        }
    }
    if answer.more {
        line(&format!("more: --from {}", answer.next))?;
    }
    Ok(())
}

fn standing(peeked: &v1::peek_response::Peeked) -> String {
    let name = peeked.standing().as_str_name();
    name.strip_prefix("STANDING_").unwrap_or(name).to_lowercase()
}
