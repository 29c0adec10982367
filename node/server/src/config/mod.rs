//! What may be configured, and from where: defaults, then a TOML file, then `KONTIKI_*` variables,
//! then flags. What a setting means is said once, at the field of its `Options` struct;
//! `kontiki config print` shows it from there.

mod layers;
mod listen;
mod meaning;
mod node;
mod print;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::layers::{Layer, blame, load};
pub use self::listen::{
    ClientOptions, DialOptions, PageOptions, PeerOptions, ServerOptions, in_range,
};
pub use self::node::NodeOptions;
pub use self::print::to_toml;
use crate::telemetry::TelemetryOptions;

/// Every setting of a node, by what it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this node is, and where it and the others are.
    pub node: NodeOptions,
    /// The process: threads, connections, how it stops.
    pub server: ServerOptions,
    /// The founding of a cluster and its upkeep.
    pub cluster: kontiki_broker::cluster::Options,
    /// Requests: limits and times.
    pub broker: kontiki_broker::Options,
    /// Raft: limits and times.
    pub raft: kontiki_raft::Options,
    /// Rows on disk.
    pub storage: kontiki_storage_rocks::Options,
    /// Payloads on disk.
    pub segments: kontiki_storage::files::Options,
    /// The clients' protocol.
    pub grpc: kontiki_gateway::grpc::Options,
    /// What the process tells about itself.
    pub telemetry: TelemetryOptions,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has something in it that is no setting.
    #[error("the configuration file {} is wrong: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        why: String,
    },
    /// A variable or a flag is no setting, or its value can't be one.
    #[error("{origin}: {why}")]
    Text {
        /// Which variable or flag.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// A setting has a value that can't work.
    #[error("{text}{}", whence(origin.as_deref()))]
    Invalid {
        /// The setting and what it must be.
        text: String,
        /// The file, variable or flag that set it; `None` where nothing did.
        origin: Option<String>,
    },
}

fn whence(origin: Option<&str>) -> String {
    origin.map(|origin| format!(" (from {origin})")).unwrap_or_default()
}

/// A setting that can't work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The setting, as in `raft.heartbeat_ms`.
    pub key: String,
    /// The complaint, which names it.
    pub text: String,
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that can't work.
    pub fn validate(&self) -> Result<(), Invalid> {
        let joined = |section: &str, key: &str, why: &str| Invalid {
            key: format!("{section}.{key}"),
            text: format!("{section}.{key} {why}"),
        };
        self.node.validate().map_err(|(key, why)| joined("node", key, &why))?;
        self.server.validate().map_err(|(key, why)| joined("server", &key, &why))?;
        self.telemetry.validate().map_err(|(key, why)| joined("telemetry", &key, &why))?;
        self.cluster.validate().map_err(|error| Invalid {
            // Membership's names have the section in them, the broker's text puts its own before.
            key: error.field.to_owned(),
            text: error.to_string().trim_start_matches("broker.").to_owned(),
        })?;
        self.broker.validate().map_err(|error| Invalid {
            key: format!("broker.{}", error.field),
            text: error.to_string(),
        })?;
        self.raft.validate().map_err(|error| Invalid {
            key: format!("raft.{}", error.field),
            text: error.to_string(),
        })?;
        self.storage.validate().map_err(|error| Invalid {
            key: format!("storage.{}", error.field),
            text: format!("storage.{error}"),
        })?;
        self.segments.validate().map_err(|error| Invalid {
            key: format!("segments.{}", error.field),
            text: format!("segments.{error}"),
        })?;
        self.grpc.validate().map_err(|error| Invalid {
            key: format!("grpc.{}", error.field),
            text: error.to_string(),
        })?;
        self.check_free_bytes()
    }

    /// A full disk is to be noticed by Raft, which can refuse; storage can only stop.
    fn check_free_bytes(&self) -> Result<(), Invalid> {
        let limit = self.raft.free_bytes_append_min;
        let segments = self.segments.free_bytes_min + self.segments.segment_bytes;
        let needed = segments.max(self.storage.free_bytes_min);
        if limit >= needed {
            return Ok(());
        }
        Err(Invalid {
            key: "raft.free_bytes_append_min".to_owned(),
            text: format!(
                "raft.free_bytes_append_min = {limit}: at least {needed}, which is what \
                 segments.free_bytes_min with segments.segment_bytes, or storage.free_bytes_min, \
                 has to be kept free for; or lower those"
            ),
        })
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
