//! One open subscription: all partitions of all topics that match, merged.
//!
//! Partitions are asked about in groups, one request at a time for each group, which waits on the
//! leader of their shard until there is something to look at. What comes is read ahead up to
//! `broker.subscribe.buffer_bytes`, as it came, and given out as far as the client's credit goes.
//! Everything but staying attached happens while [`Subscribed::next`] is polled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kontiki_domain::catalog::{CatalogVersion, Subscription};
use kontiki_domain::filter::FilterText;
use kontiki_domain::mutant::{self, Mutant};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::commit::{self, ByShard, Committer};
use super::keep::{Attachment, taken_over};
use super::parts::{Change, Parts};
use super::ready::Ready;
use super::sessions::{Counts, Session};
use super::{CREDIT_MAX, Output, PositionAt, unknown};
use crate::core::Core;
use crate::error::{Error, Kind};
use crate::read::wire::{Request, Response, Select, SelectPart, Selected, SelectedPart};

/// Partitions that one request asks about.
const GROUP_MAX: usize = 1_024;
/// Records that are given out at a time.
const AT_ONCE: usize = 256;
/// Their bytes, if it is more than one record.
const AT_ONCE_BYTES: usize = 1 << 20;
/// Positions that are told at a time.
const TOLD_AT_ONCE: usize = 1_000;
/// How often positions that have moved over records that don't match are told.
const TELL: Duration = Duration::from_secs(1);
/// The catalog is looked at as often as this while it changes.
const LOOK: Duration = Duration::from_millis(250);
/// The least that one request is allowed to look at, in bytes.
const SHARE_MIN: u32 = 64 << 10;

/// An open subscription. [`close`](Self::close) it, or what was acknowledged last may be lost.
pub struct Subscribed {
    core: Arc<Core>,
    filter: Option<FilterText>,
    session: Session,
    durable: Option<Durable>,
    parts: Parts,
    groups: Vec<Group>,
    asks: FuturesUnordered<BoxFuture<'static, Result<Answered, Aborted>>>,
    serial: u64,
    ready: VecDeque<Ready>,
    buffered: u64,
    credit: u32,
    catalog: watch::Receiver<CatalogVersion>,
    look_at: Option<Instant>,
    tell_at: Instant,
    told: bool,
}

struct Durable {
    row: Subscription,
    attachment: Attachment,
    commit_at: Instant,
    committing: Option<BoxFuture<'static, Result<(), ByShard<u64>>>>,
}

impl Durable {
    fn committer(&self) -> Committer {
        let generation = self.attachment.generation();
        Committer { subscription: self.row.id, generation, reset: false }
    }
}

/// Partitions of one shard that are asked about together.
struct Group {
    shard: ShardId,
    members: Vec<PartitionId>,
    /// The request that is under way, by its number.
    ask: Option<(u64, AbortHandle)>,
}

/// The end of a request, or of a pause after one that failed.
struct Answered {
    serial: u64,
    outcome: Result<(Vec<SelectedPart>, Vec<bytes::Bytes>), Error>,
    /// Its leader hasn't waited for anything.
    at_once: bool,
}

/// What a subscription is made of.
pub(super) struct Begun {
    pub(super) filter: Option<FilterText>,
    pub(super) session: Session,
    pub(super) durable: Option<(Subscription, Attachment)>,
    /// With where each of them begins.
    pub(super) parts: Parts,
    pub(super) joined: ByShard<()>,
    /// From before the catalog was looked at.
    pub(super) catalog: watch::Receiver<CatalogVersion>,
}

/// Not more partitions than one subscription may have.
pub(super) fn few(count: usize, limit: usize) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    let expected = format!(
        "one for at most {limit} partitions (broker.subscribe.partitions_max), not {count}"
    );
    Err(Error::invalid("pattern", "too broad", &expected))
}

impl Subscribed {
    pub(super) fn new(core: &Arc<Core>, begun: Begun) -> Self {
        let Begun { filter, session, durable, parts, joined, catalog } = begun;
        let now = Instant::now();
        let durable = durable.map(|(row, attachment)| Durable {
            row,
            attachment,
            commit_at: now,
            committing: None,
        });
        let mut subscribed = Self {
            core: Arc::clone(core),
            filter,
            session,
            durable,
            parts,
            groups: Vec::new(),
            asks: FuturesUnordered::new(),
            serial: 0,
            ready: VecDeque::new(),
            buffered: 0,
            credit: 0,
            catalog,
            look_at: None,
            tell_at: now,
            told: false,
        };
        subscribed.group(joined);
        subscribed
    }

