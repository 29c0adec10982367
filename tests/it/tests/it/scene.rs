//! What most of these tests begin and end with: a cluster that is written to, and the comparison
//! of what was written with what is there.

use std::sync::Arc;
use std::time::Duration;

use kontiki_it::{Cluster, Launch, Ledger, Writer, WriterOptions, read_all};

/// A cluster with a topic of one partition and writers that have begun.
pub struct Scene {
    /// The nodes.
    pub cluster: Cluster,
    /// What is sent and acknowledged.
    pub ledger: Arc<Ledger>,
    writers: Vec<Writer>,
}

/// The topic that is written to.
pub const TOPIC: &str = "orders";

impl Scene {
    /// Three nodes and two writers.
    pub async fn set(name: &str) -> Self {
        Self::on(Cluster::of_three(name).await).await
    }

    /// The same with nodes of this kind.
    pub async fn launch(name: &str, launch: Launch) -> Self {
        Self::on(Cluster::launch(name, 3, launch).await).await
    }

    /// Two writers: one of batches that are stored in the Raft log, one of batches that are not.
    pub async fn on(cluster: Cluster) -> Self {
        cluster.create_topic(TOPIC, 1).await;
        let ledger = Arc::new(Ledger::new());
        let small = WriterOptions { batch_records: 2, ..WriterOptions::new(TOPIC, 0, 1) };
        let large = WriterOptions { batch_records: 40, ..WriterOptions::new(TOPIC, 0, 2) };
        let writers = [small, large]
            .into_iter()
            .map(|options| Writer::start(cluster.addresses(), Arc::clone(&ledger), options))
            .collect();
        let mut scene = Self { cluster, ledger, writers };
        scene.progress().await;
        scene
    }

    /// Both writers get on.
    pub async fn progress(&mut self) {
        for writer in &mut self.writers {
            writer.progress(200).await;
        }
    }

    /// Node id of the leader of the partition.
    pub async fn leader(&self) -> u32 {
        self.cluster.leader(TOPIC, 0).await.1
    }

    /// Reads everything and compares while the writers go on.
    pub async fn check_now(&self) {
        let known = self.ledger.acknowledgements();
        let read = read_all(&self.cluster.any(), TOPIC, 0).await;
        self.ledger.check_from(&known, 0, &read);
    }

    /// Stops the writers, reads everything, compares, and says what it counted.
    pub async fn check(mut self, what: &str) {
        let mut longest = Duration::ZERO;
        for writer in self.writers.drain(..) {
            longest = longest.max(writer.stop().await);
        }
        let read = read_all(&self.cluster.any(), TOPIC, 0).await;
        let counts = self.ledger.check(0, &read);
        println!("{what}: {counts}; longest wait for an acknowledgement {longest:?}");
    }
}
