//! What clients do, through the client that is shipped, one file for each kind of operation. Every
//! operation is taken down, with its beginning, its end and its outcome.

mod bindings;
mod churn;
mod delete_records;
mod direct;
mod exchanges;
mod probe;
mod produce;
mod queue_receive;
mod queue_send;
mod record;
mod redrive;
mod retention;
mod rewind;
mod routes;
mod setup;
mod side;
mod streams;
mod subscribe;
mod tail;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kontiki_client::{Client, Connect, Connecting, Error, Options};
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use tokio::sync::watch;
use tonic::transport::Endpoint;

pub use self::direct::Direct;
pub use self::queue_receive::{LEASE_MS, drain};
pub use self::routes::{Moving, Route, route};
pub use self::setup::{final_logs, set_up};
pub use self::side::*;
pub use self::subscribe::{FOLLOWED, drain_subscription, is_wanted};
use crate::cluster::Connector;
use crate::history::{Answer, Call, ClientId, Ms, OpId, Outcome, Part, Recorder, Refusal};
use crate::trace::{Event, Trace};

/// What a client does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends records, each of which must be stored once.
    IdempotentProducer,
    /// Sends records, each of which must be stored at least once.
    PlainProducer,
    /// Reads all that comes.
    TailingConsumer,
    /// Reads from anywhere.
    RewindingConsumer,
    /// Makes, changes, looks at and deletes topics.
    TopicChurn,
    /// Changes how long records are kept.
    Retention,
    /// Deletes records.
    RecordDeleter,
    /// Asks where partitions begin and end.
    Prober,
    /// Sends messages to queues.
    QueueSender,
    /// Receives messages of queues, and settles most of them.
    QueueWorker,
    /// Publishes messages to exchanges.
    Publisher,
    /// Publishes to exchanges whose bindings come and go, through one node or another.
    PublisherThrough,
    /// Makes bindings, and takes them back.
    Binder,
    /// Sends messages to the queues of a side.
    SideSender(Side),
    /// Receives messages of the queues of a side, and settles most of them.
    SideWorker(Side),
    /// Sends messages of all sizes, several at a time.
    BulkSender,
    /// Receives them over streams, and by calls to any node.
    StreamWorker,
    /// Lets dead letters go back to where they came from.
    Redriver,
    /// Follows a topic with a durable subscription.
    Subscriber,
}

/// The topics of a run.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Those that are there from the beginning to the end, with their partitions.
    pub stable: Vec<(String, u32)>,
    /// Whose records expire.
    pub retained: String,
    /// Whose records are deleted.
    pub trimmed: String,
    /// Names of those that come and go.
    pub churned: Vec<String>,
    /// Queues, with their settings.
    pub queues: Vec<Queue>,
    /// What there is besides.
    pub sides: Vec<Side>,
}

/// A queue of a run.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Vec<(String, String)>,
    /// Messages have groups.
    pub grouped: bool,
    /// Clients send to it. Where they don't, other queues do.
    pub sent_to: bool,
}

/// Messages fail so often at most in [`FRAGILE`]; then they go to [`DEAD`].
pub const ATTEMPTS_MAX: u32 = 3;
/// A queue to which some messages are sent with a delay of their own.
pub const JOBS: &str = "jobs";
/// A queue whose messages fail for good.
pub const FRAGILE: &str = "fragile";
/// Where they go.
pub const DEAD: &str = "dead";
/// A queue whose messages wait before they are delivered.
pub const LATER: &str = "later";
/// How long.
pub const LATER_MS: i64 = 700;
/// A queue that takes no more messages than [`LENGTH_MAX`].
pub const NARROW: &str = "narrow";
/// A queue whose oldest messages go to [`DEAD`] when there are more than [`LENGTH_MAX`].
pub const SPILLING: &str = "spilling";
/// How many messages those two may have.
pub const LENGTH_MAX: u64 = 6;
/// A queue with groups.
pub const ORDERED: &str = "ordered";

fn queues() -> Vec<Queue> {
    let queue = |name: &str, settings: &[(&str, &str)]| Queue {
        name: name.to_owned(),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        grouped: settings.contains(&("fifo", "true")),
        sent_to: name != DEAD,
    };
    let (attempts, later) = (ATTEMPTS_MAX.to_string(), LATER_MS.to_string());
    let length = LENGTH_MAX.to_string();
    let spilling =
        [("length_max", length.as_str()), ("overflow", "dead-letter-head"), ("dead_letter", DEAD)];
    vec![
        queue(JOBS, &[("backoff_base_ms", "50"), ("priority_max", "3")]),
        queue(FRAGILE, &[("attempts_max", &attempts), ("dead_letter", DEAD)]),
        queue(LATER, &[("delay_ms", &later)]),
        queue(ORDERED, &[("fifo", "true")]),
        queue(NARROW, &[("length_max", &length)]),
        queue(SPILLING, &spilling),
        // The last one, so that it is found empty after those whose messages come here.
        queue(DEAD, &[]),
    ]
}

impl Default for Topics {
    fn default() -> Self {
        let name = |name: &str| name.to_owned();
        Self {
            stable: vec![(name("log"), 3), (name("retained"), 1), (name("trimmed"), 1)],
            retained: name("retained"),
            trimmed: name("trimmed"),
            churned: vec![name("churn-a"), name("churn-b")],
            queues: queues(),
            sides: Vec::new(),
        }
    }
}