    /// Allows so many messages more to be given out.
    ///
    /// # Errors
    /// More than [`CREDIT_MAX`] in all.
    pub fn credit(&mut self, messages: u32) -> Result<(), Error> {
        let left = self.credit;
        let sum = left.checked_add(messages).filter(|sum| *sum <= CREDIT_MAX);
        self.credit = sum.ok_or_else(|| {
            let expected = format!("at most {CREDIT_MAX} together with the {left} that are left");
            Error::invalid("credit", messages, &expected)
        })?;
        Ok(())
    }

    /// The client has everything below a position, or below what was delivered to it, whichever is
    /// less. Of topics that don't match (any more) nothing is noted.
    pub fn acknowledge(&mut self, position: &PositionAt) {
        self.parts.acknowledge(position);
    }

    /// What it has to say next. `None` when the node stops.
    ///
    /// Nothing is lost where the future is dropped before it has finished.
    ///
    /// # Errors
    /// It has ended: another consumer has taken a durable subscription over, it is deleted, or it
    /// has too many partitions.
    pub async fn next(&mut self) -> Result<Option<Output>, Error> {
        let core = Arc::clone(&self.core);
        let stopped = core.stopped();
        tokio::pin!(stopped);
        loop {
            if core.is_stopping() {
                return Ok(None);
            }
            if let Some(output) = self.output()? {
                return Ok(Some(output));
            }
            self.ask_all();
            self.begin_commit();
            let wake = self.wakes_at();
            tokio::select! {
                Some(answered) = self.asks.next(), if !self.asks.is_empty() => {
                    if let Ok(answered) = answered {
                        self.settle(answered)?;
                    }
                }
                changed = self.catalog.changed(), if self.look_at.is_none() => {
                    if changed.is_ok() {
                        self.look_at = Some(Instant::now() + LOOK);
                    }
                }
                ended = kept(&mut self.durable) => self.kept(ended)?,
                () = tokio::time::sleep_until(wake) => self.look()?,
                () = &mut stopped => return Ok(None),
            }
        }
    }

    /// Ends it: commits what was acknowledged, and lets others attach.
    ///
    /// # Errors
    /// What was acknowledged last could not be committed: it may come again.
    pub async fn close(mut self) -> Result<(), Error> {
        let Some(mut durable) = self.durable.take() else { return Ok(()) };
        let done = self.commit_last(&mut durable).await;
        if let Err(error) = &done {
            self.core.metrics.subscriptions.commit_failures.inc();
            let name = &durable.row.name;
            tracing::debug!(name, %error, "records that were acknowledged may come again");
        }
        durable.attachment.end().await;
        done
    }

    /// Commits what isn't committed yet, unless another consumer has the subscription: that one
    /// begins where it was told to.
    async fn commit_last(&mut self, durable: &mut Durable) -> Result<(), Error> {
        let Durable { row, attachment, committing, .. } = durable;
        let committing = committing.take();
        if let (Some(node), Some(_)) = (attachment.lost_to(), &committing) {
            // It ends here, and nobody knows what of it is committed.
            return Err(taken_over(&row.name, node));
        }
        if let Some(committing) = committing
            && let Err(positions) = committing.await
        {
            self.parts.put_back(&positions);
        }
        let positions = self.parts.take_uncommitted();
        if positions.is_empty() {
            return Ok(());
        }
        if let Some(node) = attachment.lost_to() {
            return Err(taken_over(&row.name, node));
        }
        let deadline = self.core.default_deadline();
        commit::commit(&self.core, durable.committer(), positions, deadline).await
    }

    /// What can be said without waiting.
    fn output(&mut self) -> Result<Option<Output>, Error> {
        while let Some(ready) = self.ready.front_mut() {
            let (id, next) = (ready.partition, ready.next);
            let Some(part) = self.parts.all.get(&id) else {
                self.drop_ready();
                continue;
            };
            if ready.is_empty() {
                self.drop_ready();
                self.parts.deliver(id, next, None);
                continue;
            }
            // Where each partition begins is said before anything of it.
            if self.credit == 0 || !self.told {
                break;
            }
            let mut position = part.position();
            self.buffered -= ready.bytes();
            let records = ready.take(AT_ONCE.min(self.credit as usize), AT_ONCE_BYTES)?;
            self.buffered += ready.bytes();
            let Some((last, _)) = records.last() else { continue };
            let after = last + 1;
            position.offset = if ready.is_empty() { next } else { after };
            if ready.is_empty() {
                self.drop_ready();
            }
            self.credit -= u32::try_from(records.len()).expect("at most AT_ONCE");
            self.core.metrics.subscriptions.delivered.inc_by(records.len() as u64);
            self.parts.deliver(id, position.offset, Some(after));
            return Ok(Some(Output::Records { position, records }));
        }
        if Instant::now() < self.tell_at {
            return Ok(None);
        }
        // Who wants to go on elsewhere has to know all of them.
        let at_once = if self.told { TOLD_AT_ONCE } else { usize::MAX };
        let positions = self.parts.take_moved(at_once);
        if positions.len() < at_once {
            let first = !std::mem::replace(&mut self.told, true);
            self.tell_at = Instant::now() + TELL;
            if positions.is_empty() && !first {
                return Ok(None);
            }
        }
        Ok(Some(Output::Positions(positions)))
    }

