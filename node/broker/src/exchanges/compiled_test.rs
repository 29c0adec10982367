use std::sync::Arc;

use kontiki_domain::catalog::{BindingId, Route};
use kontiki_domain::filter::{FilterText, Language, PatternSyntax};

use super::*;

fn exchange(name: &str, kind: ExchangeKind, alternate: Option<&str>) -> RoutingChange {
    RoutingChange::ExchangeCreated(Arc::new(Exchange {
        name: name.to_owned(),
        kind,
        alternate: alternate.map(str::to_owned),
        internal: false,
        created_ms: 0,
    }))
}

fn binding(id: u64, key: &str, queue: u64, filter: Option<&str>) -> Arc<catalog::Binding> {
    let route = Route {
        source: "d".to_owned(),
        destination: Destination::Queue(TopicId(queue)),
        key: key.to_owned(),
        syntax: PatternSyntax::Amqp,
        arguments: Vec::new(),
    };
    let cel = |text: &str| FilterText { language: Language::Cel, text: text.to_owned() };
    Arc::new(catalog::Binding { id: BindingId(id), route, filter: filter.map(cel), created_ms: 0 })
}

fn table() -> Compiled {
    let compiled = Compiled::new(7);
    compiled.change(vec![
        exchange("d", ExchangeKind::Direct, Some("late")),
        exchange("late", ExchangeKind::Fanout, None),
        RoutingChange::Bound(binding(1, "k", 1, None)),
        RoutingChange::Bound(binding(2, "k", 2, Some("body.n > 1"))),
        RoutingChange::Bound(binding(3, "f", 2, Some("body.n > 1"))),
        RoutingChange::Bound(binding(4, "f", 2, Some("headers.kind == 'x'"))),
    ]);
    let late = Arc::new(catalog::Binding {
        route: Route { source: "late".to_owned(), ..binding(5, "", 9, None).route.clone() },
        ..(*binding(5, "", 9, None)).clone()
    });
    compiled.change(vec![RoutingChange::Bound(late)]);
    compiled
}

fn route(compiled: &Compiled, key: &str, body: &str) -> (Vec<u64>, u64) {
    let headers = [Header::new("kind", "x")];
    let content = Content {
        headers: &headers,
        key: None,
        body: body.as_bytes(),
        timestamp_ms: 0,
        priority: 0,
    };
    let ways = compiled.route("d", &[key], content).unwrap();
    (ways.queues.iter().map(|queue| queue.0).collect(), ways.filter_errors)
}

#[test]
fn a_binding_with_a_filter_takes_what_matches() {
    let compiled = table();
    assert_eq!(route(&compiled, "k", "{\"n\": 2}"), (vec![1, 2], 0));
    assert_eq!(route(&compiled, "k", "{\"n\": 1}"), (vec![1], 0));
}

#[test]
fn a_filter_that_fails_is_counted_and_holds_nothing_up() {
    let compiled = table();
    assert_eq!(route(&compiled, "k", "no json"), (vec![1], 1));
    // Another binding leads there as well.
    assert_eq!(route(&compiled, "f", "no json"), (vec![2], 1));
}

#[test]
fn where_no_filter_matches_the_alternate_exchange_is_asked() {
    let compiled = table();
    compiled.change(vec![RoutingChange::Unbound(binding(4, "f", 2, Some("headers.kind == 'x'")))]);
    assert_eq!(route(&compiled, "f", "{\"n\": 0}"), (vec![9], 0));
    assert_eq!(route(&compiled, "f", "{\"n\": 2}"), (vec![2], 0));
}

#[test]
fn what_is_unbound_or_deleted_leads_nowhere() {
    let compiled = table();
    compiled.change(vec![
        RoutingChange::Unbound(binding(1, "k", 1, None)),
        RoutingChange::Unbound(binding(2, "k", 2, Some("body.n > 1"))),
    ]);
    assert_eq!(route(&compiled, "k", "{\"n\": 2}"), (vec![9], 0));
    assert!(!compiled.routing.read().unwrap().filters.contains_key(&QueueId(FILTERED | 2)));
    let none = Content { headers: &[], key: None, body: b"", timestamp_ms: 0, priority: 0 };
    assert!(compiled.route("nowhere", &["k"], none).unwrap_err().detail.contains("nowhere"));
    compiled.replace(&Routes::default());
    assert!(compiled.route("d", &["k"], none).unwrap_err().detail.contains("does not exist"));
}
