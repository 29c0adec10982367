//! The routing keys of a message: its own, and further ones (AMQP's CC and BCC headers).
//!
//! CC keys stay with the message, each in a header of its own; BCC keys are looked at once, when it
//! is published, and kept nowhere.

use bytes::Bytes;
use kontiki_records::Header;
use kontiki_routing::limits::KEY_BYTES_MAX;

use super::Publication;
use crate::error::Error;
use crate::options::bounds::FURTHER_KEYS_MAX;

/// The header that says with which further key a message was published; one for each CC key.
pub(crate) const CC: &str = "kontiki.cc";

impl Publication {
    /// All keys by which it is routed.
    pub(super) fn keys(&self) -> Vec<&str> {
        let further = self.cc.iter().chain(&self.bcc);
        std::iter::once(&self.routing_key).chain(further).map(String::as_str).collect()
    }

    /// Whether its keys may be.
    ///
    /// # Errors
    /// One that is too long, or too many.
    pub(super) fn check_keys(&self) -> Result<(), Error> {
        check_length("routing_key", &self.routing_key)?;
        let further = self.cc.len() + self.bcc.len();
        if further > FURTHER_KEYS_MAX {
            let expected = format!("at most {FURTHER_KEYS_MAX}");
            return Err(Error::invalid("the number of keys in cc and bcc", further, &expected));
        }
        for (field, keys) in [("cc", &self.cc), ("bcc", &self.bcc)] {
            for (at, key) in keys.iter().enumerate() {
                check_length(&format!("{field}[{at}]"), key)?;
            }
        }
        Ok(())
    }
}

fn check_length(field: &str, key: &str) -> Result<(), Error> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(());
    }
    let (length, expected) = (format!("{} bytes", key.len()), format!("at most {KEY_BYTES_MAX}"));
    Err(Error::invalid(&format!("the length of {field}"), length, &expected))
}

/// The CC keys that a message keeps, in their order.
pub(crate) fn kept(headers: &[Header]) -> Vec<String> {
    let kept = headers.iter().filter(|header| header.name == CC.as_bytes());
    let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
    kept.filter_map(|header| header.value.as_ref().map(text)).collect()
}
