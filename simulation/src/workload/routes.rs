//! What exchanges there are, and where each of them leads a message: what the bindings say.

use super::{FAILED, FAILED_EXCHANGE, FAILING, ROUTED, SPARED};
use crate::history::Bound;

/// By patterns over the routing key.
pub(super) const BY_TOPIC: &str = "by-topic";
/// All of it.
pub(super) const TO_SOME: &str = "to-some";
/// By the routing key itself; what is bound nowhere goes to [`SPARE`].
pub(super) const BY_KEY: &str = "by-key";
/// All that others don't want.
pub(super) const SPARE: &str = "spare";
/// By the headers [`KIND`] and [`TINT`].
pub(super) const BY_HEADER: &str = "by-header";
/// One of the first two of [`ROUTED`], by the routing key.
pub(super) const BY_HASH: &str = "by-hash";
/// A header with the routing key in it.
pub(super) const KIND: &str = "kind";
/// A header of some messages.
pub(super) const TINT: &str = "tint";
/// Which it wants.
pub(super) const SIFTED: &str = "headers.kind == 'sift-yes'";

/// What is published, by exchange and routing key.
pub(super) const PUBLISHED: [(&str, &str); 25] = [
    (BY_TOPIC, "a.x"),
    (BY_TOPIC, "x.b"),
    (BY_TOPIC, "a.b"),
    (BY_TOPIC, "c.copy"),
    (BY_TOPIC, "a.copy"),
    (BY_TOPIC, "fail.x"),
    (BY_TOPIC, "fail.y"),
    (BY_TOPIC, "nobody.x"),
    (TO_SOME, "a.x"),
    (TO_SOME, "nobody.x"),
    (BY_KEY, "one"),
    (BY_KEY, "sift-yes"),
    (BY_KEY, "sift-no"),
    (BY_KEY, "nobody"),
    (BY_HEADER, "red"),
    (BY_HEADER, "blue"),
    (BY_HEADER, "green"),
    (BY_HEADER, "grey"),
    (BY_HASH, "h0"),
    (BY_HASH, "h1"),
    (BY_HASH, "h2"),
    (BY_HASH, "h3"),
    (BY_HASH, "h4"),
    (BY_HASH, "h5"),
    (SPARE, "spare"),
];

/// The value of the header [`TINT`] in messages with a routing key.
pub(super) fn tint(key: &str) -> &'static str {
    if key == "green" { "deep" } else { "pale" }
}

/// Where a message goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// All of these queues.
    pub all: &'static [&'static str],
    /// And one of these, always the same for the same key.
    pub one: &'static [&'static str],
    /// And where a binding leads that comes and goes.
    pub moving: Option<Moving>,
}

/// A binding that comes and goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The binding.
    pub binding: Bound,
    /// The queue that it leads to.
    pub queue: &'static str,
    /// The queues that get what it does not lead on.
    pub without: &'static [&'static str],
}

/// The keys of what the binding of a number leads on, begin so.
const MOVING: &str = "moving";

/// The bindings of a number, with a routing key that each of them leads on.
pub(super) fn moving(number: u64) -> [(Bound, String); 2] {
    let bound = |exchange: &str, key: String, queue: &str| Bound {
        exchange: exchange.to_owned(),
        key,
        queue: queue.to_owned(),
    };
    let words = format!("{MOVING}.{number}");
    let (pattern, matches) = (format!("{words}.#"), format!("{words}.b"));
    let key = format!("{MOVING}-{number}");
    [(bound(BY_TOPIC, pattern, ROUTED[2]), matches), (bound(BY_KEY, key.clone(), ROUTED[1]), key)]
}

