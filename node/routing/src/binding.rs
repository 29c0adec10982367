//! What leads from an exchange to a queue or to another exchange.

use crate::pattern::Syntax;

/// The number of a queue. What it stands for is the caller's business: the table doesn't know which
/// queues there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// The number of a gate: something that looks at a message before it goes on to an exchange. What
/// it looks for is the caller's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateId(pub u64);

/// Where a binding leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination<'a> {
    /// A queue.
    Queue(QueueId),
    /// The exchange of this name, which must be declared.
    Exchange(&'a str),
    /// The same, for messages that this gate lets through.
    Gate(GateId, &'a str),
}

/// What a binding leads to, when a message may go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Candidate {
    /// A queue.
    Queue(QueueId),
    /// A gate, and the exchange behind it.
    Gate(GateId),
}

/// What is known about a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The message goes there.
    Accepted,
    /// It does not.
    Refused,
    /// Nobody knows yet: it does not go there, but is not taken elsewhere for it either.
    Undecided,
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// A binding. Two that differ in anything are two bindings, even where they lead the same messages
/// to the same queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The exchange whose messages it leads on.
    pub source: &'a str,
    /// Where it leads them.
    pub destination: Destination<'a>,
    /// At most [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes. Its meaning is up to the
    /// source's kind: for a direct exchange the routing key, for a topic exchange the pattern, for
    /// a consistent-hash exchange the weight; fanout and headers exchanges don't look at it.
    pub key: &'a str,
    /// How the pattern of a topic exchange is written; others don't look at it.
    pub syntax: Syntax,
    /// A name and a value each; a headers exchange looks at them.
    ///
    /// There, `x-match` says how many of the others a message's headers must have: `all` of them
    /// (also without `x-match`), or `any` one. Names that start with `x-` count only with
    /// `all-with-x` and `any-with-x`. A value of `None` asks only that the header is there. The
    /// value of `x-match` is its bare text.
    pub arguments: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> Binding<'a> {
    /// A binding without arguments, in [`Syntax::Amqp`].
    #[must_use]
    pub fn new(source: &'a str, destination: Destination<'a>, key: &'a str) -> Self {
        Self { source, destination, key, syntax: Syntax::Amqp, arguments: &[] }
    }

    /// The same to a queue.
    #[must_use]
    pub fn to_queue(source: &'a str, queue: QueueId, key: &'a str) -> Self {
        Self::new(source, Destination::Queue(queue), key)
    }

    /// The same to an exchange.
    #[must_use]
    pub fn to_exchange(source: &'a str, destination: &'a str, key: &'a str) -> Self {
        Self::new(source, Destination::Exchange(destination), key)
    }

    /// The same to an exchange, through a gate.
    #[must_use]
    pub fn to_gate(source: &'a str, gate: GateId, destination: &'a str, key: &'a str) -> Self {
        Self::new(source, Destination::Gate(gate, destination), key)
    }

    /// The same binding with these arguments.
    #[must_use]
    pub fn with(mut self, arguments: &'a [(&'a str, Option<&'a [u8]>)]) -> Self {
        self.arguments = arguments;
        self
    }

    /// The same binding with its pattern in this syntax.
    #[must_use]
    pub fn in_syntax(mut self, syntax: Syntax) -> Self {
        self.syntax = syntax;
        self
    }
}

/// A binding, as a table keeps it. All numbers are those of the table.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) source: u32,
    pub(crate) target: u32,
    pub(crate) syntax: Syntax,
    pub(crate) key: Box<str>,
    /// [Encoded](crate::arguments::Arguments::encoded).
    pub(crate) arguments: Box<[u8]>,
    /// Its position among the bindings of its source.
    pub(crate) at_source: u32,
    /// Its position among the bindings that lead to its target.
    pub(crate) at_target: u32,
    pub(crate) place: Place,
}

/// Where a binding is in the index of its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of a part of the index, if it numbers its parts.
    pub(crate) part: u32,
    /// The position there.
    pub(crate) position: u32,
}
