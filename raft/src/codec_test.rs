//! Round trips, frozen bytes, and damaged input.

use std::collections::BTreeSet;

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn location() -> PayloadLocation {
    PayloadLocation { segment: SegmentId(7), offset: 300, length: 5_000, crc: 0xdead_beef }
}

fn entry(index: u64, payloads: Vec<Payload>) -> Entry {
    let command = Command { bytes: bytes("command"), payloads };
    let proposal = Proposal { time_ms: 1_700_000_000_000, commands: vec![command] };
    Entry { log_id: log_id(3, index), payload: EntryPayload::Normal(proposal) }
}

fn membership() -> Membership {
    let configs = vec![BTreeSet::from([1 << 32 | 1, 2 << 32 | 1])];
    let nodes = [1 << 32 | 1, 2 << 32 | 1, 3 << 32 | 4];
    Membership::new_with_defaults(configs, nodes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_log_row_keeps_small_payloads_inside_and_names_large_ones() {
    let large = Payload { bytes: Some(Bytes::from(vec![1; 5_000])), location: Some(location()) };
    let row = encode_row(&entry(9, vec![Payload::in_memory(bytes("small")), large]));
    let Entry { log_id: id, payload: EntryPayload::Normal(read) } =
        decode_row(row.clone()).expect("it was just written")
    else {
        panic!("a proposal comes back as one");
    };
    assert_eq!(id, log_id(3, 9));
    assert_eq!(decode_row_log_id(row).expect("the id is in front"), id);
    let payloads = &read.commands[0].payloads;
    assert_eq!(payloads[0].bytes, Some(bytes("small")));
    assert_eq!(payloads[1].bytes, None, "a large payload is not in the row");
    assert_eq!(payloads[1].location, Some(location()));
}

#[test]
fn an_append_carries_payloads_beside_it() {
    let stored = Payload { bytes: Some(bytes("large")), location: Some(location()) };
    let request = AppendRequest {
        vote: Vote { leader_id: LeaderId { term: 3, voted_for: 1 << 32 | 1 }, committed: true },
        prev_log_id: Some(log_id(2, 8)),
        entries: vec![
            entry(9, vec![stored, Payload::in_memory(bytes("small"))]),
            Entry { log_id: log_id(3, 10), payload: EntryPayload::Blank },
            Entry { log_id: log_id(3, 11), payload: EntryPayload::Membership(membership()) },
        ],
        leader_commit: None,
    };
    let (body, payloads) = encode_append(&request);
    assert_eq!(payloads, [bytes("large"), bytes("small")]);
    let read = decode_append(body, payloads).expect("it was just written");
    assert_eq!(read.entries, request.entries);
    assert_eq!(read.vote, request.vote);
    assert_eq!(read.prev_log_id, request.prev_log_id);
    let EntryPayload::Normal(proposal) = &read.entries[0].payload else { panic!("a proposal") };
    let location = proposal.commands[0].payloads[0].location;
    assert_eq!(location, None, "where another node keeps a payload means nothing here");
}

#[test]
fn results_votes_and_snapshot_heads_come_back() {
    use openraft::raft::StreamAppendError::{Conflict, HigherVote};
    let vote = Vote { leader_id: LeaderId { term: 8, voted_for: 77 }, committed: false };
    for result in
        [Ok(None), Ok(Some(log_id(1, 2))), Err(Conflict(log_id(5, 6))), Err(HigherVote(vote))]
    {
        let read = decode_append_result(encode_append_result(&result)).expect("just written");
        assert_eq!(read, result);
    }
    let mut request = VoteRequest::new(vote, Some(log_id(7, 70)));
    request.leadership_transfer = true;
    assert_eq!(decode_vote_request(encode_vote_request(&request)), Ok(request));
    let response = VoteResponse::new(vote, None, true);
    assert_eq!(decode_vote_response(encode_vote_response(&response)), Ok(response));
    let transfer = TransferRequest::new(vote, 9, Some(log_id(1, 1)));
    assert_eq!(decode_transfer(encode_transfer(&transfer)), Ok(transfer));
    let last_membership = StoredMembership::new(Some(log_id(1, 0)), membership());
    let meta = SnapshotMeta { last_log_id: Some(log_id(4, 40)), last_membership };
    assert_eq!(decode_meta(encode_meta(&meta)), Ok(meta.clone()));
    let applied =
        Applied { log_id: meta.last_log_id, membership: meta.last_membership, time_ms: -5 };
    assert_eq!(decode_applied(encode_applied(&applied)), Ok(applied));
}

/// What is on disks and wires. A change here needs a new version, and code that reads the old one.
#[test]
fn the_bytes_are_frozen() {
    let stored = Payload { bytes: None, location: Some(location()) };
    let row = encode_row(&entry(300, vec![Payload::in_memory(bytes("ab")), stored]));
    let frozen = "0103ac020180a0abfef96201\
                  07636f6d6d616e6402010261620207ac028827deadbeef";
    assert_eq!(hex(&row), frozen);
    let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 1 << 32 | 1 }, committed: true };
    assert_eq!(hex(&encode_vote(&vote)), "0103818080801001");
    assert_eq!(hex(&encode_log_id(&log_id(3, 300))), "010103ac02");
    let stored = StoredMembership::new(Some(log_id(1, 0)), membership());
    let applied = Applied { log_id: Some(log_id(3, 9)), membership: stored, time_ms: 1 };
    let frozen = "010103090101000102818080801081808080200381808080108180808020848080803002";
    assert_eq!(hex(&encode_applied(&applied)), frozen);
}

#[test]
fn damaged_bytes_are_refused_and_never_panic() {
    let row = encode_row(&entry(300, vec![Payload::in_memory(bytes("abcdef"))]));
    for end in 0..row.len() {
        assert!(decode_row(row.slice(..end)).is_err(), "cut after {end} bytes");
    }
    for at in 0..row.len() {
        for bit in 0..8 {
            let mut damaged = row.to_vec();
            damaged[at] ^= 1 << bit;
            // Most decode to something else: the engine's checksums are what notices.
            let _ = decode_row(Bytes::from(damaged));
        }
    }
    let newer = Bytes::from_static(&[2, 0, 0]);
    let error = decode_row(newer).expect_err("another version");
    assert!(error.to_string().contains("newer version"), "{error}");
}
