//! Who consumes from a queue, as its leader knows it: who waits, who is the active one, whose the
//! queue is, and whether it goes because nobody uses it any more.
//!
//! Nothing of this is in the log. A new leader knows of nobody, and counts all times anew.
//!
//! Memory: some 200 bytes for each consumer, at most [`CONSUMERS_MAX`] for each queue, and where
//! consumers are looked after 16 for each of the last [`LEASES_MAX`] leases of each.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kontiki_domain::mutant::{self, Mutant};
use kontiki_domain::queue::{Grant, QueueSettings};
use kontiki_storage::id::{Offset, PartitionId, ShardId};
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerState, millis};
use crate::error::{Code, Error, Kind};

/// Consumers of one queue that are known by their ids.
const CONSUMERS_MAX: usize = 4_096;
/// Leases of one consumer by which it is known to be there; of more, the earliest are forgotten.
const LEASES_MAX: usize = 1_024;

/// The least time that consumers have to come back to a new leader.
const RETURN: Duration = Duration::from_secs(10);

/// Whether a message is still leased under that lease.
type IsLive<'a> = &'a dyn Fn(Offset, u64) -> bool;

/// What settings say of consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    single_active: bool,
    exclusive: bool,
    auto_delete: bool,
    timeout: Duration,
    expires: Option<Duration>,
}

impl Rules {
    fn of(settings: &QueueSettings) -> Self {
        Self {
            single_active: settings.single_active_consumer && !mutant::is(Mutant::ManyActive),
            exclusive: settings.exclusive,
            auto_delete: settings.auto_delete,
            timeout: millis(settings.consumer_timeout_ms()),
            expires: settings.expires_ms.map(millis),
        }
    }

    /// Somebody has to look whether consumers are still there.
    fn watched(&self) -> bool {
        self.single_active || self.exclusive || self.auto_delete || self.expires.is_some()
    }
}

#[derive(Debug)]
struct Consumer {
    priority: i32,
    /// Its receives that wait.
    waiting: usize,
    /// When it asked, or was answered, last.
    seen: Instant,
    leases: VecDeque<(Offset, u64)>,
}

impl Consumer {
    fn holds(&mut self, is_live: IsLive<'_>) -> bool {
        while let Some((offset, lease)) = self.leases.front() {
            if is_live(*offset, *lease) {
                return true;
            }
            self.leases.pop_front();
        }
        false
    }

    fn is_there(&mut self, now: Instant, timeout: Duration, is_live: IsLive<'_>) -> bool {
        self.waiting > 0 || now < self.seen + timeout || self.holds(is_live)
    }
}

/// Why a queue is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// `auto_delete`.
    LastConsumerGone,
    /// `exclusive`.
    HolderGone,
    /// `expires_ms`.
    Unused,
}

impl Why {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::LastConsumerGone => "its last consumer has gone (auto_delete)",
            Self::HolderGone => "the consumer that it belonged to has gone (exclusive)",
            Self::Unused => "nobody has used it for expires_ms",
        }
    }
}

/// Who is served now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Only this consumer.
    pub(super) only: Option<Arc<str>>,
    /// So many messages at most.
    pub(super) at_most: Option<u32>,
    /// The plan may be another one then, without anything having happened.
    pub(super) again: Option<Instant>,
}

/// What is shown of a queue's consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) consumers: u32,
    pub(crate) active: Option<Arc<str>>,
    pub(crate) breaker: BreakerState,
}

/// What is known of one queue's consumers, during one term of its leader.
#[derive(Debug)]
pub(crate) struct Attached {
    term: u64,
    began: Instant,
    rules: Rules,
    consumers: HashMap<Arc<str>, Consumer>,
    /// Consumers that have gone while receives of theirs waited.
    gone: Vec<Arc<str>>,
    active: Option<Arc<str>>,
    holder: Option<Arc<str>>,
    had_one: bool,
    used: Instant,
    /// It is being deleted.
    going: bool,
    breaker: Option<Breaker>,
}

impl Attached {
    fn new(term: u64, now: Instant) -> Self {
        Self {
            term,
            began: now,
            rules: Rules::of(&QueueSettings::default()),
            consumers: HashMap::new(),
            gone: Vec::new(),
            active: None,
            holder: None,
            had_one: false,
            used: now,
            going: false,
            breaker: None,
        }
    }

    /// Takes over settings that may have changed.
    fn set(&mut self, settings: &QueueSettings) {
        self.rules = Rules::of(settings);
        let known = self.breaker.as_ref().map(Breaker::settings);
        if known != settings.breaker() {
            self.breaker = settings.breaker().map(Breaker::new);
        }
        if !self.rules.single_active {
            self.active = None;
        }
    }

