//! One step of a redrive, on the leader of its queue: which of the next messages go where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_domain::queue::read as queues;
use kontiki_domain::queue::{
    Command, RedriveMove, RedriveProgress, RedriveSpec, RedriveStatus, RedriveStep, RedriveTask,
    Reply, redrive_limits as limits,
};
use kontiki_filter::{Evaluation, Filter, Meta};
use kontiki_raft::Shard;
use kontiki_storage::id::{Offset, PartitionId};

use super::envelope::ORIGINAL_QUEUE;
use super::peek::{Peeked, Standing};
use super::receipt::offset_of;
use super::{Message, misunderstood};
use crate::core::Core;
use crate::error::{Error, Kind};
use crate::filters::{self, Named, Turn};
use crate::options::bounds;

/// Messages that are looked at in one step.
const AT_ONCE: u32 = 200;

/// Takes the redrive of a queue one step on, if one is under way. Returns when to go on; `None`:
/// there is nothing to do.
///
/// # Errors
/// Nothing that lasts: the same step is to be tried again.
pub(crate) async fn go_on(
    core: &Arc<Core>,
    shard: &Shard,
    queue: PartitionId,
) -> Result<Option<Duration>, Error> {
    let name = core.catalog.look(|catalog| {
        let topic = catalog.partition(queue).and_then(|found| catalog.topic(found.topic));
        topic.map(|topic| topic.name.clone())
    });
    // It is being deleted, or this node's catalog doesn't know it yet.
    let Some(name) = name else { return Ok(None) };
    let (view, space) = shard.view();
    let tasks = queues::redrives(view.as_ref(), space, queue)?;
    drop(view);
    let found = tasks.into_iter().rev().find(|(_, task)| task.status.is_under_way());
    let Some((number, task)) = found else { return Ok(None) };
    let left_ms = task.not_before_ms.saturating_sub(shard.time_ms());
    if task.status == RedriveStatus::Running && left_ms > 0 {
        return Ok(Some(Duration::from_millis(left_ms.unsigned_abs())));
    }
    let step = match task.status {
        // The step after a cancellation ends the task, whatever it is.
        RedriveStatus::Cancelling => nothing(number, &task),
        RedriveStatus::Running
        | RedriveStatus::Completed
        | RedriveStatus::Cancelled
        | RedriveStatus::Failed => next(core, shard, (queue, &name), number, &task).await?,
    };
    core.metrics.queue.filter_errors.inc_by(step.counted.filter_errors);
    let command = Command::StepRedrive { queue, step };
    let reply = core.ask_queue(shard.id(), command, Vec::new(), core.default_deadline()).await?;
    let Reply::Redriving { status, .. } = reply else { return Err(misunderstood(&reply)) };
    Ok(status.is_under_way().then_some(Duration::ZERO))
}

fn nothing(redrive: u64, task: &RedriveTask) -> RedriveStep {
    RedriveStep {
        redrive,
        from: task.position,
        to: Offset(task.position.0.saturating_add(1)),
        counted: RedriveProgress::default(),
        moves: Vec::new(),
        failure: None,
    }
}

async fn next(
    core: &Arc<Core>,
    shard: &Shard,
    (queue, name): (PartitionId, &str),
    redrive: u64,
    task: &RedriveTask,
) -> Result<RedriveStep, Error> {
    let failed = |why: String| {
        let why = why.chars().take(limits::FAILURE_BYTES_MAX / 4).collect();
        Ok(RedriveStep { failure: Some(why), ..nothing(redrive, task) })
    };
    let filter = match task.spec.filter.as_ref().map(filters::compile).transpose() {
        Ok(filter) => filter,
        Err(why) => return failed(format!("filter: {why}")),
    };
    if let Some(target) = &task.spec.target
        && let Err(error) = core.queue(target)
    {
        // Unless only this node's copy of the catalog doesn't know it.
        match core.known_topic(target, core.default_deadline(), |_| ()).await {
            Err(gone) if gone.kind == Kind::NotFound => return failed(error.detail),
            Err(other) => return Err(other),
            Ok(()) => {
                core.queue(target)?;
            }
        }
    }
    let page = core.peek(shard.id(), queue, task.position.0, AT_ONCE).await?;
    let mut sieve = Sieve {
        core,
        name,
        spec: &task.spec,
        screen: Screen { filter, turn: Turn::default() },
        counted: RedriveProgress::default(),
        moves: BTreeMap::new(),
    };
    let to = sieve.sift(task, page).await;
    let Sieve { mut counted, moves, .. } = sieve;
    if !task.spec.dry_run {
        // The queue itself counts what is still there.
        counted.moved = 0;
    }
    let to = Offset(to.max(task.position.0.saturating_add(1)));
    let moves = moves.into_iter().map(|(target, offsets)| RedriveMove { target, offsets });
    let moves = if task.spec.dry_run { Vec::new() } else { moves.collect() };
    Ok(RedriveStep { redrive, from: task.position, to, counted, moves, failure: None })
}

struct Sieve<'a> {
    core: &'a Core,
    name: &'a str,
    spec: &'a RedriveSpec,
    screen: Screen,
    counted: RedriveProgress,
    moves: BTreeMap<String, Vec<Offset>>,
}

