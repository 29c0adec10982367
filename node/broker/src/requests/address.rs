//! Where a reply goes: text that a request carries with it, and that means the same on every node.
//!
//! * `node:2:000102030405060708090a0b0c0d0e0f`: to who waits on node 2 under that token
//! * `queue:answers`: to that queue

use std::fmt;

use kontiki_storage::id::NodeId;

use crate::error::{Code, Error, Kind};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// To a caller.
    Caller {
        /// The node on which it waits.
        node: NodeId,
        /// Which one, of those that wait there.
        token: [u8; 16],
    },
    /// To a queue.
    Queue(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller { node, token } => {
                write!(f, "node:{}:{:032x}", node.0, u128::from_be_bytes(*token))
            }
            Self::Queue(name) => write!(f, "queue:{name}"),
        }
    }
}

impl Address {
    /// # Errors
    /// It is none: shortened, changed, or from somewhere else.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let found = match text.split_once(':') {
            Some(("queue", name)) if !name.is_empty() => Some(Self::Queue(name.to_owned())),
            Some(("node", rest)) => caller(rest),
            Some(_) | None => None,
        };
        found.ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            let detail = format!(
                "reply_to is {shown:?}, which is no address: hand back the request's header \
                 kontiki.reply-to, unchanged, or say queue:NAME"
            );
            Error::new(Kind::Invalid, Code::INVALID_FIELD, detail)
        })
    }
}

fn caller(text: &str) -> Option<Address> {
    let (node, token) = text.split_once(':')?;
    let digits = |text: &str, wanted: fn(u8) -> bool| text.bytes().all(wanted);
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if token.len() != 32 || !digits(token, lower_hex) {
        return None;
    }
    if node.starts_with('0') || !digits(node, |byte| byte.is_ascii_digit()) {
        return None;
    }
    let node = NodeId(node.parse().ok()?);
    let token = u128::from_str_radix(token, 16).ok()?.to_be_bytes();
    Some(Address::Caller { node, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_frozen() {
        let token = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        let text = "node:2:000102030405060708090a0b0c0d0eff";
        let address = Address::Caller { node: NodeId(2), token };
        assert_eq!(address.to_string(), text);
        assert_eq!(Address::parse(text), Ok(address));
        let address = Address::Queue("answers".to_owned());
        assert_eq!(address.to_string(), "queue:answers");
        assert_eq!(Address::parse("queue:answers"), Ok(address));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let token = "000102030405060708090a0b0c0d0e0f";
        for wrong in [
            "",
            "answers",
            "queue:",
            "topic:answers",
            "node:2",
            "node::000102030405060708090a0b0c0d0e0f",
            &format!("node:2:{}", &token[1..]),
            &format!("node:2:{token}0"),
            &format!("node:2:{}", token.to_uppercase()),
            &format!("node:2:+{}", &token[1..]),
            &format!("node:02:{token}"),
            &format!("node:0:{token}"),
            &format!("node:+2:{token}"),
            &format!("node:4294967296:{token}"),
            &format!(" node:2:{token}"),
            "ü:ü",
        ] {
            let error = Address::parse(wrong).unwrap_err();
            assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD), "{wrong}");
            assert!(error.detail.starts_with("reply_to is "), "{error}");
        }
    }
}
