use std::sync::Arc;

use kontiki_domain::catalog::{BindingId, Route};
use kontiki_domain::filter::{FilterText, Language, PatternSyntax};
use kontiki_filter::limits::COST_MAX;

use super::*;
use crate::filters::counting_yields;

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

async fn route(compiled: &Compiled, key: &str, body: &str) -> (Vec<u64>, u64) {
    let headers = [Header::new("kind", "x")];
    let content = Content {
        headers: &headers,
        key: None,
        body: body.as_bytes(),
        timestamp_ms: 0,
        priority: 0,
    };
    let ways = compiled.route("d", &[key], content, &mut Turn::default()).await.unwrap();
    (ways.queues.iter().map(|queue| queue.0).collect(), ways.filter_errors)
}

#[tokio::test]
async fn a_binding_with_a_filter_takes_what_matches() {
    let compiled = table();
    assert_eq!(route(&compiled, "k", "{\"n\": 2}").await, (vec![1, 2], 0));
    assert_eq!(route(&compiled, "k", "{\"n\": 1}").await, (vec![1], 0));
}

#[tokio::test]
async fn a_filter_that_fails_is_counted_and_holds_nothing_up() {
    let compiled = table();
    assert_eq!(route(&compiled, "k", "no json").await, (vec![1], 1));
    // Another binding leads there as well.
    assert_eq!(route(&compiled, "f", "no json").await, (vec![2], 1));
}

#[tokio::test]
async fn where_no_filter_matches_the_alternate_exchange_is_asked() {
    let compiled = table();
    compiled.change(vec![RoutingChange::Unbound(binding(4, "f", 2, Some("headers.kind == 'x'")))]);
    assert_eq!(route(&compiled, "f", "{\"n\": 0}").await, (vec![9], 0));
    assert_eq!(route(&compiled, "f", "{\"n\": 2}").await, (vec![2], 0));
}

#[tokio::test]
async fn the_alternate_exchange_waits_for_the_filters_before_it() {
    let compiled = table();
    let mut late = (*binding(6, "", 8, Some("body.m > 1"))).clone();
    "late".clone_into(&mut late.route.source);
    compiled.change(vec![RoutingChange::Bound(Arc::new(late))]);
    // Its own filter can't tell, and would be counted.
    assert_eq!(route(&compiled, "f", "{\"n\": 2}").await, (vec![2], 0));
    compiled.change(vec![RoutingChange::Unbound(binding(4, "f", 2, Some("headers.kind == 'x'")))]);
    assert_eq!(route(&compiled, "f", "{\"n\": 0}").await, (vec![9], 1));
}

/// Binds so many queues, from 10 on, with the same filter.
fn bind_many(compiled: &Compiled, count: u64, filter: &str) -> Vec<u64> {
    let bound = (10..10 + count).map(|id| binding(id, "m", id, Some(filter)));
    compiled.change(bound.map(RoutingChange::Bound).collect());
    (10..10 + count).collect()
}

/// What a filter costs on a body, its parsing left out, and what that costs.
fn costs(filter: &str, body: &str) -> (u64, u64) {
    let headers = [("", ""); 0];
    let message = kontiki_filter::Message::new(&headers, None, body.as_bytes(), Meta::default());
    let steps = Filter::cel(filter).unwrap().evaluate_counted(&message).steps;
    (steps - message.parse_steps(), message.parse_steps())
}

#[tokio::test]
async fn cheap_filters_share_a_turn() {
    let compiled = table();
    let all = bind_many(&compiled, 200, "body.n > 1");
    let (found, yields) = counting_yields(route(&compiled, "m", "{\"n\": 2}")).await;
    assert_eq!((found, yields), ((all, 0), 0));
}

#[tokio::test]
async fn costly_filters_have_turns_of_their_own() {
    let filter = "body.l.all(x, body.l.all(y, x + y > 0))";
    let body = format!("{{\"l\": [{}]}}", vec!["1"; 80].join(","));
    let (steps, _) = costs(filter, &body);
    assert!(steps > TURN_STEPS && steps < COST_MAX, "{steps}");
    let compiled = table();
    let all = bind_many(&compiled, 7, filter);
    let (found, yields) = counting_yields(route(&compiled, "m", &body)).await;
    assert_eq!((found, yields), ((all, 0), 7));
}

