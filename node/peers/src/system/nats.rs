//! NATS JetStream: streams with a replica on each node, acknowledged publishes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions, Subject};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Kind, PATIENCE, Producer, Purpose, RECEIVE_WAIT, Reader, System, Worker};
use super::{gather, stamp};
use crate::args::Ground;
use crate::children::{Children, free_ports};
use crate::config::{self, Ports};

/// The consumer of a queue that its workers share.
const WORKERS: &str = "workers";
/// Publishes without an acknowledgement, at most: above every window that is measured.
const UNACKNOWLEDGED_MAX: usize = 100_000;
/// Messages that workers together hold, at most: its default of 1,000 would stop them.
const HELD_MAX: i64 = 100_000;
/// Records that a reader is sent before it has asked for more, at most.
const READ_AHEAD: usize = 2_000;

/// A cluster of NATS.
pub struct Nats {
    children: Children,
    ports: Vec<Ports>,
    admin: jetstream::Context,
    /// The node that leads what was created last.
    leader: usize,
}

impl Nats {
    /// Starts nodes and waits until a stream can be made.
    pub async fn start(ground: &Ground, server: &Path, sync_always: bool) -> anyhow::Result<Self> {
        let mut children = Children::in_folder(&ground.dir, "nats")?;
        let numbers = free_ports(2 * ground.nodes as usize)?;
        let ports: Vec<Ports> =
            numbers.chunks(2).map(|two| Ports { client: two[0], peer: two[1] }).collect();
        for index in 0..ports.len() {
            let name = name(index);
            let folder = children.folder().join(&name);
            let file = children.folder().join(format!("{name}.conf"));
            fs::write(&file, config::nats(&folder, &ports, index, sync_always))?;
            children.start(&name, server, |command| {
                command.arg("--config").arg(file);
            })?;
        }
        let begun = Instant::now();
        let admin = loop {
            children.check()?;
            match connect(ports[0]).await {
                Ok(client) => break context(client),
                Err(error) => anyhow::ensure!(begun.elapsed() < PATIENCE, "not ready: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let mut nats = Self { children, ports, admin, leader: 0 };
        while let Err(error) = nats.create("ready", Kind::Log).await {
            nats.children.check()?;
            anyhow::ensure!(begun.elapsed() < PATIENCE, "its cluster is not ready: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        nats.delete("ready", Kind::Log).await?;
        Ok(nats)
    }

    /// The leader of a stream, and whether all its replicas are current.
    async fn leader(&self, name: &str) -> anyhow::Result<Option<(usize, bool)>> {
        let mut stream = self.admin.get_stream(name).await?;
        let cluster = stream.info().await?.cluster.as_ref().context("it is not a cluster")?;
        let current = cluster.replicas.iter().filter(|replica| replica.current).count();
        let is_whole = current + 1 == self.ports.len();
        let leader = (0..self.ports.len()).find(|index| cluster.leader == Some(self::name(*index)));
        Ok(leader.map(|leader| (leader, is_whole)))
    }
}

fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

async fn connect(ports: Ports) -> anyhow::Result<Client> {
    // It stays with the node that it is given.
    let options = ConnectOptions::new().ignore_discovered_servers();
    Ok(options.connect(format!("nats://127.0.0.1:{}", ports.client)).await?)
}

fn context(client: Client) -> jetstream::Context {
    ContextBuilder::new()
        .timeout(Duration::from_secs(60))
        .max_ack_inflight(UNACKNOWLEDGED_MAX)
        .build(client)
}

impl System for Nats {
    type Producer = Publisher;
    type Sender = Publisher;
    type Worker = Pulled;
    type Reader = Pulled;

    fn children(&self) -> &Children {
        &self.children
    }

    async fn create(&mut self, name: &str, kind: Kind) -> anyhow::Result<()> {
        let retention = match kind {
            Kind::Log => stream::RetentionPolicy::Limits,
            Kind::Queue => stream::RetentionPolicy::WorkQueue,
        };
        let stream = self
            .admin
            .create_stream(stream::Config {
                name: name.to_owned(),
                subjects: vec![name.to_owned()],
                retention,
                num_replicas: self.ports.len(),
                storage: stream::StorageType::File,
                ..Default::default()
            })
            .await?;
        if kind == Kind::Queue {
            let config = pull::Config {
                durable_name: Some(WORKERS.to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: HELD_MAX,
                ..Default::default()
            };
            stream.create_consumer(config).await?;
        }
        let begun = Instant::now();
        self.leader = loop {
            if let Some((leader, true)) = self.leader(name).await? {
                break leader;
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the stream {name} has no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Ok(())
    }

    async fn delete(&mut self, name: &str, _: Kind) -> anyhow::Result<()> {
        self.admin.delete_stream(name).await?;
        Ok(())
    }

    async fn producer(&self, name: &str, purpose: Purpose) -> anyhow::Result<Publisher> {
        let node = match purpose {
            Purpose::Throughput | Purpose::Latency => self.leader,
            Purpose::Failover => (self.leader + 1) % self.ports.len(),
        };
        let context = context(connect(self.ports[node]).await?);
        Ok(Publisher { context, subject: name.into() })
    }

    async fn senders(&self, name: &str, count: usize) -> anyhow::Result<Vec<Publisher>> {
        let context = context(connect(self.ports[self.leader]).await?);
        let sender = || Publisher { context: context.clone(), subject: name.into() };
        Ok(std::iter::repeat_with(sender).take(count).collect())
    }

    async fn workers(&self, name: &str, count: usize, batch: u16) -> anyhow::Result<Vec<Pulled>> {
        let context = context(connect(self.ports[self.leader]).await?);
        let consumer: PullConsumer = context
            .get_stream(name)
            .await?
            .get_consumer(WORKERS)
            .await
            .map_err(|error| anyhow::anyhow!("its consumer: {error}"))?;
        let mut workers = Vec::with_capacity(count);
        for _ in 0..count {
            workers.push(pulled(&consumer, batch.into()).await?);
        }
        Ok(workers)
    }

    async fn reader(&self, name: &str) -> anyhow::Result<Pulled> {
        let context = context(connect(self.ports[self.leader]).await?);
        let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
        let consumer = context.get_stream(name).await?.create_consumer(config).await?;
        pulled(&consumer, READ_AHEAD).await
    }

    async fn kill_leader(&mut self, log: &str) -> anyhow::Result<()> {
        let (leader, _) = self.leader(log).await?.context("nobody leads the stream")?;
        self.children.kill(&name(leader))
    }
}

async fn pulled(consumer: &PullConsumer, batch: usize) -> anyhow::Result<Pulled> {
    let stream = consumer.stream().max_messages_per_batch(batch).messages().await?;
    Ok(Pulled { stream, batch, held: Vec::new() })
}

/// Publishes to a stream.
pub struct Publisher {
    context: jetstream::Context,
    subject: Subject,
}

impl Producer for Publisher {
    type Confirm = PublishAckFuture;
    // What is published while nobody leads is lost.
    const ATTEMPT: Duration = Duration::from_millis(250);

    async fn send(&self, body: Bytes) -> anyhow::Result<PublishAckFuture> {
        Ok(self.context.publish(self.subject.clone(), body).await?)
    }

    async fn confirmed(confirm: PublishAckFuture) -> anyhow::Result<()> {
        confirm.await?;
        Ok(())
    }
}

/// Pulls from a consumer, ahead of what is asked for.
pub struct Pulled {
    stream: pull::Stream,
    batch: usize,
    held: Vec<jetstream::Message>,
}

impl Worker for Pulled {
    async fn receive(&mut self) -> anyhow::Result<Vec<Duration>> {
        let gathered = gather(&mut self.stream, self.batch, RECEIVE_WAIT).await?;
        self.held = gathered.into_iter().collect::<Result<_, _>>()?;
        Ok(self.held.iter().map(|message| stamp(&message.payload)).collect())
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let acknowledged = join_all(self.held.iter().map(jetstream::Message::ack)).await;
        self.held.clear();
        let failed = acknowledged.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(anyhow::anyhow!("acknowledging: {error}")))
    }
}

impl Reader for Pulled {
    async fn read(&mut self) -> anyhow::Result<Vec<Duration>> {
        self.receive().await
    }
}
