//! Which message comes next, and how it leaves its place.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kontiki_storage::Error;
use kontiki_storage::id::Offset;
use kontiki_storage::key::queue as keys;

use super::fair::{Turn, take_passed};
use super::held::Place;
use super::machine::{Queue, Work};
use super::mark::{LAST_CLASS, Mark, Waiting};
use super::ranked::Ranked;
use super::{Message, PriorityOrder, QueueSettings, shares};
use crate::mutant::{self, Mutant};

/// Marks read in one step.
const PAGE: u64 = 256;
/// How many returned messages of a FIFO queue are looked at to find one whose turn it is.
const RETURNED_LOOKED_AT_MAX: usize = 1_024;

/// Looks for messages that can be delivered, through one command.
pub(super) struct Search {
    /// The log's end.
    end: Offset,
    fifo: bool,
    /// Whether groups have fair shares.
    fair: bool,
    /// Whether priorities have shares.
    weighted: bool,
    /// Messages that were passed over for the sake of fair shares.
    pub(super) looked_ahead: u32,
    /// Whether a message is taken before its time.
    early: bool,
    /// How many messages may still be passed over, or be found in vain.
    patience: u32,
    /// The marks of what the cursor meets next, up to `ahead_to`.
    ahead: BTreeMap<Offset, Mark>,
    ahead_to: Offset,
    /// What waits out of order and was read ahead, by class: nothing else takes it in the meantime.
    ranked: BTreeMap<u8, Ranked>,
    /// The same of what waited for a time that has come.
    overdue: Ranked,
    /// What the present consumer has been given: it doesn't block its groups for the same one.
    given: BTreeSet<Offset>,
    /// FIFO groups of which the present consumer was given something: it may have more of them.
    groups: BTreeSet<u64>,
}

/// A message that has left its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub offset: Offset,
    pub message: Message,
    /// The first offset of its batch, where that is known.
    pub base: Option<Offset>,
}

