//! Records that match a filter, so that the others don't leave the node that has them.
//!
//! One request looks at `broker.subscribe.examined_bytes` of batches at most (but at one batch),
//! at `broker.subscribe.examined_records` records, and ends after [`EXAMINED_MAX`] with what it
//! has: the next one goes on where it ended. What it selects out of batches is not compressed, and
//! bounded like what it looks at (but one record).

use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::partition::read::{self, Batch, Limit, Plan};
use kontiki_filter::{Evaluation, Filter, Meta};
use kontiki_records::{BatchBuilder, Decompressor, Limits, RecordRef};
use kontiki_storage::View;
use kontiki_storage::id::{Offset, PartitionId, SubscriptionId};
use kontiki_storage::key::Space;
use tokio::time::Instant;

use super::records::{ANY, batch_of};
use super::wire::{Attach, Positions, Response, Select, SelectPart, Selected, SelectedPart};
use super::{Looked, Reading, gone};
use crate::core::Core;
use crate::error::Error;
use crate::filters::{TURN_STEPS, Turn};
use crate::route::Answer;

/// How long one request evaluates filters.
const EXAMINED_MAX: Duration = Duration::from_millis(200);
/// What looking at a record is worth, beside its filter, in steps of filters: others have the
/// thread after 64 of them.
const RECORD_STEPS: u64 = TURN_STEPS / 64;
/// Bytes that are decompressed are as much work as looking at a record.
const RECORD_WORK_BYTES: usize = 16 << 10;

/// What one partition has.
enum Look {
    /// From `from` on; the end is where the log ends.
    Read { from: Offset, end: Offset, batches: Vec<Batch> },
    /// It is deleted, or a queue.
    Refused(Error),
}

/// All partitions of a request at one moment, those with nothing new left out.
struct Looks {
    parts: Vec<(PartitionId, Look)>,
    bytes: u64,
    /// So many they may be, but for one batch.
    bytes_max: u64,
}

pub(super) async fn select(reading: &Reading<'_>, select: &Select) -> Result<Answer, Error> {
    let core = reading.core;
    let filter = select.filter.as_ref().map(|text| core.filters.compiled(text)).transpose()?;
    // Payloads may be moved and segments removed while they are read.
    let _pin = core.payloads.pin();
    let until = reading.begun + Duration::from_millis(select.wait_ms.into());
    let until = until.min(reading.deadline);
    let turn = core.fetch.turn();
    let (mut watch, mut ticket) = (None, None);
    let looks = loop {
        let look = |view: &dyn View, space: Space| look(core, view, space, select, turn);
        let found = reading.current(look).await?;
        let now = Instant::now();
        if !found.parts.is_empty() || now >= until || core.is_stopping() {
            break found;
        }
        let Some(watch) = &watch else {
            // What happened before the watch is seen by looking once more.
            watch = Some(reading.watch(select.partitions.iter().map(|part| part.partition)));
            continue;
        };
        if ticket.is_none() {
            ticket = Some(core.fetch.wait()?);
        }
        reading.wait(watch, (now + core.fetch.check()).min(until)).await;
    };
    drop(ticket);
    answer(reading, filter.as_ref(), looks).await
}

fn look(core: &Core, view: &dyn View, space: Space, select: &Select, turn: usize) -> Looked<Looks> {
    let bytes_max = u64::from(select.max_bytes.min(core.options.subscribe.examined_bytes));
    let mut looks = Looks { parts: Vec::new(), bytes: 0, bytes_max };
    let begin = turn.checked_rem(select.partitions.len()).unwrap_or(0);
    let (before, after) = select.partitions.split_at(begin);
    for part in after.iter().chain(before) {
        let id = PartitionId(part.partition);
        let left = bytes_max.saturating_sub(looks.bytes);
        let at_most = if looks.bytes == 0 { left.max(1) } else { left };
        if let Some(found) = look_at(core, view, space, *part, at_most)? {
            if let Look::Read { batches, .. } = &found {
                let bytes = batches.iter().map(|batch| batch.row.payload.len() as u64);
                looks.bytes += bytes.sum::<u64>();
            }
            looks.parts.push((id, found));
        }
    }
    Ok(looks)
}

