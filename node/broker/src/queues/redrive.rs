//! Moves waiting messages of a queue to another one, or back to where they came from: mostly out of
//! a dead-letter queue, after what was wrong is mended.
//!
//! A redrive is a task of its queue, whose state is replicated with it. The leader of the queue
//! takes it on step by step (`sift`, called by `timers::redrives`); here it is begun, looked at and
//! ended, by whatever node.

use std::time::Duration;

use bytes::Bytes;
use kontiki_domain::filter::FilterText;
pub use kontiki_domain::filter::Language;
use kontiki_domain::queue::{Command, RedriveSpec, RedriveTask, Reply};
pub use kontiki_domain::queue::{RedriveProgress as Progress, RedriveStatus as Status};

use super::{misunderstood, of_queue};
use crate::catalog::Place;
use crate::core::Broker;
use crate::error::{Code, Error, Kind};
use crate::options::bounds;
use crate::read::wire::{Request, Response};

/// Headers of the nodes that a redrive may remove.
const REMOVABLE: &str = "kontiki.dlq.";
/// How soon a redrive is looked at again by who follows it; it doubles.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);

/// Which messages, and where to.
#[derive(Debug, Clone, Default)]
pub struct Redrive {
    /// The queue that they are in.
    pub queue: String,
    /// Where to; empty: to the queue that each of them came from.
    pub target: String,
    /// Only those that it matches; empty: all.
    pub filter: String,
    /// What the filter is written in; `None`: CEL, over `headers`, `key`, `body` and `meta`.
    pub filter_kind: Option<Language>,
    /// Messages in a second at most; 0: as many as go.
    pub per_second: u32,
    /// Messages at most; 0: any number.
    pub max: u64,
    /// Only count.
    pub dry_run: bool,
    /// Headers that they get on their way, in place of those of the same names.
    pub set_headers: Vec<(String, Bytes)>,
    /// Headers that they lose on their way.
    pub remove_headers: Vec<String>,
}

/// A redrive, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its number in its queue.
    pub number: u64,
    /// What it is doing.
    pub status: Status,
    /// How far it is.
    pub progress: Progress,
    /// Where to; `None`: to the queue that each message came from.
    pub target: Option<String>,
    /// Whether it only counts.
    pub dry_run: bool,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it last changed, in milliseconds since 1970: when it ended, if it has.
    pub changed_ms: i64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A redrive that is followed.
pub struct Redriving {
    broker: Broker,
    queue: String,
    number: u64,
    known: Option<Progress>,
}

impl Broker {
    /// Begins to move the messages that wait in a queue now. Returns the number of the redrive.
    ///
    /// # Errors
    /// No such queue (either of them), a filter that can't be compiled, headers that can't be
    /// changed, another redrive of the queue that is not finished, or no leader in time.
    pub async fn start_redrive(&self, redrive: Redrive) -> Result<u64, Error> {
        let core = &self.0;
        let (place, _) = core.queue(&redrive.queue)?;
        if !redrive.target.is_empty() {
            core.queue(&redrive.target)?;
            if redrive.target == redrive.queue {
                let expected = "another queue than the one that the messages are in";
                return Err(Error::invalid("target", redrive.target, expected));
            }
        }
        let name = redrive.queue.clone();
        let command = Command::StartRedrive { queue: place.partition, spec: spec(redrive)? };
        self.ask_redrive(&name, place, command).await.map(|(number, _)| number)
    }

    /// The redrives of a queue that are remembered, the last one first: the one under way, and the
    /// last ten.
    ///
    /// # Errors
    /// No such queue, or no leader in time.
    pub async fn redrives(&self, queue: &str) -> Result<Vec<Task>, Error> {
        let core = &self.0;
        let (place, _) = core.queue(queue)?;
        let request = Request::Redrives(place.partition.0);
        let answer = core.read_shard(place.shard, &request, core.default_deadline()).await;
        let (response, _) = answer.map_err(|error| of_queue(queue, error))?;
        let Response::Redrives(tasks) = response else {
            return Err(Error::internal("a list of redrives was answered with something else"));
        };
        Ok(tasks.into_iter().rev().map(shown).collect())
    }

    /// One redrive of a queue.
    ///
    /// # Errors
    /// As [`Broker::redrives`]; there is none of that number, or it is forgotten.
    pub async fn describe_redrive(&self, queue: &str, number: u64) -> Result<Task, Error> {
        let tasks = self.redrives(queue).await?;
        let found = tasks.into_iter().find(|task| task.number == number);
        found.ok_or_else(|| {
            let detail = format!(
                "queue {queue} has no redrive {number}, or it is forgotten: the last ten are \
                 remembered"
            );
            Error::new(Kind::NotFound, Code::UNKNOWN_REDRIVE, detail)
        })
    }

