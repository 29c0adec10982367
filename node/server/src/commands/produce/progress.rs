//! How far a file is, on the standard error, if that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// How often it is written.
const EVERY: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    visible: bool,
    size: Option<u64>,
    sent: u64,
    began: Instant,
    written: Option<Instant>,
}

impl Progress {
    pub(super) fn new(size: Option<u64>) -> Self {
        let visible = io::stderr().is_terminal();
        Self { visible, size, sent: 0, began: Instant::now(), written: None }
    }

    /// This much more was sent.
    pub(super) fn add(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.visible && self.written.is_none_or(|written| written.elapsed() >= EVERY) {
            self.write();
        }
    }

    /// Leaves the line.
    pub(super) fn end(&mut self) {
        if self.visible && self.written.is_some() {
            self.write();
            let _ = writeln!(io::stderr());
        }
    }

    fn write(&mut self) {
        self.written = Some(Instant::now());
        let text = text(self.sent, self.size, self.began.elapsed());
        // It is decoration: where it can't be written, the file still goes on.
        let _ = write!(io::stderr(), "\r{text}\x1b[K").and_then(|()| io::stderr().flush());
    }
}

fn text(sent: u64, size: Option<u64>, took: Duration) -> String {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let rate = mib(sent as f64) / took.as_secs_f64().max(0.001);
    match size.filter(|size| *size > 0) {
        Some(size) => {
            let percent = sent.saturating_mul(100) / size;
            let (sent, size) = (mib(sent as f64), mib(size as f64));
            format!("{percent:3} %  {sent:.1} of {size:.1} MiB  {rate:.1} MiB/s")
        }
        None => format!("{:.1} MiB  {rate:.1} MiB/s", mib(sent as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much_of_what_and_how_fast() {
        let two = Duration::from_secs(2);
        assert_eq!(text(1 << 20, Some(4 << 20), two), " 25 %  1.0 of 4.0 MiB  0.5 MiB/s");
        assert_eq!(text(3 << 20, None, two), "3.0 MiB  1.5 MiB/s");
        assert_eq!(text(0, Some(0), Duration::ZERO), "0.0 MiB  0.0 MiB/s");
    }
}
