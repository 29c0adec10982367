//! Layers of settings, and how they become one configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, Invalid};

/// Prefix of the variables; the parts of a name are separated by two underscores, as in
/// `KONTIKI_RAFT__HEARTBEAT_MS`.
const PREFIX: &str = "KONTIKI_";

/// Tables whose keys are not settings: a later layer replaces them as a whole.
const WHOLE: &[&str] = &["node.initial_members", "node.labels"];

/// Settings from one place.
#[derive(Debug, Clone)]
pub struct Layer {
    origin: String,
    table: Table,
}

impl Layer {
    /// The settings of a file.
    ///
    /// # Errors
    /// It can't be read, is not TOML, or has something in it that is no setting.
    pub fn file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::text(path, &text)
    }

    /// The same, where it has been read already.
    ///
    /// # Errors
    /// It is not TOML, or has something in it that is no setting.
    pub fn text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| ConfigError::File {
            path: path.to_owned(),
            why: error.to_string(),
        };
        // As a whole, for messages with the line and the key; what it says is taken from the table.
        toml::from_str::<Config>(text).map_err(wrong)?;
        let table = text.parse::<Table>().map_err(wrong)?;
        Ok(Self { origin: path.display().to_string(), table })
    }

    /// The settings of the environment, a layer for each variable. Variables without `__` in their
    /// names are not looked at: they are flags' or somebody else's.
    ///
    /// # Errors
    /// A variable that is no setting, or whose value can't be one.
    pub fn environment(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<Self>, ConfigError> {
        let mut layers = Vec::new();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
                continue;
            };
            let key = rest.to_lowercase().replace("__", ".");
            layers.push(Self::setting(&name, &key, &value)?);
        }
        // The environment has no order of its own.
        layers.sort_by(|one, other| one.origin.cmp(&other.origin));
        Ok(layers)
    }

    /// One setting: its key, as in `raft.heartbeat_ms`, and its value as TOML or as bare text.
    ///
    /// # Errors
    /// It is no setting, or can't have this value.
    pub fn setting(origin: &str, key: &str, value: &str) -> Result<Self, ConfigError> {
        let parsed = format!("value = {value}").parse::<Table>().ok();
        let parsed = parsed.and_then(|mut table| table.remove("value"));
        let text = Value::String(value.to_owned());
        let mut why = String::new();
        for candidate in parsed.into_iter().chain([text]) {
            let table = nested(key, candidate);
            match Config::deserialize(table.clone()) {
                Ok(_) => return Ok(Self { origin: origin.to_owned(), table }),
                Err(error) if why.is_empty() => why = error.to_string().trim_end().to_owned(),
                Err(_) => {}
            }
        }
        Err(ConfigError::Text {
            origin: origin.to_owned(),
            why: format!("{key} = {value:?}: {why}"),
        })
    }

    fn sets(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        let first = parts.next().and_then(|part| self.table.get(part));
        parts.try_fold(first, |at, part| at.map(|value| value.get(part))).flatten().is_some()
    }
}

fn nested(key: &str, value: Value) -> Table {
    let mut parts = key.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let inner = Table::from_iter([(last.to_owned(), value)]);
    parts.fold(inner, |table, part| Table::from_iter([(part.to_owned(), Value::Table(table))]))
}

/// One configuration of all layers; later ones win.
///
/// # Errors
/// A setting that can't work, with the layer that it comes from.
pub fn load(layers: &[Layer]) -> Result<Config, ConfigError> {
    let mut merged = Table::try_from(Config::default()).expect("settings are TOML");
    for layer in layers {
        merge(&mut merged, &layer.table, "");
    }
    let config = Config::deserialize(merged).map_err(|error| ConfigError::File {
        path: PathBuf::from("of all layers together"),
        why: error.to_string(),
    })?;
    config.validate().map_err(|invalid| blame(layers, invalid))?;
    Ok(config)
}

/// Where a setting comes from that can't work.
pub fn blame(layers: &[Layer], invalid: Invalid) -> ConfigError {
    let origin = layers.iter().rev().find(|layer| layer.sets(&invalid.key));
    ConfigError::Invalid { text: invalid.text, origin: origin.map(|layer| layer.origin.clone()) }
}

fn merge(into: &mut Table, from: &Table, path: &str) {
    for (key, value) in from {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !WHOLE.contains(&path.as_str()) => {
                merge(below, above, &path);
            }
            (Some(_) | None, _) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
