//! Moves waiting messages of a queue to another one, or back to where they came from: mostly out of
//! a dead-letter queue, after what was wrong is mended.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_domain::queue::{Command, Reply};
use kontiki_filter::{Filter, Meta};
use kontiki_storage::id::Offset;
use tokio::time::Instant;

use super::envelope::ORIGINAL_QUEUE;
use super::peek::{Peeked, Standing};
use super::receipt::offset_of;
use super::{Message, misunderstood, of_queue};
use crate::catalog::Place;
use crate::core::Broker;
use crate::error::{Code, Error, Kind};

/// Messages that are looked at in one step.
const AT_ONCE: u32 = 200;

/// Which messages, and where to.
#[derive(Debug, Clone, Default)]
pub struct Redrive {
    /// The queue that they are in.
    pub queue: String,
    /// Where to; empty: to the queue that each of them came from.
    pub target: String,
    /// Only those that it matches: a CEL expression over `headers`, `key`, `body` and `meta`;
    /// empty: all.
    pub filter: String,
    /// Messages in a second at most; 0: as many as go.
    pub per_second: u32,
    /// Messages at most; 0: any number.
    pub max: u64,
    /// Only count.
    pub dry_run: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were looked at.
    pub examined: u64,
    /// Those of them that are moved, or would be.
    pub moved: u64,
    /// Those that can't be moved: nobody knows where they came from, or that queue is gone.
    pub stranded: u64,
    /// Those on which the filter could not be evaluated.
    pub filter_errors: u64,
    /// There is no more.
    pub done: bool,
}

/// A redrive under way. Whoever drops it ends it: what was moved stays moved.
pub struct Redriving {
    broker: Broker,
    redrive: Redrive,
    place: Place,
    filter: Option<Filter>,
    from: u64,
    end: u64,
    progress: Progress,
    begun: Instant,
}

impl Broker {
    /// Prepares a redrive of the messages that wait in a queue now.
    ///
    /// # Errors
    /// No such queue (either of them), a filter that can't be compiled, or no leader in time.
    pub async fn redrive(&self, redrive: Redrive) -> Result<Redriving, Error> {
        let core = &self.0;
        let (place, _) = core.queue(&redrive.queue)?;
        if !redrive.target.is_empty() {
            core.queue(&redrive.target)?;
            if redrive.target == redrive.queue {
                let expected = "another queue than the one that the messages are in";
                return Err(Error::invalid("target", redrive.target, expected));
            }
        }
        let filter = match redrive.filter.as_str() {
            "" => None,
            text => Some(Filter::cel(text).map_err(|error| {
                Error::new(Kind::Invalid, Code::INVALID_FIELD, format!("filter: {error}"))
            })?),
        };
        let counts = core.queue_counts(&redrive.queue, place.partition, place.shard).await?;
        let end = counts.end_offset;
        Ok(Redriving {
            broker: self.clone(),
            redrive,
            place,
            filter,
            from: 0,
            end,
            progress: Progress::default(),
            begun: Instant::now(),
        })
    }
}

impl Redriving {
    /// Goes one step on; `done` is true after the last one.
    ///
    /// # Errors
    /// The queue is gone, or has no leader in time: what was moved stays moved.
    pub async fn step(&mut self) -> Result<Progress, Error> {
        if self.progress.done {
            return Ok(self.progress);
        }
        let page = self.broker.peek(&self.redrive.queue, self.from, AT_ONCE).await?;
        let Peeked { messages, next } = page;
        let mut chosen: BTreeMap<String, Vec<Offset>> = BTreeMap::new();
        for (message, standing) in messages {
            let Some(offset) = offset_of(&message.message_id) else { continue };
            if offset.0 >= self.end || self.is_enough() {
                break;
            }
            if standing != Standing::Available {
                continue;
            }
            self.progress.examined += 1;
            if let Some(target) = self.choose(&message) {
                chosen.entry(target).or_default().push(offset);
            }
        }
        for (target, offsets) in chosen {
            self.divert(target, offsets).await?;
        }
        self.from = next.unwrap_or(self.end);
        self.progress.done = self.from >= self.end || self.is_enough();
        self.keep_pace().await;
        Ok(self.progress)
    }

    fn is_enough(&self) -> bool {
        self.redrive.max > 0 && self.progress.moved >= self.redrive.max
    }

    /// Where a message goes, if it does. Counts it.
    fn choose(&mut self, message: &Message) -> Option<String> {
        if let Some(filter) = &self.filter {
            match matches(filter, &self.redrive.queue, message) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(()) => {
                    self.progress.filter_errors += 1;
                    self.broker.0.metrics.queue.filter_errors.inc();
                    return None;
                }
            }
        }
        let target = if self.redrive.target.is_empty() {
            let origin = message.headers.iter().rev().find(|one| one.name == ORIGINAL_QUEUE);
            let origin = origin.and_then(|header| header.value.as_deref());
            origin.map(|name| String::from_utf8_lossy(name).into_owned())
        } else {
            Some(self.redrive.target.clone())
        };
        let there =
            |name: &String| self.broker.0.queue(name).is_ok() && *name != self.redrive.queue;
        let target = target.filter(there);
        match &target {
            Some(_) => self.progress.moved += 1,
            None => self.progress.stranded += 1,
        }
        target
    }

    async fn divert(&mut self, target: String, offsets: Vec<Offset>) -> Result<(), Error> {
        if self.redrive.dry_run {
            return Ok(());
        }
        let core = &self.broker.0;
        let asked = offsets.len() as u64;
        let command = Command::Divert { queue: self.place.partition, offsets, target };
        let deadline = core.default_deadline();
        let reply = core.ask_queue(self.place.shard, command, Vec::new(), deadline).await;
        let reply = reply.map_err(|error| of_queue(&self.redrive.queue, error))?;
        let Reply::Diverted { messages } = reply else { return Err(misunderstood(&reply)) };
        // The others were taken by somebody else meanwhile.
        self.progress.moved -= asked - messages.min(asked);
        Ok(())
    }

    async fn keep_pace(&self) {
        let Some(ms) = (self.progress.moved * 1_000).checked_div(self.redrive.per_second.into())
        else {
            return;
        };
        if !self.progress.done {
            tokio::time::sleep_until(self.begun + Duration::from_millis(ms)).await;
        }
    }
}

struct Names<'a>(&'a Message);

impl kontiki_filter::Headers for Names<'_> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        for header in &self.0.headers {
            if let Ok(name) = std::str::from_utf8(&header.name) {
                see(name, header.value.as_deref().unwrap_or_default());
            }
        }
    }
}

fn matches(filter: &Filter, queue: &str, message: &Message) -> Result<bool, ()> {
    let meta = Meta {
        topic: queue,
        partition: 0,
        offset: offset_of(&message.message_id).map_or(0, |offset| offset.0),
        timestamp_ms: message.sent_ms,
        priority: message.priority,
        attempts: message.acquired,
    };
    let names = Names(message);
    let key = message.key.as_deref();
    let seen = kontiki_filter::Message::new(&names, key, &message.body, meta);
    filter.evaluate(&seen).map_err(|_| ())
}
