//! What can be chosen for a queue: each setting with its unit, default and bounds.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::Breaker;
use super::classes::{self, Retry};
use crate::catalog::{check_text, validate_name};
use crate::rejection::Rejection;
use crate::settings::UNLIMITED;

/// Longest lease, delay of a whole queue, and pause between attempts: 7 days.
pub(super) const SPAN_MS_MAX: i64 = 7 * 24 * 3_600_000;
/// Longest time to live: 10 years.
pub(super) const HORIZON_MS_MAX: i64 = 315_360_000_000;
/// What is in flight is held in memory, some 200 bytes each.
const IN_FLIGHT_MAX: u32 = 1_000_000;
/// Longest deduplication window: a day.
const WINDOW_MS_MAX: i64 = 24 * 3_600_000;
/// Of a thousand.
const JITTER_MAX: u16 = 1_000;
/// A factor of 100.
const FACTOR_MAX: u32 = 100_000;

/// Every setting of a queue, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct QueueSettings {
    /// How long a message is a consumer's own, where the consumer doesn't say (visibility timeout
    /// of SQS); milliseconds, 1 to 7 days.
    #[n(0)]
    pub lease_ms: i64,
    /// How long a message waits before its first delivery, where its sender doesn't say;
    /// milliseconds, up to 7 days, and less than `time_to_live_ms` and `retention_ms`.
    #[n(1)]
    pub delay_ms: i64,
    /// A message older than this is not delivered: it is moved to the dead-letter queue, if there
    /// is one, and dropped otherwise; milliseconds up to 10 years, -1 = never. Its delay is part
    /// of its age, and must be shorter.
    #[n(2)]
    pub time_to_live_ms: i64,
    /// How many unsettled messages there may be, those left out that are on their way to another
    /// queue; -1 = any number.
    #[n(3)]
    pub length_max: i64,
    /// How many bytes of record batches there may be; -1 = any number.
    #[n(4)]
    pub bytes_max: i64,
    /// What happens at `length_max` or `bytes_max`.
    #[n(5)]
    pub overflow: Overflow,
    /// The highest priority that a message can have; 0 = all are equal.
    #[n(6)]
    pub priority_max: u8,
    /// Messages of one group are delivered in order and one after the other.
    #[n(7)]
    pub fifo: bool,
    /// How repeated sends are noticed.
    #[n(8)]
    pub deduplication: Deduplication,
    /// How long a deduplication id is remembered, in milliseconds, 1 to a day.
    #[n(9)]
    pub deduplication_window_ms: i64,
    /// How many attempts a message has before it is moved to the dead-letter queue (or dropped, if
    /// there is none); 0 = any number.
    #[n(10)]
    pub attempts_max: u32,
    /// Which attempts count.
    #[n(11)]
    pub attempts_counted: Counter,
    /// How long a message waits after a failed attempt.
    #[n(12)]
    pub backoff: Backoff,
    /// The name of the queue that takes what can't be delivered.
    #[n(13)]
    pub dead_letter: Option<String>,
    /// How many messages may be in flight (leased, or to be delivered again) at a time; 1 to
    /// 1,000,000. Bounds memory: some 200 bytes each.
    #[n(14)]
    pub in_flight_max: u32,
    /// The name of the exchange that takes what can't be delivered, in place of a queue.
    #[n(28)]
    pub dead_letter_exchange: Option<String>,
    /// The routing key with which it goes there; `None`: the one that it was published with, or
    /// the name of this queue where it was sent to it.
    #[n(29)]
    pub dead_letter_routing_key: Option<String>,
    /// A message that was stored longer ago is dropped, never dead-lettered, wherever it waits;
    /// one that a consumer has is dropped when it comes back. Milliseconds up to 10 years, -1 =
    /// never.
    #[cbor(n(15), with = "crate::codec::unlimited", has_nil)]
    pub retention_ms: i64,
    /// How deliveries are divided between priorities.
    #[cbor(n(16), with = "crate::codec::unset", has_nil)]
    pub priority_order: PriorityOrder,
    /// In a queue that isn't FIFO: of messages that say a group, those come first whose group has
    /// the fewest in flight.
    #[cbor(n(17), with = "crate::codec::unset", has_nil)]
    pub fair_groups: bool,
    /// What becomes of a failed delivery whose consumer says a class of errors, by the class; at
    /// most 16. Other failures follow `backoff`.
    #[cbor(n(18), with = "crate::codec::unset", has_nil)]
    pub backoff_classes: BTreeMap<String, Retry>,
    /// Only one consumer at a time gets messages; the others wait until it has gone.
    #[cbor(n(20), skip_if = "is_default")]
    pub single_active_consumer: bool,
    /// A consumer without a stream that has no lease, and has not asked for so long, has gone;
    /// milliseconds, 100 to 7 days; `None` = 30,000.
    #[n(21)]
    pub consumer_timeout_ms: Option<i64>,
    /// The queue belongs to the first consumer that comes, and is deleted when that has gone.
    #[cbor(n(22), skip_if = "is_default")]
    pub exclusive: bool,
    /// The queue is deleted when its last consumer has gone.
    #[cbor(n(23), skip_if = "is_default")]
    pub auto_delete: bool,
    /// The queue is deleted when it has had no consumer, and was not declared, for so long;
    /// milliseconds, 1,000 to 10 years; `None` = never.
    #[n(24)]
    pub expires_ms: Option<i64>,
    /// When delivery pauses because most of it fails; `None` = never.
    #[n(25)]
    pub breaker: Option<Breaker>,
}

