//! Exchanges and bindings, from the wire and to it.

use kontiki_broker::Error;
use kontiki_broker::exchanges::{
    Argument, Bound, CreateExchange, Exchange, ExchangeKind, PatternSyntax, To,
};
use kontiki_proto::v1;
use v1::binding::{Destination, PatternSyntax as WireSyntax};

use crate::grpc::{fields, filters};

pub(super) fn declared(exchange: Option<v1::Exchange>) -> Result<CreateExchange, Error> {
    let exchange = exchange.unwrap_or_default();
    fields::present("exchange", &exchange.exchange)?;
    let kind = kind(&exchange)?;
    let v1::Exchange { exchange: name, alternate, internal, .. } = exchange;
    Ok(CreateExchange { name, kind, alternate, internal })
}

fn kind(exchange: &v1::Exchange) -> Result<ExchangeKind, Error> {
    let header = exchange.hash_header.clone();
    let kind = match exchange.kind() {
        v1::ExchangeKind::Direct => ExchangeKind::Direct,
        v1::ExchangeKind::Topic => ExchangeKind::Topic,
        v1::ExchangeKind::Fanout => ExchangeKind::Fanout,
        v1::ExchangeKind::Headers => ExchangeKind::Headers,
        v1::ExchangeKind::ConsistentHash => return Ok(ExchangeKind::ConsistentHash { header }),
        v1::ExchangeKind::Unspecified => {
            let expected = "direct, topic, fanout, headers or consistent-hash";
            return Err(Error::invalid("exchange.kind", exchange.kind, expected));
        }
    };
    if let Some(header) = header {
        let expected = "nothing: only consistent-hash exchanges look at a header by its name";
        return Err(Error::invalid("exchange.hash_header", header, expected));
    }
    Ok(kind)
}

pub(super) fn exchange(exchange: &Exchange) -> v1::Exchange {
    let Exchange { name, kind, alternate, internal, created_ms } = exchange.clone();
    let (kind, hash_header) = match kind {
        ExchangeKind::Direct => (v1::ExchangeKind::Direct, None),
        ExchangeKind::Topic => (v1::ExchangeKind::Topic, None),
        ExchangeKind::Fanout => (v1::ExchangeKind::Fanout, None),
        ExchangeKind::Headers => (v1::ExchangeKind::Headers, None),
        ExchangeKind::ConsistentHash { header } => (v1::ExchangeKind::ConsistentHash, header),
    };
    let kind = kind.into();
    v1::Exchange { exchange: name, kind, alternate, internal, hash_header, created_ms }
}

pub(super) fn bound(binding: Option<v1::Binding>) -> Result<Bound, Error> {
    let binding = binding.unwrap_or_default();
    let syntax = match WireSyntax::try_from(binding.syntax) {
        Ok(WireSyntax::Unspecified) => PatternSyntax::Amqp,
        Ok(WireSyntax::Nats) => PatternSyntax::Nats,
        Err(_) => {
            return Err(Error::invalid("binding.syntax", binding.syntax, "one that is listed"));
        }
    };
    let v1::Binding { exchange, destination, key, arguments, filter, .. } = binding;
    let to = match destination {
        Some(Destination::Queue(name)) => To::Queue(name),
        Some(Destination::ToExchange(name)) => To::Exchange(name),
        None => return Err(Error::invalid("binding.destination", "empty", "a queue or exchange")),
    };
    let arguments = arguments.into_iter().map(|argument| {
        let v1::binding::Argument { name, value } = argument;
        Argument { name, value: value.map(Into::into) }
    });
    let filter = filters::text("binding.filter", filter)?;
    let arguments = arguments.collect();
    Ok(Bound { source: exchange, to, key, syntax, arguments, filter })
}

pub(super) fn binding(bound: Bound) -> v1::Binding {
    let Bound { source, to, key, syntax, arguments, filter } = bound;
    let destination = match to {
        To::Queue(name) => Destination::Queue(name),
        To::Exchange(name) => Destination::ToExchange(name),
    };
    let syntax = match syntax {
        PatternSyntax::Amqp => WireSyntax::Unspecified,
        PatternSyntax::Nats => WireSyntax::Nats,
    };
    let arguments = arguments.into_iter().map(|argument| {
        let Argument { name, value } = argument;
        v1::binding::Argument { name, value: value.map(Into::into) }
    });
    let filter = filters::shown(filter);
    v1::Binding {
        exchange: source,
        destination: Some(destination),
        key,
        syntax: syntax.into(),
        arguments: arguments.collect(),
        filter,
    }
}

pub(super) fn ends(destination: v1::list_bindings_request::Destination) -> To {
    use v1::list_bindings_request::Destination as Wire;
    match destination {
        Wire::Queue(name) => To::Queue(name),
        Wire::ToExchange(name) => To::Exchange(name),
    }
}

#[cfg(test)]
mod tests {
    use v1::content_filter::Filter;

    use super::*;

    #[test]
    fn what_is_bound_is_shown_as_it_was_asked_for() {
        let argument = |name: &str, value: Option<&'static str>| v1::binding::Argument {
            name: name.to_owned(),
            value: value.map(Into::into),
        };
        let asked = v1::Binding {
            exchange: "x".to_owned(),
            destination: Some(Destination::Queue("q".to_owned())),
            key: "a.>".to_owned(),
            syntax: WireSyntax::Nats.into(),
            arguments: vec![argument("a", Some("1")), argument("b", None)],
            filter: Some(v1::ContentFilter { filter: Some(Filter::PolicyOnBody("{}".to_owned())) }),
        };
        assert_eq!(binding(bound(Some(asked.clone())).expect("sound")), asked);
        let nowhere = v1::Binding { destination: None, ..asked.clone() };
        assert!(bound(Some(nowhere)).expect_err("nowhere").detail.contains("destination"));
        let empty = v1::Binding { filter: Some(v1::ContentFilter::default()), ..asked.clone() };
        assert!(bound(Some(empty)).expect_err("says nothing").detail.contains("binding.filter"));
        let strange = v1::Binding { syntax: 9, ..asked };
        assert!(bound(Some(strange)).expect_err("strange").detail.contains("syntax is 9"));
    }

    #[test]
    fn an_exchange_has_a_kind_and_a_header_only_where_it_counts() {
        let exchange = |kind: v1::ExchangeKind| v1::Exchange {
            exchange: "x".to_owned(),
            kind: kind.into(),
            hash_header: Some("h".to_owned()),
            ..Default::default()
        };
        let header = Some("h".to_owned());
        let declared = |kind| declared(Some(exchange(kind)));
        let hash = declared(v1::ExchangeKind::ConsistentHash).expect("sound").kind;
        assert_eq!(hash, ExchangeKind::ConsistentHash { header });
        let wrong = declared(v1::ExchangeKind::Direct).expect_err("no use of it");
        assert!(wrong.detail.contains("hash_header"), "{wrong}");
        let none = declared(v1::ExchangeKind::Unspecified).expect_err("no kind");
        assert!(none.detail.contains("exchange.kind"), "{none}");
    }
}
