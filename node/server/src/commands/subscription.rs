//! Durable subscriptions: create, list, delete; and what is open on all nodes.

use clap::{Args, Subcommand};
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};
use v1::content_filter::Filter;
use v1::list_subscriptions_response::{Durable, Open};
use v1::start_at::At;

use super::output;
use super::subscribe::{Begin, FilterArgs};
use super::topic::say;
use super::{CommandError, Globals};

/// What to do with subscriptions.
#[derive(Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// Creates a durable subscription
    Create(CreateArgs),
    /// Lists durable subscriptions, and all that are open on any node
    List {
        /// Only durable ones with names that begin like this
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
        /// Also show how many records each durable one is behind
        #[arg(long)]
        lag: bool,
    },
    /// Deletes a durable subscription
    Delete {
        /// The subscription
        subscription: String,
    },
}

/// A new durable subscription.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: 1 to 249 characters of a-z A-Z 0-9 . _ -
    subscription: String,
    /// A pattern over names of topics
    pattern: String,
    #[command(flatten)]
    which: FilterArgs,
    /// Where to begin: earliest, latest (the default), or @ and milliseconds since 1970
    #[arg(long, value_name = "WHERE")]
    from: Option<Begin>,
    /// Succeed where it exists with the same pattern and filter
    #[arg(long)]
    if_not_exists: bool,
}

/// Does it.
pub(super) async fn run(
    command: SubscriptionCommand,
    globals: &Globals,
) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    match command {
        SubscriptionCommand::Create(args) => create(&admin, args, json).await,
        SubscriptionCommand::List { prefix, lag } => list(&admin, prefix, lag, json).await,
        SubscriptionCommand::Delete { subscription } => {
            let request = v1::DeleteSubscriptionRequest { subscription: subscription.clone() };
            admin.delete_subscription(request).await?;
            let text = format!("subscription {subscription} is deleted");
            say(json, &text, || json!({ "subscription": subscription }))
        }
    }
}

async fn create(admin: &Admin, args: CreateArgs, json: bool) -> Result<(), CommandError> {
    let CreateArgs { subscription, pattern, which, from, if_not_exists } = args;
    let request = v1::CreateSubscriptionRequest {
        subscription: subscription.clone(),
        pattern,
        syntax: which.syntax.wire().into(),
        filter: which.filter().map(|filter| v1::ContentFilter { filter: Some(filter) }),
        from: from.map(|from| v1::StartAt { at: Some(from.0) }),
        if_not_exists,
    };
    admin.create_subscription(request).await?;
    let text = format!("subscription {subscription} is there");
    say(json, &text, || json!({ "subscription": subscription }))
}

async fn list(admin: &Admin, prefix: String, lag: bool, json: bool) -> Result<(), CommandError> {
    let mut durable: Vec<Durable> = Vec::new();
    let mut after = String::new();
    let (ephemeral, silent) = loop {
        let request = v1::ListSubscriptionsRequest { prefix: prefix.clone(), after, limit: 0, lag };
        let page = admin.list_subscriptions(request).await?;
        durable.extend(page.durable);
        match durable.last() {
            Some(last) if page.more => after = last.subscription.clone(),
            Some(_) | None => break (page.ephemeral, page.silent_nodes),
        }
    };
    if json {
        let document = json!({
            "durable": durable.iter().map(|one| durable_json(one, lag)).collect::<Vec<_>>(),
            "ephemeral": ephemeral.iter().map(open_json).collect::<Vec<_>>(),
            "silent_nodes": silent,
        });
        return output::json(&document);
    }
    let mut rows = Vec::new();
    for one in &durable {
        let behind = if lag { one.lag.to_string() } else { "-".to_owned() };
        let (node, counts) = match &one.attached {
            Some(open) => (open.node_id.to_string(), counts(open)),
            None => ("-".to_owned(), ["-"; 3].map(str::to_owned)),
        };
        let filter = filter_text(one.filter.as_ref());
        rows.push(row(&one.subscription, &one.pattern, filter, [node, behind], counts));
    }
    for open in &ephemeral {
        let (node, filter) = (open.node_id.to_string(), filter_text(open.filter.as_ref()));
        rows.push(row("-", &open.pattern, filter, [node, "-".to_owned()], counts(open)));
    }
    let head = ["NAME", "PATTERN", "FILTER", "NODE", "LAG", "MATCHED", "UNMATCHED", "ERRORS"];
    output::table(&head, &rows)?;
    if !silent.is_empty() {
        let nodes = output::list(&silent);
        output::line(&format!("nodes {nodes} did not say what is open there"))?;
    }
    Ok(())
}

fn row(
    name: &str,
    pattern: &str,
    filter: String,
    [node, lag]: [String; 2],
    counts: [String; 3],
) -> Vec<String> {
    let mut row = vec![name.to_owned(), pattern.to_owned(), filter, node, lag];
    row.extend(counts);
    row
}

fn counts(open: &Open) -> [String; 3] {
    [open.matched, open.unmatched, open.filter_errors].map(|count| count.to_string())
}

pub(super) fn filter_text(filter: Option<&v1::ContentFilter>) -> String {
    match filter.and_then(|filter| filter.filter.as_ref()) {
        None => "-".to_owned(),
        Some(Filter::Cel(text) | Filter::PolicyOnHeaders(text) | Filter::PolicyOnBody(text)) => {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }
}

pub(super) fn filter_json(filter: Option<&v1::ContentFilter>) -> Value {
    match filter.and_then(|filter| filter.filter.as_ref()) {
        None => Value::Null,
        Some(Filter::Cel(text)) => json!({ "cel": text }),
        Some(Filter::PolicyOnHeaders(text)) => json!({ "policy_on_headers": text }),
        Some(Filter::PolicyOnBody(text)) => json!({ "policy_on_body": text }),
    }
}

fn open_json(open: &Open) -> Value {
    json!({
        "node_id": open.node_id,
        "pattern": open.pattern,
        "syntax": open.syntax().as_str_name(),
        "filter": filter_json(open.filter.as_ref()),
        "since_ms": open.since_ms,
        "matched": open.matched,
        "unmatched": open.unmatched,
        "filter_errors": open.filter_errors,
    })
}

fn durable_json(one: &Durable, lag: bool) -> Value {
    let from = match one.from.as_ref().and_then(|from| from.at) {
        Some(At::Earliest(_)) => json!("earliest"),
        Some(At::Latest(_)) => json!("latest"),
        Some(At::TimestampMs(ms)) => json!(format!("@{ms}")),
        None => Value::Null,
    };
    let mut document = json!({
        "subscription": one.subscription,
        "pattern": one.pattern,
        "syntax": one.syntax().as_str_name(),
        "filter": filter_json(one.filter.as_ref()),
        "from": from,
        "created_ms": one.created_ms,
        "attached": one.attached.as_ref().map(open_json),
    });
    if lag {
        let partitions = one.partitions.iter().map(|its| {
            json!({
                "topic": its.topic,
                "partition": its.partition,
                "position": its.position,
                "high_watermark": its.high_watermark,
                "lag": its.lag,
                "error": its.error.as_ref().map(|error| error.message.clone()),
            })
        });
        document["lag"] = json!(one.lag);
        document["partitions"] = partitions.collect();
    }
    document
}
