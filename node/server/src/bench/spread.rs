//! What several runs found of one figure.

/// A median, and between what the values were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest one.
    pub min: f64,
    /// The highest one.
    pub max: f64,
    count: usize,
}

impl Spread {
    /// Of some values; of none there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let count = values.len();
        let median = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        Some(Self { median, min, max, count })
    }

    /// The median, and where the values differ the range.
    pub fn show(&self, digits: usize) -> String {
        let Self { median, min, max, count } = self;
        if *count == 1 || min == max {
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
        let show = |values: &[f64]| Spread::of(values.iter().copied()).expect("some").show(1);
        assert_eq!(show(&[3.0]), "3.0");
        assert_eq!(show(&[3.0, 3.0]), "3.0");
        assert_eq!(show(&[9.0, 1.0, 2.0]), "2.0 (1.0-9.0)");
        assert_eq!(show(&[4.0, 1.0, 2.0, 9.0]), "3.0 (1.0-9.0)");
    }
}
