//! What a message is told on its way to another queue: headers that say where it comes from and
//! why.

use std::fmt::Write as _;

use bytes::Bytes;
use kontiki_domain::queue::read::Outgoing;
use kontiki_domain::queue::{Attempt, History, How, RedriveSpec, Transfer};
use kontiki_records::Header;
use kontiki_storage::id::PartitionId;

use super::path::{PATH, Path};
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

/// A message's record as it is.
pub(crate) fn unchanged(record: kontiki_records::Record) -> Record {
    let kontiki_records::Record { key, value, headers, timestamp, .. } = record;
    let headers = headers.iter().collect();
    Record { key, value, headers, timestamp_ms: timestamp.max(0) }
}

/// The record under which a message goes to another queue that is told nothing: no larger than it
/// was when a queue took it.
pub(crate) fn bare(record: kontiki_records::Record) -> Record {
    let mut record = unchanged(record);
    // Its time and its delay were over there; it begins anew.
    let over = [super::send::EXPIRES_AT, super::send::DELIVER_AT];
    record.headers.retain(|header| over.iter().all(|name| header.name != name.as_bytes()));
    record
}

/// The record under which a message goes to another queue.
pub(crate) fn envelope(
    source: &str,
    queue: PartitionId,
    outgoing: &Outgoing,
    history: Option<&History>,
    edits: Option<&RedriveSpec>,
    record: kontiki_records::Record,
) -> Record {
    let mut record = bare(record);
    let headers = &mut record.headers;
    let mut path = Path::of(headers);
    headers.retain(|header| header.name != PATH.as_bytes());
    // Where an operator wants it, it begins anew, and has been nowhere.
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
        path.leave(source, reason(&outgoing.transfer));
        headers.push(path.header());
        if let Some(History { attempts, error }) = history {
            headers.push(Header::new(ATTEMPTS, json(attempts)));
            if !error.is_empty() {
                headers.push(Header::new(ERROR, error.clone()));
            }
        }
    }
    if let Some(edits) = edits {
        edit(edits, headers);
    }
    record
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
    fn a_path_grows_until_an_operator_ends_it() {
        let former = [Header::new(PATH, "retry expired 2, jobs rejected 2".to_owned())];
        let headers = moved(Transfer::Rejected, None, &former);
        let path = "kontiki.dlq.path jobs rejected 3, retry expired 2";
        assert_eq!(headers.iter().filter(|header| header.starts_with(PATH)).count(), 1);
        assert!(headers.iter().any(|header| header == path), "{headers:?}");
        let headers = moved(Transfer::Diverted { target: "jobs".to_owned() }, None, &former);
        assert_eq!(headers, [""; 0]);
    }

    #[test]
    fn nothing_of_a_former_move_is_left_where_nothing_failed() {
        let former = [Header::new(ATTEMPTS, "[]".to_owned())];
        let headers = moved(Transfer::Expired, None, &former);
        assert!(headers.iter().all(|header| !header.starts_with(ATTEMPTS)), "{headers:?}");
        assert!(headers.contains(&"kontiki.dlq.reason expired".to_owned()), "{headers:?}");
    }
}
