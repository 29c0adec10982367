//! The gRPC contracts of Kontiki, as generated code.
//!
//! [`v1`] is the public contract: read the `.proto` files in `proto/kontiki/v1`, they say what
//! every field means. [`node`] is spoken between the nodes of one cluster only. Nothing here has
//! behaviour, except [`details`], which carries a typed error in a gRPC status.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod details;

/// The public contract, `kontiki.v1`.
pub mod v1 {
    tonic::include_proto!("kontiki.v1");
}

/// Between nodes, `kontiki.node.v1`.
pub mod node {
    tonic::include_proto!("kontiki.node.v1");
}

/// All descriptors, encoded: for gRPC reflection and for the test that catches breaking changes.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kontiki.descriptors"));
