//! What names a lease to a client: text that says which message of which queue was delivered under
//! which lease. It means the same on every node and to every leader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use kontiki_storage::id::{Offset, PartitionId};

use crate::error::{Code, Error, Kind};

const VERSION: u8 = 1;
const BYTES: usize = 29;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    pub queue: PartitionId,
    pub offset: Offset,
    pub lease: u64,
}

impl Receipt {
    pub(super) fn encode(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.queue.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.offset.0.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.lease.to_be_bytes());
        let sum = crc32c::crc32c(&bytes[..25]);
        bytes[25..].copy_from_slice(&sum.to_be_bytes());
        BASE64.encode(bytes)
    }

    /// # Errors
    /// It is not one: shortened, changed, or from somewhere else.
    pub(super) fn decode(text: &str) -> Result<Self, Error> {
        let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; BYTES]>::try_from(bytes).ok());
        let sound = |bytes: &[u8; BYTES]| {
            bytes[0] == VERSION && crc32c::crc32c(&bytes[..25]).to_be_bytes() == bytes[25..]
        };
        let bytes = bytes.filter(sound).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            let detail =
                format!("{shown:?} is not a receipt: hand back what Receive has given, unchanged");
            Error::new(Kind::Invalid, Code::INVALID_RECEIPT, detail)
        })?;
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let (queue, offset) = (PartitionId(number(1)), Offset(number(9)));
        Ok(Self { queue, offset, lease: number(17) })
    }
}

/// The id of a message: the same for as long as it is in its queue.
pub(super) fn message_id(queue: PartitionId, offset: Offset) -> String {
    format!("{:x}-{:x}", queue.0, offset.0)
}

/// Which message of its queue an id names.
pub(super) fn offset_of(message_id: &str) -> Option<Offset> {
    let (_, offset) = message_id.split_once('-')?;
    u64::from_str_radix(offset, 16).ok().map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_frozen() {
        let receipt = Receipt { queue: PartitionId(3), offset: Offset(258), lease: 7 };
        let text = receipt.encode();
        assert_eq!(text, "AQAAAAAAAAADAAAAAAAAAQIAAAAAAAAAByGl1dM");
        assert_eq!(Receipt::decode(&text), Ok(receipt));
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        let receipt = Receipt { queue: PartitionId(3), offset: Offset(258), lease: 7 };
        let text = receipt.encode();
        let changed = text.replacen('A', "B", 1);
        for wrong in ["", "garbage", "ü", &text[1..], &changed, &format!("{text}A")] {
            let error = Receipt::decode(wrong).unwrap_err();
            assert_eq!(error.code, Code::INVALID_RECEIPT, "{wrong}");
        }
    }
}