    /// A consumer waits for messages, or says that it is there. Refused where the queue is another
    /// one's, or on its way out.
    pub(crate) fn attend(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        priority: i32,
        waits: bool,
    ) -> Result<(), Error> {
        if self.going {
            let detail = "it is being deleted, as its settings say: create it again";
            return Err(Error::new(Kind::NotFound, Code::UNKNOWN_QUEUE, detail));
        }
        self.own(id)?;
        self.used = now;
        self.had_one = true;
        let full = self.consumers.len() >= CONSUMERS_MAX;
        if full && !self.consumers.contains_key(id) {
            if self.rules.watched() {
                return Err(Error::throttled("consumers of one queue", CONSUMERS_MAX, 1_000));
            }
            return Ok(());
        }
        let consumer = self.consumers.entry(Arc::clone(id)).or_insert_with(|| Consumer {
            priority,
            waiting: 0,
            seen: now,
            leases: VecDeque::new(),
        });
        consumer.seen = now;
        if waits {
            consumer.priority = priority;
            consumer.waiting += 1;
        }
        Ok(())
    }

    /// Whether the queue may be a consumer's. It is nobody else's from then on, if it is exclusive.
    pub(super) fn own(&mut self, id: &Arc<str>) -> Result<(), Error> {
        if !self.rules.exclusive {
            return Ok(());
        }
        let holder = self.holder.get_or_insert_with(|| Arc::clone(id));
        if holder == id {
            return Ok(());
        }
        let detail = format!(
            "it is exclusive, and belongs to consumer {holder:?}: use a queue of your own, or come \
             as that consumer"
        );
        self.consumers.remove(id);
        Err(Error::new(Kind::Conflict, Code::QUEUE_EXCLUSIVE, detail))
    }

    /// A receive of a consumer is answered.
    pub(super) fn answered(&mut self, now: Instant, id: &str, grants: &[Grant]) {
        let watched = self.rules.watched();
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.waiting = consumer.waiting.saturating_sub(1);
        consumer.seen = now;
        self.used = now;
        if watched {
            consumer.leases.extend(grants.iter().map(|grant| (grant.offset, grant.lease)));
            let many = consumer.leases.len().saturating_sub(LEASES_MAX);
            consumer.leases.drain(..many);
        }
    }

    /// A consumer says that it goes. Its leases are its own to give back.
    pub(crate) fn detach(&mut self, now: Instant, id: &str) {
        self.used = now;
        if self.rules.exclusive {
            // It may come back until its time is over.
            if let Some(consumer) = self.consumers.get_mut(id) {
                consumer.seen = now;
            }
            return;
        }
        if let Some((id, consumer)) = self.consumers.remove_entry(id)
            && consumer.waiting > 0
        {
            self.gone.push(id);
        }
        if self.active.as_deref() == Some(id) {
            self.active = None;
        }
    }

    /// Consumers that have gone and whose receives are to be answered.
    pub(super) fn take_gone(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.gone)
    }

    /// It was declared.
    pub(crate) fn declared(&mut self, now: Instant) {
        self.used = now;
    }

    /// Whom to serve next. `first` waits, and of those of the highest priority the longest.
    pub(super) fn plan(
        &mut self,
        now: Instant,
        totals: &kontiki_domain::queue::Totals,
        first: Option<(&Arc<str>, i32)>,
        is_live: IsLive<'_>,
    ) -> Plan {
        let mut plan = Plan::default();
        if let Some(breaker) = &mut self.breaker {
            (plan.at_most, plan.again) = breaker.look(now, totals);
        }
        if self.rules.single_active {
            let again = self.choose(now, first, is_live);
            plan.only.clone_from(&self.active);
            plan.again = plan.again.into_iter().chain(again).min();
        }
        plan
    }

    /// Makes a consumer the active one, where there is none, or one that is to make way.
    fn choose(
        &mut self,
        now: Instant,
        first: Option<(&Arc<str>, i32)>,
        is_live: IsLive<'_>,
    ) -> Option<Instant> {
        let timeout = self.rules.timeout;
        let mut again = None;
        if let Some(id) = &self.active {
            let stays = match self.consumers.get_mut(id) {
                Some(active) => {
                    // One of a higher priority waits for its leases only.
                    let higher = first.is_some_and(|(_, priority)| priority > active.priority);
                    let makes_way = higher && !active.holds(is_live);
                    if active.waiting == 0 {
                        let until = active.seen + timeout;
                        let soon = now + timeout / 4;
                        again = Some(if until > now { until } else { soon });
                    }
                    !makes_way && active.is_there(now, timeout, is_live)
                }
                None => false,
            };
            if !stays {
                self.active = None;
            }
        }
        if self.active.is_none()
            && let Some((id, _)) = first
        {
            self.active = Some(Arc::clone(id));
            again = None;
        }
        again
    }

    /// Forgets consumers that have gone, and says whether the queue is to be deleted. `acquired`:
    /// whether anything was ever delivered.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        acquired: bool,
        is_live: IsLive<'_>,
    ) -> Option<Why> {
        let Rules { exclusive, auto_delete, timeout, expires, .. } = self.rules;
        let had_some = !self.consumers.is_empty();
        self.consumers.retain(|_, consumer| consumer.is_there(now, timeout, is_live));
        if self.active.as_ref().is_some_and(|id| !self.consumers.contains_key(id)) {
            self.active = None;
        }
        if had_some {
            self.used = now;
        }
        let known = self.had_one;
        let empty = self.consumers.is_empty();
        // Who was there in the time of a former leader has as long as anybody to come back.
        let had_one = known || (acquired && now >= self.began + timeout.max(RETURN));
        let why = if !empty || self.going {
            None
        } else if exclusive && had_one {
            Some(Why::HolderGone)
        } else if auto_delete && had_one {
            Some(Why::LastConsumerGone)
        } else if expires.is_some_and(|expires| now >= self.used + expires) {
            Some(Why::Unused)
        } else {
            None
        };
        self.going |= why.is_some();
        why
    }

    /// It could not be deleted.
    pub(crate) fn stays(&mut self) {
        self.going = false;
    }

    /// The sweep has to know whether anything was ever delivered.
    pub(crate) fn asks_whether_acquired(&self) -> bool {
        !self.had_one && (self.rules.exclusive || self.rules.auto_delete)
    }

    pub(crate) fn show(&self, now: Instant) -> Shown {
        let breaker = self.breaker.as_ref();
        Shown {
            consumers: u32::try_from(self.consumers.len()).unwrap_or(u32::MAX),
            active: self.active.clone().or_else(|| self.holder.clone()),
            breaker: breaker.map_or(BreakerState::Off, |breaker| breaker.state(now)),
        }
    }

    fn is_of_no_use(&self) -> bool {
        self.consumers.is_empty() && !self.rules.watched() && self.breaker.is_none()
    }
}

