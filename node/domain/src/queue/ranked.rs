//! What waits out of order, read ahead in pages for one command: nothing else takes it meanwhile.

use std::collections::VecDeque;

use kontiki_storage::Error;
use kontiki_storage::engine::{KeyRange, Row};
use kontiki_storage::id::Offset;
use kontiki_storage::key::queue as keys;

use super::machine::{Queue, Work};
use super::mark::Mark;
use super::ready::mark_in;

/// Rows that are read in one step.
const RANKED_PAGE: usize = 256;

/// Rows that were read ahead.
#[derive(Default)]
pub(super) struct Ranked {
    pub(super) rows: VecDeque<(Offset, Mark)>,
    /// Where to go on.
    rest: Option<KeyRange>,
    /// How many were read at once: a command that takes few reads few.
    step: usize,
}

impl Ranked {
    /// The next rows of `all`, and whether they are the first ones.
    fn read(&mut self, work: &mut Work<'_>, all: &KeyRange) -> Result<(Vec<Row>, bool), Error> {
        self.step = (self.step * 4).clamp(1, RANKED_PAGE);
        let mut rows = Vec::new();
        let mut first = false;
        if let Some(rest) = &self.rest {
            rows = work.scan(rest.clone(), self.step)?;
        }
        if rows.is_empty() {
            // Where something was read before, something else has come below it.
            first = self.rest.is_none();
            rows = work.scan(all.clone(), self.step)?;
        }
        self.rest = rows.last().map(|(last, _)| all.after(last));
        Ok((rows, first))
    }

    pub(super) fn read_class(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
        class: u8,
    ) -> Result<(), Error> {
        let all = keys::ready_class(work.space, work.id, class, queue.begins.ready(class));
        let (rows, first) = self.read(work, &all)?;
        for (row_key, value) in rows {
            let offset = keys::offset_of(&row_key);
            let offset = offset.ok_or_else(|| work.corrupt("message", "its key is too short"))?;
            if first && self.rows.is_empty() {
                queue.begins.ready_begins_at(class, offset);
            }
            self.rows.push_back((offset, mark_in(work, offset, &value)?));
        }
        Ok(())
    }

    pub(super) fn read_overdue(
        &mut self,
        queue: &mut Queue,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        let Some((through_ms, _)) = queue.state.due_through else { return Ok(()) };
        let all = keys::dues(work.space, work.id, queue.begins.dues.get(), through_ms);
        let (rows, first) = self.read(work, &all)?;
        for (row_key, value) in rows {
            let due = keys::time_of(&row_key);
            let due = due.ok_or_else(|| work.corrupt("message", "its key is too short"))?;
            if !queue.state.is_overdue(due.0, due.1) {
                break;
            }
            if first && self.rows.is_empty() {
                queue.begins.dues.begin_at(due);
            }
            self.rows.push_back((due.1, mark_in(work, due.1, &value)?));
        }
        Ok(())
    }
}