/// Where a message goes, by exchange and routing key.
#[must_use]
pub fn route(exchange: &str, key: &str) -> Route {
    const ALL: [&str; 3] = ROUTED;
    const FORMER: [&str; 2] = [ROUTED[0], ROUTED[1]];
    const LATTER: [&str; 2] = [ROUTED[1], ROUTED[2]];
    let all: &'static [&'static str] = match (exchange, key) {
        (TO_SOME, _) | (BY_TOPIC, "c.copy") => &LATTER,
        (BY_TOPIC, "a.x") | (BY_KEY, "one") | (BY_HEADER, "red") => &[ROUTED[0]],
        (BY_TOPIC, "x.b") | (BY_HEADER, "blue" | "green") => &[ROUTED[1]],
        (BY_TOPIC, "a.b") => &FORMER,
        (BY_TOPIC, "a.copy") => &ALL,
        (BY_TOPIC, "fail.x" | "fail.y") => &[FAILING],
        (BY_KEY, "sift-yes") => &[ROUTED[2]],
        (BY_KEY, "sift-no" | "nobody") | (SPARE, _) => &[SPARED],
        _ => &[],
    };
    if exchange == BY_HASH {
        return Route { one: &FORMER, ..Route::default() };
    }
    let number = key.strip_prefix(MOVING).and_then(|rest| rest.get(1..));
    let number = number.and_then(|rest| rest.split('.').next()?.parse().ok());
    let Some(number) = number else { return Route { all, ..Route::default() } };
    let [by_topic, by_key] = moving(number);
    if exchange == BY_TOPIC {
        let moving = Moving { binding: by_topic.0, queue: ROUTED[2], without: &[] };
        // Another one leads on all that ends so.
        Route { all: &[ROUTED[1]], moving: Some(moving), ..Route::default() }
    } else {
        let moving = Moving { binding: by_key.0, queue: ROUTED[1], without: &[SPARED] };
        Route { moving: Some(moving), ..Route::default() }
    }
}

/// A binding that stays.
pub(super) struct Fixed {
    pub(super) exchange: &'static str,
    pub(super) key: &'static str,
    pub(super) queue: &'static str,
    pub(super) arguments: &'static [(&'static str, &'static str)],
    pub(super) filter: Option<&'static str>,
}

const fn fixed(exchange: &'static str, key: &'static str, queue: &'static str) -> Fixed {
    Fixed { exchange, key, queue, arguments: &[], filter: None }
}

/// The bindings to queues that stay.
pub(super) const FIXED: [Fixed; 16] = [
    fixed(BY_TOPIC, "a.*", ROUTED[0]),
    fixed(BY_TOPIC, "#.b", ROUTED[1]),
    fixed(BY_TOPIC, "fail.#", FAILING),
    fixed(TO_SOME, "", ROUTED[1]),
    fixed(TO_SOME, "", ROUTED[2]),
    fixed(FAILED_EXCHANGE, "", FAILED[0]),
    fixed(FAILED_EXCHANGE, "", FAILED[1]),
    fixed(BY_KEY, "one", ROUTED[0]),
    Fixed { filter: Some(SIFTED), ..fixed(BY_KEY, "sift-yes", ROUTED[2]) },
    Fixed { filter: Some(SIFTED), ..fixed(BY_KEY, "sift-no", ROUTED[2]) },
    fixed(SPARE, "", SPARED),
    Fixed {
        arguments: &[("x-match", "all"), (KIND, "red"), (TINT, "pale")],
        ..fixed(BY_HEADER, "", ROUTED[0])
    },
    Fixed {
        arguments: &[("x-match", "any"), (KIND, "blue"), (TINT, "deep")],
        ..fixed(BY_HEADER, "", ROUTED[1])
    },
    Fixed {
        arguments: &[("x-match", "all"), (KIND, "red"), (TINT, "deep")],
        ..fixed(BY_HEADER, "", ROUTED[2])
    },
    fixed(BY_HASH, "1", ROUTED[0]),
    fixed(BY_HASH, "2", ROUTED[1]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_binding_is_known_by_what_it_leads_on() {
        let [(by_topic, matches), (by_key, key)] = moving(17);
        let found = route(BY_TOPIC, &matches);
        assert_eq!(found.all, [ROUTED[1]], "another binding leads it on as well");
        assert_eq!(found.moving.map(|moving| moving.binding), Some(by_topic));
        let found = route(BY_KEY, &key).moving.unwrap();
        assert_eq!((found.binding, found.queue, found.without), (by_key, ROUTED[1], &[SPARED][..]));
    }

    #[test]
    fn what_is_published_is_known() {
        for (exchange, key) in PUBLISHED {
            let Route { all, one, moving } = route(exchange, key);
            let nowhere = ["nobody.x", "grey"].contains(&key) && exchange != TO_SOME;
            assert_eq!(all.is_empty() && one.is_empty(), nowhere, "{exchange} {key}");
            assert_eq!(moving, None);
        }
    }
}
