//! Notes and forgets how far durable subscriptions have come.

use kontiki_storage::{Family, key};

use super::{Context, Stop};
use crate::partition::{
    CommitPosition, POSITIONS_MAX, Partitions, Position, PositionOf, Reply, overlay,
};
use crate::rejection::Rejection;

/// A position goes back only where that is asked for: what is noted twice, or late, changes
/// nothing. Nor does what a consumer says that was there before the one that has reset it.
pub(super) fn commit(
    machine: &Partitions,
    context: Context<'_>,
    positions: &[CommitPosition],
) -> Result<Reply, Stop> {
    few(positions.len())?;
    let Context { view, stamp, batch, .. } = context;
    let space = machine.space;
    let mut changed = 0;
    for commit in positions {
        let known = machine.get(commit.partition);
        let Some(state) = known.filter(|state| state.is_live() && state.queue.is_none()) else {
            continue;
        };
        let offset = commit.offset.min(state.log_end_offset);
        let row_key = key::position(space, commit.partition, commit.subscription);
        let former = overlay::get(view, batch, &row_key)?;
        let former = former.map(|row| Position::decode(space.shard, &row)).transpose()?;
        let generation = former.map_or(0, |former| former.generation);
        if commit.generation < generation {
            continue;
        }
        // What comes again of a reset doesn't undo what its consumer has noted since.
        let reset = commit.reset && (commit.generation > generation || generation == 0);
        let generation = if reset { commit.generation } else { generation };
        let moves = |former: Position| match reset {
            true => (former.offset, former.generation) != (offset, generation),
            false => former.offset < offset,
        };
        if former.is_none_or(moves) {
            let position = Position { offset, noted_ms: stamp.time_ms, generation };
            batch.put(Family::State, row_key, position.encode());
            changed += 1;
        }
    }
    Ok(Reply::Positions { changed })
}

pub(super) fn forget(
    machine: &Partitions,
    context: Context<'_>,
    positions: &[PositionOf],
) -> Result<Reply, Stop> {
    few(positions.len())?;
    let Context { view, batch, .. } = context;
    let mut changed = 0;
    for PositionOf { partition, subscription } in positions {
        let row_key = key::position(machine.space, *partition, *subscription);
        if overlay::get(view, batch, &row_key)?.is_some() {
            batch.delete(Family::State, row_key);
            changed += 1;
        }
    }
    Ok(Reply::Positions { changed })
}

fn few(count: usize) -> Result<(), Rejection> {
    if count <= POSITIONS_MAX {
        return Ok(());
    }
    let expected = format!("at most {POSITIONS_MAX}");
    Err(Rejection::invalid("the number of positions", count, &expected))
}
