//! Takes down what clients do while they do it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Call, ClientId, History, Ms, Op, OpId, Outcome};

/// A history in the making. Clones write into the same one.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// An operation begins.
    #[must_use]
    pub fn invoke(&self, now: Ms, client: ClientId, call: Call) -> OpId {
        let mut history = self.lock();
        let id = OpId(history.ops.len() as u64);
        history.ops.push(Op { id, client, call, invoked: now, returned: None });
        id
    }

    /// It ends.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn complete(&self, now: Ms, op: OpId, outcome: Outcome) {
        let mut history = self.lock();
        let index = usize::try_from(op.0).expect("it was given out here");
        let returned = history.ops[index].returned.replace((now, outcome));
        assert!(returned.is_none(), "operation {} ends twice", op.0);
    }

    /// What there is so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    /// How many operations have begun, and how many have ended.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let history = self.lock();
        let ended = history.ops.iter().filter(|op| op.returned.is_some()).count();
        (history.ops.len(), ended)
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
