//! Fair shares of groups in a queue that isn't FIFO: of all groups that are known to wait, the one
//! with the fewest messages in flight is next, so that one that sends much delays only itself.
//!
//! Where the message that the cursor meets is of a group that has something in flight, the cursor
//! passes over it, to look for a group that has nothing. So what was passed over lies before the
//! cursor, in a row under its group, and the group is known by its next message. The cursor passes
//! each message once; within one command it passes over [`LOOKED_AHEAD_MAX`] at most, and no more
//! than [`PASSED_GROUPS_MAX`] groups are known at a time (some 150 bytes each). A message without a
//! group is never passed over.
//!
//! Messages of a group come in any order, and the group of what has a priority, or comes again
//! without a pause, doesn't matter.

use kontiki_storage::Error;
use kontiki_storage::id::Offset;

use super::machine::{Queue, Work};
use super::ready::{self, Next, Search};

/// Messages that the cursor passes over in one command to find another group.
pub(super) const LOOKED_AHEAD_MAX: u32 = 1_024;
/// Groups that may be passed over at a time.
pub(super) const PASSED_GROUPS_MAX: usize = 1_024;

/// What becomes of a message that the cursor meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is next.
    Now,
    /// It is passed over.
    Later,
    /// It stays: something that was passed over is next.
    Stays,
}

impl Queue {
    /// How many messages of a group are in flight.
    pub(super) fn in_flight(&self, group: u64) -> usize {
        self.groups.get(&group).map_or(0, std::collections::BTreeSet::len)
    }

    /// The number in flight of a group has changed by one.
    pub(super) fn note_in_flight(&mut self, group: u64, before: impl Fn(usize) -> usize) {
        if self.shares.is_empty() {
            return;
        }
        let now = self.in_flight(group);
        if let Some(offset) = self.free_groups.get(&group) {
            self.shares.remove(&(before(now), *offset));
            self.shares.insert((now, *offset));
        }
    }

    /// A group waits before the cursor, and is to go on at a message.
    pub(super) fn pass_over(&mut self, work: &mut Work<'_>, group: u64, offset: Offset) {
        self.free(work, group, offset);
        self.shares.insert((self.in_flight(group), offset));
        self.state.passed += 1;
    }

    /// A group doesn't go on at that message any more.
    pub(super) fn unpass(&mut self, work: &mut Work<'_>, offset: Offset) {
        let group = self.free.get(&offset).expect("the caller has found it");
        self.shares.remove(&(self.in_flight(*group), offset));
        self.unfree(work, offset);
        self.state.passed -= 1;
    }

    /// Whether the next message of a group, at that offset, can wait in its row under the group.
    pub(super) fn can_pass_over(&self, group: u64, offset: Offset) -> bool {
        offset >= self.state.cursor
            || self.free_groups.contains_key(&group)
            || self.free.len() < PASSED_GROUPS_MAX
    }
}

impl Search {
    /// What is next of the messages that have no priority.
    pub(super) fn fair(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
    ) -> Result<Option<Next>, Error> {
        let idle = queue.shares.first().is_some_and(|(in_flight, _)| *in_flight == 0);
        if !idle && let Some(next) = self.in_order(queue, work)? {
            return Ok(Some(next));
        }
        let Some((_, offset)) = queue.shares.first().copied() else { return Ok(None) };
        take_passed(queue, work, offset).map(Some)
    }

    /// Whether it is the turn of a message of a group that the cursor meets.
    pub(super) fn turn(&mut self, queue: &Queue, group: u64) -> Turn {
        let known = queue.free_groups.contains_key(&group);
        if !known && queue.in_flight(group) == 0 {
            return Turn::Now;
        }
        let room = known || queue.free.len() < PASSED_GROUPS_MAX;
        if room && self.looked_ahead < LOOKED_AHEAD_MAX {
            self.looked_ahead += 1;
            return Turn::Later;
        }
        if queue.shares.is_empty() { Turn::Now } else { Turn::Stays }
    }
}

/// Takes a message that was passed over; its group goes on at the next one.
pub(super) fn take_passed(
    queue: &mut Queue,
    work: &mut Work<'_>,
    offset: Offset,
) -> Result<Next, Error> {
    let mark = ready::mark_of(work, offset)?;
    let mark = mark.ok_or_else(|| work.corrupt("message", "passed over, and without a mark"))?;
    queue.unpass(work, offset);
    ready::leave(queue, work, offset, &mark);
    go_on(queue, work, mark.message.group)?;
    Ok(Next { offset, message: mark.message, base: None })
}

/// After the message has left at which a group was to go on: it goes on at another one.
pub(super) fn go_on(
    queue: &mut Queue,
    work: &mut Work<'_>,
    group: Option<u64>,
) -> Result<(), Error> {
    let Some(group) = group else { return Ok(()) };
    if let Some(next) = ready::first_of_group(queue, work, group)? {
        queue.pass_over(work, group, next);
    }
    Ok(())
}