    fn drop_ready(&mut self) {
        if let Some(ready) = self.ready.pop_front() {
            self.buffered -= ready.bytes();
        }
    }

    fn wakes_at(&self) -> Instant {
        let look = self.look_at.map_or(self.tell_at, |at| at.min(self.tell_at));
        match &self.durable {
            Some(durable) if durable.committing.is_none() => look.min(durable.commit_at),
            Some(_) | None => look,
        }
    }

    /// Takes over what has changed in the catalog, if it is time to.
    fn look(&mut self) -> Result<(), Error> {
        if self.look_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        self.look_at = None;
        let core = Arc::clone(&self.core);
        let (change, exists) = core.catalog.look(|catalog| {
            let durable = self.durable.as_ref();
            let exists = self.parts.is_ahead_of(catalog)
                || durable.is_none_or(|one| catalog.subscription(one.row.id).is_some());
            (self.parts.look(catalog), exists)
        });
        if let Some(durable) = self.durable.as_ref().filter(|_| !exists) {
            return Err(unknown(&durable.row.name));
        }
        few(self.parts.all.len(), core.options.subscribe.partitions_max)?;
        let Change { joined, left } = change;
        if !left.is_empty() {
            for group in &mut self.groups {
                group.members.retain(|id| !left.contains(id));
            }
            self.groups.retain(|group| !group.members.is_empty() || group.ask.is_some());
        }
        self.group(joined);
        Ok(())
    }

    /// Puts partitions into groups. One that is under way is asked anew, with the new ones in it.
    fn group(&mut self, joined: ByShard<()>) {
        for (shard, ids) in joined {
            for (id, ()) in ids {
                let fits =
                    |group: &&mut Group| group.shard == shard && group.members.len() < GROUP_MAX;
                match self.groups.iter_mut().find(fits) {
                    Some(group) => {
                        group.members.push(id);
                        if let Some((_, handle)) = group.ask.take() {
                            handle.abort();
                        }
                    }
                    None => self.groups.push(Group { shard, members: vec![id], ask: None }),
                }
            }
        }
    }