/// How deliveries are divided between priorities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub enum PriorityOrder {
    /// A lower priority waits as long as there is something of a higher one.
    #[default]
    #[n(0)]
    Strict,
    /// Priority p has p + 1 shares of the deliveries, among the priorities of which something
    /// waits.
    #[n(1)]
    Weighted,
}

/// A consumer that is silent has gone after so long, where the queue doesn't say.
const CONSUMER_TIMEOUT_MS: i64 = 30_000;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happens to a message that finds its queue full. Where consumers have all that there may be,
/// it is refused whatever is chosen here: what is leased isn't dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Overflow {
    /// It is refused.
    #[n(0)]
    Reject,
    /// Another one is dropped for it: of those that wait, the oldest of the lowest priority; where
    /// none waits, the one that is scheduled for the earliest time.
    #[n(1)]
    DropHead,
    /// The same one is moved to the dead-letter queue for it.
    #[n(2)]
    DeadLetterHead,
}

/// How repeated sends are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Deduplication {
    /// Only where a message says an id.
    #[n(0)]
    Explicit,
    /// Where a message says no id, its body is its id.
    #[n(1)]
    Content,
}

/// Which of the two counters of a message bounds its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Counter {
    /// Every delivery counts.
    #[n(0)]
    Acquired,
    /// Only failures do: a rejection, a release as failed, a lease that ended by itself.
    #[n(1)]
    Failed,
}

/// How long a message waits after its n-th failure:
/// `min(max, base * factor^(n - 1 + first_exponent)) * (1 ± jitter)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Backoff {
    /// Milliseconds, up to 7 days; 0 = it doesn't wait.
    #[n(0)]
    pub base_ms: i64,
    /// In thousandths, 1,000 to 100,000; 0 is 1,000.
    #[n(1)]
    pub factor_milli: u32,
    /// Up to 64.
    #[n(2)]
    pub first_exponent: u8,
    /// Milliseconds, up to 7 days; 0 = 7 days.
    #[n(3)]
    pub max_ms: i64,
    /// In thousandths, up to 1,000.
    #[n(4)]
    pub jitter_milli: u16,
}

impl Backoff {
    pub(super) fn validate(&self, name: &str) -> Result<(), Rejection> {
        let Self { base_ms, factor_milli, first_exponent, max_ms, jitter_milli } = *self;
        within(&format!("{name}.base_ms"), base_ms, 0, SPAN_MS_MAX)?;
        if factor_milli != 0 {
            let factor = i64::from(factor_milli);
            within(&format!("{name}.factor_milli"), factor, 1_000, i64::from(FACTOR_MAX))?;
        }
        within(&format!("{name}.first_exponent"), i64::from(first_exponent), 0, 64)?;
        within(&format!("{name}.max_ms"), max_ms, 0, SPAN_MS_MAX)?;
        within(&format!("{name}.jitter_milli"), i64::from(jitter_milli), 0, i64::from(JITTER_MAX))
    }

