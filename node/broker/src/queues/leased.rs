//! Messages that are leased, and that nobody has yet. Whoever drops them gives them back: however
//! a receive ends, what it doesn't hand on is for others at once, and doesn't count as an attempt.

use std::fmt;
use std::sync::Arc;

use kontiki_domain::queue::{Action, Command, Grant, Settlement};
use kontiki_storage::id::{PartitionId, ShardId};
use tokio::runtime::Handle;

use crate::core::Core;

/// See the module.
pub(crate) struct Leased {
    core: Arc<Core>,
    shard: ShardId,
    queue: PartitionId,
    grants: Vec<Grant>,
}

impl Leased {
    pub(crate) fn new(
        core: &Arc<Core>,
        shard: ShardId,
        queue: PartitionId,
        grants: Vec<Grant>,
    ) -> Self {
        Self { core: Arc::clone(core), shard, queue, grants }
    }

    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Those that are given to whoever asked are its own; the others go back.
    pub(crate) fn given(mut self, is_given: impl Fn(&Grant) -> bool) {
        self.grants.retain(|grant| !is_given(grant));
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leased").field(&self.queue).field(&self.grants).finish()
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        // None: the process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let action = Action::Return;
        let settlement =
            |grant: &Grant| Settlement { offset: grant.offset, lease: grant.lease, action };
        let settlements = self.grants.iter().map(settlement).collect();
        let command = Command::Settle { queue: self.queue, settlements, reasons: Vec::new() };
        let deadline = self.core.default_deadline();
        let asked = self.core.ask_queue(self.shard, command, Vec::new(), deadline);
        runtime.spawn(async move {
            if let Err(error) = asked.await {
                tracing::debug!(%error, "messages that nobody got come back after their lease");
            }
        });
    }
}
