//! `[node]`: who this node is and where it is reached.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who this node is, and where it and the others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// Its number in the cluster, from 1, another one for every node. 0: not set, and the server
    /// doesn't start.
    pub id: u32,
    /// The folder for everything that it stores. One process at a time.
    pub data_dir: PathBuf,
    /// Where clients connect, `host:port`. Default 127.0.0.1:9640.
    pub client_listen: String,
    /// Where the other nodes connect, `host:port`. Default 127.0.0.1:9641.
    pub peer_listen: String,
    /// Where the pages for operators are (`/metrics`, `/livez`, `/readyz`), `host:port`. Default
    /// 127.0.0.1:9642.
    pub http_listen: String,
    /// What clients are told to connect to, `host:port`. Default: `client_listen`; where that is
    /// every address (0.0.0.0), the host of the peer address and the port of `client_listen`.
    pub client_advertise: Option<String>,
    /// Where the other nodes find this one, `host:port`. Default: what `initial_members` says of
    /// this node, else `peer_listen`.
    pub peer_advertise: Option<String>,
    /// The nodes that found the cluster together, this one included, the same list on each of
    /// them: `"1=host:port,2=host:port"`, or a table of numbers and peer addresses.
    pub initial_members: Members,
    /// Peer addresses of members of a cluster that this node is to join, instead of
    /// `initial_members`: a list, or `"host:port,host:port"`.
    #[serde(deserialize_with = "list")]
    pub join: Vec<String>,
    /// Where it stands; the replicas of a shard are spread over racks.
    pub rack: Option<String>,
    /// Names and values that are shown where the node is.
    pub labels: BTreeMap<String, String>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            id: 0,
            data_dir: PathBuf::from("/var/lib/kontiki"),
            client_listen: "127.0.0.1:9640".to_owned(),
            peer_listen: "127.0.0.1:9641".to_owned(),
            http_listen: "127.0.0.1:9642".to_owned(),
            client_advertise: None,
            peer_advertise: None,
            initial_members: Members::default(),
            join: Vec::new(),
            rack: None,
            labels: BTreeMap::new(),
        }
    }
}

/// A setting that can't work, and why.
type Wrong = (&'static str, String);

impl NodeOptions {
    /// Checks what can be checked without the machine.
    ///
    /// # Errors
    /// The first setting that can't work.
    pub fn validate(&self) -> Result<(), Wrong> {
        for (key, address) in [
            ("client_listen", Some(&self.client_listen)),
            ("peer_listen", Some(&self.peer_listen)),
            ("http_listen", Some(&self.http_listen)),
            ("client_advertise", self.client_advertise.as_ref()),
            ("peer_advertise", self.peer_advertise.as_ref()),
        ] {
            if let Some(address) = address {
                split(address).map_err(|why| (key, why))?;
            }
        }
        for address in &self.join {
            split(address).map_err(|why| ("join", why))?;
        }
        if !self.join.is_empty() && self.initial_members.0.contains_key(&self.id) {
            let why = "is set, yet this node is one of node.initial_members: it founds a cluster \
                       or joins one, not both";
            return Err(("join", why.to_owned()));
        }
        Ok(())
    }

    /// Checks what a server needs on top: `config check` does without.
    ///
    /// # Errors
    /// The setting that is missing.
    pub fn validate_server(&self) -> Result<(), Wrong> {
        if self.id == 0 {
            let why = "isn't set: give every node its own number from 1, with --node-id, \
                       KONTIKI_NODE_ID or `id` in [node]";
            return Err(("id", why.to_owned()));
        }
        let peer = self.peer_address();
        for (key, address) in
            [("peer_advertise", &peer), ("client_advertise", &self.client_address())]
        {
            if is_everywhere(address) {
                let why = format!(
                    "isn't set, and {address} is no address that others can connect to: set it \
                     to this machine's name and port"
                );
                return Err((key, why));
            }
        }
        Ok(())
    }

    /// Where the other nodes find this one.
    #[must_use]
    pub fn peer_address(&self) -> String {
        let own = self.initial_members.0.get(&self.id);
        self.peer_advertise.as_ref().or(own).unwrap_or(&self.peer_listen).clone()
    }

    /// Where clients find this one.
    #[must_use]
    pub fn client_address(&self) -> String {
        if let Some(address) = &self.client_advertise {
            return address.clone();
        }
        let peer = self.peer_address();
        match (split(&peer), split(&self.client_listen)) {
            (Ok((host, _)), Ok((_, port))) if is_everywhere(&self.client_listen) => {
                format!("{host}:{port}")
            }
            (_, _) => self.client_listen.clone(),
        }
    }
}

/// Host and port of an address.
fn split(address: &str) -> Result<(&str, u16), String> {
    let wrong = || format!("= {address:?}: must be host:port, such as 127.0.0.1:9640");
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if host.is_empty() || (bare.is_none() && host.contains(':')) {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?))
}

fn is_everywhere(address: &str) -> bool {
    matches!(split(address), Ok(("0.0.0.0" | "[::]" | "*", _)))
}

/// Nodes and their peer addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(pub BTreeMap<u32, String>);

impl FromStr for Members {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut members = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = || format!("{entry:?} is no node: write 1=host:port,2=host:port");
            let (id, address) = entry.split_once('=').ok_or_else(wrong)?;
            add(&mut members, id.trim().parse().map_err(|_| wrong())?, address.trim())?;
        }
        Ok(Self(members))
    }
}

fn add(members: &mut BTreeMap<u32, String>, id: u32, address: &str) -> Result<(), String> {
    split(address).map_err(|why| format!("node {id} {why}"))?;
    if id == 0 {
        return Err(format!("node 0={address}: numbers begin with 1"));
    }
    if members.values().any(|other| other == address) {
        return Err(format!("two nodes have the address {address}"));
    }
    match members.insert(id, address.to_owned()) {
        None => Ok(()),
        Some(_) => Err(format!("node {id} is there twice")),
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (id, address)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{id}={address}")?;
        }
        Ok(())
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected \"1=host:port,2=host:port\" or a table of nodes")]
        enum Written {
            Text(String),
            Table(BTreeMap<String, String>),
        }
        let parsed = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse(),
            Written::Table(table) => {
                let mut members = BTreeMap::new();
                let added = table.iter().try_for_each(|(id, address)| {
                    let id = id.parse().map_err(|_| format!("{id:?} is no node's number"))?;
                    add(&mut members, id, address)
                });
                added.map(|()| Self(members))
            }
        };
        parsed.map_err(serde::de::Error::custom)
    }
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of addresses, or \"host:port,host:port\"")]
    enum Written {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Text(text) => text
            .split(',')
            .map(|entry| entry.trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .collect(),
        Written::List(list) => list,
    })
}