/// What there is to say about a partition, if there is anything.
fn look_at(
    core: &Core,
    view: &dyn View,
    space: Space,
    part: SelectPart,
    bytes_max: u64,
) -> Looked<Option<Look>> {
    let id = PartitionId(part.partition);
    let Some(state) = read::partition(view, space, id)? else {
        // It may be on its way.
        let known = core.catalog.look(|catalog| catalog.partition(id).is_some());
        return Ok((!known).then(|| Look::Refused(gone())));
    };
    if !state.is_live() {
        return Ok(Some(Look::Refused(gone())));
    }
    if state.queue.is_some() {
        return Ok(Some(Look::Refused(kontiki_domain::Rejection::IsAQueue(id).into())));
    }
    let (start, end) = (state.log_start_offset, state.log_end_offset);
    let from = Offset(part.offset).max(start).min(end);
    let mut batches = Vec::new();
    if from < end && bytes_max > 0 {
        let rows_max = core.options.fetch.rows_max;
        let limit = Limit { bytes_max, rows_max };
        match read::batches_from(view, space, id, &state, from, limit)? {
            Plan::Batches(found) => batches = found,
            // It has moved meanwhile: the next look sees where to.
            Plan::BelowStart | Plan::AboveEnd => {}
        }
    }
    let moved = from.0 != part.offset || !batches.is_empty();
    Ok(moved.then_some(Look::Read { from, end, batches }))
}

async fn answer(
    reading: &Reading<'_>,
    filter: Option<&Filter>,
    looks: Looks,
) -> Result<Answer, Error> {
    let core = reading.core;
    let share = core.fetch.take(looks.bytes)?;
    let mut payloads = Vec::new();
    let mut parts = Vec::with_capacity(looks.parts.len());
    let mut budget = Budget {
        records: core.options.subscribe.examined_records,
        bytes: usize::try_from(looks.bytes_max).unwrap_or(usize::MAX),
        chosen: false,
        until: Instant::now() + EXAMINED_MAX,
        turn: Turn::default(),
        decompressor: Decompressor::default(),
        decompressed_bytes_max: core.options.produce.decompressed_bytes_max,
    };
    for (id, look) in looks.parts {
        let (from, end, batches) = match look {
            Look::Read { from, end, batches } => (from, end, batches),
            Look::Refused(error) => {
                parts.push(SelectedPart::Failed { partition: id.0, failed: error.into() });
                continue;
            }
        };
        let name = core.catalog.look(|catalog| {
            let place = catalog.partition(id)?;
            Some((catalog.topic(place.topic)?.name.clone(), place.index))
        });
        // This copy of the catalog is behind that of the asker, or the asker's is. It asks again
        // when it has looked at its own: at once, it would get the same answer.
        let Some((topic, partition)) = name else {
            parts.push(SelectedPart::Failed { partition: id.0, failed: gone().into() });
            continue;
        };
        let meta = Meta { topic: &topic, partition, ..Meta::default() };
        let mut selected = Selected {
            partition: id.0,
            next_offset: from.0,
            end_offset: end.0,
            ..Selected::default()
        };
        for batch in batches {
            if budget.is_spent() {
                break;
            }
            let next = batch.next_offset();
            let stored = batch_of(reading, batch).await?;
            let chosen = budget.choose(&stored, filter, meta, &mut selected).await?;
            if let Some((bytes, offsets)) = chosen {
                payloads.push(share.hold(bytes));
                selected.batches.push(offsets);
            }
            if budget.is_spent() {
                break;
            }
            selected.next_offset = next.0;
        }
        parts.push(SelectedPart::Done(selected));
    }
    Ok(Answer { response: Response::Selected(parts).encode(), payloads })
}

