//! Settings of queues as texts: what a client writes, what it is shown, and what it is told when a
//! value can't be.

use std::collections::BTreeMap;

use kontiki_domain::queue::{
    Backoff, Breaker, Counter, Deduplication, Overflow, PriorityOrder, QueueSettings,
};
use kontiki_domain::settings::UNLIMITED;

use super::classes;
use crate::error::Error;

/// Every name, in the order in which they are shown.
const NAMES: [&str; 34] = [
    "attempts_counted",
    "attempts_max",
    "auto_delete",
    "backoff_base_ms",
    "backoff_factor",
    "backoff_first_exponent",
    "backoff_jitter",
    "backoff_max_ms",
    "breaker_failure_rate",
    "breaker_half_open_probes",
    "breaker_min_attempts",
    "breaker_open_ms",
    "breaker_window_ms",
    "bytes_max",
    "consumer_timeout_ms",
    "dead_letter",
    "dead_letter_exchange",
    "dead_letter_routing_key",
    "deduplication",
    "deduplication_window_ms",
    "delay_ms",
    "exclusive",
    "expires_ms",
    "fair_groups",
    "fifo",
    "in_flight_max",
    "lease_ms",
    "length_max",
    "overflow",
    "priority_max",
    "priority_order",
    "retention_ms",
    "single_active_consumer",
    "time_to_live_ms",
];

const OVERFLOW: [(&str, Overflow); 3] = [
    ("reject", Overflow::Reject),
    ("drop-head", Overflow::DropHead),
    ("dead-letter-head", Overflow::DeadLetterHead),
];
const DEDUPLICATION: [(&str, Deduplication); 2] =
    [("explicit", Deduplication::Explicit), ("content", Deduplication::Content)];
const BOOL: [(&str, bool); 2] = [("false", false), ("true", true)];
const COUNTED: [(&str, Counter); 2] =
    [("deliveries", Counter::Acquired), ("failures", Counter::Failed)];

const ORDER: [(&str, PriorityOrder); 2] =
    [("strict", PriorityOrder::Strict), ("weighted", PriorityOrder::Weighted)];

/// Characters of a value that an error repeats.
const SHOWN_MAX: usize = 64;

/// Whether it is the name of a setting of queues.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with(classes::PREFIX)
}

/// Sets one setting. `None`: back to its default.
///
/// # Errors
/// It can't have that value, and what it may be.
pub(super) fn set(
    settings: &mut QueueSettings,
    name: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    if let Some(class) = name.strip_prefix(classes::PREFIX) {
        return classes::set(settings, name, class, value.unwrap_or_default());
    }
    let default = show(&QueueSettings::default());
    let value = value.unwrap_or_else(|| default.get(name).map_or("", String::as_str));
    if set_life(settings, name, value)? {
        return Ok(());
    }
    let Backoff { base_ms, factor_milli, first_exponent, max_ms, jitter_milli } =
        &mut settings.backoff;
    match name {
        "attempts_counted" => settings.attempts_counted = word(name, value, &COUNTED)?,
        "attempts_max" => settings.attempts_max = number(name, value)?,
        "backoff_base_ms" => *base_ms = number(name, value)?,
        "backoff_factor" => *factor_milli = milli(name, value)?,
        "backoff_first_exponent" => *first_exponent = number(name, value)?,
        "backoff_jitter" => {
            let milli = milli(name, value)?;
            *jitter_milli = u16::try_from(milli).map_err(|_| wrong(name, value, "0 to 1"))?;
        }
        "backoff_max_ms" => *max_ms = number(name, value)?,
        "bytes_max" => settings.bytes_max = number(name, value)?,
        "dead_letter" => settings.dead_letter = named(value),
        "dead_letter_exchange" => settings.dead_letter_exchange = named(value),
        "dead_letter_routing_key" => settings.dead_letter_routing_key = named(value),
        "deduplication" => settings.deduplication = word(name, value, &DEDUPLICATION)?,
        "deduplication_window_ms" => settings.deduplication_window_ms = number(name, value)?,
        "delay_ms" => settings.delay_ms = number(name, value)?,
        "fair_groups" => settings.fair_groups = word(name, value, &BOOL)?,
        "fifo" => settings.fifo = word(name, value, &BOOL)?,
        "in_flight_max" => settings.in_flight_max = number(name, value)?,
        "lease_ms" => settings.lease_ms = number(name, value)?,
        "length_max" => settings.length_max = number(name, value)?,
        "overflow" => settings.overflow = word(name, value, &OVERFLOW)?,
        "priority_max" => settings.priority_max = number(name, value)?,
        "priority_order" => settings.priority_order = word(name, value, &ORDER)?,
        "retention_ms" => settings.retention_ms = number(name, value)?,
        "time_to_live_ms" => settings.time_to_live_ms = number(name, value)?,
        _ => {
            let expected = format!("one of {}, {}NAME", NAMES.join(", "), classes::PREFIX);
            return Err(Error::invalid("the name of a setting", shown(name), &expected));
        }
    }
    Ok(())
}

