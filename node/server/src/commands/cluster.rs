//! The cluster: describe it, add and remove nodes, move shards and leaderships.

use clap::{Args, Subcommand};
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};

use super::output::{self, line, list};
use super::{CommandError, Globals};

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Shows nodes and shards: who is there, who leads, what is moving
    Describe,
    /// Makes a node a member; one that starts with the cluster's addresses does it by itself
    AddNode(AddNodeArgs),
    /// Takes a node out; its shards are moved to other nodes first
    ///
    /// Returns when that has begun; `kontiki cluster describe` shows how far it is.
    RemoveNode {
        /// The node's number
        node: u32,
    },
    /// Moves a shard to a set of nodes; new replicas catch up before old ones leave
    MoveShard {
        /// The shard's number
        shard: u32,
        /// The numbers of the nodes that it shall be on
        #[arg(long, value_name = "NODE,...", value_delimiter = ',', required = true)]
        to: Vec<u32>,
    },
    /// Hands the leadership of a shard over to another of its nodes
    TransferLeadership {
        /// The shard's number
        shard: u32,
        /// The number of the node that shall lead
        #[arg(long, value_name = "NODE")]
        to: u32,
    },
    /// Spreads shards and leaderships evenly over the nodes
    Rebalance {
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Raises the feature level, after an upgrade of all nodes
    ///
    /// Nodes then do what older releases don't know: these can't join any more. It never falls.
    RaiseFeatureLevel {
        /// The level; without it, the newest that the node that answers speaks
        level: Option<u32>,
    },
}

/// A node to be added.
#[derive(Debug, Args)]
pub struct AddNodeArgs {
    /// Its number, from 1
    node: u32,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    client_address: String,
    /// Where the other nodes reach it
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: String,
}

/// Does it.
pub(super) async fn run(command: ClusterCommand, globals: &Globals) -> Result<(), CommandError> {
    let admin = globals.client()?.admin();
    let json = globals.is_json();
    match command {
        ClusterCommand::Describe => describe(&admin, json).await,
        ClusterCommand::AddNode(AddNodeArgs { node, client_address, peer_address }) => {
            let request = v1::AddNodeRequest { node_id: node, client_address, peer_address };
            admin.add_node(request).await?;
            say(json, &format!("node {node} is a member"), || json!({ "node_id": node }))
        }
        ClusterCommand::RemoveNode { node } => {
            let answer = admin.remove_node(v1::RemoveNodeRequest { node_id: node }).await?;
            let shards = answer.shards_to_move;
            let text = format!("node {node} is being removed: {shards} shards have to move first");
            say(json, &text, || json!({ "node_id": node, "shards_to_move": shards }))
        }
        ClusterCommand::MoveShard { shard, to } => {
            admin.move_shard(v1::MoveShardRequest { shard, nodes: to.clone() }).await?;
            let text = format!("shard {shard} moves to the nodes {}", list(&to));
            say(json, &text, || json!({ "shard": shard, "nodes": to }))
        }
        ClusterCommand::TransferLeadership { shard, to } => {
            let request = v1::TransferLeadershipRequest { shard, to_node: to };
            admin.transfer_leadership(request).await?;
            let text = format!("shard {shard}: its leader was asked to hand over to node {to}");
            say(json, &text, || json!({ "shard": shard, "to_node": to }))
        }
        ClusterCommand::Rebalance { dry_run } => rebalance(&admin, dry_run, json).await,
        ClusterCommand::RaiseFeatureLevel { level } => {
            let request = v1::RaiseFeatureLevelRequest { level: level.unwrap_or(0) };
            let level = admin.raise_feature_level(request).await?.feature_level;
            let text = format!("the feature level is {level}");
            say(json, &text, || json!({ "feature_level": level }))
        }
    }
}

fn say(json: bool, text: &str, document: impl FnOnce() -> Value) -> Result<(), CommandError> {
    if json { output::json(&document()) } else { line(text) }
}

