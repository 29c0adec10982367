//! Settles leases: acknowledge, release, reject, extend.

use kontiki_domain::queue::{self, Command, Reply, Settlement};

use super::receipt::Receipt;
use super::{misunderstood, of_queue, within};
use crate::core::Broker;
use crate::error::{Code, Error, Kind};

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is done, and never delivered again.
    Acknowledge,
    /// It is delivered again.
    Release {
        /// After so many milliseconds; `None`: after the queue's backoff if it failed, at once
        /// otherwise.
        delay_ms: Option<i64>,
        /// Whether this delivery counts as a failure.
        failed: bool,
    },
    /// It is moved to the dead-letter queue, or dropped where there is none.
    Reject,
    /// It stays leased for so many milliseconds from now on.
    Extend {
        /// 1 to 7 days.
        lease_ms: i64,
    },
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// After [`Action::Extend`]: until when, in milliseconds since 1970.
    pub lease_until_ms: Option<i64>,
}

/// Longest lease and pause: 7 days.
const SPAN_MS_MAX: i64 = 604_800_000;

impl Broker {
    /// Settles messages of a queue; one answer for each, in order.
    ///
    /// # Errors
    /// No such queue, too many, or no leader in time: then it is not known which were settled. In
    /// the answers: a receipt that is none, of another queue, or of a lease that has ended.
    pub async fn settle(
        &self,
        name: &str,
        settlements: Vec<(String, Action)>,
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        let core = &self.0;
        within("receipts", settlements.len())?;
        let (place, _) = core.queue(name)?;
        let mut answers: Vec<Result<Settled, Error>> = Vec::with_capacity(settlements.len());
        let mut asked: Vec<Settlement> = Vec::with_capacity(settlements.len());
        for (receipt, action) in &settlements {
            let checked = check(*action).and_then(|action| {
                let receipt = Receipt::decode(receipt)?;
                if receipt.queue != place.partition {
                    let detail = format!(
                        "the receipt is of another queue, or of one of this name that was deleted: \
                         settle it there, not in {name}"
                    );
                    return Err(Error::new(Kind::Invalid, Code::INVALID_RECEIPT, detail));
                }
                Ok(Settlement { offset: receipt.offset, lease: receipt.lease, action })
            });
            // What is asked of the queue is answered below.
            answers.push(checked.map(|settlement| {
                asked.push(settlement);
                Settled { lease_until_ms: None }
            }));
        }
        if asked.is_empty() {
            return Ok(answers);
        }
        let queue = place.partition;
        let actions: Vec<queue::Action> = asked.iter().map(|one| one.action).collect();
        let command = Command::Settle { queue, settlements: asked };
        let deadline = core.default_deadline();
        let reply = core.ask_queue(place.shard, command, Vec::new(), deadline).await;
        let reply = reply.map_err(|error| of_queue(name, error))?;
        let Reply::Settled(settled) = reply else { return Err(misunderstood(&reply)) };
        core.metrics.queue.count(&actions, &settled);
        let mut settled = settled.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            let done = settled.next();
            *answer = done.map_or_else(|| Err(Error::internal("an answer is missing")), outcome);
        }
        Ok(answers)
    }
}

fn check(action: Action) -> Result<queue::Action, Error> {
    Ok(match action {
        Action::Acknowledge => queue::Action::Acknowledge,
        Action::Release { delay_ms: Some(delay), .. } if !(0..=SPAN_MS_MAX).contains(&delay) => {
            return Err(Error::invalid("delay_ms", delay, &format!("0 to {SPAN_MS_MAX} (7 days)")));
        }
        Action::Release { delay_ms, failed } => queue::Action::Release { delay_ms, failed },
        Action::Reject => queue::Action::Reject,
        Action::Extend { lease_ms } if !(1..=SPAN_MS_MAX).contains(&lease_ms) => {
            let expected = format!("1 to {SPAN_MS_MAX} (7 days)");
            return Err(Error::invalid("lease_ms", lease_ms, &expected));
        }
        Action::Extend { lease_ms } => queue::Action::Extend { lease_ms },
    })
}

fn outcome(settled: queue::Settled) -> Result<Settled, Error> {
    match settled {
        queue::Settled::Done => Ok(Settled { lease_until_ms: None }),
        queue::Settled::Extended { until_ms } => Ok(Settled { lease_until_ms: Some(until_ms) }),
        queue::Settled::LeaseEnded => {
            let detail = "the lease of this receipt has ended: the message was settled, or is \
                          delivered again, under another receipt";
            Err(Error::new(Kind::Conflict, Code::LEASE_ENDED, detail))
        }
    }
}
