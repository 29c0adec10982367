//! Exchanges: create, list, describe, delete; what is bound to them.

use clap::{Args, Subcommand, ValueEnum};
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};
use v1::content_filter::Filter;

use super::output::{self, line};
use super::subscription::{filter_json, filter_text};
use super::topic::{say, setting};
use super::{CommandError, Globals};

/// What to do with exchanges.
#[derive(Debug, Subcommand)]
pub enum ExchangeCommand {
    /// Creates an exchange; one that is there and is the same is no failure
    Create(CreateArgs),
    /// Lists exchanges
    List {
        /// Only names that begin like this
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// Shows what an exchange is
    Describe {
        /// The exchange
        exchange: String,
    },
    /// Deletes an exchange with its bindings
    Delete {
        /// The exchange
        exchange: String,
        /// Refuse where bindings lead from it
        #[arg(long)]
        if_unused: bool,
    },
    /// Lists bindings: all, or those of an exchange, of a queue, or both
    Bindings {
        /// Only those that lead from this exchange
        exchange: Option<String>,
        /// Only those that lead to this queue
        #[arg(long)]
        queue: Option<String>,
        /// Only those that lead to this exchange
        #[arg(long, value_name = "EXCHANGE", conflicts_with = "queue")]
        to_exchange: Option<String>,
    },
}

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Those whose key is the routing key
    Direct,
    /// Those whose pattern matches the routing key
    Topic,
    /// All of them
    Fanout,
    /// Those whose arguments match the headers
    Headers,
    /// One of them, always the same for the same routing key
    ConsistentHash,
}

/// A new exchange.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: 1 to 255 bytes; names that begin with "kontiki." or "amq." are reserved
    exchange: String,
    /// How it chooses among its bindings
    #[arg(long, value_enum, default_value = "direct")]
    kind: Kind,
    /// The exchange that gets what no binding takes
    #[arg(long, value_name = "EXCHANGE")]
    alternate: Option<String>,
    /// Messages come through other exchanges only
    #[arg(long)]
    internal: bool,
    /// Of a consistent-hash exchange: the header that counts in place of the routing key
    #[arg(long, value_name = "HEADER")]
    hash_header: Option<String>,
}

/// A binding.
#[derive(Debug, Args)]
pub struct BindArgs {
    /// The exchange whose messages are to be led on
    exchange: String,
    /// Where they are to go
    queue: Option<String>,
    /// An exchange that they are to go to, in place of a queue
    #[arg(
        long,
        value_name = "EXCHANGE",
        conflicts_with = "queue",
        required_unless_present = "queue"
    )]
    to_exchange: Option<String>,
    /// Routing key; of a topic exchange the pattern ("*" is a word, "#" any number of them), of a
    /// consistent-hash exchange the weight
    #[arg(long, default_value = "", hide_default_value = true)]
    key: String,
    /// The pattern is written as in NATS: ">" at the end is one or more words
    #[arg(long)]
    nats: bool,
    /// What a headers exchange asks for, and x-match=any; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    argument: Vec<(String, String)>,
    /// Only messages that match, such as 'body.price > 10'
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Only messages whose headers match this filter policy of Amazon SNS
    #[arg(long, value_name = "JSON", conflicts_with = "filter")]
    policy: Option<String>,
    /// The policy is for the body
    #[arg(long, requires = "policy")]
    on_body: bool,
}

/// Does it.
pub(super) async fn run(command: ExchangeCommand, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    match command {
        ExchangeCommand::Create(args) => create(&admin, args, json).await,
        ExchangeCommand::List { prefix } => list(&admin, prefix, json).await,
        ExchangeCommand::Describe { exchange } => describe(&admin, exchange, json).await,
        ExchangeCommand::Delete { exchange, if_unused } => {
            let request = v1::DeleteExchangeRequest { exchange: exchange.clone(), if_unused };
            let unbound = admin.delete_exchange(request).await?.unbound;
            let text = format!("{exchange} is deleted, and {unbound} bindings with it");
            say(json, &text, || json!({ "exchange": exchange, "unbound": unbound }))
        }
        ExchangeCommand::Bindings { exchange, queue, to_exchange } => {
            bindings(&admin, exchange, queue, to_exchange, json).await
        }
    }
}

async fn create(admin: &Admin, args: CreateArgs, json: bool) -> Result<(), CommandError> {
    let CreateArgs { exchange, kind, alternate, internal, hash_header } = args;
    let kind = match kind {
        Kind::Direct => v1::ExchangeKind::Direct,
        Kind::Topic => v1::ExchangeKind::Topic,
        Kind::Fanout => v1::ExchangeKind::Fanout,
        Kind::Headers => v1::ExchangeKind::Headers,
        Kind::ConsistentHash => v1::ExchangeKind::ConsistentHash,
    };
    let (name, kind) = (exchange.clone(), kind.into());
    let declared =
        v1::Exchange { exchange, kind, alternate, internal, hash_header, ..Default::default() };
    let request = v1::CreateExchangeRequest { exchange: Some(declared) };
    let created = admin.create_exchange(request).await?.created;
    let is = if created { "is created" } else { "was there already" };
    let text = format!("exchange {name} {is}");
    say(json, &text, || json!({ "exchange": name, "created": created }))
}

async fn list(admin: &Admin, prefix: String, json: bool) -> Result<(), CommandError> {
    let mut exchanges = Vec::new();
    let mut after = String::new();
    loop {
        let request = v1::ListExchangesRequest { prefix: prefix.clone(), after, limit: 0 };
        let page = admin.list_exchanges(request).await?;
        exchanges.extend(page.exchanges);
        match exchanges.last() {
            Some(last) if page.more => after = last.exchange.clone(),
            Some(_) | None => break,
        }
    }
    if json {
        return output::json(&exchanges.iter().map(document).collect());
    }
    let rows: Vec<_> = exchanges
        .iter()
        .map(|one| {
            let alternate = one.alternate.clone().unwrap_or_default();
            vec![one.exchange.clone(), kind(one), alternate]
        })
        .collect();
    output::table(&["EXCHANGE", "KIND", "ALTERNATE"], &rows)
}

