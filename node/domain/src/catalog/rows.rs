//! The rows of the catalog: read when a machine is loaded, written with every change. A change
//! reaches memory and the batch through the same function, so that neither is forgotten.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_storage::engine::{KeyRange, Order, ScanLimit};
use kontiki_storage::id::{SubscriptionId, TopicId};
use kontiki_storage::key::{self, Space};
use kontiki_storage::{Error, Family, View, WriteBatch};
use minicbor::Decode;

use super::exchange::{Binding, BindingId, Exchange};
use super::routes::RoutingChange;
use super::{Catalog, Cluster, Node, Placement, Subscription, Topic};
use crate::codec;

const VERSION: u8 = 1;

/// Rows read in one step, and the most bytes of them.
const STEP: ScanLimit = ScanLimit { rows: 1_024, bytes: 4 << 20 };

impl Catalog {
    /// Reads the state from its rows.
    ///
    /// # Errors
    /// Of storage; rows that don't decode are corrupt.
    pub fn load(view: &dyn View, space: Space) -> Result<Self, Error> {
        let mut catalog = Self::empty(space);
        let single = |row_key: Bytes| view.get(Family::State, &row_key);
        if let Some(row) = single(key::counters(space))? {
            catalog.counters = decode(space, "counters", &row)?;
        }
        if let Some(row) = single(key::cluster(space))? {
            catalog.cluster = Some(decode(space, "cluster", &row)?);
        }
        each(view, key::nodes(space), |row| {
            let node: Node = decode(space, "node", row)?;
            catalog.nodes.insert(node.spec.node, node);
            Ok(())
        })?;
        each(view, key::placements(space), |row| {
            let placement: Placement = decode(space, "placement", row)?;
            placement.check();
            catalog.placements.insert(placement.shard, placement);
            Ok(())
        })?;
        each(view, key::topics(space), |row| {
            catalog.insert_topic(decode(space, "topic", row)?);
            Ok(())
        })?;
        each(view, key::exchanges(space), |row| {
            catalog.routes.insert_exchange(Arc::new(decode(space, "exchange", row)?));
            Ok(())
        })?;
        each(view, key::bindings(space), |row| {
            catalog.routes.insert_binding(Arc::new(decode(space, "binding", row)?));
            Ok(())
        })?;
        each(view, key::subscriptions(space), |row| {
            catalog.insert_subscription(decode(space, "subscription", row)?);
            Ok(())
        })?;
        Ok(catalog)
    }

    pub(super) fn put_cluster(&mut self, cluster: Cluster, batch: &mut WriteBatch) {
        let row = codec::encode(VERSION, &cluster);
        batch.put(Family::State, key::cluster(self.space), row);
        self.cluster = Some(cluster);
        self.changed = true;
    }

    pub(super) fn put_node(&mut self, node: Node, batch: &mut WriteBatch) {
        let id = node.spec.node;
        batch.put(Family::State, key::node(self.space, id), codec::encode(VERSION, &node));
        self.nodes.insert(id, node);
        self.changed = true;
    }

    pub(super) fn put_placement(&mut self, placement: Placement, batch: &mut WriteBatch) {
        placement.check();
        let row_key = key::placement(self.space, placement.shard);
        batch.put(Family::State, row_key, codec::encode(VERSION, &placement));
        self.placements.insert(placement.shard, placement);
        self.changed = true;
    }

    /// Puts a topic, which may replace its former state.
    pub(super) fn put_topic(&mut self, topic: Topic, batch: &mut WriteBatch) {
        let row_key = key::topic(self.space, topic.topic);
        batch.put(Family::State, row_key, codec::encode(VERSION, &topic));
        self.take_topic(topic.topic);
        self.insert_topic(topic);
        self.changed = true;
    }

    pub(super) fn remove_topic(&mut self, topic: TopicId, batch: &mut WriteBatch) {
        batch.delete(Family::State, key::topic(self.space, topic));
        let former = self.take_topic(topic);
        assert!(former.is_some(), "a topic was removed that isn't there");
        self.changed = true;
    }

    pub(super) fn put_exchange(&mut self, exchange: Exchange, batch: &mut WriteBatch) {
        let row_key = key::exchange(self.space, &exchange.name);
        batch.put(Family::State, row_key, codec::encode(VERSION, &exchange));
        let exchange = Arc::new(exchange);
        self.routes.insert_exchange(Arc::clone(&exchange));
        self.rerouted.push(RoutingChange::ExchangeCreated(exchange));
        self.changed = true;
    }

    /// Removes an exchange that has no bindings any more.
    pub(super) fn remove_exchange(&mut self, name: &str, batch: &mut WriteBatch) {
        batch.delete(Family::State, key::exchange(self.space, name));
        let exchange = self.routes.take_exchange(name);
        self.rerouted.push(RoutingChange::ExchangeDeleted(exchange));
        self.changed = true;
    }

    pub(super) fn put_binding(&mut self, binding: Binding, batch: &mut WriteBatch) {
        let row_key = key::binding(self.space, binding.id.0);
        batch.put(Family::State, row_key, codec::encode(VERSION, &binding));
        let binding = Arc::new(binding);
        self.routes.insert_binding(Arc::clone(&binding));
        self.rerouted.push(RoutingChange::Bound(binding));
        self.changed = true;
    }

    pub(super) fn remove_binding(&mut self, id: BindingId, batch: &mut WriteBatch) {
        batch.delete(Family::State, key::binding(self.space, id.0));
        let binding = self.routes.take_binding(id);
        self.rerouted.push(RoutingChange::Unbound(binding));
        self.changed = true;
    }

    pub(super) fn put_subscription(&mut self, row: Subscription, batch: &mut WriteBatch) {
        let row_key = key::subscription(self.space, row.id);
        batch.put(Family::State, row_key, codec::encode(VERSION, &row));
        self.insert_subscription(row);
        self.changed = true;
    }

    pub(super) fn remove_subscription(&mut self, id: SubscriptionId, batch: &mut WriteBatch) {
        batch.delete(Family::State, key::subscription(self.space, id));
        let former = self.subscriptions.remove(&id);
        let former = former.expect("a subscription was removed that isn't there");
        self.subscription_names.remove(&former.name);
        self.changed = true;
    }

    fn insert_subscription(&mut self, row: Subscription) {
        self.subscription_names.insert(row.name.clone(), row.id);
        let former = self.subscriptions.insert(row.id, row);
        assert!(former.is_none(), "a subscription was inserted over another");
    }

    /// Puts what has been given out. Watchers don't see it.
    pub(super) fn put_counters(&self, batch: &mut WriteBatch) {
        let row = codec::encode(VERSION, &self.counters);
        batch.put(Family::State, key::counters(self.space), row);
    }

    pub(super) fn advance_version(&mut self, batch: &mut WriteBatch) {
        self.counters.version.0 += 1;
        self.put_counters(batch);
    }
}

fn decode<T>(space: Space, what: &str, row: &Bytes) -> Result<T, Error>
where
    T: for<'b> Decode<'b, ()>,
{
    let decoded = codec::decode(VERSION, row);
    decoded.map_err(|fault| Error::corrupt_row(space.shard, what, fault.to_string()))
}

fn each(
    view: &dyn View,
    mut range: KeyRange,
    mut take: impl FnMut(&Bytes) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let rows = view.scan(Family::State, range.clone(), Order::Forward, STEP)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        range = range.after(last);
        rows.iter().try_for_each(|(_, row)| take(row))?;
    }
}
