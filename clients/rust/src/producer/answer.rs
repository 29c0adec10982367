//! What a node's answer to one attempt means for the batch.

use kontiki_proto::v1;
use v1::ErrorKind;

use super::delivery::Delivered;
use super::pipeline::Answer;
use crate::Error;
use crate::error::code;

/// How often a topic may be unknown before that is believed: a node that has just started may not
/// have heard of it yet.
const NOT_FOUND_MAX: u32 = 4;
/// Codes from here on are faults of one node (its storage, its replica), not of the batch.
const NODE_FAULTS_FROM: u32 = 1_050;

/// What is known of the first record of a batch.
pub(crate) fn outcome(
    partition: u32,
    result: Result<v1::ProduceResult, Error>,
) -> Result<Delivered, Error> {
    let result = result?;
    let durability = result.durability();
    match result.error {
        Some(error) => Err(error.into()),
        None => Ok(Delivered {
            partition,
            offset: result.offset_known.then_some(result.base_offset),
            append_time_ms: result.append_time_ms,
            duplicate: result.duplicate,
            durability,
        }),
    }
}

/// What the pipeline has to know. `not_found` is how often the topic was unknown before.
pub(crate) fn judge(
    outcome: &Result<Delivered, Error>,
    not_found: u32,
    idempotent: bool,
) -> Answer {
    let Err(error) = outcome else { return Answer::Stored };
    if matches!(error.code, code::OUT_OF_ORDER_SEQUENCE | code::UNKNOWN_PRODUCER) {
        return Answer::Gap;
    }
    match error.kind {
        ErrorKind::Fenced => Answer::Fenced,
        ErrorKind::Unknown | ErrorKind::Unspecified => Answer::Unknown,
        ErrorKind::NotLeader | ErrorKind::Throttled | ErrorKind::Unavailable => Answer::NotDone,
        ErrorKind::Conflict if error.code == code::STALE_LEADER_EPOCH => Answer::NotDone,
        ErrorKind::NotFound if not_found < NOT_FOUND_MAX => Answer::NotDone,
        ErrorKind::Internal if idempotent && error.code >= NODE_FAULTS_FROM => Answer::Unknown,
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::Denied
        | ErrorKind::Conflict
        | ErrorKind::Internal => Answer::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: ErrorKind, code: u32, not_found: u32) -> Answer {
        let error = v1::Error { kind: kind.into(), code, ..v1::Error::default() };
        let result = v1::ProduceResult { error: Some(error), ..v1::ProduceResult::default() };
        judge(&outcome(0, Ok(result)), not_found, true)
    }

    #[test]
    fn answers_are_judged_by_kind_and_number() {
        assert_eq!(verdict(ErrorKind::Conflict, 106, 0), Answer::Gap);
        assert_eq!(verdict(ErrorKind::Conflict, 107, 0), Answer::Gap);
        assert_eq!(verdict(ErrorKind::Conflict, 108, 0), Answer::NotDone);
        assert_eq!(verdict(ErrorKind::Conflict, 203, 0), Answer::Refused);
        assert_eq!(verdict(ErrorKind::NotLeader, 1030, 0), Answer::NotDone);
        assert_eq!(verdict(ErrorKind::Unknown, 1040, 0), Answer::Unknown);
        assert_eq!(verdict(ErrorKind::Fenced, 105, 0), Answer::Fenced);
        assert_eq!(verdict(ErrorKind::Invalid, 103, 0), Answer::Refused);
        assert_eq!(verdict(ErrorKind::NotFound, 1010, 0), Answer::NotDone);
        assert_eq!(verdict(ErrorKind::NotFound, 1010, 4), Answer::Refused);
        assert_eq!(verdict(ErrorKind::Internal, 1052, 0), Answer::Unknown);
        assert_eq!(verdict(ErrorKind::Internal, 1, 0), Answer::Refused);
    }

    #[test]
    fn an_offset_is_only_told_where_it_is_known() {
        let result = v1::ProduceResult { base_offset: 9, ..v1::ProduceResult::default() };
        assert_eq!(outcome(2, Ok(result.clone())).unwrap().offset, None);
        let known = v1::ProduceResult { offset_known: true, duplicate: true, ..result };
        let delivered = outcome(2, Ok(known)).unwrap();
        assert_eq!((delivered.partition, delivered.offset), (2, Some(9)));
        assert!(delivered.duplicate);
    }
}
