//! The commands of a client: topics, records, queues, requests, the cluster. They know the client
//! only, and nothing of the server. `sim` is none of them: it hands over to the program of the
//! simulation.
//!
//! Whoever composes the command line flattens [`GlobalArgs`] and [`ClientCommand`] into it, and
//! calls [`run`].

mod cluster;
mod consume;
mod error;
mod globals;
mod output;
mod produce;
mod queue;
mod requests;
mod sim;
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
    /// Sends a request to a queue, and waits for its reply
    Request(requests::RequestArgs),
    /// Replies to a request
    Reply(requests::ReplyArgs),
    /// Writes records: lines of the standard input, or a file
    Produce(produce::ProduceArgs),
    /// Reads records
    Consume(consume::ConsumeArgs),
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
        ClientCommand::Request(args) => Box::pin(requests::request(args, globals)).await,
        ClientCommand::Reply(args) => Box::pin(requests::reply(args, globals)).await,
        ClientCommand::Produce(args) => Box::pin(produce::run(args, globals)).await,
        ClientCommand::Consume(args) => Box::pin(consume::run(args, globals)).await,
        ClientCommand::Cluster(command) => Box::pin(cluster::run(command, globals)).await,
    };
    match done {
        // Whoever read the output has had enough, as with `| head`.
        Err(error) if error.is_closed_pipe() => Ok(()),
        done => done,
    }
}
