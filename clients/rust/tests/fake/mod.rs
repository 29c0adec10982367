//! A cluster in this process: nodes on loopback that share one log and answer as a script says.
//!
//! A partition judges sequences as a node's does. What goes wrong, and when, is written by a test.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::Stream;
use kontiki_client::v1;
use kontiki_records::{Batch, Limits};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use v1::log_server::{Log, LogServer};
use v1::{ErrorKind, fetch_stream_request};

/// What becomes of one produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing special.
    None,
    /// It is stored, and the stream breaks before the answer.
    BreakAfterStoring,
    /// The stream breaks before it is stored.
    BreakBefore,
    /// It is refused with this kind and number, and not stored.
    Refuse(ErrorKind, u32),
    /// The other node becomes the leader, and this one says so.
    LeaderMoves,
    /// The other node becomes the leader, and this one says so without a hint.
    LeaderMovesSilently,
}

/// What a partition knows of a producer: its epoch, and its last five batches as sequence, number
/// of records and offset.
type Known = (i16, VecDeque<(i32, u32, u64)>);

/// What all nodes share.
#[derive(Debug, Default)]
pub struct World {
    /// Encoded batches with their offsets.
    pub log: Vec<Bytes>,
    pub end: u64,
    pub log_start: u64,
    known: HashMap<i64, Known>,
    /// Faults of the next produce requests.
    pub script: VecDeque<Fault>,
    /// After how many messages each of the next fetch streams breaks.
    pub fetch_breaks: VecDeque<usize>,
    pub leader: u32,
    pub addresses: Vec<String>,
    pub epoch: u32,
    pub forwarded: u32,
    pub duplicates: u32,
}

impl World {
    fn append(&mut self, bytes: &Bytes) -> Result<(u64, bool), (ErrorKind, u32)> {
        let limits = Limits::default();
        let batch = Batch::parse(bytes.clone(), &limits).expect("the client encodes batches");
        let count = batch.header().record_count;
        if let Some(producer) = batch.header().producer {
            let got = producer.base_sequence;
            let known = self.known.get(&producer.id);
            match known {
                Some((epoch, _)) if *epoch > producer.epoch => {
                    return Err((ErrorKind::Fenced, 105));
                }
                Some((epoch, window)) if *epoch == producer.epoch => {
                    let same = window.iter().find(|its| its.0 == got && its.1 == count);
                    if let Some((_, _, offset)) = same {
                        self.duplicates += 1;
                        return Ok((*offset, true));
                    }
                    let last = window.back().expect("begins with one");
                    if last.0 + last.1 as i32 != got {
                        return Err((ErrorKind::Conflict, 106));
                    }
                }
                Some(_) if got != 0 => return Err((ErrorKind::Conflict, 106)),
                None if got != 0 => return Err((ErrorKind::Conflict, 107)),
                Some(_) | None => {
                    let fresh = (producer.epoch, VecDeque::new());
                    self.known.insert(producer.id, fresh);
                }
            }
            let window = &mut self.known.get_mut(&producer.id).expect("put there").1;
            window.push_back((got, count, self.end));
            if window.len() > 5 {
                window.pop_front();
            }
        }
        let offset = self.end;
        self.log.push(batch.at(offset as i64, 1).into_bytes());
        self.end += u64::from(count);
        Ok((offset, false))
    }

    /// The values of all records, in order.
    pub fn values(&self) -> Vec<String> {
        let limits = Limits::default();
        let batches = self.log.iter().map(|b| Batch::parse(b.clone(), &limits).unwrap());
        let records = batches.flat_map(|batch| batch.records(&limits).unwrap());
        records
            .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap())
            .collect()
    }

    fn hint(&self) -> v1::LeaderHint {
        let address = self.addresses[self.leader as usize - 1].clone();
        v1::LeaderHint { node_id: self.leader, address }
    }
}