    /// How long to wait after failure `failed` (from 1). `seed` decides the jitter, so that every
    /// replica comes to the same.
    pub(super) fn delay_ms(&self, failed: u32, seed: u64) -> i64 {
        if self.base_ms <= 0 {
            return 0;
        }
        let max = if self.max_ms > 0 { self.max_ms } else { SPAN_MS_MAX };
        let factor = i128::from(self.factor_milli.max(1_000));
        let mut delay = i128::from(self.base_ms);
        let exponent = failed.saturating_sub(1).saturating_add(u32::from(self.first_exponent));
        for _ in 0..exponent {
            if delay >= i128::from(max) || factor == 1_000 {
                break;
            }
            delay = delay * factor / 1_000;
        }
        let delay = delay.min(i128::from(max));
        // A number that looks random, from 0 to 2,000.
        let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let spread = i128::from(mixed % 2_001) - 1_000;
        let jitter = delay * spread * i128::from(self.jitter_milli) / 1_000_000;
        i64::try_from(delay + jitter).expect("at most twice the longest delay")
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            lease_ms: 30_000,
            delay_ms: 0,
            time_to_live_ms: UNLIMITED,
            length_max: UNLIMITED,
            bytes_max: UNLIMITED,
            overflow: Overflow::Reject,
            priority_max: 0,
            fifo: false,
            deduplication: Deduplication::Explicit,
            deduplication_window_ms: 300_000,
            attempts_max: 0,
            attempts_counted: Counter::Acquired,
            backoff: Backoff::default(),
            dead_letter: None,
            in_flight_max: 100_000,
            dead_letter_exchange: None,
            dead_letter_routing_key: None,
            retention_ms: UNLIMITED,
            priority_order: PriorityOrder::Strict,
            fair_groups: false,
            backoff_classes: BTreeMap::new(),
            single_active_consumer: false,
            consumer_timeout_ms: None,
            exclusive: false,
            auto_delete: false,
            expires_ms: None,
            breaker: None,
        }
    }
}

impl QueueSettings {
    /// After how many milliseconds a silent consumer has gone.
    pub fn consumer_timeout_ms(&self) -> i64 {
        self.consumer_timeout_ms.unwrap_or(CONSUMER_TIMEOUT_MS)
    }

    /// The breaker, if it can open.
    pub fn breaker(&self) -> Option<Breaker> {
        self.breaker.filter(|breaker| breaker.failure_milli > 0)
    }

    /// Whether the queue may be deleted by itself.
    pub fn is_transient(&self) -> bool {
        self.exclusive || self.auto_delete || self.expires_ms.is_some()
    }

    /// Checks every setting, and that they don't contradict each other.
    ///
    /// # Errors
    /// [`Rejection::InvalidArgument`] names the first one that is wrong.
    pub fn validate(&self) -> Result<(), Rejection> {
        within("lease_ms", self.lease_ms, 1, SPAN_MS_MAX)?;
        within("delay_ms", self.delay_ms, 0, SPAN_MS_MAX)?;
        or_unlimited("time_to_live_ms", self.time_to_live_ms, HORIZON_MS_MAX)?;
        or_unlimited("length_max", self.length_max, i64::MAX)?;
        or_unlimited("bytes_max", self.bytes_max, i64::MAX)?;
        within("deduplication_window_ms", self.deduplication_window_ms, 1, WINDOW_MS_MAX)?;
        within("in_flight_max", i64::from(self.in_flight_max), 1, i64::from(IN_FLIGHT_MAX))?;
        self.backoff.validate("backoff")?;
        classes::validate(&self.backoff_classes)?;
        or_unlimited("retention_ms", self.retention_ms, HORIZON_MS_MAX)?;
        let spans =
            [("retention_ms", self.retention_ms), ("time_to_live_ms", self.time_to_live_ms)];
        for (name, span) in spans {
            if span != UNLIMITED && self.delay_ms >= span {
                let expected = format!("less than {name}, which is {span}");
                return Err(Rejection::invalid("delay_ms", self.delay_ms, &expected));
            }
        }
        if self.fifo && self.fair_groups {
            let expected = "false: a FIFO queue delivers its groups in order, one by one";
            return Err(Rejection::invalid("fair_groups", "true in a FIFO queue", expected));
        }
        within("consumer_timeout_ms", self.consumer_timeout_ms(), 100, SPAN_MS_MAX)?;
        within("expires_ms", self.expires_ms.unwrap_or(1_000), 1_000, HORIZON_MS_MAX)?;
        self.breaker.unwrap_or_default().validate()?;
        if self.fifo && self.priority_max > 0 {
            let value = format!("{} in a FIFO queue", self.priority_max);
            let expected = "0: a priority would change the order that a FIFO queue keeps";
            return Err(Rejection::invalid("priority_max", value, expected));
        }
        self.validate_dead_letter()
    }