fn state_name(state: v1::NodeState) -> &'static str {
    match state {
        v1::NodeState::Active => "active",
        v1::NodeState::Draining => "draining",
        v1::NodeState::Removed => "removed",
        v1::NodeState::Unspecified => "unknown",
    }
}

async fn describe(admin: &Admin, json: bool) -> Result<(), CommandError> {
    let about = admin.describe_cluster(v1::DescribeClusterRequest {}).await?;
    if json {
        return output::json(&describe_json(&about));
    }
    line(&format!(
        "cluster {}, feature level {} (says node {}, version {})\n",
        about.cluster_id, about.feature_level, about.answered_by, about.version
    ))?;
    let nodes: Vec<_> = about
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.node_id.to_string(),
                node.client_address.clone(),
                node.peer_address.clone(),
                state_name(node.state()).to_owned(),
                if node.reachable { "yes" } else { "NO" }.to_owned(),
                node.replicas.to_string(),
                node.leaders.to_string(),
            ]
        })
        .collect();
    output::table(&["NODE", "CLIENTS", "PEERS", "STATE", "REACHABLE", "SHARDS", "LEADS"], &nodes)?;
    line("")?;
    let shards: Vec<_> = about
        .shards
        .iter()
        .map(|shard| {
            let number = shard.shard;
            vec![
                if number == 0 { "0 (catalog)".to_owned() } else { number.to_string() },
                if shard.leader == 0 { "none".to_owned() } else { shard.leader.to_string() },
                shard.term.to_string(),
                list(&shard.voters),
                list(&shard.moving),
                shard.partitions.to_string(),
            ]
        })
        .collect();
    output::table(&["SHARD", "LEADER", "TERM", "VOTERS", "MOVING", "PARTITIONS"], &shards)
}

fn describe_json(about: &v1::DescribeClusterResponse) -> Value {
    let nodes = about.nodes.iter().map(|node| {
        json!({
            "node_id": node.node_id,
            "client_address": node.client_address,
            "peer_address": node.peer_address,
            "state": state_name(node.state()),
            "reachable": node.reachable,
            "replicas": node.replicas,
            "leaders": node.leaders,
        })
    });
    let shards = about.shards.iter().map(|shard| {
        json!({
            "shard": shard.shard,
            "leader": shard.leader,
            "term": shard.term,
            "voters": shard.voters,
            "moving": shard.moving,
            "partitions": shard.partitions,
        })
    });
    json!({
        "cluster_id": about.cluster_id,
        "feature_level": about.feature_level,
        "answered_by": about.answered_by,
        "version": about.version,
        "nodes": nodes.collect::<Value>(),
        "shards": shards.collect::<Value>(),
    })
}

async fn rebalance(admin: &Admin, dry_run: bool, json: bool) -> Result<(), CommandError> {
    let answer = admin.rebalance(v1::RebalanceRequest { dry_run }).await?;
    if json {
        let moves = answer.moves.iter();
        let moves = moves.map(|its| json!({ "shard": its.shard, "from": its.from, "to": its.to }));
        let transfers = answer.transfers.iter();
        let transfers =
            transfers.map(|its| json!({ "shard": its.shard, "from": its.from, "to": its.to }));
        return output::json(&json!({
            "dry_run": dry_run,
            "moves": moves.collect::<Value>(),
            "transfers": transfers.collect::<Value>(),
        }));
    }
    let moves = answer.moves.iter().map(|its| {
        vec!["replicas".to_owned(), its.shard.to_string(), list(&its.from), list(&its.to)]
    });
    let transfers = answer.transfers.iter().map(|its| {
        let (from, to) = (its.from.to_string(), its.to.to_string());
        vec!["leadership".to_owned(), its.shard.to_string(), from, to]
    });
    let rows: Vec<_> = moves.chain(transfers).collect();
    if rows.is_empty() {
        return line("everything is spread evenly already");
    }
    line(if dry_run { "would move:" } else { "moving:" })?;
    output::table(&["WHAT", "SHARD", "FROM", "TO"], &rows)
}
