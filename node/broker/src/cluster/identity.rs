//! What a node knows of itself before it has a catalog: one row, durable before anything depends on
//! it.

use std::collections::BTreeMap;

use kontiki_domain::catalog::DiskId;
use kontiki_storage::id::NodeId;
use kontiki_storage::{Engine, Family, WriteBatch, key};
use minicbor::{Decode, Encode};

/// Of the row's layout.
const VERSION: u8 = 1;

/// Who a data directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    #[n(0)]
    node: u32,
    /// Made at random with the directory: a node without it has lost its data.
    #[n(1)]
    pub disk: DiskId,
    /// The cluster, once the node belongs to one.
    #[n(2)]
    pub membership: Option<Membership>,
    /// Layout of the keys in this directory.
    #[n(3)]
    keys: u8,
}

/// The cluster that a node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Membership {
    /// Its id.
    #[n(0)]
    pub cluster_id: String,
    /// Peer addresses of the nodes that the newest catalog here knew: where to look while this
    /// node has none.
    #[n(1)]
    pub members: BTreeMap<u32, String>,
    /// The nodes that found the catalog's group, if this node is one of them.
    #[n(2)]
    pub founders: Vec<u32>,
    /// Which replica of the catalog this node has, or is about to make: written before an
    /// earlier one is dropped, so that no id is ever used twice.
    #[n(3)]
    pub catalog_replica: u64,
    /// The newest version of the catalog by which this node has made or dropped a replica. A copy
    /// that is older, because it is being made anew from the start, must not be acted on: it
    /// names replicas that have gone since.
    #[n(4)]
    pub acted_at: u64,
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is another node's.
    #[error(
        "the data directory belongs to node {found}, this is node {configured}: correct \
         node.id, or use an empty directory"
    )]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        configured: NodeId,
    },
    /// A release with another layout has written it.
    #[error("the data directory has key layout {found}, this release reads {supported}")]
    Layout {
        /// What was found.
        found: u8,
        /// What is supported.
        supported: u8,
    },
    /// It can't be read or written.
    #[error(transparent)]
    Storage(#[from] kontiki_storage::Error),
}

impl Identity {
    /// Reads the identity of a data directory, or gives it one, durably.
    ///
    /// # Errors
    /// It belongs to another node or release, or can't be read or written.
    pub async fn open(
        engine: &dyn Engine,
        node: NodeId,
        disk: impl FnOnce() -> [u8; 16],
    ) -> Result<Self, IdentityError> {
        let Some(row) = engine.get(Family::State, &key::identity())? else {
            let identity =
                Self { node: node.0, disk: DiskId(disk()), membership: None, keys: key::VERSION };
            identity.store(engine).await?;
            return Ok(identity);
        };
        let identity = match row.split_first() {
            Some((&VERSION, body)) => minicbor::decode::<Self>(body).ok(),
            Some(_) | None => None,
        };
        let Some(identity) = identity else {
            let why = format!("{} bytes don't decode", row.len());
            return Err(kontiki_storage::Error::corrupt("the identity row", why).into());
        };
        if identity.keys != key::VERSION {
            let (found, supported) = (identity.keys, key::VERSION);
            return Err(IdentityError::Layout { found, supported });
        }
        if identity.node != node.0 {
            let found = NodeId(identity.node);
            return Err(IdentityError::OtherNode { found, configured: node });
        }
        Ok(identity)
    }

    /// Makes it durable.
    pub(super) async fn store(&self, engine: &dyn Engine) -> Result<(), kontiki_storage::Error> {
        let mut row = vec![VERSION];
        minicbor::encode(self, &mut row).expect("writing to a Vec cannot fail");
        let mut rows = WriteBatch::new();
        rows.put(Family::State, key::identity(), row);
        engine.write(rows)?;
        engine.sync().await.map(|_| ())
    }
}
