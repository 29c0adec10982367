//! Records for a fetch: which batches, when there are enough of them, and their bytes.

use bytes::Bytes;
use kontiki_domain::partition::PartitionState;
use kontiki_domain::partition::read::{self, Batch, Limit, Plan};
use kontiki_records::{Limits, TimestampType};
use kontiki_storage::View;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::key::Space;
use kontiki_storage::payload::PayloadRef;
use tokio::time::Instant;

use super::wire::{Fetch, FetchPart, Fetched, FetchedPart, Response};
use super::{LOOK_AGAIN, Looked, Reading, gone};
use crate::error::{Code, Error, Kind};
use crate::fetch::{Allowed, Shares};
use crate::route::Answer;

/// Payload bytes that are read before others get their turn.
const TURN_BYTES: usize = 1 << 20;

/// What one partition has for a fetch.
enum Part {
    Read {
        state: PartitionState,
        batches: Vec<Batch>,
    },
    Gone,
    OutOfRange(PartitionState),
    /// Its messages are received, not fetched.
    Queue,
    /// It isn't here (yet).
    Missing,
}

/// All partitions of a fetch, as they were at one moment.
struct Looks {
    parts: Vec<Part>,
    bytes: u64,
    /// Waiting for more would be of no use.
    complete: bool,
    missing: bool,
}

pub(super) async fn fetch(reading: &Reading<'_>, fetch: &Fetch) -> Result<Answer, Error> {
    let core = reading.core;
    // Payloads may be moved and segments removed while they are read.
    let _pin = core.payloads.pin();
    let rows_max = core.options.fetch.rows_max;
    let waits = std::time::Duration::from_millis(fetch.wait_ms.into());
    let until = (reading.begun + waits).min(reading.deadline);
    let how = How { rows_max, turn: core.fetch.turn() };
    let (mut watch, mut ticket) = (None, None);
    let looks = loop {
        let found = reading.current(|view, space| look(view, space, fetch, how)).await?;
        let now = Instant::now();
        let enough = found.complete || found.bytes >= u64::from(fetch.min_bytes);
        let creation = found.missing && now < reading.created_until();
        let wait = creation || (!enough && !found.missing && now < until);
        if !wait || core.is_stopping() {
            break found;
        }
        let Some(watch) = &watch else {
            // What happened before the watch is seen by looking once more.
            watch = Some(reading.watch(fetch.partitions.iter().map(|part| part.partition)));
            continue;
        };
        // Who only waits for offsets to move holds next to nothing.
        if fetch.max_bytes > 0 && ticket.is_none() {
            ticket = Some(core.fetch.wait()?);
        }
        let again = now + if creation { LOOK_AGAIN } else { core.fetch.check() };
        let wake = if creation { again } else { again.min(until) };
        reading.wait(watch, wake).await;
    };
    drop(ticket);
    answer(reading, fetch, looks).await
}

/// How a fetch looks at its partitions.
#[derive(Clone, Copy)]
struct How {
    /// Batches of one partition.
    rows_max: usize,
    /// Which partition is the first to take of what is allowed: not always the same.
    turn: usize,
}

fn look(view: &dyn View, space: Space, fetch: &Fetch, how: How) -> Looked<Looks> {
    let mut states = Vec::with_capacity(fetch.partitions.len());
    for part in &fetch.partitions {
        states.push(read::partition(view, space, PartitionId(part.partition))?);
    }
    let wants = |(part, state): (&FetchPart, &Option<PartitionState>)| match state {
        Some(state) if state.is_live() && part.offset < state.log_end_offset.0 => part.max_bytes,
        Some(_) | None => 0,
    };
    let wanted: Vec<u32> = fetch.partitions.iter().zip(&states).map(wants).collect();
    let mut shares = Shares::new(fetch.max_bytes.into(), wanted, how.turn);
    let mut looks = Looks { bytes: 0, complete: false, missing: false, parts: Vec::new() };
    looks.parts.resize_with(fetch.partitions.len(), || Part::Missing);
    while let Some((at, allowed)) = shares.next() {
        let part = &fetch.partitions[at];
        let state = states[at].take();
        let found = look_at(view, space, part, state, allowed, how.rows_max)?;
        shares.took(looks.add(part, &found));
        looks.parts[at] = found;
    }
    Ok(looks)
}

fn look_at(
    view: &dyn View,
    space: Space,
    part: &FetchPart,
    state: Option<PartitionState>,
    allowed: Allowed,
    rows_max: usize,
) -> Looked<Part> {
    let Some(state) = state else { return Ok(Part::Missing) };
    if !state.is_live() {
        return Ok(Part::Gone);
    }
    if state.queue.is_some() {
        return Ok(Part::Queue);
    }
    let offset = Offset(part.offset);
    let id = PartitionId(part.partition);
    if state.check_offset(id, offset).is_err() {
        return Ok(Part::OutOfRange(state));
    }
    if allowed.bytes == 0 || offset == state.log_end_offset {
        return Ok(Part::Read { state, batches: Vec::new() });
    }
    let limit = Limit { bytes_max: allowed.bytes, rows_max };
    match read::batches_from(view, space, id, &state, offset, limit)? {
        Plan::Batches(mut batches) => {
            let fits = |batch: &Batch| batch.row.payload.len() as u64 <= allowed.first;
            if !batches.first().is_none_or(fits) {
                batches.clear();
            }
            Ok(Part::Read { state, batches })
        }
        Plan::AboveEnd => Ok(Part::OutOfRange(state)),
        // Removed since the state was read: the newer state says from where on there is something.
        Plan::BelowStart => match read::partition(view, space, id)? {
            Some(state) if state.is_live() => Ok(Part::OutOfRange(state)),
            Some(_) => Ok(Part::Gone),
            None => Ok(Part::Missing),
        },
    }
}

