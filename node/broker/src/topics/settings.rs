//! Settings as texts: what a client writes, what it is shown, and what it is told when a value
//! can't be. The bounds are those of the domain; a test compares them.

use std::collections::BTreeMap;

use kontiki_domain::settings::{
    CleanupPolicy, Compression, CompressionPolicy, Durability, Overrides, SettingName, Settings,
    TimestampType, UNLIMITED,
};

use crate::error::Error;
use crate::options::bounds;

/// Characters of a value or name that an error repeats.
const SHOWN_MAX: usize = 64;

const DURABILITY: [(&str, Durability); 3] = [
    ("quorum-fsync", Durability::QuorumFsync),
    ("quorum-memory", Durability::QuorumMemory),
    ("leader", Durability::Leader),
];

const COMPRESSION: [(&str, CompressionPolicy); 6] = [
    ("producer", CompressionPolicy::Producer),
    ("none", CompressionPolicy::Only(Compression::None)),
    ("gzip", CompressionPolicy::Only(Compression::Gzip)),
    ("snappy", CompressionPolicy::Only(Compression::Snappy)),
    ("lz4", CompressionPolicy::Only(Compression::Lz4)),
    ("zstd", CompressionPolicy::Only(Compression::Zstd)),
];

const TIMESTAMP_TYPE: [(&str, TimestampType); 2] =
    [("create-time", TimestampType::Create), ("log-append-time", TimestampType::Append)];

/// The policies that compact are known to the domain but not offered.
const CLEANUP_POLICY: [(&str, CleanupPolicy); 1] = [("delete", CleanupPolicy::Delete)];

/// Reads settings by name.
///
/// # Errors
/// The first that is unknown or can't have its value, and what it may be.
pub(crate) fn parse(settings: &BTreeMap<String, String>) -> Result<Overrides, Error> {
    check_count(settings.len())?;
    let mut overrides = Overrides::default();
    for (name, value) in settings {
        set(&mut overrides, parse_name(name)?, value)?;
    }
    overrides.effective().validate()?;
    Ok(overrides)
}

/// Reads names of settings.
///
/// # Errors
/// The first that is unknown, and those that there are.
pub(crate) fn parse_names(names: &[String]) -> Result<Vec<SettingName>, Error> {
    check_count(names.len())?;
    names.iter().map(|name| parse_name(name)).collect()
}

/// All settings by name.
pub(crate) fn show(settings: &Settings) -> BTreeMap<String, String> {
    let shown = SettingName::ALL.into_iter();
    shown.map(|name| (name.as_str().to_owned(), show_one(settings, name))).collect()
}

fn check_count(count: usize) -> Result<(), Error> {
    if count <= bounds::SETTINGS_MAX {
        return Ok(());
    }
    let expected = format!("at most {}", bounds::SETTINGS_MAX);
    Err(Error::invalid("the number of settings", count, &expected))
}

fn parse_name(text: &str) -> Result<SettingName, Error> {
    let found = SettingName::ALL.into_iter().find(|name| name.as_str() == text);
    found.ok_or_else(|| {
        let known: Vec<&str> = SettingName::ALL.iter().map(|name| name.as_str()).collect();
        let expected = format!("one of {}", known.join(", "));
        Error::invalid("the name of a setting", quoted(text), &expected)
    })
}

fn set(overrides: &mut Overrides, name: SettingName, text: &str) -> Result<(), Error> {
    match name {
        SettingName::RetentionMs => {
            overrides.retention_ms = Some(number(name, text, UNLIMITED, i64::MAX)?);
        }
        SettingName::RetentionBytes => {
            overrides.retention_bytes = Some(number(name, text, UNLIMITED, i64::MAX)?);
        }
        SettingName::MessageBytesMax => {
            let most = i64::from(bounds::BATCH_BYTES_MAX);
            overrides.message_bytes_max = Some(small(number(name, text, 1_024, most)?));
        }
        SettingName::Durability => overrides.durability = Some(word(name, text, &DURABILITY)?),
        SettingName::Compression => overrides.compression = Some(word(name, text, &COMPRESSION)?),
        SettingName::TimestampType => {
            overrides.timestamp_type = Some(word(name, text, &TIMESTAMP_TYPE)?);
        }
        SettingName::CleanupPolicy => {
            overrides.cleanup_policy = Some(word(name, text, &CLEANUP_POLICY)?);
        }
        SettingName::ProducerExpiryMs => {
            overrides.producer_expiry_ms = Some(number(name, text, 60_000, i64::MAX)?);
        }
        SettingName::ProducersMax => {
            overrides.producers_max = Some(small(number(name, text, 1, 50_000)?));
        }
        SettingName::TimestampAheadMsMax => {
            overrides.timestamp_ahead_ms_max = Some(number(name, text, UNLIMITED, i64::MAX)?);
        }
        SettingName::TimestampBehindMsMax => {
            overrides.timestamp_behind_ms_max = Some(number(name, text, UNLIMITED, i64::MAX)?);
        }
    }
    Ok(())
}

fn show_one(settings: &Settings, name: SettingName) -> String {
    match name {
        SettingName::RetentionMs => settings.retention_ms.to_string(),
        SettingName::RetentionBytes => settings.retention_bytes.to_string(),
        SettingName::MessageBytesMax => settings.message_bytes_max.to_string(),
        SettingName::Durability => word_of(&DURABILITY, settings.durability),
        SettingName::Compression => word_of(&COMPRESSION, settings.compression),
        SettingName::TimestampType => word_of(&TIMESTAMP_TYPE, settings.timestamp_type),
        SettingName::CleanupPolicy => settings.cleanup_policy.to_string(),
        SettingName::ProducerExpiryMs => settings.producer_expiry_ms.to_string(),
        SettingName::ProducersMax => settings.producers_max.to_string(),
        SettingName::TimestampAheadMsMax => settings.timestamp_ahead_ms_max.to_string(),
        SettingName::TimestampBehindMsMax => settings.timestamp_behind_ms_max.to_string(),
    }
}

fn number(name: SettingName, text: &str, low: i64, high: i64) -> Result<i64, Error> {
    let parsed = text.parse::<i64>().ok().filter(|value| (low..=high).contains(value));
    parsed.ok_or_else(|| {
        let expected = match (low, high) {
            (UNLIMITED, i64::MAX) => "a whole number from 0, or -1 for no limit".to_owned(),
            (low, i64::MAX) => format!("a whole number, at least {low}"),
            (low, high) => format!("a whole number from {low} to {high}"),
        };
        wrong(name, text, &expected)
    })
}

fn small(value: i64) -> u32 {
    u32::try_from(value).expect("its bounds are within a u32")
}

fn word<T: Copy>(name: SettingName, text: &str, words: &[(&str, T)]) -> Result<T, Error> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(name, text, &known.join(" or "))
    })
}

fn word_of<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map(|(word, _)| (*word).to_owned()).expect("every value has a word")
}

fn wrong(name: SettingName, value: &str, expected: &str) -> Error {
    Error::invalid(&format!("setting {name}"), quoted(value), expected)
}

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
