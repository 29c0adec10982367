//! Forgets idle producers, and the last traces of partitions deleted long ago.

use kontiki_storage::Family;
use kontiki_storage::id::PartitionId;
use kontiki_storage::key;

use super::{Context, at_least_one};
use crate::partition::{Partitions, Reply};
use crate::rejection::Rejection;

pub(super) fn apply(
    machine: &mut Partitions,
    context: Context<'_>,
    limit: u32,
) -> Result<Reply, Rejection> {
    at_least_one(limit)?;
    let now_ms = context.stamp.time_ms;
    let due: Vec<PartitionId> = machine
        .iter()
        .filter(|(id, state)| machine.forgettable(*id, state, now_ms))
        .map(|(id, _)| id)
        .collect();
    let (mut producers, mut partitions) = (0, 0);
    'all: for id in due {
        loop {
            let known = machine.get(id);
            let Some(state) = known.filter(|state| machine.forgettable(id, state, now_ms)) else {
                break;
            };
            if producers + partitions == limit {
                break 'all;
            }
            if state.is_live() {
                machine.producers.remove_oldest(context.batch, id);
                producers += 1;
            } else {
                assert_eq!(machine.producers.count_in(id), 0, "{id} is gone but has producers");
                machine.rows.remove(&id);
                context.batch.delete(Family::State, key::partition(machine.space, id));
                partitions += 1;
            }
        }
    }
    Ok(Reply::Expired { producers, partitions, more: machine.expiry_due(now_ms) })
}
