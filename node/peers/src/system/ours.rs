//! Ours: nodes of a `kontiki` binary.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use kontiki_client::{
    Client, Consumer, ConsumerOptions, Delivery, NewRecord, Options, Position, ProducerOptions,
    SenderOptions, v1,
};

use super::stamp;
use tokio::time::Instant;

use super::{Kind, PATIENCE, Producer, Purpose, RECEIVE_WAIT, Reader, Sender, System, Worker};
use crate::args::Ground;
use crate::children::{Children, free_ports};

/// A cluster of ours.
pub struct Ours {
    children: Children,
    client: Client,
}

impl Ours {
    /// Starts nodes and waits until a topic can be made.
    pub async fn start(ground: &Ground) -> anyhow::Result<Self> {
        let mut children = Children::in_folder(&ground.dir, "kontiki")?;
        let ports = free_ports(3 * ground.nodes as usize)?;
        let members: Vec<String> = (1..)
            .zip(ports.chunks(3))
            .map(|(id, own)| format!("{id}=127.0.0.1:{}", own[1]))
            .collect();
        for (id, own) in (1..).zip(ports.chunks(3)) {
            let data = children.folder().join(format!("node-{id}"));
            children.start(&node(id), &ground.kontiki, |command| {
                command
                    .arg("server")
                    .args(["--node-id", &id.to_string()])
                    .arg("--data-dir")
                    .arg(data)
                    .args(["--client-listen", &format!("127.0.0.1:{}", own[0])])
                    .args(["--peer-listen", &format!("127.0.0.1:{}", own[1])])
                    .args(["--http-listen", &format!("127.0.0.1:{}", own[2])])
                    .args(["--initial-members", &members.join(",")])
                    .args(["--parent-pid", &std::process::id().to_string()]);
                if let Some(config) = &ground.config {
                    command.arg("--config").arg(config);
                }
            })?;
        }
        let bootstrap = ports.chunks(3).map(|own| format!("127.0.0.1:{}", own[0])).collect();
        let client = Client::new(Options { bootstrap, ..Default::default() })?;
        let mut ours = Self { children, client };
        let begun = Instant::now();
        while let Err(error) = ours.create("ready", Kind::Log).await {
            ours.children.check()?;
            anyhow::ensure!(begun.elapsed() < PATIENCE, "our cluster is not ready: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(ours)
    }
}

fn node(id: u32) -> String {
    format!("node-{id}")
}

impl System for Ours {
    type Producer = Records;
    type Sender = Messages;
    type Worker = Leases;
    type Reader = Consumer;

    fn children(&self) -> &Children {
        &self.children
    }

    async fn create(&mut self, name: &str, kind: Kind) -> anyhow::Result<()> {
        match kind {
            Kind::Log => {
                let request = v1::CreateTopicRequest {
                    topic: name.to_owned(),
                    partitions: 1,
                    if_not_exists: true,
                    ..Default::default()
                };
                self.client.admin().create_topic(request).await?;
            }
            Kind::Queue => {
                let queue = name.to_owned();
                let request = v1::CreateQueueRequest { queue, ..Default::default() };
                self.client.admin().create_queue(request).await?;
            }
        }
        Ok(())
    }

    async fn delete(&mut self, name: &str, kind: Kind) -> anyhow::Result<()> {
        match kind {
            Kind::Log => {
                let request = v1::DeleteTopicRequest { topic: name.to_owned() };
                self.client.admin().delete_topic(request).await?;
            }
            Kind::Queue => {
                let request = v1::DeleteQueueRequest { queue: name.to_owned() };
                self.client.admin().delete_queue(request).await?;
            }
        }
        Ok(())
    }

    async fn producer(&self, name: &str, purpose: Purpose) -> anyhow::Result<Records> {
        let options = match purpose {
            Purpose::Throughput => ProducerOptions::default(),
            Purpose::Latency | Purpose::Failover => {
                ProducerOptions { linger_ms: 0, ..Default::default() }
            }
        };
        Ok(Records { producer: self.client.producer(options).await?, topic: name.into() })
    }

    async fn senders(&self, name: &str, count: usize) -> anyhow::Result<Vec<Messages>> {
        let sender = self.client.sender(name, SenderOptions::default()).await?;
        Ok(vec![Messages(sender); count])
    }

    async fn workers(&self, name: &str, count: usize, batch: u16) -> anyhow::Result<Vec<Leases>> {
        let worker = || Leases {
            client: self.client.clone(),
            queue: name.to_owned(),
            batch,
            receipts: Vec::new(),
        };
        Ok(std::iter::repeat_with(worker).take(count).collect())
    }

    async fn reader(&self, name: &str) -> anyhow::Result<Consumer> {
        let mut consumer = self.client.consumer(ConsumerOptions::default())?;
        consumer.assign(name, 0, Position::Earliest).await?;
        Ok(consumer)
    }

    async fn kill_leader(&mut self, name: &str) -> anyhow::Result<()> {
        let metadata = self.client.metadata(&[name]).await?;
        let partition = metadata.topics.first().and_then(|topic| topic.partitions.first());
        let leader = partition.context("the topic has no partition")?.leader;
        self.children.kill(&node(leader))
    }
}

/// Writes to partition 0 of a topic.
pub struct Records {
    producer: kontiki_client::Producer,
    topic: Arc<str>,
}

impl Producer for Records {
    type Confirm = Delivery;
    // It repeats what isn't acknowledged, and is refused what is stored already.
    const ATTEMPT: Duration = Duration::from_secs(120);

    async fn send(&self, body: Bytes) -> anyhow::Result<Delivery> {
        let record = NewRecord::new(Arc::clone(&self.topic), body).partition(0);
        Ok(self.producer.send(record).await?)
    }

    async fn confirmed(confirm: Delivery) -> anyhow::Result<()> {
        confirm.await?;
        Ok(())
    }
}

/// Sends to a queue: all of them over one stream.
#[derive(Clone)]
pub struct Messages(kontiki_client::Sender);

impl Sender for Messages {
    async fn send_all(&self, bodies: Vec<Bytes>) -> anyhow::Result<()> {
        let message = |body| v1::OutgoingMessage { body, ..Default::default() };
        self.0.send(bodies.into_iter().map(message).collect()).await?.await?;
        Ok(())
    }
}

/// Receives from a queue.
pub struct Leases {
    client: Client,
    queue: String,
    batch: u16,
    receipts: Vec<String>,
}

impl Worker for Leases {
    async fn receive(&mut self) -> anyhow::Result<Vec<Duration>> {
        let request = v1::ReceiveRequest {
            queue: self.queue.clone(),
            max_messages: self.batch.into(),
            lease_ms: 0,
            wait_ms: u32::try_from(RECEIVE_WAIT.as_millis())?,
            ..Default::default()
        };
        let messages = self.client.admin().receive(request).await?.messages;
        let stamps = messages.iter().map(|message| stamp(&message.body)).collect();
        self.receipts = messages.into_iter().map(|message| message.receipt).collect();
        Ok(stamps)
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let receipts = std::mem::take(&mut self.receipts);
        let request =
            v1::AcknowledgeRequest { queue: self.queue.clone(), receipts, even_if_ended: false };
        let answer = self.client.admin().acknowledge(request).await?;
        match answer.results.into_iter().find_map(|result| result.error) {
            Some(error) => anyhow::bail!("a message was not acknowledged: {}", error.message),
            None => Ok(()),
        }
    }
}

impl Reader for Consumer {
    async fn read(&mut self) -> anyhow::Result<Vec<Duration>> {
        let records = self.next().await?.records;
        Ok(records.iter().map(|record| stamp(record.value.as_deref().unwrap_or(&[]))).collect())
    }
}
