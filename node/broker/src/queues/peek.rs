//! Looks at messages without leasing them.

use super::receive::{message, records_of};
use super::{MESSAGES_MAX, Message, of_queue};
use crate::core::Broker;
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
        let core = &self.0;
        if max == 0 || max as usize > MESSAGES_MAX {
            return Err(Error::invalid("max_messages", max, &format!("1 to {MESSAGES_MAX}")));
        }
        let (place, _) = core.queue(queue)?;
        let request = Request::Peek(wire::Peek { queue: place.partition.0, from, max });
        let answer = core.read_shard(place.shard, &request, core.default_deadline()).await;
        let (response, payloads) = answer.map_err(|error| of_queue(queue, error))?;
        let Response::Peeked { messages, next } = response else {
            return Err(Error::internal("a peek was answered with something else"));
        };
        let records = records_of(&messages, &payloads)?;
        let seen = messages.iter().zip(records).map(|(delivered, record)| {
            let message = message(place.partition, delivered, record);
            let receipt = String::new();
            (Message { receipt, ..message }, Standing::from_number(delivered.standing))
        });
        Ok(Peeked { messages: seen.collect(), next })
    }
}
