//! What some runs have besides: queues with clients of their own, so that those of all runs are the
//! same without them.

use super::{Kind, Queue};

/// A part of the broker that only some runs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Exchanges, and the queues that they lead to.
    Exchanges,
    /// A queue whose dead letters come back.
    Redrives,
    /// A queue with a single active consumer, and one with fair groups.
    Consumers,
    /// A durable subscription.
    Subscription,
    /// A queue whose messages are received over streams, large ones among small ones.
    Streams,
}

/// Queues that messages are published to.
pub const ROUTED: [&str; 3] = ["routed-a", "routed-b", "routed-c"];
/// A queue that messages are published to, and whose dead letters go through an exchange.
pub const FAILING: &str = "failing";
/// Where that exchange leads them.
pub const FAILED: [&str; 2] = ["failed-a", "failed-b"];
/// A queue for messages that are bound to no other one.
pub const SPARED: &str = "spared";
/// The exchange.
pub const FAILED_EXCHANGE: &str = "failed";
/// A queue whose dead letters come back.
pub const AGAIN: &str = "again";
/// Where they are until then.
pub const AGAIN_DEAD: &str = "again-dead";
/// A queue with a single active consumer.
pub const SINGLE: &str = "single";
/// A queue with fair groups.
pub const FAIR: &str = "fair";
/// A queue with messages of all sizes, which are received over streams.
pub const BULKY: &str = "bulky";
/// Messages fail so often at most in it; then they go to [`BULKY_DEAD`].
pub const BULKY_ATTEMPTS_MAX: u32 = 4;
/// Where they go.
pub const BULKY_DEAD: &str = "bulky-dead";

/// How long ids are remembered: longer than a run, whatever clocks do in it.
const WINDOW: (&str, &str) = ("deduplication_window_ms", "86400000");

impl Side {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Exchanges, Self::Redrives, Self::Consumers, Self::Subscription, Self::Streams];

    /// Its clients.
    #[must_use]
    pub fn clients(self) -> &'static [Kind] {
        match self {
            Self::Exchanges => &[
                Kind::Publisher,
                Kind::SideWorker(Self::Exchanges),
                Kind::PublisherThrough,
                Kind::Binder,
            ],
            Self::Redrives => &[
                Kind::SideSender(Self::Redrives),
                Kind::SideWorker(Self::Redrives),
                Kind::Redriver,
            ],
            Self::Consumers => &[
                Kind::SideSender(Self::Consumers),
                Kind::SideWorker(Self::Consumers),
                Kind::SideWorker(Self::Consumers),
            ],
            Self::Subscription => &[Kind::Subscriber, Kind::Subscriber],
            Self::Streams => {
                &[Kind::BulkSender, Kind::StreamWorker, Kind::StreamWorker, Kind::StreamWorker]
            }
        }
    }

    /// Its queues; those that messages are moved to come after those that they are moved from.
    #[must_use]
    pub fn queues(self) -> Vec<Queue> {
        let queue = |name: &str, settings: &[(&str, &str)], sent_to: bool| {
            let settings = settings.iter().chain([&WINDOW]);
            let grouped = name == FAIR;
            let settings = settings.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Queue { name: name.to_owned(), settings, grouped, sent_to }
        };
        match self {
            Self::Exchanges => {
                let mut queues: Vec<Queue> =
                    ROUTED.iter().map(|name| queue(name, &[], false)).collect();
                let settings = [("attempts_max", "2"), ("dead_letter_exchange", FAILED_EXCHANGE)];
                queues.push(queue(FAILING, &settings, false));
                queues.extend(FAILED.iter().map(|name| queue(name, &[], false)));
                queues.push(queue(SPARED, &[], false));
                queues
            }
            Self::Redrives => vec![
                queue(AGAIN, &[("dead_letter", AGAIN_DEAD)], true),
                queue(AGAIN_DEAD, &[], false),
            ],
            Self::Consumers => {
                let single = [("single_active_consumer", "true"), ("consumer_timeout_ms", "1000")];
                vec![queue(SINGLE, &single, true), queue(FAIR, &[("fair_groups", "true")], true)]
            }
            Self::Subscription => Vec::new(),
            Self::Streams => {
                let attempts = BULKY_ATTEMPTS_MAX.to_string();
                let settings = [("attempts_max", attempts.as_str()), ("dead_letter", BULKY_DEAD)];
                vec![queue(BULKY, &settings, true), queue(BULKY_DEAD, &[], false)]
            }
        }
    }
}

impl Kind {
    /// Pauses between two operations, from and to, where the others have so long ones at most.
    /// Those of the sides are longer, for there are many.
    #[must_use]
    pub fn pace_ms(self, most: u64) -> (u64, u64) {
        match self {
            Self::Publisher
            | Self::PublisherThrough
            | Self::BulkSender
            | Self::SideSender(_)
            | Self::SideWorker(_) => (100, 100 + 2 * most),
            Self::Binder => (300, 1_200),
            Self::Redriver => (500, 3_000),
            Self::IdempotentProducer
            | Self::PlainProducer
            | Self::TailingConsumer
            | Self::RewindingConsumer
            | Self::TopicChurn
            | Self::Retention
            | Self::RecordDeleter
            | Self::Prober
            | Self::QueueSender
            | Self::QueueWorker
            | Self::StreamWorker
            | Self::Subscriber => (20, most),
        }
    }
}
