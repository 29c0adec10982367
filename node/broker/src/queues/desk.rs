//! Receivers of one queue share commands: on the leader, one task for each queue that somebody
//! waits for asks for all of them at a time. While there is nothing for them, its next command is
//! left with [`prepared`](super::prepared), and goes with the next message.
//!
//! Those of the highest consumer priority are served first, equal ones in turn. Which consumers
//! may be served at all where settings say something of them is in `consumers`.
//!
//! Memory: some 300 bytes for each receiver that waits, of whom there are at most
//! `broker.fetch.waiting_max` on a node.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use kontiki_domain::partition::read as partitions;
use kontiki_domain::queue::{
    Acquire, Command, Grant, QueueSettings, QueueState, Reply, read as queues,
};
use kontiki_domain::shard::{self, decode_outcome};
use kontiki_raft::{Applied, Pending, ProposeError, Shard};
use kontiki_storage::id::PartitionId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Leased;
use super::consumers::{OfQueue, Plan};
use super::prepared::{Left, Place};
use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::hub::Watch;

/// Receivers whose wishes are not taken over by the task yet.
const QUEUED_MAX: usize = 4_096;
/// Messages that one command leases.
const LEASED_AT_ONCE: u32 = 4_096;
/// How long the task of a queue waits for another receiver.
const IDLE: Duration = Duration::from_secs(1);
/// How often what should be announced is looked at nevertheless.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a queue that the catalog knows, but its shard doesn't yet, is waited for.
const CREATION: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const LOOK_FOR: Duration = Duration::from_millis(50);
/// Whoever is of a higher priority and was just served has so long to ask again, before those of
/// lower ones are served.
const ASKS_AGAIN: Duration = Duration::from_millis(10);

/// What one receiver wants.
pub(crate) struct Wish {
    pub(crate) max: u32,
    /// 0: as long as the queue says.
    pub(crate) lease_ms: i64,
    pub(crate) until: Instant,
    /// Whose it is; empty: somebody's.
    pub(crate) consumer: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) answer: oneshot::Sender<Result<Leased, Error>>,
}

/// The tasks, by queue.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<HashMap<PartitionId, mpsc::Sender<Wish>>>);

impl Core {
    /// Asks for messages of a queue that is led here.
    pub(crate) fn wish(
        self: &Arc<Self>,
        replica: &Shard,
        queue: PartitionId,
        wish: Wish,
    ) -> Result<(), Error> {
        let mut desks = self.desks.0.lock().expect("nothing panics under this lock");
        let desk = desks.entry(queue).or_insert_with(|| self.open(replica, queue));
        match desk.try_send(wish) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let retry_ms = self.options.fetch.retry_after_ms;
                Err(Error::throttled("receivers of one queue", QUEUED_MAX, retry_ms))
            }
            // Its task has ended with a panic.
            Err(mpsc::error::TrySendError::Closed(wish)) => {
                *desk = self.open(replica, queue);
                desk.try_send(wish).map_err(|_| Error::internal("a task that ends at once"))
            }
        }
    }

    fn open(self: &Arc<Self>, replica: &Shard, queue: PartitionId) -> mpsc::Sender<Wish> {
        let (sender, wishes) = mpsc::channel(QUEUED_MAX);
        let term = replica.role().term;
        let desk = Desk {
            core: Arc::clone(self),
            replica: replica.clone(),
            queue,
            wishes,
            waiting: VecDeque::new(),
            tried: None,
            held_up: false,
            prioritized: false,
            served: None,
            consumers: self.consumers.of(queue, replica.id(), term),
            place: self.prepared.open(queue),
            term,
            opened: Instant::now(),
        };
        tokio::spawn(desk.run());
        sender
    }
}

