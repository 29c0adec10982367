//! The dialling side of a link: keeps one stream to a peer, and matches answers to calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use kontiki_proto::node::raft_client::RaftClient;
use kontiki_proto::node::{Frame, FrameKind, Frames, Hello};
use kontiki_storage::id::NodeId;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Streaming;

use crate::node::Dialer;

/// Waits between attempts to connect.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(1_000);
/// How long a peer may take to accept a link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The peer can't be reached now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node} can't be reached: {why}")]
pub(crate) struct Unreachable {
    pub(crate) node: NodeId,
    pub(crate) why: String,
}

/// Links to all peers of a node.
pub(crate) struct Links {
    own: NodeId,
    cluster: RwLock<String>,
    dialer: Arc<dyn Dialer>,
    frames_max: usize,
    message_bytes_max: usize,
    gather: Duration,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    /// Peers whose links are lost, as it happens.
    lost: watch::Sender<Option<NodeId>>,
}

/// One peer.
pub(crate) struct Link {
    pub(crate) node: NodeId,
    address: watch::Sender<String>,
    connection: Mutex<Option<Connection>>,
    sessions: AtomicU64,
    frames_max: usize,
    pub(crate) message_bytes_max: usize,
    /// Heartbeats of all shards that leave together soon.
    beats: Mutex<Vec<Frame>>,
    gather: Duration,
}

struct Connection {
    frames: mpsc::Sender<Frame>,
    calls: BTreeMap<u64, oneshot::Sender<Frame>>,
    streams: BTreeMap<u64, mpsc::Sender<Frame>>,
}

/// A stream of appends over a link.
pub(crate) struct AppendSession {
    link: Arc<Link>,
    pub(crate) id: u64,
    frames: mpsc::Sender<Frame>,
    pub(crate) answers: mpsc::Receiver<Frame>,
    close: Frame,
}

impl Links {
    pub(crate) fn new(own: NodeId, dialer: Arc<dyn Dialer>, options: &crate::Options) -> Arc<Self> {
        Arc::new(Self {
            own,
            cluster: RwLock::default(),
            dialer,
            frames_max: options.link_frames_max,
            message_bytes_max: options.link_message_bytes_max,
            gather: Duration::from_millis(
                options.heartbeat_gather_ms.min(options.heartbeat_ms / 3),
            ),
            links: RwLock::default(),
            lost: watch::channel(None).0,
        })
    }

    /// The peer whose link was lost last. Who looks in time sees each; a peer that is missed is
    /// stood in for a little later, as one that is silent.
    pub(crate) fn lost(&self) -> watch::Receiver<Option<NodeId>> {
        self.lost.subscribe()
    }

    /// The cluster that this node belongs to; links are opened from then on.
    pub(crate) fn set_cluster(&self, id: &str) {
        id.clone_into(&mut self.cluster.write().expect("nothing panics under this lock"));
    }

    pub(crate) fn cluster(&self) -> String {
        self.cluster.read().expect("nothing panics under this lock").clone()
    }

    pub(crate) fn dialer(&self) -> &Arc<dyn Dialer> {
        &self.dialer
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.read().expect("nothing panics under this lock").get(&node).cloned()
    }

    /// Opens links to new peers, closes those to peers that are gone, and redials moved ones.
    pub(crate) fn set_peers(self: &Arc<Self>, peers: &BTreeMap<NodeId, String>) {
        let mut links = self.links.write().expect("nothing panics under this lock");
        links.retain(|node, link| {
            let wanted = peers.contains_key(node);
            if !wanted {
                // The task that keeps the link holds it too: it has to be told.
                link.address.send_replace(String::new());
            }
            wanted
        });
        for (node, address) in peers.iter().filter(|(node, _)| **node != self.own) {
            match links.get(node) {
                Some(link) => {
                    link.address.send_if_modified(|known| {
                        let moved = known != address;
                        address.clone_into(known);
                        moved
                    });
                }
                None => {
                    let link = Arc::new(Link {
                        node: *node,
                        address: watch::channel(address.clone()).0,
                        connection: Mutex::new(None),
                        sessions: AtomicU64::new(1),
                        frames_max: self.frames_max,
                        message_bytes_max: self.message_bytes_max,
                        beats: Mutex::default(),
                        gather: self.gather,
                    });
                    links.insert(*node, link.clone());
                    tokio::spawn(keep(
                        self.clone(),
                        Arc::downgrade(&link),
                        link.address.subscribe(),
                    ));
                }
            }
        }
    }
}

