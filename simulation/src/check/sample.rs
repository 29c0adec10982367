//! Evidence made by hand, for the tests of the checks: one partition, operations one after the
//! other.

use super::{Evidence, FinalLog};
use crate::history::{Answer, Call, ClientId, Op, OpId, Outcome, Part, Producer, RecordName, Seen};

#[derive(Default)]
pub(super) struct Sample {
    pub(super) evidence: Evidence,
    client: u32,
}

fn part() -> Part {
    Part { topic: "t".to_owned(), partition: 0 }
}

fn name(number: u64) -> RecordName {
    RecordName { client: 1, number }
}

fn seen(offset: u64, number: u64) -> Seen {
    Seen { offset, record: Some(name(number)), checksum: 7, timestamp_ms: 1 }
}

fn seen_from(from: u64, numbers: &[u64]) -> Vec<Seen> {
    (from..).zip(numbers).map(|(offset, number)| seen(offset, *number)).collect()
}

impl Sample {
    fn op(&mut self, call: Call, answer: Answer) {
        let ops = &mut self.evidence.history.ops;
        let id = OpId(ops.len() as u64);
        let invoked = id.0 * 10;
        let returned = Some((invoked + 5, Outcome::Ok(answer)));
        ops.push(Op { id, client: ClientId(self.client), call, invoked, returned });
    }

    /// What follows is done by another client.
    pub(super) fn other_client(&mut self) {
        self.client += 1;
    }

    /// A record is acknowledged.
    pub(super) fn produce(&mut self, number: u64, offset: u64) {
        let producer = Producer { idempotent: true, session: 0 };
        let call = Call::Produce { at: part(), producer, record: name(number), checksum: 7 };
        self.op(call, Answer::Produced { offset: Some(offset) });
    }

    /// Records are read.
    pub(super) fn fetch(&mut self, from: u64, high_watermark: u64, numbers: &[u64]) {
        let records = seen_from(from, numbers);
        let next = from + records.len() as u64;
        let answer = Answer::Fetched { records, high_watermark, log_start: 0, next };
        self.op(Call::Fetch { at: part(), from }, answer);
    }

    /// The high watermark is read.
    pub(super) fn latest(&mut self, offset: u64) {
        self.op(Call::Latest { at: part() }, Answer::Offset(offset));
    }

    /// Records are deleted.
    pub(super) fn delete(&mut self, before: u64) {
        self.op(Call::DeleteRecords { at: part(), before }, Answer::LogStart(before));
    }

    /// In the end this is there.
    pub(super) fn log(&mut self, log_start: u64, high_watermark: u64, numbers: &[u64]) {
        let log = FinalLog { log_start, high_watermark, records: seen_from(log_start, numbers) };
        self.evidence.logs.entry("t".to_owned()).or_default().insert(0, log);
    }
}