#[tokio::test]
async fn a_filter_that_costs_too_much_matches_nothing_and_is_counted() {
    let filter = "body.l.all(x, body.l.all(y, x + y > 0))";
    let body = format!("{{\"l\": [{}]}}", vec!["1"; 800].join(","));
    let (steps, parsing) = costs(filter, &body);
    assert!(steps == COST_MAX && parsing < TURN_STEPS, "{steps} {parsing}");
    let compiled = table();
    bind_many(&compiled, 3, filter);
    // The alternate exchange has it.
    let (found, yields) = counting_yields(route(&compiled, "m", &body)).await;
    assert_eq!((found, yields), ((vec![9], 3), 3));
}

#[tokio::test]
async fn a_large_body_is_not_parsed_for_each_filter() {
    let filter = "body.l.all(x, x == 1)";
    let body = format!(
        "{{\"l\": [{}], \"m\": [{}]}}",
        vec!["1"; 400].join(","),
        vec!["1"; 60_000].join(",")
    );
    let (steps, parsing) = costs(filter, &body);
    assert!(steps > 1_000 && parsing > 2 * TURN_STEPS, "{steps} {parsing}");
    let compiled = table();
    let all = bind_many(&compiled, 100, filter);
    let (found, yields) = counting_yields(route(&compiled, "m", &body)).await;
    assert_eq!(found, (all, 0));
    // Filters have as much of each turn as parsing has.
    let turns = (100 * (steps + 1)).div_ceil(parsing);
    assert!((2..=turns).contains(&yields), "{yields} yields, {turns} turns");
}

#[tokio::test]
async fn what_is_unbound_or_deleted_leads_nowhere() {
    let compiled = table();
    compiled.change(vec![
        RoutingChange::Unbound(binding(1, "k", 1, None)),
        RoutingChange::Unbound(binding(2, "k", 2, Some("body.n > 1"))),
    ]);
    assert_eq!(route(&compiled, "k", "{\"n\": 2}").await, (vec![9], 0));
    assert!(!compiled.routing.read().unwrap().filters.contains_key(&2));
    let mut turn = Turn::default();
    let none = Content { headers: &[], key: None, body: b"", timestamp_ms: 0, priority: 0 };
    assert!(
        compiled
            .route("nowhere", &["k"], none, &mut turn)
            .await
            .unwrap_err()
            .detail
            .contains("nowhere")
    );
    compiled.replace(&Routes::default());
    assert!(
        compiled
            .route("d", &["k"], none, &mut turn)
            .await
            .unwrap_err()
            .detail
            .contains("does not exist")
    );
}

fn onward(id: u64, key: &str, exchange: &str, filter: Option<&str>) -> RoutingChange {
    let binding = binding(id, key, 0, filter);
    let destination = Destination::Exchange(exchange.to_owned());
    let route = Route { destination, ..binding.route.clone() };
    RoutingChange::Bound(Arc::new(catalog::Binding { route, ..(*binding).clone() }))
}

#[tokio::test]
async fn a_filter_stands_between_two_exchanges() {
    let compiled = table();
    compiled.change(vec![
        exchange("big", ExchangeKind::Fanout, None),
        onward(6, "g", "big", Some("body.n > 1")),
        onward(7, "g2", "big", Some("headers.kind == 'y'")),
    ]);
    let of_big = catalog::Binding {
        route: Route { source: "big".to_owned(), ..binding(8, "", 3, None).route.clone() },
        ..(*binding(8, "", 3, Some("body.n < 9"))).clone()
    };
    compiled.change(vec![RoutingChange::Bound(Arc::new(of_big))]);
    assert_eq!(route(&compiled, "g", "{\"n\": 2}").await, (vec![3], 0));
    assert_eq!(route(&compiled, "g", "{\"n\": 10}").await, (vec![], 0), "big was chosen");
    assert_eq!(route(&compiled, "g", "{\"n\": 1}").await, (vec![9], 0), "the alternate");
    assert_eq!(route(&compiled, "g2", "{\"n\": 2}").await, (vec![9], 0));
    // Behind a filter that fails nothing is asked; the alternate is.
    assert_eq!(route(&compiled, "g", "no json").await, (vec![9], 1));
    let RoutingChange::Bound(gone) = onward(6, "g", "big", Some("body.n > 1")) else { panic!() };
    compiled.change(vec![RoutingChange::Unbound(gone)]);
    assert_eq!(route(&compiled, "g", "{\"n\": 2}").await, (vec![9], 0));
    assert!(!compiled.routing.read().unwrap().filters.contains_key(&6));
}