    fn validate_dead_letter(&self) -> Result<(), Rejection> {
        if let Some(name) = &self.dead_letter {
            validate_name(name)?;
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            if self.dead_letter.is_some() {
                let expected = "nothing where dead_letter names a queue: name one of the two";
                return Err(Rejection::invalid("dead_letter_exchange", exchange, expected));
            }
            if exchange.is_empty() {
                let expected = "the name of an exchange; for a queue use dead_letter";
                return Err(Rejection::invalid("dead_letter_exchange", "empty", expected));
            }
            check_text("dead_letter_exchange", exchange)?;
        }
        if let Some(key) = &self.dead_letter_routing_key {
            if self.dead_letter_exchange.is_none() {
                let expected = "nothing without dead_letter_exchange";
                return Err(Rejection::invalid("dead_letter_routing_key", key, expected));
            }
            check_text("dead_letter_routing_key", key)?;
        }
        if self.overflow == Overflow::DeadLetterHead && !self.has_dead_letter() {
            let expected = "another policy, or a name in dead_letter or dead_letter_exchange";
            return Err(Rejection::invalid("overflow", "dead-letter-head", expected));
        }
        Ok(())
    }

    /// Whether what can't be delivered goes anywhere.
    pub fn has_dead_letter(&self) -> bool {
        self.dead_letter.is_some() || self.dead_letter_exchange.is_some()
    }

    /// Whether `changed` can take the place of these settings on a queue that is in use.
    ///
    /// # Errors
    /// [`Rejection::InvalidArgument`] names the setting that can't be changed.
    pub fn validate_change(&self, changed: &Self) -> Result<(), Rejection> {
        changed.validate()?;
        if self.fifo != changed.fifo {
            let expected = format!("{}: make another queue for another order", self.fifo);
            return Err(Rejection::invalid("fifo", changed.fifo, &expected));
        }
        if self.exclusive != changed.exclusive {
            let expected = format!("{}: make another queue for others", self.exclusive);
            return Err(Rejection::invalid("exclusive", changed.exclusive, &expected));
        }
        if changed.priority_max < self.priority_max {
            let expected = format!("at least {}: messages may have it already", self.priority_max);
            return Err(Rejection::invalid("priority_max", changed.priority_max, &expected));
        }
        Ok(())
    }
}

pub(super) fn within(field: &str, value: i64, min: i64, max: i64) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::invalid(field, value, &format!("{min} to {max}")))
    }
}

