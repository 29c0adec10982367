//! A shard for tests: the machine, rows in a map, and scripts that a person can read.

mod catalog;
mod partition;
mod rows;
mod subscriptions;
mod words;

use bytes::Bytes;
use kontiki_storage::WriteBatch;
use kontiki_storage::id::{LogIndex, ShardId};
use kontiki_storage::key::Space;
use kontiki_storage::payload::PayloadRef;

pub(crate) use self::catalog::spec;
pub(crate) use self::rows::Rows;
pub(crate) use self::words::Words;
use crate::effect::Effect;
use crate::hash::state_hash;
use crate::shard::{Command, Outcome, ShardMachine, decode_outcome};
use crate::stamp::Stamp;

/// When the rows of a command reach the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only when somebody reads: many commands share one batch.
    Late,
    /// At once, and the machine is loaded from its rows again.
    Reload,
}

pub(crate) struct Shard {
    pub space: Space,
    pub machine: ShardMachine,
    pub rows: Rows,
    pub batch: WriteBatch,
    pub effects: Vec<Effect>,
    pub stamp: Stamp,
    /// Gives each stored payload its own place.
    pub stored: u32,
}

impl Shard {
    pub(crate) fn new(shard: u32) -> Self {
        let space = Space::first(ShardId(shard));
        let rows = Rows::default();
        Self {
            space,
            machine: ShardMachine::load(&rows, space).unwrap(),
            rows,
            batch: WriteBatch::new(),
            effects: Vec::new(),
            stamp: Stamp { index: LogIndex(0), term: 1, time_ms: 1_000 },
            stored: 0,
        }
    }

    pub(crate) fn apply(
        &mut self,
        command: impl Into<Command>,
        payloads: &[PayloadRef],
    ) -> Outcome {
        decode_outcome(&self.apply_bytes(&command.into().encode(), payloads)).unwrap()
    }

    pub(crate) fn apply_bytes(&mut self, command: &[u8], payloads: &[PayloadRef]) -> Bytes {
        self.stamp.index.0 += 1;
        let Self { machine, rows, batch, effects, stamp, .. } = self;
        machine.apply(rows, *stamp, command, payloads, batch, effects).unwrap()
    }

    pub(crate) fn write(&mut self) {
        self.rows.write(std::mem::take(&mut self.batch));
    }

    pub(crate) fn reload(&mut self) {
        self.write();
        let loaded = ShardMachine::load(&self.rows, self.space).unwrap();
        match (&loaded, &self.machine) {
            (ShardMachine::Catalog(loaded), ShardMachine::Catalog(known)) => {
                assert_eq!(loaded, known, "the rows tell another story than the machine");
            }
            (ShardMachine::Partitions(loaded), ShardMachine::Partitions(known)) => {
                assert!(loaded.same(known), "the rows tell another story than the machine");
            }
            (ShardMachine::Catalog(_) | ShardMachine::Partitions(_), _) => panic!("other kind"),
        }
        self.machine = loaded;
    }

    pub(crate) fn hash(&mut self) -> u64 {
        self.write();
        state_hash(&self.rows, self.space).unwrap()
    }
}

/// Runs a script on a shard and compares what it says with what happened. Lines that begin with
/// `>` are commands, those that follow are the answer; `#` begins a comment.
pub(crate) fn script(shard: u32, name: &str, text: &str) {
    let late = run(shard, text, Mode::Late);
    let reload = run(shard, text, Mode::Reload);
    assert_eq!(late.1, reload.1, "{name}: another state when loaded after each command");
    assert_eq!(late.0, reload.0, "{name}: other answers when loaded after each command");
    let wanted: String = text.lines().map(|line| format!("{line}\n")).collect();
    assert!(late.0 == wanted, "{name}: what happened is\n\n{}\n", late.0);
}

fn run(shard: u32, text: &str, mode: Mode) -> (String, u64) {
    let mut shard = Shard::new(shard);
    let mut transcript = String::new();
    for line in text.lines() {
        let Some(command) = line.strip_prefix("> ") else {
            if line.is_empty() || line.starts_with('#') {
                transcript += &format!("{line}\n");
            }
            continue;
        };
        transcript += &format!("{line}\n");
        for answer in step(&mut shard, &Words::parse(command)) {
            transcript += &format!("{answer}\n");
        }
        if mode == Mode::Reload {
            shard.reload();
        }
    }
    let hash = shard.hash();
    (transcript, hash)
}

pub(crate) fn step(shard: &mut Shard, words: &Words<'_>) -> Vec<String> {
    if words.verb == "at" {
        shard.stamp.time_ms = words.number("time").unwrap_or(shard.stamp.time_ms);
        shard.stamp.term = words.number("term").unwrap_or(shard.stamp.term);
        return Vec::new();
    }
    let mut answers = if shard.space.shard == ShardId::CATALOG {
        catalog::step(shard, words)
    } else {
        partition::step(shard, words)
    };
    answers.extend(shard.effects.drain(..).map(|effect| format!("  effect {effect:?}")));
    answers
}

fn refused(rejection: &crate::Rejection) -> Vec<String> {
    vec![format!("refused {}: {rejection}", rejection.code())]
}
