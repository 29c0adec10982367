//! Figures of single queues for `/metrics`: of the longest ones that are led here.
//!
//! Nothing is kept up to date for them: they are read when somebody asks. One question looks at
//! [`LOOKED_AT_MAX`] queues at most, where the one before stopped; with more queues on the node,
//! the longest are found within some questions.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use kontiki_domain::partition::read as partitions;
use kontiki_domain::queue::{QueueState, read as queues};
use kontiki_raft::Shard;
use kontiki_storage::id::{PartitionId, ShardId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use crate::core::Core;

/// Queues that one question looks at.
const LOOKED_AT_MAX: usize = 20_000;
/// Queues read in one step.
const PAGE: usize = 1_000;

/// What is shown of one queue.
struct Figures {
    queue: String,
    available: u64,
    leased: u64,
    scheduled: u64,
    oldest_seconds: u64,
    consumers: u64,
    breaker: u64,
}

type Column = (&'static str, &'static str, fn(&Figures) -> u64);

const COLUMNS: [Column; 6] = [
    ("broker_queue_available", "Messages of a queue that can be received", |one| one.available),
    ("broker_queue_leased", "Messages of a queue that consumers have", |one| one.leased),
    ("broker_queue_scheduled", "Messages of a queue that wait for a time", |one| one.scheduled),
    (
        "broker_queue_oldest_seconds",
        "Age of the oldest message of a queue; 0 where there is none",
        |one| one.oldest_seconds,
    ),
    ("broker_queue_consumers", "Consumers of a queue that are there", |one| one.consumers),
    (
        "broker_queue_breaker",
        "Circuit breaker of a queue: 0 none, 1 closed, 2 open, 3 half-open",
        |one| one.breaker,
    ),
];

/// The queues that are looked at, and where to go on.
#[derive(Debug, Default)]
struct Round {
    at: (ShardId, Option<PartitionId>),
    longest: HashMap<PartitionId, (ShardId, u64)>,
}

/// See the module.
pub(crate) struct Gauges {
    core: Weak<Core>,
    round: Mutex<Round>,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Gauges {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::downgrade(core), round: Mutex::default() }
    }

    fn figures(&self, core: &Core) -> Vec<Figures> {
        let most = core.options.queues.gauges_max;
        let shards: BTreeMap<ShardId, Shard> =
            core.led_shards().map(|shard| (shard.id(), shard)).collect();
        let mut round = self.round.lock().expect("nothing panics under this lock");
        round.go_on(&shards, most);
        let now = Instant::now();
        let figures = round.longest.iter().filter_map(|(queue, (shard, _))| {
            let shard = shards.get(shard)?;
            let name = core.catalog.look(|catalog| {
                let found = catalog.partition(*queue)?;
                catalog.topic(found.topic).map(|topic| topic.name.clone())
            })?;
            let (view, space) = shard.view();
            let partition = partitions::partition(view.as_ref(), space, *queue).ok()??;
            let state = queues::queue(view.as_ref(), space, *queue).ok()??;
            let first = partition.first_base_offset;
            let oldest = queues::batches(view.as_ref(), space, *queue, first, 1).ok()?;
            let oldest_ms =
                oldest.first().map_or(0, |batch| shard.time_ms() - batch.row.append_time);
            let known = core.consumers.known(*queue).map(|known| known.look().show(now));
            let known = known.unwrap_or_default();
            let counts = state.counts();
            Some(Figures {
                queue: name,
                available: counts.available,
                leased: counts.leased,
                scheduled: counts.scheduled,
                oldest_seconds: u64::try_from(oldest_ms / 1_000).unwrap_or(0),
                consumers: known.consumers.into(),
                breaker: known.breaker.number().into(),
            })
        });
        let mut figures: Vec<Figures> = figures.collect();
        figures.sort_by(|one, other| one.queue.cmp(&other.queue));
        figures
    }
}

impl Round {
    /// Looks at the next queues, and at those again that were the longest.
    fn go_on(&mut self, shards: &BTreeMap<ShardId, Shard>, most: usize) {
        let mut lengths: HashMap<PartitionId, (ShardId, u64)> = HashMap::new();
        for (queue, (shard, _)) in std::mem::take(&mut self.longest) {
            let state = shards.get(&shard).and_then(|shard| {
                let (view, space) = shard.view();
                queues::queue(view.as_ref(), space, queue).ok().flatten()
            });
            if let Some(state) = state {
                lengths.insert(queue, (shard, length(&state)));
            }
        }
        let mut left = LOOKED_AT_MAX;
        let mut ends = 0;
        while left > 0 && ends <= shards.len() {
            let (id, after) = self.at;
            let Some((next, shard)) = shards.range(id..).next() else {
                self.at = (ShardId(0), None);
                ends += 1;
                if shards.is_empty() {
                    break;
                }
                continue;
            };
            let after = after.filter(|_| *next == id);
            let (view, space) = shard.view();
            let page = queues::queues(view.as_ref(), space, after, PAGE.min(left));
            let page = page.unwrap_or_default();
            left -= page.len();
            self.at = match page.last() {
                Some((last, _)) => (*next, Some(*last)),
                None => (ShardId(next.0 + 1), None),
            };
            ends += usize::from(page.is_empty());
            lengths.extend(page.iter().map(|(queue, state)| (*queue, (*next, length(state)))));
            if lengths.len() > most + PAGE {
                longest(&mut lengths, most);
            }
        }
        longest(&mut lengths, most);
        self.longest = lengths;
    }
}

fn length(state: &QueueState) -> u64 {
    state.unsettled
}

/// Keeps so many.
fn longest(lengths: &mut HashMap<PartitionId, (ShardId, u64)>, most: usize) {
    if lengths.len() <= most {
        return;
    }
    let mut all: Vec<_> = lengths.drain().collect();
    all.sort_by_key(|(queue, (_, length))| (std::cmp::Reverse(*length), *queue));
    all.truncate(most);
    lengths.extend(all);
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let figures = self.core.upgrade().map(|core| self.figures(&core)).unwrap_or_default();
        for (name, help, value) in COLUMNS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &figures {
                let labels = [("queue", one.queue.as_str())];
                ConstGauge::new(value(one)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
