//! RabbitMQ: quorum queues, publisher confirms.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};
use tokio::time::Instant;

use super::{Kind, PATIENCE, Producer, Purpose, RECEIVE_WAIT, Reader, System, Worker};
use super::{gather, stamp};
use crate::args::{Ground, in_path};
use crate::children::{Children, free_ports};
use crate::config::{self, Ports};

/// Records that a reader is sent before it has asked for more, at most.
const READ_AHEAD: u16 = 2_000;
/// A message that survives a restart.
const PERSISTENT: u8 = 2;
/// The node that queues are declared at, and that so leads them.
const LEADER: usize = 0;
/// Another one.
const FOLLOWER: usize = 1;

/// A cluster of RabbitMQ.
pub struct RabbitMq {
    children: Children,
    ports: Vec<Ports>,
    /// It keeps its connection, as channels do.
    admin: Channel,
}

impl RabbitMq {
    /// Starts nodes, and the mapper of names that they share, and waits until they are one cluster.
    pub async fn start(ground: &Ground, server: &Path) -> anyhow::Result<Self> {
        let mut children = Children::in_folder(&ground.dir, "rabbitmq")?;
        let numbers = free_ports(1 + 2 * ground.nodes as usize)?;
        let mapper = numbers[0];
        let ports: Vec<Ports> =
            numbers[1..].chunks(2).map(|two| Ports { client: two[0], peer: two[1] }).collect();
        let cookie = children.folder().join(".erlang.cookie");
        fs::write(&cookie, format!("KONTIKI{}PEERS", std::process::id()))?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        let epmd = in_path("epmd").context("there is no epmd in PATH: it comes with Erlang")?;
        children.start("epmd", &epmd, |command| {
            command.args(["-address", "127.0.0.1", "-port", &mapper.to_string()]);
        })?;
        listens(&mut children, "epmd", mapper).await?;
        let cluster = std::process::id();
        let mut environments = Vec::new();
        for (index, own) in ports.iter().enumerate() {
            let folder = children.folder().join(format!("node-{}", index + 1));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("rabbitmq.conf"), config::rabbitmq(*own, cluster, ports.len()))?;
            fs::write(folder.join("rabbitmq-env.conf"), "")?;
            fs::write(folder.join("enabled_plugins"), "[].\n")?;
            let node = config::rabbitmq_node(cluster, index + 1);
            let environment = config::rabbitmq_env(&folder, &node, *own, mapper);
            children.start(&name(index), server, |command| {
                command.envs(environment.iter().map(|(key, value)| (key, value)));
            })?;
            environments.push(environment);
        }
        for (index, own) in ports.iter().enumerate() {
            listens(&mut children, &name(index), own.client).await?;
        }
        // It listens before it is known whether the others have joined.
        let output = tokio::process::Command::new(server.with_file_name("rabbitmqctl"))
            .args(["--quiet", "--timeout", "60"])
            .args(["await_online_nodes", &ports.len().to_string()])
            .envs(environments[LEADER].iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .output()
            .await
            .context("starting rabbitmqctl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "its nodes don't form a cluster: {said}");
        let admin = connect(ports[LEADER]).await?.create_channel().await?;
        Ok(Self { children, ports, admin })
    }

    async fn consume(
        &self,
        connection: &Connection,
        name: &str,
        ahead: u16,
        no_ack: bool,
    ) -> anyhow::Result<Deliveries> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(ahead, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack, ..Default::default() };
        let consumer = channel
            .basic_consume(name.into(), ShortString::default(), options, FieldTable::default())
            .await?;
        Ok(Deliveries { channel, consumer, batch: ahead.into(), last: None })
    }
}

fn name(index: usize) -> String {
    format!("rabbitmq-{}", index + 1)
}

/// Waits until a process listens on its port.
async fn listens(children: &mut Children, name: &str, port: u16) -> anyhow::Result<()> {
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        children.check()?;
        let words = || children.last_words(name);
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{name} is not ready:\n{}", words());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn connect(ports: Ports) -> anyhow::Result<Connection> {
    let address = format!("amqp://127.0.0.1:{}/%2f", ports.client);
    Ok(Connection::connect(&address, ConnectionProperties::default()).await?)
}

