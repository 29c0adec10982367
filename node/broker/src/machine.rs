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
use crate::hub::Hub;

/// Makes the state machines of a node.
pub(crate) struct Machines {
    pub(crate) catalog: Arc<CatalogCopy>,
    pub(crate) hub: Arc<Hub>,
}

impl MachineFactory for Machines {
    fn create(&self, shard: ShardId) -> Box<dyn Machine> {
        let effects = Vec::new();
        if shard == ShardId::CATALOG {
            Box::new(CatalogReplica { catalog: Arc::clone(&self.catalog), effects })
        } else {
            let changed = BTreeSet::new();
            Box::new(PartitionsReplica {
                machine: None,
                hub: Arc::clone(&self.hub),
                effects,
                changed,
            })
        }
    }
}

/// Of shard 0: applied straight to the copy that everybody looks at.
struct CatalogReplica {
    catalog: Arc<CatalogCopy>,
    effects: Vec<Effect>,
}

impl Machine for CatalogReplica {
    fn reload(&mut self, view: &dyn View, space: Space) -> Result<(), Error> {
        let loaded = ShardMachine::load(view, space)?;
        self.catalog.change(|machine| *machine = loaded);
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
        effects.clear();
        reply
    }

    fn written(&mut self) {
        self.catalog.publish();
    }
}

/// Of any other shard.
struct PartitionsReplica {
    machine: Option<ShardMachine>,
    hub: Arc<Hub>,
    effects: Vec<Effect>,
    changed: BTreeSet<PartitionId>,
}

impl Machine for PartitionsReplica {
    fn reload(&mut self, view: &dyn View, space: Space) -> Result<(), Error> {
        self.machine = Some(ShardMachine::load(view, space)?);
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
                Effect::CatalogChanged { .. } => {}
            }
        }
        reply
    }

    fn written(&mut self) {
        while let Some(partition) = self.changed.pop_first() {
            self.hub.changed(partition);
        }
    }
}

fn domain(stamp: Stamp) -> kontiki_domain::Stamp {
    kontiki_domain::Stamp { index: stamp.index, term: stamp.term, time_ms: stamp.time_ms }
}
