//! What can go wrong, with the kinds and numbers of the contract.

use kontiki_proto::{details, v1};
use tonic::{Code, Status};
use v1::ErrorKind;

/// A number that this client knows the meaning of. The README of the project lists all of them.
pub(crate) mod code {
    pub(crate) const OUT_OF_ORDER_SEQUENCE: u32 = 106;
    pub(crate) const UNKNOWN_PRODUCER: u32 = 107;
    pub(crate) const STALE_LEADER_EPOCH: u32 = 108;
    pub(crate) const OFFSET_OUT_OF_RANGE: u32 = 1012;
    pub(crate) const SUBSCRIPTION_ATTACHED: u32 = 1026;
    pub(crate) const NOBODY_WAITS: u32 = 1042;
}

/// A failure: what a node answered, or what the client knows of a node that didn't.
///
/// A broken connection is UNAVAILABLE where the request surely wasn't sent, and UNKNOWN where it
/// may have been.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// A stable number, or 0 where only the kind is meant.
    pub code: u32,
    /// For people: what happened, to which thing, what to do.
    pub message: String,
    /// With NOT_LEADER: who leads, where it is known.
    pub leader: Option<v1::LeaderHint>,
    /// When to try again, in milliseconds; 0 where nobody said.
    pub retry_after_ms: u32,
    /// An earlier attempt at the same thing ended without an answer.
    pub(crate) earlier_unknown: bool,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: 0,
            message: message.into(),
            leader: None,
            retry_after_ms: 0,
            earlier_unknown: false,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Unavailable, "the producer is closed: make a new one")
    }

    /// Whether the same request may succeed later. UNKNOWN is among them: whether it may be sent
    /// again without being done twice, only the caller knows.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self.kind {
            ErrorKind::NotLeader
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Unknown => true,
            ErrorKind::Conflict => self.code == code::STALE_LEADER_EPOCH,
            ErrorKind::Unspecified
            | ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Fenced
            | ErrorKind::Internal => false,
        }
    }

    /// Whether it is certain that nothing was done: neither by this attempt nor by an earlier one.
    #[must_use]
    pub fn surely_not_done(&self) -> bool {
        if self.earlier_unknown {
            return false;
        }
        match self.kind {
            ErrorKind::Unknown | ErrorKind::Unspecified => false,
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Fenced
            | ErrorKind::Conflict
            | ErrorKind::NotLeader
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Internal => true,
        }
    }

    /// This failure of an attempt that followed one without an answer.
    pub(crate) fn after_unknown(mut self) -> Self {
        self.earlier_unknown = true;
        self
    }

    /// What a node at `address` answered with a status, or what became of the connection.
    pub(crate) fn from_status(status: &Status, address: &str) -> Self {
        if let Some(error) = details::error(status) {
            return error.into();
        }
        let message = format!("{address}: {}", status.message());
        let kind = match status.code() {
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => ErrorKind::Invalid,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::Exists,
            Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
            Code::FailedPrecondition => ErrorKind::Conflict,
            Code::ResourceExhausted => ErrorKind::Throttled,
            // The connection broke, or whoever answered isn't a node: it may have been done.
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => ErrorKind::Unknown,
        };
        Self::new(kind, message)
    }
}

impl From<v1::Error> for Error {
    fn from(error: v1::Error) -> Self {
        // A kind that this release doesn't know says nothing about what was done.
        let kind =
            if error.kind() == ErrorKind::Unspecified { ErrorKind::Unknown } else { error.kind() };
        Self {
            kind,
            code: error.code,
            message: error.message,
            leader: error.leader,
            retry_after_ms: error.retry_after_ms,
            earlier_unknown: false,
        }
    }
}

impl From<kontiki_records::Error> for Error {
    fn from(error: kontiki_records::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_with_details_is_what_the_node_said() {
        let said = v1::Error {
            kind: ErrorKind::NotLeader.into(),
            code: 1030,
            message: "node 2 leads".to_owned(),
            leader: Some(v1::LeaderHint { node_id: 2, address: "b:1".to_owned() }),
            retry_after_ms: 7,
        };
        let error = Error::from_status(&details::status(Code::Unavailable, &said), "a:1");
        assert_eq!((error.kind, error.code, error.retry_after_ms), (ErrorKind::NotLeader, 1030, 7));
        assert_eq!(error.leader.as_ref().map(|leader| leader.node_id), Some(2));
        assert!(error.surely_not_done() && error.is_retriable());
        assert!(!error.after_unknown().surely_not_done());
    }

    #[test]
    fn a_broken_connection_says_nothing_about_what_was_done() {
        let error = Error::from_status(&Status::unavailable("reset by peer"), "a:1");
        assert_eq!(error.kind, ErrorKind::Unknown);
        assert!(!error.surely_not_done());
        assert_eq!(error.to_string(), "a:1: reset by peer");
        let strange = Error::from(v1::Error { kind: 99, ..v1::Error::default() });
        assert_eq!(strange.kind, ErrorKind::Unknown);
    }
}
