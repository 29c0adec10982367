//! One file per command or pair of commands. Each looks first and refuses, then writes: a refused
//! command leaves no trace.

mod alter_topic;
mod bind;
mod create_topic;
mod delete_topic;
mod exchange;
mod feature_level;
mod init_cluster;
mod join_node;
mod node_state;
mod place_shard;
mod producer_ids;
mod subscription;

use kontiki_storage::batch::WriteBatch;

use super::{Catalog, Command, Reply};
use crate::effect::Effect;
use crate::rejection::Rejection;
use crate::stamp::Stamp;

impl Catalog {
    /// Applies one committed command: changes the state, adds the changed rows to `batch` and
    /// what a broker may want to act on to `effects`.
    ///
    /// # Errors
    /// A [`Rejection`], which is as committed as a reply.
    pub fn apply(
        &mut self,
        stamp: Stamp,
        command: &Command,
        batch: &mut WriteBatch,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let outcome = self.dispatch(stamp, command, batch);
        if std::mem::take(&mut self.changed) {
            assert!(outcome.is_ok(), "a refused command changed the catalog");
            self.advance_version(batch);
            effects.push(Effect::CatalogChanged { version: self.version() });
            effects.extend(self.rerouted.drain(..).map(Effect::RoutingChanged));
        }
        outcome
    }

    fn dispatch(
        &mut self,
        stamp: Stamp,
        command: &Command,
        batch: &mut WriteBatch,
    ) -> Result<Reply, Rejection> {
        match command {
            Command::InitCluster(init) => init_cluster::apply(self, stamp, init, batch),
            Command::JoinNode(spec) => join_node::join(self, stamp, spec, batch),
            Command::UpdateNode(spec) => join_node::update(self, spec, batch),
            Command::DrainNode { node } => node_state::drain(self, *node, batch),
            Command::ActivateNode { node } => node_state::activate(self, *node, batch),
            Command::RemoveNode { node } => node_state::remove(self, *node, batch),
            Command::MarkReplicaLost { shard, replica } => {
                place_shard::mark_lost(self, *shard, *replica, batch)
            }
            Command::CreateTopic(create) => create_topic::create(self, stamp, create, batch),
            Command::AlterTopic(alter) => alter_topic::apply(self, alter, batch),
            Command::AddPartitions { topic, total, validate_only } => {
                create_topic::add_partitions(self, *topic, *total, *validate_only, batch)
            }
            Command::DeleteTopic { topic } => delete_topic::delete(self, stamp, *topic, batch),
            Command::PartitionsPurged { topic, partitions } => {
                delete_topic::purged(self, *topic, partitions, batch)
            }
            Command::PlaceShard { shard, version, nodes } => {
                place_shard::place(self, *shard, *version, nodes, batch)
            }
            Command::CommitPlacement { shard, version, voters } => {
                place_shard::commit(self, *shard, *version, voters, batch)
            }
            Command::AllocateProducerIds { count } => producer_ids::apply(self, *count, batch),
            Command::SetFeatureLevel { level } => feature_level::raise(self, *level, batch),
            Command::SetLimits { limits } => feature_level::set_limits(self, *limits, batch),
            Command::CreateExchange(create) => exchange::create(self, stamp, create, batch),
            Command::DeleteExchange { name, if_unused } => {
                exchange::delete(self, name, *if_unused, batch)
            }
            Command::Bind(bind) => bind::bind(self, stamp, bind, batch),
            Command::Unbind { route } => bind::unbind(self, route, batch),
            Command::CreateSubscription(create) => subscription::create(self, stamp, create, batch),
            Command::DeleteSubscription { name } => subscription::delete(self, name, batch),
        }
    }
}
