//! Raft's messages and log rows as bytes: hand-written, versioned, append-only.
//!
//! Every message begins with [`VERSION`]. Integers are LEB128 varints, times are zig-zag. Payloads
//! of entries on the wire travel beside the message, in order; in a log row they are inside (small
//! ones) or named by location (the others). Frozen-bytes tests hold the layout.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_storage::id::SegmentId;
use kontiki_storage::payload::PayloadLocation;
use openraft::impls::EmptyNode;

use crate::types::{
    AppendRequest, AppendResult, Command, Entry, EntryPayload, LeaderId, LogId, Membership,
    Payload, Proposal, SnapshotMeta, StoredMembership, TransferRequest, Vote, VoteRequest,
    VoteResponse, log_id,
};

/// Of every message and row of this codec.
pub(crate) const VERSION: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{0} ends too early")]
    Short(&'static str),
    /// A tag or a version that this node doesn't know.
    #[error("{what} has the unknown value {value}; is the other node of a newer version?")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// What was found.
        value: u64,
    },
    /// A length or count over what the message can hold.
    #[error("{what} says {value}, more than the message holds")]
    Length {
        /// What was being read.
        what: &'static str,
        /// What was found.
        value: u64,
    },
}

type Result<T> = std::result::Result<T, DecodeError>;

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn get_u8(input: &mut Bytes, what: &'static str) -> Result<u8> {
    if input.has_remaining() { Ok(input.get_u8()) } else { Err(DecodeError::Short(what)) }
}

fn get_varint(input: &mut Bytes, what: &'static str) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = get_u8(input, what)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Length { what, value })
}

