//! What each setting means: read from the doc comments of the `Options` structs, which are compiled
//! in. So there is one text, and it can't differ from the code.

/// A section of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name, as in `raft.compaction`.
    pub name: &'static str,
    source: &'static str,
    structure: &'static str,
}

/// A setting of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the section.
    pub name: &'static str,
    /// What it means, as it was broken into lines.
    pub meaning: Vec<&'static str>,
}

macro_rules! section {
    ($name:literal, $file:literal, $structure:literal) => {
        Section { name: $name, source: include_str!($file), structure: $structure }
    };
}

/// Every section, in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    section!("node", "node.rs", "NodeOptions"),
    section!("server", "listen.rs", "ServerOptions"),
    section!("server.client", "listen.rs", "ClientOptions"),
    section!("server.peer", "listen.rs", "PeerOptions"),
    section!("server.http", "listen.rs", "PageOptions"),
    section!("server.dial", "listen.rs", "DialOptions"),
    section!("cluster", "../../../broker/src/cluster/mod.rs", "Options"),
    section!("broker", "../../../broker/src/options.rs", "Options"),
    section!("broker.produce", "../../../broker/src/options.rs", "ProduceOptions"),
    section!("broker.fetch", "../../../broker/src/options.rs", "FetchOptions"),
    section!("broker.route", "../../../broker/src/options.rs", "RouteOptions"),
    section!("broker.timers", "../../../broker/src/options.rs", "TimerOptions"),
    section!("broker.subscribe", "../../../broker/src/options/subscribe.rs", "SubscribeOptions"),
    section!("broker.requests", "../../../broker/src/options.rs", "RequestOptions"),
    section!("broker.queues", "../../../broker/src/options.rs", "QueueOptions"),
    section!("raft", "../../../../raft/src/options.rs", "Options"),
    section!("raft.compaction", "../../../../storage/src/compaction.rs", "Options"),
    section!("storage", "../../../../storage/rocks/src/options.rs", "Options"),
    section!("segments", "../../../../storage/src/files/options.rs", "Options"),
    section!("grpc", "../../../gateway/src/grpc/options.rs", "Options"),
    section!("telemetry", "../telemetry/options.rs", "TelemetryOptions"),
];

impl Section {
    /// Its settings, as they are declared. Sections inside of it are among them.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let start = format!("pub struct {} {{", self.structure);
        let lines = self.source.lines().skip_while(|line| *line != start).skip(1);
        let mut settings = Vec::new();
        let mut meaning = Vec::new();
        for line in lines.take_while(|line| *line != "}").map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                meaning.push(text.trim());
            } else if let Some(name) =
                line.strip_prefix("pub ").and_then(|field| Some(field.split_once(':')?.0))
            {
                settings.push(Setting { name, meaning: std::mem::take(&mut meaning) });
            }
        }
        settings
    }
}