impl Looks {
    /// Counts a part in; returns its bytes.
    fn add(&mut self, asked: &FetchPart, part: &Part) -> u64 {
        match part {
            Part::Missing => {
                self.missing = true;
                0
            }
            Part::Gone | Part::OutOfRange(_) | Part::Queue => {
                self.complete = true;
                0
            }
            Part::Read { state, batches } => {
                let bytes = batches.iter().map(|batch| batch.row.payload.len() as u64).sum();
                self.bytes += bytes;
                // There is more than may be returned.
                let next = batches.last().map_or(asked.offset, |last| last.next_offset().0);
                self.complete |= next < state.log_end_offset.0;
                bytes
            }
        }
    }
}

async fn answer(reading: &Reading<'_>, fetch: &Fetch, looks: Looks) -> Result<Answer, Error> {
    let share = reading.core.fetch.take(looks.bytes)?;
    let leader_epoch = reading.replica.role().term;
    let mut payloads = Vec::new();
    let mut parts: Vec<FetchedPart> = Vec::with_capacity(looks.parts.len());
    let mut turn = 0;
    for (asked, part) in fetch.partitions.iter().zip(looks.parts) {
        let fetched = match part {
            Part::Gone => Err(gone()),
            Part::Queue => {
                let partition = PartitionId(asked.partition);
                Err(kontiki_domain::Rejection::IsAQueue(partition).into())
            }
            Part::Missing => Err(reading.missing(asked.partition)),
            Part::OutOfRange(state) => Err(out_of_range(asked.offset, &state)),
            Part::Read { state, batches } => {
                let count = u32::try_from(batches.len()).expect("bounded by rows_max");
                let next = batches.last().map_or(asked.offset, |last| last.next_offset().0);
                for batch in batches {
                    let bytes = bytes_of(reading, batch).await?;
                    turn += bytes.len();
                    payloads.push(share.hold(bytes));
                    if turn >= TURN_BYTES {
                        turn = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Fetched {
                    high_watermark: state.log_end_offset.0,
                    log_start_offset: state.log_start_offset.0,
                    leader_epoch,
                    next_offset: next,
                    batches: count,
                })
            }
        };
        parts.push(fetched.into());
    }
    Ok(Answer { response: Response::Fetched(parts).encode(), payloads })
}

fn out_of_range(offset: u64, state: &PartitionState) -> Error {
    let (start, end) = (state.log_start_offset, state.log_end_offset);
    let detail = format!(
        "offset {offset} is out of range: the log has {start} to {end}; read from one of these, \
         or ask for the earliest or the latest offset"
    );
    Error::new(Kind::NotFound, Code::OFFSET_OUT_OF_RANGE, detail)
}

/// A batch as a client gets it.
pub(super) async fn bytes_of(reading: &Reading<'_>, batch: Batch) -> Result<Bytes, Error> {
    let batch = batch_of(reading, batch).await?;
    Ok(batch.into_bytes())
}

/// A stored batch with its offsets, its leader epoch and, where it counts, its append time.
pub(super) async fn batch_of(
    reading: &Reading<'_>,
    batch: Batch,
) -> Result<kontiki_records::Batch, Error> {
    let Batch { base_offset, row } = batch;
    let parsed = match row.payload {
        PayloadRef::Inline(bytes) => kontiki_records::Batch::parse(bytes, &ANY),
        PayloadRef::Stored(location) => {
            let bytes = reading.core.payloads.read(location);
            let bytes = reading.sound(bytes).await?;
            kontiki_records::Batch::from_verified(bytes, &ANY)
        }
    };
    let batch = match parsed {
        Ok(batch) => batch,
        Err(error) => {
            let why = format!("the batch at offset {base_offset}: {error}");
            return Err(reading.condemned(&why).await);
        }
    };
    let batch = match batch.header().timestamp_type {
        TimestampType::Create => batch,
        TimestampType::LogAppend => batch.with_log_append_time(row.append_time),
    };
    let offset = i64::try_from(base_offset.0).unwrap_or(i64::MAX);
    let epoch = i32::try_from(row.leader_epoch).unwrap_or(i32::MAX);
    Ok(batch.at(offset, epoch))
}

/// What was stored was checked against the limits of its time.
pub(crate) const ANY: Limits = Limits {
    batch_bytes_max: 1 << 30,
    decompressed_bytes_max: i32::MAX.cast_unsigned(),
    records_max: i32::MAX.cast_unsigned(),
    headers_max: i32::MAX.cast_unsigned(),
    zstd_window_log_max: 27,
};
