//! `[server]`: threads, connections, and how long a stop may take.

use serde::{Deserialize, Serialize};

/// The process: threads, connections, how it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// Threads that serve requests. 0 ..= 1,024; default 0, which is one for each core.
    pub worker_threads: usize,
    /// How long a stop may take (leaderships handed over, replicas stopped) before the process
    /// ends anyway. 1,000 ..= 600,000; default 30,000.
    pub stop_timeout_ms: u64,
    /// Connections of clients.
    pub client: ClientOptions,
    /// Connections of the other nodes.
    pub peer: PeerOptions,
    /// Connections to the pages for operators.
    pub http: PageOptions,
    /// Connections to the other nodes.
    pub dial: DialOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            worker_threads: 0,
            stop_timeout_ms: 30_000,
            client: ClientOptions::default(),
            peer: PeerOptions::default(),
            http: PageOptions::default(),
            dial: DialOptions::default(),
        }
    }
}

/// Limits of the clients' listener; those of a connection are in `[grpc]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientOptions {
    /// Connections at a time; further ones are closed as they come. 1 up; default 16,384. Each
    /// needs an open file.
    pub connections_max: usize,
    /// How long a new connection may say nothing before it is closed. 100 up; default 10,000.
    pub first_byte_ms: u64,
    /// Calls that a client has cancelled before they were taken up; over it the connection is
    /// closed. 1 up; default 64.
    pub resets_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { connections_max: 16_384, first_byte_ms: 10_000, resets_max: 64 }
    }
}

/// Limits of the listener for the other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerOptions {
    /// Connections at a time; further ones are closed as they come. 1 up; default 1,024.
    pub connections_max: usize,
    /// How long a new connection may say nothing before it is closed. 100 up; default 10,000.
    pub first_byte_ms: u64,
    /// Calls that a node has cancelled before they were taken up; over it the connection is
    /// closed. 1 up; default 64.
    pub resets_max: usize,
    /// Calls at a time on one connection; the other node waits with further ones. 1 up; default
    /// 1,024.
    pub streams_max: u32,
    /// Bytes that a node may send on one call ahead of what is read. 65,535 ..= 2^31 - 1; default
    /// 4 MiB.
    pub stream_window_bytes: u32,
    /// Bytes that a node may send on one connection ahead of what is read. 65,535 ..= 2^31 - 1;
    /// default 16 MiB.
    pub connection_window_bytes: u32,
    /// Bytes of the headers of one call. 1,024 up; default 16 KiB.
    pub header_bytes_max: u32,
    /// A connection on which nothing happens is asked for a sign of life this often. 100 up;
    /// default 2,000.
    pub keepalive_ms: u64,
    /// ... and closed when the sign takes longer than this. 100 up; default 3,000.
    pub keepalive_timeout_ms: u64,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            first_byte_ms: 10_000,
            resets_max: 64,
            streams_max: 1_024,
            stream_window_bytes: 4 << 20,
            connection_window_bytes: 16 << 20,
            header_bytes_max: 16 << 10,
            keepalive_ms: 2_000,
            keepalive_timeout_ms: 3_000,
        }
    }
}

/// Limits of the pages for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageOptions {
    /// Connections at a time; further ones are closed as they come. 1 up; default 128.
    pub connections_max: usize,
    /// How long a client may take to send the headers of a request, also of the next one on the
    /// same connection. 10 up; default 10,000.
    pub header_timeout_ms: u64,
    /// Bytes of the headers of a request. 8,192 up; default 16 KiB.
    pub header_bytes_max: usize,
    /// Shards whose figures are on `/metrics` one by one; of more, the first ones are, and all of
    /// them are in the sums. Default 256.
    pub shards_max: usize,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            connections_max: 128,
            header_timeout_ms: 10_000,
            header_bytes_max: 16 << 10,
            shards_max: 256,
        }
    }
}

