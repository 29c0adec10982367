use super::*;

#[test]
fn the_defaults_are_within_their_bounds() {
    assert_eq!(Settings::default().validate(), Ok(()));
    assert_eq!(Overrides::default().effective(), Settings::default());
}

#[test]
fn what_is_set_and_reset_is_in_force_and_is_not() {
    let chosen = Overrides {
        retention_ms: Some(5),
        timestamp_type: Some(TimestampType::Append),
        ..Overrides::default()
    };
    let mut overrides = Overrides { producers_max: Some(7), ..Overrides::default() };
    overrides.set(&chosen);
    let settings = overrides.effective();
    assert_eq!((settings.retention_ms, settings.producers_max), (5, 7));
    assert!(overrides.is_set(SettingName::RetentionMs));
    overrides.reset(SettingName::RetentionMs);
    assert!(!overrides.is_set(SettingName::RetentionMs));
    assert_eq!(overrides.effective().retention_ms, Settings::default().retention_ms);
    assert_eq!(overrides.effective().timestamp_type, TimestampType::Append);
    for name in SettingName::ALL {
        overrides.reset(name);
    }
    assert_eq!(overrides, Overrides::default());
}

#[test]
fn values_out_of_bounds_are_named() {
    let wrong = [
        (SettingName::RetentionMs, Settings { retention_ms: -2, ..Settings::default() }),
        (SettingName::RetentionBytes, Settings { retention_bytes: -2, ..Settings::default() }),
        (
            SettingName::MessageBytesMax,
            Settings { message_bytes_max: 1_023, ..Settings::default() },
        ),
        (SettingName::ProducerExpiryMs, Settings { producer_expiry_ms: 0, ..Settings::default() }),
        (SettingName::ProducersMax, Settings { producers_max: 0, ..Settings::default() }),
        (
            SettingName::TimestampAheadMsMax,
            Settings { timestamp_ahead_ms_max: -2, ..Settings::default() },
        ),
    ];
    for (expected, settings) in wrong {
        let refused = settings.validate();
        assert!(
            matches!(refused, Err(Rejection::InvalidSetting { name, .. }) if name == expected),
            "{refused:?}"
        );
    }
}