    /// Ends a redrive, unless it has ended. Returns what it is doing now. What was moved stays
    /// moved.
    ///
    /// # Errors
    /// As [`Broker::describe_redrive`].
    pub async fn cancel_redrive(&self, queue: &str, number: u64) -> Result<Status, Error> {
        self.describe_redrive(queue, number).await?;
        let (place, _) = self.0.queue(queue)?;
        let command = Command::CancelRedrive { queue: place.partition, redrive: number };
        self.ask_redrive(queue, place, command).await.map(|(_, status)| status)
    }

    /// Begins a redrive, and follows it.
    ///
    /// # Errors
    /// As [`Broker::start_redrive`].
    pub async fn redrive(&self, redrive: Redrive) -> Result<Redriving, Error> {
        let queue = redrive.queue.clone();
        let number = self.start_redrive(redrive).await?;
        Ok(Redriving { broker: self.clone(), queue, number, known: None })
    }

    async fn ask_redrive(
        &self,
        name: &str,
        place: Place,
        command: Command,
    ) -> Result<(u64, Status), Error> {
        let core = &self.0;
        let deadline = core.default_deadline();
        let reply = core.ask_queue(place.shard, command, Vec::new(), deadline).await;
        let reply = reply.map_err(|error| of_queue(name, error))?;
        let Reply::Redriving { redrive, status, .. } = reply else {
            return Err(misunderstood(&reply));
        };
        Ok((redrive, status))
    }
}

impl Redriving {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until it is further, or done: the second is true then.
    ///
    /// # Errors
    /// It was cancelled or has failed; or nobody can be asked how far it is, and then it goes on
    /// nevertheless.
    pub async fn step(&mut self) -> Result<(Progress, bool), Error> {
        let mut pause = LOOK_AGAIN;
        loop {
            let task = self.broker.describe_redrive(&self.queue, self.number).await?;
            let ended = match task.status {
                Status::Running | Status::Cancelling => None,
                Status::Completed => return Ok((task.progress, true)),
                Status::Cancelled => Some("was cancelled".to_owned()),
                Status::Failed => Some(format!("failed ({})", task.failure.unwrap_or_default())),
            };
            if let Some(how) = ended {
                let detail = format!(
                    "redrive {} of queue {} {how} after {} messages; those stay moved",
                    self.number, self.queue, task.progress.moved
                );
                return Err(Error::new(Kind::Conflict, Code::REDRIVE_ENDED, detail));
            }
            if self.known != Some(task.progress) {
                self.known = Some(task.progress);
                return Ok((task.progress, false));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// No leader in time: it goes on.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.broker.cancel_redrive(&self.queue, self.number).await.map(drop)
    }
}

fn spec(redrive: Redrive) -> Result<RedriveSpec, Error> {
    let Redrive { target, filter, filter_kind, per_second, max, dry_run, .. } = redrive;
    let Redrive { set_headers, remove_headers, .. } = redrive;
    let filter = (!filter.is_empty()).then(|| {
        let kind = filter_kind.unwrap_or(Language::Cel);
        FilterText { language: kind, text: filter }
    });
    if let Some(filter) = &filter {
        crate::filters::compile(filter).map_err(|why| {
            Error::new(Kind::Invalid, Code::INVALID_FIELD, format!("filter: {why}"))
        })?;
    }
    let wrong =
        |field: &str, name: &String, expected: &str| Err(Error::invalid(field, name, expected));
    for (name, _) in &set_headers {
        if name.is_empty() || name.starts_with(bounds::RESERVED_PREFIX) {
            let expected = format!("a name that doesn't begin with {}", bounds::RESERVED_PREFIX);
            return wrong("the name of a header to set", name, &expected);
        }
    }
    for name in &remove_headers {
        if name.starts_with(bounds::RESERVED_PREFIX) && !name.starts_with(REMOVABLE) {
            let expected = format!("no name of the nodes' own but {REMOVABLE}*");
            return wrong("the name of a header to remove", name, &expected);
        }
    }
    let set_headers = set_headers.into_iter().map(|(name, value)| (name, value.to_vec().into()));
    Ok(RedriveSpec {
        target: (!target.is_empty()).then_some(target),
        filter,
        per_second,
        max,
        dry_run,
        set_headers: set_headers.collect(),
        remove_headers,
    })
}

fn shown((number, task): (u64, RedriveTask)) -> Task {
    let RedriveTask { spec, status, progress, started_ms, changed_ms, failure, .. } = task;
    let RedriveSpec { target, dry_run, .. } = spec;
    Task { number, status, progress, target, dry_run, started_ms, changed_ms, failure }
}
