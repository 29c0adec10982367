//! Settles leases: acknowledge, release, reject, extend. Several calls share a command while an
//! earlier one is under way.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kontiki_domain::queue::{
    self, CLASS_BYTES_MAX, Command, ERROR_BYTES_MAX, Reason, Reply, Settlement, is_class,
};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::pool::{Pooled, Pools, Size};
use super::receipt::Receipt;
use super::{misunderstood, of_queue, within};
use crate::catalog::Place;
use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is done, and never delivered again.
    Acknowledge,
    /// The same, also where the lease has ended, and the message waits again or is leased to
    /// another consumer. In a FIFO queue it is [`Action::Acknowledge`].
    Delete,
    /// It is delivered again.
    Release {
        /// After so many milliseconds; `None`: after the backoff of the error's class or of the
        /// queue if it failed, at once otherwise.
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

/// What a consumer says about a delivery that failed: for [`Action::Reject`], and for
/// [`Action::Release`] as failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The class of the error, 1 to 64 characters of a-z A-Z 0-9 . _ -; empty: none.
    pub class: String,
    /// A text for people, at most 1 KiB; may be empty.
    pub error: String,
}

/// A message to be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// What names its lease.
    pub receipt: String,
    /// What to do.
    pub action: Action,
    /// Why, if anything is said about it. Many messages may have the same.
    pub said: Option<Arc<Said>>,
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
        settlements: Vec<Settle>,
    ) -> Result<Vec<Result<Settled, Error>>, Error> {
        let core = &self.0;
        within("receipts", settlements.len())?;
        let (place, _) = core.queue(name)?;
        let mut answers: Vec<Result<Settled, Error>> = Vec::with_capacity(settlements.len());
        let mut asked: Vec<Settlement> = Vec::with_capacity(settlements.len());
        let mut reasons = Reasons::default();
        for Settle { receipt, action, said } in &settlements {
            let checked = check(*action, said.as_deref()).and_then(|action| {
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
                reasons.note(asked.len(), said.as_ref());
                asked.push(settlement);
                Settled { lease_until_ms: None }
            }));
        }
        if asked.is_empty() {
            return Ok(answers);
        }
        let deadline = core.default_deadline();
        let (answer, answered) = oneshot::channel();
        let wishes = Wishes { settlements: asked, reasons: reasons.all, deadline, answer };
        core.pool(place, wishes).map_err(|error| of_queue(name, error))?;
        let unknown = || Error::outcome_unknown(&format!("the leader of shard {}", place.shard));
        let settled = match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(settled)) => settled,
            Ok(Err(_)) | Err(_) => Err(unknown()),
        };
        let settled = settled.map_err(|error| of_queue(name, error))?;
        let mut settled = settled.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            let done = settled.next();
            *answer = done.map_or_else(|| Err(Error::internal("an answer is missing")), outcome);
        }
        Ok(answers)
    }
}

/// What one call wants.
pub(crate) struct Wishes {
    settlements: Vec<Settlement>,
    reasons: Vec<Reason>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Vec<queue::Settled>, Error>>,
}

impl Pooled for Wishes {
    fn size(&self) -> Size {
        let bytes = self.reasons.iter().map(|reason| reason.class.len() + reason.error.len()).sum();
        Size { messages: self.settlements.len(), bytes }
    }

    fn pools(core: &Core) -> &Pools<Self> {
        &core.settlements
    }

    fn propose(core: Arc<Core>, place: Place, all: Vec<Self>) -> BoxFuture<'static, ()> {
        Box::pin(settle_all(core, place, all))
    }
}

async fn settle_all(core: Arc<Core>, place: Place, mut all: Vec<Wishes>) {
    let deadline = all.iter().map(|wishes| wishes.deadline).max();
    let deadline = deadline.unwrap_or_else(|| core.default_deadline());
    let counts: Vec<usize> = all.iter().map(|wishes| wishes.settlements.len()).collect();
    let (mut settlements, mut reasons) = (Vec::with_capacity(counts.iter().sum()), Vec::new());
    for wishes in &mut all {
        let before = u32::try_from(settlements.len()).expect("bounded");
        settlements.append(&mut wishes.settlements);
        let moved = |reason: Reason| Reason { first: before + reason.first, ..reason };
        reasons.extend(wishes.reasons.drain(..).map(moved));
    }
    let actions: Vec<queue::Action> = settlements.iter().map(|one| one.action).collect();
    let command = Command::Settle { queue: place.partition, settlements, reasons };
    let settled = match core.ask_queue(place.shard, command, Vec::new(), deadline).await {
        Ok(Reply::Settled(settled)) if settled.len() == actions.len() => Ok(settled),
        Ok(reply) => Err(misunderstood(&reply)),
        Err(error) => Err(error),
    };
    if let Ok(settled) = &settled {
        core.metrics.queue.count(&actions, settled);
    }
    let mut first = 0;
    for (wishes, count) in all.into_iter().zip(counts) {
        let own = settled.as_ref().map(|settled| settled[first..first + count].to_vec());
        first += count;
        // Whoever asked may have gone.
        let _ = wishes.answer.send(own.map_err(Error::clone));
    }
}

