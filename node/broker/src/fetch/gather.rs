//! One fetch of several partitions, on the leaders of all their shards at once.
//!
//! With one shard its leader waits. With several, all are first asked what there is; if that is
//! too little, each of them waits for something more, until all together have enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_storage::id::ShardId;
use tokio::time::Instant;

use super::{Fetched, Request, Shares};
use crate::core::Core;
use crate::error::Error;
use crate::options::bounds;
use crate::read::Part;
use crate::read::wire::{Fetch, FetchPart};
use crate::route::Routing;

/// When some shards have answered, the others have this much time more.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn fetch(
    core: &Arc<Core>,
    request: &Request,
) -> Result<Vec<Result<Fetched, Error>>, Error> {
    let mut gather = Gather::new(core, request)?;
    match gather.asks.len() {
        0 => {}
        1 => gather.alone().await,
        _ => {
            gather.look().await;
            gather.wait().await;
        }
    }
    let outcomes = gather.finish();
    let about = |(at, outcome): (usize, Result<Fetched, Error>)| {
        let asked = &request.partitions[at];
        outcome.map_err(|error| match error.code {
            // It is named already.
            crate::error::Code::UNKNOWN_TOPIC => error,
            _ => error.about(format_args!("{}/{}", asked.topic, asked.partition)),
        })
    };
    Ok(outcomes.into_iter().enumerate().map(about).collect())
}

type Answered = (usize, Result<Vec<Result<Part, Error>>, Error>);

struct Gather<'a> {
    core: &'a Arc<Core>,
    routing: Routing,
    min_bytes: u32,
    max_bytes: u32,
    begun: Instant,
    until: Instant,
    asks: Vec<Ask>,
    /// One for each partition of the request; `None` until its shard has answered.
    outcomes: Vec<Option<Result<Part, Error>>>,
}

/// The part of a fetch that belongs to one shard.
struct Ask {
    shard: ShardId,
    /// Which partitions of the request these are.
    places: Vec<usize>,
    parts: Vec<FetchPart>,
    max_bytes: u32,
}

impl<'a> Gather<'a> {
    fn new(core: &'a Arc<Core>, request: &Request) -> Result<Self, Error> {
        let (min_bytes, max_bytes) = bounded(request)?;
        let mut shards: BTreeMap<ShardId, Ask> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(request.partitions.len());
        for (at, asked) in request.partitions.iter().enumerate() {
            let bytes = asked.bytes_max()?;
            let place = match core.catalog.place(&asked.topic, asked.partition) {
                Ok(place) => place,
                Err(error) => {
                    outcomes.push(Some(Err(error)));
                    continue;
                }
            };
            outcomes.push(None);
            let shard = place.shard;
            let ask = shards.entry(shard).or_insert_with(|| Ask {
                shard,
                places: Vec::new(),
                parts: Vec::new(),
                max_bytes,
            });
            ask.places.push(at);
            let (partition, offset) = (place.partition.0, asked.offset);
            ask.parts.push(FetchPart { partition, offset, max_bytes: bytes });
        }
        let mut asks: Vec<Ask> = shards.into_values().collect();
        let count = u32::try_from(asks.len()).expect("at most as many as partitions");
        let share = max_bytes.checked_div(count).unwrap_or(0);
        for ask in &mut asks {
            ask.max_bytes = share.max(max_bytes.min(bounds::PARTITION_BYTES_DEFAULT));
        }
        let begun = Instant::now();
        Ok(Self {
            core,
            routing: request.routing,
            min_bytes,
            max_bytes,
            begun,
            until: begun + request.max_wait,
            asks,
            outcomes,
        })
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.core.options.route.timeout_ms)
    }

    /// Asks one shard; it waits, until `deadline` is near, for `min_bytes`.
    fn ask(&self, at: usize, min_bytes: u32, wait: bool) -> BoxFuture<'static, Answered> {
        let ask = &self.asks[at];
        let left = self.until.saturating_duration_since(Instant::now());
        let wait_ms = u32::try_from(left.as_millis()).unwrap_or(bounds::WAIT_MS_MAX);
        let fetch = Fetch {
            partitions: ask.parts.clone(),
            min_bytes,
            max_bytes: ask.max_bytes,
            wait_ms: if wait { wait_ms } else { 0 },
        };
        let (core, shard, routing) = (Arc::clone(self.core), ask.shard, self.routing);
        let deadline = if wait { self.until } else { self.begun } + self.timeout();
        Box::pin(async move { (at, core.read_records(shard, fetch, deadline, routing).await) })
    }

    fn settle(&mut self, at: usize, answer: Result<Vec<Result<Part, Error>>, Error>) {
        let places = &self.asks[at].places;
        match answer {
            Ok(parts) => {
                for (place, part) in places.iter().zip(parts) {
                    self.outcomes[*place] = Some(part);
                }
            }
            Err(error) => {
                for place in places {
                    // What was known before is still true.
                    self.outcomes[*place].get_or_insert_with(|| Err(error.clone()));
                }
            }
        }
    }

    /// The only shard.
    async fn alone(&mut self) {
        let failed = self.outcomes.iter().any(Option::is_some);
        let (at, answer) = self.ask(0, self.min_bytes, !failed).await;
        self.settle(at, answer);
    }

    /// What there is in all shards.
    async fn look(&mut self) {
        let mut asked: FuturesUnordered<_> =
            (0..self.asks.len()).map(|at| self.ask(at, 0, false)).collect();
        let mut patience = self.begun + self.timeout();
        loop {
            tokio::select! {
                answer = asked.next() => {
                    let Some((at, answer)) = answer else { return };
                    self.settle(at, answer);
                    patience = patience.min(self.until.max(Instant::now() + PATIENCE));
                }
                () = tokio::time::sleep_until(patience) => return,
            }
        }
    }

    /// Waits until there is enough in all shards together.
    async fn wait(&mut self) {
        if !self.wants_more() {
            return;
        }
        let mut asked: FuturesUnordered<_> =
            (0..self.asks.len()).map(|at| self.ask(at, self.more_than_held(at), true)).collect();
        while self.wants_more() {
            tokio::select! {
                answer = asked.next() => {
                    let Some((at, answer)) = answer else { return };
                    let failed = answer.is_err();
                    let before = self.held(at);
                    self.settle(at, answer);
                    if failed {
                        return;
                    }
                    // One that answers early with nothing new is about to stop.
                    let held = self.held(at);
                    let full = held >= u64::from(self.asks[at].max_bytes);
                    if held > before && !full && self.wants_more() {
                        asked.push(self.ask(at, self.more_than_held(at), true));
                    }
                }
                () = tokio::time::sleep_until(self.until) => return,
            }
        }
    }

    /// There is too little, there is time, and nothing has failed that should be told first.
    fn wants_more(&self) -> bool {
        let good = |outcome: &Option<Result<Part, Error>>| matches!(outcome, Some(Ok(_)));
        let all: u64 = (0..self.asks.len()).map(|at| self.held(at)).sum();
        self.outcomes.iter().all(good)
            && all < u64::from(self.min_bytes)
            && Instant::now() < self.until
    }

    fn held(&self, at: usize) -> u64 {
        let outcomes = self.asks[at].places.iter().map(|place| &self.outcomes[*place]);
        outcomes.flatten().flatten().map(|part| bytes(&part.batches)).sum()
    }

    fn more_than_held(&self, at: usize) -> u32 {
        u32::try_from(self.held(at) + 1).unwrap_or(u32::MAX)
    }

    fn finish(self) -> Vec<Result<Fetched, Error>> {
        let unanswered = |outcome: Option<Result<Part, Error>>| {
            outcome.unwrap_or_else(|| Err(Error::not_done_in_time("its shard")))
        };
        let outcomes = self.outcomes.into_iter().map(unanswered);
        let mut outcomes: Vec<_> = outcomes.map(|part| part.map(Fetched::from)).collect();
        if self.asks.len() > 1 {
            let mut offsets = vec![0; outcomes.len()];
            for ask in &self.asks {
                for (place, part) in ask.places.iter().zip(&ask.parts) {
                    offsets[*place] = part.offset;
                }
            }
            cut(&mut outcomes, &offsets, self.max_bytes, self.core.fetch.turn());
        }
        outcomes
    }
}

