//! What consumers of the durable subscription were given, and what has moved its position besides.

use std::collections::BTreeMap;

use super::Evidence;
use crate::history::{Answer, Call, ClientId, Ms, Op, Part, RecordName, Reset, Seen};
use crate::workload::FOLLOWED;

/// A node that was asked to open a subscription from its end looks for that end for so long at
/// most after nobody waits for it any more.
const LATE_MS: Ms = 15_000;

/// Records that were given to a consumer.
pub(super) struct Follow<'e> {
    pub(super) op: &'e Op,
    pub(super) returned: Ms,
    pub(super) at: &'e Part,
    pub(super) records: &'e [Seen],
    /// When its consumer began to open the subscription.
    pub(super) opened: Ms,
}

/// What was committed when a consumer closed.
pub(super) struct Closed<'e> {
    pub(super) returned: Ms,
    pub(super) positions: &'e [(Part, u64)],
    /// How that consumer had opened the subscription.
    opening: Option<&'e Op>,
}

/// All that was given, in the order in which it came, and all that was committed.
pub(super) fn follows(evidence: &Evidence) -> (Vec<Follow<'_>>, Vec<Closed<'_>>) {
    let mut openings: BTreeMap<ClientId, &Op> = BTreeMap::new();
    let (mut follows, mut closed) = (Vec::new(), Vec::new());
    for op in &evidence.history.ops {
        let opening = openings.get(&op.client).copied();
        match (&op.call, op.answer()) {
            (Call::Subscribe { .. }, _) => {
                openings.insert(op.client, op);
            }
            (Call::Follow, Some((returned, Answer::Followed(Some((at, records)))))) => {
                let opened = opening.map_or(0, |opening| opening.invoked);
                follows.push(Follow { op, returned, at, records, opened });
            }
            (Call::Unsubscribe { acknowledged }, Some((returned, _))) => {
                closed.push(Closed { returned, positions: acknowledged, opening });
            }
            _ => {}
        }
    }
    follows.sort_by_key(|follow| follow.returned);
    (follows, closed)
}

/// Openings that move the position of the subscription.
pub(super) struct Resets<'e> {
    all: Vec<(&'e Op, Reset)>,
    /// When each record that is stored was sent, by partition and offset.
    sent: BTreeMap<(u32, u64), Ms>,
}

impl<'e> Resets<'e> {
    pub(super) fn of(evidence: &'e Evidence) -> Self {
        let mut names: BTreeMap<RecordName, Ms> = BTreeMap::new();
        let mut all = Vec::new();
        for op in &evidence.history.ops {
            if let Call::Produce { record, .. } = &op.call {
                names.insert(*record, op.invoked);
            }
            // One that is refused may have got so far, at a node that was asked before.
            if let Call::Subscribe { reset: Some(reset) } = &op.call {
                all.push((op, *reset));
            }
        }
        let mut sent = BTreeMap::new();
        for (partition, log) in evidence.logs.get(FOLLOWED).into_iter().flatten() {
            for seen in &log.records {
                let at = seen.record.and_then(|record| names.get(&record));
                sent.extend(at.map(|at| ((*partition, seen.offset), *at)));
            }
        }
        Self { all, sent }
    }

    /// Whether a record may have been passed over by a time: a consumer began at the end, and the
    /// record may have been before that.
    pub(super) fn may_skip(&self, partition: u32, offset: u64, by: Ms) -> bool {
        let sent = self.sent.get(&(partition, offset)).copied().unwrap_or(0);
        self.all.iter().any(|(op, reset)| {
            let until = match (op.answer(), &op.returned) {
                (Some((returned, _)), _) => returned,
                (None, Some((returned, _))) => returned + LATE_MS,
                (None, None) => Ms::MAX,
            };
            *reset == Reset::Latest && op.invoked <= by && sent <= until
        })
    }

    /// Whether what a consumer has committed when it closed may have been taken back by a time.
    /// What it commits after the reset of another one is not noted; its own was over before.
    pub(super) fn may_repeat(&self, closed: &Closed<'_>, by: Ms) -> bool {
        let opened = closed.opening.map_or(0, |opening| opening.invoked);
        self.all.iter().any(|(op, _)| {
            let until = op.answer().map_or(Ms::MAX, |(returned, _)| returned);
            let is_own = closed.opening.is_some_and(|opening| opening.id == op.id);
            !is_own && until >= opened && op.invoked <= by
        })
    }
}
