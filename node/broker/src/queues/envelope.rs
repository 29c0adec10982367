//! What a message is told on its way to another queue: headers that say where it comes from and
//! why.

use std::fmt::Write as _;

use bytes::Bytes;
use kontiki_domain::queue::read::Outgoing;
use kontiki_domain::queue::{Attempt, History, How, RedriveSpec, Transfer};
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
const LATEST: [&str; 7] = [
    "kontiki.dlq.source",
    "kontiki.dlq.reason",
    "kontiki.dlq.failed-at",
    "kontiki.dlq.deliveries",
    "kontiki.dlq.retry-count",
    ATTEMPTS,
    ERROR,
];
/// How its latest deliveries failed, oldest first, as JSON.
const ATTEMPTS: &str = "kontiki.dlq.attempts";
/// What a consumer said last about why.
const ERROR: &str = "kontiki.dlq.error";

/// The record under which a message goes to another queue.
pub(crate) fn envelope(
    source: &str,
    queue: PartitionId,
    outgoing: &Outgoing,
    history: Option<&History>,
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
        if let Some(History { attempts, error }) = history {
            headers.push(Header::new(ATTEMPTS, json(attempts)));
            if !error.is_empty() {
                headers.push(Header::new(ERROR, error.clone()));
            }
        }
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

/// `[{"at_ms":1700000000000,"how":"released","class":"timeout"}]`
fn json(attempts: &[Attempt]) -> String {
    let mut text = String::from("[");
    for (number, Attempt { at_ms, how, class }) in attempts.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let how = match how {
            How::Released => "released",
            How::LeaseEnded => "lease-ended",
            How::Rejected => "rejected",
        };
        // A class has no character that JSON would want otherwise.
        let class =
            if class.is_empty() { String::new() } else { format!(",\"class\":\"{class}\"") };
        write!(text, "{comma}{{\"at_ms\":{at_ms},\"how\":\"{how}\"{class}}}")
            .expect("a string takes everything");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use kontiki_domain::queue::Message;
    use kontiki_storage::id::Offset;

    use super::*;

    fn outgoing(transfer: Transfer) -> Outgoing {
        let message = Message {
            acquired: 3,
            failed: 2,
            class: 255,
            group: None,
            expires_ms: None,
            history: true,
        };
        Outgoing { offset: Offset(7), transfer, message, since_ms: 9_000 }
    }

    fn moved(transfer: Transfer, history: Option<&History>, headers: &[Header]) -> Vec<String> {
        let limits = &crate::read::ANY;
        let mut builder = kontiki_records::BatchBuilder::new(*limits);
        builder.push(1_000, None, Some(b"body"), headers).unwrap();
        let batch = builder.finish(kontiki_records::Compression::None, None).unwrap();
        let record = batch.records(limits).unwrap().next().unwrap().unwrap();
        let record = envelope("jobs", PartitionId(5), &outgoing(transfer), history, None, record);
        let shown = |header: &Header| {
            let value = header.value.as_deref().unwrap_or_default();
            format!("{} {}", header.name_lossy(), String::from_utf8_lossy(value))
        };
        record.headers.iter().map(shown).collect()
    }

    #[test]
    fn how_it_failed_goes_with_a_message() {
        let attempt = |at_ms, how, class: &str| Attempt { at_ms, how, class: class.to_owned() };
        let history = History {
            attempts: vec![
                attempt(7_000, How::Released, "timeout"),
                attempt(8_000, How::LeaseEnded, ""),
                attempt(9_000, How::Rejected, "http.500"),
            ],
            error: "it said \"no\"".to_owned(),
        };
        let former = [
            Header::new(ERROR, "of a former move".to_owned()),
            Header::new("kontiki.dlq.original-queue", "first".to_owned()),
        ];
        let headers = moved(Transfer::Rejected, Some(&history), &former);
        let attempts = "kontiki.dlq.attempts [{\"at_ms\":7000,\"how\":\"released\",\
                        \"class\":\"timeout\"},{\"at_ms\":8000,\"how\":\"lease-ended\"},\
                        {\"at_ms\":9000,\"how\":\"rejected\",\"class\":\"http.500\"}]";
        let said = |text: &str| headers.iter().filter(|header| *header == text).count();
        assert_eq!(said(attempts), 1, "{headers:?}");
        assert_eq!(said("kontiki.dlq.error it said \"no\""), 1, "{headers:?}");
        assert_eq!(said("kontiki.dlq.error of a former move"), 0, "{headers:?}");
        assert_eq!(said("kontiki.dlq.original-queue first"), 1, "{headers:?}");
        assert_eq!(said("kontiki.dlq.reason rejected"), 1, "{headers:?}");
    }

    #[test]
    fn nothing_of_a_former_move_is_left_where_nothing_failed() {
        let former = [Header::new(ATTEMPTS, "[]".to_owned())];
        let headers = moved(Transfer::Expired, None, &former);
        assert!(headers.iter().all(|header| !header.starts_with(ATTEMPTS)), "{headers:?}");
        assert!(headers.contains(&"kontiki.dlq.reason expired".to_owned()), "{headers:?}");
    }
}