async fn publisher(connection: &Connection, name: &str) -> anyhow::Result<Publisher> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(Publisher { channel, queue: name.into() })
}

impl System for RabbitMq {
    type Producer = Publisher;
    type Sender = Publisher;
    type Worker = Deliveries;
    type Reader = Deliveries;

    fn children(&self) -> &Children {
        &self.children
    }

    async fn create(&mut self, name: &str, _: Kind) -> anyhow::Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let replicas = AMQPValue::LongInt(i32::try_from(self.ports.len())?);
        arguments.insert("x-quorum-initial-group-size".into(), replicas);
        self.admin.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(())
    }

    async fn delete(&mut self, name: &str, _: Kind) -> anyhow::Result<()> {
        self.admin.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    async fn producer(&self, name: &str, purpose: Purpose) -> anyhow::Result<Publisher> {
        let node = match purpose {
            Purpose::Throughput | Purpose::Latency => LEADER,
            Purpose::Failover => FOLLOWER,
        };
        publisher(&connect(self.ports[node]).await?, name).await
    }

    async fn senders(&self, name: &str, count: usize) -> anyhow::Result<Vec<Publisher>> {
        let connection = connect(self.ports[LEADER]).await?;
        let mut senders = Vec::with_capacity(count);
        for _ in 0..count {
            senders.push(publisher(&connection, name).await?);
        }
        Ok(senders)
    }

    async fn workers(
        &self,
        name: &str,
        count: usize,
        batch: u16,
    ) -> anyhow::Result<Vec<Deliveries>> {
        let connection = connect(self.ports[LEADER]).await?;
        let mut workers = Vec::with_capacity(count);
        for _ in 0..count {
            workers.push(self.consume(&connection, name, batch, false).await?);
        }
        Ok(workers)
    }

    async fn reader(&self, name: &str) -> anyhow::Result<Deliveries> {
        let connection = connect(self.ports[LEADER]).await?;
        self.consume(&connection, name, READ_AHEAD, true).await
    }

    async fn kill_leader(&mut self, _: &str) -> anyhow::Result<()> {
        self.children.kill(&name(LEADER))
    }
}

/// Publishes to a queue, on a channel that confirms.
pub struct Publisher {
    channel: Channel,
    queue: ShortString,
}

impl Producer for Publisher {
    type Confirm = PublisherConfirm;
    // A queue's client in the node repeats what the new leader doesn't know.
    const ATTEMPT: Duration = Duration::from_secs(5);

    async fn send(&self, body: Bytes) -> anyhow::Result<PublisherConfirm> {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let properties = properties.with_delivery_mode(PERSISTENT);
        let exchange = ShortString::default();
        let queue = self.queue.clone();
        Ok(self.channel.basic_publish(exchange, queue, options, &body, properties).await?)
    }

    async fn confirmed(confirm: PublisherConfirm) -> anyhow::Result<()> {
        anyhow::ensure!(confirm.await?.is_ack(), "a message was refused");
        Ok(())
    }
}

/// Consumes from a queue.
pub struct Deliveries {
    channel: Channel,
    consumer: lapin::Consumer,
    batch: usize,
    /// The last delivery that was received: acknowledging it acknowledges all before it.
    last: Option<u64>,
}

impl Worker for Deliveries {
    async fn receive(&mut self) -> anyhow::Result<Vec<Duration>> {
        let mut stamps = Vec::new();
        for delivery in gather(&mut self.consumer, self.batch, RECEIVE_WAIT).await? {
            let delivery = delivery?;
            stamps.push(stamp(&delivery.data));
            self.last = Some(delivery.delivery_tag);
        }
        Ok(stamps)
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let Some(last) = self.last.take() else { return Ok(()) };
        self.channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        Ok(())
    }
}

impl Reader for Deliveries {
    async fn read(&mut self) -> anyhow::Result<Vec<Duration>> {
        self.receive().await
    }
}
