//! Nodes die, stand still and come back while an idempotent producer writes.

use std::time::Duration;

use rustix::process::Signal;

use crate::scene::{Scene, TOPIC};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_is_killed() {
    let mut scene = Scene::set("leader-killed").await;
    for _ in 0..3 {
        let leader = scene.leader().await;
        scene.cluster.node(leader).kill();
        scene.progress().await;
        scene.cluster.node(leader).start();
        scene.cluster.node(leader).ready().await;
        scene.progress().await;
    }
    scene.check("leader killed three times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_is_killed() {
    let mut scene = Scene::set("follower-killed").await;
    for _ in 0..3 {
        let leader = scene.leader().await;
        let follower = leader % 3 + 1;
        scene.cluster.node(follower).kill();
        scene.progress().await;
        scene.cluster.node(follower).start();
        scene.cluster.node(follower).ready().await;
        scene.progress().await;
    }
    scene.check("a follower killed three times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_killed_at_once() {
    let mut scene = Scene::set("all-killed").await;
    for _ in 0..3 {
        // Signals first, so that none of them sees another one go.
        for node in &scene.cluster.nodes {
            node.signal(Signal::KILL);
        }
        for node in &mut scene.cluster.nodes {
            node.kill();
            node.start();
        }
        scene.cluster.ready().await;
        scene.progress().await;
    }
    scene.check("all killed at once three times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_stands_still_and_comes_back() {
    let mut scene = Scene::set("leader-stopped").await;
    let (shard, leader) = scene.cluster.leader(TOPIC, 0).await;
    scene.cluster.node(leader).signal(Signal::STOP);
    let stopped = tokio::time::Instant::now();
    // The others go on without it.
    scene.progress().await;
    tokio::time::sleep_until(stopped + Duration::from_secs(10)).await;
    scene.cluster.node(leader).signal(Signal::CONT);
    scene.progress().await;
    scene.cluster.node(leader).ready().await;
    // What the returned node leads from now on is what the others wrote meanwhile.
    scene.cluster.lead(shard, leader).await;
    scene.progress().await;
    scene.check("leader stopped for 10 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_twenty_times() {
    let mut scene = Scene::set("restarts").await;
    for turn in 0..20_u32 {
        let id = turn % 3 + 1;
        // By turns as an operator would, and as a power cut would.
        if turn % 2 == 0 {
            let status = scene.cluster.node(id).terminate().await;
            assert!(status.success(), "node {id} was asked to stop and ended with {status}");
        } else {
            scene.cluster.node(id).kill();
        }
        scene.cluster.node(id).start();
        scene.cluster.node(id).ready().await;
    }
    scene.progress().await;
    scene.check("twenty restarts in a row").await;
}
