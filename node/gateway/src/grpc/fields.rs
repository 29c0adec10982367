//! Checks of fields that many requests have; what fails names the field.

use std::fmt::Display;
use std::str::FromStr;

use kontiki_broker::options::bounds;
use kontiki_broker::{Error, Routing};
use kontiki_proto::v1;
use kontiki_storage::id::NodeId;

/// Enum values are looked for up to this number when the known ones are listed.
const ENUM_VALUES: i32 = 32;

/// Partitions, queries or targets: not none, not too many.
pub(super) fn count(field: &str, count: usize) -> Result<(), Error> {
    if (1..=bounds::PARTITIONS_MAX).contains(&count) {
        return Ok(());
    }
    let expected = format!("1 to {}", bounds::PARTITIONS_MAX);
    Err(Error::invalid(&format!("the number of {field}"), count, &expected))
}

/// A text that has to be there.
pub(super) fn present(field: impl Display, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::invalid(&field.to_string(), "empty", "a name or address"));
    }
    Ok(())
}

/// The value of an enum; `name` is its name in the contract.
pub(super) fn known<E: TryFrom<i32>>(
    field: impl Display,
    value: i32,
    name: impl Fn(&E) -> &'static str,
) -> Result<E, Error> {
    E::try_from(value).map_err(|_| {
        let known = (0..ENUM_VALUES).filter_map(|number| {
            let value = E::try_from(number).ok()?;
            Some(format!("{} ({number})", name(&value)))
        });
        let expected = format!("one of {}", known.collect::<Vec<_>>().join(", "));
        Error::invalid(&field.to_string(), value, &expected)
    })
}

/// Whether a request is forwarded.
pub(super) fn routing(value: i32) -> Result<Routing, Error> {
    Ok(match known("routing", value, v1::Routing::as_str_name)? {
        v1::Routing::Forward => Routing::Forward,
        v1::Routing::LeaderOnly => Routing::LeaderOnly,
    })
}

/// A number that has to fit what it is stored in.
pub(super) fn fits<T, U>(field: impl Display, value: T, max: U) -> Result<U, Error>
where
    T: TryInto<U> + Display + Copy,
    U: Display + PartialOrd,
{
    let expected = || Error::invalid(&field.to_string(), value, &format!("0 to {max}"));
    let fitting = value.try_into().map_err(|_| expected())?;
    if fitting > max { Err(expected()) } else { Ok(fitting) }
}

/// A node's number; 0 is none.
pub(super) fn node(field: &str, node: u32) -> Result<NodeId, Error> {
    if node == 0 {
        return Err(Error::invalid(field, node, "the number of a node, from 1"));
    }
    Ok(NodeId(node))
}

/// A `host:port`.
pub(super) fn address(field: &str, address: &str) -> Result<(), Error> {
    let parts = address.rsplit_once(':');
    if parts.is_some_and(|(host, port)| !host.is_empty() && u16::from_str(port).is_ok()) {
        return Ok(());
    }
    let shown = if address.is_empty() { "empty" } else { address };
    Err(Error::invalid(field, shown, "host:port"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_broker::{Code, Kind};

    #[test]
    fn counts_are_bounded() {
        assert_eq!(count("queries", 1), Ok(()));
        assert_eq!(count("queries", 1_024), Ok(()));
        for wrong in [0, 1_025] {
            let error = count("queries", wrong).expect_err("out of bounds");
            assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
            assert!(error.detail.contains("queries is"), "{error}");
        }
    }

    #[test]
    fn an_unknown_enum_value_lists_the_known_ones() {
        assert_eq!(routing(1), Ok(Routing::LeaderOnly));
        let error = routing(7).expect_err("there is no 7");
        let expected = "routing is 7, expected one of ROUTING_FORWARD (0), ROUTING_LEADER_ONLY (1)";
        assert!(error.detail.starts_with(expected), "{error}");
        assert!(routing(-1).is_err());
    }

    #[test]
    fn numbers_have_to_fit() {
        assert_eq!(fits("epoch", 32_767_u32, i16::MAX), Ok(32_767_i16));
        assert!(fits("epoch", 32_768_u32, i16::MAX).is_err());
        assert!(fits("timeout_ms", 300_001_u32, 300_000_u32).is_err());
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(address("peer_address", "a:7401").is_ok());
        assert!(address("peer_address", "[::1]:7401").is_ok());
        for wrong in ["", "a", "a:", ":7401", "a:99999", "a:b"] {
            assert!(address("peer_address", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nodes_count_from_1() {
        assert_eq!(node("to_node", 1), Ok(NodeId(1)));
        assert!(node("to_node", 0).is_err());
    }
}
