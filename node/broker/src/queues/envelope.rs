//! What a message is told on its way to another queue: headers that say where it comes from and
//! why.

use kontiki_domain::queue::Transfer;
use kontiki_domain::queue::read::Outgoing;
use kontiki_records::Header;
use kontiki_storage::id::PartitionId;

use super::receipt::message_id;
use crate::produce::Record;

/// Where a message was before its first move.
pub(super) const ORIGINAL_QUEUE: &[u8] = b"kontiki.dlq.original-queue";
/// Headers that the first move sets, and later ones leave alone.
const FIRST: [&str; 3] =
    ["kontiki.dlq.original-id", "kontiki.dlq.original-queue", "kontiki.dlq.first-failed-at"];
/// Headers that every move sets anew.
const LATEST: [&str; 5] = [
    "kontiki.dlq.source",
    "kontiki.dlq.reason",
    "kontiki.dlq.failed-at",
    "kontiki.dlq.deliveries",
    "kontiki.dlq.retry-count",
];

/// The record under which a message goes to another queue.
pub(crate) fn envelope(
    source: &str,
    queue: PartitionId,
    outgoing: &Outgoing,
    record: kontiki_records::Record,
) -> Record {
    let kontiki_records::Record { key, value, headers, timestamp, .. } = record;
    let mut headers: Vec<Header> = headers.iter().collect();
    let diverted = match &outgoing.transfer {
        Transfer::Diverted { .. } => true,
        Transfer::Rejected
        | Transfer::Expired
        | Transfer::MaxLength
        | Transfer::AttemptsExhausted => false,
    };
    // Its time and its delay were over there; it begins anew.
    let over = [super::send::EXPIRES_AT, super::send::DELIVER_AT];
    headers.retain(|header| over.iter().all(|name| header.name != name.as_bytes()));
    if !diverted {
        let since = outgoing.since_ms.to_string();
        let first = [message_id(queue, outgoing.offset), source.to_owned(), since.clone()];
        for (name, text) in FIRST.into_iter().zip(first) {
            if headers.iter().all(|header| header.name != name.as_bytes()) {
                headers.push(Header::new(name, text));
            }
        }
        headers.retain(|header| LATEST.iter().all(|name| header.name != name.as_bytes()));
        let latest = [
            source.to_owned(),
            reason(&outgoing.transfer).to_owned(),
            since,
            outgoing.message.acquired.to_string(),
            outgoing.message.failed.to_string(),
        ];
        headers.extend(LATEST.into_iter().zip(latest).map(|(name, text)| Header::new(name, text)));
    }
    Record { key, value, headers, timestamp_ms: timestamp.max(0) }
}

fn reason(transfer: &Transfer) -> &'static str {
    match transfer {
        Transfer::Rejected => "rejected",
        Transfer::Expired => "expired",
        Transfer::MaxLength => "maxlen",
        Transfer::AttemptsExhausted => "delivery_limit",
        Transfer::Diverted { .. } => "moved",
    }
}