struct Desk {
    core: Arc<Core>,
    replica: Shard,
    queue: PartitionId,
    wishes: mpsc::Receiver<Wish>,
    waiting: VecDeque<Wish>,
    /// The queue, as it was looked at before there turned out to be nothing for anybody. What
    /// happened while that was found out is looked at again.
    tried: Option<QueueState>,
    /// Nobody who waits may be served now.
    held_up: bool,
    /// Somebody has another consumer priority than 0.
    prioritized: bool,
    /// The highest priority that was served last, and how long it has to ask again.
    served: Option<(i32, Instant)>,
    consumers: Arc<OfQueue>,
    /// Where its next command waits for what brings something.
    place: Place,
    term: u64,
    opened: Instant,
}

/// A command for some of those who wait: by their places.
struct Order {
    places: Vec<usize>,
    wanted: Vec<Acquire>,
}

/// What a desk at rest is woken by.
enum Event {
    /// What it had left has gone behind what may bring something.
    Submitted(Pending),
    /// Something is different, or somebody has gone, or it is time.
    Changed,
    /// Somebody else wants something; or nobody ever will.
    Wish(Option<Wish>),
    /// Another replica leads, or the node stops.
    Moved,
}

/// A queue, as its rows say.
struct Looked {
    settings: Option<Arc<QueueSettings>>,
    state: QueueState,
    /// Bytes of its messages, in batches of which some may be settled.
    bytes: u64,
}

