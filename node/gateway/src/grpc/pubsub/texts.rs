//! Patterns and starts, between the contract and the broker.

use kontiki_broker::Error;
use kontiki_broker::subscriptions::{PatternSyntax, PositionAt, Start};
use kontiki_proto::v1;
use v1::start_at::At;

use crate::grpc::fields;

pub(super) fn syntax(value: i32) -> Result<PatternSyntax, Error> {
    Ok(match fields::known("syntax", value, v1::PatternSyntax::as_str_name)? {
        v1::PatternSyntax::Nats => PatternSyntax::Nats,
        v1::PatternSyntax::Amqp => PatternSyntax::Amqp,
    })
}

pub(super) fn shown_syntax(syntax: PatternSyntax) -> i32 {
    let shown = match syntax {
        PatternSyntax::Nats => v1::PatternSyntax::Nats,
        PatternSyntax::Amqp => v1::PatternSyntax::Amqp,
    };
    shown.into()
}

pub(super) fn start(from: Option<v1::StartAt>) -> Result<Option<Start>, Error> {
    let Some(v1::StartAt { at }) = from else { return Ok(None) };
    match at {
        Some(At::Earliest(true)) => Ok(Some(Start::Earliest)),
        Some(At::Latest(true)) => Ok(Some(Start::Latest)),
        Some(At::TimestampMs(ms)) => Ok(Some(Start::Timestamp(ms))),
        Some(At::Earliest(false) | At::Latest(false)) | None => {
            let expected = "earliest = true, latest = true or timestamp_ms";
            Err(Error::invalid("from", "empty", expected))
        }
    }
}

pub(super) fn shown_start(start: Start) -> v1::StartAt {
    let at = match start {
        Start::Earliest => At::Earliest(true),
        Start::Latest => At::Latest(true),
        Start::Timestamp(ms) => At::TimestampMs(ms),
    };
    v1::StartAt { at: Some(at) }
}

pub(super) fn position(position: v1::SubscriptionPosition) -> PositionAt {
    let v1::SubscriptionPosition { topic, partition, offset } = position;
    PositionAt { topic: topic.into(), partition, offset }
}

pub(super) fn shown_position(position: PositionAt) -> v1::SubscriptionPosition {
    let PositionAt { topic, partition, offset } = position;
    v1::SubscriptionPosition { topic: topic.to_string(), partition, offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_said() {
        for one in [Start::Earliest, Start::Latest, Start::Timestamp(-7)] {
            assert_eq!(start(Some(shown_start(one))), Ok(Some(one)));
        }
        for one in [PatternSyntax::Nats, PatternSyntax::Amqp] {
            assert_eq!(syntax(shown_syntax(one)), Ok(one));
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        assert!(start(Some(v1::StartAt { at: None })).is_err());
        assert!(start(Some(v1::StartAt { at: Some(At::Earliest(false)) })).is_err());
        assert!(syntax(7).is_err());
    }
}
