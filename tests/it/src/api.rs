//! Calls of `kontiki.v1`, to one node or to any that answers.
//!
//! It is deliberately thin: what the Rust client does for its user (finding leaders, retries,
//! batching) is not done here, so that the tests see what the nodes themselves answer.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kontiki_proto::v1::cluster_client::ClusterClient;
use kontiki_proto::v1::log_client::LogClient;
use kontiki_proto::v1::queue_client::QueueClient;
use kontiki_proto::v1::topics_client::TopicsClient;
use kontiki_proto::v1::{self, ErrorKind};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::wait;

/// How long one call to one node may take: a stopped process doesn't refuse, it is silent.
const CALL: Duration = Duration::from_secs(5);
/// Larger than anything that a node answers.
const MESSAGE_BYTES_MAX: usize = 80 << 20;

/// Why a call, or one part of it, failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind:?} {code}: {message} (gRPC {status:?})")]
pub struct CallError {
    /// `kontiki.v1.ErrorKind`; unspecified where the answer didn't come from a node's code.
    pub kind: ErrorKind,
    /// The stable number.
    pub code: u32,
    /// For people.
    pub message: String,
    /// The status of the call; `Ok` for the error of one part of an answer.
    pub status: Code,
}

impl CallError {
    /// Whether asking again, later or elsewhere, may help an idempotent caller.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.kind {
            ErrorKind::NotLeader
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Unknown => true,
            // No node's code answered: the connection failed, or time was up.
            ErrorKind::Unspecified => {
                matches!(self.status, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
                    || matches!(self.status, Code::Unknown | Code::Internal)
            }
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Fenced
            | ErrorKind::Conflict
            | ErrorKind::Internal => false,
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let code = status.code();
        match kontiki_proto::details::error(&status) {
            Some(error) => Self { status: code, ..Self::from(error) },
            None => Self {
                kind: ErrorKind::Unspecified,
                code: 0,
                message: status.message().to_owned(),
                status: code,
            },
        }
    }
}

impl From<v1::Error> for CallError {
    fn from(error: v1::Error) -> Self {
        Self { kind: error.kind(), code: error.code, message: error.message, status: Code::Ok }
    }
}

/// The error of a part of an answer, as a result.
///
/// # Errors
/// The error that is in there.
pub fn part(error: Option<v1::Error>) -> Result<(), CallError> {
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// The stubs of one node.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where the node is.
    pub address: SocketAddrV4,
    channel: Channel,
}

impl Api {
    /// To the node at this address; connects when it is first used, and again when it has to.
    ///
    /// # Panics
    /// Never: the address is a valid one.
    #[must_use]
    pub fn to(address: SocketAddrV4) -> Self {
        let endpoint = Endpoint::try_from(format!("http://{address}")).expect("a valid address");
        let endpoint = endpoint.connect_timeout(Duration::from_secs(2)).timeout(CALL);
        Self { address, channel: endpoint.connect_lazy() }
    }

    /// `kontiki.v1.Log`.
    #[must_use]
    pub fn log(&self) -> LogClient<Channel> {
        let client = LogClient::new(self.channel.clone());
        client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(usize::MAX)
    }

    /// `kontiki.v1.Topics`.
    #[must_use]
    pub fn topics(&self) -> TopicsClient<Channel> {
        TopicsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// `kontiki.v1.Queue`.
    #[must_use]
    pub fn queues(&self) -> QueueClient<Channel> {
        QueueClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// `kontiki.v1.Cluster`.
    #[must_use]
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Produces to one partition, asking for a quorum.
    ///
    /// # Errors
    /// Of the call or of the partition.
    pub async fn produce(
        &self,
        records: v1::PartitionRecords,
    ) -> Result<v1::ProduceResult, CallError> {
        let request = v1::ProduceRequest {
            acks: v1::Acks::Quorum.into(),
            timeout_ms: 4_000,
            partitions: vec![records],
            ..Default::default()
        };
        let mut results = self.log().produce(request).await?.into_inner().results;
        assert_eq!(results.len(), 1, "one result per partition");
        let mut result = results.remove(0);
        part(result.error.take())?;
        Ok(result)
    }

    /// Fetches from one partition, waiting at most this long.
    ///
    /// # Errors
    /// Of the call or of the partition.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        max_wait_ms: u32,
    ) -> Result<v1::FetchedPartition, CallError> {
        let wanted =
            v1::FetchPartition { topic: topic.to_owned(), partition, offset, max_bytes: 4 << 20 };
        let request = v1::FetchRequest {
            partitions: vec![wanted],
            max_wait_ms,
            format: v1::RecordFormat::Records.into(),
            ..Default::default()
        };
        let mut fetched = self.log().fetch(request).await?.into_inner().partitions;
        assert_eq!(fetched.len(), 1, "one answer per partition");
        let mut fetched = fetched.remove(0);
        part(fetched.error.take())?;
        Ok(fetched)
    }

    /// The earliest and the latest offset of a partition.
    ///
    /// # Errors
    /// Of the call or of the partition.
    pub async fn offsets(&self, topic: &str, partition: u32) -> Result<(u64, u64), CallError> {
        use v1::list_offsets_request::{Query, query::At};
        let query = |at| Query { topic: topic.to_owned(), partition, at: Some(at) };
        let request = v1::ListOffsetsRequest {
            queries: vec![query(At::Earliest(true)), query(At::Latest(true))],
            ..Default::default()
        };
        let results = self.log().list_offsets(request).await?.into_inner().results;
        assert_eq!(results.len(), 2, "one result per query");
        for result in &results {
            part(result.error.clone())?;
        }
        Ok((results[0].offset, results[1].offset))
    }
}

/// Several nodes, of which any will do.
#[derive(Debug, Clone)]
pub struct AnyNode {
    nodes: Arc<Vec<Api>>,
    turn: Arc<AtomicUsize>,
}

impl AnyNode {
    /// Those at these addresses.
    ///
    /// # Panics
    /// Where there are none.
    pub fn of(addresses: impl IntoIterator<Item = SocketAddrV4>) -> Self {
        let nodes: Vec<Api> = addresses.into_iter().map(Api::to).collect();
        assert!(!nodes.is_empty(), "no addresses");
        Self { nodes: Arc::new(nodes), turn: Arc::default() }
    }

    /// The one whose turn it is.
    #[must_use]
    pub fn current(&self) -> Api {
        self.nodes[self.turn.load(Ordering::Relaxed) % self.nodes.len()].clone()
    }

    /// Passes the turn on, because the current one did not answer well.
    pub fn next(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks one node after another until one answers well.
    ///
    /// # Panics
    /// At an error that asking again can't cure, and when nobody has answered well for
    /// [`wait::PATIENCE`].
    pub async fn ask<T, F>(&self, what: &str, call: impl Fn(Api) -> F) -> T
    where
        F: Future<Output = Result<T, CallError>>,
    {
        wait::until(what, || async {
            let api = self.current();
            let address = api.address;
            let answer = call(api).await;
            if let Err(error) = &answer {
                assert!(error.is_passing(), "{what}, asked of {address}: {error}");
                self.next();
            }
            answer.map_err(|error| at(address, &error))
        })
        .await
    }
}

fn at(address: SocketAddrV4, error: &dyn Display) -> String {
    format!("{address}: {error}")
}
