//! The client listeners of a Kontiki node: each protocol, translated to calls of the broker.
//!
//! A gateway decodes what a client sends, names the field that can't be, calls the broker, and
//! encodes the answer or the error. It decides nothing: it routes nothing, retries nothing and
//! touches no storage.
//!
//! * [`grpc`]: the native protocol, `kontiki.v1`

pub mod grpc;