impl Desk {
    async fn run(mut self) {
        let watch = self.core.hub.watch(vec![self.queue]);
        while self.somebody_waits().await {
            if self.core.is_stopping() {
                self.refuse(&Error::stopping());
                continue;
            }
            let role = self.replica.role();
            if !role.leads {
                let leader = role.leader.map(|replica| replica.node());
                let thing = format!("shard {}", self.replica.id());
                // Another replica of the shard on this node would have a desk of its own.
                self.close();
                self.refuse(&Error::not_leader(&thing, leader));
                return;
            }
            self.renew(role.term);
            match self.look() {
                Ok(Some(looked)) => {
                    let plan = self.plan(looked.settings.as_deref(), &looked.state);
                    let same = self.tried.as_ref() == Some(&looked.state);
                    self.held_up = !self.waiting.iter().any(|wish| self.may(wish, &plan));
                    if self.waiting.is_empty() {
                        continue;
                    }
                    if looked.state.counts().available == 0 || same || self.held_up {
                        if !self.held_up {
                            // There was nothing to ask for: that counts as having asked.
                            self.tried = Some(looked.state.clone());
                        }
                        self.rest(&watch, &plan, looked).await;
                    } else {
                        self.acquire(&plan, looked).await;
                    }
                }
                Ok(None) => {
                    // Nobody is answered before it is known.
                    let until = Instant::now() + LOOK_FOR;
                    if let Event::Wish(Some(wish)) = self.wait(&watch, None, until).await {
                        self.take(wish);
                    }
                }
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Takes over new wishes, and lets those go that have waited long enough. Ends when there have
    /// been none for a while.
    async fn somebody_waits(&mut self) -> bool {
        loop {
            while let Ok(wish) = self.wishes.try_recv() {
                self.take(wish);
            }
            let now = Instant::now();
            let gone = self.consumers.of_term(self.term).take_gone();
            let mut kept = VecDeque::with_capacity(self.waiting.len());
            for wish in std::mem::take(&mut self.waiting) {
                // Whoever doesn't wait is asked for once.
                let late = wish.until <= now && (self.tried.is_some() || self.held_up);
                if wish.answer.is_closed() || late || gone.contains(&wish.consumer) {
                    self.answer(wish, Ok(Vec::new()));
                } else {
                    kept.push_back(wish);
                }
            }
            self.waiting = kept;
            if !self.waiting.is_empty() {
                return true;
            }
            self.tried = None;
            match tokio::time::timeout(IDLE, self.wishes.recv()).await {
                Ok(Some(wish)) => self.take(wish),
                Ok(None) => return false,
                Err(_) => {
                    let mut desks = self.core.desks.0.lock().expect("nothing panics under it");
                    // Nobody can send another wish while the lock is held.
                    if self.wishes.is_empty() {
                        desks.remove(&self.queue);
                        return false;
                    }
                }
            }
        }
    }

    /// Takes no more wishes.
    fn close(&mut self) {
        let mut desks = self.core.desks.0.lock().expect("nothing panics under this lock");
        desks.remove(&self.queue);
        drop(desks);
        self.wishes.close();
        while let Ok(wish) = self.wishes.try_recv() {
            self.take(wish);
        }
    }

    /// Takes over a wish, behind those of its priority.
    fn take(&mut self, wish: Wish) {
        let mut attached = self.consumers.of_term(self.term);
        let may = attached.attend(Instant::now(), &wish.consumer, wish.priority, true);
        drop(attached);
        if let Err(error) = may {
            // Whoever asked may have gone.
            let _ = wish.answer.send(Err(error));
            return;
        }
        self.prioritized |= wish.priority != 0;
        let before = |other: &Wish| other.priority >= wish.priority;
        if self.waiting.back().is_none_or(before) {
            self.waiting.push_back(wish);
        } else {
            let at = self.waiting.partition_point(before);
            self.waiting.insert(at, wish);
        }
    }

    /// Answers a wish. Whoever asked may have gone: others may have the messages then.
    fn answer(&self, wish: Wish, answer: Result<Vec<Grant>, Error>) {
        let mut attached = self.consumers.of_term(self.term);
        let grants = answer.as_deref().unwrap_or(&[]);
        attached.answered(Instant::now(), &wish.consumer, grants);
        drop(attached);
        let shard = self.replica.id();
        let leased = answer.map(|grants| Leased::new(&self.core, shard, self.queue, grants));
        // What nobody takes is given back as it is dropped.
        drop(wish.answer.send(leased));
    }

    /// What is known of consumers is of one term.
    fn renew(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            for wish in std::mem::take(&mut self.waiting) {
                self.take(wish);
            }
        }
    }

    /// Whom to serve, by the settings of the queue and by who was served last.
    fn plan(&mut self, settings: Option<&QueueSettings>, state: &QueueState) -> Plan {
        let now = Instant::now();
        let (view, space) = self.replica.view();
        // Rows that can't be read end nobody's time.
        let is_live = |offset, lease| {
            queues::lease(view.as_ref(), space, self.queue, offset)
                .map_or(true, |held| held == Some(lease))
        };
        let mut attached = self.consumers.of_term(self.term);
        if let Some(settings) = settings {
            self.consumers.set(&mut attached, settings);
            if settings.exclusive {
                // They may have come before it was known whose the queue is.
                for wish in std::mem::take(&mut self.waiting) {
                    match attached.own(&wish.consumer) {
                        Ok(()) => self.waiting.push_back(wish),
                        // Whoever asked may have gone.
                        Err(error) => drop(wish.answer.send(Err(error))),
                    }
                }
            }
        }
        let first = self.waiting.front().map(|wish| (&wish.consumer, wish.priority));
        let mut plan = attached.plan(now, &state.totals, first, &is_live);
        drop(attached);
        self.served = self.served.filter(|(_, until)| *until > now);
        if let Some((_, until)) = self.served {
            plan.again = Some(plan.again.map_or(until, |again| again.min(until)));
        }
        plan
    }

    fn may(&self, wish: &Wish, plan: &Plan) -> bool {
        plan.at_most != Some(0)
            && plan.only.as_ref().is_none_or(|only| *only == wish.consumer)
            && self.served.is_none_or(|(priority, _)| wish.priority >= priority)
    }

    fn refuse(&mut self, error: &Error) {
        for wish in std::mem::take(&mut self.waiting) {
            self.answer(wish, Err(error.clone()));
        }
    }

    /// The queue, if it is here, and what it is set to.
    fn look(&self) -> Result<Option<Looked>, Error> {
        let (view, space) = self.replica.view();
        let partition = partitions::partition(view.as_ref(), space, self.queue)?;
        match partition {
            Some(state) if state.queue.is_none() => {
                Err(kontiki_domain::Rejection::NotAQueue(self.queue).into())
            }
            Some(state) if state.is_live() => {
                let queue = queues::queue(view.as_ref(), space, self.queue)?;
                let (settings, bytes) = (state.queue, state.bytes);
                Ok(queue.map(|state| Looked { settings, state, bytes }))
            }
            Some(_) => Err(gone()),
            None => {
                let known = |catalog: &kontiki_domain::catalog::Catalog| {
                    catalog.partition(self.queue).is_some()
                };
                if !self.core.catalog.look(known) {
                    return Err(gone());
                }
                if self.opened.elapsed() < CREATION {
                    return Ok(None);
                }
                let detail = "it is being created: try again";
                let error = Error::new(Kind::Unavailable, Code::NOT_READY, detail);
                Err(Error { retry_after_ms: 200, ..error })
            }
        }
    }

    /// Nothing is there for those who wait: until something has changed, or it is time to plan
    /// anew. What comes meanwhile brings them what they have asked for.
    async fn rest(&mut self, watch: &Watch, plan: &Plan, looked: Looked) {
        let again = Instant::now() + LOOK_AGAIN;
        let again = plan.again.map_or(again, |sooner| sooner.min(again));
        // A queue that delivers only so many, or to nobody now, is asked when it is known what is
        // there.
        let may_be_left = !self.held_up && plan.at_most.is_none();
        let mut order = may_be_left.then(|| self.order(plan, &looked));
        let mut left = None;
        if let Some(order) = &mut order {
            let turns = looked.state.counts().available > 0;
            let command = self.command(std::mem::take(&mut order.wanted));
            left = self.place.leave(command, turns);
            if left.is_none() {
                self.acquire(plan, looked).await;
                return;
            }
        }
        let first = self.waiting.iter().map(|wish| wish.until).min();
        let until = first.map_or(again, |first| first.min(again));
        let event = self.wait(watch, left.as_mut(), until).await;
        let (submitted, event) = match (event, &mut left) {
            (Event::Submitted(pending), _) => (Some(pending), Event::Changed),
            (event, Some(left)) => (left.take_back().await, event),
            (event, None) => (None, event),
        };
        drop(left);
        // Before others are taken over: the order knows its receivers by their places.
        let asking = match (&submitted, order) {
            (Some(_), Some(order)) => self.split(&order),
            _ => Vec::new(),
        };
        let moved = matches!(event, Event::Moved);
        if let Event::Wish(Some(wish)) = event {
            self.take(wish);
        }
        if moved || again <= Instant::now() {
            self.tried = None;
        }
        if let Some(pending) = submitted {
            match pending.await {
                Err(error) if error != ProposeError::Unknown => {
                    // It was never done: they go on waiting, and whatever is wrong is found out
                    // when they are asked for again.
                    self.put_back(asking);
                    self.tried = None;
                }
                outcome => self.acquired(asking, outcome, looked.state),
            }
        }
    }

    /// Until something has changed, one of those who wait has gone, or it is time.
    async fn wait(&mut self, watch: &Watch, left: Option<&mut Left>, until: Instant) -> Event {
        let mut role = self.replica.watch();
        role.mark_unchanged();
        let submitted = async {
            match left {
                Some(left) => Event::Submitted(left.submitted().await),
                None => std::future::pending().await,
            }
        };
        let waiting = &mut self.waiting;
        let somebody_gone = poll_fn(|context| {
            let gone = waiting.iter_mut().any(|wish| wish.answer.poll_closed(context).is_ready());
            if gone { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            event = submitted => event,
            () = watch.changed() => Event::Changed,
            _ = role.changed() => Event::Moved,
            () = self.core.stopped() => Event::Moved,
            wish = self.wishes.recv() => Event::Wish(wish),
            () = somebody_gone => Event::Changed,
            () = tokio::time::sleep_until(until) => Event::Changed,
        }
    }

    /// Messages for which there is room in one answer, by their average size: nobody leases many
    /// more, only to give them back.
    fn fitting(&self, looked: &Looked) -> u32 {
        let average = looked.bytes / looked.state.unsettled.max(1);
        let most = self.core.options.queues.receive_bytes_max as u64;
        u32::try_from(2 * most / average.max(1)).unwrap_or(u32::MAX).max(1)
    }

    /// What those who may be served want.
    fn order(&self, plan: &Plan, looked: &Looked) -> Order {
        let fitting = self.fitting(looked);
        let mut left = plan.at_most.map_or(LEASED_AT_ONCE, |most| most.min(LEASED_AT_ONCE));
        let mut order = Order { places: Vec::new(), wanted: Vec::new() };
        for (place, wish) in self.waiting.iter().enumerate() {
            if left == 0 {
                break;
            }
            if self.may(wish, plan) {
                let max = wish.max.min(left).min(fitting);
                left -= max;
                order.places.push(place);
                order.wanted.push(Acquire { max, lease_ms: wish.lease_ms });
            }
        }
        order
    }

    /// Takes out those whom an order is for; the others go on waiting, in their order.
    fn split(&mut self, order: &Order) -> Vec<Wish> {
        let mut places = order.places.iter().peekable();
        let (asking, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .enumerate()
            .partition(|(place, _)| places.next_if_eq(&place).is_some());
        self.waiting = others.into_iter().map(|(_, wish)| wish).collect();
        asking.into_iter().map(|(_, wish)| wish).collect()
    }

    fn command(&self, wanted: Vec<Acquire>) -> Bytes {
        shard::Command::from(Command::Acquire { queue: self.queue, wanted }).encode()
    }

    async fn acquire(&mut self, plan: &Plan, looked: Looked) {
        let order = self.order(plan, &looked);
        let asking = self.split(&order);
        let command = self.command(order.wanted);
        self.place.ask();
        let outcome = self.replica.submit(command, Vec::new()).await;
        self.acquired(asking, outcome, looked.state);
    }

    fn acquired(
        &mut self,
        asking: Vec<Wish>,
        outcome: Result<Applied, ProposeError>,
        before: QueueState,
    ) {
        let shard = self.replica.id();
        let outcome = match outcome {
            Ok(applied) => decode_outcome(&applied.reply).map_err(Error::from),
            Err(error) => Err(Error::propose(shard, &error)),
        };
        let granted = outcome.and_then(|outcome| {
            let reply = outcome.map_err(Error::from)?;
            let shard::Reply::Queue(Reply::Acquired(granted)) = reply else {
                return Err(Error::internal(format!("an acquisition was answered with {reply:?}")));
            };
            Ok(granted)
        });
        match granted {
            Ok(granted) => self.distribute(asking, granted, before),
            Err(error) => {
                self.waiting.extend(asking);
                self.refuse(&error);
            }
        }
    }

    /// They wait again, before the others.
    fn put_back(&mut self, asking: Vec<Wish>) {
        let mut again: VecDeque<Wish> = asking.into();
        again.append(&mut self.waiting);
        self.waiting = again;
        if self.prioritized {
            // Some may not have been asked for, between others that were.
            self.waiting.make_contiguous().sort_by_key(|wish| std::cmp::Reverse(wish.priority));
        }
    }

    /// `before`: what was looked at. Where nothing was granted, and nothing came or went either,
    /// that is what the next look finds, and the desk comes to rest.
    fn distribute(&mut self, asking: Vec<Wish>, granted: Vec<Vec<Grant>>, before: QueueState) {
        let mut again = Vec::new();
        let nothing = granted.iter().all(Vec::is_empty);
        let mut served: Option<i32> = None;
        for (wish, grants) in asking.into_iter().zip(granted) {
            if grants.is_empty() {
                again.push(wish);
            } else {
                served = served.max(Some(wish.priority));
                self.answer(wish, Ok(grants));
            }
        }
        self.put_back(again);
        if self.prioritized
            && let Some(priority) = served
        {
            self.served = Some((priority, Instant::now() + ASKS_AGAIN));
        }
        self.tried = nothing.then_some(before);
    }
}

fn gone() -> Error {
    let detail = "it is deleted: correct the name, or stop receiving from it";
    Error::new(Kind::NotFound, Code::UNKNOWN_QUEUE, detail)
}
