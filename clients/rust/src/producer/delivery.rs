//! What becomes of a record. All records of a batch share one state: a delivery is a reference to
//! it and a position, and costs no allocation, channel or task.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use kontiki_proto::v1;
use tokio::sync::Semaphore;

use crate::Error;

/// A record that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Where it is.
    pub partition: u32,
    /// Its place in the partition; none where the acknowledgement says nothing about it.
    pub offset: Option<u64>,
    /// When it was appended, by the leader's clock, in milliseconds since 1970.
    pub append_time_ms: i64,
    /// It was there already: an earlier attempt had succeeded after all.
    pub duplicate: bool,
    /// What the acknowledgement means.
    pub durability: v1::Durability,
}

/// The outcome of one record, to be awaited. Dropping it does not call the record back.
#[derive(Debug)]
#[must_use = "a record is known to be stored only when its delivery says so"]
pub struct Delivery {
    batch: Arc<BatchState>,
    index: u32,
    /// Where this one's waker is among those of the batch.
    slot: Option<usize>,
}

impl Delivery {
    pub(crate) fn new(batch: Arc<BatchState>, index: u32) -> Self {
        Self { batch, index, slot: None }
    }

    /// The partition that was chosen for the record.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.batch.partition
    }

    /// The outcome, if there is one already.
    #[must_use]
    pub fn now(&self) -> Option<Result<Delivered, Error>> {
        self.batch.outcome.get().map(|outcome| self.of(outcome))
    }

    fn of(&self, outcome: &Result<Delivered, Error>) -> Result<Delivered, Error> {
        let batch = outcome.as_ref().map_err(Clone::clone)?;
        let offset = batch.offset.map(|base| base.saturating_add(u64::from(self.index)));
        Ok(Delivered { offset, ..*batch })
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.now() {
            return Poll::Ready(outcome);
        }
        {
            let mut wakers = self.batch.wakers();
            // Whoever sets the outcome takes the wakers afterwards, under this lock.
            if self.batch.outcome.get().is_none() {
                let slot = match self.slot.and_then(|slot| wakers.get_mut(slot)) {
                    Some(waker) => {
                        waker.clone_from(context.waker());
                        self.slot
                    }
                    None => {
                        wakers.push(context.waker().clone());
                        Some(wakers.len() - 1)
                    }
                };
                drop(wakers);
                self.slot = slot;
                return Poll::Pending;
            }
        }
        let outcome = self.now().expect("it was there a moment ago, and is never taken back");
        Poll::Ready(outcome)
    }
}

/// What all records of a batch share.
#[derive(Debug)]
pub(crate) struct BatchState {
    partition: u32,
    /// Of the first record.
    outcome: OnceLock<Result<Delivered, Error>>,
    wakers: Mutex<Vec<Waker>>,
}

impl BatchState {
    pub(crate) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, outcome: Result<Delivered, Error>) {
        if self.outcome.set(outcome).is_ok() {
            let wakers = std::mem::take(&mut *self.wakers());
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

/// The other side: whoever holds it owes the batch an outcome. Dropped without one, the records'
/// fate is unknown. It also holds the room that the records take in the producer's buffer.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: Arc<BatchState>,
    buffer: Arc<Semaphore>,
    reserved_bytes: usize,
}

impl Ticket {
    pub(crate) fn new(partition: u32, buffer: Arc<Semaphore>) -> Self {
        let (outcome, wakers) = (OnceLock::new(), Mutex::default());
        let state = Arc::new(BatchState { partition, outcome, wakers });
        Self { state, buffer, reserved_bytes: 0 }
    }

    pub(crate) fn state(&self) -> &Arc<BatchState> {
        &self.state
    }

    /// Takes over the room of one more record.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.reserved_bytes += bytes;
    }

    pub(crate) fn settle(self, outcome: Result<Delivered, Error>) {
        self.state.settle(outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.buffer.add_permits(self.reserved_bytes);
        if !self.state.is_settled() {
            let message = "the producer was stopped before the record was acknowledged";
            self.state.settle(Err(Error::new(v1::ErrorKind::Unknown, message)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: u64) -> Delivered {
        Delivered {
            partition: 3,
            offset: Some(offset),
            append_time_ms: 1,
            duplicate: false,
            durability: v1::Durability::QuorumFsync,
        }
    }

    #[tokio::test]
    async fn every_record_of_a_batch_gets_its_own_offset() {
        let buffer = Arc::new(Semaphore::new(0));
        let mut ticket = Ticket::new(3, buffer.clone());
        ticket.hold(10);
        let first = Delivery::new(ticket.state().clone(), 0);
        let third = Delivery::new(ticket.state().clone(), 2);
        assert!(first.now().is_none());
        let waiting = tokio::spawn(async move { tokio::join!(first, third) });
        tokio::task::yield_now().await;
        ticket.settle(Ok(stored(40)));
        let (first, third) = waiting.await.expect("does not panic");
        assert_eq!(first.expect("stored").offset, Some(40));
        assert_eq!(third.expect("stored").offset, Some(42));
        assert_eq!(buffer.available_permits(), 10, "the room is free again");
    }

    #[tokio::test]
    async fn a_batch_that_is_dropped_has_an_unknown_fate() {
        let ticket = Ticket::new(0, Arc::new(Semaphore::new(0)));
        let delivery = Delivery::new(ticket.state().clone(), 0);
        drop(ticket);
        let error = delivery.await.expect_err("nobody knows");
        assert_eq!(error.kind, v1::ErrorKind::Unknown);
    }
}
