//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::commands::{self, ClientCommand, GlobalArgs, Globals, Output};
use crate::config::{self, Config, ConfigError, Layer};
use crate::exit::{self, Failure};
use crate::{bench, dev, server, telemetry};

/// A replicated log and message queue: the server, a cluster for development, and the commands of a
/// client.
#[derive(Debug, Parser)]
#[command(name = "kontiki", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = exit::COMMANDS)]
pub struct Cli {
    /// What the commands of a client are told.
    #[command(flatten)]
    pub globals: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a node
    ///
    /// Settings come from defaults, then the file, then KONTIKI_* variables (such as
    /// KONTIKI_RAFT__HEARTBEAT_MS for heartbeat_ms in [raft]), then flags. `kontiki config print`
    /// lists them all with what they mean. SIGTERM and SIGINT stop the node in order: leaderships
    /// are handed over, what is under way is finished.
    #[command(after_long_help = exit::table())]
    Server(server::Args),
    /// Runs a cluster of several nodes on this machine, for development
    Dev(dev::Args),
    /// What a client can do.
    #[command(flatten)]
    Client(ClientCommand),
    /// Measures this release on this machine
    Bench(bench::BenchArgs),
    /// Runs whole clusters on a simulated clock, network and disk, and checks every promise
    ///
    /// The program `kontiki-sim` does so, which `make sim` builds; `kontiki sim --help` shows what
    /// it can do.
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Sim(commands::SimArgs),
    /// Shows and checks the configuration of a node
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Shows the release, and what it speaks
    Version,
    /// Writes a script that completes this command line, for a shell
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints every setting that is in force, with what it means; a configuration file by itself
    ///
    /// Without --output json it is TOML.
    Print {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Checks the settings, and says nothing but "valid" where they can work
    Check {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingArgs,
    },
}

/// Settings of a node, and the file with the rest of them.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingArgs {
    /// A configuration file, in TOML.
    #[arg(long, env = "KONTIKI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's number, from 1 [node.id].
    #[arg(long, env = "KONTIKI_NODE_ID", value_name = "NUMBER")]
    pub node_id: Option<String>,
    /// The folder for all data [node.data_dir].
    #[arg(long, env = "KONTIKI_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where clients connect [node.client_listen].
    #[arg(long, env = "KONTIKI_CLIENT_LISTEN", value_name = "HOST:PORT")]
    pub client_listen: Option<String>,
    /// Where the other nodes connect [node.peer_listen].
    #[arg(long, env = "KONTIKI_PEER_LISTEN", value_name = "HOST:PORT")]
    pub peer_listen: Option<String>,
    /// Where /metrics, /livez and /readyz are [node.http_listen].
    #[arg(long, env = "KONTIKI_HTTP_LISTEN", value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// What clients are told to connect to [node.client_advertise].
    #[arg(long, env = "KONTIKI_CLIENT_ADVERTISE", value_name = "HOST:PORT")]
    pub client_advertise: Option<String>,
    /// Where the other nodes find this one [node.peer_advertise].
    #[arg(long, env = "KONTIKI_PEER_ADVERTISE", value_name = "HOST:PORT")]
    pub peer_advertise: Option<String>,
    /// The nodes that found the cluster, the same list on each of them [node.initial_members].
    #[arg(long, env = "KONTIKI_INITIAL_MEMBERS", value_name = "1=HOST:PORT,...")]
    pub initial_members: Option<String>,
    /// Peer addresses of members of a cluster to join [node.join].
    #[arg(long, env = "KONTIKI_JOIN", value_name = "HOST:PORT,...")]
    pub join: Option<String>,
    /// Where the node stands [node.rack].
    #[arg(long, env = "KONTIKI_RACK", value_name = "NAME")]
    pub rack: Option<String>,
    /// Any other setting, such as raft.heartbeat_ms=100; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingArgs {
    /// The layers of settings, the file first.
    ///
    /// # Errors
    /// What is no setting, and a file that can't be read.
    pub fn layers(&self) -> Result<Vec<Layer>, ConfigError> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(Layer::file(path)?);
        }
        let text = |text: OsString| text.into_string().ok();
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        layers.extend(Layer::environment(variables)?);
        let data_dir = self.data_dir.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("--node-id", "node.id", &self.node_id),
            ("--data-dir", "node.data_dir", &data_dir),
            ("--client-listen", "node.client_listen", &self.client_listen),
            ("--peer-listen", "node.peer_listen", &self.peer_listen),
            ("--http-listen", "node.http_listen", &self.http_listen),
            ("--client-advertise", "node.client_advertise", &self.client_advertise),
            ("--peer-advertise", "node.peer_advertise", &self.peer_advertise),
            ("--initial-members", "node.initial_members", &self.initial_members),
            ("--join", "node.join", &self.join),
            ("--rack", "node.rack", &self.rack),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                layers.push(Layer::setting(flag, key, value)?);
            }
        }
        for setting in &self.set {
            let origin = format!("--set {setting}");
            let Some((key, value)) = setting.split_once('=') else {
                let why = "must be KEY=VALUE, such as raft.heartbeat_ms=100".to_owned();
                return Err(ConfigError::Text { origin, why });
            };
            layers.push(Layer::setting(&origin, key.trim(), value.trim())?);
        }
        Ok(layers)
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// What is no setting, a file that can't be read, a value that can't work.
    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(&self.layers()?)
    }
}

