//! The consumer: partitions are assigned to it, their records come in order, prefetched.
//!
//! | module | what it does |
//! |---|---|
//! | `driver` | one task: which partition is read at which node, and what happens when that fails |
//! | `reader` | one task for each node: its fetch stream |
//! | `decode` | batches to records; pure |
//! | `offsets` | finds the offset of a position |

mod decode;
mod driver;
pub(crate) mod offsets;
mod options;
mod reader;

use std::collections::HashMap;
use std::sync::Arc;

use kontiki_proto::v1;
use tokio::sync::mpsc;

pub use options::{ConsumerOptions, OutOfRange, Position};

use crate::{Client, ConsumedRecord, Error};
use driver::{Command, Driver};
use reader::Returned;

/// A partition of a topic.
pub(crate) type Key = (Arc<str>, u32);

/// Records of one partition, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Their topic.
    pub topic: Arc<str>,
    /// Their partition.
    pub partition: u32,
    /// May be empty, where only records that are not shown to applications were passed over.
    pub records: Vec<ConsumedRecord>,
    /// Every record below it is stored by a quorum, as the node knew when it sent these.
    pub high_watermark: u64,
    /// The oldest offset that is there.
    pub log_start_offset: u64,
    /// Where reading goes on: what to store in order to continue here another time.
    pub next_offset: u64,
}

/// What waits for the application.
#[derive(Debug)]
pub(crate) enum Item {
    Fetched { fetched: Fetched, generation: u64, used: u32, returned: Arc<Returned> },
    Failed { key: Key, generation: u64, error: Error, is_final: bool },
}

/// Reads partitions. Dropping it ends its streams.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    /// By partition, its assignment's number: what belongs to a former one is passed over.
    assigned: HashMap<Key, u64>,
    next_generation: u64,
    commands: mpsc::Sender<Command>,
    items: mpsc::Receiver<Item>,
    /// Started with the first assignment.
    driver: Option<Driver>,
}

impl Consumer {
    pub(crate) fn new(client: Client, options: ConsumerOptions) -> Result<Self, Error> {
        options.validate()?;
        let (commands, receiver) = mpsc::channel(driver::COMMANDS_MAX);
        let (sender, items) = mpsc::channel(options.queue_max);
        let driver = Driver::new(client.clone(), options.clone(), receiver, sender);
        Ok(Self {
            client,
            options,
            assigned: HashMap::new(),
            next_generation: 1,
            commands,
            items,
            driver: Some(driver),
        })
    }

    /// Reads a partition from a position on, or moves one that is being read there: what was
    /// prefetched of it is dropped.
    ///
    /// # Errors
    /// NOT_FOUND, if there is no such topic or partition and the position has to be looked up;
    /// THROTTLED, if too many partitions are assigned; UNAVAILABLE or UNKNOWN, if no node answers
    /// within `retry_timeout_ms`. Nothing has changed then.
    pub async fn assign(
        &mut self,
        topic: &str,
        partition: u32,
        from: Position,
    ) -> Result<(), Error> {
        let key: Key = (Arc::from(topic), partition);
        let max = self.options.partitions_max;
        if self.assigned.len() >= max && !self.assigned.contains_key(&key) {
            let message = format!(
                "{max} partitions are assigned already, the limit (partitions_max): unassign one, \
                 or raise the limit"
            );
            return Err(Error::new(v1::ErrorKind::Throttled, message));
        }
        let offset = offsets::find(&self.client, topic, partition, from).await?;
        let generation = self.next_generation;
        self.next_generation += 1;
        self.tell(Command::Assign { key: key.clone(), generation, offset }).await?;
        self.assigned.insert(key, generation);
        Ok(())
    }

    /// Stops reading a partition; nothing of it comes any more. It is no error if it was not read.
    ///
    /// # Errors
    /// UNAVAILABLE, if the consumer's task has ended.
    pub async fn unassign(&mut self, topic: &str, partition: u32) -> Result<(), Error> {
        let key: Key = (Arc::from(topic), partition);
        if self.assigned.remove(&key).is_none() {
            return Ok(());
        }
        self.tell(Command::Unassign { key }).await
    }

    /// The partitions that are assigned.
    pub fn assignment(&self) -> impl Iterator<Item = (&str, u32)> {
        self.assigned.keys().map(|(topic, partition)| (&**topic, *partition))
    }

    /// The next records of any partition. Waits until there are some, also while a node is down or
    /// a leader is looked for. It may be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// What ends the reading of a partition, which then is no longer assigned: NOT_FOUND, if the
    /// offset, the topic or the partition is not there (see [`OutOfRange`]); INVALID, if a batch is
    /// damaged or too large. UNAVAILABLE or UNKNOWN, if a partition could not be read for
    /// `retry_timeout_ms`; the consumer goes on trying.
    pub async fn next(&mut self) -> Result<Fetched, Error> {
        loop {
            let item = self.items.recv().await.ok_or_else(stopped)?;
            match item {
                Item::Fetched { fetched, generation, used, returned } => {
                    returned.add(used);
                    let key = (fetched.topic.clone(), fetched.partition);
                    if self.assigned.get(&key) == Some(&generation) {
                        return Ok(fetched);
                    }
                }
                Item::Failed { key, generation, error, is_final } => {
                    if self.assigned.get(&key) == Some(&generation) {
                        if is_final {
                            self.assigned.remove(&key);
                        }
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn tell(&mut self, command: Command) -> Result<(), Error> {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver.run());
        }
        self.commands.send(command).await.map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::new(v1::ErrorKind::Unavailable, "the consumer's task has ended: make a new one")
}