/// A running cluster of two nodes with one topic, `t`, of one partition; node 1 leads.
pub struct Cluster {
    pub world: Arc<Mutex<World>>,
    pub changed: watch::Sender<()>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Cluster {
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World { leader: 1, ..World::default() }));
        let (changed, _) = watch::channel(());
        let mut servers = Vec::new();
        for node_id in 1..=2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            world.lock().unwrap().addresses.push(address);
            let node = Node { node_id, world: world.clone(), changed: changed.clone() };
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder()
                .add_service(LogServer::new(node))
                .serve_with_incoming(incoming);
            servers.push(tokio::spawn(async move { server.await.unwrap() }));
        }
        Self { world, changed, servers }
    }

    pub fn bootstrap(&self) -> Vec<String> {
        self.world.lock().unwrap().addresses.clone()
    }

    pub fn script(&self, faults: &[Fault]) {
        self.world.lock().unwrap().script.extend(faults);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

struct Node {
    node_id: u32,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

fn error(kind: ErrorKind, code: u32, leader: Option<v1::LeaderHint>) -> v1::Error {
    let message = format!("scripted: {kind:?} {code}");
    v1::Error { kind: kind.into(), code, message, leader, retry_after_ms: 0 }
}

impl Node {
    /// One answer, or the end of the stream.
    fn answer(&self, request: &v1::ProduceRequest) -> Result<v1::ProduceResponse, Status> {
        let mut world = self.world.lock().unwrap();
        let part = &request.partitions[0];
        let Some(v1::partition_records::Data::Batch(bytes)) = &part.data else {
            panic!("the client sends batches");
        };
        let mut refused = None;
        if world.leader != self.node_id {
            if request.routing() == v1::Routing::LeaderOnly {
                refused = Some(error(ErrorKind::NotLeader, 1030, Some(world.hint())));
            }
            world.forwarded += 1;
        }
        if refused.is_none() {
            match world.script.pop_front().unwrap_or(Fault::None) {
                Fault::None => {}
                Fault::BreakAfterStoring => {
                    let _ = world.append(bytes);
                    return Err(Status::unavailable("the node was killed"));
                }
                Fault::BreakBefore => return Err(Status::unavailable("the node was killed")),
                Fault::Refuse(kind, code) => refused = Some(error(kind, code, None)),
                moved @ (Fault::LeaderMoves | Fault::LeaderMovesSilently) => {
                    world.leader = 3 - world.leader;
                    let hint = (moved == Fault::LeaderMoves).then(|| world.hint());
                    refused = Some(error(ErrorKind::NotLeader, 1030, hint));
                }
            }
        }
        let mut result = v1::ProduceResult {
            topic: part.topic.clone(),
            partition: part.partition,
            error: refused,
            ..v1::ProduceResult::default()
        };
        if result.error.is_none() {
            match world.append(bytes) {
                Ok((offset, duplicate)) => {
                    result.base_offset = offset;
                    result.offset_known = true;
                    result.duplicate = duplicate;
                    result.durability = v1::Durability::QuorumFsync.into();
                }
                Err((kind, code)) => result.error = Some(error(kind, code, None)),
            }
        }
        self.changed.send_replace(());
        let correlation_id = request.correlation_id;
        Ok(v1::ProduceResponse { correlation_id, results: vec![result] })
    }

    /// What a reader at `offset` gets next.
    fn read(&self, offset: u64) -> Option<v1::FetchStreamResponse> {
        let world = self.world.lock().unwrap();
        let mut part = v1::FetchedPartition {
            topic: "t".to_owned(),
            high_watermark: world.end,
            log_start_offset: world.log_start,
            ..v1::FetchedPartition::default()
        };
        if offset < world.log_start || offset > world.end {
            part.error = Some(error(ErrorKind::NotFound, 1012, None));
            return Some(v1::FetchStreamResponse { partition: Some(part), credit_used: 0 });
        }
        let limits = Limits::default();
        let mut batches =
            world.log.iter().map(|bytes| Batch::parse(bytes.clone(), &limits).unwrap());
        let batch = batches.find(|batch| batch.header().next_offset() as u64 > offset)?;
        part.next_offset = batch.header().next_offset() as u64;
        let credit_used = batch.header().batch_bytes;
        part.batches = vec![batch.into_bytes()];
        Some(v1::FetchStreamResponse { partition: Some(part), credit_used })
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_scripted<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this fake"))
}

#[tonic::async_trait]
impl Log for Node {
    async fn metadata(
        &self,
        request: Request<v1::MetadataRequest>,
    ) -> Result<Response<v1::MetadataResponse>, Status> {
        let world = self.world.lock().unwrap();
        let node = |(index, address): (usize, &String)| v1::NodeInfo {
            node_id: index as u32 + 1,
            address: address.clone(),
        };
        let topics = request.into_inner().topics.into_iter().map(|topic| {
            let known = topic == "t";
            let partition = v1::PartitionInfo { leader: world.leader, ..Default::default() };
            v1::TopicMetadata {
                error: (!known).then(|| error(ErrorKind::NotFound, 1010, None)),
                topic,
                topic_id: 1,
                partitions: if known { vec![partition] } else { Vec::new() },
            }
        });
        Ok(Response::new(v1::MetadataResponse {
            cluster_id: "fake".to_owned(),
            nodes: world.addresses.iter().enumerate().map(node).collect(),
            topics: topics.collect(),
            version: 1,
        }))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let producer_epoch = match request.into_inner().current {
            Some(current) => current.producer_epoch + 1,
            None => 0,
        };
        self.world.lock().unwrap().epoch = producer_epoch;
        Ok(Response::new(v1::InitProducerResponse { producer_id: 7, producer_epoch }))
    }

    type ProduceStreamStream = Answers<v1::ProduceResponse>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, out) = mpsc::channel(64);
        let (world, changed) = (self.world.clone(), self.changed.clone());
        let node = Node { node_id: self.node_id, world, changed };
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let answer = node.answer(&request);
                let over = answer.is_err();
                if answers.send(answer).await.is_err() || over {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    type FetchStreamStream = Answers<v1::FetchStreamResponse>;

    async fn fetch_stream(
        &self,
        request: Request<Streaming<v1::FetchStreamRequest>>,
    ) -> Result<Response<Self::FetchStreamStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, out) = mpsc::channel(1);
        let (world, changed) = (self.world.clone(), self.changed.clone());
        let mut wake = changed.subscribe();
        let node = Node { node_id: self.node_id, world, changed };
        let breaks = node.world.lock().unwrap().fetch_breaks.pop_front();
        let mut left = breaks.unwrap_or(usize::MAX);
        tokio::spawn(async move {
            let (mut position, mut credit) = (None, 0_i64);
            loop {
                let next = position.filter(|_| credit > 0).and_then(|at| node.read(at));
                if let Some(next) = next {
                    if left == 0 {
                        let _ = answers.send(Err(Status::unavailable("killed"))).await;
                        return;
                    }
                    left -= 1;
                    credit -= i64::from(next.credit_used);
                    let part = next.partition.as_ref().unwrap();
                    position = part.error.is_none().then_some(part.next_offset);
                    if answers.send(Ok(next)).await.is_err() {
                        return;
                    }
                    continue;
                }
                tokio::select! {
                    request = requests.message() => match request {
                        Ok(Some(request)) => match request.request.unwrap() {
                            fetch_stream_request::Request::Open(open) => {
                                position = Some(open.partition.unwrap().offset);
                            }
                            fetch_stream_request::Request::Close(_) => position = None,
                            fetch_stream_request::Request::Credit(more) => {
                                credit += i64::from(more.bytes);
                            }
                        },
                        Ok(None) | Err(_) => return,
                    },
                    _ = wake.changed() => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        use v1::list_offsets_request::query::At;
        let world = self.world.lock().unwrap();
        let results = request.into_inner().queries.into_iter().map(|query| {
            let (found, offset) = match query.at.unwrap() {
                At::Earliest(_) => (true, world.log_start),
                At::Latest(_) => (true, world.end),
                At::TimestampMs(_) => (false, 0),
            };
            v1::list_offsets_response::Result { found, offset, ..Default::default() }
        });
        Ok(Response::new(v1::ListOffsetsResponse { results: results.collect() }))
    }

    async fn produce(
        &self,
        _: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        not_scripted()
    }

    async fn fetch(
        &self,
        _: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        not_scripted()
    }

    async fn delete_records(
        &self,
        _: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        not_scripted()
    }
}
