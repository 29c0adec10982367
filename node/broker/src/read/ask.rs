//! Asks the leader of a shard to read, wherever it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::time::Instant;

use super::serve;
use super::wire::{self, At, Fetch, OffsetQuery, Request, Response};
use crate::core::Core;
use crate::error::Error;
use crate::route::{Answer, How, Routing, Served};

/// Batches of one partition, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) fetched: wire::Fetched,
    pub(crate) batches: Vec<Bytes>,
}

impl Core {
    /// Fetches from the leader of a shard; one part for each partition.
    pub(crate) async fn read_records(
        self: &Arc<Self>,
        shard: ShardId,
        fetch: Fetch,
        deadline: Instant,
        routing: Routing,
    ) -> Result<Vec<Result<Part, Error>>, Error> {
        let asked = fetch.partitions.len();
        let (answer, here) = self.read(shard, &Request::Fetch(fetch), deadline, routing).await?;
        let Response::Fetched(parts) = Response::decode(&answer.response)? else {
            return Err(misunderstood(shard));
        };
        let count = |part: &wire::FetchedPart| match part {
            wire::FetchedPart::Done(fetched) => fetched.batches as usize,
            wire::FetchedPart::Failed(_) => 0,
        };
        let batches: usize = parts.iter().map(count).sum();
        if parts.len() != asked || batches != answer.payloads.len() {
            return Err(misunderstood(shard));
        }
        let mut payloads = if here { answer.payloads } else { self.held(answer.payloads)? };
        payloads.reverse();
        let outcome = |part: wire::FetchedPart| {
            let fetched = Result::from(part)?;
            let at = payloads.len() - fetched.batches as usize;
            let batches = payloads.drain(at..).rev().collect();
            Ok(Part { fetched, batches })
        };
        Ok(parts.into_iter().map(outcome).collect())
    }

    /// What another node has sent counts as read here.
    fn held(&self, payloads: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
        let share = self.fetch.take(payloads.iter().map(|payload| payload.len() as u64).sum())?;
        Ok(payloads.into_iter().map(|payload| share.hold(payload)).collect())
    }

    /// Finds offsets on the leader of a shard; one answer for each query.
    pub(crate) async fn read_offsets(
        self: &Arc<Self>,
        shard: ShardId,
        queries: Vec<(PartitionId, At)>,
        deadline: Instant,
        routing: Routing,
    ) -> Result<Vec<Result<wire::Found, Error>>, Error> {
        let asked = queries.len();
        let query = |(partition, at): (PartitionId, At)| OffsetQuery { partition: partition.0, at };
        let request = Request::Offsets(queries.into_iter().map(query).collect());
        let (answer, _) = self.read(shard, &request, deadline, routing).await?;
        match Response::decode(&answer.response)? {
            Response::Offsets(parts) if parts.len() == asked => {
                Ok(parts.into_iter().map(Result::from).collect())
            }
            Response::Fetched(_)
            | Response::Offsets(_)
            | Response::Sizes(_)
            | Response::Received(_)
            | Response::Peeked { .. }
            | Response::Queues(_)
            | Response::Selected(_)
            | Response::Positions(_)
            | Response::Attached(_)
            | Response::Redrives(_)
            | Response::Noted => Err(misunderstood(shard)),
        }
    }

    /// Where partitions of a shard begin and end, and their sizes; one answer for each.
    pub(crate) async fn read_sizes(
        self: &Arc<Self>,
        shard: ShardId,
        partitions: Vec<PartitionId>,
        deadline: Instant,
    ) -> Result<Vec<Result<wire::Size, Error>>, Error> {
        let asked = partitions.len();
        let request = Request::Sizes(partitions.into_iter().map(|partition| partition.0).collect());
        let (answer, _) = self.read(shard, &request, deadline, Routing::Forward).await?;
        match Response::decode(&answer.response)? {
            Response::Sizes(parts) if parts.len() == asked => {
                Ok(parts.into_iter().map(Result::from).collect())
            }
            Response::Fetched(_)
            | Response::Offsets(_)
            | Response::Sizes(_)
            | Response::Received(_)
            | Response::Peeked { .. }
            | Response::Queues(_)
            | Response::Selected(_)
            | Response::Positions(_)
            | Response::Attached(_)
            | Response::Redrives(_)
            | Response::Noted => Err(misunderstood(shard)),
        }
    }

    /// Asks the leader of a shard; the record batches of the answer count as read here.
    pub(crate) async fn read_shard(
        self: &Arc<Self>,
        shard: ShardId,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Response, Vec<Bytes>), Error> {
        let (answer, here) = self.read(shard, request, deadline, Routing::Forward).await?;
        let response = Response::decode(&answer.response)?;
        let payloads = if here { answer.payloads } else { self.held(answer.payloads)? };
        Ok((response, payloads))
    }

    /// Receives from the leader of a queue's shard: the messages are leased, whatever becomes of
    /// their records.
    pub(crate) async fn read_messages(
        self: &Arc<Self>,
        shard: ShardId,
        receive: wire::Receive,
        deadline: Instant,
    ) -> Result<(Vec<wire::Delivered>, Result<Vec<Bytes>, Error>), Error> {
        let request = Request::Receive(receive);
        let (answer, here) = self.read(shard, &request, deadline, Routing::Forward).await?;
        let Response::Received(delivered) = Response::decode(&answer.response)? else {
            return Err(misunderstood(shard));
        };
        let payloads = if here { Ok(answer.payloads) } else { self.held(answer.payloads) };
        Ok((delivered, payloads))
    }

    /// The answer, and whether this node gave it.
    async fn read(
        self: &Arc<Self>,
        shard: ShardId,
        request: &Request,
        deadline: Instant,
        routing: Routing,
    ) -> Result<(Answer, bool), Error> {
        if self.is_stopping() {
            return Err(Error::stopping());
        }
        let here = AtomicBool::new(false);
        let how = How { routing, ..How::applied_by(deadline) };
        let serve_here = |replica, request| async {
            here.store(true, Ordering::Relaxed);
            let answer = serve(self, replica, request, deadline).await;
            if answer.is_err() {
                here.store(false, Ordering::Relaxed);
            }
            answer
        };
        // What it has leased, nobody else gets.
        let once = matches!(request, Request::Receive(_));
        let served = if once { Served::Once } else { Served::Often };
        let read = Box::pin(self.router.read(shard, request.encode(), how, served, serve_here));
        let late = |_| match served {
            Served::Often => Error::not_done_in_time(&format!("shard {shard}")),
            Served::Once => Error::outcome_unknown(&format!("the leader of shard {shard}")),
        };
        let answer = tokio::time::timeout_at(deadline, read).await.map_err(late)??;
        Ok((answer, here.load(Ordering::Relaxed)))
    }
}

fn misunderstood(shard: ShardId) -> Error {
    let detail = format!("the answer of shard {shard} doesn't fit the question");
    Error::internal(detail)
}
