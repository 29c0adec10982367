//! Which partition is read at which node, and what happens when that fails: one task for each
//! consumer.
//!
//! It never waits for a reader or for the application: a reader that has no room for an order gets
//! it a little later, a failure waits until the application's queue has room.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use v1::ErrorKind;

use super::reader::{Event, ORDERS_MAX, Order, Reader};
use super::{ConsumerOptions, Item, Key, OutOfRange, Position, offsets};
use crate::backoff::Backoff;
use crate::error::code;
use crate::{Client, Error};

/// Assignments on their way to the driver.
pub(crate) const COMMANDS_MAX: usize = 64;
/// What readers have to say.
const EVENTS_MAX: usize = 256;
/// How often a topic may be unknown before that is believed: a node that has just started may not
/// have heard of it yet.
const NOT_FOUND_MAX: u32 = 4;
/// How long finding out about a leader or an offset may hold the others up.
const LOOKUP_MAX: Duration = Duration::from_secs(3);
/// When a reader had no room for an order.
const AGAIN: Duration = Duration::from_millis(10);
/// How often is looked whether a partition is read at its leader.
const REVIEW: Duration = Duration::from_secs(5);

/// What the consumer asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Assign { key: Key, generation: u64, offset: u64 },
    Unassign { key: Key },
}

/// Where a partition is.
#[derive(Debug)]
enum Place {
    /// To be read from then on.
    Wanted(Instant),
    /// Read at this node.
    At(Arc<str>),
}

#[derive(Debug)]
struct Part {
    generation: u64,
    offset: u64,
    place: Place,
    backoff: Backoff,
    failing_since: Option<Instant>,
    not_found: u32,
    /// The offset has to be looked up first.
    reset: Option<Position>,
    /// Nodes that could not serve it are passed over.
    shunned: Option<Arc<str>>,
}

#[derive(Debug)]
struct Handle {
    id: u64,
    orders: mpsc::Sender<Order>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Driver {
    client: Client,
    options: ConsumerOptions,
    commands: mpsc::Receiver<Command>,
    items: mpsc::Sender<Item>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    parts: HashMap<Key, Part>,
    readers: HashMap<Arc<str>, Handle>,
    next_reader: u64,
    /// One for each partition at most.
    failures: VecDeque<Item>,
}

impl Driver {
    pub(crate) fn new(
        client: Client,
        options: ConsumerOptions,
        commands: mpsc::Receiver<Command>,
        items: mpsc::Sender<Item>,
    ) -> Self {
        Self {
            client,
            options,
            commands,
            items,
            events: mpsc::channel(EVENTS_MAX),
            parts: HashMap::new(),
            readers: HashMap::new(),
            next_reader: 0,
            failures: VecDeque::new(),
        }
    }