fn or_unlimited(field: &str, value: i64, max: i64) -> Result<(), Rejection> {
    if value == UNLIMITED || (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::invalid(field, value, &format!("1 to {max}, or -1 for no limit")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_grows_to_its_maximum() {
        let backoff =
            Backoff { base_ms: 100, factor_milli: 2_000, max_ms: 1_000, ..Backoff::default() };
        let delays: Vec<i64> = (1..=6).map(|failed| backoff.delay_ms(failed, 7)).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        let shifted = Backoff { first_exponent: 2, ..backoff };
        assert_eq!(shifted.delay_ms(1, 7), 400);
        assert_eq!(Backoff::default().delay_ms(9, 7), 0);
        assert_eq!(backoff.delay_ms(u32::MAX, 7), 1_000);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let backoff = Backoff { base_ms: 10_000, jitter_milli: 200, ..Backoff::default() };
        let delays: Vec<i64> = (0..500).map(|seed| backoff.delay_ms(1, seed * 977)).collect();
        assert!(delays.iter().all(|delay| (8_000..=12_000).contains(delay)), "{delays:?}");
        assert!(delays.iter().min() < Some(&9_000) && delays.iter().max() > Some(&11_000));
    }

    #[test]
    fn jitter_spreads_delays_of_less_than_a_second_and_parts_of_a_second() {
        for base_ms in [900, 1_999] {
            let backoff = Backoff { base_ms, jitter_milli: 500, ..Backoff::default() };
            let delays: Vec<i64> = (0..500).map(|seed| backoff.delay_ms(1, seed * 977)).collect();
            let (least, most) = (base_ms / 2, base_ms * 3 / 2);
            assert!(delays.iter().all(|delay| (least..=most + 1).contains(delay)), "{delays:?}");
            let tenth = base_ms / 10;
            assert!(delays.iter().any(|delay| *delay < least + tenth), "{base_ms}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay > most - tenth), "{base_ms}: {delays:?}");
        }
        let longest = Backoff { base_ms: SPAN_MS_MAX, jitter_milli: 1_000, ..Backoff::default() };
        assert!((0..500).all(|seed| longest.delay_ms(1, seed) <= 2 * SPAN_MS_MAX));
    }

    #[test]
    fn contradictions_are_refused() {
        let fifo = QueueSettings { fifo: true, priority_max: 3, ..QueueSettings::default() };
        let said = fifo.validate().unwrap_err().to_string();
        assert!(said.contains("priority_max is 3 in a FIFO queue"), "{said}");
        let head = QueueSettings { overflow: Overflow::DeadLetterHead, ..QueueSettings::default() };
        assert!(head.validate().unwrap_err().to_string().contains("dead_letter"));
        let fair = QueueSettings { fifo: true, fair_groups: true, ..QueueSettings::default() };
        let said = fair.validate().unwrap_err().to_string();
        assert!(said.contains("fair_groups is true in a FIFO queue"), "{said}");
        let late =
            QueueSettings { delay_ms: 1_000, retention_ms: 1_000, ..QueueSettings::default() };
        let said = late.validate().unwrap_err().to_string();
        assert!(said.contains("delay_ms is 1000, expected less than retention_ms"), "{said}");
        let late =
            QueueSettings { delay_ms: 2_000, time_to_live_ms: 1_000, ..QueueSettings::default() };
        let said = late.validate().unwrap_err().to_string();
        let expected = "delay_ms is 2000, expected less than time_to_live_ms, which is 1000";
        assert!(said.contains(expected), "{said}");
        assert_eq!(QueueSettings { delay_ms: 999, ..late }.validate(), Ok(()));
        let none = QueueSettings { lease_ms: 0, ..QueueSettings::default() };
        assert!(none.validate().unwrap_err().to_string().contains("lease_ms is 0, expected 1 to"));
        assert_eq!(QueueSettings::default().validate(), Ok(()));
        let dead_letter_exchange = Some("dead".to_owned());
        let exchange = QueueSettings { dead_letter_exchange, ..QueueSettings::default() };
        assert_eq!(exchange.validate(), Ok(()));
        let both = QueueSettings { dead_letter: Some("dead".to_owned()), ..exchange.clone() };
        assert!(both.validate().unwrap_err().to_string().contains("name one of the two"));
        let dead_letter_routing_key = Some("k".to_owned());
        let key = QueueSettings { dead_letter_routing_key, ..QueueSettings::default() };
        assert!(key.validate().unwrap_err().to_string().contains("dead_letter_routing_key is k"));
        let overflow = Overflow::DeadLetterHead;
        assert_eq!(QueueSettings { overflow, ..exchange }.validate(), Ok(()));
    }

    #[test]
    fn what_consumers_may_is_bounded() {
        let refused = |settings: QueueSettings| settings.validate().unwrap_err().to_string();
        let base = QueueSettings::default;
        let said = refused(QueueSettings { consumer_timeout_ms: Some(99), ..base() });
        assert!(said.contains("consumer_timeout_ms is 99, expected 100 to"), "{said}");
        let said = refused(QueueSettings { expires_ms: Some(0), ..base() });
        assert!(said.contains("expires_ms is 0, expected 1000 to"), "{said}");
        let breaker = Breaker { failure_milli: 1_001, ..Breaker::default() };
        let said = refused(QueueSettings { breaker: Some(breaker), ..base() });
        assert!(said.contains("1001, expected 0 to 1000"), "{said}");
        let exclusive = QueueSettings { exclusive: true, ..base() };
        let said = base().validate_change(&exclusive).unwrap_err().to_string();
        assert!(said.contains("exclusive is true, expected false"), "{said}");
        assert_eq!(QueueSettings { breaker: Some(Breaker::default()), ..base() }.breaker(), None);
    }

    #[test]
    fn settings_of_earlier_releases_are_read_and_defaults_cost_no_bytes() {
        let bytes = crate::codec::encode(1, &QueueSettings::default());
        // A list of 15, as before there were more.
        assert_eq!(bytes[1], 0x8f, "{bytes:?}");
        let decoded: QueueSettings = crate::codec::decode(1, &bytes).unwrap();
        assert_eq!(decoded, QueueSettings::default());
        let all = QueueSettings {
            single_active_consumer: true,
            auto_delete: true,
            expires_ms: Some(60_000),
            breaker: Some(Breaker { failure_milli: 500, ..Breaker::default() }),
            ..QueueSettings::default()
        };
        let bytes = crate::codec::encode(1, &all);
        assert_eq!(crate::codec::decode(1, &bytes), Ok(all));
    }
}
