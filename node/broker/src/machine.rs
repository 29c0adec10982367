//! The state machine of one replica: the domain's, between Raft and those who wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_domain::Effect;
use kontiki_domain::shard::ShardMachine;
use kontiki_raft::{Machine, MachineFactory, Stamp};
use kontiki_storage::id::{PartitionId, ShardId};
use kontiki_storage::key::Space;
use kontiki_storage::payload::PayloadRef;
use kontiki_storage::{Error, View, WriteBatch};

use crate::catalog::CatalogCopy;
use crate::exchanges::Compiled;
use crate::hub::Hub;
use crate::queues::{Due, Dues};

/// Makes the state machines of a node.
pub(crate) struct Machines {
    pub(crate) catalog: Arc<CatalogCopy>,
    pub(crate) exchanges: Arc<Compiled>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) dues: Arc<Dues>,
}

impl MachineFactory for Machines {
    fn create(&self, shard: ShardId) -> Box<dyn Machine> {
        let effects = Vec::new();
        if shard == ShardId::CATALOG {
            let (catalog, exchanges) = (Arc::clone(&self.catalog), Arc::clone(&self.exchanges));
            Box::new(CatalogReplica { catalog, exchanges, effects })
        } else {
            Box::new(PartitionsReplica {
                shard,
                machine: None,
                hub: Arc::clone(&self.hub),
                dues: Arc::clone(&self.dues),
                effects,
                changed: BTreeSet::new(),
                queues: BTreeSet::new(),
            })
        }
    }
}

/// Of shard 0: applied straight to the copy that everybody looks at.
struct CatalogReplica {
    catalog: Arc<CatalogCopy>,
    exchanges: Arc<Compiled>,
    effects: Vec<Effect>,
}

impl Machine for CatalogReplica {
    fn reload(&mut self, view: &dyn View, space: Space) -> Result<(), Error> {
        let loaded = ShardMachine::load(view, space)?;
        self.catalog.change(|machine| *machine = loaded);
        self.catalog.look(|catalog| self.exchanges.replace(catalog.routes()));
        Ok(())
    }

    fn apply(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &Bytes,
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
    ) -> Result<Bytes, Error> {
        let effects = &mut self.effects;
        let stamp = domain(stamp);
        let reply = self
            .catalog
            .change(|machine| machine.apply(view, stamp, command, payloads, batch, effects));
        let routing = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::RoutingChanged(change) => Some(change),
            Effect::CatalogChanged { .. }
            | Effect::Appended { .. }
            | Effect::LogStartMoved { .. }
            | Effect::PartitionCreated { .. }
            | Effect::PartitionDeleted { .. }
            | Effect::QueueChanged { .. } => None,
        });
        self.exchanges.change(routing.collect());
        reply
    }

    fn written(&mut self) {
        self.catalog.publish();
    }
}

/// Of any other shard.
struct PartitionsReplica {
    shard: ShardId,
    machine: Option<ShardMachine>,
    hub: Arc<Hub>,
    dues: Arc<Dues>,
    effects: Vec<Effect>,
    changed: BTreeSet<PartitionId>,
    /// Queues among them.
    queues: BTreeSet<PartitionId>,
}

impl Machine for PartitionsReplica {
    fn reload(&mut self, view: &dyn View, space: Space) -> Result<(), Error> {
        let machine = self.machine.insert(ShardMachine::load(view, space)?);
        let queues = machine.partitions().into_iter().flat_map(|partitions| {
            let queues = partitions.queues();
            queues.iter().map(|(id, _)| (id, Due::of(queues, id)))
        });
        self.dues.replace(self.shard, queues);
        self.hub.all_changed();
        Ok(())
    }

    fn apply(
        &mut self,
        view: &dyn View,
        stamp: Stamp,
        command: &Bytes,
        payloads: &[PayloadRef],
        batch: &mut WriteBatch,
    ) -> Result<Bytes, Error> {
        let machine = self.machine.as_mut().expect("loaded before anything is applied");
        let reply = machine.apply(view, domain(stamp), command, payloads, batch, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Appended { partition, .. }
                | Effect::LogStartMoved { partition, .. }
                | Effect::PartitionCreated { partition }
                | Effect::PartitionDeleted { partition } => {
                    self.changed.insert(partition);
                }
                Effect::QueueChanged { queue } => {
                    self.changed.insert(queue);
                    self.queues.insert(queue);
                }
                Effect::CatalogChanged { .. } | Effect::RoutingChanged(_) => {}
            }
        }
        reply
    }

    fn written(&mut self) {
        let partitions = self.machine.as_ref().and_then(ShardMachine::partitions);
        let queues = partitions.map(|partitions| partitions.queues());
        let changed = std::mem::take(&mut self.queues);
        let changed = changed
            .into_iter()
            .map(|id| (id, queues.map(|queues| Due::of(queues, id)).unwrap_or_default()));
        self.dues.note(self.shard, changed);
        while let Some(partition) = self.changed.pop_first() {
            self.hub.changed(partition);
        }
    }
}

fn domain(stamp: Stamp) -> kontiki_domain::Stamp {
    kontiki_domain::Stamp { index: stamp.index, term: stamp.term, time_ms: stamp.time_ms }
}
