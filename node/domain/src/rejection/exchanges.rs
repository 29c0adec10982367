//! The refusals of exchanges and bindings. Their codes are numbers of variants as well.

use minicbor::{Decode, Encode};

use super::Rejection;

/// Why an exchange or a binding is not as somebody wanted it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum ExchangeRefusal {
    /// There is no such exchange.
    #[error("exchange {name:?} does not exist: create it, or correct the name")]
    #[n(260)]
    Unknown {
        /// The name that was asked for.
        #[n(0)]
        name: String,
    },
    /// There is another exchange of that name.
    #[error(
        "exchange {name:?} has {field} {current}, not {wanted}: declare it as it is, delete it \
         first, or choose another name"
    )]
    #[n(261)]
    Exists {
        /// Its name.
        #[n(0)]
        name: String,
        /// What differs.
        #[n(1)]
        field: String,
        /// What the exchange has.
        #[n(2)]
        current: String,
        /// What was declared.
        #[n(3)]
        wanted: String,
    },
    /// The name is not for clients.
    #[error(
        "exchange {name:?} can't be declared, deleted or bound: \"\" is the default one, which \
         leads to every queue by its name, and names that begin with \"kontiki.\" or \"amq.\" are \
         reserved; choose another name"
    )]
    #[n(262)]
    Reserved {
        /// The name.
        #[n(0)]
        name: String,
    },
    /// It has bindings, and was to be deleted only without.
    #[error("exchange {name:?} is in use: unbind what is bound to it, or delete it regardless")]
    #[n(263)]
    InUse {
        /// Its name.
        #[n(0)]
        name: String,
    },
    /// Messages would go in a circle.
    #[error(
        "binding exchange {:?} to {:?} would make a loop, {}: unbind one of these first",
        .path.first().map_or("", String::as_str),
        .path.get(1).map_or("", String::as_str),
        .path.join(" -> ")
    )]
    #[n(264)]
    Loop {
        /// The exchanges of the circle, from the source of the refused binding through its
        /// destination back to the source.
        #[n(0)]
        path: Vec<String>,
    },
    /// There are as many as there may be.
    #[error(
        "the cluster has {count} {what}, and {limit} is {max}: delete some, or raise the limit"
    )]
    #[n(265)]
    Limit {
        /// Exchanges or bindings.
        #[n(0)]
        what: String,
        /// The name of the limit.
        #[n(1)]
        limit: String,
        /// How many there are.
        #[n(2)]
        count: u64,
        /// How many there may be.
        #[n(3)]
        max: u32,
    },
    /// The same binding is there with another content filter.
    #[error(
        "exchange {source_name:?} has this binding with another filter: unbind it first, or bind \
         with another key"
    )]
    #[n(266)]
    OtherFilter {
        /// The exchange.
        #[n(0)]
        source_name: String,
    },
}

impl ExchangeRefusal {
    /// The code: stable, append-only, the number of the variant.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Unknown { .. } => 260,
            Self::Exists { .. } => 261,
            Self::Reserved { .. } => 262,
            Self::InUse { .. } => 263,
            Self::Loop { .. } => 264,
            Self::Limit { .. } => 265,
            Self::OtherFilter { .. } => 266,
        }
    }
}

impl From<ExchangeRefusal> for Rejection {
    fn from(refusal: ExchangeRefusal) -> Self {
        Self::Exchange(refusal)
    }
}
