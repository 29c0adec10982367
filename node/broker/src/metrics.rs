//! What the broker says about itself.

use kontiki_domain::queue::{Action, Settled};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of one node's broker. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) produce_seconds: Histogram,
    pub(crate) produced_batches: Counter,
    pub(crate) produced_records: Counter,
    pub(crate) produced_bytes: Counter,
    pub(crate) produce_failures: Counter,
    pub(crate) fetch_seconds: Histogram,
    pub(crate) fetched_batches: Counter,
    pub(crate) fetched_bytes: Counter,
    pub(crate) fetch_failures: Counter,
    pub(crate) fetch_waiting: Gauge,
    pub(crate) retained_batches: Counter,
    pub(crate) published_messages: Counter,
    pub(crate) publish_failures: Counter,
    pub(crate) unroutable_messages: Counter,
    pub(crate) unroutable_dead_letters: Counter,
    pub(crate) binding_filter_errors: Counter,
    pub(crate) queue: QueueMetrics,
    pub(crate) queues_gone: Counter,
    pub(crate) subscriptions: SubscriptionMetrics,
}

/// All subscriptions that are, or were, open on one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscriptionMetrics {
    pub(crate) open: Gauge,
    pub(crate) matched: Counter,
    pub(crate) unmatched: Counter,
    pub(crate) filter_errors: Counter,
    pub(crate) delivered: Counter,
    pub(crate) taken_over: Counter,
    pub(crate) commit_failures: Counter,
}

impl SubscriptionMetrics {
    fn register(&self, broker: &mut Registry) {
        let help = "Subscriptions whose consumers are connected to this node";
        broker.register("subscriptions_open", help, self.open.clone());
        let counters = [
            ("matched", "Records that matched a subscription of this node", &self.matched),
            ("unmatched", "Records that the filter of a subscription left out", &self.unmatched),
            (
                "filter_errors",
                "Records on which the filter of a subscription could not be evaluated: no match",
                &self.filter_errors,
            ),
            ("delivered", "Records given to consumers of subscriptions", &self.delivered),
            (
                "taken_over",
                "Consumers that ended because another one took their subscription over",
                &self.taken_over,
            ),
            (
                "commit_failures",
                "Commits of positions that failed; they are tried again while a consumer is there",
                &self.commit_failures,
            ),
        ];
        for (name, help, counter) in counters {
            broker.register(format!("subscription_{name}"), help, counter.clone());
        }
    }
}

/// Messages of all queues. Counted by the node that clients asked, and where nobody asked by the
/// leader. Per queue there are gauges of some, see `queues::gauges`, and totals in `DescribeQueue`.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueMetrics {
    pub(crate) sent: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) delivered: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) released: Counter,
    pub(crate) failed: Counter,
    pub(crate) rejected: Counter,
    pub(crate) extended: Counter,
    pub(crate) settled_late: Counter,
    pub(crate) leases_ended: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) redriven: Counter,
    pub(crate) came_back: Counter,
    pub(crate) went_round: Counter,
    pub(crate) filter_errors: Counter,
}

impl QueueMetrics {
    /// Counts what became of settlements.
    pub(crate) fn count(&self, actions: &[Action], settled: &[Settled]) {
        let (mut acknowledged, mut released, mut failed, mut rejected) = (0, 0, 0, 0);
        let (mut extended, mut late) = (0, 0);
        for (action, settled) in actions.iter().zip(settled) {
            let counter = match (settled, action) {
                (Settled::LeaseEnded, _) => &mut late,
                (_, Action::Acknowledge | Action::Delete) => &mut acknowledged,
                (_, Action::Release { failed: false, .. }) => &mut released,
                (_, Action::Release { failed: true, .. }) => &mut failed,
                (_, Action::Reject) => &mut rejected,
                (_, Action::Extend { .. }) => &mut extended,
                // Nobody was given it.
                (_, Action::Return) => continue,
            };
            *counter += 1;
        }
        self.acknowledged.inc_by(acknowledged);
        self.released.inc_by(released);
        self.failed.inc_by(failed);
        self.rejected.inc_by(rejected);
        self.extended.inc_by(extended);
        self.settled_late.inc_by(late);
    }

