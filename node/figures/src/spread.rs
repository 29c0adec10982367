//! What several runs found of one figure.

use serde::Serialize;

/// A median, and between what the values were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest one.
    pub min: f64,
    /// The highest one.
    pub max: f64,
}

impl Spread {
    /// Of some values; of none there is none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: low.midpoint(high), min, max })
    }

    /// The median, and where the values differ the range.
    #[must_use]
    pub fn show(&self, digits: usize) -> String {
        let Self { median, min, max } = self;
        if min == max {
            return format!("{median:.digits$}");
        }
        format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of([9.0, 1.0, 4.0]).expect("there are values");
        assert_eq!(spread, Spread { median: 4.0, min: 1.0, max: 9.0 });
        let show = |values: &[f64]| Spread::of(values.iter().copied()).expect("some").show(1);
        assert_eq!(show(&[3.0]), "3.0");
        assert_eq!(show(&[3.0, 3.0]), "3.0");
        assert_eq!(show(&[9.0, 1.0, 2.0]), "2.0 (1.0-9.0)");
        assert_eq!(show(&[4.0, 1.0, 2.0, 9.0]), "3.0 (1.0-9.0)");
    }
}