    /// Runs until the consumer is gone.
    pub(crate) async fn run(mut self) {
        let mut review = tokio::time::interval(REVIEW);
        loop {
            self.place_wanted().await;
            let next = self.next_wanted();
            let at = next.unwrap_or_else(Instant::now);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                event = self.events.1.recv() => {
                    self.take(event.expect("this task holds a sender itself"));
                }
                room = self.items.clone().reserve_owned(), if !self.failures.is_empty() => {
                    let Ok(room) = room else { return };
                    if let Some(failure) = self.failures.pop_front() {
                        room.send(failure);
                    }
                    continue;
                }
                _ = review.tick() => self.review(),
                () = tokio::time::sleep_until(at), if next.is_some() => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let (key, assignment) = match command {
            Command::Assign { key, generation, offset } => (key, Some((generation, offset))),
            Command::Unassign { key } => (key, None),
        };
        let former = self.parts.remove(&key);
        if let Some(Part { generation, place: Place::At(address), .. }) = former {
            // If there is no room for the order, what comes is passed over.
            self.order(&address, Order::Close { key: key.clone(), generation });
        }
        self.failures.retain(|item| match item {
            Item::Failed { key: its, .. } => *its != key,
            Item::Fetched { .. } => true,
        });
        if let Some((generation, offset)) = assignment {
            let part = Part {
                generation,
                offset,
                place: Place::Wanted(Instant::now()),
                backoff: Backoff::new(self.client.options()),
                failing_since: None,
                not_found: 0,
                reset: None,
                shunned: None,
            };
            self.parts.insert(key, part);
        }
    }

    fn take(&mut self, event: Event) {
        let (key, generation, next, error) = match event {
            Event::Gone { address, id } => {
                if self.readers.get(&address).is_some_and(|reader| reader.id == id) {
                    self.readers.remove(&address);
                }
                return;
            }
            Event::Off { key, generation, next, error } => (key, generation, next, error),
        };
        let Some(part) = self.parts.get_mut(&key) else { return };
        if part.generation != generation {
            return;
        }
        if next > part.offset {
            part.offset = next;
            part.backoff.reset();
            part.failing_since = None;
            part.not_found = 0;
            part.shunned = None;
        }
        match error {
            None => part.place = Place::Wanted(Instant::now()),
            Some(error) => self.failed(key, error),
        }
    }

    /// A partition can't be read: now, or at all.
    fn failed(&mut self, key: Key, error: Error) {
        let Some(part) = self.parts.get_mut(&key) else { return };
        if let Place::At(address) = &part.place {
            let cache = self.client.cache();
            match &error.leader {
                Some(leader) if error.kind == ErrorKind::NotLeader => {
                    cache.learn_leader(&key.0, key.1, leader);
                }
                _ => cache.forget_leader(&key.0, key.1, address),
            }
            part.shunned = Some(address.clone());
        }
        part.not_found += u32::from(error.kind == ErrorKind::NotFound);
        let position = match self.options.on_out_of_range {
            OutOfRange::Error => None,
            OutOfRange::Earliest => Some(Position::Earliest),
            OutOfRange::Latest => Some(Position::Latest),
        };
        let out_of_range = error.code == code::OFFSET_OUT_OF_RANGE;
        let may_pass = match error.kind {
            ErrorKind::NotFound if out_of_range => position.is_some(),
            ErrorKind::NotFound => part.not_found <= NOT_FOUND_MAX,
            // A fault of one node: another may have what this one lacks.
            ErrorKind::Internal => true,
            ErrorKind::Unspecified
            | ErrorKind::Invalid
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Fenced
            | ErrorKind::Conflict
            | ErrorKind::NotLeader
            | ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Unknown => error.is_retriable(),
        };
        let generation = part.generation;
        if !may_pass {
            self.parts.remove(&key);
            self.failures.push_back(Item::Failed { key, generation, error, is_final: true });
            return;
        }
        if out_of_range {
            part.reset = position;
        }
        let now = Instant::now();
        part.place = Place::Wanted(now + part.backoff.next(error.retry_after_ms));
        let since = *part.failing_since.get_or_insert(now);
        let patience = Duration::from_millis(self.client.options().retry_timeout_ms);
        if now.duration_since(since) > patience {
            part.failing_since = None;
            self.failures.push_back(Item::Failed { key, generation, error, is_final: false });
        }
    }

    fn next_wanted(&self) -> Option<Instant> {
        let wanted = self.parts.values().filter_map(|part| match part.place {
            Place::Wanted(at) => Some(at),
            Place::At(_) => None,
        });
        wanted.min()
    }

    /// Finds a node for each partition whose time has come.
    async fn place_wanted(&mut self) {
        let now = Instant::now();
        let is_due = |part: &Part| matches!(part.place, Place::Wanted(at) if at <= now);
        let due: Vec<Key> = self
            .parts
            .iter()
            .filter(|(_, part)| is_due(part))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.learn_about(&key).await;
            let Some(part) = self.parts.get_mut(&key) else { continue };
            if let Some(position) = part.reset {
                let finding = offsets::find(&self.client, &key.0, key.1, position);
                match tokio::time::timeout(LOOKUP_MAX, finding).await {
                    Ok(Ok(offset)) => {
                        part.offset = offset;
                        part.reset = None;
                    }
                    Ok(Err(error)) => {
                        self.failed(key, error);
                        continue;
                    }
                    Err(_) => {
                        let message = format!("the offsets of {}/{} are not known", key.0, key.1);
                        self.failed(key, Error::new(ErrorKind::Unavailable, message));
                        continue;
                    }
                }
            }
            let Some(part) = self.parts.get(&key) else { continue };
            let (generation, offset) = (part.generation, part.offset);
            let address = self.node_for(&key, part);
            let told = self.order(&address, Order::Open { key: key.clone(), generation, offset });
            if let Some(part) = self.parts.get_mut(&key) {
                part.place =
                    if told { Place::At(address) } else { Place::Wanted(Instant::now() + AGAIN) };
            }
        }
    }

