//! Sockets: what is accepted, and how other nodes are connected to.

mod accept;
mod dial;

pub use self::accept::{AcceptOptions, Acceptor, Connection};
pub use self::dial::Peers;
