//! All checks, in the order in which they are run: what lies deepest comes first, since it
//! explains what is found above it.

use super::acknowledged_not_lost::ACKNOWLEDGED_NOT_LOST;
use super::attempts_exact::{ATTEMPTS_EXACT, NO_MORE_THAN_ASKED};
use super::catalog_linearizable::CATALOG_LINEARIZABLE;
use super::dead_lettered_everywhere::DEAD_LETTERED_EVERYWHERE;
use super::deleted_stay_deleted::DELETED_STAY_DELETED;
use super::liveness::LIVENESS;
use super::log_matching::LOG_MATCHING;
use super::no_duplicates::NO_DUPLICATES;
use super::no_phantom::NO_PHANTOM;
use super::nothing_uncommitted_read::NOTHING_UNCOMMITTED_READ;
use super::offsets_dense::OFFSETS_DENSE;
use super::one_active_consumer::ONE_ACTIVE_CONSUMER;
use super::one_leader_per_term::ONE_LEADER_PER_TERM;
use super::one_record_per_offset::ONE_RECORD_PER_OFFSET;
use super::producer_order::PRODUCER_ORDER;
use super::published_everywhere::PUBLISHED_EVERYWHERE;
use super::queue_counts::{COUNTS_EXACT, LENGTH_RESPECTED};
use super::queues::{
    GROUPS_IN_ORDER, MESSAGES_NOT_LOST, NEVER_EARLY, ONE_LEASE_AT_A_TIME, SENT_ONCE,
    SETTLED_STAYS_SETTLED,
};
use super::reads_are_linearizable::READS_ARE_LINEARIZABLE;
use super::redriven_once::REDRIVEN_ONCE;
use super::redrives_end::REDRIVES_END;
use super::routed_as_bound::ROUTED_AS_BOUND;
use super::same_entries_applied::SAME_ENTRIES_APPLIED;
use super::same_state_at_same_index::SAME_STATE_AT_SAME_INDEX;
use super::subscription_complete::SUBSCRIPTION_COMPLETE;
use super::subscription_in_order::SUBSCRIPTION_IN_ORDER;
use super::unknown_resolved::UNKNOWN_RESOLVED;
use super::watermark_monotonic::WATERMARK_MONOTONIC;
use super::{Check, Evidence, Violation};

/// All checks.
pub const ALL: &[&Check] = &[
    &ONE_LEADER_PER_TERM,
    &LOG_MATCHING,
    &SAME_ENTRIES_APPLIED,
    &SAME_STATE_AT_SAME_INDEX,
    &ONE_RECORD_PER_OFFSET,
    &ACKNOWLEDGED_NOT_LOST,
    &NO_DUPLICATES,
    &UNKNOWN_RESOLVED,
    &NO_PHANTOM,
    &OFFSETS_DENSE,
    &PRODUCER_ORDER,
    &NOTHING_UNCOMMITTED_READ,
    &WATERMARK_MONOTONIC,
    &READS_ARE_LINEARIZABLE,
    &DELETED_STAY_DELETED,
    &ONE_LEASE_AT_A_TIME,
    &SETTLED_STAYS_SETTLED,
    &MESSAGES_NOT_LOST,
    &PUBLISHED_EVERYWHERE,
    &SENT_ONCE,
    &ROUTED_AS_BOUND,
    &DEAD_LETTERED_EVERYWHERE,
    &REDRIVEN_ONCE,
    &REDRIVES_END,
    &GROUPS_IN_ORDER,
    &NEVER_EARLY,
    &ATTEMPTS_EXACT,
    &NO_MORE_THAN_ASKED,
    &ONE_ACTIVE_CONSUMER,
    &LENGTH_RESPECTED,
    &COUNTS_EXACT,
    &SUBSCRIPTION_IN_ORDER,
    &SUBSCRIPTION_COMPLETE,
    &CATALOG_LINEARIZABLE,
    &LIVENESS,
];

/// The first promise that was broken, if one was.
#[must_use]
pub fn first_violation(evidence: &Evidence) -> Option<Violation> {
    ALL.iter().find_map(|check| (check.run)(evidence).err())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Deed, End, Probe};
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = ALL.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_first_violation_is_that_of_the_first_check() {
        let end = End { whole_at: Some(1), ..End::default() };
        let mut evidence = Evidence { end, ..Evidence::default() };
        assert_eq!(first_violation(&evidence), None);
        evidence.end.whole_at = None;
        assert_eq!(first_violation(&evidence).unwrap().check, "liveness");
        evidence.probes = [1, 2]
            .map(|replica| Probe {
                at: 1,
                node: 1,
                shard: 1,
                replica,
                deed: Deed::Leads { term: 1 },
            })
            .to_vec();
        assert_eq!(first_violation(&evidence).unwrap().check, "one_leader_per_term");
    }
}
