//! Nodes: who they are, where they are reached and whether they take replicas.

use std::collections::BTreeMap;
use std::fmt;

use kontiki_storage::id::NodeId;
use minicbor::{Decode, Encode};

use super::cluster::{FeatureLevel, FeatureRange};
use crate::rejection::Rejection;

/// The identity of a node's data directory, made (at random) when the directory is. A node that
/// joins with another one has lost its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DiskId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a node says about itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeSpec {
    /// Its configured number, from 1.
    #[cbor(n(0), with = "crate::codec::id")]
    pub node: NodeId,
    /// The identity of its data directory.
    #[n(1)]
    pub disk: DiskId,
    /// `host:port` at which the other nodes reach it.
    #[n(2)]
    pub peer_address: String,
    /// `host:port` of its native client listener.
    #[n(3)]
    pub client_address: String,
    /// Advertised `host:port` of each further listener, by the listener's name.
    #[n(4)]
    pub listeners: BTreeMap<String, String>,
    /// Where it stands; replicas of a shard are spread over racks.
    #[n(5)]
    pub rack: Option<String>,
    /// Anything an operator wants to remember about it.
    #[n(6)]
    pub labels: BTreeMap<String, String>,
    /// The feature levels that its release speaks.
    #[n(7)]
    pub features: FeatureRange,
}

/// Whether a node takes replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NodeState {
    /// It does.
    #[n(0)]
    Active,
    /// It is being emptied: new replicas go elsewhere, and those that it has are moved away.
    #[n(1)]
    Draining,
    /// It is gone. Its row stays, so that its number is not mistaken for a new one.
    #[n(2)]
    Removed,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Removed => "removed",
        })
    }
}

/// The row of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    /// What it said last.
    #[n(0)]
    pub spec: NodeSpec,
    /// Whether it takes replicas.
    #[n(1)]
    pub state: NodeState,
    /// How many data directories it has had, from 1.
    #[n(2)]
    pub incarnation: u32,
    /// When it joined first, in milliseconds since 1970.
    #[n(3)]
    pub joined_ms: i64,
}

/// Longest address, listener name, rack, label name or label value, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// How many labels and how many listeners a node may have.
pub const ENTRIES_MAX: usize = 32;

impl NodeSpec {
    /// Checks what doesn't depend on the rest of the catalog.
    ///
    /// # Errors
    /// [`Rejection::InvalidArgument`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), Rejection> {
        if self.node == NodeId(0) {
            return Err(Rejection::invalid("node", 0, "a number from 1"));
        }
        address("peer_address", &self.peer_address)?;
        address("client_address", &self.client_address)?;
        if let Some(rack) = &self.rack {
            text("rack", rack)?;
        }
        for (field, entries) in [("listeners", &self.listeners), ("labels", &self.labels)] {
            if entries.len() > ENTRIES_MAX {
                let limit = format!("at most {ENTRIES_MAX} entries");
                return Err(Rejection::invalid(field, entries.len(), &limit));
            }
        }
        for (name, value) in &self.listeners {
            text("listeners", name)?;
            address("listeners", value)?;
        }
        for (name, value) in &self.labels {
            text("labels", name)?;
            if value.len() > TEXT_BYTES_MAX {
                return Err(too_long("labels", value));
            }
        }
        if self.features.oldest > self.features.newest {
            let value = format!("{}..={}", self.features.oldest, self.features.newest);
            return Err(Rejection::invalid("features", value, "oldest at most newest"));
        }
        Ok(())
    }

    /// The addresses that no other node may have.
    pub(crate) fn addresses(&self) -> [&str; 2] {
        [&self.peer_address, &self.client_address]
    }

    /// An address that both nodes claim.
    pub(crate) fn shared_address(&self, other: &Self) -> Option<&str> {
        self.addresses().into_iter().find(|address| other.addresses().contains(address))
    }

    /// Refuses a feature level that the node's release doesn't speak.
    pub(crate) fn require_level(&self, level: FeatureLevel) -> Result<(), Rejection> {
        if self.features.speaks(level) {
            return Ok(());
        }
        let (node, speaks) = (self.node, self.features);
        Err(Rejection::FeatureLevelUnsupported { node, level, speaks })
    }
}

fn text(field: &str, value: &str) -> Result<(), Rejection> {
    if value.is_empty() {
        return Err(Rejection::invalid(field, "\"\"", "not empty"));
    }
    if value.len() > TEXT_BYTES_MAX {
        return Err(too_long(field, value));
    }
    Ok(())
}

fn address(field: &str, value: &str) -> Result<(), Rejection> {
    text(field, value)?;
    let port = value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(1..) => Ok(()),
        Some(0) | None => Err(Rejection::invalid(field, value, "host:port, port from 1 to 65535")),
    }
}

fn too_long(field: &str, value: &str) -> Rejection {
    let limit = format!("at most {TEXT_BYTES_MAX} bytes");
    Rejection::invalid(field, format!("{} bytes", value.len()), &limit)
}