/// The filter of a redrive, with the time that it has.
struct Screen {
    filter: Option<Filter>,
    turn: Turn,
}

impl Sieve<'_> {
    /// Goes through a page, as far as the task's limits and rate let it. Returns where to go on.
    async fn sift(&mut self, task: &RedriveTask, page: Peeked) -> u64 {
        let left = match self.spec.max {
            0 => u64::MAX,
            max => max.saturating_sub(task.progress.moved),
        };
        // No more than a second's worth at a time.
        let share = match self.spec.per_second {
            0 => u64::MAX,
            per_second => per_second.into(),
        };
        let Peeked { messages, next } = page;
        let mut passed = task.position.0;
        for (message, standing) in messages {
            let Some(offset) = offset_of(&message.message_id) else { continue };
            if offset >= task.end {
                return task.end.0;
            }
            if self.counted.moved >= left.min(share) {
                return passed;
            }
            passed = offset.0 + 1;
            if standing != Standing::Available {
                continue;
            }
            self.counted.examined += 1;
            let matches = self.screen.matches(self.name, &message).await;
            self.counted.filter_errors += u64::from(matches.is_err());
            if matches == Ok(true)
                && let Some(target) = self.choose(&message)
            {
                self.moves.entry(target).or_default().push(offset);
            }
        }
        next.map_or(task.end.0, |next| next.min(task.end.0))
    }

    /// Where a message goes, if it does. Counts it.
    fn choose(&mut self, message: &Message) -> Option<String> {
        let target = self.spec.target.clone().or_else(|| {
            let origin = message.headers.iter().rev().find(|one| one.name == ORIGINAL_QUEUE);
            let origin = origin.and_then(|header| header.value.as_deref());
            origin.map(|name| String::from_utf8_lossy(name).into_owned())
        });
        let target = target.filter(|name| self.takes(name, message));
        match &target {
            Some(_) => self.counted.moved += 1,
            None => self.counted.stranded += 1,
        }
        target
    }

    /// Whether a queue is there, is another one, and takes messages as large as this was when it
    /// was sent, and with what the redrive adds. What nodes have added doesn't count.
    fn takes(&self, target: &str, message: &Message) -> bool {
        if target == self.name {
            return false;
        }
        let Ok((place, _)) = self.core.queue(target) else { return false };
        let limit = self.core.settings_of(place.topic).message_bytes_max as usize;
        let set = self.spec.set_headers.iter().map(|(name, value)| name.len() + value.len());
        let reserved = bounds::RESERVED_PREFIX.as_bytes();
        let own = (message.headers.iter())
            .filter(|one| !one.name.starts_with(reserved))
            .map(|one| one.name.len() + one.value.as_ref().map_or(0, bytes::Bytes::len));
        let key = message.key.as_ref().map_or(0, bytes::Bytes::len);
        let bytes = message.body.len() + key + set.chain(own).sum::<usize>();
        bytes <= limit
    }
}

impl Screen {
    /// Whether a message is to be moved, if the filter can tell.
    async fn matches(&mut self, queue: &str, message: &Message) -> Result<bool, ()> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let Evaluation { matches, steps } = evaluate(filter, queue, message);
        self.turn.worked(steps).await;
        matches.map_err(|_| ())
    }
}

fn evaluate(filter: &Filter, queue: &str, message: &Message) -> Evaluation {
    let meta = Meta {
        topic: queue,
        partition: 0,
        offset: offset_of(&message.message_id).map_or(0, |offset| offset.0),
        timestamp_ms: message.sent_ms,
        priority: message.priority,
        attempts: message.acquired,
    };
    let names = Named(&message.headers);
    let key = message.key.as_deref();
    let seen = kontiki_filter::Message::new(&names, key, &message.body, meta);
    filter.evaluate_counted(&seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::counting_yields;

    fn message(body: &str) -> Message {
        Message {
            message_id: "1-1".to_owned(),
            receipt: String::new(),
            key: None,
            body: body.to_owned().into(),
            headers: Vec::new(),
            sent_ms: 0,
            acquired: 0,
            failed: 0,
            lease_until_ms: 0,
            group: String::new(),
            priority: 0,
        }
    }

    /// What it says of so many messages, and how often it lets others have the thread meanwhile.
    async fn screened(filter: &str, body: &str, count: usize) -> (Vec<Result<bool, ()>>, u64) {
        let filter = Filter::cel(filter).expect("it compiles");
        let mut screen = Screen { filter: Some(filter), turn: Turn::default() };
        let message = message(body);
        let all = async {
            let mut all = Vec::new();
            for _ in 0..count {
                all.push(screen.matches("dead", &message).await);
            }
            all
        };
        counting_yields(all).await
    }

    #[tokio::test]
    async fn a_costly_filter_lets_others_have_the_thread() {
        let filter = "body.l.all(x, body.l.all(y, x + y > 0))";
        let body = |count: usize| format!("{{\"l\": [{}]}}", vec!["1"; count].join(","));
        assert_eq!(screened(filter, &body(80), 20).await, (vec![Ok(true); 20], 20));
        // It fails where it costs too much.
        assert_eq!(screened(filter, &body(800), 3).await, (vec![Err(()); 3], 3));
        assert_eq!(screened(filter, &body(2), 20).await, (vec![Ok(true); 20], 0));
    }
}
