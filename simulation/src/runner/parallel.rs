//! Several things at a time, each in a thread that mostly waits for a process.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Whether what is under way is still wanted.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// It isn't any more.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it isn't.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What whoever waits is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<T> {
    /// One is done.
    Done(T),
    /// Some time has passed without that.
    Tick,
}

/// How often one hears something, at least.
const TICK: Duration = Duration::from_millis(200);

/// Does all jobs, at most so many at a time. What comes of them is heard in the order in which they
/// end, on this thread; a break ends what is under way.
pub fn in_parallel<J: Send, T: Send>(
    at_a_time: usize,
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(J, &Stop) -> T + Sync,
    mut hear: impl FnMut(Heard<T>) -> ControlFlow<()>,
) {
    let stop = Stop::default();
    let jobs = Mutex::new(jobs);
    let (done, results) = sync_channel(at_a_time);
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            let (done, stop, jobs, work) = (done.clone(), &stop, &jobs, &work);
            scope.spawn(move || {
                while !stop.is_set() {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(job) = job else { break };
                    if done.send(work(job, stop)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        loop {
            let heard = match results.recv_timeout(TICK) {
                Ok(result) => Heard::Done(result),
                Err(RecvTimeoutError::Timeout) => Heard::Tick,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if hear(heard).is_break() {
                stop.set();
                // Whoever wants to tell something now learns that nobody listens.
                drop(results);
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn all_are_done_and_never_too_many_at_a_time() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut sum = BTreeSet::new();
        let work = |job: u32, _: &Stop| {
            let with_me = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(with_me, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            job
        };
        in_parallel(3, 0..200, work, |heard| {
            if let Heard::Done(job) = heard {
                sum.insert(job);
            }
            ControlFlow::Continue(())
        });
        assert_eq!(sum, (0..200).collect());
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[test]
    fn a_break_ends_what_is_under_way() {
        let work = |job: u32, stop: &Stop| {
            while job > 0 && !stop.is_set() {
                thread::yield_now();
            }
            job
        };
        let mut heard_of = Vec::new();
        in_parallel(4, 0.., work, |heard| match heard {
            Heard::Done(job) => {
                heard_of.push(job);
                ControlFlow::Break(())
            }
            Heard::Tick => ControlFlow::Continue(()),
        });
        assert_eq!(heard_of, [0]);
    }
}
