//! `kontiki server`: one node, composed of its storage, its broker and its listeners.
//!
//! `folder` is the data directory, `parts` what is opened and bound, `running` the life of the node
//! until it has stopped.

mod folder;
mod listeners;
mod parts;
mod running;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, Signal};

use crate::cli::SettingArgs;
use crate::config::{self, Config, ConfigError, Invalid};
use crate::exit::Failure;

/// What a node is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// End when this process ends: it has started the node.
    #[arg(long, hide = true, value_name = "PID")]
    pub parent_pid: Option<i32>,
}

/// Runs a node until it is asked to stop.
///
/// # Errors
/// Why it couldn't start, or had to end, with the exit status for that.
pub fn run(args: Args) -> Result<(), Failure> {
    if let Some(parent) = args.parent_pid {
        end_with(parent)?;
    }
    let config = load(&args.settings)?;
    raise_open_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_name("kontiki");
    if config.server.worker_threads > 0 {
        runtime.worker_threads(config.server.worker_threads);
    }
    let runtime = runtime.build().context("the threads of the server can't be started")?;
    let ended = runtime.block_on(running::run(config));
    // Tasks that don't end (a client that is slow to hang up) don't keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

fn load(settings: &SettingArgs) -> Result<Config, ConfigError> {
    let layers = settings.layers()?;
    let config = config::load(&layers)?;
    config.node.validate_server().map_err(|(key, why)| {
        let invalid = Invalid { key: format!("node.{key}"), text: format!("node.{key} {why}") };
        config::blame(&layers, invalid)
    })?;
    Ok(config)
}

/// Asks the system for SIGTERM when the parent is gone; it may be gone already.
fn end_with(parent: i32) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("the system doesn't tell when the parent process ends")?;
    let now = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    if now == Some(parent) {
        return Ok(());
    }
    Err(Failure::from(anyhow::anyhow!("process {parent}, which has started this node, is gone")))
}

/// Every connection is an open file: as many as the system lets this process have.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, the limit stays, and is in the metrics.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

#[cfg(test)]
#[path = "log_store_test.rs"]
mod log_store_tests;
