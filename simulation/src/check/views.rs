//! What several checks look for in the evidence.

use std::collections::BTreeMap;

use super::{Evidence, FinalLog, Violation};
use crate::history::{Answer, Call, Ms, Op, OpId, Part, Producer, RecordName, Seen};

/// A record that a client sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'e> {
    pub(super) op: &'e Op,
    pub(super) at: &'e Part,
    pub(super) producer: Producer,
    pub(super) record: RecordName,
    pub(super) checksum: u32,
}

/// All records that clients sent.
pub(super) fn sent(evidence: &Evidence) -> impl Iterator<Item = Sent<'_>> {
    evidence.history.ops.iter().filter_map(|op| {
        let Call::Produce { at, producer, record, checksum } = &op.call else { return None };
        Some(Sent { op, at, producer: *producer, record: *record, checksum: *checksum })
    })
}

impl Sent<'_> {
    /// Where it was acknowledged to be, and when.
    pub(super) fn acknowledged(&self) -> Option<(Ms, u64)> {
        let (when, Answer::Produced { offset: Some(offset) }) = self.op.answer()? else {
            return None;
        };
        Some((when, *offset))
    }
}

/// An answer to a fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'e> {
    pub(super) op: &'e Op,
    pub(super) at: &'e Part,
    pub(super) from: u64,
    pub(super) returned: Ms,
    pub(super) records: &'e [Seen],
    pub(super) high_watermark: u64,
    pub(super) log_start: u64,
    pub(super) next: u64,
}

/// All answers to fetches.
pub(super) fn reads(evidence: &Evidence) -> impl Iterator<Item = Read<'_>> {
    evidence.history.ops.iter().filter_map(|op| match (&op.call, op.answer()) {
        (
            Call::Fetch { at, from },
            Some((returned, Answer::Fetched { records, high_watermark, log_start, next })),
        ) => Some(Read {
            op,
            at,
            from: *from,
            returned,
            records,
            high_watermark: *high_watermark,
            log_start: *log_start,
            next: *next,
        }),
        _ => None,
    })
}

/// All final logs.
pub(super) fn logs(evidence: &Evidence) -> impl Iterator<Item = (Part, &FinalLog)> {
    evidence.logs.iter().flat_map(|(topic, partitions)| {
        partitions
            .iter()
            .map(|(partition, log)| (Part { topic: topic.clone(), partition: *partition }, log))
    })
}

/// What a client has learnt of a partition's bounds: at least so much, at so late a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'e> {
    pub(super) op: &'e Op,
    pub(super) at: &'e Part,
    pub(super) returned: Ms,
    pub(super) log_start: Option<u64>,
    pub(super) high_watermark: Option<u64>,
}

/// All that was read of the bounds of partitions.
pub(super) fn bounds(evidence: &Evidence) -> impl Iterator<Item = Bound<'_>> {
    evidence.history.ops.iter().filter_map(|op| {
        let (returned, answer) = op.answer()?;
        let bound = |at, log_start, high_watermark| {
            Some(Bound { op, at, returned, log_start, high_watermark })
        };
        match (&op.call, answer) {
            (Call::Fetch { at, .. }, Answer::Fetched { high_watermark, log_start, .. }) => {
                bound(at, Some(*log_start), Some(*high_watermark))
            }
            (Call::Latest { at }, Answer::Offset(offset)) => bound(at, None, Some(*offset)),
            (Call::Earliest { at }, Answer::Offset(offset)) => bound(at, Some(*offset), None),
            (Call::DeleteRecords { at, .. }, Answer::LogStart(start)) => {
                bound(at, Some(*start), None)
            }
            _ => None,
        }
    })
}

/// The largest value that was known before a time.
#[derive(Debug, Default)]
pub(super) struct Floor<'e> {
    /// When it was known, how large it was, by which operation: both grow.
    steps: Vec<(Ms, u64, &'e Op)>,
}

impl<'e> Floor<'e> {
    /// From values with the times from which they were known.
    pub(super) fn new(mut known: Vec<(Ms, u64, &'e Op)>) -> Self {
        known.sort_by_key(|(at, value, _)| (*at, *value));
        let mut steps: Vec<(Ms, u64, &Op)> = Vec::new();
        for step in known {
            if steps.last().is_none_or(|(_, value, _)| step.1 > *value) {
                steps.push(step);
            }
        }
        Self { steps }
    }

    /// The largest that was known in an earlier millisecond than this one.
    pub(super) fn before(&self, at: Ms) -> Option<(u64, &'e Op)> {
        let later = self.steps.partition_point(|(known, _, _)| *known < at);
        let (_, value, op) = self.steps.get(later.checked_sub(1)?)?;
        Some((*value, op))
    }
}

/// Values by partition, as they were known.
pub(super) type Floors<'e> = BTreeMap<&'e Part, Floor<'e>>;

/// Sorts values by partition.
pub(super) fn floors<'e>(known: impl Iterator<Item = (&'e Part, Ms, u64, &'e Op)>) -> Floors<'e> {
    let mut by_part: BTreeMap<&Part, Vec<(Ms, u64, &Op)>> = BTreeMap::new();
    for (part, at, value, op) in known {
        by_part.entry(part).or_default().push((at, value, op));
    }
    by_part.into_iter().map(|(part, known)| (part, Floor::new(known))).collect()
}

/// How a partition is named.
pub(super) fn name(part: &Part) -> String {
    format!("{}/{}", part.topic, part.partition)
}

/// How a record is named.
pub(super) fn record(name: RecordName) -> String {
    format!("record {} of client {}", name.number, name.client)
}

/// A promise was broken.
pub(super) fn broken(check: &'static str, text: String, at: Ms, ops: &[&Op]) -> Violation {
    let ops: Vec<OpId> = ops.iter().map(|op| op.id).collect();
    Violation { check: check.to_owned(), text, at: Some(at), ops, nodes: Vec::new() }
}
