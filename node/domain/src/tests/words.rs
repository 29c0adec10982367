//! A line of a script: a verb, things, and `name=value` pairs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::str::FromStr;

use crate::settings::{CleanupPolicy, Compression, CompressionPolicy, Overrides, TimestampType};

pub(crate) struct Words<'a> {
    pub verb: &'a str,
    pub things: Vec<&'a str>,
    pairs: RefCell<BTreeMap<&'a str, &'a str>>,
    line: &'a str,
}

impl<'a> Words<'a> {
    pub(crate) fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a verb");
        let (pairs, things): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let pairs = pairs.into_iter().map(|pair| pair.split_once('=').expect("has one"));
        Self { verb, things, pairs: RefCell::new(pairs.collect()), line }
    }

    /// The value of a pair; each can be asked for once.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.pairs.borrow_mut().remove(name)
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        let parse = |text: &str| text.parse().ok().unwrap_or_else(|| panic!("{}", self.line));
        self.text(name).map(parse)
    }

    pub(super) fn has(&self, thing: &str) -> bool {
        self.things.contains(&thing)
    }

    /// The n-th thing, as a number.
    pub(super) fn thing<T: FromStr>(&self, at: usize) -> T {
        let text = self.things.get(at).unwrap_or_else(|| panic!("{}", self.line));
        text.parse().ok().unwrap_or_else(|| panic!("{}", self.line))
    }

    /// `1,2,3`
    pub(super) fn list<T: FromStr>(&self, name: &str) -> Vec<T> {
        let parse = |text: &str| text.parse().ok().unwrap_or_else(|| panic!("{}", self.line));
        self.text(name).unwrap_or("").split(',').filter(|t| !t.is_empty()).map(parse).collect()
    }

    /// What is left of the pairs, as settings.
    pub(super) fn settings(&self) -> Overrides {
        let overrides = Overrides {
            retention_ms: self.number("retention_ms"),
            retention_bytes: self.number("retention_bytes"),
            message_bytes_max: self.number("message_bytes_max"),
            durability: None,
            compression: self.text("compression").map(|text| match text {
                "producer" => CompressionPolicy::Producer,
                other => CompressionPolicy::Only(compression(other)),
            }),
            timestamp_type: self.text("timestamp_type").map(|text| match text {
                "create" => TimestampType::Create,
                "append" => TimestampType::Append,
                other => panic!("{other}"),
            }),
            cleanup_policy: self.text("cleanup_policy").map(|text| match text {
                "delete" => CleanupPolicy::Delete,
                "compact" => CleanupPolicy::Compact,
                other => panic!("{other}"),
            }),
            producer_expiry_ms: self.number("producer_expiry_ms"),
            producers_max: self.number("producers_max"),
            timestamp_ahead_ms_max: self.number("timestamp_ahead_ms_max"),
            timestamp_behind_ms_max: self.number("timestamp_behind_ms_max"),
        };
        self.done();
        overrides
    }

    /// Nothing was misspelt.
    pub(super) fn done(&self) {
        let left = self.pairs.borrow();
        assert!(left.is_empty(), "{}: not understood: {left:?}", self.line);
    }
}

pub(super) fn compression(text: &str) -> Compression {
    match text {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        other => panic!("{other}"),
    }
}