impl Topics {
    /// Those of a run with these clients.
    #[must_use]
    pub fn of(clients: &[Kind]) -> Self {
        let sides = Side::ALL
            .into_iter()
            .filter(|side| clients.iter().any(|kind| side.clients().contains(kind)));
        Self { sides: sides.collect(), ..Self::default() }
    }
}

/// What a client has.
pub struct Context {
    /// Who it is.
    pub id: ClientId,
    /// Its connection to the cluster.
    pub client: Client,
    /// Its connections to single nodes.
    pub direct: Direct,
    /// Where its operations are taken down.
    pub recorder: Recorder,
    /// Where everything is taken down.
    pub trace: Trace,
    /// Its random numbers.
    pub rng: SmallRng,
    /// True: begin nothing new, and end.
    pub stop: watch::Receiver<bool>,
    /// What there is to work with.
    pub topics: Topics,
    /// Pauses between two operations, from and to.
    pub pace_ms: (u64, u64),
}

/// Does what its kind does until it is told to stop.
///
/// # Errors
/// Something that no fault explains.
pub async fn run(kind: Kind, context: Context) -> Result<(), String> {
    match kind {
        Kind::IdempotentProducer => produce::run(context, true).await,
        Kind::PlainProducer => produce::run(context, false).await,
        Kind::TailingConsumer => tail::run(context).await,
        Kind::RewindingConsumer => rewind::run(context).await,
        Kind::TopicChurn => churn::run(context).await,
        Kind::Retention => retention::run(context).await,
        Kind::RecordDeleter => delete_records::run(context).await,
        Kind::Prober => probe::run(context).await,
        Kind::QueueSender => {
            let queues = context.topics.queues.clone();
            queue_send::run(context, queues).await;
        }
        Kind::QueueWorker => queue_receive::run(context).await,
        Kind::Publisher => exchanges::run(context).await,
        Kind::PublisherThrough => bindings::publish(context).await,
        Kind::Binder => bindings::bind(context).await,
        Kind::SideSender(side) => queue_send::run(context, side.queues()).await,
        Kind::SideWorker(side) => queue_receive::run_side(context, side).await,
        Kind::BulkSender => streams::send(context).await,
        Kind::StreamWorker => streams::run(context).await?,
        Kind::Redriver => redrive::run(context).await,
        Kind::Subscriber => subscribe::run(context).await,
    }
    Ok(())
}

/// A client that connects over the simulated network.
///
/// # Panics
/// If its options can't work.
#[must_use]
pub fn client(addresses: &[String], connector: Connector) -> Client {
    let options = Options {
        bootstrap: addresses.to_vec(),
        connect_timeout_ms: 500,
        request_timeout_ms: 4_000,
        retry_timeout_ms: 20_000,
        keepalive_ms: 500,
        metadata_max_age_ms: 10_000,
        ..Options::default()
    };
    Client::with_connect(options, Arc::new(Network(connector))).expect("the options are in range")
}

#[derive(Debug)]
struct Network(Connector);

impl Connect for Network {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        let connector = self.0.clone();
        Box::pin(async move { connector.at_once(&endpoint).await })
    }
}

impl Context {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// A pause, shorter where the client is told to stop.
    async fn pause(&mut self) {
        let ms = self.rng.random_range(self.pace_ms.0..=self.pace_ms.1);
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
        }
    }

    /// Any partition of the stable topics; more often one of the first.
    fn any_part(&mut self) -> Part {
        let topics = &self.topics.stable;
        let first = self.rng.random_bool(0.6);
        let (topic, partitions) =
            if first { &topics[0] } else { topics.choose(&mut self.rng).expect("there are some") };
        Part { topic: topic.clone(), partition: self.rng.random_range(0..*partitions) }
    }

    fn invoke(&self, call: Call) -> OpId {
        self.invoke_at(self.trace.now(), call)
    }

    fn invoke_at(&self, at: Ms, call: Call) -> OpId {
        let op = self.recorder.invoke(at, self.id, call.clone());
        self.trace.add(Event::Invoke { op, client: self.id, call });
        op
    }

    fn complete(&self, op: OpId, outcome: Outcome) {
        self.recorder.complete(self.trace.now(), op, outcome.clone());
        self.trace.add(Event::Return { op, outcome });
    }

    /// One operation, taken down; the answer, if it was done.
    async fn op(
        &self,
        call: Call,
        work: impl Future<Output = Result<Answer, Error>>,
    ) -> Option<Answer> {
        let op = self.invoke(call);
        let done = work.await;
        let answer = done.as_ref().ok().cloned();
        self.complete(op, outcome(done));
        answer
    }
}

fn outcome(done: Result<Answer, Error>) -> Outcome {
    match done {
        Ok(answer) => Outcome::Ok(answer),
        Err(error) if error.surely_not_done() => {
            let kind = error.kind.as_str_name();
            let kind = kind.strip_prefix("ERROR_KIND_").unwrap_or(kind).to_owned();
            Outcome::Refused(Refusal { kind, text: error.to_string() })
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}
