//! From the broker's errors to what gRPC clients see: one match, for all verbs.

use kontiki_broker::{Error, Kind};
use kontiki_proto::{details, v1};
use kontiki_storage::id::NodeId;
use tonic::{Code, Status};

/// Longest message, in bytes. It travels three times in the trailers (as text with escapes, and
/// twice in the details), which many clients limit to 16 KiB; and it may quote what the client
/// sent.
const MESSAGE_BYTES_MAX: usize = 1_536;

/// The status code and the contract's kind, as `errors.proto` lists them.
pub(super) fn codes(kind: Kind) -> (Code, v1::ErrorKind) {
    match kind {
        Kind::Invalid => (Code::InvalidArgument, v1::ErrorKind::Invalid),
        Kind::NotFound => (Code::NotFound, v1::ErrorKind::NotFound),
        Kind::Exists => (Code::AlreadyExists, v1::ErrorKind::Exists),
        Kind::Denied => (Code::PermissionDenied, v1::ErrorKind::Denied),
        Kind::Fenced => (Code::FailedPrecondition, v1::ErrorKind::Fenced),
        Kind::Conflict => (Code::FailedPrecondition, v1::ErrorKind::Conflict),
        Kind::NotLeader => (Code::Unavailable, v1::ErrorKind::NotLeader),
        Kind::Throttled => (Code::ResourceExhausted, v1::ErrorKind::Throttled),
        Kind::Unavailable => (Code::Unavailable, v1::ErrorKind::Unavailable),
        Kind::Unknown => (Code::DeadlineExceeded, v1::ErrorKind::Unknown),
        Kind::Internal => (Code::Internal, v1::ErrorKind::Internal),
    }
}

/// The error as a message; `address` says where clients reach a node.
pub(super) fn wire(error: Error, address: impl FnOnce(NodeId) -> Option<String>) -> v1::Error {
    let Error { kind, code, detail, leader, retry_after_ms } = error;
    let leader = leader
        .map(|node| v1::LeaderHint { node_id: node.0, address: address(node).unwrap_or_default() });
    v1::Error {
        kind: codes(kind).1.into(),
        code: code.0,
        message: shortened(detail),
        leader,
        retry_after_ms,
    }
}

/// The error as the status of a call, with the message of [`wire`] in its details.
pub(super) fn status(error: Error, address: impl FnOnce(NodeId) -> Option<String>) -> Status {
    let code = codes(error.kind).0;
    details::status(code, &wire(error, address))
}

/// The same for errors that name no leader.
pub(super) fn plain_status(error: Error) -> Status {
    status(error, |_| None)
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        message.truncate(end);
        message.push_str(" [...]");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_broker::Code as Number;

    /// The table of `errors.proto`, in its order.
    const TABLE: [(Kind, Code, &str); 11] = [
        (Kind::Invalid, Code::InvalidArgument, "ERROR_KIND_INVALID"),
        (Kind::NotFound, Code::NotFound, "ERROR_KIND_NOT_FOUND"),
        (Kind::Exists, Code::AlreadyExists, "ERROR_KIND_EXISTS"),
        (Kind::Denied, Code::PermissionDenied, "ERROR_KIND_DENIED"),
        (Kind::Fenced, Code::FailedPrecondition, "ERROR_KIND_FENCED"),
        (Kind::Conflict, Code::FailedPrecondition, "ERROR_KIND_CONFLICT"),
        (Kind::NotLeader, Code::Unavailable, "ERROR_KIND_NOT_LEADER"),
        (Kind::Throttled, Code::ResourceExhausted, "ERROR_KIND_THROTTLED"),
        (Kind::Unavailable, Code::Unavailable, "ERROR_KIND_UNAVAILABLE"),
        (Kind::Unknown, Code::DeadlineExceeded, "ERROR_KIND_UNKNOWN"),
        (Kind::Internal, Code::Internal, "ERROR_KIND_INTERNAL"),
    ];

    #[test]
    fn every_kind_has_the_codes_of_the_contract() {
        assert_eq!(TABLE.map(|(kind, ..)| kind), Kind::ALL);
        for (kind, code, name) in TABLE {
            let (got, wire) = codes(kind);
            assert_eq!((got, wire.as_str_name()), (code, name));
            assert_eq!(i32::from(wire).cast_unsigned(), kind.number(), "numbers between nodes");
        }
    }

    #[test]
    fn a_status_carries_the_error_with_the_leaders_address() {
        let error = Error::not_leader("shard 3", Some(NodeId(2)));
        let status = status(error, |node| (node == NodeId(2)).then(|| "b:7400".to_owned()));
        assert_eq!(status.code(), Code::Unavailable);
        let carried = details::error(&status).expect("it has details");
        assert_eq!(carried.kind(), v1::ErrorKind::NotLeader);
        assert_eq!(carried.code, Number::NOT_LEADER.0);
        assert_eq!(carried.message, status.message());
        let hint = v1::LeaderHint { node_id: 2, address: "b:7400".to_owned() };
        assert_eq!(carried.leader, Some(hint));
    }

    #[test]
    fn a_throttled_client_is_told_when_to_come_back() {
        let carried = wire(Error::throttled("x_max", 5, 250), |_| None);
        assert_eq!((carried.retry_after_ms, carried.leader), (250, None));
    }

    #[test]
    fn what_a_client_sent_does_not_make_trailers_too_long() {
        let error = Error::unknown_topic(&"ü".repeat(100_000));
        let message = wire(error, |_| None).message;
        assert!(message.starts_with("topic üü") && message.ends_with(" [...]"));
        assert!(message.len() <= MESSAGE_BYTES_MAX + 6);
    }
}
