//! What holds for the whole cluster and can be changed: the feature level and the limits.

use kontiki_storage::batch::WriteBatch;

use crate::catalog::{Catalog, Cluster, FeatureLevel, Limits, NodeState, Reply};
use crate::rejection::Rejection;

pub(super) fn raise(
    catalog: &mut Catalog,
    level: FeatureLevel,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let cluster = catalog.founded()?.clone();
    let current = cluster.feature_level;
    if level < current {
        return Err(Rejection::FeatureLevelFalls { current, asked: level });
    }
    for node in catalog.nodes().filter(|node| node.state != NodeState::Removed) {
        node.spec.require_level(level)?;
    }
    if level > current {
        catalog.put_cluster(Cluster { feature_level: level, ..cluster }, batch);
    }
    Ok(Reply::Done)
}

pub(super) fn set_limits(
    catalog: &mut Catalog,
    limits: Limits,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let cluster = catalog.founded()?.clone();
    limits.validate()?;
    if limits != cluster.limits {
        catalog.put_cluster(Cluster { limits, ..cluster }, batch);
    }
    Ok(Reply::Done)
}
