//! What a message is told on its way to another queue: headers that say where it comes from and
//! why.

use bytes::Bytes;
use kontiki_domain::queue::read::Outgoing;
use kontiki_domain::queue::{RedriveSpec, Transfer};
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
    edits: Option<&RedriveSpec>,
    record: kontiki_records::Record,
) -> Record {
    let kontiki_records::Record { key, value, headers, timestamp, .. } = record;
    let mut headers: Vec<Header> = headers.iter().collect();
    // Its time and its delay were over there; it begins anew.
    let over = [super::send::EXPIRES_AT, super::send::DELIVER_AT];
    headers.retain(|header| over.iter().all(|name| header.name != name.as_bytes()));
    if outgoing.transfer.wanted().is_none() {
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
    if let Some(edits) = edits {
        edit(edits, &mut headers);
    }
    Record { key, value, headers, timestamp_ms: timestamp.max(0) }
}

/// What a redrive changes.
fn edit(edits: &RedriveSpec, headers: &mut Vec<Header>) {
    let RedriveSpec { set_headers, remove_headers, .. } = edits;
    let named = |name: &str, header: &Header| header.name == name.as_bytes();
    headers.retain(|header| {
        let removed = remove_headers.iter().any(|name| named(name, header));
        !removed && !set_headers.iter().any(|(name, _)| named(name, header))
    });
    let own = set_headers.iter().map(|(name, value)| Header {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Some(Bytes::copy_from_slice(value)),
    });
    headers.extend(own);
}

fn reason(transfer: &Transfer) -> &'static str {
    match transfer {
        Transfer::Rejected => "rejected",
        Transfer::Expired => "expired",
        Transfer::MaxLength => "maxlen",
        Transfer::AttemptsExhausted => "delivery_limit",
        Transfer::Diverted { .. } | Transfer::Redriven { .. } => "moved",
    }
}
