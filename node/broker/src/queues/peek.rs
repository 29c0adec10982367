//! Looks at messages without leasing them.

use std::sync::Arc;

use kontiki_storage::id::{PartitionId, ShardId};

use super::receive::{message, records_of};
use super::{MESSAGES_MAX, Message, of_queue};
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::read::wire::{self, Request, Response};

/// How a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be received.
    Available,
    /// A consumer has it.
    Leased,
    /// It waits for a time.
    Scheduled,
    /// It is on its way to another queue.
    Moving,
}

impl Standing {
    /// Its number between nodes.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Available => 1,
            Self::Leased => 2,
            Self::Scheduled => 3,
            Self::Moving => 4,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            2 => Self::Leased,
            3 => Self::Scheduled,
            4 => Self::Moving,
            _ => Self::Available,
        }
    }
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Peeked {
    /// The messages, oldest first. Their receipts are empty.
    pub messages: Vec<(Message, Standing)>,
    /// Where the next page begins; `None`: there is no more.
    pub next: Option<u64>,
}

impl Broker {
    /// Messages that are not settled, from a position on, oldest first.
    ///
    /// # Errors
    /// No such queue, a field out of bounds, or no leader in time.
    pub async fn peek(&self, queue: &str, from: u64, max: u32) -> Result<Peeked, Error> {
        if max == 0 || max as usize > MESSAGES_MAX {
            return Err(Error::invalid("max_messages", max, &format!("1 to {MESSAGES_MAX}")));
        }
        let (place, _) = self.0.queue(queue)?;
        let peeked = self.0.peek(place.shard, place.partition, from, max).await;
        peeked.map_err(|error| of_queue(queue, error))
    }
}

impl Core {
    /// The same of a queue that is known by its id.
    pub(crate) async fn peek(
        self: &Arc<Self>,
        shard: ShardId,
        queue: PartitionId,
        from: u64,
        max: u32,
    ) -> Result<Peeked, Error> {
        let request = Request::Peek(wire::Peek { queue: queue.0, from, max });
        let (response, payloads) =
            self.read_shard(shard, &request, self.default_deadline()).await?;
        let Response::Peeked { messages, next } = response else {
            return Err(Error::internal("a peek was answered with something else"));
        };
        let records = records_of(&messages, &payloads)?;
        let seen = messages.iter().zip(records).map(|(delivered, record)| {
            let message = message(queue, delivered, record);
            let receipt = String::new();
            (Message { receipt, ..message }, Standing::from_number(delivered.standing))
        });
        Ok(Peeked { messages: seen.collect(), next })
    }
}
