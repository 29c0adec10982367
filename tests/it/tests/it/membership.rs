//! Nodes come and go while an idempotent producer writes.

use kontiki_it::api::CallError;
use kontiki_it::wait;
use kontiki_proto::v1::{self, NodeState};

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_added_and_another_removed() {
    let mut scene = Scene::set("membership").await;
    let added = scene.cluster.add_node().await;
    scene.progress().await;

    // The leader of what is written goes, so that its partition moves under load.
    let leaving = scene.leader().await;
    let request = v1::RemoveNodeRequest { node_id: leaving };
    let any = scene.cluster.any();
    let answer = any
        .ask("a removal", |api| async move {
            Ok(api.cluster().remove_node(request).await?.into_inner())
        })
        .await;
    assert!(answer.shards_to_move > 0, "node {leaving} had replicas");
    scene.progress().await;

    let gone =
        |node: &v1::NodeDescription| node.node_id == leaving && node.state() != NodeState::Removed;
    wait::until_within(wait::PATIENCE * 2, "a node without shards", || async {
        let answer = scene.cluster.describe().await;
        let holds = |shard: &v1::ShardDescription| {
            shard.voters.contains(&leaving) || shard.moving.contains(&leaving)
        };
        let held = answer.shards.iter().filter(|shard| shard.shard != 0 && holds(shard)).count();
        match answer.nodes.iter().find(|node| gone(node)) {
            None => Ok(()),
            Some(node) => Err(format!("{held} shards still on {node:?}")),
        }
    })
    .await;
    // Its disk is not needed any more.
    scene.cluster.node(leaving).kill();
    scene.cluster.nodes.retain(|node| node.spec.id != leaving);
    scene.progress().await;

    let described = scene.cluster.describe().await;
    let replicas = described.nodes.iter().find(|node| node.node_id == added);
    assert!(replicas.is_some_and(|node| node.replicas > 0), "the new node carries shards");
    // Every replica that is left has all of it: each leads once.
    let (shard, _) = scene.cluster.leader(crate::scene::TOPIC, 0).await;
    scene.cluster.lead(shard, added).await;
    scene.progress().await;
    scene.check("a node added, another removed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_three_nodes_stay() {
    let scene = Scene::set("too-few").await;
    let api = scene.cluster.any().current();
    let request = v1::RemoveNodeRequest { node_id: 1 };
    let refused =
        api.cluster().remove_node(request).await.expect_err("three replicas, three nodes");
    let refused = CallError::from(refused);
    assert_eq!(refused.kind, v1::ErrorKind::Conflict, "{refused}");
    assert!(refused.message.contains("add a node first"), "{refused}");
    let request = v1::RemoveNodeRequest { node_id: 99 };
    let refused = api.cluster().remove_node(request).await.expect_err("there is no node 99");
    assert_eq!(CallError::from(refused).kind, v1::ErrorKind::NotFound);
    scene.check("refused removals").await;
}
