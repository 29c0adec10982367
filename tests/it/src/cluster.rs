//! Several nodes on loopback.

use std::net::SocketAddrV4;
use std::path::Path;

use kontiki_proto::v1;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::{AnyNode, Api, CallError};
use crate::process::{Node, NodeSpec};
use crate::scratch::Scratch;
use crate::wait;

/// One cluster at a time in one process: a machine with several would be slow enough to be taken
/// for a broken one.
static TURN: Mutex<()> = Mutex::const_new(());

/// How the nodes of a cluster are started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// A configuration file, in TOML.
    pub config: Option<String>,
    /// A disk of this size for every node, instead of the machine's.
    pub disk_bytes: Option<u64>,
}

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes; those that joined later are at the end.
    pub nodes: Vec<Node>,
    launch: Launch,
    members: String,
    // Before the turn, so that the files are gone when the next cluster starts.
    scratch: Scratch,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Three nodes, ready.
    pub async fn of_three(name: &str) -> Self {
        Self::launch(name, 3, Launch::default()).await
    }

    /// Starts this many nodes and waits until they serve.
    ///
    /// # Panics
    /// Where they don't in a minute.
    pub async fn launch(name: &str, count: u32, launch: Launch) -> Self {
        let turn = TURN.lock().await;
        let scratch = Scratch::new(name);
        let mut specs: Vec<NodeSpec> =
            (1..=count).map(|id| NodeSpec::new(id, scratch.path())).collect();
        specs.iter_mut().for_each(|spec| spec.disk_bytes = launch.disk_bytes);
        let members: Vec<String> =
            specs.iter().map(|spec| format!("{}={}", spec.id, spec.peer)).collect();
        let members = members.join(",");
        let nodes = specs
            .into_iter()
            .map(|spec| Node::new(spec, &members, launch.config.as_deref()))
            .collect();
        let mut cluster = Self { nodes, launch, members, scratch, _turn: turn };
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.ready().await;
        cluster
    }

    /// Where the logs and the data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts one more node, which joins, and returns its id.
    ///
    /// # Panics
    /// Where it doesn't serve in a minute.
    pub async fn add_node(&mut self) -> u32 {
        let id = self.nodes.iter().map(|node| node.spec.id).max().unwrap_or_default() + 1;
        let mut spec = NodeSpec::new(id, self.scratch.path());
        spec.disk_bytes = self.launch.disk_bytes;
        let mut node = Node::new(spec, &self.members, self.launch.config.as_deref());
        node.start();
        node.ready().await;
        self.nodes.push(node);
        id
    }

    /// Waits until every node serves.
    ///
    /// # Panics
    /// Where one doesn't in a minute.
    pub async fn ready(&mut self) {
        for node in &mut self.nodes {
            node.ready().await;
        }
    }

    /// The node of this id.
    ///
    /// # Panics
    /// Where there is none.
    pub fn node(&mut self, id: u32) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.spec.id == id);
        found.unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddrV4> {
        self.nodes.iter().map(|node| node.spec.client).collect()
    }

    /// Any node that answers.
    #[must_use]
    pub fn any(&self) -> AnyNode {
        AnyNode::of(self.addresses())
    }

    /// One node, by id.
    pub fn api(&mut self, id: u32) -> Api {
        Api::to(self.node(id).spec.client)
    }

    /// Creates a topic.
    ///
    /// # Panics
    /// Where it can't be created.
    pub async fn create_topic(&self, topic: &str, partitions: u32) {
        self.any()
            .ask("a topic", |api| async move {
                let request = v1::CreateTopicRequest {
                    topic: topic.to_owned(),
                    partitions,
                    // The first answer may be lost with the node that gave it.
                    if_not_exists: true,
                    ..Default::default()
                };
                Ok(api.topics().create_topic(request).await?.into_inner())
            })
            .await;
    }

    /// The shard and the leader of a partition, as soon as there is one.
    ///
    /// # Panics
    /// Where there is none for a minute.
    pub async fn leader(&self, topic: &str, partition: u32) -> (u32, u32) {
        let any = self.any();
        wait::until("a leader", || {
            let any = any.clone();
            async move {
                let request =
                    v1::MetadataRequest { topics: vec![topic.to_owned()], all_topics: false };
                let answer = any.current().log().metadata(request).await;
                let answer = answer.inspect_err(|_| any.next()).map_err(CallError::from);
                let answer = answer.map_err(|e| e.to_string())?.into_inner();
                let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
                let found = partitions.into_iter().find(|info| info.partition == partition);
                match found {
                    Some(info) if info.leader != 0 => Ok((info.shard, info.leader)),
                    other => {
                        any.next();
                        Err(format!("{topic}/{partition}: {other:?}"))
                    }
                }
            }
        })
        .await
    }

    /// How the cluster sees itself.
    pub async fn describe(&self) -> v1::DescribeClusterResponse {
        self.any()
            .ask("the cluster", |api| async move {
                let request = v1::DescribeClusterRequest {};
                Ok(api.cluster().describe_cluster(request).await?.into_inner())
            })
            .await
    }

    /// Waits until every shard has a leader, this many voters, and nothing on its way.
    ///
    /// # Panics
    /// Where that isn't so in two minutes.
    pub async fn settled(&self, voters: usize) {
        wait::until_within(wait::PATIENCE * 2, "a settled cluster", || async {
            let answer = self.describe().await;
            let unsettled: Vec<String> = answer
                .shards
                .iter()
                .filter(|shard| {
                    shard.leader == 0 || shard.voters.len() != voters || !shard.moving.is_empty()
                })
                .map(|shard| {
                    let (id, leader) = (shard.shard, shard.leader);
                    format!("{id}: leader {leader}, {:?} + {:?}", shard.voters, shard.moving)
                })
                .collect();
            if unsettled.is_empty() { Ok(()) } else { Err(unsettled.join("; ")) }
        })
        .await;
    }

    /// Makes a node the leader of a shard.
    ///
    /// # Panics
    /// Where it isn't in a minute.
    pub async fn lead(&mut self, shard: u32, to_node: u32) {
        let any = self.any();
        wait::until("a leader of choice", || {
            let any = any.clone();
            async move {
                let api = any.current();
                any.next();
                let request = v1::TransferLeadershipRequest { shard, to_node };
                let asked = api.cluster().transfer_leadership(request).await;
                let described = api.cluster().describe_cluster(v1::DescribeClusterRequest {}).await;
                let described = described.map_err(|e| e.to_string())?.into_inner();
                let found = described.shards.iter().find(|found| found.shard == shard);
                match found {
                    Some(found) if found.leader == to_node => Ok(()),
                    other => Err(format!("{other:?}, asked: {asked:?}")),
                }
            }
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("node {} wrote last:\n{}", node.spec.id, node.log_end());
            }
        }
    }
}
