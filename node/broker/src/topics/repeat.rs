//! Asks again where that helps: after a refusal that passes, and after an answer that failed to
//! come where the command may be committed twice without harm.

use std::time::Duration;

use kontiki_domain::{catalog, partition};
use kontiki_storage::id::ShardId;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Code, Error, Kind};

/// What came of asking, perhaps more than once.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// The last answer.
    pub(crate) outcome: Result<T, Error>,
    /// An earlier attempt may have been done, or may still be.
    pub(crate) maybe_before: bool,
}

impl<T> Asked<T> {
    /// The answer, where it doesn't matter how often it was asked for.
    ///
    /// # Errors
    /// The last one.
    pub(crate) fn done(self) -> Result<T, Error> {
        self.outcome
    }
}

/// What is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Also what may have been done: doing it twice is no harm, whatever others do in between.
    Always,
    /// Only what surely wasn't done.
    IfNotDone,
}

/// Asks until there is an answer or the time is up.
pub(crate) async fn until_answered<T, F>(
    deadline: Instant,
    pause: Duration,
    repeat: Repeat,
    mut ask: impl FnMut() -> F,
) -> Asked<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut maybe: Option<Error> = None;
    loop {
        let failure = match ask().await {
            Ok(answer) => return Asked { outcome: Ok(answer), maybe_before: maybe.is_some() },
            Err(failure) => failure,
        };
        let again = repeat == Repeat::Always || failure.kind != Kind::Unknown;
        let passing = again && is_passing(&failure);
        if passing && Instant::now() + pause < deadline {
            if failure.kind == Kind::Unknown {
                maybe = Some(failure);
            }
            tokio::time::sleep(pause).await;
            continue;
        }
        // "Not done" is true of the last attempt alone.
        let maybe_before = maybe.is_some();
        let failure = if passing { maybe.unwrap_or(failure) } else { failure };
        return Asked { outcome: Err(failure), maybe_before };
    }
}

/// Whether asking again may help before long.
fn is_passing(failure: &Error) -> bool {
    match failure.kind {
        Kind::Unknown | Kind::NotLeader => true,
        Kind::Unavailable => matches!(
            failure.code,
            Code::NO_LEADER | Code::UNREACHABLE | Code::SHARD_FAILED | Code::STOPPING
        ),
        Kind::Invalid
        | Kind::NotFound
        | Kind::Exists
        | Kind::Denied
        | Kind::Fenced
        | Kind::Conflict
        | Kind::Throttled
        | Kind::Internal => false,
    }
}

impl Core {
    fn pause(&self) -> Duration {
        Duration::from_millis(self.options.route.retry_ms)
    }

    /// Brings a command to the catalog.
    pub(crate) async fn persuade_catalog(
        &self,
        command: catalog::Command,
        repeat: Repeat,
        deadline: Instant,
    ) -> Asked<catalog::Reply> {
        let asked = until_answered(deadline, self.pause(), repeat, || {
            self.ask_catalog(command.clone(), deadline)
        });
        tokio::select! {
            asked = asked => asked,
            () = self.stopped() => self.given_up(),
        }
    }

    /// Brings a command to a partition that may be committed twice without harm.
    pub(crate) async fn persuade_partition(
        &self,
        shard: ShardId,
        command: partition::Command,
        deadline: Instant,
    ) -> Result<partition::Reply, Error> {
        let asked = until_answered(deadline, self.pause(), Repeat::Always, || {
            self.ask_partitions(shard, command.clone(), deadline)
        });
        tokio::select! {
            asked = asked => asked.done(),
            () = self.stopped() => self.given_up().done(),
        }
    }

    /// This node stops while a question is under way.
    fn given_up<T>(&self) -> Asked<T> {
        let thing = format!("the node that node {} asked before it stopped", self.node);
        Asked { outcome: Err(Error::outcome_unknown(&thing)), maybe_before: true }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    async fn run(answers: &[Result<u8, Error>], left: Duration) -> (Asked<u8>, usize) {
        let mut left_over: VecDeque<_> = answers.iter().cloned().collect();
        let pause = Duration::from_micros(10);
        let asked = until_answered(Instant::now() + left, pause, Repeat::Always, || {
            std::future::ready(left_over.pop_front().expect("asked too often"))
        });
        let asked = asked.await;
        (asked, left_over.len())
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn what_passes_is_asked_again_and_what_was_unknown_is_remembered() {
        let away = Error::not_done_in_time("shard 0");
        let (asked, left) = run(&[Err(away.clone()), Ok(7)], LONG).await;
        assert_eq!((asked.outcome, asked.maybe_before, left), (Ok(7), false, 0));
        let unknown = Error::outcome_unknown("shard 0");
        let (asked, left) = run(&[Err(unknown), Err(away), Ok(7)], LONG).await;
        assert_eq!((asked.outcome, asked.maybe_before, left), (Ok(7), true, 0));
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_asked_again_where_twice_is_harm() {
        let mut asked = 0;
        let deadline = Instant::now() + LONG;
        let answer: Asked<u8> =
            until_answered(deadline, Duration::from_micros(10), Repeat::IfNotDone, || {
                asked += 1;
                let failure = if asked == 1 {
                    Error::not_done_in_time("shard 0")
                } else {
                    Error::outcome_unknown("shard 0")
                };
                std::future::ready(Err(failure))
            })
            .await;
        assert_eq!(answer.outcome.expect_err("nobody told").kind, Kind::Unknown);
        assert_eq!(asked, 2);
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let refusal = Error::unknown_topic("a");
        let (asked, left) = run(&[Err(refusal.clone()), Ok(7)], LONG).await;
        assert_eq!((asked.outcome, left), (Err(refusal), 1));
        let full = Error::new(Kind::Unavailable, Code::DISK_FULL, "full");
        let (asked, left) = run(&[Err(full.clone()), Ok(7)], LONG).await;
        assert_eq!((asked.outcome, left), (Err(full), 1));
    }

    #[tokio::test]
    async fn after_the_deadline_nothing_is_asked() {
        let unknown = Error::outcome_unknown("shard 0");
        let (asked, left) = run(&[Err(unknown.clone()), Ok(7)], Duration::ZERO).await;
        assert_eq!((asked.outcome, left), (Err(unknown), 1));
    }

    #[tokio::test]
    async fn not_done_at_last_does_not_hide_that_it_may_have_been_done_before() {
        let deadline = Instant::now() + Duration::from_millis(300);
        let mut first = true;
        let asked: Asked<u8> =
            until_answered(deadline, Duration::from_millis(1), Repeat::Always, || {
                let is_first = std::mem::replace(&mut first, false);
                async move {
                    if is_first {
                        return Err(Error::outcome_unknown("shard 0"));
                    }
                    tokio::time::sleep_until(deadline).await;
                    Err(Error::not_done_in_time("shard 0"))
                }
            })
            .await;
        let failure = asked.outcome.expect_err("it never was answered");
        assert_eq!((failure.kind, asked.maybe_before, first), (Kind::Unknown, true, false));
    }
}
