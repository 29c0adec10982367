//! A cluster to be measured: child processes, in a folder that goes with them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kontiki_client::{Client, v1};
use kontiki_figures::Cost;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a cluster may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes that run.
pub struct Cluster {
    folder: PathBuf,
    binary: PathBuf,
    config: Option<PathBuf>,
    /// Who founds it, as the nodes are told.
    members: String,
    nodes: Vec<Node>,
}

struct Node {
    id: u32,
    client: u16,
    peer: u16,
    http: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Starts nodes and waits until they serve.
    pub async fn start(
        binary: &Path,
        dir: &Path,
        count: u32,
        config: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = dir.join(format!(".kontiki-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = fs::canonicalize(&folder)?;
        let ports = free_ports(3 * count as usize)?;
        let node = |(id, ports): (u32, &[u16])| Node {
            id,
            client: ports[0],
            peer: ports[1],
            http: ports[2],
            child: None,
        };
        let nodes: Vec<Node> = (1..).zip(ports.chunks_exact(3)).map(node).collect();
        let member = |node: &Node| format!("{}=127.0.0.1:{}", node.id, node.peer);
        let members = nodes.iter().map(member).collect::<Vec<_>>().join(",");
        let (binary, config) = (binary.to_owned(), config.map(Path::to_owned));
        let mut cluster = Self { folder, binary, config, members, nodes };
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// Starts the nodes that don't run, and waits until all serve.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].child.is_none() {
                self.nodes[index].child = Some(self.spawn(&self.nodes[index])?);
            }
        }
        self.wait_ready().await
    }

    fn spawn(&self, node: &Node) -> anyhow::Result<Child> {
        let log = self.folder.join(format!("node-{}.log", node.id));
        let log = fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("server")
            .args(["--node-id", &node.id.to_string()])
            .arg("--data-dir")
            .arg(self.folder.join(format!("node-{}", node.id)))
            .args(["--client-listen", &format!("127.0.0.1:{}", node.client)])
            .args(["--peer-listen", &format!("127.0.0.1:{}", node.peer)])
            .args(["--http-listen", &format!("127.0.0.1:{}", node.http)])
            .args(["--initial-members", &self.members])
            // They end with this process, however it ends.
            .args(["--parent-pid", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.spawn().with_context(|| format!("starting {}", self.binary.display()))
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let begun = tokio::time::Instant::now();
        for node in &mut self.nodes {
            loop {
                let child = node.child.as_mut().context("a node doesn't run")?;
                if let Some(status) = child.try_wait()? {
                    let log = self.folder.join(format!("node-{}.log", node.id));
                    let text = fs::read_to_string(log).unwrap_or_default();
                    bail!("node {} has ended with {status}:\n{text}", node.id);
                }
                if is_ready(node.http).await {
                    break;
                }
                if begun.elapsed() > PATIENCE {
                    let log = self.folder.join(format!("node-{}.log", node.id));
                    let text = fs::read_to_string(log).unwrap_or_default();
                    bail!("node {} is not ready after {PATIENCE:?}:\n{text}", node.id);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// A client of all nodes.
    pub fn client(&self) -> anyhow::Result<Client> {
        let bootstrap = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.client));
        let bootstrap = bootstrap.collect();
        Ok(Client::new(kontiki_client::Options { bootstrap, ..Default::default() })?)
    }

    /// Creates a topic.
    pub async fn topic(&self, client: &Client, topic: &str, partitions: u32) -> anyhow::Result<()> {
        let request = v1::CreateTopicRequest {
            topic: topic.to_owned(),
            partitions,
            if_not_exists: true,
            ..Default::default()
        };
        client.admin().create_topic(request).await?;
        Ok(())
    }

    /// Processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.as_ref().map(Child::id)).collect()
    }

    /// What the nodes have cost so far.
    pub fn cost(&self) -> Cost {
        Cost::of_trees(&self.pids())
    }

    /// SIGKILL to a node.
    pub fn kill(&mut self, id: u32) -> anyhow::Result<()> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        let mut child = node.and_then(|node| node.child.take()).context("there is no such node")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGKILL to all nodes.
    pub fn kill_all(&mut self) -> anyhow::Result<()> {
        let mut children: Vec<Child> =
            self.nodes.iter_mut().filter_map(|node| node.child.take()).collect();
        children.iter_mut().try_for_each(Child::kill)?;
        children.iter_mut().try_for_each(|child| child.wait().map(drop))?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // They may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::env::var_os("KONTIKI_BENCH_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // All are held until all are known, so that none is given twice.
    let held: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    held?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

async fn is_ready(port: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.take(4_096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    let within = tokio::time::timeout(Duration::from_secs(2), asked).await;
    matches!(within, Ok(Ok(true)))
}
