//! Shares of the deliveries: how they are divided between priorities where the queue's order is
//! weighted.
//!
//! Stride scheduling. A class that was given something has a lead of one turn, divided by its
//! shares (a priority p has p + 1). The class with the smallest lead is next, the higher one of
//! two that are equal, and all leads become smaller by the lead that it had. A class without a
//! lead is not in the map: there are as many numbers as classes that were given something lately,
//! and one that was empty for long has nothing saved up. Over n deliveries, with something waiting
//! in each class all the time, a class gets its part of n, give or take one for each class.

use std::collections::BTreeMap;

use super::mark::LAST_CLASS;

/// A turn of a class with one share.
const TURN: u32 = 1 << 20;

/// The leads by class.
pub(super) type Leads = BTreeMap<u8, u32>;

/// Whose turn it is.
pub(super) fn next(leads: &Leads, classes: impl Iterator<Item = u8>) -> Option<u8> {
    classes.min_by_key(|class| (leads.get(class).copied().unwrap_or(0), *class))
}

/// A class was given something in its turn.
pub(super) fn charge(leads: &mut Leads, class: u8) {
    let least = leads.get(&class).copied().unwrap_or(0);
    leads.retain(|_, lead| {
        *lead = lead.saturating_sub(least);
        *lead > 0
    });
    leads.insert(class, TURN / (u32::from(LAST_CLASS - class) + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(leads: &mut Leads, classes: &[u8], count: usize) -> BTreeMap<u8, usize> {
        let mut got = BTreeMap::new();
        for _ in 0..count {
            let class = next(leads, classes.iter().copied()).unwrap();
            charge(leads, class);
            *got.entry(class).or_default() += 1;
        }
        got
    }

    #[test]
    fn each_class_gets_its_part() {
        let mut leads = Leads::new();
        // Priorities 9, 3 and 0: ten, four and one of fifteen.
        let got = turns(&mut leads, &[246, 252, 255], 1_500);
        let near = |class, expected: usize| got[&class].abs_diff(expected) <= 3;
        assert!(near(246, 1_000) && near(252, 400) && near(255, 100), "{got:?}");
        assert!(leads.len() <= 3, "{leads:?}");
        // All 256 of them.
        let all: Vec<u8> = (0..=255).collect();
        let got = turns(&mut Leads::new(), &all, 32_896);
        let off = |class: &u8| got[class].abs_diff(256 - usize::from(*class));
        assert!(all.iter().all(|class| off(class) <= 2), "{got:?}");
    }

    #[test]
    fn nothing_is_saved_up_by_waiting() {
        let mut leads = Leads::new();
        turns(&mut leads, &[250], 1_000);
        // The other class comes: it has its share from now on, and not 200 turns in advance.
        let got = turns(&mut leads, &[250, 255], 7);
        assert_eq!(got, BTreeMap::from([(250, 6), (255, 1)]));
        // A class that comes and goes doesn't get more than it would if it stayed.
        let mut got = 0;
        for turn in 0..700 {
            let both: &[u8] = if turn % 2 == 0 { &[250, 255] } else { &[250] };
            got += turns(&mut leads, both, 1).get(&255).copied().unwrap_or(0);
        }
        assert!(got <= 101, "{got}");
    }
}
