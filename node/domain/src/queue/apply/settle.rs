//! Ends or changes leases.

use kontiki_storage::Error;
use kontiki_storage::id::PartitionId;

use super::Parts;
use crate::partition::{Context, Partitions, Stop};
use crate::queue::held::{Held, Place};
use crate::queue::ready;
use crate::queue::{Action, Reply, Settled, Settlement, Transfer};
use crate::rejection::Rejection;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    settlements: &[Settlement],
) -> Result<Reply, Stop> {
    for settlement in settlements {
        match settlement.action {
            Action::Extend { lease_ms } if lease_ms < 1 => {
                return Err(Rejection::invalid("lease_ms", lease_ms, "at least 1").into());
            }
            Action::Release { delay_ms: Some(delay), .. } if delay < 0 => {
                return Err(Rejection::invalid("delay_ms", delay, "at least 0").into());
            }
            Action::Extend { .. }
            | Action::Release { .. }
            | Action::Acknowledge
            | Action::Reject => {}
        }
    }
    let mut parts = Parts::of(machine, context, id)?;
    let settled: Result<Vec<Settled>, Error> =
        settlements.iter().map(|settlement| settle(&mut parts, settlement)).collect();
    let settled = settled?;
    parts.finish();
    Ok(Reply::Settled(settled))
}

fn settle(parts: &mut Parts<'_>, settlement: &Settlement) -> Result<Settled, Error> {
    let Settlement { offset, lease, action } = *settlement;
    // A lease whose time is over, and that no tick has ended yet, is as good as another: nobody
    // else has the message.
    let held = parts.queue.held.get(&offset).filter(|held| match held.place {
        Place::Leased { lease: known, .. } => known == lease,
        Place::Returned { .. } => false,
    });
    let Some(held) = held.copied() else { return Ok(Settled::LeaseEnded) };
    match action {
        Action::Acknowledge => {
            let next = parts.let_go(offset);
            parts.settle(offset, next.base)?;
            parts.queue.state.totals.acknowledged += 1;
            ready::unblock(parts.queue, &mut parts.work, next.message.group)?;
        }
        Action::Release { delay_ms, failed } => {
            let next = parts.let_go(offset);
            parts.return_or_dispose(next, failed, delay_ms)?;
        }
        Action::Reject => {
            let mut next = parts.let_go(offset);
            next.message.failed = next.message.failed.saturating_add(1);
            parts.queue.state.totals.failed += 1;
            parts.dispose(next, Transfer::Rejected)?;
        }
        Action::Extend { lease_ms } => {
            let until_ms = parts.work.stamp.time_ms.saturating_add(lease_ms);
            let Held { message, base, .. } = held;
            parts.queue.let_go(offset);
            let place = Place::Leased { lease, until_ms };
            parts.queue.hold(&mut parts.work, offset, Held { message, base, place });
            return Ok(Settled::Extended { until_ms });
        }
    }
    Ok(Settled::Done)
}
