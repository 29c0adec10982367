//! The bounds of each setting.

use super::{CleanupPolicy, SettingName, Settings, UNLIMITED};
use crate::rejection::Rejection;

/// Room for a batch header and a record that is worth one.
const MESSAGE_BYTES_MAX_MIN: i64 = 1_024;
/// A record batch travels in one Raft message; larger values belong elsewhere.
const MESSAGE_BYTES_MAX_MAX: i64 = 64 << 20;
/// The largest record batch that a queue takes from another one, whatever its own
/// `message_bytes_max`: its messages were taken by a queue before, and what the nodes tell about
/// them on their way needs room as well.
pub const MOVED_BYTES_MAX: u32 = (64 << 20) + (32 << 10);
/// Below this a producer that merely pauses would lose its sequence.
const PRODUCER_EXPIRY_MS_MIN: i64 = 60_000;
/// When each producer last appended is held in memory.
const PRODUCERS_MAX_MAX: i64 = 50_000;

pub(super) fn validate(settings: &Settings) -> Result<(), Rejection> {
    let limit = i64::MAX;
    within(SettingName::RetentionMs, settings.retention_ms, UNLIMITED, limit)?;
    within(SettingName::RetentionBytes, settings.retention_bytes, UNLIMITED, limit)?;
    within(
        SettingName::MessageBytesMax,
        i64::from(settings.message_bytes_max),
        MESSAGE_BYTES_MAX_MIN,
        MESSAGE_BYTES_MAX_MAX,
    )?;
    within(
        SettingName::ProducerExpiryMs,
        settings.producer_expiry_ms,
        PRODUCER_EXPIRY_MS_MIN,
        limit,
    )?;
    within(SettingName::ProducersMax, i64::from(settings.producers_max), 1, PRODUCERS_MAX_MAX)?;
    let ahead = settings.timestamp_ahead_ms_max;
    within(SettingName::TimestampAheadMsMax, ahead, UNLIMITED, limit)?;
    let behind = settings.timestamp_behind_ms_max;
    within(SettingName::TimestampBehindMsMax, behind, UNLIMITED, limit)?;
    match settings.cleanup_policy {
        CleanupPolicy::Delete => Ok(()),
        policy @ (CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete) => {
            Err(Rejection::UnsupportedSetting {
                name: SettingName::CleanupPolicy,
                value: policy.to_string(),
                offered: CleanupPolicy::Delete.to_string(),
            })
        }
    }
}

fn within(name: SettingName, value: i64, min: i64, max: i64) -> Result<(), Rejection> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::InvalidSetting { name, value, min, max })
    }
}