fn get_count(input: &mut Bytes, what: &'static str) -> Result<usize> {
    let value = get_varint(input, what)?;
    match usize::try_from(value) {
        Ok(count) if count <= input.remaining() => Ok(count),
        Ok(_) | Err(_) => Err(DecodeError::Length { what, value }),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

fn get_bytes(input: &mut Bytes, what: &'static str) -> Result<Bytes> {
    let length = get_count(input, what)?;
    Ok(input.split_to(length))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

fn check_version(input: &mut Bytes, what: &'static str) -> Result<()> {
    match get_u8(input, what)? {
        VERSION => Ok(()),
        other => Err(DecodeError::Unknown { what, value: u64::from(other) }),
    }
}

fn get_flag(input: &mut Bytes, what: &'static str) -> Result<bool> {
    match get_u8(input, what)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DecodeError::Unknown { what, value: u64::from(other) }),
    }
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    put_varint(out, vote.leader_id.term);
    put_varint(out, vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn get_vote(input: &mut Bytes) -> Result<Vote> {
    let term = get_varint(input, "vote.term")?;
    let voted_for = get_varint(input, "vote.replica")?;
    let committed = get_flag(input, "vote.committed")?;
    Ok(Vote { leader_id: LeaderId { term, voted_for }, committed })
}

fn put_log_id(out: &mut BytesMut, id: Option<&LogId>) {
    match id {
        None => out.put_u8(0),
        Some(id) => {
            out.put_u8(1);
            put_varint(out, id.leader_id.term);
            put_varint(out, id.index);
        }
    }
}

fn get_log_id(input: &mut Bytes) -> Result<Option<LogId>> {
    if !get_flag(input, "log id")? {
        return Ok(None);
    }
    let term = get_varint(input, "log id.term")?;
    Ok(Some(log_id(term, get_varint(input, "log id.index")?)))
}

fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_varint(out, configs.len() as u64);
    for config in configs {
        put_varint(out, config.len() as u64);
        config.iter().for_each(|id| put_varint(out, *id));
    }
    let nodes: Vec<u64> = membership.nodes().map(|(id, _)| *id).collect();
    put_varint(out, nodes.len() as u64);
    nodes.into_iter().for_each(|id| put_varint(out, id));
}

fn get_membership(input: &mut Bytes) -> Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..get_count(input, "membership.configs")? {
        let mut config = BTreeSet::new();
        for _ in 0..get_count(input, "membership.config")? {
            config.insert(get_varint(input, "membership.voter")?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..get_count(input, "membership.nodes")? {
        nodes.insert(get_varint(input, "membership.node")?, EmptyNode::default());
    }
    Ok(Membership::new_with_defaults(configs, nodes.into_keys()))
}

fn put_stored_membership(out: &mut BytesMut, stored: &StoredMembership) {
    put_log_id(out, stored.log_id().as_ref());
    put_membership(out, stored.membership());
}

fn get_stored_membership(input: &mut Bytes) -> Result<StoredMembership> {
    let at = get_log_id(input)?;
    Ok(StoredMembership::new(at, get_membership(input)?))
}

/// How the payloads of an entry are written.
enum PayloadForm<'a> {
    /// Beside the message.
    Wire(&'a mut Vec<Bytes>),
    /// Inside the row, or by location.
    Row,
}

const PAYLOAD_BESIDE: u8 = 0;
const PAYLOAD_INLINE: u8 = 1;
const PAYLOAD_STORED: u8 = 2;

fn put_payload(out: &mut BytesMut, payload: &Payload, form: &mut PayloadForm<'_>) {
    match (form, &payload.location, &payload.bytes) {
        (PayloadForm::Wire(beside), _, Some(bytes)) => {
            out.put_u8(PAYLOAD_BESIDE);
            beside.push(bytes.clone());
        }
        (PayloadForm::Wire(_), _, None) => {
            unreachable!("an entry is read with its payloads before it is sent")
        }
        (PayloadForm::Row, Some(location), _) => {
            out.put_u8(PAYLOAD_STORED);
            put_varint(out, location.segment.0);
            put_varint(out, u64::from(location.offset));
            put_varint(out, u64::from(location.length));
            out.put_u32(location.crc);
        }
        (PayloadForm::Row, None, Some(bytes)) => {
            out.put_u8(PAYLOAD_INLINE);
            put_bytes(out, bytes);
        }
        (PayloadForm::Row, None, None) => {
            unreachable!("a payload is in memory or has a location")
        }
    }
}

fn get_u32(input: &mut Bytes, what: &'static str) -> Result<u32> {
    let value = get_varint(input, what)?;
    u32::try_from(value).map_err(|_| DecodeError::Length { what, value })
}

fn get_payload(input: &mut Bytes, beside: &mut impl Iterator<Item = Bytes>) -> Result<Payload> {
    match get_u8(input, "payload")? {
        PAYLOAD_BESIDE => {
            let bytes = beside.next().ok_or(DecodeError::Short("payloads"))?;
            Ok(Payload::in_memory(bytes))
        }
        PAYLOAD_INLINE => Ok(Payload::in_memory(get_bytes(input, "payload")?)),
        PAYLOAD_STORED => {
            let segment = SegmentId(get_varint(input, "payload.segment")?);
            let offset = get_u32(input, "payload.offset")?;
            let length = get_u32(input, "payload.length")?;
            if input.remaining() < 4 {
                return Err(DecodeError::Short("payload.crc"));
            }
            let crc = input.get_u32();
            let location = PayloadLocation { segment, offset, length, crc };
            Ok(Payload { bytes: None, location: Some(location) })
        }
        other => Err(DecodeError::Unknown { what: "payload", value: u64::from(other) }),
    }
}

const ENTRY_BLANK: u8 = 0;
const ENTRY_PROPOSAL: u8 = 1;
const ENTRY_MEMBERSHIP: u8 = 2;

fn put_entry(out: &mut BytesMut, entry: &Entry, form: &mut PayloadForm<'_>) {
    put_varint(out, entry.log_id.leader_id.term);
    put_varint(out, entry.log_id.index);
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(ENTRY_BLANK),
        EntryPayload::Membership(membership) => {
            out.put_u8(ENTRY_MEMBERSHIP);
            put_membership(out, membership);
        }
        EntryPayload::Normal(proposal) => {
            out.put_u8(ENTRY_PROPOSAL);
            put_varint(out, zigzag(proposal.time_ms));
            put_varint(out, proposal.commands.len() as u64);
            for command in &proposal.commands {
                put_bytes(out, &command.bytes);
                put_varint(out, command.payloads.len() as u64);
                command.payloads.iter().for_each(|payload| put_payload(out, payload, form));
            }
        }
    }
}

fn get_entry(input: &mut Bytes, beside: &mut impl Iterator<Item = Bytes>) -> Result<Entry> {
    let term = get_varint(input, "entry.term")?;
    let index = get_varint(input, "entry.index")?;
    let payload = match get_u8(input, "entry.kind")? {
        ENTRY_BLANK => EntryPayload::Blank,
        ENTRY_MEMBERSHIP => EntryPayload::Membership(get_membership(input)?),
        ENTRY_PROPOSAL => EntryPayload::Normal(get_proposal(input, beside)?),
        other => {
            return Err(DecodeError::Unknown { what: "entry.kind", value: u64::from(other) });
        }
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

fn get_proposal(input: &mut Bytes, beside: &mut impl Iterator<Item = Bytes>) -> Result<Proposal> {
    let time_ms = unzigzag(get_varint(input, "entry.time")?);
    let count = get_count(input, "entry.commands")?;
    let mut commands = Vec::with_capacity(count);
    for _ in 0..count {
        let bytes = get_bytes(input, "command")?;
        let count = get_count(input, "command.payloads")?;
        let mut payloads = Vec::with_capacity(count);
        for _ in 0..count {
            payloads.push(get_payload(input, beside)?);
        }
        commands.push(Command { bytes, payloads });
    }
    Ok(Proposal { time_ms, commands })
}

/// A log row. Payloads without a location are written into it.
pub(crate) fn encode_row(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_entry(&mut out, entry, &mut PayloadForm::Row);
    out.freeze()
}

pub(crate) fn decode_row(mut row: Bytes) -> Result<Entry> {
    check_version(&mut row, "log row")?;
    get_entry(&mut row, &mut std::iter::empty())
}

/// Only term and index of a log row.
pub(crate) fn decode_row_log_id(mut row: Bytes) -> Result<LogId> {
    check_version(&mut row, "log row")?;
    let term = get_varint(&mut row, "entry.term")?;
    Ok(log_id(term, get_varint(&mut row, "entry.index")?))
}

/// An AppendEntries; its payloads come back separately. Every entry must have its payloads in
/// memory.
pub(crate) fn encode_append(request: &AppendRequest) -> (Bytes, Vec<Bytes>) {
    let mut out = BytesMut::with_capacity(64 + 64 * request.entries.len());
    let mut beside = Vec::new();
    out.put_u8(VERSION);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.prev_log_id.as_ref());
    put_log_id(&mut out, request.leader_commit.as_ref());
    put_varint(&mut out, request.entries.len() as u64);
    for entry in &request.entries {
        put_entry(&mut out, entry, &mut PayloadForm::Wire(&mut beside));
    }
    (out.freeze(), beside)
}

pub(crate) fn decode_append(mut body: Bytes, payloads: Vec<Bytes>) -> Result<AppendRequest> {
    check_version(&mut body, "append")?;
    let vote = get_vote(&mut body)?;
    let prev_log_id = get_log_id(&mut body)?;
    let leader_commit = get_log_id(&mut body)?;
    let count = get_count(&mut body, "append.entries")?;
    let mut beside = payloads.into_iter();
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(get_entry(&mut body, &mut beside)?);
    }
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit })
}

const APPENDED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

pub(crate) fn encode_append_result(result: &AppendResult) -> Bytes {
    use openraft::raft::StreamAppendError::{Conflict, HigherVote};
    let mut out = BytesMut::with_capacity(32);
    out.put_u8(VERSION);
    match result {
        Ok(matching) => {
            out.put_u8(APPENDED);
            put_log_id(&mut out, matching.as_ref());
        }
        Err(Conflict(at)) => {
            out.put_u8(CONFLICT);
            put_log_id(&mut out, Some(at));
        }
        Err(HigherVote(vote)) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn decode_append_result(mut body: Bytes) -> Result<AppendResult> {
    use openraft::raft::StreamAppendError::{Conflict, HigherVote};
    check_version(&mut body, "append reply")?;
    match get_u8(&mut body, "append reply")? {
        APPENDED => Ok(Ok(get_log_id(&mut body)?)),
        CONFLICT => {
            let at = get_log_id(&mut body)?.ok_or(DecodeError::Short("append reply.conflict"))?;
            Ok(Err(Conflict(at)))
        }
        HIGHER_VOTE => Ok(Err(HigherVote(get_vote(&mut body)?))),
        other => Err(DecodeError::Unknown { what: "append reply", value: u64::from(other) }),
    }
}

pub(crate) fn encode_vote_request(request: &VoteRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(48);
    out.put_u8(VERSION);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(crate) fn decode_vote_request(mut body: Bytes) -> Result<VoteRequest> {
    check_version(&mut body, "vote request")?;
    let vote = get_vote(&mut body)?;
    let mut request = VoteRequest::new(vote, get_log_id(&mut body)?);
    request.leadership_transfer = get_flag(&mut body, "vote request.transfer")?;
    Ok(request)
}

pub(crate) fn encode_vote_response(response: &VoteResponse) -> Bytes {
    let mut out = BytesMut::with_capacity(48);
    out.put_u8(VERSION);
    put_vote(&mut out, &response.vote);
    put_log_id(&mut out, response.last_log_id.as_ref());
    out.put_u8(u8::from(response.vote_granted));
    out.freeze()
}

pub(crate) fn decode_vote_response(mut body: Bytes) -> Result<VoteResponse> {
    check_version(&mut body, "vote reply")?;
    let vote = get_vote(&mut body)?;
    let last_log_id = get_log_id(&mut body)?;
    let granted = get_flag(&mut body, "vote reply.granted")?;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

pub(crate) fn encode_transfer(request: &TransferRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(48);
    out.put_u8(VERSION);
    put_vote(&mut out, request.from_leader());
    put_varint(&mut out, *request.to_node_id());
    put_log_id(&mut out, request.last_log_id());
    out.freeze()
}

pub(crate) fn decode_transfer(mut body: Bytes) -> Result<TransferRequest> {
    check_version(&mut body, "transfer")?;
    let from = get_vote(&mut body)?;
    let to = get_varint(&mut body, "transfer.to")?;
    Ok(TransferRequest::new(from, to, get_log_id(&mut body)?))
}

/// A vote by itself: as a log row, and in a snapshot's head.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_u8(VERSION);
    put_vote(&mut out, vote);
    out.freeze()
}

pub(crate) fn decode_vote(mut body: Bytes) -> Result<Vote> {
    check_version(&mut body, "vote")?;
    get_vote(&mut body)
}

/// A log id by itself: the purged mark.
pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_u8(VERSION);
    put_log_id(&mut out, Some(id));
    out.freeze()
}

pub(crate) fn decode_log_id(mut body: Bytes) -> Result<LogId> {
    check_version(&mut body, "log id")?;
    get_log_id(&mut body)?.ok_or(DecodeError::Short("log id"))
}

pub(crate) fn encode_meta(meta: &SnapshotMeta) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_log_id(&mut out, meta.last_log_id.as_ref());
    put_stored_membership(&mut out, &meta.last_membership);
    out.freeze()
}

pub(crate) fn decode_meta(mut body: Bytes) -> Result<SnapshotMeta> {
    check_version(&mut body, "snapshot meta")?;
    let last_log_id = get_log_id(&mut body)?;
    let last_membership = get_stored_membership(&mut body)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

/// How far a shard's state machine is: part of the state, in the same batch as its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// The last stamp's time: stamps never go back.
    pub(crate) time_ms: i64,
}

pub(crate) fn encode_applied(applied: &Applied) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_log_id(&mut out, applied.log_id.as_ref());
    put_stored_membership(&mut out, &applied.membership);
    put_varint(&mut out, zigzag(applied.time_ms));
    out.freeze()
}

pub(crate) fn decode_applied(mut body: Bytes) -> Result<Applied> {
    check_version(&mut body, "applied")?;
    let log_id = get_log_id(&mut body)?;
    let membership = get_stored_membership(&mut body)?;
    let time_ms = unzigzag(get_varint(&mut body, "applied.time")?);
    Ok(Applied { log_id, membership, time_ms })
}

#[cfg(test)]
#[path = "codec_test.rs"]
mod tests;
