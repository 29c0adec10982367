//! How a node comes to belong to a cluster.
//!
//! A new cluster is founded unanimously: the first of the initial members asks all of them, and
//! only where every one answers, is empty, and has the same initial members configured, is a
//! cluster made. A node without data that finds members of a cluster joins it. So a node that has
//! lost its disk can't found a second cluster beside the others, nor take part in elections with a
//! memory that it hasn't.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_domain::catalog::{
    Command, FeatureLevel, InitCluster, Limits, NodeSpec, NodeState, Reply,
};
use kontiki_proto::node::{
    FoundRequest, FoundResponse, IdentifyRequest, IdentifyResponse, InviteRequest, InviteResponse,
    JoinRequest, JoinResponse, Member,
};
use kontiki_storage::id::{NodeId, ReplicaId, ShardId};
use tonic::Status;

use super::identity::Membership;
use super::{Cluster, new_follower};
use crate::error::Error;

const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

impl Cluster {
    /// Comes back, founds or joins.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        let mut wait = WAIT_MIN;
        let mut told = String::new();
        while self.identity().membership.is_none() {
            match self.try_begin().await {
                Ok(()) => break,
                Err(why) => {
                    if why != told {
                        tracing::info!(%why, "waiting to found or join a cluster");
                        told = why;
                    }
                    // A disk that has failed stays so until the process starts anew.
                    self.0.engine.sync().await?;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.wake.notified() => {}
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
        self.come_back().await
    }

    /// Starts what is on disk, as a member.
    async fn come_back(&self) -> Result<(), Error> {
        let membership = self.identity().membership.expect("it belongs to a cluster");
        let internal = |error: &dyn std::fmt::Display| Error::internal(error.to_string());
        let raft = &self.0.raft;
        raft.set_cluster(&membership.cluster_id);
        let members = membership.members.iter();
        raft.set_peers(&members.map(|(node, at)| (NodeId(*node), at.clone())).collect());
        raft.open_replicas().await.map_err(|error| internal(&error))?;
        let node = self.0.node;
        let damaged = raft.failed().iter().any(|(shard, _)| *shard == ShardId::CATALOG);
        if !damaged && raft.shard(ShardId::CATALOG).is_none() {
            let replica = ReplicaId(membership.catalog_replica);
            let created = raft.create_replica(ShardId::CATALOG, replica).await;
            created.map_err(|error| internal(&error))?;
        }
        if !membership.founders.is_empty() {
            self.initialize_catalog(&membership).await?;
        }
        tracing::info!(cluster = membership.cluster_id, %node, "this node is a member");
        Ok(())
    }

    /// Every founder does this; who has the group already is not changed by it.
    async fn initialize_catalog(&self, membership: &Membership) -> Result<(), Error> {
        let founder = |node: &u32| ReplicaId::new(NodeId(*node), 1);
        let voters: Vec<ReplicaId> = membership.founders.iter().map(founder).collect();
        let here = self.0.raft.shard(ShardId::CATALOG).map(|shard| shard.replica());
        if !here.is_some_and(|here| voters.contains(&here)) {
            return Ok(());
        }
        let initialized = self.0.raft.initialize(ShardId::CATALOG, &voters).await;
        initialized.map_err(|error| Error::internal(error.to_string()))
    }

    async fn try_begin(&self) -> Result<(), String> {
        let join = self.0.join.lock().expect("nothing panics under this lock").clone();
        let mut addresses = join;
        let others = self.0.initial_members.iter().filter(|(node, _)| **node != self.0.node);
        addresses.extend(others.map(|(_, address)| address.clone()));
        addresses.dedup();
        let mut silent = Vec::new();
        let mut answers = Vec::new();
        for address in &addresses {
            match self.identify(address).await {
                Ok(answer) if answer.founded => return self.join(address).await,
                Ok(answer) => answers.push((address.clone(), answer)),
                Err(why) => silent.push(format!("{address}: {}", why.message())),
            }
        }
        if self.identity().membership.is_some() {
            // Another node has made this one a member in the meantime.
            return Ok(());
        }
        if !self.0.initial_members.contains_key(&self.0.node) {
            let text = if addresses.is_empty() {
                "neither node.initial_members nor node.join is set: add this node from a member"
            } else {
                "no member of a cluster answers at node.join"
            };
            return Err(text.to_owned());
        }
        if !silent.is_empty() {
            return Err(format!("initial members don't answer: {}", silent.join("; ")));
        }
        self.found(&answers).await
    }

    async fn identify(&self, address: &str) -> Result<IdentifyResponse, Status> {
        let request = self.request(IdentifyRequest { from_node: self.0.node.0 });
        self.within(self.peer(address).identify(request)).await
    }

    /// What all founders must agree on.
    fn founding(&self) -> String {
        let options = &self.0.options;
        let mut text = format!("shards={} rf={}", options.shards, options.replication_factor);
        for (node, address) in &self.0.initial_members {
            text.push_str(&format!(" {node}={address}"));
        }
        text
    }

    /// The first of the initial members founds; the others wait to be asked.
    async fn found(&self, answers: &[(String, IdentifyResponse)]) -> Result<(), String> {
        let ours = self.founding();
        for (address, answer) in answers {
            if answer.founding != ours {
                let theirs = &answer.founding;
                return Err(format!(
                    "node {} at {address} is configured with [{theirs}], this one with [{ours}]: \
                     make node.initial_members and cluster.shards the same",
                    answer.node_id
                ));
            }
        }
        let first = self.0.initial_members.keys().next().expect("this node is one of them");
        if *first != self.0.node {
            return Err(format!("node {first} founds the cluster"));
        }
        let begun = answers.iter().find(|(_, answer)| !answer.cluster_id.is_empty());
        let cluster_id = match begun {
            Some((_, answer)) => answer.cluster_id.clone(),
            None => hex((self.0.random)()),
        };
        for (address, _) in answers {
            let request = FoundRequest {
                cluster_id: cluster_id.clone(),
                from_node: self.0.node.0,
                founding: ours.clone(),
                members: members(&self.0.initial_members),
            };
            let asked = self.within(self.peer(address).found(self.request(request))).await;
            asked.map_err(|why| format!("{address} doesn't take part: {}", why.message()))?;
        }
        self.become_founder(&cluster_id).await.map_err(|error| error.to_string())
    }

    async fn become_founder(&self, cluster_id: &str) -> Result<(), kontiki_storage::Error> {
        let founders = self.0.initial_members.iter();
        let membership = Membership {
            cluster_id: cluster_id.to_owned(),
            members: founders.clone().map(|(node, at)| (node.0, at.clone())).collect(),
            founders: founders.map(|(node, _)| node.0).collect(),
            catalog_replica: ReplicaId::new(self.0.node, 1).0,
            acted_at: 0,
        };
        self.remember(membership).await
    }

    /// Drops this node's replica of the catalog and makes another, in an order that survives a
    /// crash.
    pub(super) async fn replace_catalog(
        &self,
        old: ReplicaId,
        new: ReplicaId,
    ) -> Result<(), Error> {
        let internal = |error: &dyn std::fmt::Display| Error::internal(error.to_string());
        let Some(mut membership) = self.identity().membership else { return Ok(()) };
        membership.catalog_replica = new.0;
        self.remember(membership).await.map_err(|error| internal(&error))?;
        let raft = &self.0.raft;
        let dropped = raft.drop_replica(ShardId::CATALOG, old).await;
        dropped.map_err(|error| internal(&error))?;
        let created = raft.create_replica(ShardId::CATALOG, new).await;
        created.map(|_| ()).map_err(|error| internal(&error))
    }

    /// Whether this node's copy of the catalog may be acted on: it knows the disk that the node
    /// has now, and is not older than what the node has acted on before.
    pub(super) fn catalog_is_current(&self) -> bool {
        let acted_at = self.identity().membership.map_or(0, |membership| membership.acted_at);
        let disk = self.disk();
        self.with_catalog(|catalog| {
            let knows = catalog.node(self.0.node).is_some_and(|node| node.spec.disk == disk);
            knows && catalog.version().0 >= acted_at
        })
    }

    /// Notes, durably, by which version of the catalog this node is about to act.
    pub(super) async fn act_at(&self, version: u64) -> Result<(), kontiki_storage::Error> {
        match self.identity().membership {
            Some(mut membership) if membership.acted_at < version => {
                membership.acted_at = version;
                self.remember(membership).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes, durably, who is in the cluster: a catalog replica that is made anew is empty, and
    /// asks these to let it follow. The nodes that it first knew may have gone since, or be as
    /// empty.
    pub(super) async fn remember_members(&self) {
        if !self.catalog_is_current() {
            return;
        }
        let Some(mut membership) = self.identity().membership else { return };
        let known = self.known_nodes().into_iter();
        let members = known.map(|(node, address)| (node.0, address)).collect();
        if membership.members == members {
            return;
        }
        membership.members = members;
        if let Err(error) = self.remember(membership).await {
            tracing::warn!(%error, "the other nodes' addresses are not noted yet");
        }
    }

    async fn remember(&self, membership: Membership) -> Result<(), kontiki_storage::Error> {
        let mut identity = self.identity();
        identity.membership = Some(membership);
        identity.store(self.0.engine.as_ref()).await?;
        *self.0.identity.lock().expect("nothing panics under this lock") = identity;
        Ok(())
    }

    /// Asks a member to let this node in.
    async fn join(&self, address: &str) -> Result<(), String> {
        let spec = encode_spec(&self.0.spec);
        let asked = self.within(self.peer(address).join(self.request(JoinRequest { spec }))).await;
        let answer = asked.map_err(|why| format!("{address}: {}", why.message()))?;
        if let Some(failure) = answer.failure {
            return Err(format!("{address} doesn't let this node in: {}", failure.message));
        }
        let known = answer.members.into_iter();
        let membership = Membership {
            cluster_id: answer.cluster_id,
            members: known.map(|member| (member.node_id, member.peer_address)).collect(),
            founders: Vec::new(),
            catalog_replica: new_follower(self.0.node, (self.0.random)()).0,
            acted_at: 0,
        };
        self.remember(membership).await.map_err(|error| error.to_string())
    }

    /// The leader of a catalog that is empty founds the cluster in it.
    pub(super) async fn found_in_catalog(&self) {
        let Some(membership) = self.identity().membership else { return };
        let mut nodes = vec![self.0.spec.clone()];
        for (node, address) in membership.members.iter().filter(|(n, _)| **n != self.0.node.0) {
            let request = FoundRequest {
                cluster_id: membership.cluster_id.clone(),
                from_node: self.0.node.0,
                founding: self.founding(),
                members: members(&self.0.initial_members),
            };
            let asked = self.within(self.peer(address).found(self.request(request))).await;
            match asked.map_err(|why| why.message().to_owned()).and_then(
                |FoundResponse { spec }| {
                    minicbor::decode::<NodeSpec>(&spec).map_err(|why| why.to_string())
                },
            ) {
                Ok(spec) => nodes.push(spec),
                Err(why) => {
                    tracing::info!(node, why, "waiting for a founder");
                    return;
                }
            }
        }
        // A founder may run an older release.
        let newest = nodes.iter().map(|node| node.features.newest);
        let feature_level = newest.fold(FeatureLevel::NEWEST, FeatureLevel::min);
        let init = InitCluster {
            cluster_id: membership.cluster_id,
            shard_count: self.0.options.shards,
            replication_factor: self.0.options.replication_factor,
            nodes,
            catalog_nodes: membership.founders.iter().map(|node| NodeId(*node)).collect(),
            limits: Limits::default(),
            feature_level,
        };
        match self.propose(Command::InitCluster(init)).await {
            Ok(_) => tracing::info!("the cluster is founded"),
            Err(error) => tracing::warn!(%error, "the cluster is not founded yet"),
        }
    }

    /// Answers: who is this?
    pub fn identify_self(&self) -> IdentifyResponse {
        let cluster_id = self.cluster_id().unwrap_or_default();
        let founded =
            self.0.port.get().is_some() && self.with_catalog(|catalog| catalog.cluster().is_some());
        IdentifyResponse {
            node_id: self.0.node.0,
            cluster_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            founding: self.founding(),
            founded,
        }
    }

    /// Answers a founder. Asked again by the same, the answer is the same.
    ///
    /// # Errors
    /// The node belongs to another cluster, or is configured for other members.
    pub async fn take_part(&self, request: FoundRequest) -> Result<FoundResponse, Status> {
        let ours = self.founding();
        if request.founding != ours {
            let text = format!("configured with [{ours}], asked for [{}]", request.founding);
            return Err(Status::failed_precondition(text));
        }
        match self.cluster_id() {
            None => {
                let done = self.become_founder(&request.cluster_id).await;
                done.map_err(|error| Status::internal(error.to_string()))?;
                self.wake();
            }
            Some(id) if id == request.cluster_id => {}
            Some(id) => {
                let text = format!("node {} belongs to cluster {id} already", self.0.node);
                return Err(Status::failed_precondition(text));
            }
        }
        Ok(FoundResponse { spec: encode_spec(&self.0.spec) })
    }

    /// Lets a node in: on any member.
    pub async fn let_in(&self, request: JoinRequest) -> Result<JoinResponse, Error> {
        let spec = minicbor::decode::<NodeSpec>(&request.spec)
            .map_err(|why| Error::invalid("spec", why, "what a node says about itself"))?;
        let node = spec.node;
        let reply = self.propose(Command::JoinNode(spec)).await?;
        let Reply::NodeJoined { incarnation, lost } = reply else {
            return Err(Error::internal("the catalog answered a join with something else"));
        };
        if !lost.is_empty() {
            tracing::warn!(%node, replicas = lost.len(), "a node came back without its data");
        }
        Ok(JoinResponse {
            failure: None,
            cluster_id: self.cluster_id().ok_or_else(|| super::not_ready("no cluster yet"))?,
            incarnation,
            members: members(&self.known_nodes()),
        })
    }

    /// Told by a member which cluster to join.
    ///
    /// # Errors
    /// The node belongs to another cluster, or has another number.
    pub fn accept_invitation(&self, request: &InviteRequest) -> Result<InviteResponse, Error> {
        if request.node_id != self.0.node.0 {
            let expected = format!("{}, the node at this address", self.0.node);
            return Err(Error::invalid("node_id", request.node_id, &expected));
        }
        match self.cluster_id() {
            Some(id) if id == request.cluster_id => {}
            Some(id) => {
                let expected = format!("{id}, to which node {} belongs already", self.0.node);
                return Err(Error::invalid("cluster_id", &request.cluster_id, &expected));
            }
            None => {
                let mut join = self.0.join.lock().expect("nothing panics under this lock");
                join.clone_from(&request.members);
            }
        }
        self.wake();
        Ok(InviteResponse { failure: None })
    }

    /// Tells the catalog where this node is now, if it knows otherwise.
    pub(super) async fn announce(&self) {
        let known = self.with_catalog(|catalog| {
            catalog.node(self.0.node).map(|node| (node.spec.clone(), node.state))
        });
        let Some((known, state)) = known else { return };
        if state == NodeState::Removed || known == self.0.spec || known.disk != self.0.spec.disk {
            return;
        }
        if let Err(error) = self.propose(Command::UpdateNode(self.0.spec.clone())).await {
            tracing::debug!(%error, "the catalog doesn't know this node's new addresses yet");
        }
    }
}

pub(super) fn members(nodes: &BTreeMap<NodeId, String>) -> Vec<Member> {
    let member = |(node, address): (&NodeId, &String)| Member {
        node_id: node.0,
        peer_address: address.clone(),
    };
    nodes.iter().map(member).collect()
}

fn encode_spec(spec: &NodeSpec) -> bytes::Bytes {
    minicbor::to_vec(spec).expect("writing to a Vec cannot fail").into()
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
