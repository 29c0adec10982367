//! Which replicas should be elsewhere: pure functions of the catalog. Each [`Move`] is proposed as
//! a command, which is refused if the placement has changed meanwhile.

mod drain;
mod leaders;
mod rebalance;
mod repair;
mod spread;

use kontiki_storage::id::{NodeId, ShardId};

pub use self::drain::{DrainPlan, plan_drain};
pub use self::leaders::leader_preferences;
pub use self::rebalance::plan_rebalance;
pub use self::repair::plan_repair;
pub(super) use self::spread::Spread;
use super::{Command, Placement, PlacementVersion};

/// Where the replicas of a shard should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// The version of its placement that this was planned on.
    pub version: PlacementVersion,
    /// One replica on each of these, sorted.
    pub nodes: Vec<NodeId>,
}

impl Move {
    fn of(placement: &Placement, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        Self { shard: placement.shard, version: placement.version, nodes }
    }

    /// The command that decides it.
    pub fn command(self) -> Command {
        let Self { shard, version, nodes } = self;
        Command::PlaceShard { shard, version, nodes }
    }
}