/// One queue's consumers, shared between its desk and those who look after it.
#[derive(Debug)]
pub(crate) struct OfQueue {
    pub(crate) shard: ShardId,
    watched: AtomicBool,
    attached: Mutex<Attached>,
}

impl OfQueue {
    /// What is known in this term; what is from another one is forgotten.
    pub(crate) fn of_term(&self, term: u64) -> MutexGuard<'_, Attached> {
        let mut attached = self.look();
        if attached.term < term {
            *attached = Attached::new(term, Instant::now());
        }
        attached
    }

    /// What is known.
    pub(crate) fn look(&self) -> MutexGuard<'_, Attached> {
        self.attached.lock().expect("nothing panics under this lock")
    }

    /// Takes over settings that may have changed.
    pub(crate) fn set(&self, attached: &mut Attached, settings: &QueueSettings) {
        attached.set(settings);
        self.watched.store(attached.rules.watched(), Ordering::Relaxed);
    }
}

/// The consumers of all queues that are led here.
#[derive(Debug, Default)]
pub(crate) struct Consumers(Mutex<HashMap<PartitionId, Arc<OfQueue>>>);

impl Consumers {
    /// Those of a queue; noted from now on.
    pub(crate) fn of(&self, queue: PartitionId, shard: ShardId, term: u64) -> Arc<OfQueue> {
        let mut all = self.0.lock().expect("nothing panics under this lock");
        Arc::clone(all.entry(queue).or_insert_with(|| {
            let attached = Mutex::new(Attached::new(term, Instant::now()));
            Arc::new(OfQueue { shard, watched: AtomicBool::new(false), attached })
        }))
    }

    /// Those of a queue, if anything is known of them.
    pub(crate) fn known(&self, queue: PartitionId) -> Option<Arc<OfQueue>> {
        self.0.lock().expect("nothing panics under this lock").get(&queue).cloned()
    }

    /// Those that have to be looked after.
    pub(crate) fn watched(&self) -> Vec<(PartitionId, Arc<OfQueue>)> {
        let all = self.0.lock().expect("nothing panics under this lock");
        let watched = all.iter().filter(|(_, one)| one.watched.load(Ordering::Relaxed));
        watched.map(|(id, one)| (*id, Arc::clone(one))).collect()
    }

    /// Forgets consumers that have gone, of queues that nobody has to look after, and queues of
    /// which nothing is left or that are led elsewhere.
    pub(crate) fn tidy(&self, leads: impl Fn(ShardId) -> bool) {
        let now = Instant::now();
        let mut all = self.0.lock().expect("nothing panics under this lock");
        all.retain(|_, one| {
            // A desk has it.
            let used = Arc::strong_count(one) > 1;
            if !used && !leads(one.shard) {
                return false;
            }
            if one.watched.load(Ordering::Relaxed) {
                return true;
            }
            let mut attached = one.look();
            let timeout = attached.rules.timeout;
            attached.consumers.retain(|_, one| one.is_there(now, timeout, &|_, _| false));
            used || !attached.is_of_no_use()
        });
    }

    /// A queue is gone.
    pub(crate) fn forget(&self, queue: PartitionId) {
        self.0.lock().expect("nothing panics under this lock").remove(&queue);
    }
}

#[cfg(test)]
#[path = "consumers_test.rs"]
mod tests;
