//! Filters of bindings that lead from one exchange to another.

use kontiki_domain::catalog::{FeatureLevel, FeatureRange};
use kontiki_storage::memory::{Disk, Keep};

use super::exchanges::{bind, bodies, bound, copies, exchange, publication, publish, queue};
use super::node::{TestNode, eventually, node, node_of, node_on};
use crate::exchanges::{Bound, ExchangeKind, FilterText, Language, Publication, To};
use crate::{Code, Error, Kind, Options};

fn filtered(source: &str, destination: &str, key: &str, text: &str) -> Bound {
    let filter = Some(FilterText { language: Language::Cel, text: text.to_owned() });
    Bound { to: To::Exchange(destination.to_owned()), filter, ..bound(source, "", key) }
}

async fn join(node: &TestNode, source: &str, destination: &str, key: &str, text: &str) {
    let bound = filtered(source, destination, key, text);
    assert!(node.broker.bind(bound).await.expect("it is bound"));
}

#[tokio::test]
async fn a_filter_between_exchanges_holds_back_what_does_not_match() {
    let node = node().await;
    for name in ["all", "big", "huge"] {
        queue(&node, name, &[]).await;
        exchange(&node, name, ExchangeKind::Topic).await;
        bind(&node, name, name, "#").await;
    }
    join(&node, "all", "big", "n.#", "body.n > 10").await;
    join(&node, "big", "huge", "#.deep", "body.n > 100").await;
    let sent = [("n.1", 5), ("n.2", 50), ("n.3", 500), ("n.deep", 501), ("m.deep", 502)];
    let sent = sent.map(|(key, n)| publication(key, &format!("{{\"n\":{n}}}")));
    assert_eq!(copies(&publish(&node, "all", sent.to_vec()).await), [1, 2, 2, 3, 1]);
    // Any of the keys leads on, and all of them are looked at behind the filter.
    let sent = Publication { cc: vec!["n.x".to_owned()], ..publication("x.deep", "{\"n\":503}") };
    assert_eq!(copies(&publish(&node, "all", vec![sent]).await), [3]);
    let deep = ["{\"n\":501}", "{\"n\":503}"];
    assert_eq!(bodies(&node, "huge").await, deep);

    // One that fails matches nothing, and keeps nobody else from the message.
    let before = node.broker.0.metrics.binding_filter_errors.get();
    let sent = vec![publication("n.1", "text"), publication("n.1", "{\"n\": 11}")];
    assert_eq!(copies(&publish(&node, "all", sent).await), [1, 2]);
    assert_eq!(node.broker.0.metrics.binding_filter_errors.get() - before, 1);

    let looped = node.broker.bind(filtered("huge", "all", "#", "true")).await;
    let looped = looped.expect_err("a loop");
    assert_eq!((looped.kind, looped.code), (Kind::Invalid, Code(264)));
    let other = node.broker.bind(filtered("all", "big", "n.#", "body.n > 11")).await;
    assert_eq!(other.expect_err("another filter").code, Code(266));
    let wrong = node.broker.bind(filtered("all", "huge", "#", "body.n >")).await;
    assert!(wrong.expect_err("no expression").detail.contains("line 1, column"));
    // The exchange in the middle takes both with it.
    assert_eq!(node.broker.delete_exchange("big", false).await, Ok(3));
    let sent = vec![publication("n.deep", "{\"n\": 501}")];
    assert_eq!(copies(&publish(&node, "all", sent).await), [1]);
}

/// What a node says that is to bind with a filter between exchanges.
async fn try_it(node: &TestNode) -> Result<bool, Error> {
    node.broker.bind(filtered("a", "b", "", "true")).await
}

#[tokio::test]
async fn older_nodes_keep_filters_between_exchanges_away() {
    let (oldest, newest) = (FeatureLevel(1), FeatureLevel(1));
    let old = FeatureRange { oldest, newest };
    let old = node_of(old, Disk::new(), Options::default()).await;
    eventually("the node is ready", || old.broker.is_ready().is_ok()).await;
    for name in ["a", "b"] {
        exchange(&old, name, ExchangeKind::Fanout).await;
    }
    let refused = try_it(&old).await.expect_err("at level 1");
    assert_eq!((refused.kind, refused.code), (Kind::Invalid, Code(3)));
    assert!(refused.detail.contains("feature level, now 1, is 2"), "{refused}");
    let refused = old.broker.cluster().raise_feature_level(None).await.expect_err("an old node");
    assert_eq!((refused.kind, refused.code), (Kind::Conflict, Code(207)));
    assert!(refused.detail.starts_with("node 1 speaks feature levels 1 to 1"), "{refused}");

    // Upgraded, it says so by itself; an operator says that this will do.
    old.disk.faults().crash(Keep::SYNCED);
    let node = node_on(old.disk.clone(), Options::default()).await;
    eventually("the node is ready", || node.broker.is_ready().is_ok()).await;
    assert_eq!(try_it(&node).await.expect_err("still").code, Code(3));
    let mut tries = 0;
    while node.broker.cluster().raise_feature_level(None).await != Ok(2) {
        tries += 1;
        assert!(tries < 1_000, "the level is not raised");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(try_it(&node).await, Ok(true));
    let fallen = node.broker.cluster().raise_feature_level(Some(1)).await;
    assert_eq!(fallen.expect_err("it never falls").code, Code(208));
}
