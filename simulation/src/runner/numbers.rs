//! A set of numbers as it is written on a command line: `0-3,7`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No plan has as many faults; a typing error must not cost all memory.
const NUMBER_MAX: usize = 1_000_000;

/// Numbers of faults, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers(BTreeSet<usize>);

impl Numbers {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// All of them, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<usize> {
        self.iter().collect()
    }

    /// These and those.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = usize>) -> Self {
        self.iter().chain(more).collect()
    }
}

impl FromIterator<usize> for Numbers {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for number in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                Some(_) | None => ranges.push((number, number)),
            }
        }
        for (place, (first, last)) in ranges.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse().ok().filter(|number| *number <= NUMBER_MAX);
            number.ok_or_else(|| format!("`{text}` is no number of a fault: such as 0-3,7"))
        };
        let mut all = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{first}-{last}: the smaller number comes first"));
            }
            all.extend(first..=last);
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_as_they_are_read() {
        for text in ["", "3", "3,4", "0-3,7", "1,3,5-9,11,12"] {
            let numbers: Numbers = text.parse().expect("they are numbers");
            assert_eq!(numbers.to_string(), text);
        }
        let numbers: Numbers = "7, 1-3,2".parse().expect("they are numbers");
        assert_eq!(numbers.to_vec(), [1, 2, 3, 7]);
        for text in ["a", "1-", "-1", "4-2", "1-999999999999"] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }
}
