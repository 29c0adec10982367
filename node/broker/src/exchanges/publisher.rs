//! Publishes for one client in the order of its calls, many of which are under way.
//!
//! A call routes its messages and gives them their places in their queues, and then the next call
//! does: what was sent to a queue before is stored there before (see `queues::pool`). No call waits
//! until an earlier one is stored, so a queue that can't store now holds up nothing but its own
//! messages.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout_at};

use super::publish::{Outcome, Publication, Publish};
use crate::core::{Broker, Core};
use crate::error::Error;
use crate::produce::Share;

/// Publishes in order: in each queue, the messages of a call come behind those of the calls before
/// it, whatever exchanges they were published to. What fails or is refused leaves a gap.
pub struct Publisher {
    core: Arc<Core>,
    /// Whose turn it is. It is given in the order in which it was asked for.
    turn: Arc<Mutex<()>>,
    /// Calls that have a share of the node's memory.
    holders: Arc<watch::Sender<usize>>,
}

impl Broker {
    /// A publisher. What it has under way is bounded by whoever calls it.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        let holders = Arc::new(watch::Sender::new(0));
        Publisher { core: Arc::clone(&self.0), turn: Arc::default(), holders }
    }
}

impl Publisher {
    /// Publishes messages: as [`Broker::publish`]. The call has its place when this returns. Where
    /// the node has no memory for it, it waits for earlier calls, and is refused only if there are
    /// none.
    ///
    /// A future that is dropped has not been waited for: what it was to publish may be stored.
    pub fn publish(&self, publish: Publish) -> impl Future<Output = Outcome> + Send + use<> {
        let core = Arc::clone(&self.core);
        let deadline = publish.deadline();
        let holders = Arc::clone(&self.holders);
        let mut turn = Box::pin(Arc::clone(&self.turn).lock_owned());
        // Its place is that of its first poll, which must not be put off.
        let at_once = tokio::task::unconstrained(&mut turn).now_or_never();
        async move {
            let turn = match at_once {
                Some(turn) => turn,
                None => timeout_at(deadline, turn).await.map_err(|_| {
                    Error::not_done_in_time(&format!("exchange {:?}", publish.exchange))
                })?,
            };
            let line = Line { turn: Some(turn), holders: Some(holders), holds: false };
            core.publish(publish, deadline, line).await
        }
    }
}

/// A call's place among those of its publisher.
pub(super) struct Line {
    /// Those behind it wait for that.
    turn: Option<OwnedMutexGuard<()>>,
    holders: Option<Arc<watch::Sender<usize>>>,
    /// It is one of them.
    holds: bool,
}

impl Line {
    /// Of a call that has none before it and none behind it.
    pub(super) fn alone() -> Self {
        Self { turn: None, holders: None, holds: false }
    }

    /// Lets the next call begin.
    pub(super) fn pass(&mut self) {
        self.turn = None;
    }

    /// See [`Core::share`]; waits for earlier calls where they have what it needs.
    ///
    /// # Errors
    /// THROTTLED, if there are none or they don't end in time.
    pub(super) async fn room(
        &mut self,
        core: &Core,
        messages: &[Publication],
        queues: usize,
        deadline: Instant,
    ) -> Result<(usize, Share), Error> {
        let Some(holders) = &self.holders else { return core.share(messages, queues) };
        let mut ends = holders.subscribe();
        loop {
            // Before it is tried: who ends after that is heard of.
            let others = *ends.borrow_and_update();
            match core.share(messages, queues) {
                Ok(room) => {
                    holders.send_modify(|holders| *holders += 1);
                    self.holds = true;
                    return Ok(room);
                }
                Err(full) if others == 0 => return Err(full),
                Err(full) => {
                    let ended = timeout_at(deadline, ends.changed()).await;
                    if ended.is_err() {
                        return Err(full);
                    }
                }
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(holders) = self.holders.as_ref().filter(|_| self.holds) {
            holders.send_modify(|holders| *holders -= 1);
        }
    }
}
