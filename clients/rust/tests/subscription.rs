//! A durable subscription against nodes that break: what was acknowledged is committed, or it isn't
//! said to be.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use kontiki_client::v1::ErrorKind;
use kontiki_client::{Client, Options, Published, SubscribeOptions, Subscription, v1};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use v1::pub_sub_server::{PubSub, PubSubServer};

/// One stream: where it begins in topics; then it gives out three records of `t`.
#[derive(Debug, Clone)]
struct Script {
    begins: Vec<(&'static str, u64)>,
    /// It breaks when something is acknowledged.
    breaks: bool,
}

#[derive(Debug, Default)]
struct World {
    scripts: VecDeque<Script>,
    /// Of all streams, as `topic@offset`.
    acknowledged: Vec<String>,
}

struct Fake {
    world: Arc<Mutex<World>>,
    address: String,
    server: tokio::task::JoinHandle<()>,
}

impl Fake {
    async fn start(scripts: &[Script]) -> Self {
        let scripts = scripts.iter().cloned().collect();
        let world = Arc::new(Mutex::new(World { scripts, ..World::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder()
            .add_service(PubSubServer::new(Node(Arc::clone(&world))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { world, address, server }
    }

    async fn subscribe(&self) -> Subscription {
        let options = Options {
            retry_backoff_ms_min: 1,
            retry_backoff_ms_max: 10,
            ..Options::bootstrap(&[&self.address])
        };
        let subscribe = SubscribeOptions { name: "s".to_owned(), ..SubscribeOptions::default() };
        Client::new(options).unwrap().subscribe(subscribe).await.unwrap()
    }

    fn acknowledged(&self) -> Vec<String> {
        self.world.lock().unwrap().acknowledged.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Node(Arc<Mutex<World>>);

type Answers = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

fn position(topic: &str, offset: u64) -> v1::SubscriptionPosition {
    v1::SubscriptionPosition { topic: topic.to_owned(), partition: 0, offset }
}

fn not_scripted<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this fake"))
}

#[tonic::async_trait]
impl PubSub for Node {
    type SubscribeStream = Answers;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, out) = mpsc::channel(8);
        let world = Arc::clone(&self.0);
        let script = world.lock().unwrap().scripts.pop_front();
        let script = script.ok_or_else(|| Status::unavailable("it is gone"))?;
        let begins = script.begins.iter().map(|(topic, offset)| position(topic, *offset));
        let begins = v1::SubscribeResponse { positions: begins.collect(), ..Default::default() };
        let from = script.begins.iter().find(|(topic, _)| *topic == "t").map_or(0, |at| at.1);
        let record = |offset| v1::Record { offset, ..Default::default() };
        let records = v1::SubscribeResponse {
            topic: "t".to_owned(),
            records: (from..from + 3).map(record).collect(),
            positions: vec![position("t", from + 3)],
            ..Default::default()
        };
        tokio::spawn(async move {
            for answer in [begins, records] {
                let _ = answers.send(Ok(answer)).await;
            }
            while let Ok(Some(request)) = requests.message().await {
                let known = request.acknowledged.iter();
                let known = known.map(|at| format!("{}@{}", at.topic, at.offset));
                world.lock().unwrap().acknowledged.extend(known);
                if script.breaks && !request.acknowledged.is_empty() {
                    let _ = answers.send(Err(Status::unavailable("killed"))).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn create_subscription(
        &self,
        _: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        not_scripted()
    }

    async fn delete_subscription(
        &self,
        _: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        not_scripted()
    }

    async fn list_subscriptions(
        &self,
        _: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        not_scripted()
    }
}

/// One that has broken after three records of `t` were acknowledged, and has gone on at a node
/// that begins where this says, and gives out three more.
async fn broken(begins: &[(&'static str, u64)]) -> (Fake, Subscription) {
    let first = Script { begins: vec![("gone", 5), ("t", 0)], breaks: true };
    let fake = Fake::start(&[first, Script { begins: begins.to_vec(), breaks: false }]).await;
    let mut subscription = fake.subscribe().await;
    let published = subscription.next().await.unwrap();
    assert_eq!(published.next_offset, 3);
    subscription.acknowledge(&published);
    let again = subscription.next().await.unwrap();
    assert_eq!(fake.acknowledged(), ["t@3"]);
    assert_eq!(again.next_offset, begins.iter().find(|at| at.0 == "t").map_or(0, |at| at.1) + 3);
    (fake, subscription)
}

#[tokio::test]
async fn what_a_node_that_broke_had_not_committed_is_not_said_to_be() {
    let (fake, subscription) = broken(&[("t", 0)]).await;
    let error = subscription.close().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unknown);
    assert!(error.message.contains("below offset 3 of t/0"), "{error}");
    assert_eq!(fake.acknowledged(), ["t@3"], "it would be of what comes again");
}

#[tokio::test]
async fn what_comes_again_is_acknowledged_again() {
    let first = Script { begins: vec![("t", 0)], breaks: true };
    let second = Script { begins: vec![("t", 0)], breaks: false };
    let fake = Fake::start(&[first, second]).await;
    let mut subscription = fake.subscribe().await;
    for _ in 0..2 {
        let published = subscription.next().await.unwrap();
        subscription.acknowledge(&published);
    }
    subscription.close().await.unwrap();
    assert_eq!(fake.acknowledged(), ["t@3", "t@3"]);
}

#[tokio::test]
async fn what_a_node_that_broke_had_committed_is_committed() {
    let (fake, subscription) = broken(&[("t", 3)]).await;
    subscription.close().await.unwrap();
    assert_eq!(fake.acknowledged(), ["t@3"]);
}

#[tokio::test]
async fn nothing_is_said_of_a_topic_that_is_gone() {
    let (fake, mut subscription) = broken(&[("t", 3)]).await;
    subscription.acknowledge(&Published {
        topic: "gone".to_owned(),
        partition: 0,
        records: Vec::new(),
        next_offset: 5,
    });
    subscription.close().await.unwrap();
    assert_eq!(fake.acknowledged(), ["t@3"]);
}
