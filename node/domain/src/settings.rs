//! What can be chosen for a topic: each setting with its unit, default and bounds.
//!
//! A topic keeps only what somebody chose ([`Overrides`]); what is in force ([`Settings`]) is
//! computed from it and travels whole to the partitions, so that a default that changes in a
//! later release changes no partition by itself.

mod bounds;
mod choices;

use minicbor::{Decode, Encode};

pub use self::bounds::MOVED_BYTES_MAX;
pub use self::choices::{
    CleanupPolicy, Compression, CompressionPolicy, Durability, SettingName, TimestampType,
};
use crate::rejection::Rejection;

/// "No limit", for the settings that have this choice.
pub const UNLIMITED: i64 = -1;

/// Every setting of a topic and of its partitions, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settings {
    /// Batches whose newest record is older than this are removed; milliseconds, -1 = never.
    #[n(0)]
    pub retention_ms: i64,
    /// The oldest batches are removed while at least this many bytes remain; -1 = never.
    #[n(1)]
    pub retention_bytes: i64,
    /// Largest record batch that an append may carry, in bytes as stored (compressed). What one
    /// queue hands to another may have [`MOVED_BYTES_MAX`].
    #[n(2)]
    pub message_bytes_max: u32,
    /// When a write is acknowledged. Acted on by the broker; the state machine only keeps it.
    #[n(3)]
    pub durability: Durability,
    /// Which compression stored batches may have.
    #[n(4)]
    pub compression: CompressionPolicy,
    /// Whose clock the timestamps of records come from.
    #[n(5)]
    pub timestamp_type: TimestampType,
    /// How old records leave the log.
    #[n(6)]
    pub cleanup_policy: CleanupPolicy,
    /// How long an idle producer's sequence state is kept, in milliseconds.
    #[n(7)]
    pub producer_expiry_ms: i64,
    /// How many producers' sequence states a partition keeps; the oldest leave first.
    #[n(8)]
    pub producers_max: u32,
    /// How far a record's timestamp may be ahead of the append time, in milliseconds, -1 = any.
    /// One timestamp far in the future would keep everything behind it from expiring.
    #[n(9)]
    pub timestamp_ahead_ms_max: i64,
    /// How far a record's timestamp may be behind the append time, in milliseconds, -1 = any.
    #[n(10)]
    pub timestamp_behind_ms_max: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: UNLIMITED,
            message_bytes_max: 1_048_588,
            durability: Durability::QuorumFsync,
            compression: CompressionPolicy::Producer,
            timestamp_type: TimestampType::Create,
            cleanup_policy: CleanupPolicy::Delete,
            producer_expiry_ms: 7 * 24 * 3_600_000,
            producers_max: 5_000,
            timestamp_ahead_ms_max: 3_600_000,
            timestamp_behind_ms_max: UNLIMITED,
        }
    }
}

impl Settings {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`Rejection::InvalidSetting`] names the first one outside; settings that exist but are
    /// not offered yet are [`Rejection::UnsupportedSetting`].
    pub fn validate(&self) -> Result<(), Rejection> {
        bounds::validate(self)
    }
}

/// What somebody chose for a topic; `None` stands for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Overrides {
    /// See [`Settings::retention_ms`].
    #[n(0)]
    pub retention_ms: Option<i64>,
    /// See [`Settings::retention_bytes`].
    #[n(1)]
    pub retention_bytes: Option<i64>,
    /// See [`Settings::message_bytes_max`].
    #[n(2)]
    pub message_bytes_max: Option<u32>,
    /// See [`Settings::durability`].
    #[n(3)]
    pub durability: Option<Durability>,
    /// See [`Settings::compression`].
    #[n(4)]
    pub compression: Option<CompressionPolicy>,
    /// See [`Settings::timestamp_type`].
    #[n(5)]
    pub timestamp_type: Option<TimestampType>,
    /// See [`Settings::cleanup_policy`].
    #[n(6)]
    pub cleanup_policy: Option<CleanupPolicy>,
    /// See [`Settings::producer_expiry_ms`].
    #[n(7)]
    pub producer_expiry_ms: Option<i64>,
    /// See [`Settings::producers_max`].
    #[n(8)]
    pub producers_max: Option<u32>,
    /// See [`Settings::timestamp_ahead_ms_max`].
    #[n(9)]
    pub timestamp_ahead_ms_max: Option<i64>,
    /// See [`Settings::timestamp_behind_ms_max`].
    #[n(10)]
    pub timestamp_behind_ms_max: Option<i64>,
}

/// Runs a macro over every field, so that a new setting is added in one place and missed in none.
macro_rules! each_setting {
    ($apply:ident) => {
        $apply!(
            (retention_ms, RetentionMs),
            (retention_bytes, RetentionBytes),
            (message_bytes_max, MessageBytesMax),
            (durability, Durability),
            (compression, Compression),
            (timestamp_type, TimestampType),
            (cleanup_policy, CleanupPolicy),
            (producer_expiry_ms, ProducerExpiryMs),
            (producers_max, ProducersMax),
            (timestamp_ahead_ms_max, TimestampAheadMsMax),
            (timestamp_behind_ms_max, TimestampBehindMsMax)
        )
    };
}

impl Overrides {
    /// What is in force: the choices where there are any, the defaults elsewhere.
    pub fn effective(&self) -> Settings {
        let defaults = Settings::default();
        macro_rules! build {
            ($(($field:ident, $name:ident)),+) => {
                Settings { $($field: self.$field.unwrap_or(defaults.$field)),+ }
            };
        }
        each_setting!(build)
    }

    /// Takes over every choice that `set` makes.
    pub fn set(&mut self, set: &Overrides) {
        macro_rules! merge {
            ($(($field:ident, $name:ident)),+) => {
                $(if set.$field.is_some() { self.$field = set.$field; })+
            };
        }
        each_setting!(merge);
    }

    /// Forgets the choice made for `name`: the default is in force again.
    pub fn reset(&mut self, name: SettingName) {
        macro_rules! clear {
            ($(($field:ident, $name:ident)),+) => {
                match name { $(SettingName::$name => self.$field = None),+ }
            };
        }
        each_setting!(clear);
    }

    /// Whether somebody chose `name`.
    pub fn is_set(&self, name: SettingName) -> bool {
        macro_rules! ask {
            ($(($field:ident, $name:ident)),+) => {
                match name { $(SettingName::$name => self.$field.is_some()),+ }
            };
        }
        each_setting!(ask)
    }
}

#[cfg(test)]
mod tests;