async fn describe(admin: &Admin, exchange: String, json: bool) -> Result<(), CommandError> {
    let about = admin.describe_exchange(v1::DescribeExchangeRequest { exchange }).await?;
    let v1::DescribeExchangeResponse { exchange, bindings_from } = about;
    let exchange = exchange.unwrap_or_default();
    if json {
        let mut document = document(&exchange);
        document["bindings_from"] = Value::from(bindings_from);
        return output::json(&document);
    }
    line(&format!("{}: {}, {bindings_from} bindings", exchange.exchange, kind(&exchange)))?;
    if let Some(alternate) = &exchange.alternate {
        line(&format!("  what no binding takes goes to {alternate}"))?;
    }
    if exchange.internal {
        line("  internal: messages come through other exchanges only")?;
    }
    Ok(())
}

fn kind(exchange: &v1::Exchange) -> String {
    let name = exchange.kind().as_str_name();
    let name = name.strip_prefix("EXCHANGE_KIND_").unwrap_or(name);
    let name = name.to_lowercase().replace('_', "-");
    match &exchange.hash_header {
        Some(header) => format!("{name} of {header}"),
        None => name,
    }
}

fn document(exchange: &v1::Exchange) -> Value {
    json!({
        "exchange": exchange.exchange,
        "kind": kind(exchange),
        "alternate": exchange.alternate,
        "internal": exchange.internal,
        "created_ms": exchange.created_ms,
    })
}

async fn bindings(
    admin: &Admin,
    exchange: Option<String>,
    queue: Option<String>,
    to_exchange: Option<String>,
    json: bool,
) -> Result<(), CommandError> {
    use v1::list_bindings_request::Destination;
    let to_exchange = to_exchange.map(Destination::ToExchange);
    let destination = queue.map(Destination::Queue).or(to_exchange);
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let (exchange, destination) = (exchange.clone(), destination.clone());
        let request = v1::ListBindingsRequest { exchange, destination, after, limit: 0 };
        let page = admin.list_bindings(request).await?;
        all.extend(page.bindings);
        match all.last() {
            Some(last) if page.more => after = last.id,
            Some(_) | None => break,
        }
    }
    let bindings = all.iter().filter_map(|listed| listed.binding.as_ref());
    if json {
        return output::json(&bindings.map(binding_json).collect());
    }
    let rows: Vec<_> = bindings
        .map(|binding| {
            let to = destination_of(binding);
            vec![
                binding.exchange.clone(),
                to,
                binding.key.clone(),
                filter_text(binding.filter.as_ref()),
            ]
        })
        .collect();
    output::table(&["EXCHANGE", "TO", "KEY", "FILTER"], &rows)
}

fn destination_of(binding: &v1::Binding) -> String {
    use v1::binding::Destination;
    match &binding.destination {
        Some(Destination::Queue(name)) => format!("queue {name}"),
        Some(Destination::ToExchange(name)) => format!("exchange {name}"),
        None => String::new(),
    }
}

fn binding_json(binding: &v1::Binding) -> Value {
    let arguments = binding.arguments.iter().map(|argument| {
        let value = argument.value.as_deref().map(String::from_utf8_lossy);
        json!({ "name": argument.name, "value": value })
    });
    json!({
        "exchange": binding.exchange,
        "to": destination_of(binding),
        "key": binding.key,
        "nats": binding.syntax() == v1::binding::PatternSyntax::Nats,
        "arguments": arguments.collect::<Value>(),
        "filter": filter_json(binding.filter.as_ref()),
    })
}

/// Binds, or takes a binding back.
pub(super) async fn bind(
    args: BindArgs,
    unbind: bool,
    globals: &Globals,
) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let binding = binding(args);
    let (exchange, to) = (binding.exchange.clone(), destination_of(&binding));
    let (changed, text) = if unbind {
        let request = v1::UnbindRequest { binding: Some(binding) };
        let removed = admin.unbind(request).await?.removed;
        (removed, if removed { "is unbound from" } else { "was not bound to" })
    } else {
        let request = v1::BindRequest { binding: Some(binding) };
        let created = admin.bind(request).await?.created;
        (created, if created { "is bound to" } else { "was bound already to" })
    };
    let text = format!("{to} {text} exchange {exchange}");
    let document = || json!({ "exchange": exchange, "to": to, "changed": changed });
    say(globals.is_json(), &text, document)
}

fn binding(args: BindArgs) -> v1::Binding {
    use v1::binding::{Argument, Destination, PatternSyntax};
    let BindArgs { exchange, queue, to_exchange, key, nats, argument, .. } = args;
    let to_exchange = to_exchange.map(Destination::ToExchange);
    let syntax = if nats { PatternSyntax::Nats } else { PatternSyntax::Unspecified };
    let arguments = argument.into_iter().map(|(name, value)| {
        let value = Some(value.into());
        Argument { name, value }
    });
    let on = if args.on_body { Filter::PolicyOnBody } else { Filter::PolicyOnHeaders };
    let filter = args.filter.map(Filter::Cel).or(args.policy.map(on));
    v1::Binding {
        exchange,
        destination: queue.map(Destination::Queue).or(to_exchange),
        key,
        syntax: syntax.into(),
        arguments: arguments.collect(),
        filter: filter.map(|filter| v1::ContentFilter { filter: Some(filter) }),
    }
}
