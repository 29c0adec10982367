//! The person who adds and removes nodes and moves what is on them: orders go in at any time, and
//! are carried out one after the other, through the API, from a machine of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kontiki_client::{Client, v1};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A node that waits to join is let in.
    AddNode {
        /// Its number.
        node: u32,
        /// Where clients find it.
        client_address: String,
        /// Where nodes find it.
        peer_address: String,
    },
    /// A node leaves; it is done when nothing is on it any more.
    RemoveNode {
        /// Its number.
        node: u32,
    },
    /// A shard gets these nodes.
    MoveShard {
        /// Which.
        shard: u32,
        /// Where to.
        nodes: Vec<u32>,
    },
    /// A shard gets this leader.
    Transfer {
        /// Which.
        shard: u32,
        /// The node.
        to: u32,
    },
    /// Shards are spread evenly.
    Rebalance,
}

#[derive(Debug, Default)]
struct Inner {
    orders: VecDeque<Order>,
    /// What became of orders, since it was last asked.
    results: Vec<(Order, Result<(), String>)>,
    busy: bool,
    stopped: bool,
}

/// The orders and their results. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Operator(Arc<Mutex<Inner>>);

/// For how long a node's removal is waited for, and tried again.
const PATIENCE: Duration = Duration::from_secs(60);

impl Operator {
    /// One more order.
    pub fn order(&self, order: Order) {
        self.lock().orders.push_back(order);
    }

    /// What became of orders since it was last asked.
    #[must_use]
    pub fn results(&self) -> Vec<(Order, Result<(), String>)> {
        std::mem::take(&mut self.lock().results)
    }

    /// Whether an order waits or is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.busy || !inner.orders.is_empty()
    }

    /// The person goes home when all orders are done.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Carries out orders until it is stopped.
    pub async fn run(self, client: Client) {
        loop {
            let order = {
                let mut inner = self.lock();
                let order = inner.orders.pop_front();
                inner.busy = order.is_some();
                order
            };
            match order {
                Some(order) => {
                    let done = carry_out(&client, &order).await;
                    let mut inner = self.lock();
                    inner.results.push((order, done));
                    inner.busy = false;
                }
                None if self.lock().stopped => return,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry_out(client: &Client, order: &Order) -> Result<(), String> {
    let admin = client.admin();
    let text = |error: kontiki_client::Error| error.to_string();
    match order.clone() {
        Order::AddNode { node, client_address, peer_address } => {
            let request = v1::AddNodeRequest { node_id: node, client_address, peer_address };
            admin.add_node(request).await.map(|_| ()).map_err(text)
        }
        Order::RemoveNode { node } => remove(client, node).await,
        Order::MoveShard { shard, nodes } => {
            let request = v1::MoveShardRequest { shard, nodes };
            admin.move_shard(request).await.map(|_| ()).map_err(text)
        }
        Order::Transfer { shard, to } => {
            let request = v1::TransferLeadershipRequest { shard, to_node: to };
            admin.transfer_leadership(request).await.map(|_| ()).map_err(text)
        }
        Order::Rebalance => {
            let request = v1::RebalanceRequest { dry_run: false };
            admin.rebalance(request).await.map(|_| ()).map_err(text)
        }
    }
}

/// Asks until the node has left.
async fn remove(client: &Client, node: u32) -> Result<(), String> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut asked = false;
    let mut last = String::new();
    while tokio::time::Instant::now() < end {
        if !asked {
            match client.admin().remove_node(v1::RemoveNodeRequest { node_id: node }).await {
                Ok(_) => asked = true,
                Err(error) => last = error.to_string(),
            }
        }
        match client.admin().describe_cluster(v1::DescribeClusterRequest {}).await {
            Ok(cluster) => {
                let found = cluster.nodes.iter().find(|about| about.node_id == node);
                if found.is_none_or(|about| about.state() == v1::NodeState::Removed) {
                    return Ok(());
                }
                asked |= found.is_some_and(|about| about.state() == v1::NodeState::Draining);
            }
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("node {node} has not left within {} s: {last}", PATIENCE.as_secs()))
}
