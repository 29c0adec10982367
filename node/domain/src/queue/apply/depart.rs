//! How messages leave a queue, or come back into it after a lease.

use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key::queue as keys;

use super::Parts;
use super::settle::Failure;
use crate::mutant::{self, Mutant};
use crate::queue::fair;
use crate::queue::held::{Held, Place};
use crate::queue::history::History;
use crate::queue::mark::{Mark, Outgoing, Waiting};
use crate::queue::ready::{self, Next};
use crate::queue::{Counter, Retry, Transfer, batches};
use crate::settings::UNLIMITED;

impl Parts<'_> {
    /// The message is done with. It has left its place already.
    pub(super) fn settle(&mut self, next: &Next) -> Result<(), Error> {
        let offset = next.offset;
        if next.message.history {
            self.work.delete(keys::history(self.work.space, self.work.id, offset));
        }
        let base = match next.base {
            Some(base) => base,
            None => batches::containing(&mut self.work, offset)?.base_offset,
        };
        match &mut self.gathered {
            Some(gathered) => *gathered.entry(base).or_default() += 1,
            None => batches::settle(&mut self.work, self.partition, base, 1)?,
        }
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
        let exhausted = matches!(transfer, Transfer::AttemptsExhausted);
        let moves = transfer.wanted().is_some()
            || self.settings.has_dead_letter() && !(exhausted && mutant::is(Mutant::DropExhausted));
        if moves {
            self.send_away(next, transfer);
            self.unblock(next.message.group)
        } else {
            self.discard(next)
        }
    }

    /// The message is dropped. It has left its place already.
    pub(super) fn discard(&mut self, next: Next) -> Result<(), Error> {
        self.settle(&next)?;
        self.queue.state.totals.dropped += 1;
        self.unblock(next.message.group)
    }

    /// The message is too old. What the queue's retention has come to before its time to live is
    /// dropped.
    pub(super) fn expire(&mut self, mut next: Next) -> Result<(), Error> {
        let retention_ms = self.settings.retention_ms;
        if retention_ms != UNLIMITED {
            let batch = batches::containing(&mut self.work, next.offset)?;
            next.base = Some(batch.base_offset);
            let stored_ms = batch.row.append_time;
            let kept_ms = stored_ms.saturating_add(retention_ms);
            let of_queue = match self.settings.time_to_live_ms {
                UNLIMITED => None,
                time => (next.message.acquired == 0).then_some(stored_ms.saturating_add(time)),
            };
            let own_ms = next.message.expires_ms.into_iter().chain(of_queue).min();
            let now_ms = self.work.stamp.time_ms;
            if kept_ms <= now_ms && own_ms.is_none_or(|own_ms| kept_ms <= own_ms) {
                return self.discard(next);
            }
        }
        self.dispose(next, Transfer::Expired)
    }

    /// After a message has left a FIFO group.
    pub(super) fn unblock(&mut self, group: Option<u64>) -> Result<(), Error> {
        if self.settings.fifo {
            ready::unblock(self.queue, &mut self.work, group)?;
        }
        Ok(())
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
        let group = mark.message.group;
        let was_next = self.queue.free.contains_key(&offset);
        if was_next && self.settings.fifo {
            self.queue.unfree(&mut self.work, offset);
        } else if was_next {
            self.queue.unpass(&mut self.work, offset);
        }
        ready::leave(self.queue, &mut self.work, offset, mark);
        if was_next && !self.settings.fifo {
            fair::go_on(self.queue, &mut self.work, group)?;
        }
        self.unblock(group)?;
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
        failure: Option<Failure<'_>>,
        delay_ms: Option<i64>,
    ) -> Result<(), Error> {
        let totals = &mut self.queue.state.totals;
        match failure {
            Some(_) => totals.failed += 1,
            None => totals.released += 1,
        }
        if next.offset.0 < self.queue.state.retained_to {
            return self.discard(next);
        }
        let mut backoff = self.settings.backoff;
        if let Some(failure) = failure {
            self.note_failure(&mut next, failure)?;
            let class = failure.said.map_or("", |said| said.class.as_str());
            match self.settings.backoff_classes.get(class) {
                Some(Retry::Backoff(own)) => backoff = *own,
                Some(Retry::Reject) => return self.dispose(next, Transfer::Rejected),
                Some(Retry::Never) => return self.dispose(next, Transfer::AttemptsExhausted),
                None => {}
            }
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
            return self.expire(next);
        }
        let failed = failure.is_some();
        let backoff = || {
            let seed = next.offset.0 ^ (u64::from(next.message.failed) << 48);
            backoff.delay_ms(next.message.failed, seed)
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

    /// Counts a failure, and writes it down if dead letters go anywhere, where readers may want
    /// to know.
    pub(super) fn note_failure(
        &mut self,
        next: &mut Next,
        failure: Failure<'_>,
    ) -> Result<(), Error> {
        next.message.failed = next.message.failed.saturating_add(1);
        if !self.settings.has_dead_letter() {
            return Ok(());
        }
        let key = keys::history(self.work.space, self.work.id, next.offset);
        let known = if next.message.history { self.work.get(&key)? } else { None };
        let known = known.map(|row| History::decode(self.work.space.shard, &row)).transpose()?;
        let mut history = known.unwrap_or_default();
        history.note(self.work.stamp.time_ms, failure.how, failure.said);
        self.work.put(key, history.encode());
        next.message.history = true;
        Ok(())
    }
}
