//! Offsets: where logs begin and end, and by time.

use kontiki_domain::partition::PartitionState;
use kontiki_domain::partition::read::{self, Batch, Search};
use kontiki_records::Limits;
use kontiki_storage::View;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::Space;

use super::wire::{At, Found, OffsetQuery, Response};
use super::{Reading, records};
use crate::error::Error;
use crate::route::Answer;

/// Batch rows looked at in one step of a search.
const STEP_ROWS: usize = 1_024;

pub(super) async fn find(reading: &Reading<'_>, queries: &[OffsetQuery]) -> Result<Answer, Error> {
    let _pin = reading.core.payloads.pin();
    let ids: Vec<u64> = queries.iter().map(|query| query.partition).collect();
    let states = reading.states(&ids).await?;
    let leader_epoch = reading.replica.role().term;
    let mut parts = Vec::with_capacity(queries.len());
    for (query, state) in queries.iter().zip(states) {
        let found = match state {
            Err(error) => Err(error),
            Ok(state) => {
                let at = |offset| Found { offset: Some(offset), timestamp_ms: None, leader_epoch };
                Ok(match query.at {
                    At::Earliest => at(state.log_start_offset.0),
                    At::Latest => at(state.log_end_offset.0),
                    At::Timestamp(time) => {
                        let id = PartitionId(query.partition);
                        let found = by_time(reading, id, &state, time).await?;
                        let (offset, timestamp_ms) = found.unzip();
                        Found { offset, timestamp_ms, leader_epoch }
                    }
                })
            }
        };
        parts.push(found.into());
    }
    Ok(Answer { response: Response::Offsets(parts).encode(), payloads: Vec::new() })
}

/// The first record with this timestamp or a later one.
async fn by_time(
    reading: &Reading<'_>,
    id: PartitionId,
    state: &PartitionState,
    time: i64,
) -> Result<Option<(u64, i64)>, Error> {
    let mut from: Option<Offset> = None;
    loop {
        let look = |view: &dyn View, space: Space| {
            read::batch_at_timestamp(view, space, id, state, time, from, STEP_ROWS)
        };
        let searched = reading.look(look);
        match reading.sound(searched).await? {
            Search::None => return Ok(None),
            Search::Continue(next) => from = Some(next),
            Search::Found(batch) => {
                let next = batch.next_offset();
                let first = record_at(reading, batch, state.log_start_offset, time).await?;
                if first.is_some() {
                    return Ok(first);
                }
                from = Some(next);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// The record in a batch, not below the log start.
async fn record_at(
    reading: &Reading<'_>,
    batch: Batch,
    start: Offset,
    time: i64,
) -> Result<Option<(u64, i64)>, Error> {
    let batch = records::batch_of(reading, batch).await?;
    let options = &reading.core.options.produce;
    let limits = Limits { decompressed_bytes_max: options.decompressed_bytes_max, ..records::ANY };
    for record in batch.records(&limits)? {
        let record = record?;
        let offset = u64::try_from(record.offset).unwrap_or(0);
        if offset >= start.0 && record.timestamp >= time {
            return Ok(Some((offset, record.timestamp)));
        }
    }
    Ok(None)
}
