//! A set of small numbers that is emptied at once: what was seen while one message is routed.

/// Marks on the numbers from 0 up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// The round in which a number was last marked.
    rounds: Vec<u32>,
    round: u32,
}

impl Marks {
    /// Takes all marks away and makes room for numbers below `bound`.
    pub(crate) fn clear(&mut self, bound: usize) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            // After 2^32 rounds old marks would look new.
            self.rounds.fill(0);
            self.round = 1;
        }
        if self.rounds.len() < bound {
            self.rounds.resize(bound, 0);
        }
    }

    /// Whether a number is marked.
    pub(crate) fn is_marked(&self, number: u32) -> bool {
        self.rounds[number as usize] == self.round
    }

    /// Marks a number; false if it was marked already.
    pub(crate) fn mark(&mut self, number: u32) -> bool {
        let round = &mut self.rounds[number as usize];
        let is_new = *round != self.round;
        *round = self.round;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_forgets_the_one_before_even_when_rounds_start_over() {
        let mut marks = Marks::default();
        marks.clear(2);
        assert!(marks.mark(1));
        assert!(!marks.mark(1));
        marks.clear(2);
        assert!(marks.mark(1));
        marks.round = u32::MAX;
        marks.rounds[0] = 1;
        marks.clear(3);
        assert!(marks.mark(0), "a mark of 2^32 rounds ago");
        assert!(marks.mark(2));
    }
}