/// The reasons of a command. Equal ones of neighbours are one.
#[derive(Default)]
struct Reasons<'a> {
    all: Vec<Reason>,
    last: Option<&'a Arc<Said>>,
}

impl<'a> Reasons<'a> {
    fn note(&mut self, number: usize, said: Option<&'a Arc<Said>>) {
        let last = std::mem::replace(&mut self.last, said);
        let Some(said) = said else { return };
        let same = last.is_some_and(|last| Arc::ptr_eq(last, said));
        match self.all.last_mut().filter(|_| same) {
            Some(reason) => reason.count += 1,
            None => {
                let first = u32::try_from(number).expect("bounded");
                let Said { class, error } = Said::clone(said);
                self.all.push(Reason { first, count: 1, class, error });
            }
        }
    }
}

fn check(action: Action, said: Option<&Said>) -> Result<queue::Action, Error> {
    if let Some(Said { class, error }) = said {
        match action {
            Action::Reject | Action::Release { failed: true, .. } => {}
            Action::Release { failed: false, .. }
            | Action::Acknowledge
            | Action::Delete
            | Action::Extend { .. } => {
                let expected = "nothing: only a failure has an error or a class of errors";
                return Err(Error::invalid("error", format!("{class:?} {error:?}"), expected));
            }
        }
        if !class.is_empty() && !is_class(class) {
            let expected = format!("1 to {CLASS_BYTES_MAX} characters of a-z A-Z 0-9 . _ -");
            return Err(Error::invalid("error_class", format!("{class:?}"), &expected));
        }
        if error.len() > ERROR_BYTES_MAX {
            let expected = format!("at most {ERROR_BYTES_MAX} bytes");
            return Err(Error::invalid("error", format!("{} bytes", error.len()), &expected));
        }
    }
    Ok(match action {
        Action::Acknowledge => queue::Action::Acknowledge,
        Action::Delete => queue::Action::Delete,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(class: &str, error: &str) -> Option<Arc<Said>> {
        Some(Arc::new(Said { class: class.to_owned(), error: error.to_owned() }))
    }

    #[test]
    fn what_is_said_of_neighbours_is_said_once() {
        let (one, other) = (said("a", ""), said("b", "it broke"));
        let all = [&one, &one, &None, &one, &other, &other];
        let mut reasons = Reasons::default();
        for (number, said) in all.into_iter().enumerate() {
            reasons.note(number, said.as_ref());
        }
        let seen = reasons.all.iter().map(|one| (one.first, one.count, one.class.as_str()));
        assert_eq!(seen.collect::<Vec<_>>(), [(0, 2, "a"), (3, 1, "a"), (4, 2, "b")]);
    }

    #[test]
    fn only_failures_have_reasons_and_those_have_bounds() {
        let failed = Action::Release { delay_ms: None, failed: true };
        let released = Action::Release { delay_ms: None, failed: false };
        let refused = |action, said: Option<Arc<Said>>| {
            check(action, said.as_deref()).expect_err("refused").detail
        };
        assert!(check(failed, said("timeout", "no answer").as_deref()).is_ok());
        assert!(check(Action::Reject, said("", "no answer").as_deref()).is_ok());
        assert!(refused(released, said("timeout", "")).contains("only a failure"));
        assert!(refused(Action::Acknowledge, said("", "x")).contains("only a failure"));
        assert!(refused(failed, said("a b", "")).contains("error_class is \"a b\""));
        let long = refused(Action::Reject, said("", &"x".repeat(1_025)));
        assert!(long.contains("error is 1025 bytes, expected at most 1024 bytes"), "{long}");
    }
}
