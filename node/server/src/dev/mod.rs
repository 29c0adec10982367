//! `kontiki dev`: a cluster of several nodes on this machine. Each is a process of its own, so that
//! it can be killed; nothing is started again by itself, so that one can see what happens.

mod node;
mod ready;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::node::{Node, Running};
use crate::exit::{Exit, Failure};

/// Ports of one node: clients, nodes, pages. The next node's are ten further.
const PORTS_STEP: u16 = 10;

/// A cluster of several nodes on this machine, for development.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// The folder for the data and the logs of all nodes. It is kept, and used again.
    #[arg(long, default_value = "data", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// The first node's port for clients; 1 more is for nodes, 2 more for pages. The next node's
    /// are 10 more.
    #[arg(long, default_value_t = 9640, value_name = "PORT")]
    pub base_port: u16,
    /// A configuration file for all nodes.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting for all nodes, such as raft.heartbeat_ms=100; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the cluster until it is asked to stop.
///
/// # Errors
/// A node doesn't start, or all of them have ended.
pub fn run(args: Args) -> Result<(), Failure> {
    let nodes = plan(&args)?;
    // One thread, which is this one: children are told when the *thread* that made them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime")?.block_on(cluster(nodes))
}

fn plan(args: &Args) -> Result<Vec<Node>, Failure> {
    let last = u32::from(args.base_port) + u32::from(args.nodes - 1) * u32::from(PORTS_STEP) + 2;
    if last > u32::from(u16::MAX) {
        let why = anyhow!("--base-port {}: the last port would be {last}", args.base_port);
        return Err(Failure::new(Exit::Usage, why));
    }
    let port = |id: u16| args.base_port + (id - 1) * PORTS_STEP;
    let ids = 1..=args.nodes;
    let members: Vec<String> =
        ids.clone().map(|id| format!("{id}=127.0.0.1:{}", port(id) + 1)).collect();
    let members = members.join(",");
    let binary = std::env::current_exe().context("the path of this program is not known")?;
    Ok(ids
        .map(|id| {
            let mut arguments = vec![
                "server".to_owned(),
                format!("--node-id={id}"),
                format!("--data-dir={}", args.data_dir.join(format!("node-{id}")).display()),
                format!("--client-listen=127.0.0.1:{}", port(id)),
                format!("--peer-listen=127.0.0.1:{}", port(id) + 1),
                format!("--http-listen=127.0.0.1:{}", port(id) + 2),
                format!("--initial-members={members}"),
            ];
            arguments.extend(args.config.iter().map(|path| format!("--config={}", path.display())));
            arguments.extend(args.set.iter().map(|setting| format!("--set={setting}")));
            Node {
                id,
                port: port(id),
                binary: binary.clone(),
                arguments,
                log: args.data_dir.join(format!("node-{id}.log")),
            }
        })
        .collect())
}

async fn cluster(nodes: Vec<Node>) -> Result<(), Failure> {
    let listen = |kind| signal(kind).context("signals can't be heard");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut running = Vec::with_capacity(nodes.len());
    for node in &nodes {
        running.push(node.start()?);
    }
    print!("{}", table(&running));
    println!("\nexport KONTIKI_BOOTSTRAP={}\n", bootstrap(&nodes));
    println!("waiting until they serve; Ctrl-C stops them all");

    let mut pids: Vec<(u16, u32)> = running.iter().map(|node| (node.id, node.pid)).collect();
    let mut ends: FuturesUnordered<_> = running.into_iter().map(Running::ended).collect();
    let started = Instant::now();
    let mut ready = std::pin::pin!(ready::all(nodes.iter().map(Node::pages).collect()));
    let mut waiting = true;
    loop {
        tokio::select! {
            () = ready.as_mut(), if waiting => {
                waiting = false;
                println!("ready after {:.1} s", started.elapsed().as_secs_f64());
            }
            Some((id, status)) = ends.next() => {
                pids.retain(|(other, _)| *other != id);
                let node = nodes.iter().find(|node| node.id == id).expect("it was started");
                eprintln!("{}", obituary(node, &status, pids.len()));
                if pids.is_empty() {
                    return Err(Failure::from(anyhow!("all nodes have ended")));
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    println!("stopping");
    node::stop_all(&pids, &mut ends).await;
    Ok(())
}

fn table(nodes: &[Running]) -> String {
    let mut text = String::new();
    let row = |text: &mut String, cells: [&str; 6]| {
        let [id, pid, clients, peers, pages, log] = cells;
        let line = format!("{id:<5} {pid:<8} {clients:<16} {peers:<16} {pages:<24} {log}");
        writeln!(text, "{}", line.trim_end()).expect("a string takes everything");
    };
    row(&mut text, ["node", "process", "clients", "nodes", "pages", "log"]);
    for node in nodes {
        row(
            &mut text,
            [
                &node.id.to_string(),
                &node.pid.to_string(),
                &format!("127.0.0.1:{}", node.port),
                &format!("127.0.0.1:{}", node.port + 1),
                &format!("http://127.0.0.1:{}", node.port + 2),
                &node.log.display().to_string(),
            ],
        );
    }
    text
}

fn bootstrap(nodes: &[Node]) -> String {
    let addresses: Vec<String> =
        nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    addresses.join(",")
}

fn obituary(node: &Node, status: &ExitStatus, left: usize) -> String {
    let (id, log) = (node.id, node.log.display());
    let others = match left {
        0 => String::from("It was the last one."),
        1 => String::from("The other one goes on."),
        many => format!("The other {many} go on."),
    };
    format!(
        "node {id} has ended: {status}; its log is {log}. {others}\n\
         To start it again, in another terminal:\n  {}",
        node.command_line()
    )
}

/// Between two looks at a node that isn't ready.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: u16, base_port: u16) -> Args {
        let data_dir = PathBuf::from("my data");
        Args { nodes, data_dir, base_port, config: None, set: vec!["raft.heartbeat_ms=99".into()] }
    }

    #[test]
    fn ports_and_members_follow_from_the_base() {
        let nodes = plan(&args(3, 9640)).expect("there are ports");
        assert_eq!(bootstrap(&nodes), "127.0.0.1:9640,127.0.0.1:9650,127.0.0.1:9660");
        let second = nodes[1].command_line();
        for part in [
            " server ",
            " --node-id=2 ",
            " '--data-dir=my data/node-2' ",
            " --peer-listen=127.0.0.1:9651 ",
            " --http-listen=127.0.0.1:9652 ",
            "--initial-members=1=127.0.0.1:9641,2=127.0.0.1:9651,3=127.0.0.1:9661",
            " --set=raft.heartbeat_ms=99",
        ] {
            assert!(second.contains(part), "{part} in {second}");
        }
        let failure = plan(&args(3, 65_520)).expect_err("there are too few ports");
        assert!(failure.to_string().contains("65542"), "{failure}");
    }

    #[test]
    fn a_node_that_has_ended_is_named_with_what_to_do() {
        use std::os::unix::process::ExitStatusExt as _;
        let nodes = plan(&args(3, 9640)).expect("there are ports");
        let text = obituary(&nodes[2], &ExitStatus::from_raw(9), 2);
        assert!(text.starts_with("node 3 has ended: signal: 9"), "{text}");
        assert!(text.contains("my data/node-3.log") && text.contains("other 2 go on"), "{text}");
        assert!(text.ends_with(&nodes[2].command_line()), "{text}");
    }
}
