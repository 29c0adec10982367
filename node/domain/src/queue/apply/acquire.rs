//! Leases messages to consumers.

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};

use super::Parts;
use crate::mutant::{self, Mutant};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::held::{Held, Place};
use crate::queue::ready::{Next, Search};
use crate::queue::{Acquire, Counter, Grant, PriorityOrder, Reply, Transfer, batches};
use crate::rejection::Rejection;
use crate::settings::UNLIMITED;

/// How many messages one command passes over or disposes of at most.
const PATIENCE: u32 = 4_096;

/// The batch of the last message: the next one is likely in it.
#[derive(Default)]
struct Current {
    base: Offset,
    to: Offset,
    append_time_ms: i64,
}

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    wanted: &[Acquire],
) -> Result<Reply, Stop> {
    for wish in wanted {
        if wish.lease_ms < 0 {
            return Err(Rejection::invalid("lease_ms", wish.lease_ms, "at least 0").into());
        }
    }
    let mut parts = Parts::of(machine, context, id)?;
    let end = parts.partition.log_end_offset;
    if parts.settings.priority_order == PriorityOrder::Strict {
        // Of a time when it was another.
        parts.queue.state.leads.clear();
    }
    let mut search = Search::fair_shares(end, &parts.settings, PATIENCE);
    let mut current = Current::default();
    let mut granted = Vec::with_capacity(wanted.len());
    for wish in wanted {
        search.begin_consumer();
        let mut grants = Vec::new();
        while grants.len() < wish.max as usize {
            let Some(next) = next(&mut parts, &mut search, &mut current)? else { break };
            grants.push(lease(&mut parts, &current, next, wish.lease_ms));
        }
        granted.push(grants);
    }
    if search.is_out_of_patience() {
        // There may be more: whoever waits is to ask again, and a tick tells them.
        parts.queue.state.wake_at(parts.work.stamp.time_ms);
    }
    parts.finish();
    Ok(Reply::Acquired(granted))
}

/// The next message that may be delivered. Those that may not any more are disposed of.
fn next(
    parts: &mut Parts<'_>,
    search: &mut Search,
    current: &mut Current,
) -> Result<Option<Next>, Error> {
    let in_flight_max = parts.settings.in_flight_max as usize;
    while !search.is_out_of_patience() {
        // What comes again is in flight already.
        let found = if parts.queue.held.len() < in_flight_max {
            search.next(parts.queue, &mut parts.work)?
        } else {
            search.next_returned(parts.queue, &mut parts.work)
        };
        let Some(mut next) = found else { return Ok(None) };
        if !(current.base..current.to).contains(&next.offset) {
            let batch = batches::containing(&mut parts.work, next.offset)?;
            current.base = batch.base_offset;
            current.to = batch.next_offset();
            current.append_time_ms = batch.row.append_time;
        }
        next.base = Some(current.base);
        let message = &mut next.message;
        let time_to_live_ms = parts.settings.time_to_live_ms;
        if time_to_live_ms != UNLIMITED && message.acquired == 0 {
            let expires = current.append_time_ms.saturating_add(time_to_live_ms);
            message.expires_ms = Some(message.expires_ms.map_or(expires, |own| own.min(expires)));
        }
        let now_ms = parts.work.stamp.time_ms;
        let retention_ms = parts.settings.retention_ms;
        let kept = retention_ms == UNLIMITED
            || current.append_time_ms.saturating_add(retention_ms) > now_ms;
        if !kept || message.expires_ms.is_some_and(|expires| expires <= now_ms) {
            parts.expire(next)?;
            search.found_in_vain();
            continue;
        }
        let attempts = match parts.settings.attempts_counted {
            Counter::Acquired => message.acquired,
            Counter::Failed => message.failed,
        };
        if parts.settings.attempts_max > 0 && attempts >= parts.settings.attempts_max {
            parts.dispose(next, Transfer::AttemptsExhausted)?;
            search.found_in_vain();
            continue;
        }
        return Ok(Some(next));
    }
    Ok(None)
}

fn lease(parts: &mut Parts<'_>, current: &Current, next: Next, lease_ms: i64) -> Grant {
    let lease_ms = if lease_ms > 0 { lease_ms } else { parts.settings.lease_ms };
    let until_ms = parts.work.stamp.time_ms.saturating_add(lease_ms);
    let state = &mut parts.queue.state;
    let lease = state.next_lease;
    state.next_lease += 1;
    state.leased += 1;
    state.totals.acquired += 1;
    let mut message = next.message;
    message.acquired = message.acquired.saturating_add(1);
    let kept_ms =
        if mutant::is(Mutant::LeaseEndsEarly) { until_ms - lease_ms / 2 } else { until_ms };
    let place = Place::Leased { lease, until_ms: kept_ms };
    let held = Held { message, base: current.base, place };
    parts.queue.hold(&mut parts.work, next.offset, held);
    let (acquired, failed) = (message.acquired, message.failed);
    Grant { offset: next.offset, lease, until_ms, acquired, failed }
}
