//! How the process ends, and what its exit status says.

use std::fmt;

/// Exit statuses. They are a contract: whoever supervises nodes acts on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed; the message says what.
    Failed,
    /// The command line or the configuration is wrong: starting again doesn't help.
    Usage,
    /// Another process has the data directory.
    InUse,
    /// An address can't be listened on.
    Address,
    /// The data directory can't be opened: it is another node's, damaged, or the disk fails.
    Data,
    /// Storage failed while the node ran. What was acknowledged is safe on the other nodes.
    StorageFailed,
    /// The consensus library gave up on a shard while the node ran.
    RaftFailed,
    /// A part of the server ended by a fault of the release.
    Fault,
    /// It was asked to stop and wasn't done in time; nothing is lost by that.
    StopTimeout,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Failed,
        Self::Usage,
        Self::InUse,
        Self::Address,
        Self::Data,
        Self::StorageFailed,
        Self::RaftFailed,
        Self::Fault,
        Self::StopTimeout,
    ];

    /// The status.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InUse => 10,
            Self::Address => 11,
            Self::Data => 12,
            Self::StorageFailed => 20,
            Self::RaftFailed => 21,
            Self::Fault => 22,
            Self::StopTimeout => 23,
        }
    }

    /// What it means, and what to do.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "failed; the message says what",
            Self::Usage => "the command line or the configuration is wrong; correct it",
            Self::InUse => "another process has the data directory",
            Self::Address => "an address can't be listened on",
            Self::Data => "the data directory can't be opened; the message says why",
            Self::StorageFailed => {
                "storage failed while the node ran; start it again, replace the disk if it repeats"
            }
            Self::RaftFailed => "a shard's Raft stopped by itself; start the node again",
            Self::Fault => "a fault of the release; start the node again and report the log",
            Self::StopTimeout => "asked to stop, and not done in time; nothing is lost",
        }
    }
}

/// The table for `--help`.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("Exit status:\n   0  ended as it was asked to");
    for exit in Exit::ALL {
        text.push_str(&format!("\n  {:>2}  {}", exit.code(), exit.meaning()));
    }
    text
}

/// What the statuses of a client's commands mean.
pub const COMMANDS: &str = "Exit status of a client's commands:
   0  done
   1  a fault
   2  what was asked for can't work
   3  something is not there
   4  refused because of the state that things are in
   5  no node was able to do it in time
`kontiki help server` lists those of a server.";

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// The message.
    pub error: anyhow::Error,
}

impl Failure {
    /// An end with this status, for this reason.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { status: exit.code(), error: error.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<crate::commands::CommandError> for Failure {
    fn from(error: crate::commands::CommandError) -> Self {
        Self { status: error.exit, error: error.into() }
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ends_have_the_same_status() {
        let codes: std::collections::BTreeSet<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes.len(), Exit::ALL.len());
        assert!(!codes.contains(&0), "0 is success");
        assert!(table().contains("\n  20  storage failed"), "{}", table());
    }
}
