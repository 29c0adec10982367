//! The worker against a queue that is a script: what was leased is settled, whatever happens.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::Stream;
use kontiki_client::{Client, Options, Verdict, WorkerOptions, WorkerSummary, v1};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use v1::queue_server::{Queue, QueueServer};

/// A message comes to be looked at in less than this.
const LONG: Duration = Duration::from_secs(60);

/// What happens to a queue, and what was asked of it.
#[derive(Debug, Default)]
struct World {
    waiting: VecDeque<String>,
    /// In their order, such as `acknowledge a`.
    asked: Vec<String>,
}

/// What a call waits for, by what it is about.
const WAITS: [(&str, &str); 2] = [("acknowledge slow", "extend long"), ("lease last", "stopped")];

/// A queue named `q` on a node of its own.
struct Fake {
    node: Node,
    address: String,
    server: tokio::task::JoinHandle<()>,
}

impl Fake {
    async fn start() -> Self {
        let world = Arc::<Mutex<World>>::default();
        let (changed, _) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = Node { world, changed };
        let server = tonic::transport::Server::builder()
            .add_service(QueueServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { node, address, server }
    }

    fn client(&self) -> Client {
        Client::new(Options::bootstrap(&[&self.address])).unwrap()
    }

    fn send(&self, bodies: &[&str]) {
        let bodies = bodies.iter().map(|body| (*body).to_owned());
        self.node.world.lock().unwrap().waiting.extend(bodies);
        self.node.changed.send_replace(());
    }

    /// Works until this was asked.
    async fn work<F, W>(&self, options: WorkerOptions, until: &str, work: W) -> WorkerSummary
    where
        F: Future<Output = Verdict> + Send + 'static,
        W: Fn(v1::IncomingMessage) -> F,
    {
        let (stop, stopped) = watch::channel(false);
        let client = self.client();
        let stopping = async {
            self.node.asked(until).await;
            stop.send_replace(true);
            // The worker's turn, so that it sees this first.
            tokio::task::yield_now().await;
            self.node.note("stopped");
        };
        let (summary, ()) = tokio::join!(client.work("q", options, stopped, work), stopping);
        summary.unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Node {
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

impl Node {
    fn note(&self, what: &str) {
        self.world.lock().unwrap().asked.push(what.to_owned());
        self.changed.send_replace(());
    }

    fn was_asked(&self, what: &str) -> bool {
        self.world.lock().unwrap().asked.iter().any(|one| one == what)
    }

    /// Waits until this was asked.
    async fn asked(&self, what: &str) {
        let mut changed = self.changed.subscribe();
        let asked = async {
            while !self.was_asked(what) {
                changed.changed().await.unwrap();
            }
        };
        let in_time = tokio::time::timeout(LONG, asked).await;
        assert!(in_time.is_ok(), "{what}: {:?}", self.world.lock().unwrap().asked);
    }

    /// Notes this, and waits for what it waits for.
    async fn begun(&self, what: &str) {
        self.note(what);
        if let Some((_, until)) = WAITS.iter().find(|(begun, _)| *begun == what) {
            self.asked(until).await;
        }
    }

    /// Its messages' receipts are their bodies.
    async fn settled(
        &self,
        how: &str,
        receipts: Vec<String>,
    ) -> Result<Response<v1::SettleResponse>, Status> {
        for receipt in &receipts {
            self.begun(&format!("{how} {receipt}")).await;
        }
        let result = |receipt| v1::settle_response::Result { receipt, ..Default::default() };
        let results = receipts.into_iter().map(result).collect();
        Ok(Response::new(v1::SettleResponse { results }))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! not_scripted {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {
        #[tonic::async_trait]
        impl Queue for Node {
            type RedriveStream = Answers<v1::RedriveProgress>;
            type SendStreamStream = Answers<v1::SendStreamResponse>;
            type StreamingReceiveStream = Answers<v1::StreamingReceiveResponse>;

            async fn receive(
                &self,
                request: Request<v1::ReceiveRequest>,
            ) -> Result<Response<v1::ReceiveResponse>, Status> {
                self.received(request.into_inner()).await
            }

            async fn acknowledge(
                &self,
                request: Request<v1::AcknowledgeRequest>,
            ) -> Result<Response<v1::SettleResponse>, Status> {
                self.settled("acknowledge", request.into_inner().receipts).await
            }

            async fn release(
                &self,
                request: Request<v1::ReleaseRequest>,
            ) -> Result<Response<v1::SettleResponse>, Status> {
                let request = request.into_inner();
                let v1::ReleaseRequest { receipts, failed, error_class, error, .. } = request;
                let failure = format!("fail {error_class} {error}:");
                self.settled(if failed { &failure } else { "release" }, receipts).await
            }

            async fn extend(
                &self,
                request: Request<v1::ExtendRequest>,
            ) -> Result<Response<v1::SettleResponse>, Status> {
                self.settled("extend", request.into_inner().receipts).await
            }

            $(async fn $name(
                &self,
                _: Request<$request>,
            ) -> Result<Response<$answer>, Status> {
                Err(Status::unimplemented("not part of this fake"))
            })*
        }
    };
}

not_scripted! {
    create_queue(v1::CreateQueueRequest) -> v1::CreateQueueResponse;
    alter_queue(v1::AlterQueueRequest) -> v1::AlterQueueResponse;
    describe_queue(v1::DescribeQueueRequest) -> v1::DescribeQueueResponse;
    list_queues(v1::ListQueuesRequest) -> v1::ListQueuesResponse;
    delete_queue(v1::DeleteQueueRequest) -> v1::DeleteQueueResponse;
    purge_queue(v1::PurgeQueueRequest) -> v1::PurgeQueueResponse;
    redrive(v1::RedriveRequest) -> Self::RedriveStream;
    start_redrive(v1::RedriveRequest) -> v1::StartRedriveResponse;
    list_redrives(v1::ListRedrivesRequest) -> v1::ListRedrivesResponse;
    describe_redrive(v1::DescribeRedriveRequest) -> v1::DescribeRedriveResponse;
    cancel_redrive(v1::CancelRedriveRequest) -> v1::CancelRedriveResponse;
    send(v1::SendRequest) -> v1::SendResponse;
    send_stream(Streaming<v1::SendRequest>) -> Self::SendStreamStream;
    streaming_receive(Streaming<v1::StreamingReceiveRequest>) -> Self::StreamingReceiveStream;
    reject(v1::RejectRequest) -> v1::SettleResponse;
    peek(v1::PeekRequest) -> v1::PeekResponse;
}

impl Node {
    fn take(&self, max: usize) -> Vec<String> {
        let mut world = self.world.lock().unwrap();
        let count = world.waiting.len().min(max);
        world.waiting.drain(..count).collect()
    }

    async fn received(
        &self,
        request: v1::ReceiveRequest,
    ) -> Result<Response<v1::ReceiveResponse>, Status> {
        let mut changed = self.changed.subscribe();
        let some = async {
            loop {
                let some = self.take(request.max_messages as usize);
                if !some.is_empty() {
                    break some;
                }
                changed.changed().await.unwrap();
            }
        };
        let wait = Duration::from_millis(request.wait_ms.into());
        let bodies = tokio::time::timeout(wait, some).await.unwrap_or_default();
        for body in &bodies {
            self.begun(&format!("lease {body}")).await;
        }
        let message = |body: String| v1::IncomingMessage {
            receipt: body.clone(),
            body: body.into_bytes().into(),
            ..Default::default()
        };
        let messages = bodies.into_iter().map(message).collect();
        Ok(Response::new(v1::ReceiveResponse { messages }))
    }
}

fn text(message: v1::IncomingMessage) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

/// Without a verdict, its message would be leased anew for as long as the worker runs.
#[tokio::test]
async fn a_function_that_panics_has_failed() {
    let fake = Fake::start().await;
    fake.send(&["text", "formatted", "at once", "good"]);
    let options = WorkerOptions { concurrency: 1, ..WorkerOptions::default() };
    let summary = fake.work(options, "acknowledge good", |message| {
        let body = text(message);
        assert!(body != "at once", "before its future");
        async move {
            match body.as_str() {
                "text" => panic!("a text"),
                "formatted" => panic!("of {body}"),
                _ => Verdict::Acknowledge,
            }
        }
    });
    let wanted = WorkerSummary { acknowledged: 1, retried: 3, ..WorkerSummary::default() };
    assert_eq!(summary.await, wanted);
    let settled = |one: &&String| !one.starts_with("lease ") && *one != "stopped";
    let world = fake.node.world.lock().unwrap();
    let asked: Vec<&String> = world.asked.iter().filter(settled).collect();
    let all = [
        "fail panic a text: text",
        "fail panic of formatted: formatted",
        "fail panic before its future: at once",
        "acknowledge good",
    ];
    assert_eq!(asked, all);
}

/// Else the other message would be delivered again while it is worked on.
#[tokio::test]
async fn leases_are_made_longer_while_a_settlement_takes_long() {
    let fake = Fake::start().await;
    fake.send(&["slow", "long"]);
    let node = fake.node.clone();
    let options = WorkerOptions { lease_ms: 1_000, ..WorkerOptions::default() };
    let summary = fake.work(options, "acknowledge long", |message| {
        let (body, node) = (text(message), node.clone());
        async move {
            if body == "long" {
                node.asked("extend long").await;
            }
            Verdict::Acknowledge
        }
    });
    let wanted = WorkerSummary { acknowledged: 2, ..WorkerSummary::default() };
    assert_eq!(summary.await, wanted);
}

/// What was leased to it, and would come too late, is for others at once.
#[tokio::test]
async fn what_comes_after_the_stop_is_given_back() {
    let fake = Fake::start().await;
    fake.send(&["last"]);
    let options = WorkerOptions::default();
    let summary = fake.work(options, "lease last", |_| async { Verdict::Acknowledge }).await;
    let wanted = WorkerSummary { retried: 1, ..WorkerSummary::default() };
    assert_eq!(summary, wanted);
    assert!(fake.node.was_asked("release last"));
}

/// Workers run in tasks of their own: it has to compile.
#[expect(dead_code)]
fn a_worker_can_be_spawned(client: Client, stop: watch::Receiver<bool>) {
    tokio::spawn(async move {
        client.work("q", WorkerOptions::default(), stop, |_| async { Verdict::Acknowledge }).await
    });
}
