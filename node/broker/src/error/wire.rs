//! Failures between nodes, and failures of a call to another node.

use kontiki_proto::node::Failure;
use kontiki_storage::id::NodeId;

use super::{Code, Error, Kind};

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let leader = (failure.leader != 0).then_some(NodeId(failure.leader));
        let retry_after_ms = failure.retry_after_ms;
        let error = Self::new(Kind::from_number(failure.kind), Code(failure.code), failure.message);
        Self { leader, retry_after_ms, ..error }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind.number(),
            code: error.code.0,
            message: error.detail.clone(),
            leader: error.leader.map_or(0, |leader| leader.0),
            retry_after_ms: error.retry_after_ms,
        }
    }
}

impl Error {
    /// Another node can't be reached; nothing was done.
    #[must_use]
    pub fn unreachable(node: NodeId, why: &str) -> Self {
        let detail = format!("node {node} can't be reached ({why}); nothing was done: try again");
        Self::new(Kind::Unavailable, Code::UNREACHABLE, detail)
    }

    /// There is no cluster yet, or this node doesn't know it yet.
    #[must_use]
    pub fn not_ready() -> Self {
        let detail = "this node belongs to no cluster yet: wait until all initial members are up, \
                      or ask another node";
        let error = Self::new(Kind::Unavailable, Code::NOT_READY, detail);
        Self { retry_after_ms: 500, ..error }
    }
}
