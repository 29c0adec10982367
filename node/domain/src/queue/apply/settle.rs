//! Ends or changes leases.

use kontiki_storage::Error;
use kontiki_storage::id::{Offset, PartitionId};

use super::{Parts, divert};
use crate::mutant::{self, Mutant};
use crate::partition::{Context, Partitions, Stop};
use crate::queue::held::{Held, Place};
use crate::queue::ready::Next;
use crate::queue::{
    Action, CLASS_BYTES_MAX, ERROR_BYTES_MAX, How, Reason, Reply, Settled, Settlement, Transfer,
    is_class,
};
use crate::rejection::Rejection;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    id: PartitionId,
    settlements: &[Settlement],
    reasons: &[Reason],
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
            | Action::Reject
            | Action::Return
            | Action::Delete => {}
        }
    }
    check_reasons(settlements, reasons)?;
    let mut parts = Parts::of(machine, context, id)?.gather();
    let mut reasons = reasons.iter().peekable();
    let mut settled = Vec::with_capacity(settlements.len());
    for (number, settlement) in (0..).zip(settlements) {
        while reasons.next_if(|said| said.first + said.count <= number).is_some() {}
        let said = reasons.peek().copied().filter(|said| said.first <= number);
        settled.push(settle(&mut parts, settlement, said)?);
    }
    parts.count_gathered()?;
    parts.finish();
    Ok(Reply::Settled(settled))
}

/// A delivery that failed.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    pub how: How,
    pub said: Option<&'a Reason>,
}

fn check_reasons(settlements: &[Settlement], reasons: &[Reason]) -> Result<(), Rejection> {
    let mut expected = 0;
    for Reason { first, count, class, error } in reasons {
        let to = first.saturating_add(*count);
        let about = settlements.get(*first as usize..to as usize).unwrap_or_default();
        let failed = about.iter().all(|settlement| match settlement.action {
            Action::Reject | Action::Release { failed: true, .. } => true,
            Action::Release { failed: false, .. }
            | Action::Acknowledge
            | Action::Extend { .. }
            | Action::Return
            | Action::Delete => false,
        });
        if *first < expected || about.is_empty() || !failed {
            let allowed = "places of settlements that are failures, in order";
            return Err(Rejection::invalid("reasons", format!("{first}..{to}"), allowed));
        }
        expected = to;
        if !class.is_empty() && !is_class(class) {
            let allowed = format!("1 to {CLASS_BYTES_MAX} characters of a-z A-Z 0-9 . _ -");
            return Err(Rejection::invalid("error_class", format!("{class:?}"), &allowed));
        }
        if error.len() > ERROR_BYTES_MAX {
            let allowed = format!("at most {ERROR_BYTES_MAX} bytes");
            return Err(Rejection::invalid("error", format!("{} bytes", error.len()), &allowed));
        }
    }
    Ok(())
}

fn settle(
    parts: &mut Parts<'_>,
    settlement: &Settlement,
    said: Option<&Reason>,
) -> Result<Settled, Error> {
    let Settlement { offset, lease, action } = *settlement;
    if action == Action::Delete && !parts.settings.fifo {
        return delete(parts, offset);
    }
    // A lease whose time is over, and that no tick has ended yet, is as good as another: nobody
    // else has the message.
    let held = parts.queue.held.get(&offset).filter(|held| match held.place {
        Place::Leased { lease: known, .. } => known == lease,
        Place::Returned { .. } => false,
    });
    let Some(held) = held.copied() else { return Ok(Settled::LeaseEnded) };
    match action {
        Action::Acknowledge if mutant::is(Mutant::AcknowledgedComesBack) && offset.0 % 5 == 2 => {
            let next = parts.let_go(offset);
            parts.return_or_dispose(next, None, None)?;
        }
        Action::Acknowledge | Action::Delete => {
            let next = parts.let_go(offset);
            acknowledge(parts, &next)?;
        }
        Action::Release { delay_ms, failed } => {
            let next = parts.let_go(offset);
            let failure = failed.then_some(Failure { how: How::Released, said });
            parts.return_or_dispose(next, failure, delay_ms)?;
        }
        Action::Return => {
            let mut next = parts.let_go(offset);
            if !mutant::is(Mutant::ReturnCounts) {
                next.message.acquired = next.message.acquired.saturating_sub(1);
            }
            parts.return_or_dispose(next, None, None)?;
            // It was no delivery, so none has ended.
            let totals = &mut parts.queue.state.totals;
            totals.acquired = totals.acquired.saturating_sub(1);
            totals.released = totals.released.saturating_sub(1);
        }
        Action::Reject => {
            let mut next = parts.let_go(offset);
            parts.note_failure(&mut next, Failure { how: How::Rejected, said })?;
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

/// The message has left its place already.
fn acknowledge(parts: &mut Parts<'_>, next: &Next) -> Result<(), Error> {
    parts.settle(next)?;
    if !mutant::is(Mutant::Miscount) || next.offset.0 % 5 != 2 {
        parts.queue.state.totals.acknowledged += 1;
    }
    parts.unblock(next.message.group)
}

/// What isn't in the queue any more is done already.
fn delete(parts: &mut Parts<'_>, offset: Offset) -> Result<Settled, Error> {
    let leased = parts.queue.held.get(&offset).is_some_and(|held| match held.place {
        Place::Leased { .. } => true,
        Place::Returned { .. } => false,
    });
    let next = if leased { Some(parts.let_go(offset)) } else { divert::take(parts, offset)? };
    if let Some(next) = next {
        acknowledge(parts, &next)?;
    }
    Ok(Settled::Done)
}
