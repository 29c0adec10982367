//! Everything that happened in a run, in order: a hash of all of it, the last events for the
//! report, and a file of all of them where it is asked for.
//!
//! Two runs are the same when their hashes are: every message that was delivered (with its bytes),
//! every command that was applied, every fault, and every answer to a client is in it, with its
//! simulated time.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::check::Probe;
use crate::history::{Call, ClientId, Ms, OpId, Outcome};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Bytes arrived at the end of a connection.
    Message {
        /// Sender.
        from: Arc<str>,
        /// Receiver.
        to: Arc<str>,
        /// How many.
        bytes: usize,
        /// CRC-32C of them.
        crc: u32,
    },
    /// A replica did something.
    Probe(Probe),
    /// A fault begins, ends, or is left out; or a node starts or ends by itself.
    Fault {
        /// Its number in the plan; `None`: it follows from another.
        number: Option<usize>,
        /// Its name: `crash`, `partition`.
        name: String,
        /// To whom, how long.
        detail: String,
    },
    /// A client asks.
    Invoke {
        /// Which operation.
        op: OpId,
        /// Whose.
        client: ClientId,
        /// What.
        call: Call,
    },
    /// A client is answered.
    Return {
        /// Which operation.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A line of a node's log.
    Log {
        /// Whose.
        node: String,
        /// Level and text.
        text: String,
    },
}

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// When. A probe has a field `at` of its own, which would be in the same object.
    #[serde(rename = "ms")]
    pub at: Ms,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// How many events the report may show.
const LAST_MAX: usize = 4_000;

#[derive(Default)]
struct Inner {
    now: Ms,
    hash: Fnv,
    count: u64,
    last: VecDeque<Timed>,
    /// What the timeline shows: all but messages, applied entries and log lines.
    shown: Vec<Timed>,
    file: Option<Box<dyn Write + Send>>,
    failed: Option<std::io::Error>,
}

/// A trace in the making. Clones write into the same one.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

impl Trace {
    /// A trace that also writes each event into a file, one JSON object on each line.
    pub fn into_file(file: impl Write + Send + 'static) -> Self {
        let inner = Inner { file: Some(Box::new(file)), ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// It is so late now.
    pub fn set_now(&self, now: Ms) {
        self.lock().now = now;
    }

    /// How late it is.
    #[must_use]
    pub fn now(&self) -> Ms {
        self.lock().now
    }

    /// Something happens now.
    pub fn add(&self, event: Event) {
        let mut inner = self.lock();
        let timed = Timed { at: inner.now, event };
        let line = serde_json::to_vec(&timed).expect("events are plain data");
        inner.hash.add(&line);
        inner.count += 1;
        if let Some(file) = &mut inner.file {
            let written = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
            if let Err(error) = written {
                inner.failed.get_or_insert(error);
            }
        }
        if is_shown(&timed.event) {
            inner.shown.push(timed.clone());
        }
        if inner.last.len() == LAST_MAX {
            inner.last.pop_front();
        }
        inner.last.push_back(timed);
    }

    /// The hash of everything so far, and how many events that was.
    #[must_use]
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.hash.0, inner.count)
    }

    /// The last events.
    #[must_use]
    pub fn last(&self) -> Vec<Timed> {
        self.lock().last.iter().cloned().collect()
    }

    /// What a timeline shows.
    #[must_use]
    pub fn shown(&self) -> Vec<Timed> {
        self.lock().shown.clone()
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// The file can't be written, or could not be before.
    pub fn finish(&self) -> std::io::Result<()> {
        let mut inner = self.lock();
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        inner.file.as_mut().map_or(Ok(()), |file| file.flush())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_shown(event: &Event) -> bool {
    match event {
        Event::Fault { .. } | Event::Invoke { .. } | Event::Return { .. } => true,
        Event::Probe(probe) => !matches!(probe.deed, crate::check::Deed::Applied { .. }),
        Event::Message { .. } | Event::Log { .. } => false,
    }
}

/// FNV-1a, 64 bits: the same on every machine.
#[derive(Debug, Clone, Copy)]
pub struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Takes more bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