/// Sets what concerns consumers and the queue's own life; false: the name is another one.
fn set_life(settings: &mut QueueSettings, name: &str, value: &str) -> Result<bool, Error> {
    let mut breaker = settings.breaker.unwrap_or_default();
    match name {
        "auto_delete" => settings.auto_delete = word(name, value, &BOOL)?,
        "breaker_failure_rate" => {
            let milli = milli(name, value)?;
            breaker.failure_milli =
                u16::try_from(milli).map_err(|_| wrong(name, value, "0 to 1"))?;
        }
        "breaker_half_open_probes" => breaker.half_open_probes = number(name, value)?,
        "breaker_min_attempts" => breaker.min_attempts = number(name, value)?,
        "breaker_open_ms" => breaker.open_ms = number(name, value)?,
        "breaker_window_ms" => breaker.window_ms = number(name, value)?,
        "consumer_timeout_ms" => {
            let timeout_ms: i64 = number(name, value)?;
            let default = QueueSettings::default().consumer_timeout_ms();
            settings.consumer_timeout_ms = (timeout_ms != default).then_some(timeout_ms);
        }
        "exclusive" => settings.exclusive = word(name, value, &BOOL)?,
        "expires_ms" => {
            let expires_ms: i64 = number(name, value)?;
            settings.expires_ms = (expires_ms != UNLIMITED).then_some(expires_ms);
        }
        "single_active_consumer" => settings.single_active_consumer = word(name, value, &BOOL)?,
        _ => return Ok(false),
    }
    // What is as without one is none: settings that do the same are equal.
    settings.breaker = (breaker != Breaker::default()).then_some(breaker);
    Ok(true)
}

/// All settings by name.
pub(super) fn show(settings: &QueueSettings) -> BTreeMap<String, String> {
    let QueueSettings { backoff, .. } = settings;
    let breaker = settings.breaker.unwrap_or_default();
    let one = |name: &str| match name {
        "attempts_counted" => word_of(&COUNTED, settings.attempts_counted),
        "attempts_max" => settings.attempts_max.to_string(),
        "auto_delete" => settings.auto_delete.to_string(),
        "backoff_base_ms" => backoff.base_ms.to_string(),
        "backoff_factor" => show_milli(backoff.factor_milli.max(1_000)),
        "backoff_first_exponent" => backoff.first_exponent.to_string(),
        "backoff_jitter" => show_milli(backoff.jitter_milli.into()),
        "backoff_max_ms" => backoff.max_ms.to_string(),
        "breaker_failure_rate" => show_milli(breaker.failure_milli.into()),
        "breaker_half_open_probes" => breaker.half_open_probes.to_string(),
        "breaker_min_attempts" => breaker.min_attempts.to_string(),
        "breaker_open_ms" => breaker.open_ms.to_string(),
        "breaker_window_ms" => breaker.window_ms.to_string(),
        "bytes_max" => settings.bytes_max.to_string(),
        "consumer_timeout_ms" => settings.consumer_timeout_ms().to_string(),
        "dead_letter" => settings.dead_letter.clone().unwrap_or_default(),
        "dead_letter_exchange" => settings.dead_letter_exchange.clone().unwrap_or_default(),
        "dead_letter_routing_key" => settings.dead_letter_routing_key.clone().unwrap_or_default(),
        "deduplication" => word_of(&DEDUPLICATION, settings.deduplication),
        "deduplication_window_ms" => settings.deduplication_window_ms.to_string(),
        "delay_ms" => settings.delay_ms.to_string(),
        "fair_groups" => settings.fair_groups.to_string(),
        "exclusive" => settings.exclusive.to_string(),
        "expires_ms" => settings.expires_ms.unwrap_or(UNLIMITED).to_string(),
        "fifo" => settings.fifo.to_string(),
        "in_flight_max" => settings.in_flight_max.to_string(),
        "lease_ms" => settings.lease_ms.to_string(),
        "length_max" => settings.length_max.to_string(),
        "overflow" => word_of(&OVERFLOW, settings.overflow),
        "priority_max" => settings.priority_max.to_string(),
        "priority_order" => word_of(&ORDER, settings.priority_order),
        "retention_ms" => settings.retention_ms.to_string(),
        "single_active_consumer" => settings.single_active_consumer.to_string(),
        "time_to_live_ms" => settings.time_to_live_ms.to_string(),
        _ => unreachable!("a name that is not listed"),
    };
    let named = NAMES.iter().map(|name| ((*name).to_owned(), one(name)));
    named.chain(classes::show(settings)).collect()
}

