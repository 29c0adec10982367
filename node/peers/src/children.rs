//! The processes of one cluster: started in a folder of their own, and ended with it, by their ids.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Has a child killed by the kernel when its parent dies, however that comes to pass.
const SETPRIV: &str = "/usr/bin/setpriv";
/// How much of a log is shown when its process has failed, in bytes from its end.
const LOG_SHOWN_BYTES: usize = 4_000;

/// Processes that run, by name, and their folder. Both go when this is dropped, unless
/// `KONTIKI_BENCH_KEEP` is set: then the folder stays.
#[derive(Debug)]
pub struct Children {
    folder: PathBuf,
    running: BTreeMap<String, Child>,
}

impl Children {
    /// None yet, and a folder below `dir`.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn in_folder(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = dir.join(format!(".kontiki-peers-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = fs::canonicalize(&folder)?;
        Ok(Self { folder, running: BTreeMap::new() })
    }

    /// Where their data goes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program; what it prints goes to a file that is named after `name`. It leads a
    /// process group, so that what it starts can be ended with it.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(
        &mut self,
        name: &str,
        program: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> anyhow::Result<()> {
        let log = fs::File::create(self.log_path(name))?;
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        prepare(&mut command);
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// The ids of those that run.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.running.values().map(Child::id).collect()
    }

    /// That all still run.
    ///
    /// # Errors
    /// One has ended; its last words.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let mut ended = None;
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                ended = Some((name.clone(), status));
            }
        }
        let Some((name, status)) = ended else { return Ok(()) };
        bail!("{name} has ended with {status}:\n{}", self.last_words(&name));
    }

    /// The end of what a process has printed.
    #[must_use]
    pub fn last_words(&self, name: &str) -> String {
        let text = fs::read(self.log_path(name)).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_SHOWN_BYTES);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// SIGKILL to one and to what it has started.
    ///
    /// # Errors
    /// There is none of this name, or it can't be killed.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let child = self.running.remove(name);
        let child = child.with_context(|| format!("there is no process {name}"))?;
        end(child).with_context(|| format!("killing {name}"))
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Kills a child with its process group, and waits for it.
fn end(mut child: Child) -> io::Result<()> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Nobody is left in it where it has ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()?;
    Ok(())
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in std::mem::take(&mut self.running).into_values() {
            // It may have ended already.
            let _ = end(child);
        }
        if std::env::var_os("KONTIKI_BENCH_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Ports of loopback that nobody listens on at the moment.
///
/// # Errors
/// There are none.
pub fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // All are held until all are known, so that none is given twice.
    let held: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    held?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_figures::Cost;

    fn sleeper(children: &mut Children) {
        let shell = Path::new("/bin/sh");
        let start = children.start("one", shell, |command| {
            command.args(["-c", "echo hello; sleep 600; sleep 601"]);
        });
        start.expect("there is a shell");
    }

    #[test]
    fn processes_and_their_folder_go_together() {
        let mut children = Children::in_folder(&std::env::temp_dir(), "go").expect("a folder");
        sleeper(&mut children);
        let (folder, pids) = (children.folder().to_owned(), children.pids());
        assert!(Cost::of_trees(&pids).rss_bytes > 0);
        children.check().expect("it runs");
        drop(children);
        assert!(!folder.exists());
        assert_eq!(Cost::of_trees(&pids), Cost::default());
    }

    #[test]
    fn one_that_has_ended_is_told_with_its_last_words() {
        let mut children = Children::in_folder(&std::env::temp_dir(), "words").expect("a folder");
        let shell = Path::new("/bin/sh");
        let start = children.start("two", shell, |command| {
            command.args(["-c", "echo no disk >&2; exit 3"]);
        });
        start.expect("there is a shell");
        let error = loop {
            if let Err(error) = children.check() {
                break error.to_string();
            }
            std::thread::yield_now();
        };
        assert!(error.contains("two has ended") && error.contains("no disk"), "{error}");
    }

    #[test]
    fn who_is_killed_is_no_longer_there() {
        let mut children = Children::in_folder(&std::env::temp_dir(), "kill").expect("a folder");
        sleeper(&mut children);
        children.kill("one").expect("it runs");
        assert!(children.pids().is_empty());
        assert!(children.kill("one").is_err());
    }
}
