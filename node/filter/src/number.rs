//! Numbers of policies: whole ones exactly, others as doubles.

use std::cmp::Ordering;

/// A finite number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    pub(crate) fn from_json(number: &serde_json::Number) -> Option<Self> {
        number.as_i64().map(Self::Whole).or_else(|| number.as_f64().map(Self::Real))
    }

    #[expect(clippy::cast_precision_loss, reason = "doubles are what JSON has for these")]
    pub(crate) fn from_u64(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Real(value as f64), Self::Whole)
    }

    /// Reads a number the way JSON writes it; an attribute's value may start with `+`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Neither `inf` nor `nan`, which Rust would read.
        if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
            return None;
        }
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        text.parse().ok().filter(|real: &f64| real.is_finite()).map(Self::Real)
    }

    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.real().partial_cmp(&b.real()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "only to compare with a double")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}
