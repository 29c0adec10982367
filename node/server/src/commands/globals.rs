//! What all commands of a client are told: where the cluster is, how to answer, how long to try.

use clap::{Args, ValueEnum};
use kontiki_client::{Client, Options};

use super::CommandError;

/// How to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Flags of all commands of a client.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Nodes to ask first; the others are learnt from them
    #[arg(
        long,
        global = true,
        env = "KONTIKI_BOOTSTRAP",
        value_delimiter = ',',
        default_value = "127.0.0.1:9640",
        value_name = "HOST:PORT,..."
    )]
    pub bootstrap: Vec<String>,
    /// How to answer
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
    /// For how many seconds to try while no node is able to answer
    #[arg(
        long,
        global = true,
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3_600),
        value_name = "SECONDS"
    )]
    pub timeout: u64,
}

/// What all commands of a client are told.
#[derive(Debug, Clone)]
pub struct Globals {
    /// Nodes to ask first, `host:port`.
    pub bootstrap: Vec<String>,
    /// How to answer.
    pub output: Output,
    /// For how many milliseconds to try.
    pub timeout_ms: u64,
}

impl From<GlobalArgs> for Globals {
    fn from(args: GlobalArgs) -> Self {
        let GlobalArgs { bootstrap, output, timeout } = args;
        Self { bootstrap, output, timeout_ms: timeout.saturating_mul(1_000) }
    }
}

impl Globals {
    pub(super) fn client(&self) -> Result<Client, CommandError> {
        let addresses = self.bootstrap.iter().map(|address| address.trim().to_owned());
        let options = Options {
            bootstrap: addresses.filter(|address| !address.is_empty()).collect(),
            request_timeout_ms: self.timeout_ms.min(30_000),
            retry_timeout_ms: self.timeout_ms,
            ..Options::default()
        };
        Ok(Client::new(options)?)
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }
}
