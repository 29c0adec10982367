//! Tests of settings as texts.

use super::*;
use crate::error::{Code, Kind};

fn one(name: &str, value: &str) -> Result<Settings, Error> {
    let settings = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    parse(&settings).map(|overrides| overrides.effective())
}

/// For each setting: values that it may have, and values that it may not, with what is said.
const TABLE: [(&str, &[&str], &[&str], &str); 11] = [
    (
        "retention_ms",
        &["-1", "0", "9223372036854775807"],
        &["-2", "9223372036854775808", "7d", "", " 1", "1.5"],
        "a whole number from 0, or -1 for no limit",
    ),
    (
        "retention_bytes",
        &["-1", "0", "1000000"],
        &["-2", "1GiB"],
        "a whole number from 0, or -1 for no limit",
    ),
    (
        "message_bytes_max",
        &["1024", "67108864"],
        &["1023", "67108865", "-1", "4294968320"],
        "a whole number from 1024 to 67108864",
    ),
    (
        "durability",
        &["quorum-fsync", "quorum-memory", "leader"],
        &["quorum", "Leader", ""],
        "quorum-fsync or quorum-memory or leader",
    ),
    (
        "compression",
        &["producer", "none", "gzip", "snappy", "lz4", "zstd"],
        &["brotli", "ZSTD"],
        "producer or none or gzip or snappy or lz4 or zstd",
    ),
    (
        "timestamp_type",
        &["create-time", "log-append-time"],
        &["CreateTime"],
        "create-time or log-append-time",
    ),
    ("cleanup_policy", &["delete"], &["compact", "compact,delete"], "delete"),
    (
        "producer_expiry_ms",
        &["60000", "9223372036854775807"],
        &["59999", "-1"],
        "a whole number, at least 60000",
    ),
    ("producers_max", &["1", "50000"], &["0", "50001"], "a whole number from 1 to 50000"),
    ("timestamp_ahead_ms_max", &["-1", "0"], &["-2"], "a whole number from 0, or -1 for no limit"),
    ("timestamp_behind_ms_max", &["-1", "0"], &["-2"], "a whole number from 0, or -1 for no limit"),
];

#[test]
fn every_setting_takes_what_it_may_be_and_shows_it_again() {
    let mut named: Vec<&str> = TABLE.iter().map(|row| row.0).collect();
    let mut known: Vec<&str> = SettingName::ALL.iter().map(|name| name.as_str()).collect();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known, "a setting is not tested");
    for (name, good, _, _) in TABLE {
        for value in good {
            let settings = one(name, value).unwrap_or_else(|why| panic!("{name}={value}: {why}"));
            assert_eq!(show(&settings)[name], *value);
        }
    }
}

#[test]
fn a_value_that_cant_be_is_named_with_what_may_be() {
    for (name, _, bad, expected) in TABLE {
        for value in bad {
            let error = one(name, value).expect_err("it can't be");
            let said = format!(
                "setting {name} is {value:?}, expected {expected}: correct it and ask again"
            );
            assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD), "{error}");
            assert_eq!(error.detail, said);
        }
    }
}

/// What is refused just outside of the bounds here is refused by the domain too, and the other way
/// round: so both know the same bounds.
#[test]
fn the_bounds_are_those_of_the_domain() {
    let valid = |change: fn(&mut Settings, i64), value: i64| {
        let mut settings = Settings::default();
        change(&mut settings, value);
        settings.validate().is_ok()
    };
    type Row = (&'static str, fn(&mut Settings, i64), &'static [i64]);
    let rows: [Row; 7] = [
        ("retention_ms", |s, v| s.retention_ms = v, &[-2, -1, 0, i64::MAX]),
        ("retention_bytes", |s, v| s.retention_bytes = v, &[-2, -1, 0, i64::MAX]),
        (
            "message_bytes_max",
            |s, v| s.message_bytes_max = u32::try_from(v).unwrap(),
            &[0, 1_023, 1_024, 67_108_864, 67_108_865],
        ),
        ("producer_expiry_ms", |s, v| s.producer_expiry_ms = v, &[-1, 59_999, 60_000, i64::MAX]),
        (
            "producers_max",
            |s, v| s.producers_max = u32::try_from(v).unwrap(),
            &[0, 1, 50_000, 50_001],
        ),
        ("timestamp_ahead_ms_max", |s, v| s.timestamp_ahead_ms_max = v, &[-2, -1, i64::MAX]),
        ("timestamp_behind_ms_max", |s, v| s.timestamp_behind_ms_max = v, &[-2, -1, i64::MAX]),
    ];
    for (name, change, values) in rows {
        for value in values {
            let here = one(name, &value.to_string()).is_ok();
            assert_eq!(here, valid(change, *value), "{name}={value}");
        }
    }
}

#[test]
fn all_settings_survive_as_texts() {
    let chosen = Overrides {
        retention_ms: Some(1),
        retention_bytes: Some(2),
        message_bytes_max: Some(4_096),
        durability: Some(Durability::Leader),
        compression: Some(CompressionPolicy::Only(Compression::Lz4)),
        timestamp_type: Some(TimestampType::Append),
        cleanup_policy: Some(CleanupPolicy::Delete),
        producer_expiry_ms: Some(60_001),
        producers_max: Some(7),
        timestamp_ahead_ms_max: Some(8),
        timestamp_behind_ms_max: Some(9),
    };
    for name in SettingName::ALL {
        assert!(chosen.is_set(name), "{name} is not chosen");
    }
    let shown = show(&chosen.effective());
    assert_eq!(shown.len(), SettingName::ALL.len());
    assert_eq!(parse(&shown), Ok(chosen));
    let defaults = parse(&show(&Settings::default())).expect("the defaults can be written");
    assert_eq!(defaults.effective(), Settings::default());
}

#[test]
fn an_unknown_name_is_told_the_known_ones() {
    for error in [
        one("retention.ms", "1").expect_err("unknown"),
        parse_names(&["retention.ms".to_owned()]).expect_err("unknown"),
    ] {
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.detail.contains("\"retention.ms\""), "{error}");
        for name in SettingName::ALL {
            assert!(error.detail.contains(name.as_str()), "{name} is not in: {error}");
        }
    }
    let names = ["durability".to_owned(), "retention_ms".to_owned()];
    let parsed = parse_names(&names);
    assert_eq!(parsed, Ok(vec![SettingName::Durability, SettingName::RetentionMs]));
}

#[test]
fn what_is_too_long_or_too_many_is_refused_in_few_words() {
    let error = one("retention_ms", &"9".repeat(100_000)).expect_err("too long");
    assert!(error.detail.len() < 300, "{} bytes", error.detail.len());
    let many: BTreeMap<String, String> =
        (0..=bounds::SETTINGS_MAX).map(|at| (format!("s{at}"), String::new())).collect();
    let error = parse(&many).expect_err("too many");
    assert!(error.detail.contains("is 65, expected at most 64"), "{error}");
}
