//! Patterns, filters and starts, between the contract and the broker.

use kontiki_broker::Error;
use kontiki_broker::subscriptions::{FilterText, Language, PositionAt, Start, Syntax};
use kontiki_proto::v1;
use v1::content_filter::Filter;
use v1::start_at::At;

use crate::grpc::fields;

pub(super) fn syntax(value: i32) -> Result<Syntax, Error> {
    Ok(match fields::known("syntax", value, v1::PatternSyntax::as_str_name)? {
        v1::PatternSyntax::Nats => Syntax::Nats,
        v1::PatternSyntax::Amqp => Syntax::Amqp,
    })
}

pub(super) fn shown_syntax(syntax: Syntax) -> i32 {
    let shown = match syntax {
        Syntax::Nats => v1::PatternSyntax::Nats,
        Syntax::Amqp => v1::PatternSyntax::Amqp,
    };
    shown.into()
}

/// A filter that says nothing is an error: who leaves it out wants all records.
pub(super) fn filter(filter: Option<v1::ContentFilter>) -> Result<Option<FilterText>, Error> {
    let Some(v1::ContentFilter { filter }) = filter else { return Ok(None) };
    let (language, text) = match filter {
        Some(Filter::Cel(text)) => (Language::Cel, text),
        Some(Filter::PolicyOnHeaders(text)) => (Language::PolicyOnHeaders, text),
        Some(Filter::PolicyOnBody(text)) => (Language::PolicyOnBody, text),
        None => {
            let expected = "cel, policy_on_headers or policy_on_body; leave the filter out for all";
            return Err(Error::invalid("filter", "empty", expected));
        }
    };
    Ok(Some(FilterText { language, text }))
}

pub(super) fn shown_filter(filter: Option<FilterText>) -> Option<v1::ContentFilter> {
    let FilterText { language, text } = filter?;
    let filter = match language {
        Language::Cel => Filter::Cel(text),
        Language::PolicyOnHeaders => Filter::PolicyOnHeaders(text),
        Language::PolicyOnBody => Filter::PolicyOnBody(text),
    };
    Some(v1::ContentFilter { filter: Some(filter) })
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
        for one in [Language::Cel, Language::PolicyOnHeaders, Language::PolicyOnBody] {
            let text = FilterText { language: one, text: "{}".to_owned() };
            assert_eq!(filter(shown_filter(Some(text.clone()))), Ok(Some(text)));
        }
        assert_eq!(filter(None), Ok(None));
        for one in [Start::Earliest, Start::Latest, Start::Timestamp(-7)] {
            assert_eq!(start(Some(shown_start(one))), Ok(Some(one)));
        }
        for one in [Syntax::Nats, Syntax::Amqp] {
            assert_eq!(syntax(shown_syntax(one)), Ok(one));
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        assert!(filter(Some(v1::ContentFilter { filter: None })).is_err());
        assert!(start(Some(v1::StartAt { at: None })).is_err());
        assert!(start(Some(v1::StartAt { at: Some(At::Earliest(false)) })).is_err());
        assert!(syntax(7).is_err());
    }
}
