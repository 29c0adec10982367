//! How openraft answers a proposal: one call, no task and no channel per entry.

use openraft::OptionalSend;
use openraft::raft::responder::Responder;

use crate::types::Types;

/// Called once with the outcome. Dropped without a call, it means that the outcome is unknown.
pub struct Answer<T>(Box<dyn FnOnce(T) + Send + Sync>);

impl<T> Answer<T> {
    pub(crate) fn new(call: impl FnOnce(T) + Send + Sync + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Answer<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
