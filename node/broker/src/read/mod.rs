//! What the leader of a shard answers to reads, its own node's and those of others.
//!
//! Rows are read first and the leadership is checked afterwards, so that a pause in between does
//! no harm. Where the lease doesn't hold, a quorum confirms the leadership, and the rows are read
//! again: then they have everything that was acknowledged before the question.

mod ask;
mod offsets;
mod queues;
mod records;
mod select;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::partition::{PartitionState, read};
use kontiki_raft::Shard;
use kontiki_storage::View;
use kontiki_storage::id::PartitionId;
use kontiki_storage::key::Space;
use tokio::time::Instant;

pub(crate) use self::ask::Part;
pub(crate) use self::queues::load_here;
pub(crate) use self::records::ANY;
use self::wire::{Request, Response};
use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::hub::Watch;
use crate::route::Answer;

/// How long a partition that the catalog knows, but its shard doesn't yet, is waited for.
const CREATION: Duration = Duration::from_secs(2);

/// How often something that should be announced is looked at nevertheless.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Serves a read here, if this replica leads.
///
/// # Errors
/// It doesn't lead, or what the read itself meets.
pub(crate) async fn serve(
    core: &Arc<Core>,
    replica: Shard,
    request: Bytes,
    deadline: Instant,
) -> Result<Answer, Error> {
    let reading = Reading { core, replica: &replica, deadline, begun: Instant::now() };
    match Request::decode(&request)? {
        Request::Fetch(fetch) => Box::pin(records::fetch(&reading, &fetch)).await,
        Request::Offsets(queries) => offsets::find(&reading, &queries).await,
        Request::Sizes(ids) => sizes(&reading, &ids).await,
        Request::Receive(receive) => Box::pin(queues::receive(&reading, receive)).await,
        Request::Peek(peek) => Box::pin(queues::peek(&reading, peek)).await,
        Request::Queues(ids) => queues::counts(&reading, &ids).await,
        Request::Select(select) => Box::pin(select::select(&reading, &select)).await,
        Request::Positions(positions) => select::positions(&reading, &positions).await,
        Request::Attach(attach) => select::attach(&reading, attach).await,
        Request::Redrives(queue) => queues::redrives(&reading, PartitionId(queue)).await,
        Request::Consumer(consumer) => queues::consumer(&reading, consumer),
    }
}

/// One read, while it is served.
struct Reading<'a> {
    core: &'a Arc<Core>,
    replica: &'a Shard,
    deadline: Instant,
    begun: Instant,
}

type Looked<T> = Result<T, kontiki_storage::Error>;

impl Reading<'_> {
    /// What a look at the rows finds, when this replica is known to lead.
    async fn current<T>(&self, look: impl Fn(&dyn View, Space) -> Looked<T>) -> Result<T, Error> {
        let before = self.replica.role();
        if before.ready {
            let found = self.look(&look);
            if self.replica.lease_holds() && self.replica.role().term == before.term {
                return self.sound(found).await;
            }
        }
        let shard = self.replica.id();
        let barrier = tokio::time::timeout_at(self.deadline, self.replica.read_barrier()).await;
        let late = |_| Error::not_done_in_time(&format!("shard {shard}"));
        barrier.map_err(late)?.map_err(|error| Error::read(shard, &error))?;
        let found = self.look(&look);
        self.sound(found).await
    }

    /// A look at rows of one state: not of two, if a snapshot replaces it meanwhile.
    fn look<T>(&self, look: impl Fn(&dyn View, Space) -> Looked<T>) -> Looked<T> {
        loop {
            let (view, space) = self.replica.view();
            let found = look(view.as_ref(), space);
            if self.replica.view().1 == space {
                return found;
            }
        }
    }

    /// What was found, unless it is damaged: then this replica answers nothing any more, and
    /// another one is asked.
    async fn sound<T>(&self, found: Looked<T>) -> Result<T, Error> {
        match found {
            Ok(found) => Ok(found),
            Err(error) if error.is_corrupt() => Err(self.condemned(&error.to_string()).await),
            Err(error) => Err(error.into()),
        }
    }

    async fn condemned(&self, why: &str) -> Error {
        self.replica.condemn(why).await;
        let shard = self.replica.id();
        let detail = format!(
            "the replica of shard {shard} on node {} is damaged ({why}); nothing of it was \
             returned, and it is being replaced: try again",
            self.core.node
        );
        Error::new(Kind::Unavailable, Code::SHARD_FAILED, detail)
    }

    fn watch(&self, ids: impl Iterator<Item = u64>) -> Watch {
        self.core.hub.watch(ids.map(PartitionId).collect())
    }

    /// Until something has changed, the leadership moves, the node stops or it is time.
    async fn wait(&self, watch: &Watch, until: Instant) {
        let mut role = self.replica.watch();
        role.mark_unchanged();
        if !self.replica.role().leads {
            return;
        }
        tokio::select! {
            () = watch.changed() => {}
            _ = role.changed() => {}
            () = self.core.stopped() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// The state of each partition. One that has been created but isn't here yet is waited for.
    async fn states(&self, ids: &[u64]) -> Result<Vec<Result<PartitionState, Error>>, Error> {
        let look = |view: &dyn View, space: Space| {
            let states = ids.iter().map(|id| read::partition(view, space, PartitionId(*id)));
            states.collect::<Looked<Vec<_>>>()
        };
        let mut watch = None;
        loop {
            let found = self.current(look).await?;
            let missing = found.iter().any(Option::is_none);
            if !missing || Instant::now() >= self.created_until() || self.core.is_stopping() {
                let states = found.into_iter().zip(ids);
                return Ok(states.map(|(state, id)| self.live(*id, state)).collect());
            }
            match &watch {
                // What happened before the watch is seen by looking once more.
                None => watch = Some(self.watch(ids.iter().copied())),
                Some(watch) => self.wait(watch, Instant::now() + LOOK_AGAIN).await,
            }
        }
    }

    /// Until when a partition that isn't here may still come.
    fn created_until(&self) -> Instant {
        (self.begun + CREATION).min(self.deadline)
    }

    fn live(&self, id: u64, state: Option<PartitionState>) -> Result<PartitionState, Error> {
        match state {
            Some(state) if state.is_live() => Ok(state),
            Some(_) => Err(gone()),
            None => Err(self.missing(id)),
        }
    }

    fn missing(&self, id: u64) -> Error {
        let known = self.core.catalog.look(|catalog| catalog.partition(PartitionId(id)).is_some());
        if !known {
            return gone();
        }
        let detail = "it is being created: try again";
        let error = Error::new(Kind::Unavailable, Code::NOT_READY, detail);
        Error { retry_after_ms: 200, ..error }
    }
}

fn gone() -> Error {
    let detail = "it is deleted: correct the name, or stop reading it";
    Error::new(Kind::NotFound, Code::UNKNOWN_PARTITION, detail)
}

async fn sizes(reading: &Reading<'_>, ids: &[u64]) -> Result<Answer, Error> {
    let states = reading.states(ids).await?;
    let size = |state: PartitionState| wire::Size {
        log_start_offset: state.log_start_offset.0,
        high_watermark: state.log_end_offset.0,
        bytes: state.bytes,
    };
    let parts = states.into_iter().map(|state| state.map(size).into()).collect();
    Ok(Answer { response: Response::Sizes(parts).encode(), payloads: Vec::new() })
}
