//! How messages leave a queue, or come back into it after a lease.

use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key::queue as keys;

use super::Parts;
use crate::queue::held::{Held, Place};
use crate::queue::mark::{Mark, Outgoing, Waiting};
use crate::queue::ready::{self, Next};
use crate::queue::{Counter, Transfer, batches};

impl Parts<'_> {
    /// The message is done with. It has left its place already.
    pub(super) fn settle(&mut self, offset: Offset, base: Option<Offset>) -> Result<(), Error> {
        let base = match base {
            Some(base) => base,
            None => batches::containing(&mut self.work, offset)?.base_offset,
        };
        batches::settle(&mut self.work, self.partition, base, 1)?;
        self.queue.state.unsettled -= 1;
        if offset >= self.queue.state.cursor {
            let mark = Mark { message: crate::queue::Message::plain(), waiting: Waiting::Gone };
            ready::wait(self.queue, &mut self.work, offset, &mark);
        }
        Ok(())
    }

    /// The message can't be delivered here: it goes to another queue, or is dropped. It has left
    /// its place already.
    pub(super) fn dispose(&mut self, next: Next, transfer: Transfer) -> Result<(), Error> {
        let moves = match &transfer {
            Transfer::Diverted { .. } => true,
            Transfer::Rejected
            | Transfer::Expired
            | Transfer::MaxLength
            | Transfer::AttemptsExhausted => self.settings.dead_letter.is_some(),
        };
        if moves {
            self.send_away(next, transfer);
        } else {
            self.settle(next.offset, next.base)?;
            self.queue.state.totals.dropped += 1;
        }
        ready::unblock(self.queue, &mut self.work, next.message.group)
    }

    fn send_away(&mut self, next: Next, transfer: Transfer) {
        let sequence = self.queue.state.outbox_next;
        self.queue.state.outbox_next += 1;
        let (space, id) = (self.work.space, self.work.id);
        let since_ms = self.work.stamp.time_ms;
        let Next { offset, message, .. } = next;
        let outgoing = Outgoing { offset, transfer, message, since_ms };
        self.work.put(keys::outbox(space, id, sequence), outgoing.encode());
        let mark = Mark { message, waiting: Waiting::Outbox { sequence } };
        ready::wait(self.queue, &mut self.work, offset, &mark);
    }

    /// Takes a waiting message out of its place, for another reason than that it is its turn.
    pub(super) fn withdraw(&mut self, offset: Offset, mark: &Mark) -> Result<Next, Error> {
        if self.queue.free.contains_key(&offset) {
            self.queue.unfree(&mut self.work, offset);
        }
        ready::leave(self.queue, &mut self.work, offset, mark);
        ready::unblock(self.queue, &mut self.work, mark.message.group)?;
        Ok(Next { offset, message: mark.message, base: None })
    }

    /// Takes a held message out of its place.
    pub(super) fn let_go(&mut self, offset: Offset) -> Next {
        let held = self.queue.let_go(offset);
        match held.place {
            Place::Leased { .. } => self.queue.state.leased -= 1,
            Place::Returned { .. } => self.queue.state.returned -= 1,
        }
        self.work.delete(keys::held(self.work.space, self.work.id, offset));
        Next { offset, message: held.message, base: Some(held.base) }
    }

    /// A delivery ended without success. `next` has left its place already.
    pub(super) fn return_or_dispose(
        &mut self,
        mut next: Next,
        failed: bool,
        delay_ms: Option<i64>,
    ) -> Result<(), Error> {
        let totals = &mut self.queue.state.totals;
        if failed {
            totals.failed += 1
        } else {
            totals.released += 1
        }
        if failed {
            next.message.failed = next.message.failed.saturating_add(1);
            let attempts = match self.settings.attempts_counted {
                Counter::Acquired => next.message.acquired,
                Counter::Failed => next.message.failed,
            };
            if self.settings.attempts_max > 0 && attempts >= self.settings.attempts_max {
                return self.dispose(next, Transfer::AttemptsExhausted);
            }
        }
        let now_ms = self.work.stamp.time_ms;
        if next.message.expires_ms.is_some_and(|expires| expires <= now_ms) {
            return self.dispose(next, Transfer::Expired);
        }
        let backoff = || {
            let seed = next.offset.0 ^ (u64::from(next.message.failed) << 48);
            self.settings.backoff.delay_ms(next.message.failed, seed)
        };
        let delay_ms = delay_ms.unwrap_or_else(|| if failed { backoff() } else { 0 });
        let due_ms = (delay_ms > 0).then(|| now_ms.saturating_add(delay_ms));
        match due_ms {
            Some(due_ms) if !self.settings.fifo => {
                let mark = Mark { message: next.message, waiting: Waiting::Due { due_ms } };
                ready::wait(self.queue, &mut self.work, next.offset, &mark);
            }
            due_ms => {
                let base = next.base.expect("it was held");
                let place = Place::Returned { due_ms };
                self.queue.state.returned += 1;
                let held = Held { message: next.message, base, place };
                self.queue.hold(&mut self.work, next.offset, held);
            }
        }
        Ok(())
    }
}