    /// Asks who leads, where that isn't known.
    async fn learn_about(&self, key: &Key) {
        let cache = self.client.cache();
        if cache.leader(&key.0, key.1).is_some() && !cache.is_stale(&key.0)
            || !cache.is_older(&key.0, Duration::from_millis(100))
        {
            return;
        }
        let asked = tokio::time::timeout(LOOKUP_MAX, self.client.refresh(&key.0)).await;
        if asked.is_err() {
            // Whoever was asked first holds the others up.
            cache.candidates().first().inspect(|first| cache.avoid(first));
        }
    }

    /// The leader; where it isn't known or has just failed, another node, which passes on.
    fn node_for(&self, key: &Key, part: &Part) -> Arc<str> {
        let cache = self.client.cache();
        let is_shunned = |address: &Arc<str>| part.shunned.as_ref() == Some(address);
        if let Some(leader) = cache.leader(&key.0, key.1).filter(|its| !is_shunned(its)) {
            return leader;
        }
        let candidates = cache.candidates();
        let other = candidates.iter().find(|address| !is_shunned(address));
        other.or(candidates.first()).expect("there is at least one bootstrap address").clone()
    }

    /// Tells a reader something; false if it has no room for it.
    fn order(&mut self, address: &Arc<str>, order: Order) -> bool {
        let is_open = matches!(order, Order::Open { .. });
        let ended = self.readers.get(address).is_none_or(|reader| reader.orders.is_closed());
        if ended && !is_open {
            return true;
        }
        if ended {
            let reader = self.start_reader(address);
            self.readers.insert(address.clone(), reader);
        }
        let reader = self.readers.get(address).expect("it was put there");
        reader.orders.try_send(order).is_ok()
    }

    fn start_reader(&mut self, address: &Arc<str>) -> Handle {
        let id = self.next_reader;
        self.next_reader += 1;
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let reader = Reader {
            client: self.client.clone(),
            address: address.clone(),
            id,
            options: self.options.clone(),
            orders: receiver,
            events: self.events.0.clone(),
            items: self.items.clone(),
        };
        tokio::spawn(reader.run());
        Handle { id, orders }
    }

    /// Moves partitions that are read elsewhere to their leaders.
    fn review(&mut self) {
        let mut moves = Vec::new();
        let mut stale = None;
        for (key, part) in &mut self.parts {
            let Place::At(address) = &part.place else { continue };
            part.shunned = None;
            let cache = self.client.cache();
            let leader = cache.leader(&key.0, key.1);
            if leader.as_ref() != Some(address) && cache.is_older(&key.0, REVIEW / 2)
                || cache.is_stale(&key.0)
            {
                stale = Some(key.0.clone());
            }
            if leader.is_some_and(|leader| leader != *address) {
                moves.push((address.clone(), key.clone(), part.generation));
            }
        }
        stale.inspect(|topic| self.client.refresh_soon(topic));
        for (address, key, generation) in moves {
            self.order(&address, Order::Close { key, generation });
        }
    }
}