/// Does what the command line says.
///
/// # Errors
/// With the exit status that goes with it.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let globals = Globals::from(cli.globals);
    match cli.command {
        Command::Server(args) => server::run(args),
        Command::Dev(args) => dev::run(args),
        Command::Client(command) => client(commands::run(command, &globals)),
        Command::Bench(bench) => client(bench::run(bench, globals.output == Output::Json)),
        Command::Sim(args) => commands::simulate(&args),
        Command::Config(command) => configuration(command, globals.output),
        Command::Version => {
            print_version(globals.output);
            Ok(())
        }
        Command::Completion { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "kontiki", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Runs a command of a client to its end.
fn client<E>(command: impl Future<Output = Result<(), E>>) -> Result<(), Failure>
where
    Failure: From<E>,
{
    telemetry::install_for_commands();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.context("the threads can't be started")?.block_on(command)?)
}

fn configuration(command: ConfigCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Print { settings } => {
            let config = settings.load()?;
            match output {
                Output::Human => print!("{}", config::to_toml(&config)),
                Output::Json => {
                    let json = serde_json::to_string_pretty(&config);
                    println!("{}", json.expect("settings are JSON"));
                }
            }
        }
        ConfigCommand::Check { settings } => {
            settings.load()?;
            println!("valid");
        }
    }
    Ok(())
}

fn print_version(output: Output) {
    let features = kontiki_domain::catalog::FeatureRange::THIS_RELEASE;
    let version = env!("CARGO_PKG_VERSION");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (oldest, newest) = (features.oldest, features.newest);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    match output {
        Output::Human => println!(
            "kontiki {version} ({profile} build, {os} {arch})\nfeature levels {oldest} to {newest}"
        ),
        Output::Json => println!(
            "{}",
            serde_json::json!({
                "version": version,
                "profile": profile,
                "os": os,
                "arch": arch,
                "feature_level_oldest": oldest.0,
                "feature_level_newest": newest.0,
            })
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flags_are_the_last_word() {
        let cli = Cli::parse_from([
            "kontiki",
            "config",
            "check",
            "--node-id=3",
            "--data-dir=/somewhere",
            "--initial-members=1=a:1,3=c:3",
            "--set",
            "raft.heartbeat_ms = 77",
            "--set=telemetry.log_filter=info,kontiki_raft=debug",
        ]);
        let Command::Config(ConfigCommand::Check { settings }) = cli.command else {
            panic!("{cli:?}");
        };
        let config = settings.load().expect("they can work");
        assert_eq!(config.node.id, 3);
        assert_eq!(config.node.initial_members.to_string(), "1=a:1,3=c:3");
        assert_eq!(config.raft.heartbeat_ms, 77);
        assert_eq!(config.telemetry.log_filter, "info,kontiki_raft=debug");
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let settings = SettingArgs { node_id: Some("three".to_owned()), ..SettingArgs::default() };
        let text = settings.load().expect_err("no number").to_string();
        assert!(text.starts_with("--node-id: node.id = \"three\": "), "{text}");
        let settings = SettingArgs { set: vec!["raft".to_owned()], ..SettingArgs::default() };
        let text = settings.load().expect_err("no value").to_string();
        assert_eq!(text, "--set raft: must be KEY=VALUE, such as raft.heartbeat_ms=100");
    }
}