    /// Asks about every group that isn't asked about, unless enough is read ahead.
    fn ask_all(&mut self) {
        let options = &self.core.options;
        if self.buffered >= u64::from(options.subscribe.buffer_bytes) {
            return;
        }
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX).max(1);
        let share = (options.subscribe.buffer_bytes / count).max(SHARE_MIN);
        for group in &mut self.groups {
            let wanted = group.members.iter().filter_map(|id| {
                let part = self.parts.all.get(id).filter(|part| !part.refused)?;
                Some(SelectPart { partition: id.0, offset: part.next })
            });
            if group.ask.is_some() {
                continue;
            }
            let partitions: Vec<SelectPart> = wanted.collect();
            if partitions.is_empty() {
                continue;
            }
            self.serial += 1;
            let wait_ms = u32::try_from(self.core.fetch.check().as_millis()).unwrap_or(u32::MAX);
            let filter = self.filter.clone();
            let select = Select { partitions, filter, max_bytes: share, wait_ms };
            let asked = ask(Arc::clone(&self.core), group.shard, select, self.serial);
            let (asked, handle) = abortable(asked);
            group.ask = Some((self.serial, handle));
            self.asks.push(Box::pin(asked));
        }
    }

    fn settle(&mut self, answered: Answered) -> Result<(), Error> {
        let Answered { serial, outcome, at_once } = answered;
        let is_it = |group: &Group| group.ask.as_ref().is_some_and(|ask| ask.0 == serial);
        let Some(at) = self.groups.iter().position(is_it) else { return Ok(()) };
        self.groups[at].ask = None;
        let (selected, payloads) = match outcome {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::Internal || error.kind == Kind::Invalid => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, "a subscription asks again");
                self.pause(at, serial, error.retry_after());
                return Ok(());
            }
        };
        let mut payloads = payloads.into_iter();
        let mut moves = !at_once;
        for part in selected {
            match part {
                SelectedPart::Done(selected) => moves |= self.take(selected, &mut payloads)?,
                SelectedPart::Failed { partition, failed } => {
                    let error = Error::from(failed);
                    tracing::debug!(partition, %error, "a subscription leaves a partition out");
                    if let Some(part) = self.parts.all.get_mut(&PartitionId(partition)) {
                        part.refused = true;
                        moves = true;
                    }
                    // It is in the catalog no more, or the leader's copy of it is behind.
                    self.look_at.get_or_insert(Instant::now() + TELL);
                }
            }
        }
        if !moves {
            // The same question at the same moment has the same answer.
            self.pause(at, serial, None);
        }
        Ok(())
    }

    /// Asks about a group again after a while.
    fn pause(&mut self, at: usize, serial: u64, pause: Option<Duration>) {
        let pause = pause.unwrap_or(Duration::from_millis(self.core.options.route.retry_ms));
        let paused = async move {
            tokio::time::sleep(pause).await;
            Answered { serial, outcome: Ok((Vec::new(), Vec::new())), at_once: false }
        };
        let (paused, handle) = abortable(paused);
        self.groups[at].ask = Some((serial, handle));
        self.asks.push(Box::pin(paused));
    }

    /// Takes what was selected of one partition; says whether it goes on elsewhere now.
    fn take(
        &mut self,
        selected: Selected,
        payloads: &mut impl Iterator<Item = bytes::Bytes>,
    ) -> Result<bool, Error> {
        let id = PartitionId(selected.partition);
        let (next, mut matched) = (selected.next_offset, 0);
        let mut ready = Ready::new(id, next);
        for offsets in selected.batches {
            let payload =
                payloads.next().ok_or_else(|| Error::internal("an answer lacks a batch"))?;
            matched += ready.push(payload, offsets)?;
        }
        if mutant::is(Mutant::SubscriptionSkips) && next % 5 == 2 {
            (ready, matched) = (Ready::new(id, next), 0);
        }
        let (unmatched, failed) = (selected.unmatched, selected.failed);
        self.session.count(Counts { matched, unmatched, failed });
        let Some(part) = self.parts.all.get_mut(&id) else { return Ok(false) };
        let asked = part.next;
        if next < asked {
            self.parts.go_back(id, next);
            return Ok(true);
        }
        part.next = next;
        self.buffered += ready.bytes();
        self.ready.push_back(ready);
        Ok(next > asked)
    }

    fn begin_commit(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let is_lost = durable.attachment.lost_to().is_some();
        if is_lost || durable.committing.is_some() || Instant::now() < durable.commit_at {
            return;
        }
        let every = Duration::from_millis(self.core.options.subscribe.commit_ms);
        durable.commit_at = Instant::now() + every;
        let positions = self.parts.take_uncommitted();
        if positions.is_empty() {
            return;
        }
        let (core, committer) = (Arc::clone(&self.core), durable.committer());
        durable.committing = Some(Box::pin(async move {
            let deadline = core.default_deadline();
            let done = commit::commit(&core, committer, positions.clone(), deadline).await;
            done.map_err(|error| {
                tracing::debug!(%error, "positions are committed later");
                positions
            })
        }));
    }

    fn kept(&mut self, ended: Kept) -> Result<(), Error> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        match ended {
            Kept::Lost(node) => {
                self.core.metrics.subscriptions.taken_over.inc();
                return Err(taken_over(&durable.row.name, node));
            }
            Kept::Committed(done) => {
                durable.committing = None;
                if let Err(positions) = done {
                    self.core.metrics.subscriptions.commit_failures.inc();
                    self.parts.put_back(&positions);
                }
            }
        }
        Ok(())
    }
}

/// What happens to a durable subscription by itself.
enum Kept {
    Lost(u32),
    Committed(Result<(), ByShard<u64>>),
}

async fn kept(durable: &mut Option<Durable>) -> Kept {
    let Some(Durable { attachment, committing, .. }) = durable else {
        return std::future::pending().await;
    };
    let committed = async {
        match committing {
            Some(committing) => committing.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        node = attachment.lost() => Kept::Lost(node),
        done = committed => Kept::Committed(done),
    }
}

async fn ask(core: Arc<Core>, shard: ShardId, select: Select, serial: u64) -> Answered {
    let wait = Duration::from_millis(select.wait_ms.into());
    let begun = Instant::now();
    let deadline = begun + wait + Duration::from_millis(core.options.route.timeout_ms);
    let outcome = match core.read_shard(shard, &Request::Select(select), deadline).await {
        Ok((Response::Selected(selected), payloads)) => Ok((selected, payloads)),
        Ok(_) => Err(Error::internal("a selection was answered with something else")),
        Err(error) => Err(error),
    };
    Answered { serial, outcome, at_once: begun.elapsed() < wait / 2 }
}
