//! Exchanges and bindings: what is declared. How a message finds its way through them is compiled
//! elsewhere, from the same rows on every node.

use std::fmt;

use kontiki_storage::id::TopicId;
use minicbor::{Decode, Encode};

use crate::filter::{FilterText, PatternSyntax};
use crate::rejection::{ExchangeRefusal, Rejection};

/// Longest name of an exchange, routing key of a binding, and name of an argument, in bytes (AMQP
/// 0-9-1: a short string).
pub const EXCHANGE_NAME_BYTES_MAX: usize = 255;
/// The most arguments of one binding.
const ARGUMENTS_MAX: usize = 64;
/// The longest value of an argument, in bytes.
const ARGUMENT_BYTES_MAX: usize = 4_096;
/// Names that begin so are not for clients to declare.
const RESERVED_PREFIXES: [&str; 2] = ["kontiki.", "amq."];

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ExchangeKind {
    /// Those whose key is the message's routing key.
    #[n(0)]
    Direct,
    /// Those whose pattern matches the message's routing key.
    #[n(1)]
    Topic,
    /// All of them.
    #[n(2)]
    Fanout,
    /// Those whose arguments match the message's headers.
    #[n(3)]
    Headers,
    /// One of them, always the same for the same value.
    #[n(4)]
    ConsistentHash {
        /// The header whose value counts; `None` is the routing key.
        #[n(0)]
        header: Option<String>,
    },
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Topic => f.write_str("topic"),
            Self::Fanout => f.write_str("fanout"),
            Self::Headers => f.write_str("headers"),
            Self::ConsistentHash { header: None } => f.write_str("consistent-hash"),
            Self::ConsistentHash { header: Some(header) } => {
                write!(f, "consistent-hash of header {header:?}")
            }
        }
    }
}

/// The row of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Exchange {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// How it chooses.
    #[n(1)]
    pub kind: ExchangeKind,
    /// The exchange that gets messages for which no binding was chosen. It need not be there.
    #[n(2)]
    pub alternate: Option<String>,
    /// Clients may not publish to it.
    #[n(3)]
    pub internal: bool,
    /// When it was created, in milliseconds since 1970.
    #[n(4)]
    pub created_ms: i64,
}

/// Numbers bindings; never used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BindingId(#[n(0)] pub u64);

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Destination {
    /// A queue.
    #[n(0)]
    Queue(#[cbor(n(0), with = "crate::codec::id")] TopicId),
    /// The exchange of this name.
    #[n(1)]
    Exchange(#[n(0)] String),
}

/// An argument of a binding: what a headers exchange asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Argument {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its value; `None` asks only that the header is there.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Option<Vec<u8>>,
}

/// What makes a binding what it is: two that differ in any of it are two bindings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Route {
    /// The exchange whose messages it leads on.
    #[n(0)]
    pub source: String,
    /// Where it leads them.
    #[n(1)]
    pub destination: Destination,
    /// The routing key, pattern or weight, by the kind of the source.
    #[n(2)]
    pub key: String,
    /// How a pattern is written; only topic exchanges look at it.
    #[n(3)]
    pub syntax: PatternSyntax,
    /// In the order of their names, none of them twice.
    #[n(4)]
    pub arguments: Vec<Argument>,
}

/// The row of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Binding {
    /// Its number.
    #[n(0)]
    pub id: BindingId,
    /// From where to where, and for which messages.
    #[n(1)]
    pub route: Route,
    /// Which of these messages.
    #[n(2)]
    pub filter: Option<FilterText>,
    /// When it was made, in milliseconds since 1970.
    #[n(3)]
    pub created_ms: i64,
}

/// Checks a name that a client wants to declare, delete or bind.
///
/// # Errors
/// It is reserved, or no name.
pub(super) fn check_name(name: &str) -> Result<(), Rejection> {
    if name.is_empty() || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        let name = name.chars().take(EXCHANGE_NAME_BYTES_MAX).collect();
        return Err(ExchangeRefusal::Reserved { name }.into());
    }
    check_text("name of an exchange", name)
}

/// Checks the length of a name or key, and that it can be shown.
pub(crate) fn check_text(what: &str, text: &str) -> Result<(), Rejection> {
    if text.len() > EXCHANGE_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        let expected =
            format!("at most {EXCHANGE_NAME_BYTES_MAX} bytes without control characters");
        return Err(Rejection::invalid(what, text, &expected));
    }
    Ok(())
}

impl Route {
    /// Before every binding of an exchange.
    pub(super) fn first_of(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination: Destination::Queue(TopicId(0)),
            key: String::new(),
            syntax: PatternSyntax::Amqp,
            arguments: Vec::new(),
        }
    }

    /// Checks everything but that its ends are there, and brings it into its only form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn normal(&self, kind: &ExchangeKind) -> Result<Self, Rejection> {
        check_text("routing key", &self.key)?;
        let count = self.arguments.len();
        if count > ARGUMENTS_MAX {
            let expected = format!("at most {ARGUMENTS_MAX}");
            return Err(Rejection::invalid("the number of arguments", count, &expected));
        }
        for argument in &self.arguments {
            check_text("name of an argument", &argument.name)?;
            let bytes = argument.value.as_ref().map_or(0, Vec::len);
            if bytes > ARGUMENT_BYTES_MAX {
                let expected = format!("at most {ARGUMENT_BYTES_MAX} bytes");
                return Err(Rejection::invalid("the length of an argument", bytes, &expected));
            }
        }
        let mut route = self.clone();
        route.arguments.sort_unstable();
        let twice = route.arguments.windows(2).find(|pair| pair[0].name == pair[1].name);
        if let Some(pair) = twice {
            return Err(Rejection::invalid("argument", &pair[0].name, "each name once"));
        }
        if *kind != ExchangeKind::Topic {
            route.syntax = PatternSyntax::Amqp;
        }
        Ok(route)
    }
}
