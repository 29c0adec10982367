//! Digests of entries and replies, by which replicas are compared. Where a node keeps a payload is
//! not part of them.

use crate::codec;
use crate::types::{Entry, EntryPayload, Payload, Replies};

/// FNV-1a, 64 bits.
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in bytes, with their length, so that two fields are not taken for one.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.word(crc32c::crc32c(bytes).into());
        // A CRC alone is too short for long fields that differ in little.
        for byte in bytes.iter().take(64) {
            self.byte(*byte);
        }
    }

    pub(crate) fn word(&mut self, word: u64) {
        word.to_be_bytes().into_iter().for_each(|byte| self.byte(byte));
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0
    }
}

/// Of an entry's content; its place and term are not part of it.
pub(crate) fn entry(entry: &Entry) -> u64 {
    let mut digest = Digest::new();
    match &entry.payload {
        EntryPayload::Blank => digest.word(0),
        EntryPayload::Normal(proposal) => {
            digest.word(1);
            digest.word(proposal.time_ms.cast_unsigned());
            for command in &proposal.commands {
                digest.add(&command.bytes);
                digest.word(command.payloads.len() as u64);
                command.payloads.iter().for_each(|payload| add_payload(&mut digest, payload));
            }
        }
        EntryPayload::Membership(_) => {
            digest.word(2);
            digest.add(&codec::encode_row(entry));
        }
    }
    digest.finish()
}

fn add_payload(digest: &mut Digest, payload: &Payload) {
    let (length, crc) = match (&payload.location, &payload.bytes) {
        (Some(location), _) => (u64::from(location.length), location.crc),
        (None, Some(bytes)) => (bytes.len() as u64, crc32c::crc32c(bytes)),
        (None, None) => unreachable!("a payload is in memory or has a location"),
    };
    digest.word(length);
    digest.word(crc.into());
}

/// Of all replies to an entry.
pub(crate) fn replies(replies: &Replies) -> u64 {
    let mut digest = Digest::new();
    replies.0.iter().for_each(|reply| digest.add(reply));
    digest.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kontiki_storage::id::SegmentId;
    use kontiki_storage::payload::PayloadLocation;

    use super::*;
    use crate::types::{Command, Proposal, log_id};

    fn with(payload: Payload, time_ms: i64) -> u64 {
        let command = Command { bytes: Bytes::from_static(b"c"), payloads: vec![payload] };
        let proposal = Proposal { time_ms, commands: vec![command] };
        entry(&Entry { log_id: log_id(1, 2), payload: EntryPayload::Normal(proposal) })
    }

    #[test]
    fn where_a_payload_is_does_not_matter_and_what_it_is_does() {
        let bytes = Bytes::from_static(b"payload");
        let crc = crc32c::crc32c(&bytes);
        let location = PayloadLocation { segment: SegmentId(7), offset: 9, length: 7, crc };
        let stored = Payload { bytes: None, location: Some(location) };
        let inline = with(Payload::in_memory(bytes), 5);
        assert_eq!(inline, with(stored, 5));
        assert_ne!(inline, with(Payload::in_memory(Bytes::from_static(b"Payload")), 5));
        assert_ne!(inline, with(Payload::in_memory(Bytes::from_static(b"payload")), 6));
    }
}
