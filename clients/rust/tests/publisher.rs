//! A publisher against nodes that do as a script says: order, failures, streams that break.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{FutureExt as _, Stream};
use kontiki_client::v1;
use kontiki_client::{Client, Options, Publisher, PublisherOptions, Publishing};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use v1::exchanges_server::{Exchanges, ExchangesServer};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It is refused, and the stream goes on.
    Refuse,
    /// The stream breaks, and it may have been stored.
    Break,
}

/// What all nodes share.
#[derive(Default)]
struct World {
    script: VecDeque<Fault>,
    /// Exchange, key and body of each message, in the order in which they came.
    stored: Vec<(String, String, String)>,
    streams: usize,
}

#[derive(Clone)]
struct Node {
    world: Arc<Mutex<World>>,
    /// Nothing is answered while it is true.
    held: watch::Receiver<bool>,
}

struct Cluster {
    world: Arc<Mutex<World>>,
    hold: watch::Sender<bool>,
    addresses: Vec<String>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Cluster {
    /// Two nodes.
    async fn start(script: &[Fault]) -> Self {
        let world = World { script: script.iter().copied().collect(), ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let (hold, held) = watch::channel(false);
        let (mut addresses, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            let node = Node { world: Arc::clone(&world), held: held.clone() };
            let server = tonic::transport::Server::builder()
                .add_service(ExchangesServer::new(node))
                .serve_with_incoming(TcpListenerStream::new(listener));
            servers.push(tokio::spawn(async move { server.await.unwrap() }));
        }
        Self { world, hold, addresses, servers }
    }

    fn publisher(&self, options: PublisherOptions) -> Publisher {
        let bootstrap = self.addresses.clone();
        let client = Client::new(Options { bootstrap, ..Options::default() }).unwrap();
        client.publisher(options).unwrap()
    }

    fn bodies(&self) -> Vec<String> {
        self.world.lock().unwrap().stored.iter().map(|(_, _, body)| body.clone()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn refusal() -> v1::Error {
    let kind = v1::ErrorKind::NotFound.into();
    v1::Error { kind, code: 1026, message: "there is none".to_owned(), ..v1::Error::default() }
}

impl Node {
    fn answer(&self, request: v1::PublishRequest) -> Result<v1::PublishStreamResponse, Status> {
        let mut world = self.world.lock().unwrap();
        let fault = world.script.pop_front().unwrap_or(Fault::None);
        let v1::PublishRequest { exchange, messages, correlation_id, timeout_ms } = request;
        assert!(timeout_ms > 0, "the client says how long it waits");
        if fault == Fault::Refuse {
            let error = Some(refusal());
            return Ok(v1::PublishStreamResponse { correlation_id, error, results: Vec::new() });
        }
        let results = messages.into_iter().map(|publication| {
            let body = publication.message.unwrap().body;
            let body = String::from_utf8(body.to_vec()).unwrap();
            let message_ids = vec![format!("1-{body}")];
            world.stored.push((exchange.clone(), publication.routing_key, body));
            v1::publish_response::Result { error: None, queues: 1, message_ids }
        });
        let results = results.collect();
        match fault {
            Fault::Break => Err(Status::unavailable("the node was killed")),
            Fault::None | Fault::Refuse => {
                Ok(v1::PublishStreamResponse { correlation_id, error: None, results })
            }
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

fn not_scripted<T>() -> Answer<T> {
    Err(Status::unimplemented("not part of this fake"))
}

#[tonic::async_trait]
impl Exchanges for Node {
    type PublishStreamStream = Answers<v1::PublishStreamResponse>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Answer<Self::PublishStreamStream> {
        self.world.lock().unwrap().streams += 1;
        let mut requests = request.into_inner();
        let (answers, out) = mpsc::channel(64);
        let mut node = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if node.held.wait_for(|held| !held).await.is_err() {
                    return;
                }
                let answer = node.answer(request);
                let over = answer.is_err();
                if answers.send(answer).await.is_err() || over {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn publish(&self, _: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        not_scripted()
    }

    async fn create_exchange(
        &self,
        _: Request<v1::CreateExchangeRequest>,
    ) -> Answer<v1::CreateExchangeResponse> {
        not_scripted()
    }

    async fn delete_exchange(
        &self,
        _: Request<v1::DeleteExchangeRequest>,
    ) -> Answer<v1::DeleteExchangeResponse> {
        not_scripted()
    }

    async fn list_exchanges(
        &self,
        _: Request<v1::ListExchangesRequest>,
    ) -> Answer<v1::ListExchangesResponse> {
        not_scripted()
    }

    async fn describe_exchange(
        &self,
        _: Request<v1::DescribeExchangeRequest>,
    ) -> Answer<v1::DescribeExchangeResponse> {
        not_scripted()
    }

    async fn bind(&self, _: Request<v1::BindRequest>) -> Answer<v1::BindResponse> {
        not_scripted()
    }

    async fn unbind(&self, _: Request<v1::UnbindRequest>) -> Answer<v1::UnbindResponse> {
        not_scripted()
    }

    async fn list_bindings(
        &self,
        _: Request<v1::ListBindingsRequest>,
    ) -> Answer<v1::ListBindingsResponse> {
        not_scripted()
    }
}

fn publication(key: &str, body: String) -> v1::Publication {
    let message = v1::OutgoingMessage { body: body.into(), ..Default::default() };
    let (routing_key, message) = (key.to_owned(), Some(message));
    v1::Publication { routing_key, message, ..Default::default() }
}

async fn publish(publisher: &Publisher, exchange: &str, body: usize) -> Publishing {
    let one = publication("k", body.to_string());
    publisher.publish(exchange, vec![one]).await.unwrap()
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn calls_are_published_in_their_order_and_one_that_is_refused_fails_alone() {
    let mut script = vec![Fault::None; 300];
    script[150] = Fault::Refuse;
    let cluster = Cluster::start(&script).await;
    let publisher = cluster.publisher(PublisherOptions::default());
    let mut all = Vec::new();
    for number in 0..300 {
        let exchange = if number % 2 == 0 { "even" } else { "odd" };
        all.push(publish(&publisher, exchange, number).await);
    }
    for (number, one) in all.into_iter().enumerate() {
        match one.await {
            Ok(results) => assert_eq!(results[0].message_ids, [format!("1-{number}")]),
            Err(error) => assert_eq!((number, error.code), (150, 1026), "{error}"),
        }
    }
    assert_eq!(cluster.bodies(), numbers((0..300).filter(|number| *number != 150)));
    let world = cluster.world.lock().unwrap();
    assert_eq!(world.streams, 1);
    assert!(world.stored.iter().all(|(exchange, key, body)| {
        let even = body.parse::<usize>().unwrap() % 2 == 0;
        (exchange == "even") == even && key == "k"
    }));
}

#[tokio::test]
async fn after_a_stream_that_broke_it_is_unknown_and_the_next_calls_have_another_one() {
    let cluster = Cluster::start(&[Fault::None, Fault::None, Fault::Break]).await;
    let publisher = cluster.publisher(PublisherOptions::default());
    for number in 0..2 {
        publish(&publisher, "x", number).await.await.unwrap();
    }
    cluster.hold.send_replace(true);
    let mut all = Vec::new();
    for number in 2..5 {
        all.push(publish(&publisher, "x", number).await);
    }
    cluster.hold.send_replace(false);
    let mut expected = numbers(0..3);
    for (number, one) in (2..).zip(all) {
        // Those that had not left yet when it broke are on the next stream.
        match one.await {
            Ok(_) => expected.push(number.to_string()),
            Err(error) => assert_eq!(error.kind, v1::ErrorKind::Unknown, "{error}"),
        }
    }
    assert!(!expected[3..].contains(&"2".to_owned()), "it is unknown");
    publish(&publisher, "x", 5).await.await.unwrap();
    expected.push("5".to_owned());
    // Nothing was published again.
    assert_eq!(cluster.bodies(), expected);
    assert_eq!(cluster.world.lock().unwrap().streams, 2);
}

#[tokio::test]
async fn what_is_not_answered_is_bounded() {
    let cluster = Cluster::start(&[]).await;
    cluster.hold.send_replace(true);
    let options = PublisherOptions { in_flight_bytes_max: 64 << 10, ..Default::default() };
    let publisher = cluster.publisher(options);
    let large = || vec![publication("k", "x".repeat(30 << 10))];
    let first = publisher.publish("x", large()).await.unwrap();
    let second = publisher.publish("x", large()).await.unwrap();
    let third = publisher.publish("x", large());
    tokio::pin!(third);
    assert!(third.as_mut().now_or_never().is_none(), "there is no room");
    cluster.hold.send_replace(false);
    for one in [first, second] {
        one.await.unwrap();
    }
    third.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let cluster = Cluster::start(&[]).await;
    let publisher = cluster.publisher(PublisherOptions::default());
    let error = publisher.publish("x", Vec::new()).await.unwrap_err();
    assert_eq!(error.message, "the number of messages is 0, expected 1 to 1000");
    let options = PublisherOptions { in_flight_bytes_max: 1, ..Default::default() };
    let client = Client::new(Options::bootstrap(&["127.0.0.1:1"])).unwrap();
    let error = client.publisher(options).unwrap_err();
    assert_eq!(error.kind, v1::ErrorKind::Invalid, "{error}");
    let options = PublisherOptions { timeout_ms: u32::MAX, ..Default::default() };
    assert!(client.publisher(options).is_err());
}
