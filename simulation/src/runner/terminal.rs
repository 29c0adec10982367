//! What is said to a person or to another program. Whoever has stopped reading (`| head`) is not
//! an error.

use std::io::{IsTerminal as _, Write as _};

/// A result: a line on the standard output.
pub fn say(text: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// What goes on meanwhile: a line on the standard error.
pub fn aside(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

/// Replaces the last line of the standard error by another one; nothing but a terminal can.
pub fn in_place(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _closed = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// Whether lines of the standard error can be replaced.
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