/// Keeps a link connected until its peer is forgotten.
async fn keep(
    links: Arc<Links>,
    link: std::sync::Weak<Link>,
    mut address: watch::Receiver<String>,
) {
    let mut wait = RETRY_MIN;
    loop {
        let target = address.borrow_and_update().clone();
        if target.is_empty() {
            return;
        }
        {
            let Some(link) = link.upgrade() else { return };
            let cluster = links.cluster();
            if !cluster.is_empty() {
                match connect(&links, &link, &target, cluster).await {
                    Ok(answers) => {
                        wait = RETRY_MIN;
                        let why = receive(&link, answers, &mut address).await;
                        tracing::info!(peer = %link.node, %why, "link to a peer is lost");
                        link.disconnect();
                        links.lost.send_replace(Some(link.node));
                    }
                    Err(why) => {
                        tracing::debug!(peer = %link.node, %target, %why, "peer doesn't answer");
                    }
                }
                link.disconnect();
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn connect(
    links: &Links,
    link: &Arc<Link>,
    address: &str,
    cluster_id: String,
) -> Result<Streaming<Frames>, String> {
    let (sender, frames) = mpsc::channel(link.frames_max);
    let hello =
        Hello { version: super::VERSION, cluster_id, from_node: links.own.0, to_node: link.node.0 };
    let mut client = RaftClient::new(links.dialer.dial(address))
        .max_decoding_message_size(link.message_bytes_max)
        .max_encoding_message_size(link.message_bytes_max);
    let call = client.link(super::outgoing(Some(hello), frames));
    let response = tokio::time::timeout(CONNECT_TIMEOUT, call)
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|status| status.message().to_owned())?;
    let mut answers = response.into_inner();
    // The peer greets back: only then is it known to be the right one.
    let greeted = tokio::time::timeout(CONNECT_TIMEOUT, answers.message())
        .await
        .map_err(|_| "no greeting in time".to_owned())?
        .map_err(|status| status.message().to_owned())?;
    if greeted.is_none_or(|frames| frames.hello.is_none()) {
        return Err("the peer doesn't greet".to_owned());
    }
    let connection =
        Connection { frames: sender, calls: BTreeMap::new(), streams: BTreeMap::new() };
    *link.lock() = Some(connection);
    tracing::info!(peer = %link.node, address, "link to a peer is up");
    Ok(answers)
}

async fn receive(
    link: &Arc<Link>,
    mut answers: Streaming<Frames>,
    address: &mut watch::Receiver<String>,
) -> String {
    loop {
        tokio::select! {
            biased;
            message = answers.message() => match message {
                Ok(Some(frames)) => link.deliver(frames.frames),
                Ok(None) => return "the peer has closed it".to_owned(),
                Err(status) => return status.message().to_owned(),
            },
            changed = address.changed() => {
                let moved = changed.is_ok() && !address.borrow().is_empty();
                let why = if moved { "the peer has moved" } else { "not needed any more" };
                return why.to_owned();
            }
        }
    }
}

impl Link {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn address(&self) -> String {
        self.address.borrow().clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.lock().is_some()
    }

    fn disconnect(&self) {
        // Calls and streams that wait learn it by their senders' end.
        drop(self.lock().take());
    }

    fn deliver(&self, frames: Vec<Frame>) {
        let mut guard = self.lock();
        let Some(connection) = guard.as_mut() else { return };
        for frame in frames {
            if let Some(stream) = connection.streams.get(&frame.session) {
                // Never full: the window is smaller than the channel.
                let _ = stream.try_send(frame);
            } else if let Some(call) = connection.calls.remove(&frame.session) {
                let _ = call.send(frame);
            }
        }
    }

    fn unreachable(&self, why: &str) -> Unreachable {
        Unreachable { node: self.node, why: why.to_owned() }
    }

    /// One question, one answer. The frame's session is set here.
    pub(crate) async fn call(&self, frame: Frame) -> Result<Frame, Unreachable> {
        let (frame, frames, receiver) = self.expect_answer(frame)?;
        let forget = Forget { link: self, session: frame.session };
        frames.send(frame).await.map_err(|_| self.unreachable("the connection is lost"))?;
        self.answer(receiver, forget).await
    }

    /// The same for a heartbeat, which may wait a moment for those of other shards.
    pub(crate) async fn beat(self: &Arc<Self>, frame: Frame) -> Result<Frame, Unreachable> {
        if self.gather.is_zero() {
            return self.call(frame).await;
        }
        let (frame, frames, receiver) = self.expect_answer(frame)?;
        let forget = Forget { link: self, session: frame.session };
        let first = {
            let mut beats = self.beats.lock().expect("nothing panics under this lock");
            beats.push(frame);
            beats.len() == 1
        };
        if first {
            let link = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(link.gather).await;
                let beats =
                    std::mem::take(&mut *link.beats.lock().expect("nothing panics under it"));
                for frame in beats {
                    // Whoever waits for an answer learns from the end of the connection.
                    let _ = frames.send(frame).await;
                }
            });
        }
        self.answer(receiver, forget).await
    }

    fn expect_answer(
        &self,
        mut frame: Frame,
    ) -> Result<(Frame, mpsc::Sender<Frame>, oneshot::Receiver<Frame>), Unreachable> {
        frame.session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let mut guard = self.lock();
        let connection = guard.as_mut().ok_or_else(|| self.unreachable("no connection"))?;
        connection.calls.insert(frame.session, sender);
        Ok((frame, connection.frames.clone(), receiver))
    }

    async fn answer(
        &self,
        receiver: oneshot::Receiver<Frame>,
        forget: Forget<'_>,
    ) -> Result<Frame, Unreachable> {
        let answer = receiver.await.map_err(|_| self.unreachable("the connection is lost"))?;
        drop(forget);
        if answer.kind == FrameKind::Error as i32 {
            return Err(self.unreachable(&String::from_utf8_lossy(&answer.body)));
        }
        Ok(answer)
    }

    /// Opens a stream of appends; `window` answers may wait.
    pub(crate) fn open(
        self: &Arc<Self>,
        shard: u32,
        from: u64,
        to: u64,
        window: usize,
    ) -> Result<AppendSession, Unreachable> {
        let id = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(window + 1);
        let mut guard = self.lock();
        let connection = guard.as_mut().ok_or_else(|| self.unreachable("no connection"))?;
        connection.streams.insert(id, sender);
        let close = Frame {
            kind: FrameKind::Close as i32,
            shard,
            from,
            to,
            session: id,
            ..Frame::default()
        };
        let frames = connection.frames.clone();
        Ok(AppendSession { link: self.clone(), id, frames, answers, close })
    }
}

impl AppendSession {
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), Unreachable> {
        let sent = self.frames.send(frame).await;
        sent.map_err(|_| self.link.unreachable("the connection is lost"))
    }

    pub(crate) fn lost(&self, why: &str) -> Unreachable {
        self.link.unreachable(why)
    }
}

impl Drop for AppendSession {
    fn drop(&mut self) {
        if let Some(connection) = self.link.lock().as_mut() {
            connection.streams.remove(&self.id);
        }
        // Where the queue is full, the peer's side of the session ends with the connection.
        let _ = self.frames.try_send(std::mem::take(&mut self.close));
    }
}

/// Removes a call that nobody waits for any more.
struct Forget<'a> {
    link: &'a Link,
    session: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.link.lock().as_mut() {
            connection.calls.remove(&self.session);
        }
    }
}