/// What may still be done for one request.
struct Budget {
    /// 0: it is spent.
    records: usize,
    /// Of records that are chosen out of batches.
    bytes: usize,
    /// One was chosen.
    chosen: bool,
    until: Instant,
    turn: Turn,
    decompressor: Decompressor,
    decompressed_bytes_max: u32,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.records == 0
    }

    /// The records of a batch that match, from the position on, with their offsets (none where it
    /// is the whole batch). Where the budget is spent before its end, the position is in it.
    async fn choose(
        &mut self,
        batch: &kontiki_records::Batch,
        filter: Option<&Filter>,
        meta: Meta<'_>,
        selected: &mut Selected,
    ) -> Result<Option<(Bytes, Vec<u64>)>, Error> {
        let header = batch.header();
        let base = u64::try_from(header.base_offset).unwrap_or(0);
        if header.control {
            return Ok(None);
        }
        if filter.is_none() && base >= selected.next_offset {
            let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
            // The next batch is only begun where something is left.
            self.records = self.records.saturating_sub(count).max(1);
            return Ok(Some((batch.bytes().clone(), Vec::new())));
        }
        let limits = Limits { decompressed_bytes_max: self.decompressed_bytes_max, ..ANY };
        let bytes = batch.decompressed(&limits, &mut self.decompressor)?;
        let mut builder = BatchBuilder::new(ANY);
        let mut offsets = Vec::new();
        for record in batch.record_refs(&bytes, &limits) {
            let record = record?;
            let offset = u64::try_from(record.offset).unwrap_or(0);
            if offset < selected.next_offset {
                continue;
            }
            self.pause(RECORD_STEPS).await;
            if self.is_spent() {
                break;
            }
            let asked = filter.map(|filter| evaluate(filter, &record, meta));
            let (matches, steps) = asked.map_or((Ok(true), 0), |it| (it.matches, it.steps));
            match matches {
                Ok(true) => {
                    let headers = record.headers.iter();
                    let headers: Vec<_> = headers.collect();
                    if !self.has_room(&record, &headers) {
                        break;
                    }
                    let headers = headers.iter().copied();
                    builder.push_with(record.timestamp, record.key, record.value, headers)?;
                    offsets.push(offset);
                }
                Ok(false) => selected.unmatched += 1,
                Err(_) => selected.failed += 1,
            }
            self.records -= 1;
            selected.next_offset = offset + 1;
            self.pause(steps).await;
        }
        let work = (bytes.len() / RECORD_WORK_BYTES) as u64;
        self.pause(RECORD_STEPS * work).await;
        if offsets.is_empty() {
            return Ok(None);
        }
        let chosen = builder.finish(kontiki_records::Compression::None, None)?;
        Ok(Some((chosen.into_bytes(), offsets)))
    }

    /// Takes room for a record that is chosen. Where there is none, the budget is spent.
    fn has_room(&mut self, record: &RecordRef<'_>, headers: &[(&[u8], Option<&[u8]>)]) -> bool {
        let of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let headers = headers.iter().map(|(name, value)| name.len() + of(*value));
        let bytes = of(record.key) + of(record.value) + headers.sum::<usize>();
        if self.chosen && bytes > self.bytes {
            self.records = 0;
            return false;
        }
        self.chosen = true;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }

    /// Lets others have their turn after some work, and ends it where it has taken long.
    async fn pause(&mut self, steps: u64) {
        if self.turn.worked(steps).await && Instant::now() >= self.until {
            self.records = 0;
        }
    }
}

struct Names<'r>(&'r RecordRef<'r>);

impl kontiki_filter::Headers for Names<'_> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0.headers.iter() {
            if let Ok(name) = std::str::from_utf8(name) {
                see(name, value.unwrap_or_default());
            }
        }
    }
}

fn evaluate(filter: &Filter, record: &RecordRef<'_>, meta: Meta<'_>) -> Evaluation {
    let offset = u64::try_from(record.offset).unwrap_or(0);
    let meta = Meta { offset, timestamp_ms: record.timestamp, ..meta };
    let names = Names(record);
    let body = record.value.unwrap_or_default();
    let message = kontiki_filter::Message::new(&names, record.key, body, meta);
    filter.evaluate_counted(&message)
}

/// How far a durable subscription has come in partitions.
pub(super) async fn positions(reading: &Reading<'_>, asked: &Positions) -> Result<Answer, Error> {
    let subscription = SubscriptionId(asked.subscription);
    let look = |view: &dyn View, space: Space| {
        let one = |id: &u64| {
            let position = read::position(view, space, PartitionId(*id), subscription)?;
            Ok(position.map(|position| position.offset.0))
        };
        asked.partitions.iter().map(one).collect::<Looked<Vec<_>>>()
    };
    let found = reading.current(look).await?;
    Ok(Answer { response: Response::Positions(found).encode(), payloads: Vec::new() })
}

/// Decides who is attached to a durable subscription, as the catalog's leader.
pub(super) async fn attach(reading: &Reading<'_>, attach: Attach) -> Result<Answer, Error> {
    reading.current(|_, _| Ok(())).await?;
    let term = reading.replica.role().term;
    let attached = reading.core.attachments.decide(term, attach, Instant::now())?;
    let response = Response::Attached(attached).encode();
    Ok(Answer { response, payloads: Vec::new() })
}

#[cfg(test)]
#[path = "select_test.rs"]
mod tests;
