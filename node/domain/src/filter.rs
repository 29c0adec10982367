//! Content filters and patterns as they are written down: here they are texts; the broker compiles
//! them.

use minicbor::{Decode, Encode};

/// Longest text of a filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 8 * 1024;

/// What a filter is written in, and what it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Language {
    /// A CEL expression over headers, key, body and meta.
    #[n(0)]
    Cel,
    /// A filter policy of Amazon SNS on the headers.
    #[n(1)]
    PolicyOnHeaders,
    /// A filter policy of Amazon SNS on the body.
    #[n(2)]
    PolicyOnBody,
}

/// A content filter: of a binding, a subscription or a redrive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct FilterText {
    /// What it is written in.
    #[n(0)]
    pub language: Language,
    /// At most [`FILTER_BYTES_MAX`].
    #[n(1)]
    pub text: String,
}

/// How a pattern over words with dots between them is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PatternSyntax {
    /// `*` is one word, `#` is any number of them.
    #[n(0)]
    Amqp,
    /// `*` is one word, `>` at the end is one or more.
    #[default]
    #[n(1)]
    Nats,
}