fn bytes(batches: &[Bytes]) -> u64 {
    batches.iter().map(|batch| batch.len() as u64).sum()
}

/// The bounds of a request: at least so many bytes, at most so many.
fn bounded(request: &Request) -> Result<(u32, u32), Error> {
    let count = request.partitions.len();
    if count == 0 || count > bounds::PARTITIONS_MAX {
        let expected = format!("1 to {}", bounds::PARTITIONS_MAX);
        return Err(Error::invalid("the number of partitions", count, &expected));
    }
    if request.max_bytes > bounds::FETCH_BYTES_MAX {
        let expected = format!("0 to {}", bounds::FETCH_BYTES_MAX);
        return Err(Error::invalid("max_bytes", request.max_bytes, &expected));
    }
    let wait = request.max_wait.as_millis();
    if wait > u128::from(bounds::WAIT_MS_MAX) {
        let expected = format!("0 to {}", bounds::WAIT_MS_MAX);
        return Err(Error::invalid("max_wait_ms", wait, &expected));
    }
    let max_bytes = match request.max_bytes {
        0 => bounds::FETCH_BYTES_DEFAULT,
        bytes => bytes,
    };
    Ok((request.min_bytes.clamp(1, max_bytes), max_bytes))
}

/// Several shards may have answered with more than all may be: what is over is left for the next
/// fetch.
fn cut(outcomes: &mut [Result<Fetched, Error>], offsets: &[u64], max_bytes: u32, turn: usize) {
    let held = |outcome: &Result<Fetched, Error>| match outcome {
        Ok(fetched) => u32::try_from(bytes(&fetched.batches)).unwrap_or(u32::MAX),
        Err(_) => 0,
    };
    let wanted: Vec<u32> = outcomes.iter().map(held).collect();
    if wanted.iter().copied().map(u64::from).sum::<u64>() <= u64::from(max_bytes) {
        return;
    }
    let mut shares = Shares::new(max_bytes.into(), wanted, turn);
    while let Some((at, allowed)) = shares.next() {
        let Ok(fetched) = &mut outcomes[at] else { continue };
        let mut kept = 0;
        let mut fits = |(at, batch): (usize, &Bytes)| {
            let limit = if at == 0 { allowed.first.max(allowed.bytes) } else { allowed.bytes };
            kept += batch.len() as u64;
            kept <= limit
        };
        let count = fetched.batches.iter().enumerate().take_while(|batch| fits(*batch)).count();
        if let Some(next) = fetched.batches.get(count) {
            // The first batch may begin before the offset that was asked for.
            fetched.next_offset = base_offset(next).max(offsets[at]);
            fetched.batches.truncate(count);
        }
        shares.took(bytes(&fetched.batches));
    }
}

/// The first field of a record batch.
fn base_offset(batch: &[u8]) -> u64 {
    let first = batch.first_chunk().copied().expect("a batch has a header");
    u64::from_be_bytes(first)
}

#[cfg(test)]
#[path = "gather_test.rs"]
mod tests;
