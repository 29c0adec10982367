//! Classes of errors: what a consumer calls the way in which a delivery failed, and what a queue
//! does then.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::Backoff;
use crate::rejection::Rejection;

/// Classes for which a queue may have a rule of its own.
pub const CLASSES_MAX: usize = 16;
/// Longest name of a class, in bytes.
pub const CLASS_BYTES_MAX: usize = 64;

/// What becomes of a message whose delivery failed with an error of some class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Retry {
    /// It is delivered again, after a pause of its own.
    #[n(0)]
    Backoff(#[n(0)] Backoff),
    /// As if the consumer had rejected it.
    #[n(1)]
    Reject,
    /// It had its last attempt.
    #[n(2)]
    Never,
}

/// Whether it can be the name of a class: 1 to [`CLASS_BYTES_MAX`] of a-z A-Z 0-9 . _ -
#[must_use]
pub fn is_class(name: &str) -> bool {
    let fits = (1..=CLASS_BYTES_MAX).contains(&name.len());
    fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

pub(super) fn validate(classes: &BTreeMap<String, Retry>) -> Result<(), Rejection> {
    if classes.len() > CLASSES_MAX {
        let expected = format!("at most {CLASSES_MAX}");
        return Err(Rejection::invalid("the number of backoff classes", classes.len(), &expected));
    }
    for (name, retry) in classes {
        if !is_class(name) {
            let expected = format!("1 to {CLASS_BYTES_MAX} characters of a-z A-Z 0-9 . _ -");
            let shown = format!("{name:?}");
            return Err(Rejection::invalid("the name of a backoff class", shown, &expected));
        }
        match retry {
            Retry::Backoff(backoff) => backoff.validate(&format!("backoff.class.{name}"))?,
            Retry::Reject | Retry::Never => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_classes_and_names_that_are_none_are_refused() {
        let of = |name: &str| BTreeMap::from([(name.to_owned(), Retry::Reject)]);
        assert_eq!(validate(&of("http.5xx_a-b")), Ok(()));
        for wrong in ["", "a b", "a\"b", &"x".repeat(65)] {
            let said = validate(&of(wrong)).unwrap_err().to_string();
            assert!(said.contains("the name of a backoff class"), "{said}");
        }
        let many = (0..17).map(|number| (number.to_string(), Retry::Never)).collect();
        let said = validate(&many).unwrap_err().to_string();
        assert!(
            said.contains("the number of backoff classes is 17, expected at most 16"),
            "{said}"
        );
        let slow = Backoff { base_ms: -1, ..Backoff::default() };
        let said = validate(&BTreeMap::from([("slow".to_owned(), Retry::Backoff(slow))]));
        let said = said.unwrap_err().to_string();
        assert!(said.contains("backoff.class.slow.base_ms is -1"), "{said}");
    }
}
