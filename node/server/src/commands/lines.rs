//! The lines of the standard input.

use std::io::{self, BufRead as _};

use tokio::sync::mpsc;

/// Lines that are read ahead.
const LINES_MAX: usize = 1_024;

/// Lines, without what ends them. They are read by a thread of its own, which may hang in its read
/// when the process ends.
pub(super) fn read_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            let over = !matches!(read, Ok(1..));
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let item = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            if lines.blocking_send(item).is_err() || over {
                return;
            }
        }
    });
    receiver
}