    fn register(&self, broker: &mut Registry) {
        let counters = [
            ("queue_sent", "Messages that clients sent through this node", &self.sent),
            ("queue_duplicates", "Messages among them that had been sent before", &self.duplicates),
            ("queue_delivered", "Messages delivered through this node", &self.delivered),
            ("queue_acknowledged", "Messages acknowledged through this node", &self.acknowledged),
            ("queue_released", "Messages released through this node, not failed", &self.released),
            ("queue_failed", "Messages released as failed through this node", &self.failed),
            ("queue_rejected", "Messages rejected through this node", &self.rejected),
            ("queue_extended", "Leases made longer through this node", &self.extended),
            (
                "queue_settled_late",
                "Settlements through this node of leases that had ended",
                &self.settled_late,
            ),
            (
                "queue_leases_ended",
                "Leases that ended by themselves, on the leaders of this node",
                &self.leases_ended,
            ),
            (
                "queue_dead_lettered",
                "Messages moved to dead-letter queues, by the leaders of this node",
                &self.dead_lettered,
            ),
            (
                "queue_redriven",
                "Messages moved because an operator wanted so, by the leaders of this node",
                &self.redriven,
            ),
            (
                "queue_came_back",
                "Messages that the target of a redrive could not take, back in their own queue",
                &self.came_back,
            ),
            (
                "queue_went_round",
                "Dead letters dropped because they went round between queues by themselves",
                &self.went_round,
            ),
            (
                "queue_filter_errors",
                "Messages on which the filter of a redrive could not be evaluated",
                &self.filter_errors,
            ),
        ];
        for (name, help, counter) in counters {
            broker.register(name, help, counter.clone());
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        Self {
            produce_seconds: seconds(),
            produced_batches: Counter::default(),
            produced_records: Counter::default(),
            produced_bytes: Counter::default(),
            produce_failures: Counter::default(),
            fetch_seconds: seconds(),
            fetched_batches: Counter::default(),
            fetched_bytes: Counter::default(),
            fetch_failures: Counter::default(),
            fetch_waiting: Gauge::default(),
            retained_batches: Counter::default(),
            published_messages: Counter::default(),
            publish_failures: Counter::default(),
            unroutable_messages: Counter::default(),
            unroutable_dead_letters: Counter::default(),
            binding_filter_errors: Counter::default(),
            queue: QueueMetrics::default(),
            queues_gone: Counter::default(),
            subscriptions: SubscriptionMetrics::default(),
        }
    }
}

impl Metrics {
    /// Registers everything under the prefix `broker`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let broker = registry.sub_registry_with_prefix("broker");
        let help = "Time from a produce request to its answer, in seconds";
        broker.register("produce_seconds", help, self.produce_seconds.clone());
        let help = "Record batches that clients produced through this node";
        broker.register("produced_batches", help, self.produced_batches.clone());
        let help = "Records that clients produced through this node";
        broker.register("produced_records", help, self.produced_records.clone());
        let help = "Bytes of record batches that clients produced through this node";
        broker.register("produced_bytes", help, self.produced_bytes.clone());
        let help = "Partitions of produce requests that were refused or failed";
        broker.register("produce_failures", help, self.produce_failures.clone());
        let help = "Time from a fetch request to its answer, waiting included, in seconds";
        broker.register("fetch_seconds", help, self.fetch_seconds.clone());
        let help = "Record batches that clients fetched through this node";
        broker.register("fetched_batches", help, self.fetched_batches.clone());
        let help = "Bytes of record batches that clients fetched through this node";
        broker.register("fetched_bytes", help, self.fetched_bytes.clone());
        let help = "Partitions of fetch requests that were refused or failed";
        broker.register("fetch_failures", help, self.fetch_failures.clone());
        let help = "Fetches that wait for records";
        broker.register("fetch_waiting", help, self.fetch_waiting.clone());
        let help = "Batches removed by retention, on the leaders of this node";
        broker.register("retained_batches", help, self.retained_batches.clone());
        let help = "Messages that clients published to exchanges through this node";
        broker.register("published_messages", help, self.published_messages.clone());
        let help = "Published messages that a queue refused or may not have";
        broker.register("publish_failures", help, self.publish_failures.clone());
        let help = "Published messages that no queue gets: dropped, or returned where mandatory";
        broker.register("unroutable_messages", help, self.unroutable_messages.clone());
        let help = "Messages dropped because a dead-letter exchange led them to no queue";
        broker.register("unroutable_dead_letters", help, self.unroutable_dead_letters.clone());
        let help = "Filters of bindings that could not be evaluated on a message: no match";
        broker.register("binding_filter_errors", help, self.binding_filter_errors.clone());
        self.queue.register(broker);
        let help = "Queues deleted because nobody used them, by the leaders of this node";
        broker.register("queues_gone", help, self.queues_gone.clone());
        self.subscriptions.register(broker);
    }
}
