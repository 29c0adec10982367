//! What may be set of a client, with its limits.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How a client connects, waits and repeats. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Nodes to ask first, "host:port"; the others are learnt from them. 1 to 64 of them; default
    /// `127.0.0.1:9640`.
    pub bootstrap: Vec<String>,
    /// How long connecting to a node may take. 10 ..= 60,000; default 3,000.
    pub connect_timeout_ms: u64,
    /// How long a node may take to answer one attempt. 10 ..= 300,000; default 30,000.
    pub request_timeout_ms: u64,
    /// After how long what is known of a topic is asked again. 100 ..= 3,600,000; default 60,000.
    pub metadata_max_age_ms: u64,
    /// The first pause before something is tried again; it doubles. 1 ..= 60,000; default 20.
    pub retry_backoff_ms_min: u64,
    /// The longest of these pauses. At least the first one, at most 60,000; default 1,000.
    pub retry_backoff_ms_max: u64,
    /// For how long a call is tried again, on all nodes, before its last failure is returned.
    /// 0 (all nodes once) ..= 3,600,000; default 120,000.
    pub retry_timeout_ms: u64,
    /// The largest gRPC message in either direction, in bytes. 1 MiB ..= 1 GiB; default 80 MiB.
    pub message_bytes_max: usize,
    /// How often an idle connection is probed; one that doesn't answer for as long is broken.
    /// 100 ..= 3,600,000; default 10,000.
    pub keepalive_ms: u64,
    /// Nodes that the client is connected with at once. 1 ..= 10,000; default 256.
    pub connections_max: usize,
    /// Topics of which the metadata is remembered. 1 ..= 1,000,000; default 10,000.
    pub topics_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: vec!["127.0.0.1:9640".to_owned()],
            connect_timeout_ms: 3_000,
            request_timeout_ms: 30_000,
            metadata_max_age_ms: 60_000,
            retry_backoff_ms_min: 20,
            retry_backoff_ms_max: 1_000,
            retry_timeout_ms: 120_000,
            message_bytes_max: 80 << 20,
            keepalive_ms: 10_000,
            connections_max: 256,
            topics_max: 10_000,
        }
    }
}

impl Options {
    /// The defaults, with these nodes to ask first.
    #[must_use]
    pub fn bootstrap(addresses: &[&str]) -> Self {
        let bootstrap = addresses.iter().map(|address| (*address).to_owned()).collect();
        Self { bootstrap, ..Self::default() }
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// INVALID, naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("bootstrap (number of addresses)", self.bootstrap.len() as u64, 1, 64)?;
        for address in &self.bootstrap {
            let port = address.rsplit_once(':').and_then(|(host, port)| {
                if host.is_empty() { None } else { port.parse::<u16>().ok() }
            });
            if port.is_none_or(|port| port == 0) {
                return Err(Error::invalid(format!(
                    "bootstrap address {address:?} is not of the form host:port"
                )));
            }
        }
        in_range("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000)?;
        in_range("request_timeout_ms", self.request_timeout_ms, 10, 300_000)?;
        in_range("metadata_max_age_ms", self.metadata_max_age_ms, 100, 3_600_000)?;
        in_range("retry_backoff_ms_min", self.retry_backoff_ms_min, 1, 60_000)?;
        let least = self.retry_backoff_ms_min;
        in_range("retry_backoff_ms_max", self.retry_backoff_ms_max, least, 60_000)?;
        in_range("retry_timeout_ms", self.retry_timeout_ms, 0, 3_600_000)?;
        in_range("message_bytes_max", self.message_bytes_max as u64, 1 << 20, 1 << 30)?;
        in_range("keepalive_ms", self.keepalive_ms, 100, 3_600_000)?;
        in_range("connections_max", self.connections_max as u64, 1, 10_000)?;
        in_range("topics_max", self.topics_max as u64, 1, 1_000_000)
    }
}

/// Refuses `value` outside of `low..=high`.
pub(crate) fn in_range(field: &str, value: u64, low: u64, high: u64) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{field} is {value}, expected {low} to {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_range_is_held() {
        assert!(Options::default().validate().is_ok());
        let refused = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.validate().expect_err("is out of range").message
        };
        assert!(refused(|o| o.bootstrap.clear()).contains("bootstrap"));
        assert!(refused(|o| o.bootstrap[0] = "nowhere".to_owned()).contains("nowhere"));
        assert!(refused(|o| o.bootstrap[0] = ":9640".to_owned()).contains("host:port"));
        assert!(refused(|o| o.retry_backoff_ms_max = 1).contains("expected 20 to 60000"));
        assert!(refused(|o| o.message_bytes_max = 5).contains("message_bytes_max is 5"));
    }
}
