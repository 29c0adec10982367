//! One node of a cluster: a `kontiki server` process that is started, signalled and started again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::{http, ports, wait};

/// Where the binary is.
///
/// # Panics
/// Where there is none, with what to do.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KONTIKI_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "KONTIKI_BIN={} is no file: run `make build`", path.display());
        return path;
    }
    let own = std::env::current_exe().expect("a test knows its own executable");
    // <target>/<profile>/deps/<test>: the binary is one folder up.
    let mut places = own.ancestors().skip(1).take(3).map(|dir| dir.join("kontiki"));
    places.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("there is no kontiki binary near {}: run `make build`", own.display())
    })
}

/// What stays the same of a node through all of its lives.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its id in the cluster, from 1.
    pub id: u32,
    /// Where clients reach it.
    pub client: SocketAddrV4,
    /// Where the other nodes reach it.
    pub peer: SocketAddrV4,
    /// Its pages.
    pub http: SocketAddrV4,
    /// Its data.
    pub data: PathBuf,
    /// What it writes to standard output and error, of all its lives.
    pub log: PathBuf,
    /// A file system of its own and of this size, in memory, instead of the data folder.
    pub disk_bytes: Option<u64>,
}

impl NodeSpec {
    /// A node with ports of its own and its files below `folder`.
    #[must_use]
    pub fn new(id: u32, folder: &Path) -> Self {
        Self {
            id,
            client: ports::free(),
            peer: ports::free(),
            http: ports::free(),
            data: folder.join(format!("node-{id}")),
            log: folder.join(format!("node-{id}.log")),
            disk_bytes: None,
        }
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// What stays the same.
    pub spec: NodeSpec,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// A node that doesn't run yet, with the text of its configuration file where it has one.
    ///
    /// # Panics
    /// Where the configuration can't be written.
    #[must_use]
    pub fn new(spec: NodeSpec, members: &str, config: Option<&str>) -> Self {
        let mut arguments = vec![
            "server".to_owned(),
            format!("--node-id={}", spec.id),
            format!("--data-dir={}", spec.data.display()),
            format!("--client-listen={}", spec.client),
            format!("--peer-listen={}", spec.peer),
            format!("--http-listen={}", spec.http),
            format!("--initial-members={members}"),
        ];
        if let Some(config) = config {
            let path = spec.log.with_extension("toml");
            fs::write(&path, config).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            arguments.push(format!("--config={}", path.display()));
        }
        Self { spec, arguments, child: None }
    }

    /// Starts the process. Returns at once.
    ///
    /// # Panics
    /// Where it can't be started, or runs already.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.spec.id);
        fs::create_dir_all(&self.spec.data).expect("the data folder can be made");
        let log = OpenOptions::new().create(true).append(true).open(&self.spec.log);
        let log = log.expect("the log can be opened");
        let mut command = match self.spec.disk_bytes {
            None => Command::new(binary()),
            Some(bytes) => on_small_disk(bytes, &self.spec.data),
        };
        command.args(&self.arguments);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a descriptor can be copied")).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        self.child = Some(child);
    }

    /// Whether it has a process (that may be stopped by a signal).
    pub fn is_running(&mut self) -> bool {
        let Some(child) = &mut self.child else { return false };
        matches!(child.try_wait(), Ok(None))
    }

    /// Its process.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the node was started");
        Pid::from_child(child)
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Where it has no process.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process is a child");
    }

    /// SIGKILL: no last words. Returns when the process is gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // A process that is stopped by a signal dies of this one too.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM, then waits for the process to end by itself.
    ///
    /// # Panics
    /// Where it is still there after a minute.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let status = self.exited().await;
        self.child = None;
        status
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// Where it is still there after a minute.
    pub async fn exited(&mut self) -> ExitStatus {
        let id = self.spec.id;
        let child = self.child.as_mut().expect("the node was started");
        wait::until("a node's end", move || {
            let status = child.try_wait().expect("a child can be waited for");
            async move { status.ok_or(format!("node {id} still runs")) }
        })
        .await
    }

    /// Removes all of its data, as a replaced disk would.
    ///
    /// # Panics
    /// Where it runs.
    pub fn wipe(&mut self) {
        assert!(!self.is_running(), "node {} runs: kill it first", self.spec.id);
        fs::remove_dir_all(&self.spec.data).expect("the data can be removed");
    }

    /// Waits until the node says that it serves.
    ///
    /// # Panics
    /// After a minute, or where its process has ended, with the end of its log.
    pub async fn ready(&mut self) {
        let start = tokio::time::Instant::now();
        loop {
            let why = match http::get(self.spec.http, "/readyz").await {
                Ok((200, _)) => return,
                Ok((status, body)) => format!("/readyz answers {status}: {body}"),
                Err(why) => why,
            };
            let id = self.spec.id;
            assert!(self.is_running(), "node {id} has ended:\n{}", self.log_end());
            let waited = start.elapsed();
            assert!(waited < wait::PATIENCE, "node {id} not ready: {why}\n{}", self.log_end());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_end(&self) -> String {
        const BYTES_MAX: u64 = 4_096;
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.spec.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            Ok(String::from_utf8_lossy(&end).into_owned())
        };
        read().unwrap_or_else(|e| format!("{}: {e}", self.spec.log.display()))
    }

    /// Its data folder as the process sees it: one on a disk of its own is only to be seen through
    /// the process.
    #[must_use]
    pub fn visible_data(&self) -> PathBuf {
        match self.spec.disk_bytes {
            None => self.spec.data.clone(),
            Some(_) => {
                let pid = self.pid().as_raw_nonzero();
                let data = self.spec.data.strip_prefix("/").expect("an absolute path");
                Path::new("/proc").join(pid.to_string()).join("root").join(data)
            }
        }
    }

    /// Resident memory of its process, bytes.
    ///
    /// # Panics
    /// Where it doesn't run.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS is in kB") * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary on a file system in memory of its own, mounted where its data goes, in a mount
/// namespace that ends with the process. Needs no rights where users may make namespaces.
fn on_small_disk(bytes: u64, data: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private"]);
    let script = "mount -t tmpfs -o size=\"$1\" kontiki \"$2\" && shift 2 && exec \"$@\"";
    command.args(["sh", "-c", script, "sh", &bytes.to_string()]).arg(data).arg(binary());
    command
}

/// Whether [`NodeSpec::disk_bytes`] can be had on this machine.
#[must_use]
pub fn has_small_disks() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private"]);
    command.args(["sh", "-c", "mount -t tmpfs -o size=1m kontiki /mnt"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Raises the number of files that this process and the nodes it starts may open as far as the
/// system lets it, and returns that number.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
