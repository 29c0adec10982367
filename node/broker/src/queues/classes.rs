//! What a queue does about classes of errors, as texts: `backoff.class.timeout` is
//! `base=1000,factor=2,max=60000`, `reject` or `no-retry`.

use kontiki_domain::queue::{Backoff, QueueSettings, Retry};

use super::settings::{milli, number, show_milli, wrong};
use crate::error::Error;

/// What the names of such settings begin with; the class follows.
pub(super) const PREFIX: &str = "backoff.class.";

const EXPECTED: &str = "reject, no-retry, or base=MS with any of factor, first_exponent, max=MS \
                        and jitter, such as base=1000,factor=2,max=60000";

/// Sets what is done about a class; an empty text takes it away.
pub(super) fn set(
    settings: &mut QueueSettings,
    name: &str,
    class: &str,
    value: &str,
) -> Result<(), Error> {
    let retry = match value {
        "" => {
            settings.backoff_classes.remove(class);
            return Ok(());
        }
        "reject" => Retry::Reject,
        "no-retry" => Retry::Never,
        _ => Retry::Backoff(parse(name, value)?),
    };
    settings.backoff_classes.insert(class.to_owned(), retry);
    Ok(())
}

fn parse(name: &str, value: &str) -> Result<Backoff, Error> {
    let mut backoff = Backoff::default();
    let Backoff { base_ms, factor_milli, first_exponent, max_ms, jitter_milli } = &mut backoff;
    let mut known = Vec::new();
    for part in value.split(',') {
        let (key, text) = part.split_once('=').unwrap_or((part, ""));
        let of = format!("{name}, {key}");
        match key {
            _ if known.contains(&key) => return Err(wrong(&of, value, "each of its parts once")),
            "base" => *base_ms = number(&of, text)?,
            "factor" => *factor_milli = milli(&of, text)?,
            "first_exponent" => *first_exponent = number(&of, text)?,
            "max" => *max_ms = number(&of, text)?,
            "jitter" => {
                let milli = milli(&of, text)?;
                *jitter_milli = u16::try_from(milli).map_err(|_| wrong(&of, text, "0 to 1"))?;
            }
            _ => return Err(wrong(name, value, EXPECTED)),
        }
        known.push(key);
    }
    if known.contains(&"base") { Ok(backoff) } else { Err(wrong(name, value, EXPECTED)) }
}

/// The settings of all classes.
pub(super) fn show(settings: &QueueSettings) -> impl Iterator<Item = (String, String)> {
    settings.backoff_classes.iter().map(|(class, retry)| {
        let text = match retry {
            Retry::Reject => "reject".to_owned(),
            Retry::Never => "no-retry".to_owned(),
            Retry::Backoff(backoff) => text(backoff),
        };
        (format!("{PREFIX}{class}"), text)
    })
}

fn text(backoff: &Backoff) -> String {
    let Backoff { base_ms, factor_milli, first_exponent, max_ms, jitter_milli } = *backoff;
    let mut text = format!("base={base_ms}");
    if factor_milli > 1_000 {
        text += &format!(",factor={}", show_milli(factor_milli));
    }
    if first_exponent > 0 {
        text += &format!(",first_exponent={first_exponent}");
    }
    if max_ms > 0 {
        text += &format!(",max={max_ms}");
    }
    if jitter_milli > 0 {
        text += &format!(",jitter={}", show_milli(jitter_milli.into()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_one(settings: &mut QueueSettings, value: &str) -> Result<(), Error> {
        set(settings, "backoff.class.timeout", "timeout", value)
    }

    #[test]
    fn a_class_is_shown_as_it_was_set() {
        let mut settings = QueueSettings::default();
        for text in [
            "base=1000,factor=2,max=60000",
            "base=5,factor=1.5,first_exponent=3,max=9,jitter=0.25",
            "base=0",
            "reject",
            "no-retry",
        ] {
            set_one(&mut settings, text).unwrap();
            assert_eq!(settings.validate(), Ok(()));
            let shown: Vec<_> = show(&settings).collect();
            assert_eq!(shown, [("backoff.class.timeout".to_owned(), text.to_owned())]);
        }
        set_one(&mut settings, "").unwrap();
        assert_eq!(settings, QueueSettings::default());
    }

    #[test]
    fn a_wrong_part_is_named() {
        let mut settings = QueueSettings::default();
        let mut refused = |value| set_one(&mut settings, value).unwrap_err().detail;
        assert!(refused("never").contains("expected reject, no-retry, or base=MS"));
        assert!(refused("factor=2").contains("expected reject, no-retry, or base=MS"));
        assert!(refused("base=1,pause=2").contains("setting backoff.class.timeout is"));
        assert!(refused("base=soon").contains("setting backoff.class.timeout, base is \"soon\""));
        assert!(refused("base=1,base=2").contains("each of its parts once"));
        assert!(refused("base=1,jitter=70").contains("expected 0 to 1"));
    }
}
