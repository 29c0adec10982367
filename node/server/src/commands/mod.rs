//! The commands of a client: topics, records, queues, exchanges, subscriptions, requests, the
//! cluster. They know the client only, and nothing of the server. `sim` is none of them: it hands
//! over to the program of the simulation.
//!
//! Whoever composes the command line flattens [`GlobalArgs`] and [`ClientCommand`] into it, and
//! calls [`run`].

mod cluster;
mod consume;
mod error;
mod exchange;
mod globals;
mod lines;
mod output;
mod produce;
mod publish;
mod queue;
mod requests;
mod sim;
mod subscribe;
mod subscription;
mod topic;

use clap::Subcommand;

pub use error::CommandError;
pub use globals::{GlobalArgs, Globals, Output};
pub use sim::{SimArgs, run as simulate};

/// What a client can do.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Creates, shows, changes and deletes topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Creates, shows, changes and deletes queues; sends, receives and settles messages
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Creates, shows and deletes exchanges
    #[command(subcommand)]
    Exchange(exchange::ExchangeCommand),
    /// Binds a queue or an exchange to an exchange
    Bind(exchange::BindArgs),
    /// Takes a binding back
    Unbind(exchange::BindArgs),
    /// Publishes to an exchange: a message, or lines of the standard input
    Publish(publish::PublishArgs),
    /// Sends a request to a queue, and waits for its reply
    Request(requests::RequestArgs),
    /// Replies to a request
    Reply(requests::ReplyArgs),
    /// Writes records: lines of the standard input, or a file
    Produce(produce::ProduceArgs),
    /// Reads records
    Consume(consume::ConsumeArgs),
    /// Reads records of all topics that match a pattern, as far as a filter wants them
    Subscribe(subscribe::SubscribeArgs),
    /// Creates, lists and deletes durable subscriptions; lists all that are open
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// Shows and changes the cluster: nodes, shards, who leads
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
}

/// Does it.
///
/// # Errors
/// What was refused or could not be done, with the exit status that goes with it.
pub async fn run(command: ClientCommand, globals: &Globals) -> Result<(), CommandError> {
    let done = match command {
        ClientCommand::Topic(command) => Box::pin(topic::run(command, globals)).await,
        ClientCommand::Queue(command) => Box::pin(queue::run(command, globals)).await,
        ClientCommand::Exchange(command) => Box::pin(exchange::run(command, globals)).await,
        ClientCommand::Bind(args) => Box::pin(exchange::bind(args, false, globals)).await,
        ClientCommand::Unbind(args) => Box::pin(exchange::bind(args, true, globals)).await,
        ClientCommand::Publish(args) => Box::pin(publish::run(args, globals)).await,
        ClientCommand::Request(args) => Box::pin(requests::request(args, globals)).await,
        ClientCommand::Reply(args) => Box::pin(requests::reply(args, globals)).await,
        ClientCommand::Produce(args) => Box::pin(produce::run(args, globals)).await,
        ClientCommand::Consume(args) => Box::pin(consume::run(args, globals)).await,
        ClientCommand::Subscribe(args) => Box::pin(subscribe::run(args, globals)).await,
        ClientCommand::Subscription(command) => Box::pin(subscription::run(command, globals)).await,
        ClientCommand::Cluster(command) => Box::pin(cluster::run(command, globals)).await,
    };
    match done {
        // Whoever read the output has had enough, as with `| head`.
        Err(error) if error.is_closed_pipe() => Ok(()),
        done => done,
    }
}
