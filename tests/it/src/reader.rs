//! A partition from its first record to its last, every byte checked.

use crate::api::AnyNode;
use crate::ledger::Read;
use crate::payload::RecordName;

/// Reads everything below the high watermark of this moment, through any node.
///
/// # Panics
/// Where a record is not what was written, where offsets jump within one answer, and where no node
/// answers well for a minute.
pub async fn read_all(nodes: &AnyNode, topic: &str, partition: u32) -> Vec<Read> {
    let (start, end) =
        nodes.ask("offsets", |api| async move { api.offsets(topic, partition).await }).await;
    assert_eq!(start, 0, "nothing of {topic} was deleted");
    let mut read = Vec::new();
    let mut next = start;
    while next < end {
        let fetched = nodes
            .ask("a fetch", |api| async move { api.fetch(topic, partition, next, 1_000).await })
            .await;
        assert!(fetched.high_watermark >= end, "the high watermark of {topic} has fallen");
        for record in &fetched.records {
            assert_eq!(record.offset, next, "records of one answer follow densely");
            let value = record.value.as_deref().unwrap_or_default();
            let name = RecordName::of_value(value)
                .unwrap_or_else(|why| panic!("{topic}/{partition} offset {next}: {why}"));
            read.push(Read { offset: next, name });
            next += 1;
        }
        assert_eq!(fetched.next_offset, next, "reading goes on behind the last record");
    }
    read
}
