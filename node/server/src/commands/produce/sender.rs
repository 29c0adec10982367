//! Hands records to the producer, looks at what becomes of them, and sums up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kontiki_client::{Delivered, Delivery, NewRecord, Producer};
use serde_json::{Value, json};

use crate::commands::CommandError;
use crate::commands::output::{self, line};

/// Records whose outcome is not looked at yet.
const OUTSTANDING_MAX: usize = 100_000;

/// What was written to a partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Written {
    records: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sender {
    producer: Producer,
    topic: Arc<str>,
    /// What a record is called in messages.
    noun: &'static str,
    outstanding: VecDeque<Delivery>,
    partitions: BTreeMap<u32, Written>,
    records: u64,
    bytes: u64,
}

impl Sender {
    pub(super) fn new(producer: Producer, topic: String, is_file: bool) -> Self {
        Self {
            producer,
            topic: Arc::from(topic),
            noun: if is_file { "chunk" } else { "line" },
            outstanding: VecDeque::new(),
            partitions: BTreeMap::new(),
            records: 0,
            bytes: 0,
        }
    }

    pub(super) fn topic(&self) -> Arc<str> {
        self.topic.clone()
    }

    /// Sends one record; fails as soon as an earlier one is known to have failed.
    pub(super) async fn send(&mut self, record: NewRecord) -> Result<(), CommandError> {
        let number = self.records + self.outstanding.len() as u64 + 1;
        self.bytes += record.value.as_ref().map_or(0, |value| value.len() as u64);
        let sent = self.producer.send(record).await;
        let delivery = sent.map_err(|error| self.failed(number, error))?;
        self.outstanding.push_back(delivery);
        self.settle_ready()?;
        if self.outstanding.len() >= OUTSTANDING_MAX {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Waits for everything, and says what was written.
    pub(super) async fn finish(mut self, json: bool) -> Result<(), CommandError> {
        // Deliveries say more than this: which record it was.
        let _ = self.producer.flush().await;
        while !self.outstanding.is_empty() {
            self.settle_first().await?;
        }
        if json { output::json(&self.json()) } else { line(&self.text()) }
    }

    fn settle_ready(&mut self) -> Result<(), CommandError> {
        while let Some(outcome) = self.outstanding.front().and_then(Delivery::now) {
            self.outstanding.pop_front();
            self.count(outcome)?;
        }
        Ok(())
    }

    async fn settle_first(&mut self) -> Result<(), CommandError> {
        let Some(first) = self.outstanding.pop_front() else { return Ok(()) };
        let outcome = first.await;
        self.count(outcome)
    }

    fn count(
        &mut self,
        outcome: Result<Delivered, kontiki_client::Error>,
    ) -> Result<(), CommandError> {
        let delivered = outcome.map_err(|error| self.failed(self.records + 1, error))?;
        self.records += 1;
        let written = self.partitions.entry(delivered.partition).or_default();
        written.records += 1;
        written.first = written.first.or(delivered.offset);
        written.last = delivered.offset.or(written.last);
        Ok(())
    }

    fn failed(&self, number: u64, error: kontiki_client::Error) -> CommandError {
        let (noun, topic) = (self.noun, &self.topic);
        let stored = if error.surely_not_done() { "was not stored" } else { "may not be stored" };
        let before = number.saturating_sub(1);
        CommandError::from(error).context(format!(
            "{noun} {number} {stored} in {topic} (the {before} before it are; later ones may be)"
        ))
    }

    fn text(&self) -> String {
        let (topic, records, bytes) = (&self.topic, self.records, self.bytes);
        let plural = if records == 1 { "" } else { "s" };
        let mut text = format!("{records} record{plural} ({bytes} bytes) written to {topic}");
        for (partition, written) in &self.partitions {
            text.push_str(&match (written.first, written.last) {
                (Some(first), Some(last)) if first == last => {
                    format!("\n  partition {partition}: offset {first}")
                }
                (Some(first), Some(last)) => {
                    format!("\n  partition {partition}: offsets {first} to {last}")
                }
                _ => format!("\n  partition {partition}: {} records", written.records),
            });
        }
        text
    }

    fn json(&self) -> Value {
        let partitions = self.partitions.iter().map(|(partition, written)| {
            json!({
                "partition": partition,
                "records": written.records,
                "first_offset": written.first,
                "last_offset": written.last,
            })
        });
        json!({
            "topic": &*self.topic,
            "records": self.records,
            "bytes": self.bytes,
            "partitions": partitions.collect::<Value>(),
        })
    }
}