/// How the other nodes are connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialOptions {
    /// How long a connection may take to come about. 10 up; default 2,000.
    pub connect_timeout_ms: u64,
    /// A connection is asked for a sign of life this often. 100 up; default 2,000.
    pub keepalive_ms: u64,
    /// ... and closed when the sign takes longer than this. 100 up; default 3,000.
    pub keepalive_timeout_ms: u64,
    /// Bytes that a node may answer on one call ahead of what is read. 65,535 ..= 2^31 - 1; default
    /// 4 MiB.
    pub stream_window_bytes: u32,
    /// Bytes that a node may answer on one connection ahead of what is read. 65,535 ..= 2^31 - 1;
    /// default 16 MiB.
    pub connection_window_bytes: u32,
    /// Addresses whose connections are kept for the next call. 1 up; default 1,024.
    pub addresses_max: usize,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 2_000,
            keepalive_ms: 2_000,
            keepalive_timeout_ms: 3_000,
            stream_window_bytes: 4 << 20,
            connection_window_bytes: 16 << 20,
            addresses_max: 1_024,
        }
    }
}

const ANY: u64 = u64::MAX;
const WINDOW_MIN: u64 = 65_535;
const WINDOW_MAX: u64 = (1 << 31) - 1;

/// A setting, its value, and the range that it must be in.
type Row = (&'static str, u64, u64, u64);

impl ServerOptions {
    /// Checks every setting against its documented range.
    ///
    /// # Errors
    /// The first one that is out of it.
    pub fn validate(&self) -> Result<(), (String, String)> {
        let own: [Row; 2] = [
            ("worker_threads", self.worker_threads as u64, 0, 1_024),
            ("stop_timeout_ms", self.stop_timeout_ms, 1_000, 600_000),
        ];
        in_range("", &own)?;
        let client = &self.client;
        let clients: [Row; 3] = [
            ("connections_max", client.connections_max as u64, 1, ANY),
            ("first_byte_ms", client.first_byte_ms, 100, ANY),
            ("resets_max", client.resets_max as u64, 1, ANY),
        ];
        in_range("client.", &clients)?;
        in_range("peer.", &self.peer.rows())?;
        let http = &self.http;
        let pages: [Row; 3] = [
            ("connections_max", http.connections_max as u64, 1, ANY),
            ("header_timeout_ms", http.header_timeout_ms, 10, ANY),
            ("header_bytes_max", http.header_bytes_max as u64, 8_192, ANY),
        ];
        in_range("http.", &pages)?;
        let dial = &self.dial;
        let dials: [Row; 6] = [
            ("connect_timeout_ms", dial.connect_timeout_ms, 10, ANY),
            ("keepalive_ms", dial.keepalive_ms, 100, ANY),
            ("keepalive_timeout_ms", dial.keepalive_timeout_ms, 100, ANY),
            ("stream_window_bytes", dial.stream_window_bytes.into(), WINDOW_MIN, WINDOW_MAX),
            (
                "connection_window_bytes",
                dial.connection_window_bytes.into(),
                WINDOW_MIN,
                WINDOW_MAX,
            ),
            ("addresses_max", dial.addresses_max as u64, 1, ANY),
        ];
        in_range("dial.", &dials)
    }
}

impl PeerOptions {
    fn rows(&self) -> [Row; 9] {
        [
            ("connections_max", self.connections_max as u64, 1, ANY),
            ("first_byte_ms", self.first_byte_ms, 100, ANY),
            ("streams_max", self.streams_max.into(), 1, ANY),
            ("stream_window_bytes", self.stream_window_bytes.into(), WINDOW_MIN, WINDOW_MAX),
            (
                "connection_window_bytes",
                self.connection_window_bytes.into(),
                WINDOW_MIN,
                WINDOW_MAX,
            ),
            ("header_bytes_max", self.header_bytes_max.into(), 1_024, ANY),
            ("resets_max", self.resets_max as u64, 1, ANY),
            ("keepalive_ms", self.keepalive_ms, 100, ANY),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms, 100, ANY),
        ]
    }
}

/// The first row that is out of its range: key and complaint.
pub fn in_range(prefix: &str, rows: &[Row]) -> Result<(), (String, String)> {
    let wrong = rows.iter().find(|(_, value, low, high)| value < low || value > high);
    let Some((key, value, low, high)) = wrong else { return Ok(()) };
    let rule = if *high == ANY { format!("{low} or more") } else { format!("{low} to {high}") };
    Err((format!("{prefix}{key}"), format!("= {value}: must be {rule}")))
}