/// Nothing is no name.
fn named(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

pub(super) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| wrong(name, value, "a whole number within its bounds"))
}

/// A number with up to three decimals, in thousandths.
pub(super) fn milli(name: &str, value: &str) -> Result<u32, Error> {
    let expected = "a number with at most three decimals, such as 1.5";
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = digits.then(|| format!("{whole}{rest:0<3}").parse::<u32>().ok()).flatten();
    parsed.filter(|_| !whole.is_empty()).ok_or_else(|| wrong(name, value, expected))
}

pub(super) fn show_milli(milli: u32) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn word<T: Copy>(name: &str, value: &str, words: &[(&str, T)]) -> Result<T, Error> {
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(name, value, &known.join(" or "))
    })
}

fn word_of<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map(|(word, _)| (*word).to_owned()).expect("every value has a word")
}

pub(super) fn wrong(name: &str, value: &str, expected: &str) -> Error {
    Error::invalid(&format!("setting {name}"), shown(value), expected)
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use kontiki_domain::queue::Retry;

    use super::*;

    #[test]
    fn what_is_shown_can_be_set() {
        let settings = QueueSettings {
            fifo: true,
            attempts_max: 7,
            attempts_counted: Counter::Failed,
            overflow: Overflow::DropHead,
            deduplication: Deduplication::Content,
            dead_letter: Some("dead".to_owned()),
            dead_letter_exchange: Some("letters".to_owned()),
            dead_letter_routing_key: Some("dead.letters".to_owned()),
            backoff: Backoff {
                base_ms: 10,
                factor_milli: 1_500,
                first_exponent: 2,
                max_ms: 1_000,
                jitter_milli: 250,
            },
            retention_ms: 345_600_000,
            priority_order: PriorityOrder::Weighted,
            fair_groups: true,
            backoff_classes: [("poison".to_owned(), Retry::Reject)].into(),
            single_active_consumer: true,
            consumer_timeout_ms: Some(5_000),
            auto_delete: true,
            exclusive: true,
            expires_ms: Some(60_000),
            breaker: Some(Breaker { failure_milli: 250, ..Breaker::default() }),
            ..QueueSettings::default()
        };
        let mut read = QueueSettings::default();
        for (name, value) in show(&settings) {
            set(&mut read, &name, Some(&value)).unwrap();
        }
        assert_eq!(read, settings);
        for name in NAMES.into_iter().chain(["backoff.class.poison"]) {
            set(&mut read, name, None).unwrap();
        }
        assert_eq!(show(&read), show(&QueueSettings::default()));
        let none = (read.breaker, read.consumer_timeout_ms, read.expires_ms);
        assert_eq!(none, (None, None, None), "what does the same is equal");
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_may_be() {
        let mut settings = QueueSettings::default();
        let mut refused = |name, value| set(&mut settings, name, Some(value)).unwrap_err().detail;
        assert!(refused("fifo", "yes").contains("setting fifo is \"yes\", expected false or true"));
        assert!(refused("backoff_factor", "1.2345").contains("three decimals"));
        assert!(refused("backoff_factor", ".5").contains("three decimals"));
        assert!(refused("lease_ms", "soon").contains("setting lease_ms"));
        assert!(refused("color", "red").contains("attempts_counted, attempts_max"));
    }
}
