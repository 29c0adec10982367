//! What the whole crate promises.

mod errors;
mod exchanges;
mod gates;
mod headers;
mod leftovers;
mod model;
mod random;
mod ring;
mod topics;

use crate::{Binding, Declaration, Headers, Kind, QueueId, Routed, Table};

/// A table with one exchange of a kind.
fn table(name: &str, kind: Kind) -> Table {
    let mut table = Table::new(1);
    assert!(table.declare_exchange(name, Declaration::new(kind)).unwrap());
    table
}

fn bind(table: &mut Table, source: &str, queue: u64, key: &str) {
    assert!(table.bind(&Binding::to_queue(source, QueueId(queue), key)).unwrap());
}

/// The queues of a message, in order.
fn route<H: Headers + ?Sized>(table: &Table, exchange: &str, key: &str, headers: &H) -> Vec<u64> {
    let mut routed = Routed::new();
    let is_routed = table.route(exchange, key, headers, &mut routed).unwrap();
    assert_eq!(is_routed, routed.is_routed());
    assert_eq!(is_routed, !routed.queues().is_empty());
    let mut queues: Vec<u64> = routed.queues().iter().map(|queue| queue.0).collect();
    queues.sort_unstable();
    queues
}

#[test]
fn a_table_may_be_read_by_many_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Table>();
    shared::<Routed>();
}
