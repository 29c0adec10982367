//! Why a command failed, as a message and an exit status.

use std::fmt;
use std::io;

use kontiki_client::v1::ErrorKind;

/// A failure of a command.
#[derive(Debug)]
pub struct CommandError {
    /// The exit status: 1 a fault, 2 what was asked for can't work, 3 something is not there, 4
    /// refused because of the state that things are in, 5 no node was able to do it.
    pub exit: u8,
    message: String,
    closed_pipe: bool,
}

impl CommandError {
    fn new(exit: u8, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), closed_pipe: false }
    }

    /// What was asked for can't work.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// A fault.
    pub(super) fn fault(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// The same failure, with what was being done in front.
    pub(super) fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether nobody reads the output any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

impl From<kontiki_client::Error> for CommandError {
    fn from(error: kontiki_client::Error) -> Self {
        let exit = match error.kind {
            ErrorKind::Invalid => 2,
            ErrorKind::NotFound => 3,
            ErrorKind::Exists | ErrorKind::Denied | ErrorKind::Fenced | ErrorKind::Conflict => 4,
            ErrorKind::NotLeader
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Unknown => 5,
            ErrorKind::Unspecified | ErrorKind::Internal => 1,
        };
        let unknown = error.kind == ErrorKind::Unknown;
        let unknown = if unknown { " (it can't be told whether it was done)" } else { "" };
        Self::new(exit, format!("{}{unknown}", error.message))
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        let closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { closed_pipe, ..Self::fault(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_no_failure() {
        let pipe = CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(pipe.is_closed_pipe());
        let full = CommandError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!full.is_closed_pipe() && full.exit == 1);
        let context = CommandError::usage("7 is too many").context("line 3");
        assert_eq!((context.exit, context.to_string()), (2, "line 3: 7 is too many".to_owned()));
    }
}
