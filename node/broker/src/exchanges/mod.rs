//! Exchanges: declare, bind, publish.
//!
//! What is declared and bound is in the catalog, on every node. Each node compiles it for itself
//! (`compiled`), as it changes, and routes what is published through it; a message is stored in
//! every queue that it is led to, and answered for then.
//!
//! * `admin`: create, delete, look at; `bindings`: bind, unbind, list
//! * `publish`: route messages and send them to their queues; `keys`: the keys that count
//! * `publisher`: many such calls, in their order
//! * `compiled`: the table, and the filters of bindings beside it
//! * `check`: what can't be compiled is refused before it is asked for

mod admin;
mod bindings;
mod check;
mod compiled;
pub(crate) mod keys;
mod publish;
mod publisher;

pub use kontiki_domain::catalog::{
    Argument, Bind, BindingId, CreateExchange, Exchange, ExchangeKind,
};
pub use kontiki_domain::filter::{FilterText, Language, PatternSyntax};

pub use self::admin::Description;
pub use self::bindings::{Bound, Ends, Listed, To};
pub(crate) use self::compiled::{Compiled, Content};
pub use self::publish::{Publication, Publish, Published};
pub use self::publisher::Publisher;
use crate::error::Error;

/// The header that says through which exchange a message came.
pub(crate) const EXCHANGE: &str = "kontiki.exchange";
/// The header that says with which routing key a message was published.
pub(crate) const ROUTING_KEY: &str = "kontiki.routing-key";

/// There is no such exchange, as the catalog would say it.
fn unknown(name: &str) -> Error {
    let refusal = kontiki_domain::rejection::ExchangeRefusal::Unknown { name: name.to_owned() };
    kontiki_domain::Rejection::from(refusal).into()
}

/// The catalog has said something that is no answer to what it was asked.
fn misunderstood(name: &str) -> Error {
    Error::internal(format!("exchange {name:?}: the catalog's answer is that to another question"))
}