impl Search {
    pub(super) fn new(end: Offset, fifo: bool, patience: u32) -> Self {
        Self {
            end,
            fifo,
            fair: false,
            weighted: false,
            looked_ahead: 0,
            early: false,
            patience,
            ahead: BTreeMap::new(),
            ahead_to: Offset(0),
            ranked: BTreeMap::new(),
            overdue: Ranked::default(),
            given: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// For consumers: with the shares that groups and priorities have.
    pub(super) fn fair_shares(end: Offset, settings: &QueueSettings, patience: u32) -> Self {
        let weighted = match settings.priority_order {
            PriorityOrder::Weighted => !settings.fifo,
            PriorityOrder::Strict => false,
        };
        Self { fair: settings.fair_groups, weighted, ..Self::new(end, settings.fifo, patience) }
    }

    /// All that the cursor meets, whether its turn has come or not: for what is removed.
    pub(super) fn everything(end: Offset, patience: u32) -> Self {
        Self { early: true, ..Self::new(end, false, patience) }
    }

    /// Another consumer's turn.
    pub(super) fn begin_consumer(&mut self) {
        self.given.clear();
        self.groups.clear();
    }

    /// A message was found that can't be delivered: that counts as one that is passed over.
    pub(super) fn found_in_vain(&mut self) {
        self.patience = self.patience.saturating_sub(1);
    }

    /// As many were passed over, or found in vain, as may be in one command.
    pub(super) fn is_out_of_patience(&self) -> bool {
        self.patience == 0
    }

    /// Takes the next message out of its place. `None`: there is none, or too many had to be passed
    /// over (the cursor has moved on, and the next command goes on there).
    pub(super) fn next(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
    ) -> Result<Option<Next>, Error> {
        let next = self.find(queue, work)?;
        self.note(next.as_ref());
        Ok(next)
    }

    /// The same, of messages only that come again.
    pub(super) fn next_returned(&mut self, queue: &mut Queue, work: &mut Work<'_>) -> Option<Next> {
        let (_, offset) = if self.weighted {
            let class = shares::next(&queue.state.leads, returned_classes(queue).into_iter())?;
            shares::charge(&mut queue.state.leads, class);
            returned_of(queue, class)?
        } else {
            self.returned(queue)?
        };
        self.look_again(queue, offset);
        let next = take_held(queue, work, offset);
        self.note(Some(&next));
        Some(next)
    }

    fn note(&mut self, next: Option<&Next>) {
        if let Some(next) = next
            && self.fifo
        {
            self.given.insert(next.offset);
            self.groups.extend(next.message.group);
        }
    }

    fn find(&mut self, queue: &mut Queue, work: &mut Work<'_>) -> Result<Option<Next>, Error> {
        if self.weighted {
            return self.weighted(queue, work);
        }
        let returned = self.returned(queue);
        let ready = queue.state.first_class();
        match (returned, ready) {
            (Some((class, offset)), ready) if ready.is_none_or(|ready| class <= ready) => {
                self.look_again(queue, offset);
                return Ok(Some(take_held(queue, work, offset)));
            }
            (_, Some(class)) => return self.ready(queue, work, class),
            (_, None) => {}
        }
        self.unranked(queue, work)
    }

    /// The next message of those that the cursor meets, or met when it wasn't their turn.
    fn unranked(&mut self, queue: &mut Queue, work: &mut Work<'_>) -> Result<Option<Next>, Error> {
        if self.fifo {
            if let Some(next) = self.free_group(queue, work)? {
                return Ok(Some(next));
            }
        } else if self.fair {
            return self.fair(queue, work);
        } else if let Some(offset) = queue.free.keys().next().copied() {
            // They were passed over while the queue's groups had fair shares.
            return take_passed(queue, work, offset).map(Some);
        }
        self.in_order(queue, work)
    }

    /// The next message of the class whose turn it is.
    fn weighted(&mut self, queue: &mut Queue, work: &mut Work<'_>) -> Result<Option<Next>, Error> {
        let returned = returned_classes(queue);
        let mut unranked = Some(LAST_CLASS);
        loop {
            let ready = queue.state.ready.keys().copied().chain(queue.state.first_class());
            let classes = returned.iter().copied().chain(ready).chain(unranked);
            let Some(class) = shares::next(&queue.state.leads, classes) else { return Ok(None) };
            let next = if let Some((_, offset)) = returned_of(queue, class) {
                self.look_again(queue, offset);
                Some(take_held(queue, work, offset))
            } else if queue.state.has_class(class) {
                self.ready(queue, work, class)?
            } else {
                self.unranked(queue, work)?
            };
            if next.is_some() {
                shares::charge(&mut queue.state.leads, class);
                return Ok(next);
            }
            // Only the last class can turn out to have nothing.
            unranked = None;
        }
    }

    fn returned(&self, queue: &Queue) -> Option<(u8, Offset)> {
        if !self.fifo {
            return queue.returned.first().copied();
        }
        let mut candidates = queue.returned.iter().take(RETURNED_LOOKED_AT_MAX);
        candidates.find(|(_, offset)| self.is_turn(queue, *offset)).copied()
    }

    /// Whether all earlier messages of the group that are held are with the present consumer.
    fn is_turn(&self, queue: &Queue, offset: Offset) -> bool {
        let group = queue.held.get(&offset).and_then(|held| held.message.group);
        let Some(offsets) = group.and_then(|group| queue.groups.get(&group)) else { return true };
        offsets.range(..offset).all(|earlier| self.given.contains(earlier))
    }

    fn is_blocked(&self, queue: &Queue, group: u64) -> bool {
        let held = queue.groups.get(&group);
        held.is_some_and(|held| held.iter().any(|offset| !self.given.contains(offset)))
    }

    /// Whether something of a group comes before the message that the cursor meets.
    fn waits(&self, queue: &mut Queue, work: &mut Work<'_>, group: u64) -> Result<bool, Error> {
        if mutant::is(Mutant::GroupsOutOfOrder) {
            return Ok(false);
        }
        if self.is_blocked(queue, group) || queue.free_groups.contains_key(&group) {
            return Ok(true);
        }
        // Messages that the present consumer has block nothing, but some may have been passed over
        // while they were with another one.
        let held = queue.groups.contains_key(&group);
        Ok(held && first_of_group(queue, work, group)?.is_some())
    }

    fn ready(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
        class: u8,
    ) -> Result<Option<Next>, Error> {
        let ranked = if queue.state.ready.contains_key(&class) {
            let ranked = self.ranked.entry(class).or_default();
            if ranked.rows.is_empty() {
                ranked.read_class(queue, work, class)?;
            }
            ranked
        } else {
            if self.overdue.rows.is_empty() {
                self.overdue.read_overdue(queue, work)?;
            }
            &mut self.overdue
        };
        let next = ranked.rows.pop_front();
        let next = next.ok_or_else(|| work.corrupt("queue", "a class lacks its messages"));
        let (offset, mark) = next?;
        self.look_again(queue, offset);
        leave(queue, work, offset, &mark);
        Ok(Some(Next { offset, message: mark.message, base: None }))
    }

    /// What was read of the marks ahead may be wrong after a message there was taken.
    pub(super) fn look_again(&mut self, queue: &Queue, offset: Offset) {
        if offset >= queue.state.cursor {
            self.ahead_to = Offset(0);
        }
    }

    /// The next message of the group that the consumer has, or of one that has become free.
    fn free_group(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
    ) -> Result<Option<Next>, Error> {
        while let Some(group) = self.groups.first().copied() {
            if !self.is_blocked(queue, group)
                && let Some(offset) = first_of_group(queue, work, group)?
                && let Some(next) = take_in_group(queue, work, offset)?
            {
                return Ok(Some(next));
            }
            self.groups.remove(&group);
        }
        let free: Vec<Offset> = queue.free.keys().take(8).copied().collect();
        for offset in free {
            if let Some(next) = take_in_group(queue, work, offset)? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// The next message that the cursor meets before an offset.
    pub(super) fn in_order_before(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
        before: Offset,
    ) -> Result<Option<Next>, Error> {
        self.end = before;
        self.in_order(queue, work)
    }

    /// The next message that the cursor meets.
    pub(super) fn in_order(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
    ) -> Result<Option<Next>, Error> {
        while queue.state.cursor < self.end && self.patience > 0 {
            let offset = queue.state.cursor;
            if queue.held.contains_key(&offset) {
                queue.state.cursor.0 += 1;
                self.patience -= 1;
                continue;
            }
            let Some(mark) = self.mark_ahead(queue, work, offset)? else {
                queue.state.cursor.0 += 1;
                let message = Message::plain();
                return Ok(Some(Next { offset, message, base: None }));
            };
            match mark.waiting {
                Waiting::InOrder { due_ms: Some(due) }
                    if due > work.stamp.time_ms && !self.early =>
                {
                    return Ok(None);
                }
                Waiting::InOrder { .. } => {
                    let waits = match mark.message.group {
                        Some(group) if self.fifo => self.waits(queue, work, group)?,
                        Some(group) if self.fair => match self.turn(queue, group) {
                            Turn::Now => false,
                            Turn::Later => {
                                if !queue.free_groups.contains_key(&group) {
                                    queue.pass_over(work, group, offset);
                                }
                                true
                            }
                            Turn::Stays => return Ok(None),
                        },
                        Some(_) | None => false,
                    };
                    queue.state.cursor.0 += 1;
                    if !waits {
                        leave(queue, work, offset, &mark);
                        return Ok(Some(Next { offset, message: mark.message, base: None }));
                    }
                }
                Waiting::Gone => {
                    leave(queue, work, offset, &mark);
                    queue.state.cursor.0 += 1;
                }
                Waiting::Due { .. } | Waiting::Ready | Waiting::Outbox { .. } => {
                    queue.state.cursor.0 += 1;
                }
            }
            self.patience -= 1;
        }
        Ok(None)
    }

    fn mark_ahead(
        &mut self,
        queue: &Queue,
        work: &mut Work<'_>,
        offset: Offset,
    ) -> Result<Option<Mark>, Error> {
        if queue.state.marks == 0 {
            return Ok(None);
        }
        if offset >= self.ahead_to {
            self.ahead.clear();
            self.ahead_to = Offset(self.end.0.min(offset.0 + PAGE));
            let range = keys::marks(work.space, work.id, offset, self.ahead_to);
            let page = usize::try_from(PAGE).expect("small");
            for (row_key, value) in work.scan(range, page)? {
                let at = keys::offset_of(&row_key);
                let at = at.ok_or_else(|| work.corrupt("message", "its key is too short"))?;
                self.ahead.insert(at, Mark::decode(work.space.shard, &value)?);
            }
        }
        Ok(self.ahead.get(&offset).copied())
    }
}

/// The classes of what comes again, without repetitions.
pub(super) fn returned_classes(queue: &Queue) -> Vec<u8> {
    let mut classes = Vec::new();
    let mut from = Some(0_u8);
    while let Some(class) = from
        && let Some((class, _)) = queue.returned.range((class, Offset(0))..).next()
    {
        classes.push(*class);
        from = class.checked_add(1);
    }
    classes
}

/// The first of a class that comes again.
pub(super) fn returned_of(queue: &Queue, class: u8) -> Option<(u8, Offset)> {
    queue.returned.range((class, Offset(0))..=(class, Offset(u64::MAX))).next().copied()
}

fn take_held(queue: &mut Queue, work: &mut Work<'_>, offset: Offset) -> Next {
    let held = queue.let_go(offset);
    match held.place {
        Place::Returned { .. } => queue.state.returned -= 1,
        Place::Leased { .. } => panic!("message {offset} is leased and counts as returned"),
    }
    work.delete(keys::held(work.space, work.id, offset));
    Next { offset, message: held.message, base: Some(held.base) }
}

/// Takes a waiting message of a FIFO group, before the cursor, if its time has come.
fn take_in_group(
    queue: &mut Queue,
    work: &mut Work<'_>,
    offset: Offset,
) -> Result<Option<Next>, Error> {
    let mark = mark_of(work, offset)?;
    let mark = mark.ok_or_else(|| work.corrupt("message", "in a group, and without a mark"))?;
    if let Waiting::InOrder { due_ms: Some(due) } = mark.waiting
        && due > work.stamp.time_ms
    {
        return Ok(None);
    }
    if queue.free.contains_key(&offset) {
        queue.unfree(work, offset);
    }
    leave(queue, work, offset, &mark);
    Ok(Some(Next { offset, message: mark.message, base: None }))
}

/// The oldest waiting message of a group that the cursor has passed.
pub(super) fn first_of_group(
    queue: &mut Queue,
    work: &mut Work<'_>,
    group: u64,
) -> Result<Option<Offset>, Error> {
    let (from, below) = (queue.begins.group(group), queue.state.cursor);
    let row = work.first(keys::in_group(work.space, work.id, group, from..below))?;
    let first = row.and_then(|(row_key, _)| keys::offset_of(&row_key));
    queue.begins.group_begins_at(group, first.unwrap_or(from.max(below)));
    Ok(first)
}

/// After a message has left a FIFO group: the group may go on, if nothing else of it is held.
pub(super) fn unblock(
    queue: &mut Queue,
    work: &mut Work<'_>,
    group: Option<u64>,
) -> Result<(), Error> {
    let Some(group) = group else { return Ok(()) };
    if queue.groups.contains_key(&group) || queue.free_groups.contains_key(&group) {
        return Ok(());
    }
    if let Some(offset) = first_of_group(queue, work, group)? {
        queue.free(work, group, offset);
    }
    Ok(())
}

/// The mark of a message.
pub(super) fn mark_of(work: &mut Work<'_>, offset: Offset) -> Result<Option<Mark>, Error> {
    let row = work.get(&keys::mark(work.space, work.id, offset))?;
    row.map(|row| Mark::decode(work.space.shard, &row)).transpose()
}

/// The mark of a message, as a row of its class or its time has it. Those of earlier releases have
/// nothing there.
pub(super) fn mark_in(work: &mut Work<'_>, offset: Offset, row: &[u8]) -> Result<Mark, Error> {
    if !row.is_empty() {
        return Mark::decode(work.space.shard, row);
    }
    let mark = mark_of(work, offset)?;
    mark.ok_or_else(|| work.corrupt("message", "it has a class or a time, and no mark"))
}

/// Gives a message a mark, and the rows that belong to it.
pub(super) fn wait(queue: &mut Queue, work: &mut Work<'_>, offset: Offset, mark: &Mark) {
    let (space, id) = (work.space, work.id);
    let row = mark.encode();
    work.put(keys::mark(space, id, offset), row.clone());
    queue.state.marks += 1;
    queue.begins.waiting.put(offset);
    match mark.waiting {
        Waiting::InOrder { due_ms } => {
            if let Some(group) = mark.message.group {
                work.put(keys::group(space, id, group, offset), Bytes::new());
                queue.begins.put_in_group(group, offset);
            }
            if let Some(due_ms) = due_ms {
                schedule(queue, work, due_ms, offset, row);
            }
        }
        Waiting::Due { due_ms } => schedule(queue, work, due_ms, offset, row),
        Waiting::Ready => {
            work.put(keys::ready(space, id, mark.message.class, offset), row);
            queue.begins.put_ready(mark.message.class, offset);
            *queue.state.ready.entry(mark.message.class).or_default() += 1;
        }
        Waiting::Gone | Waiting::Outbox { .. } => return,
    }
    if let Some(expires) = mark.message.expires_ms {
        work.put(keys::expiry(space, id, expires, offset), Bytes::new());
        queue.begins.expiries.put((expires, offset));
        queue.state.wake_at(expires);
    }
}

fn schedule(queue: &mut Queue, work: &mut Work<'_>, due_ms: i64, offset: Offset, row: Bytes) {
    work.put(keys::due(work.space, work.id, due_ms, offset), row);
    queue.begins.dues.put((due_ms, offset));
    if queue.state.is_overdue(due_ms, offset) {
        queue.state.overdue += 1;
    } else {
        queue.state.scheduled += 1;
        queue.state.wake_at(due_ms);
    }
}

fn unschedule(queue: &mut Queue, work: &mut Work<'_>, due_ms: i64, offset: Offset) {
    work.delete(keys::due(work.space, work.id, due_ms, offset));
    let state = &mut queue.state;
    if state.is_overdue(due_ms, offset) {
        state.overdue -= 1;
    } else {
        state.scheduled -= 1;
    }
    if state.overdue == 0 && state.scheduled == 0 {
        state.due_through = None;
    }
}

/// Takes the mark of a message away, and the rows that belong to it.
pub(super) fn leave(queue: &mut Queue, work: &mut Work<'_>, offset: Offset, mark: &Mark) {
    let (space, id) = (work.space, work.id);
    work.delete(keys::mark(space, id, offset));
    queue.state.marks -= 1;
    match mark.waiting {
        Waiting::InOrder { due_ms } => {
            if let Some(group) = mark.message.group {
                work.delete(keys::group(space, id, group, offset));
            }
            if let Some(due_ms) = due_ms {
                unschedule(queue, work, due_ms, offset);
            }
        }
        Waiting::Due { due_ms } => unschedule(queue, work, due_ms, offset),
        Waiting::Ready => {
            let class = mark.message.class;
            work.delete(keys::ready(space, id, class, offset));
            let left = queue.state.ready.get_mut(&class).expect("the message was counted");
            *left -= 1;
            if *left == 0 {
                queue.state.ready.remove(&class);
            }
        }
        Waiting::Gone | Waiting::Outbox { .. } => return,
    }
    if let Some(expires) = mark.message.expires_ms {
        work.delete(keys::expiry(space, id, expires, offset));
    }
}
